//! Objectives: what is typed as `p99<2ms,err<0.1%`, and which of it a report misses.

use std::fmt;
use std::str::FromStr;

use super::{Distribution, Report, figures};

/// A service level objective; all its parts have to be met.
///
/// ```
/// use loadgen::report::slo::Slo;
///
/// let slo: Slo = "p99<2ms, err<0.1%, goodput>10k".parse()?;
/// assert_eq!(slo.to_string(), "p99<2ms,err<0.1%,goodput>10k");
/// assert!("p99<2".parse::<Slo>().is_err());
/// # Ok::<(), loadgen::report::slo::SloError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    objectives: Vec<Objective>,
}

/// What is wrong with an objective as it was typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{part}`: {problem}; write for example p99<2ms,err<0.1%,goodput>10k")]
pub struct SloError {
    part: String,
    problem: String,
}

impl Slo {
    /// The parts that `report` misses, each with what was measured; empty: it is met.
    #[must_use]
    pub fn missed(&self, report: &Report) -> Vec<String> {
        self.objectives.iter().filter_map(|objective| objective.missed(report)).collect()
    }
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let parse = |part: &str| {
            let part: String = part.split_whitespace().collect();
            Objective::parse(&part).map_err(|problem| SloError { part, problem })
        };
        let objectives = text.split(',').map(parse).collect::<Result<_, _>>()?;
        Ok(Self { objectives })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.objectives.iter().map(|one| one.text.as_str()).collect();
        formatter.write_str(&parts.join(","))
    }
}

/// One part: a figure, a comparison, and a limit.
#[derive(Clone, Debug, PartialEq)]
struct Objective {
    text: String,
    metric: Metric,
    comparison: Comparison,
    /// In nanoseconds, a share from 0 to 1, or a second.
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    Time(Times, Statistic),
    /// The share of the intended that is not ok.
    Errors,
    Rate(Rate),
}

/// Which times.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Times {
    Response,
    Service,
    WaitLate,
    WaitBusy,
    Connect,
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Quantile(f64),
    Mean,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    Achieved,
    Goodput,
    Gbit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Objective {
    fn parse(text: &str) -> Result<Self, String> {
        let at = text.find(['<', '>']).ok_or("no < or > in it")?;
        let (metric, rest) = text.split_at(at);
        let (comparison, limit) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(limit), _) => (Comparison::LessOrEqual, limit),
            (_, Some(limit)) => (Comparison::GreaterOrEqual, limit),
            _ if rest.starts_with('<') => (Comparison::Less, &rest[1..]),
            _ => (Comparison::Greater, &rest[1..]),
        };
        let metric = Metric::parse(metric)?;
        let limit = metric.parse_limit(limit)?;
        Ok(Self { text: text.to_owned(), metric, comparison, limit })
    }

    fn missed(&self, report: &Report) -> Option<String> {
        match self.metric.measure(report) {
            Ok(measured) if self.comparison.holds(measured, self.limit) => None,
            Ok(measured) => Some(format!("{}: it is {}", self.text, self.metric.show(measured))),
            Err(why) => Some(format!("{}: not known, {why}", self.text)),
        }
    }
}

impl Metric {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "err" | "errors" => return Ok(Self::Errors),
            "rate" => return Ok(Self::Rate(Rate::Achieved)),
            "goodput" => return Ok(Self::Rate(Rate::Goodput)),
            "gbit" => return Ok(Self::Rate(Rate::Gbit)),
            _ => {}
        }
        let (times, statistic) = text
            .split_once('.')
            .filter(|(times, _)| !is_quantile(times))
            .unwrap_or(("response", text));
        let times = match times {
            "response" => Times::Response,
            "service" => Times::Service,
            "wait_late" => Times::WaitLate,
            "wait_busy" => Times::WaitBusy,
            "connect" => Times::Connect,
            "probe" => Times::Probe,
            other => {
                return Err(format!(
                    "no times are called `{other}`, only response, service, wait_late, wait_busy, \
                     connect and probe"
                ));
            }
        };
        Ok(Self::Time(times, Statistic::parse(statistic)?))
    }

    fn parse_limit(self, text: &str) -> Result<f64, String> {
        let (digits, unit) = text.split_at(
            text.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(text.len()),
        );
        let value: f64 = digits.parse().map_err(|_| format!("`{text}` is no number"))?;
        let factor = match self {
            Self::Time(..) => factor(unit, &TIME_UNITS).ok_or("a time has a unit: ns, us, ms or s"),
            Self::Errors => factor(unit, &[("%", 0.01), ("", 1.0)])
                .filter(|factor| value * factor <= 1.0)
                .ok_or("a share is written as 0.1% or as 0.001, and is at most 100%"),
            Self::Rate(_) => factor(unit.strip_suffix("/s").unwrap_or(unit), &RATE_UNITS)
                .ok_or("a rate is a number, and may end in k or M"),
        };
        Ok(value * factor?)
    }

    fn measure(self, report: &Report) -> Result<f64, String> {
        let totals = &report.totals;
        match self {
            Self::Time(times, statistic) => statistic.measure(times.of(report)?),
            Self::Errors if totals.intended == 0 => Err("no request was intended".to_owned()),
            Self::Errors => {
                Ok(totals.intended.saturating_sub(totals.ok) as f64 / totals.intended as f64)
            }
            Self::Rate(Rate::Achieved) => Ok(totals.achieved_per_s),
            Self::Rate(Rate::Goodput) => Ok(totals.goodput_per_s),
            Self::Rate(Rate::Gbit) => {
                let stream = report.stream.as_ref().ok_or("this is no bulk run")?;
                Ok(stream.directions.iter().map(|direction| direction.gbit_per_s).sum())
            }
        }
    }

    fn show(self, measured: f64) -> String {
        match self {
            Self::Time(..) => figures::time(measured),
            Self::Errors => figures::percent(measured),
            Self::Rate(Rate::Gbit) => format!("{} Gbit/s", figures::number(measured)),
            Self::Rate(_) => format!("{}/s", figures::number(measured)),
        }
    }
}

impl Times {
    fn of(self, report: &Report) -> Result<&Distribution, String> {
        let latency = &report.latency;
        Ok(match self {
            Self::Response => &latency.response,
            Self::Service => &latency.service,
            Self::WaitLate => &latency.wait_late,
            Self::WaitBusy => &latency.wait_busy,
            Self::Connect => &latency.connect,
            Self::Probe => {
                let probe = report.stream.as_ref().and_then(|stream| stream.probe.as_ref());
                probe.ok_or("no probe ran beside the bulk (--probe)")?
            }
        })
    }
}

impl Statistic {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "mean" => return Ok(Self::Mean),
            "max" => return Ok(Self::Max),
            _ => {}
        }
        let percent = text.strip_prefix('p').and_then(|number| number.parse::<f64>().ok());
        match percent {
            Some(percent) if 0.0 < percent && percent < 100.0 => {
                Ok(Self::Quantile(percent / 100.0))
            }
            Some(_) => Err("a percentile lies between p0 and p100".to_owned()),
            None => Err(format!(
                "nothing is called `{text}`, only p50, p99, p99.9 and the like, mean, max, err, \
                 rate, goodput and gbit"
            )),
        }
    }

    fn measure(self, times: &Distribution) -> Result<f64, String> {
        if times.count() == 0 {
            return Err("there is no sample of it".to_owned());
        }
        match self {
            Self::Mean => Ok(times.0.mean()),
            Self::Max => Ok(times.0.max() as f64),
            Self::Quantile(quantile) => {
                times.quantile_ns(quantile).map(|ns| ns as f64).ok_or_else(|| {
                    let needed = (10.0 / (1.0 - quantile)).round();
                    format!(
                        "for it needs {} samples and there are {}: run longer",
                        figures::number(needed),
                        figures::count(times.count())
                    )
                })
            }
        }
    }
}

impl Comparison {
    fn holds(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Less => measured < limit,
            Self::LessOrEqual => measured <= limit,
            Self::Greater => measured > limit,
            Self::GreaterOrEqual => measured >= limit,
        }
    }
}

/// Whether this is the first half of `p99.9`.
fn is_quantile(text: &str) -> bool {
    text.strip_prefix('p').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
}

fn factor(unit: &str, units: &[(&str, f64)]) -> Option<f64> {
    units.iter().find_map(|&(name, factor)| (name == unit).then_some(factor))
}

const TIME_UNITS: [(&str, f64); 6] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9)];
const RATE_UNITS: [(&str, f64); 5] = [("", 1.0), ("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9)];

#[cfg(test)]
#[path = "slo_tests.rs"]
mod tests;
