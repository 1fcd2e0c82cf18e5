//! The generators: how each is started, and what its report says.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::Value;

/// The figures of one run, by name.
pub(super) type Brought = Vec<(&'static str, f64)>;

/// What loads a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    WrkOne,
    HttpOne,
    Wrk,
    Http,
    Ping,
    Pipelined,
    IperfUp,
    StreamUp,
    IperfDown,
    StreamDown,
    Rate,
    Hold,
}

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WrkOne | Self::Wrk => "wrk",
            Self::HttpOne | Self::Http => "loadgen http",
            Self::Ping => "loadgen ping",
            Self::Pipelined => "loadgen ping -p 16",
            Self::IperfUp | Self::IperfDown => "iperf3",
            Self::StreamUp | Self::StreamDown => "loadgen stream",
            Self::Rate => "loadgen ping -R",
            Self::Hold => "loadgen hold",
        }
    }

    /// Whether it is installed; who is not is named.
    pub(super) fn is_here(self) -> bool {
        let (program, package) = match self {
            Self::WrkOne | Self::Wrk => ("wrk", "wrk"),
            Self::IperfUp | Self::IperfDown => ("iperf3", "iperf3"),
            _ => return true,
        };
        let here = Command::new(program).arg("-v").output().is_ok();
        if !here {
            println!("  {program} is not here: apt-get install {package}");
        }
        here
    }

    /// What it loads.
    pub(super) fn server(self, address: SocketAddr) -> Command {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        if matches!(self, Self::IperfUp | Self::IperfDown) {
            let mut command = Command::new("iperf3");
            command.args(["-s", "-1", "-B", &ip, "-p", &port]);
            return command;
        }
        let mode = match self {
            Self::WrkOne | Self::HttpOne | Self::Wrk | Self::Http => "http",
            Self::StreamUp | Self::StreamDown => "stream",
            _ => "echo",
        };
        let mut command = Command::new(loadgen());
        command.args(["serve", "--host", &ip, "--port", &port, "--mode", mode]);
        command
    }

    /// The tool itself.
    pub(super) fn command(self, target: SocketAddr, seconds: u64) -> Command {
        let (ip, port) = (target.ip().to_string(), target.port().to_string());
        let (url, target) = (format!("http://{target}/"), target.to_string());
        let time = format!("{seconds}s");
        let own = |words: &[&str]| {
            let mut command = Command::new(loadgen());
            command.args(words).args(["-d", &time, "--json", "-"]);
            command
        };
        let iperf = |down: bool| {
            let mut command = Command::new("iperf3");
            command.args(["-J", "-c", &ip, "-p", &port, "-t", &seconds.to_string()]);
            command.args(down.then_some("-R"));
            command
        };
        let wrk = |connections| {
            let mut command = Command::new("wrk");
            command.args(["-t", "1", "-c", connections, "-d", &time, "--latency", &url]);
            command
        };
        match self {
            Self::WrkOne => wrk("1"),
            Self::Wrk => wrk("64"),
            Self::HttpOne => own(&["http", &url, "-c", "1"]),
            Self::Http => own(&["http", &url, "-c", "64"]),
            Self::Ping => own(&["ping", &target, "-c", "64"]),
            Self::Pipelined => own(&["ping", &target, "-c", "64", "-p", "16"]),
            Self::IperfUp => iperf(false),
            Self::IperfDown => iperf(true),
            Self::StreamUp => own(&["stream", &target, "--up", "1", "-w", "0s"]),
            Self::StreamDown => own(&["stream", &target, "--down", "1", "-w", "0s"]),
            Self::Rate => own(&["ping", &target, "-c", "64", "-R", "50k"]),
            Self::Hold => own(&["hold", &target, "-c", "15k"]),
        }
    }

    /// Runs it to its end at the place of the calling thread.
    pub(super) fn run(self, target: SocketAddr, seconds: u64) -> io::Result<Brought> {
        let before = children_cpu_s()?;
        let output = self.command(target, seconds).output()?;
        let cpu_s = children_cpu_s()? - before;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("{}: {}", self.name(), said.trim())));
        }
        self.read(&output, cpu_s)
            .ok_or_else(|| io::Error::other(format!("{}: no figures in its report", self.name())))
    }

    fn read(self, output: &Output, cpu_s: f64) -> Option<Brought> {
        let text = String::from_utf8_lossy(&output.stdout);
        match self {
            Self::WrkOne | Self::Wrk => wrk(&text, cpu_s),
            Self::IperfUp | Self::IperfDown => iperf(&text, cpu_s),
            Self::StreamUp | Self::StreamDown => stream(&text, cpu_s),
            Self::Rate => rate(&text),
            Self::Hold => hold(&text),
            Self::HttpOne | Self::Http | Self::Ping | Self::Pipelined => requests(&text, cpu_s),
        }
    }
}

/// What the tools call themselves.
pub(super) fn versions() -> Vec<String> {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(str::to_owned)
    };
    [said("wrk", "-v"), said("iperf3", "--version")].into_iter().flatten().collect()
}

fn loadgen() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.with_file_name("loadgen")
}

/// Processor time of the children that have ended and were waited for.
fn children_cpu_s() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64())
}

/// `wrk --latency`: the line of each figure.
fn wrk(text: &str, cpu_s: f64) -> Option<Brought> {
    let after = |label: &str| {
        let line = text.lines().map(str::trim).find(|line| line.starts_with(label))?;
        line[label.len()..].split_whitespace().next()
    };
    let rate: f64 = after("Requests/sec:")?.parse().ok()?;
    let requests: f64 = text
        .lines()
        .find(|line| line.contains(" requests in "))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(vec![
        ("requests/s", rate),
        ("p50 µs", micros(after("50%")?)?),
        ("p99 µs", micros(after("99%")?)?),
        ("CPU µs a request", cpu_s * 1e6 / requests),
    ])
}

/// `1.23ms` as wrk writes it.
fn micros(text: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Some(number.parse::<f64>().ok()? * factor);
        }
    }
    None
}

fn requests(text: &str, cpu_s: f64) -> Option<Brought> {
    let report: Value = serde_json::from_str(text).ok()?;
    let (totals, service) = (&report["totals"], &report["latency"]["service"]);
    Some(vec![
        ("requests/s", totals["goodput_per_s"].as_f64()?),
        ("p50 µs", service["p50_ns"].as_f64()? / 1e3),
        ("p99 µs", service["p99_ns"].as_f64()? / 1e3),
        ("CPU µs a request", cpu_s * 1e6 / totals["ok"].as_f64()?),
    ])
}

fn iperf(text: &str, cpu_s: f64) -> Option<Brought> {
    let report: Value = serde_json::from_str(text).ok()?;
    let received = &report["end"]["sum_received"];
    Some(vec![
        ("Gbit/s", received["bits_per_second"].as_f64()? / 1e9),
        ("CPU-s/GB", cpu_s * 1e9 / received["bytes"].as_f64()?),
    ])
}

fn stream(text: &str, cpu_s: f64) -> Option<Brought> {
    let report: Value = serde_json::from_str(text).ok()?;
    let direction = &report["stream"]["directions"][0];
    Some(vec![
        ("Gbit/s", direction["gbit_per_s"].as_f64()?),
        ("CPU-s/GB", cpu_s * 1e9 / direction["bytes"].as_f64()?),
    ])
}

fn rate(text: &str) -> Option<Brought> {
    let report: Value = serde_json::from_str(text).ok()?;
    let (totals, late) = (&report["totals"], &report["latency"]["wait_late"]);
    let (offered, achieved) =
        (totals["offered_per_s"].as_f64()?, totals["achieved_per_s"].as_f64()?);
    Some(vec![
        ("offered/s", offered),
        ("achieved/s", achieved),
        ("error of the rate, %", (achieved / offered - 1.0) * 100.0),
        ("sent late p50, µs", late["p50_ns"].as_f64()? / 1e3),
        ("sent late p99, µs", late["p99_ns"].as_f64()? / 1e3),
        ("response p50, µs", report["latency"]["response"]["p50_ns"].as_f64()? / 1e3),
        ("response p99, µs", report["latency"]["response"]["p99_ns"].as_f64()? / 1e3),
        ("unsent", totals["unsent"].as_f64()?),
    ])
}

fn hold(text: &str) -> Option<Brought> {
    let report: Value = serde_json::from_str(text).ok()?;
    let hold = &report["hold"];
    Some(vec![
        ("established", hold["established"].as_f64()?),
        ("alive at the end", hold["alive"].as_f64()?),
        ("seconds to connect", hold["connect_s"].as_f64()?),
        ("bytes a connection", hold["generator_bytes_per_connection"].as_f64()?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_writes_is_understood() {
        let text = "Running 3s test @ http://127.0.0.1:18080/\n  1 threads and 64 connections\n  \
                    Latency Distribution\n     50%  843.00us\n     75%    0.90ms\n     \
                    90%    1.00ms\n     99%    1.50ms\n  220000 requests in 3.10s, 20.00MB read\n\
                    Requests/sec:  70967.74\nTransfer/sec:      6.45MB\n";
        let expected = vec![
            ("requests/s", 70_967.74),
            ("p50 µs", 843.0),
            ("p99 µs", 1500.0),
            ("CPU µs a request", 10.0),
        ];
        assert_eq!(wrk(text, 2.2), Some(expected));
        assert_eq!(wrk("unable to connect", 1.0), None);
    }
}
