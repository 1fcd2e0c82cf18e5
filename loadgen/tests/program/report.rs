//! `loadgen report`, `diff` and `merge`, as they are typed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use loadgen::report::{Report, export, sample};

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.file(name), text).expect("a file for the test");
        self.file(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn loadgen(arguments: &[&str]) -> Output {
    command(arguments).output().expect("loadgen runs")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

#[test]
fn a_result_becomes_every_form() {
    let directory = Directory::new("forms");
    let result = directory.write("result.json", &sample().to_json());
    let files =
        ["a.json", "a.html", "a.csv", "a.hgrm", "a.hlog", "a.txt"].map(|name| directory.file(name));
    let mut arguments = vec!["report", path(&result)];
    files.iter().for_each(|file| arguments.extend(["-o", path(file)]));
    let output = loadgen(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let read = files.map(|file| fs::read_to_string(file).expect("it was written"));
    assert_eq!(Report::from_json(&read[0]).expect("a report"), sample());
    assert!(read[1].starts_with("<!"), "{}", &read[1][..80]);
    assert_eq!(read[2], export::csv(&sample()));
    assert_eq!(read[3], export::hgrm(&sample().latency.response));
    assert_eq!(read[4], export::hlog(&sample()));
    assert_eq!(read[5], text(&output.stdout), "the text is the same without a terminal");
    assert!(read[5].starts_with("verdict    SUSPECT\n"), "{}", read[5]);
}

#[test]
fn a_dash_is_standard_output_instead_of_the_text_and_standard_input() {
    let directory = Directory::new("dash");
    let result = directory.write("result.json", &sample().to_json());
    let output = loadgen(&["report", path(&result), "--json", "-"]);
    assert_eq!(text(&output.stdout), sample().to_json());
    let stdin = fs::File::open(&result).expect("it was written");
    let output = command(&["report", "-", "--hgrm", "-"]).stdin(stdin).output().expect("it runs");
    assert_eq!(text(&output.stdout), export::hgrm(&sample().latency.response));
}

#[test]
fn objectives_and_strictness_are_exit_codes() {
    let directory = Directory::new("codes");
    let result = directory.write("result.json", &sample().to_json());
    for (arguments, code, words) in [
        (&["--slo", "p50<1s"][..], 0, "SLO met: p50<1s"),
        (&["--slo", "p50<1us"], 3, "missed: p50<1us: it is 125 µs"),
        (&["--slo", "p99.99<1s"], 3, "needs 100 000 samples"),
        (&["--strict"], 4, "SUSPECT"),
        (&["--wrk", "--slo", "p50<1us"], 3, "Requests/sec:   1999.00"),
    ] {
        let all = [&["report", path(&result)][..], arguments].concat();
        let output = loadgen(&all);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(
            text(&output.stdout).replace("\n            ", "").contains(words),
            "{}",
            text(&output.stdout)
        );
    }
}

#[test]
fn what_cannot_be_read_or_written_or_understood_is_told() {
    let directory = Directory::new("wrong");
    let good = directory.write("good.json", &sample().to_json());
    let half = directory.write("half.json", &sample().to_json()[..500]);
    let missing = directory.file("none/a.json");
    let [good, half, missing] = [path(&good), path(&half), path(&missing)];
    for (arguments, code, words) in [
        (&["report", missing][..], 1, "cannot read"),
        (&["report", half], 1, "it is no JSON"),
        (&["report", good, "-o", missing], 1, "its directory does not exist"),
        (&["report", good, "--csv", path(&directory.0)], 1, "add the name of a file"),
        (&["report", good, "-o", "a.xml"], 2, "the ending is not .json"),
        (&["report", good, "--slo", "p99<2"], 2, "write for example p99<2ms"),
        (&["report", good, "--csv", "-", "--json", "-"], 2, "only one form"),
        (&["report"], 2, "required"),
        (&["merge", good], 2, "2 values required"),
        (&["merge", good, half], 1, "half.json: it is no JSON"),
        (&["diff", good], 2, "required"),
    ] {
        let output = loadgen(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is_one() {
    let directory = Directory::new("pipe");
    let result = directory.write("result.json", &sample().to_json());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = command(&["report", path(&result)]).stdout(writer).status().expect("it runs");
    assert_eq!(status.code(), Some(0));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = command(&["report", path(&result)]).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard output"), "{}", text(&output.stderr));
}

#[test]
fn the_schema_is_printed() {
    let output = loadgen(&["report", "--schema"]);
    assert_eq!(text(&output.stdout), loadgen::report::file::JSON_SCHEMA);
}

#[test]
fn results_are_merged_and_compared() {
    let directory = Directory::new("merge");
    let a = directory.write("a.json", &sample().to_json());
    let mut second = sample();
    second.config.seed = 43;
    let b = directory.write("b.json", &second.to_json());
    let sum = directory.file("sum.json");
    let output = loadgen(&["merge", path(&a), path(&b), "-o", path(&sum)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let read = Report::from_json(&fs::read_to_string(&sum).expect("it was written"));
    assert_eq!(read.expect("a report").totals.intended, 40_000);
    let output = loadgen(&["diff", path(&a), path(&sum)]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(shown.contains("connections is 50 in A and 100 in B"), "{shown}");
    assert!(shown.contains("better\n") && shown.contains("no difference seen\n"), "{shown}");
    let mut other = sample();
    other.config.workload = "http".to_owned();
    let other = directory.write("other.json", &other.to_json());
    let output = loadgen(&["merge", path(&a), path(&other)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the workload is http, not ping"));
}
