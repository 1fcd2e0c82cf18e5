use std::collections::HashSet;

use super::family::{Bounds, Buckets, Kind, Labels, Value};
use super::gather::{
    BackendSeen, Facts, ListenerSeen, PoolSeen, ProcessSeen, STATES, ShardSeen, Usage,
};
use super::text::{Format, Writer};
use super::*;
use crate::core::bottleneck::{Floor, Interval, Pair, Sample, Sums, Waited};
use crate::core::wanted::AdminState;
use crate::shard::counters::Counters;
use crate::shard::tcp_tally::TcpTally;

fn backend(pool: &str, name: &str, state: &'static str) -> BackendSeen {
    BackendSeen {
        labels: Labels::new(&[("pool", pool), ("backend", name)]),
        pool: pool.to_owned(),
        name: name.to_owned(),
        target: "10.0.0.1:80".to_owned(),
        backup: false,
        state,
        wanted: AdminState::Drain,
        healthy: true,
        changed_ns: Some(1_500_000_000),
        weight: 3,
        warmth: 64,
        sessions: 5,
        sessions_max: Some(100),
        ever: Default::default(),
    }
}

/// Something of everything.
fn all() -> Seen {
    let usage = Usage {
        cpu_ns: Some(1),
        resident_bytes: Some(2),
        virtual_bytes: Some(3),
        threads: Some(4),
        open_fds: Some(5),
    };
    let facts = Facts {
        engine_reason: Some("a \"reason\"".to_owned()),
        reloads: gather::Reloads { in_force_since_ms: 7, ..Default::default() },
        admin: vec![("admin_requests", 8)],
        ..Facts::default()
    };
    let listener = ListenerSeen {
        addresses: vec!["0.0.0.0:80".to_owned(), "[::]:80".to_owned()],
        sessions_max: Some(9),
        per_ip: Some([14, 15]),
        ..ListenerSeen::default()
    };
    let mut one = backend("web", "a", "up");
    one.ever.connect = Buckets { bounds: Bounds::LATENCY, counts: vec![1; 18], sum_ns: 18 };
    let (watched, rtt_us) = (TcpTally::default(), 17);
    let after = Sample { rtt_us, ..Sample::default() };
    let pair = Some(Pair { before: Sample::default(), after });
    watched.add(&Interval { us: 18, client: pair, backend: pair, floor: Floor::Backend });
    watched.add_to(&mut one.ever.tcp);
    let shard = ShardSeen {
        cpu_ns: Some(10),
        counts: Counters::default().list(),
        driver: Some(vec![("ring_enters", 11), ("something_new", 12)]),
        ..ShardSeen::default()
    };
    Seen {
        process: ProcessSeen { usage, facts, ..ProcessSeen::default() },
        listeners: vec![listener],
        pools: vec![PoolSeen { sticky_clients: Some([13, 16]), ..PoolSeen::default() }],
        backends: vec![one, backend("web", "b", "maint")],
        shards: vec![shard.clone(), ShardSeen { index: 1, driver: None, ..shard }],
    }
}

#[test]
fn names_follow_the_conventions_and_come_once() {
    let mut names = HashSet::new();
    for Family { name, help, kind, samples } in families(all()) {
        assert!(names.insert(name.clone()), "twice: {name}");
        assert!(name.starts_with("evenkeel_") || name.starts_with("process_"), "{name}");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(name.bytes().all(plain), "{name}");
        for suffix in ["_total", "_info", "_count", "_sum", "_bucket", "_created"] {
            assert!(!name.ends_with(suffix), "the writer appends what the kind wants: {name}");
        }
        assert!(help.ends_with('.') && !help.contains(['\n', '\\', '"']), "{name}: {help}");
        assert!(!samples.is_empty(), "{name} is in no test");
        let fits =
            |value: &Value| matches!(value, Value::Histogram(_)) == (kind == Kind::Histogram);
        assert!(samples.iter().all(|sample| fits(&sample.value)), "{name}");
    }
}

#[test]
fn no_two_samples_of_a_family_have_the_same_labels() {
    for Family { name, samples, .. } in families(all()) {
        let mut seen = HashSet::new();
        for sample in &samples {
            let labels = sample.labels.parts().concat();
            assert!(seen.insert(labels.clone()), "{name}: {labels} twice");
        }
    }
}

#[test]
fn every_counter_of_a_shard_is_in_it() {
    let mut seen = all();
    // Each with a value of its own, which must come out somewhere.
    for (place, count) in seen.shards[0].counts.iter_mut().enumerate() {
        count.1 = 1_000_000 + place as u64;
    }
    let names: Vec<_> = seen.shards[0].counts.clone();
    let text: String = Writer::new(families(seen.clone()), Format::Text).collect();
    for (name, value) in names {
        let said = text.lines().filter(|line| line.ends_with(&format!(" {value}"))).count();
        assert_eq!(said, 1, "{name} is told {said} times");
    }
    assert!(text.contains("evenkeel_shard_something_new_total{shard=\"0\"} 12\n"));
}

#[test]
fn helps_are_those_of_the_counters_in_their_order() {
    let names: Vec<_> = Counters::default().list().into_iter().map(|(name, _)| name).collect();
    let helped: Vec<_> = Counters::HELP.iter().map(|&(name, _)| name).collect();
    assert_eq!(names, helped);
}

#[test]
fn a_backend_has_one_state_and_one_wish() {
    let mut seen = all();
    for state in STATES {
        seen.backends[0].state = state;
        let text: String = Writer::new(families(seen.clone()), Format::Text).collect();
        let of = |name: &str, state: &str| {
            format!("{name}{{pool=\"web\",backend=\"a\",state=\"{state}\"}}")
        };
        for other in STATES {
            let line =
                format!("{} {}\n", of("evenkeel_backend_status", other), u8::from(other == state));
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert!(text.contains(&(of("evenkeel_backend_admin_state", "drain") + " 1\n")));
        assert!(text.contains(&(of("evenkeel_backend_admin_state", "ready") + " 0\n")));
    }
}

#[test]
fn a_shard_that_does_not_answer_is_down_and_keeps_its_own_counters() {
    let text: String = Writer::new(families(all()), Format::Text).collect();
    assert!(text.contains("evenkeel_shard_up{shard=\"0\"} 1\nevenkeel_shard_up{shard=\"1\"} 0\n"));
    assert!(text.contains("evenkeel_shard_turns_total{shard=\"1\"} 0\n"));
    assert!(!text.contains("evenkeel_shard_ring_enters_total{shard=\"1\"}"));
}

#[test]
fn what_the_kernel_said_stands_under_its_own_name() {
    let mut one = backend("web", "a", "up");
    let waited = Waited { client_network: 5_000_000, balancer: 6_000_000, ..Waited::default() };
    one.ever.tcp.sums = Sums {
        samples: 9,
        waited,
        client_segments: 100,
        client_retransmits: 2,
        backend_segments: 30,
        backend_retransmits: 4,
    };
    let text: String = Writer::new(tcp::families(&[one]), Format::Text).collect();
    let of = "pool=\"web\",backend=\"a\"";
    for line in [
        format!("samples_total{{{of}}} 9"),
        format!("segments_total{{{of},to=\"client\"}} 100"),
        format!("segments_total{{{of},to=\"backend\"}} 30"),
        format!("retransmits_total{{{of},to=\"client\"}} 2"),
        format!("retransmits_total{{{of},to=\"backend\"}} 4"),
        format!("waited_seconds_total{{{of},for=\"client\"}} 0"),
        format!("waited_seconds_total{{{of},for=\"client_network\"}} 5"),
        format!("waited_seconds_total{{{of},for=\"backend_network\"}} 0"),
        format!("waited_seconds_total{{{of},for=\"balancer\"}} 6"),
    ] {
        let line = format!("evenkeel_backend_tcp_{line}");
        assert!(text.lines().any(|one| one.starts_with(&line)), "{line} in\n{text}");
    }
}
