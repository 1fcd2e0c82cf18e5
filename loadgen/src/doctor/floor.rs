//! The floor: what this generator measures when only its own echo is on the other side. Nothing
//! that is measured on this machine with it can be faster.

use std::net::Ipv4Addr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Finding, Verdict};
use crate::load::{self, Plan, Workload};
use crate::serve::{self, Backend, Mode};

/// What a run brought.
#[derive(Clone, Copy, Debug)]
struct Floor {
    p50: Duration,
    per_second: f64,
}

/// Ping-pong over one connection, and over many, each for so long.
pub(super) fn findings(time: Duration) -> Vec<Finding> {
    let one = measure(1, time).map(|floor| format!("p50 {:.1} µs", floor.p50.as_secs_f64() * 1e6));
    let many = measure(MANY, time).map(|floor| format!("{:.0} requests/s", floor.per_second));
    let latency = "the fastest reply that can be measured here; a target's time lies above it";
    let rate =
        "what one worker and one echo thread reach here; a target that nears it is not the limit";
    vec![judge("floor, 1 connection", latency, one), judge("floor, 64 connections", rate, many)]
}

fn judge(name: &'static str, why: &'static str, measured: Result<String, String>) -> Finding {
    match measured {
        Ok(value) => Finding::ok(name, value, why),
        Err(error) => Finding::ok(name, "not measured", why).but(Verdict::Bad, error),
    }
}

fn measure(connections: u32, time: Duration) -> Result<Floor, String> {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let backend = Backend { name: Some("floor".to_owned()), address, mode: Mode::Echo };
    let serving =
        serve::start(vec![backend], NonZeroUsize::MIN).map_err(|error| error.to_string())?;
    let plan = Plan {
        connections: NonZeroU32::new(connections).unwrap_or(NonZeroU32::MIN),
        duration: time,
        ..Plan::new(serving.addresses()[0], Workload::Ping)
    };
    ping(&plan)
}

/// The only place that knows how a load is run and what it brings.
fn ping(plan: &Plan) -> Result<Floor, String> {
    let report =
        load::run(plan, &mut |_| {}, &AtomicBool::new(false)).map_err(|error| error.to_string())?;
    let nobody = "not one request was answered; try `loadgen ping` at `loadgen serve --mode echo`";
    if report.totals.ok == 0 {
        return Err(nobody.to_owned());
    }
    let p50 = Duration::from_nanos(report.latency.response.0.value_at_quantile(0.5));
    Ok(Floor { p50, per_second: report.totals.goodput_per_s })
}

/// Enough to keep both sides busy.
const MANY: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_measured_against_an_echo_of_our_own() {
        let findings = findings(Duration::from_millis(50));
        let values: Vec<&str> = findings.iter().map(|finding| finding.value.as_str()).collect();
        assert!(values[0].starts_with("p50 ") && values[0].ends_with(" µs"), "{values:?}");
        assert!(values[1].ends_with(" requests/s") && values[1] != "0 requests/s", "{values:?}");
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Ok));
    }

    #[test]
    fn what_cannot_be_measured_is_bad() {
        let finding = judge("floor", "why", Err("no ring".into()));
        assert_eq!((finding.verdict, finding.cure.as_deref()), (Verdict::Bad, Some("no ring")));
    }
}
