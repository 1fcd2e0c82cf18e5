//! Results of several generators that loaded one target together, added up exactly.

use std::collections::BTreeMap;

use super::{
    Backend, Config, Direction, Distribution, Generator, Hold, Interval, Latency, Part, Report,
    Stream, Totals, judge,
};

/// Why results do not add up to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// One result or none.
    #[error("there is nothing to merge: give two results or more")]
    TooFew,
    /// The same result twice would count everything twice.
    #[error("{first} and {file} are the same result; give each of them once")]
    Twice {
        /// The first file.
        first: String,
        /// The other one.
        file: String,
    },
    /// They measured different things.
    #[error(
        "{file} is of another run than {first}: {what} is {other}, not {value}; merge only what \
         ran with the same options, on several machines or processors"
    )]
    Differ {
        /// The first file.
        first: String,
        /// The file that does not fit to it.
        file: String,
        /// The option.
        what: &'static str,
        /// What it is in `first`.
        value: String,
        /// What it is in `file`.
        other: String,
    },
}

/// Adds up results, each with the name of its file. Histograms and counts are added, connections,
/// threads and rates too; intervals are aligned by the time since each run began; percentiles come
/// from the added histograms. What all generators see alike is not added: of the system under
/// test the part with the most processor time is kept.
///
/// # Errors
/// When they are not results of one run.
pub fn merge(parts: Vec<(String, Report)>) -> Result<Report, MergeError> {
    for (index, (file, report)) in parts.iter().enumerate() {
        if let Some((first, _)) = parts[..index].iter().find(|(_, earlier)| earlier == report) {
            let (first, file) = (first.clone(), file.clone());
            return Err(MergeError::Twice { first, file });
        }
    }
    let mut parts = parts.into_iter();
    let (first, mut sum) = parts.next().ok_or(MergeError::TooFew)?;
    if parts.len() == 0 {
        return Err(MergeError::TooFew);
    }
    let mut files = vec![first.clone()];
    sum.env.generators = generators(&first, &sum);
    for (file, report) in parts {
        fits(&first, &sum.config, &file, &report.config)?;
        add(&mut sum, &file, report);
        files.push(file);
    }
    let merge = ["loadgen", "merge"].map(str::to_owned);
    sum.config.command = merge.into_iter().chain(files).collect();
    finish(&mut sum);
    Ok(sum)
}

fn fits(first: &str, a: &Config, file: &str, b: &Config) -> Result<(), MergeError> {
    let loop_of = |config: &Config| match &config.arrivals {
        Some(arrivals) if config.rate_per_s.is_some() => format!("open, {arrivals}"),
        _ if config.rate_per_s.is_some() => "open".to_owned(),
        _ => "closed".to_owned(),
    };
    let lifetime = |config: &Config| {
        config.requests_per_connection.clone().unwrap_or_else(|| "without end".to_owned())
    };
    for (what, value, other) in [
        ("the workload", a.workload.clone(), b.workload.clone()),
        ("the loop", loop_of(a), loop_of(b)),
        ("the duration", a.duration_s.to_string(), b.duration_s.to_string()),
        ("the pipeline", a.pipeline.to_string(), b.pipeline.to_string()),
        ("the request's size", a.request_bytes.to_string(), b.request_bytes.to_string()),
        ("the reply's size", format!("{:?}", a.reply_bytes), format!("{:?}", b.reply_bytes)),
        ("the life of a connection", lifetime(a), lifetime(b)),
        ("the close", a.close.clone(), b.close.clone()),
        ("the timeout", a.timeout_s.to_string(), b.timeout_s.to_string()),
        ("the weights", format!("{:?}", a.weights), format!("{:?}", b.weights)),
    ] {
        if value != other {
            let (first, file) = (first.to_owned(), file.to_owned());
            return Err(MergeError::Differ { first, file, what, value, other });
        }
    }
    Ok(())
}

/// The generators of a result that may be a merged one itself.
fn generators(file: &str, report: &Report) -> Vec<Part> {
    if !report.env.generators.is_empty() {
        return report.env.generators.clone();
    }
    vec![Part {
        file: file.to_owned(),
        env: report.env.clone(),
        generator: report.generator.clone(),
        totals: report.totals.clone(),
        network: report.network.clone(),
    }]
}

fn add(sum: &mut Report, file: &str, report: Report) {
    let generators = generators(file, &report);
    add_config(&mut sum.config, report.config);
    sum.env.generators.extend(generators);
    if report.env.started_at < sum.env.started_at {
        sum.env.started_at = report.env.started_at;
    }
    sum.env.steal = greater(sum.env.steal, report.env.steal);
    add_totals(&mut sum.totals, &report.totals);
    add_latency(&mut sum.latency, &report.latency);
    add_counts(&mut sum.errors, report.errors);
    report.backends.into_iter().for_each(|backend| add_backend(&mut sum.backends, backend));
    report.intervals.into_iter().for_each(|interval| add_interval(&mut sum.intervals, interval));
    add_generator(&mut sum.generator, &report.generator);
    sum.sut = match (sum.sut.take(), report.sut) {
        (Some(a), Some(b)) => Some(if b.cpu_s > a.cpu_s { b } else { a }),
        (a, b) => a.or(b),
    };
    // Whether they share a network namespace is not known, so this cannot be added.
    sum.network = None;
    match (&mut sum.stream, report.stream) {
        (Some(a), Some(b)) => add_stream(a, b),
        (a, b) => *a = a.take().or(b),
    }
    match (&mut sum.hold, report.hold) {
        (Some(a), Some(b)) => add_hold(a, &b),
        (a, b) => *a = a.take().or(b),
    }
}

fn add_config(sum: &mut Config, other: Config) {
    if !sum.target.split(", ").any(|target| target == other.target) {
        sum.target = format!("{}, {}", sum.target, other.target);
        sum.address = format!("{}, {}", sum.address, other.address);
    }
    sum.connections += other.connections;
    sum.threads += other.threads;
    let both = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a + b);
    sum.rate_per_s = both(sum.rate_per_s, other.rate_per_s);
    sum.rate_end_per_s = both(sum.rate_end_per_s, other.rate_end_per_s);
    sum.requests = sum.requests.zip(other.requests).map(|(a, b)| a + b);
    sum.sources.extend(other.sources);
    // Numbers of processors mean nothing across machines.
    sum.cpus.clear();
}

fn add_totals(sum: &mut Totals, other: &Totals) {
    sum.intended += other.intended;
    sum.ok += other.ok;
    sum.errors += other.errors;
    sum.unanswered += other.unanswered;
    sum.unsent += other.unsent;
    sum.bytes_in += other.bytes_in;
    sum.bytes_out += other.bytes_out;
    sum.connects += other.connects;
    sum.elapsed_s = sum.elapsed_s.max(other.elapsed_s);
    sum.stopped |= other.stopped;
}

fn add_latency(sum: &mut Latency, other: &Latency) {
    sum.response.add(&other.response);
    sum.service.add(&other.service);
    sum.wait_late.add(&other.wait_late);
    sum.wait_busy.add(&other.wait_busy);
    sum.connect.add(&other.connect);
}

fn add_counts(sum: &mut BTreeMap<String, u64>, other: BTreeMap<String, u64>) {
    for (name, count) in other {
        *sum.entry(name).or_default() += count;
    }
}

fn add_backend(sum: &mut Vec<Backend>, other: Backend) {
    match sum.iter_mut().find(|backend| backend.name == other.name) {
        Some(backend) => {
            backend.responses += other.responses;
            backend.response.add(&other.response);
        }
        None => sum.push(other),
    }
}

/// To the interval that begins at the same time, to within half of its length.
fn add_interval(sum: &mut Vec<Interval>, other: Interval) {
    let same = |one: &&mut Interval| {
        (one.start_s - other.start_s).abs() < one.length_s.max(other.length_s) / 2.0
    };
    let Some(interval) = sum.iter_mut().find(same) else {
        sum.push(other);
        return;
    };
    interval.length_s = interval.length_s.max(other.length_s);
    interval.ok += other.ok;
    interval.errors += other.errors;
    interval.bytes_in += other.bytes_in;
    interval.bytes_out += other.bytes_out;
    interval.response.add(&other.response);
    add_counts(&mut interval.backends, other.backends);
}

fn add_generator(sum: &mut Generator, other: &Generator) {
    if !sum.engine.split(" and ").any(|engine| engine == other.engine) {
        sum.engine = format!("{} and {}", sum.engine, other.engine);
    }
    sum.threads += other.threads;
    sum.cpu_s += other.cpu_s;
    sum.busiest = sum.busiest.max(other.busiest);
    sum.turn.add(&other.turn);
    sum.connections_wanted += other.connections_wanted;
    sum.connections_established += other.connections_established;
    sum.connections_silent += other.connections_silent;
    // The one that is nearer to its end.
    sum.ports = match (sum.ports, other.ports) {
        (Some(a), Some(b)) if b[0] * a[1] > a[0] * b[1] => Some(b),
        (a, b) => a.or(b),
    };
}

fn add_stream(sum: &mut Stream, other: Stream) {
    for direction in other.directions {
        match sum.directions.iter_mut().find(|one| one.name == direction.name) {
            Some(one) => add_direction(one, direction),
            None => sum.directions.push(direction),
        }
    }
    add_probe(&mut sum.probe, other.probe);
    add_probe(&mut sum.probe_idle, other.probe_idle);
}

fn add_direction(sum: &mut Direction, other: Direction) {
    sum.streams_bytes.extend(other.streams_bytes);
    sum.bytes += other.bytes;
    sum.gbit_per_s += other.gbit_per_s;
    sum.wrong_bytes += other.wrong_bytes;
}

fn add_probe(sum: &mut Option<Distribution>, other: Option<Distribution>) {
    match (sum.as_mut(), other) {
        (Some(sum), Some(other)) => sum.add(&other),
        (None, other) => *sum = other,
        (Some(_), None) => {}
    }
}

fn add_hold(sum: &mut Hold, other: &Hold) {
    let bytes = sum.generator_bytes_per_connection * sum.established as f64
        + other.generator_bytes_per_connection * other.established as f64;
    sum.wanted += other.wanted;
    sum.established += other.established;
    sum.alive += other.alive;
    sum.connect_s = sum.connect_s.max(other.connect_s);
    sum.probes_ok += other.probes_ok;
    sum.probes_failed += other.probes_failed;
    sum.generator_bytes_per_connection = bytes / sum.established.max(1) as f64;
}

/// What follows from the sums.
fn finish(sum: &mut Report) {
    let totals = &mut sum.totals;
    let per_s = |count: u64| {
        if totals.elapsed_s > 0.0 { count as f64 / totals.elapsed_s } else { 0.0 }
    };
    let rates = [totals.intended, totals.ok + totals.errors, totals.ok].map(per_s);
    [totals.offered_per_s, totals.achieved_per_s, totals.goodput_per_s] = rates;
    for backend in &mut sum.backends {
        backend.share = backend.responses as f64 / totals.ok.max(1) as f64;
        backend.p99_ns = backend.response.quantile_ns(0.99);
    }
    sum.backends.sort_by(|a, b| a.name.cmp(&b.name));
    sum.intervals.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    if let Some(sut) = &mut sum.sut {
        let each = sut.cpu_s * 1e6 / totals.ok.max(1) as f64;
        sut.cpu_us_per_request = sut.cpu_us_per_request.map(|_| each);
        let gigabytes = (totals.bytes_in + totals.bytes_out) as f64 / 1e9;
        sut.cpu_s_per_gb = sut.cpu_s_per_gb.map(|_| sut.cpu_s / gigabytes);
        let grown = sut.resident_bytes as f64 - sut.resident_before_bytes as f64;
        let connections = f64::from(sum.generator.connections_established.max(1));
        sut.bytes_per_connection = sut.bytes_per_connection.map(|_| grown / connections);
    }
    let slo = sum.config.slo.as_ref().and_then(|slo| slo.parse().ok());
    sum.verdict = judge(sum, slo.as_ref());
}

fn greater(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
