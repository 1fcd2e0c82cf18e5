//! Every rule and every verdict, and that no rule makes time of nothing.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;

/// A connection that has been used a while, nothing of it in flight.
const QUIET: Sample = Sample {
    rtt_us: 120,
    rtt_us_min: 40,
    segments_sent: 1000,
    segments_received: 1000,
    retransmits: 3,
    recovers: false,
    segments_unacked: 0,
    bytes_unsent: 0,
    bytes_acked: 500_000,
    busy_us: 40_000_000,
    rwnd_limited_us: 5_000_000,
    sndbuf_limited_us: 1_000_000,
};

/// A quiet connection which became this.
fn became(change: impl Fn(&mut Sample)) -> Option<Pair> {
    let mut after = QUIET;
    change(&mut after);
    Some(Pair { before: QUIET, after })
}

#[track_caller]
fn check(client: Option<Pair>, backend: Option<Pair>, floor: Floor, shares: Waited) {
    let interval = Interval { us: SECOND, client, backend, floor };
    assert_eq!(interval.shares(), shares);
    assert_eq!(shares.total(), SECOND, "the parts make up the whole");
}

#[test]
fn what_is_left_is_waiting_for_who_has_the_floor() {
    let waited = Waited::default();
    for (floor, shares) in [
        (Floor::Client, Waited { client_silence: SECOND, ..waited }),
        (Floor::ClientStreams, Waited { client_upload: SECOND, ..waited }),
        (Floor::Backend, Waited { backend_answer: SECOND, ..waited }),
        (Floor::BackendStreams, Waited { backend_answer: SECOND, ..waited }),
        (Floor::Balancer, Waited { balancer: SECOND, ..waited }),
    ] {
        check(None, None, floor, shares);
        check(became(|_| ()), became(|_| ()), floor, shares);
    }
}

#[test]
fn a_full_receive_window_is_waiting_for_the_reader() {
    let full = || {
        became(|after| {
            after.busy_us += 900_000;
            after.rwnd_limited_us += 700_000;
            // Of a connection whose window is full there is always more to send.
            after.bytes_unsent = 1;
        })
    };
    check(
        full(),
        None,
        Floor::Client,
        Waited {
            client_window: 700_000,
            client_network: 200_000,
            client_silence: 100_000,
            ..Waited::default()
        },
    );
    check(
        None,
        full(),
        Floor::ClientStreams,
        Waited {
            backend_window: 700_000,
            backend_network: 200_000,
            client_upload: 100_000,
            ..Waited::default()
        },
    );
}

#[test]
fn a_full_send_buffer_is_waiting_for_the_balancer() {
    let full = || {
        became(|after| {
            after.busy_us += 800_000;
            after.sndbuf_limited_us += 800_000;
        })
    };
    let shares = Waited { balancer: 800_000, backend_answer: 200_000, ..Waited::default() };
    check(full(), None, Floor::Backend, shares);
    check(None, full(), Floor::Backend, shares);
}

/// What it looks like, what makes it so, and what follows.
type Sign = (&'static str, fn(&mut Sample), Waited);

#[test]
fn busy_is_waiting_for_the_network_only_when_that_shows() {
    let network = Waited { client_network: 600_000, client_silence: 400_000, ..Waited::default() };
    let silence = Waited { client_silence: SECOND, ..Waited::default() };
    let signs: [Sign; 7] = [
        ("request and answer", |_| (), silence),
        ("sent again", |after| after.retransmits += 1, network),
        ("making up for a loss", |after| after.recovers = true, network),
        ("more to be sent than it takes", |after| after.bytes_unsent = 1, network),
        ("in flight, as usual", |after| after.segments_unacked = 1, silence),
        ("much in flight, as in bulk", |after| after.segments_unacked = 90, silence),
        ("counters that went round", |after| after.segments_sent = 2, silence),
    ];
    for (sign, change, shares) in signs {
        let pair = became(|after| {
            after.busy_us += 600_000;
            after.bytes_acked += 1;
            change(after);
        });
        eprintln!("{sign}");
        check(pair, None, Floor::Client, shares);
    }
}

#[test]
fn what_is_not_acknowledged_for_a_whole_interval_is_lost() {
    let before = Sample { segments_unacked: 1, ..QUIET };
    let lost = Sample { busy_us: before.busy_us + SECOND, ..before };
    let acked = Sample { bytes_acked: before.bytes_acked + 9, ..lost };
    for (after, shares) in [
        (lost, Waited { backend_network: SECOND, ..Waited::default() }),
        (acked, Waited { backend_answer: SECOND, ..Waited::default() }),
    ] {
        check(None, Some(Pair { before, after }), Floor::Backend, shares);
    }
}

#[test]
fn the_way_to_a_far_peer_is_the_networks_part_of_a_dialogue() {
    let dialogue = |rtt_us_min: u32| {
        became(|after| {
            after.busy_us += 900_000;
            after.bytes_acked += 1000;
            after.segments_sent += 10;
            after.segments_received += 10;
            after.rtt_us_min = rtt_us_min;
        })
    };
    for (rtt_us_min, network) in
        [(50_000, 500_000), (999, 0), (1000, 10_000), (200_000, 900_000), (u32::MAX, 0)]
    {
        let shares = Waited {
            backend_network: network,
            backend_answer: SECOND - network,
            ..Waited::default()
        };
        check(None, dialogue(rtt_us_min), Floor::Backend, shares);
    }
    // Who streams does not wait for the way.
    let shares = Waited { backend_answer: SECOND, ..Waited::default() };
    check(None, dialogue(50_000), Floor::BackendStreams, shares);
    // Nor for each segment of a long answer: ten requests were ten turns.
    let answers = became(|after| {
        after.busy_us += 900_000;
        after.bytes_acked += 1_000_000;
        after.segments_sent += 10_000;
        after.segments_received += 10;
        after.rtt_us_min = 5000;
    });
    let shares =
        Waited { client_network: 55_000, client_silence: SECOND - 55_000, ..Waited::default() };
    check(answers, None, Floor::Client, shares);
}

#[test]
fn two_sides_that_hold_a_session_up_at_a_time_share_it() {
    let full = |part: u64| {
        became(|after| {
            after.busy_us += SECOND;
            after.rwnd_limited_us += part;
            after.bytes_acked += 1;
        })
    };
    check(
        full(SECOND),
        full(SECOND),
        Floor::Client,
        Waited { client_window: SECOND / 2, backend_window: SECOND / 2, ..Waited::default() },
    );
    // The kernel counts in ticks, so a part can be more than the whole.
    check(
        full(SECOND + 4000),
        None,
        Floor::Client,
        Waited { client_window: SECOND, ..Waited::default() },
    );
}

#[test]
fn segments_are_counted_with_those_that_were_sent_again() {
    let pair = became(|after| {
        after.segments_sent += 100;
        after.retransmits += 2;
    });
    let interval = Interval { us: SECOND, client: None, backend: pair, floor: Floor::Client };
    let sums = interval.sums();
    assert_eq!((sums.backend_segments, sums.backend_retransmits), (100, 2));
    assert_eq!((sums.client_segments, sums.client_retransmits, sums.samples), (0, 0, 1));
}

fn watched(name: &str, waited: Waited) -> Watched {
    let sums = Sums { samples: 10, waited, ..Sums::default() };
    let ended = Ended::default();
    Watched { name: format!("web/{name}"), sums, rtt_us: Some(150), ended }
}

/// Nobody looked at its sessions, of which so many ended after so many milliseconds each, the first byte
/// having come after so many.
fn short(name: &str, sessions: u64, ms: u64, first_byte_ms: u64) -> Watched {
    let us = |ms: u64| sessions * ms * 1000;
    let ended = Ended { sessions, us: us(ms), first_byte_us: us(first_byte_ms) };
    Watched { ended, ..watched(name, Waited::default()) }
}

#[test]
fn sessions_that_end_before_anybody_looks_are_told_by_their_ends() {
    says(
        &[short("B1", 5000, 18, 3), short("B2", 5000, 18, 2)],
        &[],
        Who::Nobody,
        None,
        "Nobody is, as far as can be seen: sessions are too short to be watched (18.0 ms on average), and \
         14 % of their time passes until backends say the first byte",
    );
    says(
        &[short("B1", 500, 62, 61), short("B2", 5000, 2, 1)],
        &[],
        Who::Backend,
        Some("web/B1"),
        "Backend web/B1 is the bottleneck: 99 % of the time of its sessions, which are short (7.5 ms on \
         average), passes until its first byte",
    );
    says(
        &[short("B1", 500, 62, 61), short("B2", 500, 62, 60)],
        &[],
        Who::Backend,
        None,
        "The backends are the bottleneck: 98 % of the time of sessions, which are short (62.0 ms on \
         average), passes until the first byte",
    );
}

#[test]
fn backends_that_are_all_alike_are_not_told_apart() {
    let slow = |name| {
        watched(
            name,
            Waited { backend_answer: 9 * SECOND, client_silence: SECOND, ..Waited::default() },
        )
    };
    says(
        &[slow("B1"), slow("B2")],
        &[],
        Who::Backend,
        None,
        "The backends are the bottleneck: 90 % of the time sessions wait for their answers, of one as of \
         the others",
    );
}

#[track_caller]
fn says(backends: &[Watched], loads: &[Load], who: Who, backend: Option<&str>, sentence: &str) {
    let said = verdict(backends, loads);
    assert_eq!(said.sentence, sentence, "{}", said.evidence);
    assert_eq!((said.who, said.backend.as_deref()), (who, backend), "{sentence}");
}

/// One of the parts of a time.
type Part = fn(&mut Waited) -> &mut u64;

/// Ten seconds, divided by percent.
fn percents(parts: &[(Part, u64)]) -> Waited {
    let mut waited = Waited::default();
    parts.iter().for_each(|(part, percent)| *part(&mut waited) = percent * SECOND / 10);
    waited
}

#[test]
fn nothing_seen_is_nobody() {
    let sentence = "Nobody is: hardly a byte has moved in the last seconds";
    says(&[], &[], Who::Nobody, None, sentence);
    let little = Waited { backend_answer: 400_000, ..Waited::default() };
    says(&[watched("B1", little)], &[], Who::Nobody, None, sentence);
}

#[test]
fn clients_that_say_nothing_hold_nothing_up() {
    let waited = percents(&[(|w| &mut w.client_silence, 96), (|w| &mut w.backend_answer, 4)]);
    says(
        &[watched("B1", waited)],
        &[],
        Who::Nobody,
        None,
        "Nobody is: 96 % of the time sessions wait for their clients to say something",
    );
    // Who would be faster if the backend were, but mostly has nothing to ask.
    let waited = percents(&[(|w| &mut w.client_silence, 60), (|w| &mut w.backend_answer, 40)]);
    says(
        &[watched("B1", waited)],
        &[],
        Who::Nobody,
        None,
        "Nobody is: 60 % of the time sessions wait for their clients to say something",
    );
}

#[test]
fn each_cause_has_its_sentence() {
    let cases: [(Part, Who, Option<&str>, &str); 7] = [
        (
            |w| &mut w.client_window,
            Who::Client,
            None,
            "Clients are the bottleneck: their receive windows are full 71 % of the time",
        ),
        (
            |w| &mut w.client_upload,
            Who::Client,
            None,
            "Clients are the bottleneck: 71 % of the time sessions wait for more of what they are \
             sending",
        ),
        (
            |w| &mut w.client_network,
            Who::Network,
            None,
            "The network to clients is the bottleneck: sessions wait for it 71 % of the time",
        ),
        (
            |w| &mut w.backend_window,
            Who::Backend,
            Some("web/B1"),
            "Backend web/B1 is the bottleneck: its receive windows are full 71 % of the time",
        ),
        (
            |w| &mut w.backend_answer,
            Who::Backend,
            Some("web/B1"),
            "Backend web/B1 is the bottleneck: 71 % of the time sessions wait for its answers",
        ),
        (
            |w| &mut w.backend_network,
            Who::Network,
            Some("web/B1"),
            "The network to backend web/B1 is the bottleneck: sessions wait for it 71 % of the time",
        ),
        (
            |w| &mut w.balancer,
            Who::Balancer,
            None,
            "The balancer is the bottleneck: its buffers are full 71 % of the time; raise \
             net.ipv4.tcp_wmem or --buffers",
        ),
    ];
    for (part, who, backend, sentence) in cases {
        let waited = percents(&[(|w| &mut w.client_silence, 29), (part, 71)]);
        says(&[watched("B1", waited)], &[], who, backend, sentence);
    }
}

#[test]
fn a_network_that_loses_segments_or_is_far_is_told_so() {
    let waited = percents(&[(|w| &mut w.backend_network, 80), (|w| &mut w.client_silence, 20)]);
    let mut lossy = watched("B1", waited);
    (lossy.sums.backend_segments, lossy.sums.backend_retransmits) = (10_000, 210);
    says(
        &[lossy],
        &[],
        Who::Network,
        Some("web/B1"),
        "The network to backend web/B1 loses segments: 2.1 % are sent again, which holds sessions up \
         80 % of the time",
    );
    let far = Watched { rtt_us: Some(150_420), ..watched("B1", waited) };
    says(
        &[far],
        &[],
        Who::Network,
        Some("web/B1"),
        "The network to backend web/B1 is the bottleneck: sessions wait for it 80 % of the time (a \
         round trip takes 150.4 ms)",
    );
}

#[test]
fn of_several_backends_the_worst_is_named_and_the_others_beside_it() {
    let slow = percents(&[(|w| &mut w.backend_answer, 83), (|w| &mut w.client_silence, 17)]);
    let quick = percents(&[(|w| &mut w.backend_answer, 12), (|w| &mut w.client_silence, 88)]);
    let sentence = "Backend web/B2 is the bottleneck: 83 % of the time sessions wait for its answers \
                    (the others: 12 %)";
    let few = [watched("B1", quick), watched("B2", slow)];
    says(&few, &[], Who::Backend, Some("web/B2"), sentence);
    // Also where the whole looks as if nobody held anything up.
    let many = [
        watched("B1", quick),
        watched("B2", slow),
        watched("B3", quick),
        watched("B4", quick),
        watched("B5", quick),
    ];
    says(&many, &[], Who::Backend, Some("web/B2"), sentence);
    // One that is not much slower than the others is not the one.
    let half = percents(&[(|w| &mut w.backend_answer, 55), (|w| &mut w.client_silence, 45)]);
    let third = percents(&[(|w| &mut w.backend_answer, 30), (|w| &mut w.client_silence, 70)]);
    let alike = [watched("B1", third), watched("B2", half), watched("B3", third)];
    assert_eq!(verdict(&alike, &[]).who, Who::Nobody);
    // A backend of which there is next to nothing does not stand for the whole.
    let hardly = Waited { backend_answer: 100_000, ..Waited::default() };
    let all = [watched("B0", hardly), watched("B1", slow), watched("B2", slow)];
    assert_ne!(verdict(&all, &[]).backend.as_deref(), Some("web/B0"));
}

#[test]
fn a_little_of_everything_is_nobody() {
    let waited = percents(&[
        (|w| &mut w.client_silence, 40),
        (|w| &mut w.client_window, 20),
        (|w| &mut w.backend_answer, 25),
        (|w| &mut w.client_network, 15),
    ]);
    let sentence = "Nobody alone is: sessions wait a little for everybody";
    says(&[watched("B1", waited)], &[], Who::Nobody, None, sentence);
}

#[test]
fn a_shard_without_time_is_the_bottleneck_whoever_else_is_slow() {
    let slow = percents(&[(|w| &mut w.backend_answer, 99), (|w| &mut w.client_silence, 1)]);
    let backends = [watched("B1", slow)];
    let load = |shard, wanted, waited| Load { shard, wanted, waited };
    let half = load(0, 500, 100);
    for (loads, sentence) in [
        (
            vec![half, load(1, 974, 20)],
            "The balancer is the bottleneck: shard 1 is at work 97 % of the time",
        ),
        (
            vec![load(0, 900, 20)],
            "The balancer is the bottleneck: shard 0 is at work 90 % of the time; try more --shards",
        ),
        (
            vec![half, load(1, 990, 610)],
            "The balancer is the bottleneck: shard 1 has to wait for its CPU 61 % of the time; give it \
             more CPU, or move away what else runs there",
        ),
    ] {
        says(&backends, &loads, Who::Balancer, None, sentence);
    }
    assert_eq!(verdict(&backends, &[half, load(1, 899, 20)]).who, Who::Backend);
}

#[test]
fn the_evidence_has_every_figure() {
    let waited = percents(&[(|w| &mut w.backend_answer, 83), (|w| &mut w.client_silence, 17)]);
    let mut one = watched("B1", waited);
    (one.sums.client_segments, one.sums.client_retransmits) = (1000, 4);
    let load = Load { shard: 0, wanted: 345, waited: 3 };
    assert_eq!(
        verdict(&[one], &[load]).evidence,
        "10 samples; waiting for clients to speak 17 %, to send 0 %, to read 0 %, for backends to \
         answer 83 %, to read 0 %, for the network to clients 0 %, to backends 0 %, for buffers 0 %; \
         sent again 0.4 % to clients, 0.0 % to backends; shards at work 34 %"
    );
}

#[test]
fn sums_can_be_taken_apart_again() {
    let parts = [1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(Waited::of_parts(parts).parts(), parts);
    let one = Sums {
        samples: 1,
        waited: Waited::of_parts(parts),
        client_segments: 2,
        client_retransmits: 3,
        backend_segments: 4,
        backend_retransmits: 5,
    };
    assert_eq!(one.plus(&one).since(&one), one);
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let small = prop::array::uniform6(0_u32..2000);
    let times = prop::array::uniform4(0_u64..3 * SECOND);
    (small, times, any::<bool>()).prop_map(|(small, times, recovers)| Sample {
        rtt_us: small[0],
        rtt_us_min: small[1],
        segments_sent: small[2],
        segments_received: small[3],
        retransmits: small[4],
        recovers,
        segments_unacked: small[5] % 3,
        bytes_unsent: small[5] % 2,
        bytes_acked: times[0],
        busy_us: times[1],
        rwnd_limited_us: times[2],
        sndbuf_limited_us: times[3],
    })
}

fn any_pair() -> impl Strategy<Value = Option<Pair>> {
    let pair = (any_sample(), any_sample()).prop_map(|(before, after)| Pair { before, after });
    prop::option::of(pair)
}

proptest! {
    #[test]
    fn the_parts_always_make_up_the_whole(
        us in 0..2 * SECOND,
        client in any_pair(),
        backend in any_pair(),
        floor in prop::sample::select(vec![
            Floor::Client,
            Floor::ClientStreams,
            Floor::Backend,
            Floor::BackendStreams,
            Floor::Balancer,
        ]),
    ) {
        let interval = Interval { us, client, backend, floor };
        prop_assert_eq!(interval.shares().total(), us);
    }

    #[test]
    fn a_verdict_is_always_found(
        parts in prop::collection::vec(prop::array::uniform8(any::<u64>()), 0..5),
        wanted in prop::collection::vec(0_u32..2000, 0..3),
    ) {
        let backends: Vec<Watched> = parts
            .into_iter()
            .enumerate()
            .map(|(index, parts)| watched(&index.to_string(), Waited::of_parts(parts)))
            .collect();
        let loads: Vec<Load> = wanted
            .into_iter()
            .enumerate()
            .map(|(shard, wanted)| Load { shard, wanted, waited: wanted / 2 })
            .collect();
        let said = verdict(&backends, &loads);
        prop_assert_eq!(said.backend.is_some(), said.sentence.contains("web/"));
    }
}
