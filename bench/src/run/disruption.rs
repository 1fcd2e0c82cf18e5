//! What clients notice when a backend dies, the configuration changes, or the balancer is restarted.

use std::io;

use super::{Bench, Run};
use crate::case::Disruption;
use crate::contender::Contender;

impl Bench {
    pub(super) fn run_disruption(&self, _: &Contender, what: Disruption) -> io::Result<Run> {
        Err(io::Error::other(format!("{what:?} is not measured yet")))
    }
}
