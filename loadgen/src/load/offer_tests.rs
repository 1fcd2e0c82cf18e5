//! What may be started when, and that nothing of it is lost.

use super::*;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};

use crate::load::{Arrivals, Workload};

const MS: u64 = 1_000_000;

/// 10 ms of warm-up and 50 ms of measurement from 100 ms on; `rate` in requests a millisecond.
fn offer(rate: Option<f64>, requests: Option<u64>) -> (Offer, Part) {
    let plan = Plan {
        warm_up: Duration::from_millis(10),
        duration: Duration::from_millis(50),
        rate: rate.map(|per_ms| Rate::constant(per_ms * 1000.0)),
        requests: requests.and_then(NonZeroU64::new),
        ..Plan::new(SocketAddr::from(([127, 0, 0, 1], 1)), Workload::Ping)
    };
    let part = plan.part(0);
    (Offer::new(&plan, &part, 0, 100 * MS), part)
}

#[test]
fn a_closed_loop_may_always_start_until_time_or_number_ends_it() {
    let (mut by_time, _) = offer(None, None);
    let unmeasured = Some(Due { intended_ns: None, measured: false });
    let measured = Some(Due { intended_ns: None, measured: true });
    for (now_ms, due) in [(100, unmeasured), (109, unmeasured), (110, measured), (160, None)] {
        assert_eq!(by_time.take(now_ms * MS), due, "at {now_ms} ms");
    }
    assert_eq!((by_time.intended(None), by_time.unsent()), (1, 0));
    let (mut by_number, part) = offer(None, Some(1));
    assert_eq!(by_number.take(105 * MS), unmeasured, "the warm-up costs none");
    assert_eq!(by_number.take(110 * MS), measured);
    assert_eq!(by_number.take(110 * MS), None);
    assert!(by_number.is_used_up());
    assert_eq!((by_number.intended(part.requests), by_number.unsent()), (1, 0));
}

#[test]
fn requests_are_due_when_the_schedule_says_however_late_it_is() {
    let (mut offer, _) = offer(Some(1.0), None);
    let due = |ms: u64, measured| Some(Due { intended_ns: Some(ms * MS), measured });
    assert_eq!(offer.next_ns(), Some(100 * MS));
    assert_eq!(offer.take(99 * MS), None);
    assert_eq!(offer.take(100 * MS), due(100, false));
    assert_eq!(offer.take(100 * MS), None);
    for ms in 101..105 {
        assert_eq!(offer.take(105 * MS), due(ms, false), "late, and nothing else is dropped");
    }
    // Too late for the rest of the warm-up, which is dropped, and late for what counts, which is not.
    for ms in 110..=112 {
        assert_eq!(offer.take(112 * MS), due(ms, true));
    }
    assert_eq!(offer.take(112 * MS), None);
    assert_eq!(offer.next_ns(), Some(113 * MS));
    assert_eq!((offer.started(), offer.intended(None), offer.unsent()), (3, 50, 47));
}

#[test]
fn nothing_is_due_when_the_time_is_over() {
    let (mut offer, _) = offer(Some(1.0), None);
    for ms in 100..160 {
        assert!(offer.take(ms * MS).is_some(), "at {ms} ms");
        offer.close(ms * MS);
        assert!(!offer.is_over(ms * MS), "at {ms} ms");
    }
    assert_eq!(offer.take(160 * MS), None);
    assert_eq!((offer.started(), offer.intended(None), offer.unsent()), (50, 50, 0));
}

#[test]
fn who_wakes_after_the_end_sends_once_more_what_was_due_before_it() {
    let (mut offer, _) = offer(Some(1.0), None);
    (100..158).for_each(|ms| assert!(offer.take(ms * MS).is_some(), "at {ms} ms"));
    assert!(!offer.is_over(163 * MS), "two were due");
    let due = Due { intended_ns: Some(158 * MS), measured: true };
    assert_eq!(offer.take(163 * MS), Some(due));
    offer.close(163 * MS);
    assert!(offer.is_over(163 * MS));
    assert_eq!(offer.take(163 * MS), None, "for the last there was no connection");
    assert_eq!((offer.started(), offer.intended(None), offer.unsent()), (49, 50, 1));
}

#[test]
fn whatever_is_taken_when_intended_is_started_and_unsent() {
    let mut random = xorshift(7);
    for case in 0..200 {
        let rate = [None, Some(0.3), Some(7.0)][case % 3];
        let requests = [None, Some(5), Some(100)][case / 3 % 3];
        let (mut offer, part) = offer(rate, requests);
        let mut now_ns = 100 * MS;
        for _ in 0..random() % 500 {
            now_ns += random() % (2 * MS);
            let _ = offer.take(now_ns);
            if random().is_multiple_of(300) {
                offer.end(now_ns);
            }
        }
        let accounted = offer.started() + offer.unsent();
        assert_eq!(offer.intended(part.requests), accounted, "case {case}: {offer:?}");
    }
}

#[test]
fn workers_share_a_schedule() {
    let plan = Plan {
        duration: Duration::from_millis(50),
        rate: Some(Rate::constant(10_000.0)),
        arrivals: Arrivals::Constant,
        threads: std::num::NonZeroUsize::new(3).expect("not 0"),
        connections: NonZeroU32::new(3).expect("not 0"),
        ..Plan::new(SocketAddr::from(([127, 0, 0, 1], 1)), Workload::Ping)
    };
    let intended =
        (0..3).map(|index| Offer::new(&plan, &plan.part(index), index, 0).intended(None));
    assert_eq!(intended.collect::<Vec<_>>(), [167, 167, 166]);
}

/// Numbers that are the same each time (xorshift64).
fn xorshift(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
