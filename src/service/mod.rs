//! The program as a service: what it tells a service manager ([`notify`], [`heartbeat`]), the sockets
//! that were opened for it ([`passed`]), and handing them over to a new binary ([`successor`],
//! [`predecessor`], docs/decisions/0011). It knows processes, descriptors and the environment; what
//! is done with sockets is said in `control`.

pub mod heartbeat;
mod letter;
pub mod notify;
pub mod passed;
pub mod predecessor;
pub mod successor;

use std::sync::Arc;

use notify::Notifier;
use passed::{PassError, Passed};
use predecessor::{Predecessor, TakeOverError};
use successor::Program;

/// What the program was started with besides its arguments.
#[derive(Debug)]
pub struct Start {
    /// Whom to tell how it goes.
    pub notifier: Arc<Notifier>,
    /// Who hands over to us, if somebody does.
    pub predecessor: Option<Predecessor>,
    /// Listening sockets.
    pub passed: Passed,
    /// What would be started to hand over to.
    pub program: Program,
}

/// Why that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Sockets of a service manager.
    #[error(transparent)]
    Passed(#[from] PassError),
    /// Sockets of the process that hands over.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
}

impl Start {
    /// Looks at the environment, and at the descriptors that it names. To be called once, and before
    /// the program opens any of its own under numbers that somebody else has chosen.
    ///
    /// # Errors
    /// A [`StartError`] that names the cause and the cure.
    pub fn find() -> Result<Self, StartError> {
        let program = Program::running();
        let notifier = Arc::new(Notifier::from_environment());
        let mut passed = Passed::by_service_manager()?;
        let predecessor = Predecessor::find(&mut passed)?;
        Ok(Self { notifier, predecessor, passed, program })
    }
}
