//! Which documents are shown: of each network the newest whole one, and the run that repeated it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::document::{CaseResult, Document, SCHEMA};

/// What there is of each network, in the order of [`NETWORKS`].
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) networks: Vec<Measured>,
}

/// What there is of a network.
#[derive(Debug)]
pub(super) struct Measured {
    /// `loopback` or `lab`.
    pub(super) name: &'static str,
    /// What is shown.
    pub(super) first: Option<Source>,
    /// What it is held against.
    pub(super) again: Option<Source>,
}

/// A document, and what its file is called.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: String,
    pub(super) document: Document,
}

impl Inputs {
    /// The newest whole documents in a folder.
    pub(super) fn newest_in(folder: &Path) -> io::Result<Self> {
        Self::whole_in(folder)?.ok_or_else(|| {
            let folder = folder.display();
            io::Error::other(format!(
                "{folder} has no whole comparison: cargo run --release -p bench -- compare"
            ))
        })
    }

    /// The same, or nothing if there is none. Files of other schemas, short rounds, parts of a
    /// comparison and those that were not brought to their end are passed over.
    pub(super) fn whole_in(folder: &Path) -> io::Result<Option<Self>> {
        let named = |error| io::Error::other(format!("{}: {error}", folder.display()));
        let mut sources = Vec::new();
        for entry in fs::read_dir(folder).map_err(named)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "json") {
                sources.extend(read(&path)?);
            }
        }
        sources.retain(|one| !one.document.quick && one.document.complete && one.is_whole());
        Ok(Self::sorted(sources))
    }

    /// These, each of which must be fit to be shown.
    pub(super) fn of(files: &[PathBuf]) -> io::Result<Self> {
        let mut sources = Vec::new();
        for path in files {
            let refuse = |why: &str| Err(io::Error::other(format!("{}: {why}", path.display())));
            let Some(source) = read(path)? else {
                return refuse(&format!("this is no document of a comparison ({SCHEMA})"));
            };
            if source.document.quick {
                return refuse("a quick run shows nothing; leave out --quick and measure again");
            }
            if !source.document.complete {
                return refuse("the run did not come to its end; measure again");
            }
            sources.push(source);
        }
        Self::sorted(sources).ok_or_else(|| {
            io::Error::other("only repetitions are named; name the runs that they repeat, too")
        })
    }

    /// Nothing without a first run.
    fn sorted(mut sources: Vec<Source>) -> Option<Self> {
        sources.sort_by(|one, other| one.age().cmp(&other.age()));
        let mut networks = Vec::new();
        for name in NETWORKS {
            let mut newest = |again: bool| {
                let fits =
                    |one: &Source| one.document.network.name == name && one.is_again() == again;
                sources.iter().rposition(fits).map(|index| sources.remove(index))
            };
            let (first, again) = (newest(false), newest(true));
            networks.push(Measured { name, first, again });
        }
        networks.iter().any(|one| one.first.is_some()).then_some(Self { networks })
    }

    /// The documents that are shown, with the names of their networks.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, &Document)> {
        self.networks.iter().filter_map(|one| Some((one.name, &one.first.as_ref()?.document)))
    }

    /// The cases of all networks, each once, in the order in which they were run.
    pub(super) fn keys(&self) -> Vec<(&str, &str)> {
        let mut keys: Vec<(&str, &str)> = Vec::new();
        for case in self.shown().flat_map(|(_, document)| &document.cases) {
            if !keys.iter().any(|(key, _)| *key == case.key) {
                keys.push((&case.key, &case.title));
            }
        }
        keys
    }
}

impl Source {
    fn age(&self) -> (&str, &str) {
        (&self.document.host.date, &self.file)
    }

    fn stem(&self) -> &str {
        self.file.strip_suffix(".json").unwrap_or(&self.file)
    }

    fn is_again(&self) -> bool {
        self.stem().ends_with("-again")
    }

    /// Whether nothing was chosen: what was follows the network in the name.
    fn is_whole(&self) -> bool {
        let stem = self.stem().strip_suffix("-again").unwrap_or(self.stem());
        stem.ends_with(&format!("-{}", self.document.network.name))
    }
}

impl Document {
    /// The case of this key.
    pub(super) fn case(&self, key: &str) -> Option<&CaseResult> {
        self.cases.iter().find(|case| case.key == key)
    }
}

/// Nothing if it is the result of something else.
fn read(path: &Path) -> io::Result<Option<Source>> {
    let broken = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("{}: {error}; measure again, or remove it", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| broken(&error))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| broken(&error))?;
    if value.get("schema").and_then(|schema| schema.as_str()) != Some(SCHEMA) {
        return Ok(None);
    }
    let document = serde_json::from_value(value).map_err(|error| broken(&error))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(Source { file, document }))
}

/// As documents name them, in the order in which they are shown.
pub(super) const NETWORKS: [&str; 2] = ["loopback", "lab"];
