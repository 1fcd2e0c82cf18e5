//! A scrape of a running balancer, taken apart here, and read by parsers that others wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{WATCHDOG, eventually, skip};

/// Prometheus' own format.
pub(crate) const TEXT: &str = "text/plain;version=0.0.4";
/// The other.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Asks over a unix socket: status line and headers, and the body.
pub(crate) fn ask(socket: &Path, request: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).expect("the admin API listens");
    stream.set_read_timeout(Some(WATCHDOG)).expect("not zero");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

/// `/metrics` by HTTP/1.0, whose answer ends with the connection.
pub(crate) fn get(socket: &Path, accept: &str) -> (String, String) {
    ask(socket, &format!("GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n\r\n"))
}

/// What was told, by name and labels.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    /// By name as in a sample, without a histogram's suffix.
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Scrape {
    pub(crate) fn of(socket: &Path) -> Self {
        let (head, text) = get(socket, TEXT);
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}\n{text}");
        Self::read(text)
    }

    pub(crate) fn read(text: String) -> Self {
        let (mut types, mut samples) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            if let Some(of_type) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of_type.split_once(' ').expect("a name and a type");
                let before = types.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{name} has two types");
            } else if !line.starts_with('#') {
                samples.push(Sample::read(line));
            }
        }
        Self { text, types, samples }
    }

    /// The sum of all samples of this name that have these labels, perhaps beside others.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<_> = self.find(name, labels).map(|sample| sample.value).collect();
        assert!(!found.is_empty(), "no {name} with {labels:?} in {}", self.text);
        found.iter().sum()
    }

    pub(crate) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.find(name, labels).next().is_some()
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        let fits = move |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).is_some_and(|told| told == value)
            };
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(fits)
    }

    /// Names of samples.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.samples.iter().map(|sample| sample.name.as_str()).collect()
    }

    /// Everything that must never go back, by name and labels.
    pub(crate) fn counters(&self) -> BTreeMap<String, f64> {
        let only_grows = |sample: &&Sample| {
            let of = |name: &str| self.types.get(name).map(String::as_str);
            let parts = ["_bucket", "_sum", "_count"];
            let of_histogram = parts.iter().find_map(|part| sample.name.strip_suffix(part));
            of(&sample.name) == Some("counter")
                || of_histogram.is_some_and(|name| of(name) == Some("histogram"))
        };
        let keyed = |sample: &Sample| (format!("{}{:?}", sample.name, sample.labels), sample.value);
        self.samples.iter().filter(only_grows).map(keyed).collect()
    }
}

impl Sample {
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("the labels end");
        Self { name: name.to_owned(), labels: read_labels(labels), value }
    }
}

fn read_labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a name and a value");
        let (mut value, mut letters) = (String::new(), rest.char_indices());
        let end = loop {
            match letters.next().expect("the value ends") {
                (end, '"') => break end,
                (_, '\\') => value.push(match letters.next().expect("an escape").1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice");
        text = rest[end + 1..].trim_start_matches(',');
    }
    labels
}

/// Scrapes until it is as it should be.
pub(crate) fn when(socket: &Path, reached: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut last = Scrape::of(socket);
    let again = || {
        let done = reached(&last);
        if !done {
            last = Scrape::of(socket);
        }
        done
    };
    eventually(again, || format!("it does not come to that: {}", Scrape::of(socket).text));
    last
}

/// What Prometheus' own client library for Python reads in it; nothing, aloud, where it is missing.
pub(crate) fn read_by_python(text: &str, format: &str) -> Option<Vec<Sample>> {
    // Debian's own interpreter has Debian's packages, whatever else comes first in the path.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let mut looks = Command::new(python);
        looks.args(["-c", "import prometheus_client.openmetrics"]).stderr(Stdio::null());
        looks.status().is_ok_and(|status| status.success())
    });
    let Some(python) = python else {
        skip("python3-prometheus-client");
        return None;
    };
    let mut command = Command::new(python);
    command.args(["-c", READ, format]);
    let told: Vec<(String, BTreeMap<String, String>, f64)> =
        serde_json::from_str(&fed(&mut command, text)).expect("what read.py prints");
    Some(told.into_iter().map(|(name, labels, value)| Sample { name, labels, value }).collect())
}

/// What `promtool` finds wrong with it is a failure; skipped aloud where it is missing.
pub(crate) fn judged_by_promtool(arguments: &[&str], text: &str) {
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip("promtool (prometheus)");
    }
    fed(Command::new("promtool").args(arguments), text);
}

/// Runs a filter that must like what it gets.
fn fed(command: &mut Command, text: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is there");
    let mut stdin = child.stdin.take().expect("piped");
    let text = text.to_owned();
    // Who does not read all of it says why on its standard error.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    let output = child.wait_with_output().expect("it ends");
    feeder.join().expect("it does not panic");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// A folder with room for a socket, gone when it is dropped.
pub(crate) struct Socket(PathBuf);

impl Socket {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-metrics-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a place for temporary files");
        Self(folder)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// The option that has it opened.
    pub(crate) fn option(&self) -> String {
        format!("--admin unix:{}", self.path().display())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const READ: &str = include_str!("read.py");
