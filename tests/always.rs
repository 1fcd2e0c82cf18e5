//! The black-box suite once more, with `--splice always`: whether bytes are copied or go through
//! pipes, nobody who connects can tell.
//!
//! Not in it: what is not about bytes and ends.

#[path = "suite/bytes.rs"]
mod bytes;
#[path = "suite/curl.rs"]
mod curl;
#[path = "suite/ends.rs"]
mod ends;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/limits.rs"]
mod limits;
mod support;

#[test]
fn whoever_is_started_here_splices_always() {
    let balancer = support::Balancer::with("--host 127.0.0.1 --port 0");
    let said = balancer.settings.iter().any(|line| line.contains("splice     always"));
    assert!(said, "{:?}", balancer.settings);
    let balancer = support::Balancer::with("--host 127.0.0.1 --port 0 --splice off");
    assert!(balancer.settings.iter().any(|line| line.contains("splice     off")));
}
