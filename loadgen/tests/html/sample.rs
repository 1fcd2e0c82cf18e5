//! Reports as runs bring them, made up and the same each time.

use std::collections::BTreeMap;

use loadgen::report::{
    Backend, Config, Direction, Distribution, Env, Generator, Hold, Interval, Latency, Network,
    Report, SCHEMA, Stream, Sut, Totals, Verdict,
};

/// A minute of an open loop against three backends, one of which stalls for two seconds.
pub(crate) fn full() -> Report {
    let mut random = Random(7);
    let mut report =
        Report { totals: Totals { elapsed_s: 60.0, ..Totals::default() }, ..nothing() };
    let names = ["B1", "B2", "<script>alert('B3')</script>"];
    let mut backends: BTreeMap<&str, Backend> = BTreeMap::new();
    for index in 0..240_u32 {
        let start_s = f64::from(index) / 4.0;
        let mut interval = Interval { start_s, length_s: 0.25, ..Interval::default() };
        let stalled = (100..108).contains(&index);
        for request in 0..1000_u64 {
            let name = names[usize::try_from(random.below(100)).unwrap() % 3];
            if stalled && name == "B2" && request % 40 == 0 {
                interval.errors += 1;
                continue;
            }
            let held = stalled && name == "B2" && request % 5 == 0;
            one_request(&mut report.latency, &mut interval, &mut random, held);
            let backend = backends.entry(name).or_default();
            backend.responses += 1;
            backend.response.record_ns(400_000 + random.skewed(400_000));
            *interval.backends.entry(name.to_owned()).or_default() += 1;
        }
        report.intervals.push(interval);
    }
    let totals = &mut report.totals;
    totals.ok = report.intervals.iter().map(|one| one.ok).sum();
    totals.errors = report.intervals.iter().map(|one| one.errors).sum();
    (totals.unanswered, totals.unsent) = (3, 41);
    totals.intended = totals.ok + totals.errors + totals.unanswered + totals.unsent;
    (totals.offered_per_s, totals.achieved_per_s, totals.goodput_per_s) = (4000.0, 3999.3, 3996.6);
    (totals.bytes_in, totals.bytes_out, totals.connects) = (41_000_000, 15_360_000, 66);
    report.errors =
        BTreeMap::from([("timeout".to_owned(), totals.errors - 9), ("reset".to_owned(), 9)]);
    let ok = totals.ok;
    report.backends = backends.into_iter().map(|(name, one)| named(name, one, ok)).collect();
    report
}

fn named(name: &str, backend: Backend, ok: u64) -> Backend {
    let share = f64::from(u32::try_from(backend.responses).unwrap())
        / f64::from(u32::try_from(ok).unwrap());
    Backend { name: name.to_owned(), share, p99_ns: backend.response.quantile_ns(0.99), ..backend }
}

fn one_request(latency: &mut Latency, interval: &mut Interval, random: &mut Random, held: bool) {
    let slow = if held { 50_000_000 + random.below(900_000_000) } else { 0 };
    // Two kinds of answer: from the cache, and not.
    let cached = if random.below(10) < 3 { 2_600_000 } else { 380_000 };
    let service = cached + random.skewed(300_000) + slow;
    let busy = if held { random.below(80_000_000) } else { 0 };
    let late = 300 + random.skewed(4_000);
    latency.service.record_ns(service);
    latency.wait_busy.record_ns(busy);
    latency.wait_late.record_ns(late);
    latency.response.record_ns(service + busy + late);
    interval.response.record_ns(service + busy + late);
    interval.ok += 1;
    interval.bytes_in += 180;
    interval.bytes_out += 64;
}

/// A run in which not one request was made.
pub(crate) fn nothing() -> Report {
    let command =
        "loadgen http 127.0.0.1:8080 -c 64 -t 2 -d 60s -R 4000 --arrivals poisson --slo p99<5ms";
    Report {
        schema: SCHEMA.to_owned(),
        config: Config {
            command: command.split(' ').map(str::to_owned).collect(),
            workload: "http".to_owned(),
            target: "localhost:8080".to_owned(),
            address: "127.0.0.1:8080".to_owned(),
            connections: 64,
            threads: 2,
            duration_s: 60.0,
            warm_up_s: 2.0,
            timeout_s: 5.0,
            rate_per_s: Some(4000.0),
            arrivals: Some("poisson".to_owned()),
            seed: 42,
            pipeline: 1,
            request_bytes: 64,
            verify: "len".to_owned(),
            close: "fin".to_owned(),
            slo: Some("p99<5ms".to_owned()),
            ..Config::default()
        },
        env: Env {
            started_at: "2026-11-21T19:30:00Z".to_owned(),
            version: "0.1.0".to_owned(),
            kernel: "6.12.0".to_owned(),
            cpu_model: "Example CPU @ 3.00GHz".to_owned(),
            cpus: 8,
            congestion_control: "cubic".to_owned(),
            ..Env::default()
        },
        verdict: Verdict { valid: true, ..Verdict::default() },
        totals: Totals::default(),
        latency: Latency::default(),
        errors: BTreeMap::new(),
        backends: Vec::new(),
        intervals: Vec::new(),
        generator: generator(),
        sut: Some(Sut {
            what: "pid 4711".to_owned(),
            cpu_s: 4.21,
            cpu_us_per_request: Some(17.55),
            resident_before_bytes: 9_437_184,
            resident_bytes: 10_190_848,
            bytes_per_connection: Some(11_776.0),
            voluntary_switches: Some(38_411),
            involuntary_switches: Some(127),
            ..Sut::default()
        }),
        network: Some(Network { segments_out: 480_211, retransmitted: 3, ..Network::default() }),
        stream: None,
        hold: None,
    }
}

fn generator() -> Generator {
    let mut generator = Generator {
        engine: "io_uring".to_owned(),
        threads: 2,
        cpu_s: 14.3,
        busiest: 0.137,
        connections_wanted: 64,
        connections_established: 64,
        ports: Some([64, 28_232]),
        ..Generator::default()
    };
    let mut random = Random(3);
    (0..30_000).for_each(|_| generator.turn.record_ns(2_000 + random.skewed(9_000)));
    generator
}

/// Bulk both ways with a probe beside it.
pub(crate) fn bulk() -> Report {
    let mut random = Random(11);
    let intervals = (0..40_u32).map(|index| Interval {
        start_s: f64::from(index) / 4.0,
        length_s: 0.25,
        bytes_in: 270_000_000 + random.below(40_000_000),
        bytes_out: 300_000_000 + random.below(20_000_000),
        ..Interval::default()
    });
    let intervals: Vec<Interval> = intervals.collect();
    let mut probes = [Distribution::default(), Distribution::default()];
    for _ in 0..2000 {
        probes[0].record_ns(60_000 + random.skewed(20_000));
        probes[1].record_ns(400_000 + random.skewed(900_000));
    }
    let [idle, loaded] = probes;
    let direction = |name: &str, bytes: u64, gbit_per_s: f64| Direction {
        name: name.to_owned(),
        streams_bytes: vec![bytes / 4; 4],
        bytes,
        gbit_per_s,
        wrong_bytes: 0,
    };
    let directions =
        vec![direction("up", 12_400_000_000, 9.92), direction("down", 11_600_000_000, 9.28)];
    let stream =
        Stream { directions, probe: Some(loaded), probe_idle: Some(idle), probe_error: None };
    let mut report = nothing();
    report.config.workload = "stream".to_owned();
    report.config.rate_per_s = None;
    report.totals = Totals { elapsed_s: 10.0, intended: 8, ok: 8, ..Totals::default() };
    Report { intervals, stream: Some(stream), ..report }
}

/// Connections that are held.
pub(crate) fn held() -> Report {
    let hold = Hold {
        wanted: 15_000,
        established: 15_000,
        alive: 14_998,
        connect_s: 2.71,
        probes_ok: 1198,
        probes_failed: 2,
        generator_bytes_per_connection: 412.0,
        lost: BTreeMap::from([("reset".to_owned(), 2)]),
    };
    let mut report = nothing();
    report.config.workload = "hold".to_owned();
    report.config.rate_per_s = None;
    report.totals.elapsed_s = 30.0;
    Report { hold: Some(hold), ..report }
}

/// Random enough for a picture, and the same everywhere (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    /// About `typical`, seldom some times as much; as latencies are.
    pub(crate) fn skewed(&mut self, typical: u64) -> u64 {
        let tail = u64::from(self.below(1 << 40).trailing_zeros());
        self.below(typical) * (tail + 1) / 2
    }
}
