//! A report like a real one, the same each time, for tests and for whoever draws or judges reports.

use std::collections::BTreeMap;

use super::{
    Backend, Config, Env, Generator, Interval, Latency, Network, Report, SCHEMA, Sut, Totals,
    Verdict, judge,
};

/// Ten seconds of an open loop at 2000 requests a second against three backends. In the sixth
/// second the second backend stalls for a while, so that connections are missed, a few requests
/// time out, one is never answered, and two are never sent.
///
/// So it is SUSPECT, for one reason. All sums fit: those of backends and intervals are those of the totals, and each response time is
/// the sum of its waits and its service time.
///
/// # Panics
/// Never: its counts fit.
#[must_use]
pub fn sample() -> Report {
    let mut random = Random(42);
    let mut made = Made::default();
    (0..SECONDS).for_each(|second| made.second(second, &mut random));
    made.unanswered();
    let totals = made.totals();
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        config: config(),
        env: env(),
        verdict: Verdict::default(),
        errors: BTreeMap::from([("reset".to_owned(), RESETS), ("timeout".to_owned(), TIMEOUTS)]),
        backends: made.backends(),
        intervals: made.intervals,
        latency: made.latency,
        generator: generator(&mut random),
        sut: Some(sut(totals.ok)),
        network: Some(Network { segments_out: 40_211, retransmitted: 3, listen_drops: 0 }),
        stream: None,
        hold: None,
        totals,
    };
    report.verdict = judge(&report, None);
    report
}

/// What comes together request by request.
#[derive(Default)]
struct Made {
    latency: Latency,
    intervals: Vec<Interval>,
    backends: BTreeMap<&'static str, Backend>,
}

impl Made {
    fn second(&mut self, second: u32, random: &mut Random) {
        let failed = if second == STALLED { RESETS + TIMEOUTS + UNSENT + 1 } else { 0 };
        let ok = RATE - failed;
        let mut interval = Interval {
            start_s: f64::from(second),
            length_s: 1.0,
            ok,
            errors: if second == STALLED { RESETS + TIMEOUTS } else { 0 },
            bytes_in: ok * REPLY_BYTES,
            bytes_out: (RATE - if second == STALLED { UNSENT } else { 0 }) * REQUEST_BYTES,
            ..Interval::default()
        };
        for index in 0..ok {
            let name = NAMES[usize::try_from(index % 3).expect("less than three")];
            let stalled = second == STALLED && name == "B2" && index < 300;
            let response = self.request(name, stalled.then(|| 300 - index), random);
            interval.response.record_ns(response);
            *interval.backends.entry(name.to_owned()).or_default() += 1;
        }
        self.intervals.push(interval);
    }

    /// One request; `before_end` is how many more of a stall are to come.
    fn request(&mut self, name: &'static str, before_end: Option<u64>, random: &mut Random) -> u64 {
        let usual = 80_000 + random.skewed(120_000);
        let service = before_end.map_or(usual, |left| usual + left * 1_000_000);
        let busy = before_end.map_or(0, |left| left * 200_000);
        let late = random.skewed(3_000);
        let response = service + busy + late;
        let latency = &mut self.latency;
        latency.service.record_ns(service);
        latency.wait_busy.record_ns(busy);
        latency.wait_late.record_ns(late);
        latency.response.record_ns(response);
        let backend = self.backends.entry(name).or_default();
        backend.responses += 1;
        backend.response.record_ns(response);
        response
    }

    /// The one that was sent and never answered, at its age.
    fn unanswered(&mut self) {
        for times in [&mut self.latency.response, &mut self.latency.service] {
            times.record_ns(4_600_000_000);
        }
        self.latency.wait_late.record_ns(0);
        self.latency.wait_busy.record_ns(0);
        (0..CONNECTIONS).for_each(|one| self.latency.connect.record_ns(90_000 + one * 1_700));
    }

    fn totals(&self) -> Totals {
        let sum = |of: fn(&Interval) -> u64| self.intervals.iter().map(of).sum::<u64>();
        let (ok, errors) = (sum(|interval| interval.ok), sum(|interval| interval.errors));
        let a_second = |count: u64| {
            f64::from(u32::try_from(count).expect("a few thousand")) / f64::from(SECONDS)
        };
        let intended = RATE * u64::from(SECONDS);
        Totals {
            intended,
            ok,
            errors,
            unanswered: 1,
            unsent: UNSENT,
            offered_per_s: a_second(intended),
            achieved_per_s: a_second(ok + errors),
            goodput_per_s: a_second(ok),
            bytes_in: sum(|interval| interval.bytes_in),
            bytes_out: sum(|interval| interval.bytes_out),
            elapsed_s: f64::from(SECONDS),
            connects: CONNECTIONS + RESETS + TIMEOUTS,
            stopped: false,
        }
    }

    fn backends(&self) -> Vec<Backend> {
        let all: u64 = self.backends.values().map(|backend| backend.responses).sum();
        let float = |count: u64| f64::from(u32::try_from(count).expect("a few thousand"));
        let named = |(&name, backend): (&&str, &Backend)| Backend {
            name: name.to_owned(),
            share: float(backend.responses) / float(all),
            p99_ns: backend.response.quantile_ns(0.99),
            ..backend.clone()
        };
        self.backends.iter().map(named).collect()
    }
}

fn config() -> Config {
    let command = "loadgen ping 127.0.0.1:8880 -c 50 -d 10s -R 2000 --arrivals poisson";
    Config {
        command: command.split(' ').map(str::to_owned).collect(),
        workload: "ping".to_owned(),
        target: "127.0.0.1:8880".to_owned(),
        address: "127.0.0.1:8880".to_owned(),
        connections: 50,
        threads: 1,
        duration_s: f64::from(SECONDS),
        warm_up_s: 1.0,
        timeout_s: 5.0,
        rate_per_s: Some(2000.0),
        arrivals: Some("poisson".to_owned()),
        seed: 42,
        pipeline: 1,
        request_bytes: REQUEST_BYTES,
        verify: "len".to_owned(),
        close: "fin".to_owned(),
        ..Config::default()
    }
}

fn env() -> Env {
    Env {
        started_at: "2026-11-21T19:30:00.250Z".to_owned(),
        version: "0.1.0".to_owned(),
        kernel: "6.12.0".to_owned(),
        cpu_model: "Example CPU @ 3.00GHz".to_owned(),
        cpus: 2,
        congestion_control: "cubic".to_owned(),
        ..Env::default()
    }
}

fn generator(random: &mut Random) -> Generator {
    let mut generator = Generator {
        engine: "io_uring".to_owned(),
        threads: 1,
        cpu_s: 1.37,
        busiest: 0.137,
        connections_wanted: 50,
        connections_established: 50,
        ports: Some([62, 28_232]),
        ..Generator::default()
    };
    (0..30_000).for_each(|_| generator.turn.record_ns(2_000 + random.skewed(9_000)));
    generator
}

fn sut(ok: u64) -> Sut {
    let requests = f64::from(u32::try_from(ok).expect("a few thousand"));
    Sut {
        what: "pid 4711".to_owned(),
        ended: false,
        cpu_s: 0.52,
        cpu_us_per_request: Some(0.52e6 / requests),
        cpu_s_per_gb: None,
        resident_before_bytes: 9_437_184,
        resident_bytes: 10_190_848,
        bytes_per_connection: Some(15_073.28),
        voluntary_switches: Some(38_411),
        involuntary_switches: Some(127),
    }
}

/// Random enough for a picture, and the same everywhere (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// About `typical`, seldom some times as much; as latencies are.
    fn skewed(&mut self, typical: u64) -> u64 {
        let tail = self.next().trailing_zeros();
        (self.next() % typical) * u64::from(tail + 1) / 2
    }
}

const SECONDS: u32 = 10;
const RATE: u64 = 2000;
const CONNECTIONS: u64 = 50;
const REQUEST_BYTES: u64 = 64;
const REPLY_BYTES: u64 = 14;
const NAMES: [&str; 3] = ["B1", "B2", "B3"];
/// The second in which the second backend stalls.
const STALLED: u32 = 5;
const RESETS: u64 = 2;
const TIMEOUTS: u64 = 5;
const UNSENT: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_the_sample_fit() {
        let report = sample();
        let totals = &report.totals;
        assert_eq!(totals.intended, totals.ok + totals.errors + totals.unanswered + totals.unsent);
        assert_eq!(report.errors.values().sum::<u64>(), totals.errors);
        assert_eq!(report.backends.iter().map(|one| one.responses).sum::<u64>(), totals.ok);
        let intervals = &report.intervals;
        assert_eq!(intervals.iter().map(|one| one.ok).sum::<u64>(), totals.ok);
        let by_backend = intervals.iter().flat_map(|one| one.backends.values()).sum::<u64>();
        assert_eq!(by_backend, totals.ok);
        assert_eq!(report.latency.response.count(), totals.ok + totals.unanswered);
    }

    #[test]
    fn the_sample_is_the_same_each_time() {
        assert_eq!(sample(), sample());
    }
}
