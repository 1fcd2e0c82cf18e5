use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use proptest::prelude::*;

use crate::core::limits::Pace;

use super::*;

fn at_s(s: u64) -> Moment {
    Moment::from_ns(s * 1_000_000_000)
}

fn sessions(max: u32) -> Limits {
    Limits { sessions: NonZeroU32::new(max), pace: None }
}

/// So many a minute.
fn rate(events: u32) -> Limits {
    let events = NonZeroU32::new(events).expect("some");
    Limits { sessions: None, pace: Some(Pace::new(events, Duration::from_secs(60))) }
}

fn numbered(n: u32) -> IpAddr {
    Ipv4Addr::from(n).into()
}

fn table() -> Arc<PerIpTable> {
    Arc::default()
}

#[test]
fn a_client_has_no_more_sessions_than_it_may_and_others_have_theirs() {
    let (table, limits) = (table(), sessions(2));
    let enter = |n| table.enter(numbered(n), &limits, at_s(0));
    let (first, second) = (enter(1).expect("the first"), enter(1).expect("the second"));
    assert_eq!(enter(1).expect_err("the third"), Refused::TooManySessions);
    let _other = enter(2).expect("another client");
    first.leave();
    assert_eq!(table.sessions(numbered(1)), 1);
    drop(second);
    assert_eq!(table.sessions(numbered(1)), 0);
    let _again = enter(1).expect("there is room again");
    assert_eq!(table.clients(), 2);
}

#[test]
fn addresses_of_one_64_are_one_client() {
    let (table, limits) = (table(), sessions(1));
    let ip = |net, host| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host));
    let _first = table.enter(ip(1, 1), &limits, at_s(0)).expect("the first");
    let same = table.enter(ip(1, 2), &limits, at_s(0));
    assert_eq!(same.expect_err("the same /64"), Refused::TooManySessions);
    let _other = table.enter(ip(2, 1), &limits, at_s(0)).expect("another /64");
}

#[test]
fn a_client_that_is_gone_has_still_spent_its_rate() {
    let (table, limits) = (table(), rate(2));
    let enter = |s| table.enter(numbered(1), &limits, at_s(s)).map(Ticket::leave);
    assert_eq!([enter(0), enter(0)], [Ok(()); 2]);
    assert_eq!(enter(0), Err(Refused::TooFast));
    assert_eq!(enter(29), Err(Refused::TooFast));
    assert_eq!(enter(30), Ok(()));
    assert_eq!(table.sessions(numbered(1)), 0);
}

#[test]
fn who_is_refused_for_its_sessions_has_spent_nothing_of_its_rate() {
    let limits = Limits { sessions: NonZeroU32::new(1), ..rate(2) };
    let table = table();
    let enter = || table.enter(numbered(1), &limits, at_s(0));
    let first = enter().expect("the first");
    for _ in 0..5 {
        assert_eq!(enter().expect_err("one is there"), Refused::TooManySessions);
    }
    first.leave();
    enter().expect("the second of two").leave();
    assert_eq!(enter().expect_err("the third"), Refused::TooFast);
}

#[test]
fn other_limits_count_the_sessions_that_there_are() {
    let table = table();
    let enter = |max| table.enter(numbered(1), &sessions(max), at_s(0));
    let tickets = [enter(2).expect("the first"), enter(2).expect("the second")];
    let third = enter(3).expect("there is one more now");
    assert_eq!(enter(1).expect_err("and now fewer"), Refused::TooManySessions);
    drop((tickets, third));
    assert_eq!(table.clients(), 0);
}

#[test]
fn a_client_with_sessions_is_not_forgotten_however_many_others_come() {
    let table = Arc::new(PerIpTable::with_room_for(10, Arc::default()));
    let both = Limits { sessions: NonZeroU32::new(1), ..rate(1) };
    let staying = table.enter(numbered(0), &both, at_s(0)).expect("the first");
    for n in 1..=1000 {
        table.enter(numbered(n), &both, at_s(0)).expect("its first").leave();
    }
    // They stay ten, and the one with a session.
    assert_eq!((table.clients(), table.forgotten()), (11, 990));
    let second = table.enter(numbered(0), &both, at_s(3600));
    assert_eq!(second.expect_err("one is there"), Refused::TooManySessions);
    staying.leave();
    assert_eq!(table.sessions(numbered(0)), 0);
}

#[test]
fn who_is_as_good_as_new_leaves_no_trace() {
    let table = table();
    for n in 0..1000 {
        table.enter(numbered(n), &sessions(1), at_s(0)).expect("its first").leave();
    }
    assert_eq!(table.clients(), 0, "nothing is to be remembered without a rate");
    let table = Arc::new(PerIpTable::with_room_for(1000, Arc::default()));
    for n in 0..1000 {
        table.enter(numbered(n), &rate(1), at_s(0)).expect("its first").leave();
    }
    assert_eq!(table.clients(), 1000);
    for n in 0..1000 {
        table.enter(numbered(5000 + n), &rate(1), at_s(60)).expect("its first").leave();
    }
    assert_eq!((table.clients(), table.forgotten()), (1000, 0));
}

#[test]
fn eight_threads_never_have_more_than_one_client_may() {
    const MAX: u32 = 5;
    let (table, limits) = (table(), sessions(MAX));
    let (now_in, most, let_in) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..20_000 {
                    let Ok(ticket) = table.enter(numbered(1), &limits, at_s(0)) else { continue };
                    let count = now_in.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(count, Ordering::SeqCst);
                    let_in.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now_in.fetch_sub(1, Ordering::SeqCst);
                    ticket.leave();
                }
            });
        }
    });
    let (most, let_in) = (most.into_inner(), let_in.into_inner());
    assert!(most <= MAX, "{most} at a time");
    assert!(let_in > 8, "{let_in} came in");
    assert_eq!((table.sessions(numbered(1)), table.clients()), (0, 0));
}

#[test]
fn eight_threads_share_one_rate() {
    let (table, limits) = (table(), rate(1000));
    let let_in = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let entered = table.enter(numbered(1), &limits, at_s(0));
                    let_in.fetch_add(u32::from(entered.is_ok()), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(let_in.into_inner(), 1000);
}

proptest! {
    /// Against counting: whoever comes and goes in whatever order.
    #[test]
    fn the_count_is_that_of_the_tickets(
        max in 1..4_u32,
        steps in proptest::collection::vec((0..5_u32, any::<Option<proptest::sample::Index>>()), 1..200),
    ) {
        let table = table();
        let mut tickets: Vec<(u32, Ticket)> = Vec::new();
        for (n, leaves) in steps {
            if let Some(leaves) = leaves && !tickets.is_empty() {
                tickets.swap_remove(leaves.index(tickets.len())).1.leave();
            } else {
                let entered = table.enter(numbered(n), &sessions(max), at_s(0));
                let before = tickets.iter().filter(|(of, _)| *of == n).count();
                prop_assert_eq!(entered.is_ok(), before < max as usize);
                tickets.extend(entered.ok().map(|ticket| (n, ticket)));
            }
            for n in 0..5 {
                let count = tickets.iter().filter(|(of, _)| *of == n).count();
                prop_assert_eq!(table.sessions(numbered(n)) as usize, count);
            }
        }
        tickets.clear();
        prop_assert_eq!(table.clients(), 0);
    }
}
