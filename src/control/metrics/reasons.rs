//! Why sessions ended, as labels.

use std::sync::LazyLock;

use super::family::{Family, Kind, Labels, Value};
use crate::core::session::EndReason;

/// How many sessions ended for each reason, in the order of [`EndReason::ALL`].
pub(super) type Ended = [u64; EndReason::ALL.len()];

/// A family with a sample for each reason of each of `all`.
pub(super) fn family<'a>(
    name: &str,
    help: &str,
    all: impl IntoIterator<Item = (&'a Labels, &'a Ended)>,
) -> Family {
    let mut family = Family::new(name, Kind::Counter, help);
    for (labels, ended) in all {
        for (part, count) in PARTS.iter().zip(ended) {
            family.push(labels.and(part), Value::Count(*count));
        }
    }
    family
}

/// HAProxy's two letters and the word: `code="CD",reason="client-gone"`.
static PARTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let of = |reason: EndReason| {
        let (code, word) = reason.label().split_once(' ').unwrap_or(("", reason.label()));
        format!("code=\"{code}\",reason=\"{word}\"")
    };
    EndReason::ALL.into_iter().map(of).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_labels() {
        let labels = Labels::new(&[("pool", "web")]);
        let ended = std::array::from_fn(|place| place as u64);
        let family = family("ended", "Ends.", [(&labels, &ended)]);
        let gone = &family.samples[EndReason::ClientGone as usize];
        assert_eq!(gone.labels.parts(), ["pool=\"web\"", "code=\"CD\",reason=\"client-gone\""]);
        assert_eq!(gone.value, Value::Count(EndReason::ClientGone as u64));
        let mut parts: Vec<_> = family.samples.iter().map(|one| one.labels.parts()[1]).collect();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), EndReason::ALL.len());
    }
}
