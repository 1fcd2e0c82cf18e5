//! A folder with a log in it, and its lines in both formats as the same value.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::support::eventually;

/// A folder that is gone when it is dropped.
pub(crate) struct Folder(PathBuf);

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) client: String,
    pub(crate) listener: String,
    pub(crate) pool: String,
    pub(crate) backend: Option<String>,
    pub(crate) by: Option<String>,
    /// Whether there was a queue time, a connect time and a first byte.
    pub(crate) timed: [bool; 3],
    pub(crate) to_backend: Bytes,
    pub(crate) to_client: Bytes,
    /// Two letters and a word.
    pub(crate) end: String,
    pub(crate) retries: u64,
    pub(crate) moves: u64,
}

/// How many, and how they went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) total: u64,
    pub(crate) path: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Nothing,
    Copied,
    Spliced,
    Both,
}

impl Folder {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-sessions-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a folder for temporary files");
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a usual name").to_owned()
    }

    /// Options for a log in it.
    pub(crate) fn logging(&self, format: Format) -> String {
        let format = match format {
            Format::Text => "text",
            Format::Json => "json",
        };
        format!("--session-log {} --session-log-format {format}", self.path("log"))
    }

    /// The lines of that log, as soon as there are so many.
    pub(crate) fn entries(&self, format: Format, many: usize) -> Vec<Entry> {
        let path = self.path("log");
        let what = || format!("not {many} lines but {:?}", lines_of(path.as_ref()));
        eventually(|| lines_of(path.as_ref()).len() >= many, what);
        let entries: Vec<Entry> =
            lines_of(path.as_ref()).iter().map(|one| format.read(one)).collect();
        assert_eq!(entries.len(), many);
        entries
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The whole lines of a file; none if it is not there.
pub(crate) fn lines_of(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(str::to_owned).collect()
}

impl Format {
    pub(crate) const ALL: [Self; 2] = [Self::Text, Self::Json];

    pub(crate) fn read(self, line: &str) -> Entry {
        match self {
            Self::Text => of_text(line),
            Self::Json => of_json(line),
        }
    }
}

/// By its words, so that a change of any of them is seen.
fn of_text(line: &str) -> Entry {
    let mut rest = line;
    let mut until = |mark: &str| -> String {
        let (word, after) =
            rest.split_once(mark).unwrap_or_else(|| panic!("no `{mark}` in `{line}`"));
        rest = after;
        word.to_owned()
    };
    let dash = |word: String| Some(word).filter(|word| word != "-");
    let time = until(" ");
    assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
    let (client, listener, pool) = (until(" "), until(" -> "), until("/"));
    let (backend, by) = (dash(until(" (")), dash(until(") queue ")));
    let timed = [until(" connect "), until(" first-byte "), until(" total ")];
    let timed = timed.map(|word| dash(word).inspect(|time| assert!(time.ends_with('s'), "{line}")));
    let _total = until(" to-backend ");
    let bytes = |number: String, path: String| Bytes {
        total: number.parse().expect("a number"),
        path: match path.as_str() {
            "-" => Way::Nothing,
            "copied" => Way::Copied,
            "spliced" => Way::Spliced,
            both => {
                assert!(both.ends_with(" % spliced"), "{line}");
                Way::Both
            }
        },
    };
    let to_backend = bytes(until(" B ("), until(") to-client "));
    let to_client = bytes(until(" B ("), until(") "));
    let (end, retries) = (until(" retries "), until(" moves "));
    Entry {
        client,
        listener,
        pool,
        backend,
        by,
        timed: timed.map(|time| time.is_some()),
        to_backend,
        to_client,
        end,
        retries: retries.parse().expect("a number"),
        moves: rest.parse().expect("a number"),
    }
}

fn of_json(line: &str) -> Entry {
    let line: Value = serde_json::from_str(line).expect("JSON");
    let text = |key: &str| line[key].as_str().map(str::to_owned);
    let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("{key} of {line}"));
    let timed = |key: &str| match &line[key] {
        Value::Null => false,
        Value::Number(_) => true,
        _ => panic!("{key} of {line}"),
    };
    let bytes = |key: &str| {
        let [copied, spliced] =
            ["copied", "spliced"].map(|path| line[key][path].as_u64().expect("a number"));
        let path = match (copied, spliced) {
            (0, 0) => Way::Nothing,
            (_, 0) => Way::Copied,
            (0, _) => Way::Spliced,
            _ => Way::Both,
        };
        Bytes { total: copied + spliced, path }
    };
    let (began, time) = (text("began").expect("a time"), text("time").expect("a time"));
    assert!(began <= time, "{line}");
    let parts =
        ["queue_us", "connect_us", "first_byte_us"].map(|key| line[key].as_u64().unwrap_or(0));
    assert!(parts.iter().all(|&part| part <= number("total_us")), "{line}");
    Entry {
        client: text("client").unwrap_or_else(|| "-".to_owned()),
        listener: text("listener").expect("a name"),
        pool: text("pool").expect("a name"),
        backend: text("backend"),
        by: text("by"),
        timed: [timed("queue_us"), timed("connect_us"), timed("first_byte_us")],
        to_backend: bytes("to_backend"),
        to_client: bytes("to_client"),
        end: format!("{} {}", text("end").expect("letters"), text("reason").expect("a word")),
        retries: number("retries"),
        moves: number("moves"),
    }
}
