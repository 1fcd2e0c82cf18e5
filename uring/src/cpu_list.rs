//! Lists of processors as `taskset --cpu-list` and the kernel write them: `0,2-5`, `0-10:2`.

use std::fmt;
use std::str::FromStr;

/// Processors in the order in which they were named, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

/// Why a text is no list of processors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a CPU nor a range of them; write numbers and ranges, as in 0, 0,2-5 or 0-6:2"
)]
pub struct CpuListError(String);

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<Self, CpuListError> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let range = range(part.trim()).ok_or_else(|| CpuListError(part.trim().to_owned()))?;
            for cpu in range {
                if !cpus.contains(&cpu) {
                    cpus.push(cpu);
                }
            }
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&cpus.join(","))
    }
}

/// `2`, `2-5` or `2-8:2`.
fn range(text: &str) -> Option<impl Iterator<Item = usize>> {
    let (first, rest) = text.split_once('-').unwrap_or((text, text));
    let (last, step) = match rest.split_once(':') {
        Some((last, step)) if text.contains('-') => (last, number(step)?),
        _ => (rest, 1),
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < MOST && step > 0).then(|| (first..=last).step_by(step))
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// No kernel has more processors (`CONFIG_NR_CPUS`, at most 8192).
const MOST: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_taken_in_their_order_and_once() {
        for (text, cpus) in [
            ("0", &[0][..]),
            ("0,2", &[0, 2]),
            ("0,2-5", &[0, 2, 3, 4, 5]),
            ("3,0-1", &[3, 0, 1]),
            ("0-6:2", &[0, 2, 4, 6]),
            ("1-1", &[1]),
            ("0, 1", &[0, 1]),
            ("1,0-2,1", &[1, 0, 2]),
            ("8191", &[8191]),
        ] {
            assert_eq!(text.parse(), Ok(CpuList(cpus.to_vec())), "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_named() {
        for (text, named) in [
            ("", "``"),
            ("a", "`a`"),
            ("0,", "``"),
            ("0,x-2", "`x-2`"),
            ("3-1", "`3-1`"),
            ("-1", "`-1`"),
            ("+1", "`+1`"),
            ("1-", "`1-`"),
            ("0-4:0", "`0-4:0`"),
            ("4:2", "`4:2`"),
            ("0-99999", "`0-99999`"),
        ] {
            let error = text.parse::<CpuList>().expect_err(text).to_string();
            assert!(error.contains(named) && error.contains("0,2-5"), "{text}: {error}");
        }
    }
}
