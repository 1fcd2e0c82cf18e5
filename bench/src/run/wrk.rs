//! Requests by wrk, a generator that we did not write, over HTTP.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use loadgen::serve::Mode;

use super::{Bench, Run, UnderTest};
use crate::contender::Contender;
use crate::figure::{Figure, Figures};
use crate::process::Process;

/// What a run of wrk said.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    requests: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Answers that were none, and connections that failed.
    errors: u64,
}

impl Bench {
    pub(super) fn run_wrk(
        &self,
        contender: &Contender,
        connections: NonZeroU32,
    ) -> io::Result<Run> {
        let backend = self.serve(Mode::Http)?;
        let under_test = UnderTest::start(contender, &self.network, backend.addresses()[0])?;
        let before = under_test.cpu()?;
        let text = self.network.client.run(|| self.wrk(under_test.target, connections))?;
        let after = under_test.cpu()?;
        let said = parse(&text).ok_or_else(|| io::Error::other(format!("wrk says: {text}")))?;
        let cpu = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        let per_request = |cpu: Duration| cpu.as_secs_f64() * 1e6 / said.requests;
        let mut figures = Figures::new();
        figures.extend(cpu.map(|cpu| (Figure::CpuUs, per_request(cpu))));
        figures.push((Figure::PerSecond, said.per_second));
        figures.extend([(Figure::P50Us, said.p50_us), (Figure::P99Us, said.p99_us)]);
        Ok(Run { figures, errors: said.errors })
    }

    /// Runs it at the place of the calling thread, to its end; what it prints.
    fn wrk(&self, target: SocketAddr, connections: NonZeroU32) -> io::Result<String> {
        let mut command = Command::new("wrk");
        let seconds = self.duration.as_secs().max(1);
        command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency"]);
        command.arg(format!("http://{target}/")).stdout(Stdio::piped());
        let mut client = Process::spawn(command, Vec::new())?;
        let mut report = client.stdout().ok_or(io::ErrorKind::BrokenPipe)?;
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            report.read_to_string(&mut text).map(|_| text)
        });
        while client.ended()?.is_none() {
            self.stop.check()?;
            sleep(Duration::from_millis(10));
        }
        reader.join().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?
    }
}

/// Its version, if it is here. `wrk -v` ends with 1.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("wrk").arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(|line| line.split(" Copyright").next().unwrap_or(line).to_owned())
}

fn parse(text: &str) -> Option<Said> {
    let after = |label: &str| {
        let line = text.lines().map(str::trim).find(|line| line.starts_with(label))?;
        line[label.len()..].split_whitespace().next()
    };
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0;
    let errors = text.lines().map(str::trim).filter_map(|line| {
        let counts = line
            .strip_prefix("Socket errors:")
            .or_else(|| line.strip_prefix("Non-2xx or 3xx responses:"))?;
        let numbers = counts.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok());
        Some(numbers.sum::<u64>())
    });
    Some(Said {
        requests: requests.parse().ok()?,
        per_second: after("Requests/sec:")?.parse().ok()?,
        p50_us: microseconds(after("50%")?)?,
        p99_us: microseconds(after("99%")?)?,
        errors: errors.sum(),
    })
}

/// `812.00us`, `1.50ms`, `2.00s`.
fn microseconds(text: &str) -> Option<f64> {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 1s test @ http://127.0.0.1:18000/\n  1 threads and 64 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.30ms  402.07us   9.65ms   88.24%\n  \
        Latency Distribution\n     50%  812.00us\n     75%    1.33ms\n     90%    1.57ms\n     99%    2.61ms\n  \
        49237 requests in 1.00s, 5.12MB read\n  Socket errors: connect 0, read 3, write 0, timeout 2\n  \
        Non-2xx or 3xx responses: 10\nRequests/sec:  49012.34\nTransfer/sec:      5.10MB\n";

    #[test]
    fn its_report_is_read() {
        let said = parse(TEXT).expect("a report");
        let figures = (said.requests, said.per_second, said.p50_us, said.p99_us);
        assert_eq!(figures, (49_237.0, 49_012.34, 812.0, 2610.0));
        assert_eq!(said.errors, 15);
        assert_eq!(parse("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
    }
}
