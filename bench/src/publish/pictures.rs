//! The pictures: one of each workload, and one for the README.

mod headline;
mod svg;
mod workload;

use super::input::Inputs;

/// Names and contents of the files.
pub(super) fn all(inputs: &Inputs) -> Vec<(String, String)> {
    let keys = inputs.keys().into_iter();
    let workloads = keys
        .map(|(key, title)| (format!("{key}.svg"), workload::picture(inputs, key, title)))
        .collect::<Vec<_>>();
    let headline = ("headline.svg".to_owned(), headline::picture(inputs));
    workloads.into_iter().chain([headline]).collect()
}
