//! Where a report goes: the text on standard output, and files in every form.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::Args;
use loadgen::report::env::Start;
use loadgen::report::slo::Slo;
use loadgen::report::text::{self, Look};
use loadgen::report::{Report, export, html, judge};

use super::{Failure, STOPPED};

/// Where a report goes, and what it has to keep.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Outputs {
    /// Write the report to a file, in the form of its ending: .json .html .csv .hgrm .hlog .txt
    #[arg(short, long, value_name = "FILE", value_parser = by_ending)]
    output: Vec<File>,
    /// Write the report as JSON; `-` is standard output, instead of the text
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one HTML page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a row for each interval: counts, percentiles, answers of each backend
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the response times as HdrHistogram's percentile table, in milliseconds
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write the response times of each interval as HdrHistogram's log
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// What has to be kept, for example p99<2ms,err<0.1%,goodput>10k; exit code 3 if it is not
    #[arg(long, value_name = "OBJECTIVE")]
    slo: Option<Slo>,
    /// Exit code 4 if the result is suspect
    #[arg(long)]
    strict: bool,
    #[arg(skip)]
    start: OnceLock<Start>,
}

/// A file and what to write into it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    form: Form,
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    Csv,
    Hgrm,
    Hlog,
    Text,
}

impl Outputs {
    /// Before the run: whether the files can be written, so that nothing is measured for nobody.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let files = self.files();
        if files.iter().filter(|file| file.is_stdout()).count() > 1 {
            return Err(Failure::Usage("only one form can go to standard output (-)".to_owned()));
        }
        files.iter().try_for_each(File::check)?;
        self.start.get_or_init(Start::now);
        Ok(())
    }

    /// After the run: completes and judges the report, and writes it in every form that was asked
    /// for; the exit code that it stands for.
    pub(super) fn write(&self, report: &mut Report) -> Result<ExitCode, Failure> {
        self.start.get_or_init(Start::now).describe(&mut report.env);
        if report.config.command.is_empty() {
            report.config.command = command();
        }
        self.judge(report);
        self.print(report, shown)?;
        Ok(self.exit_code(report))
    }

    /// Of a result that was read: the same, with `shown` as the text. The exit code says only what
    /// `--slo` and `--strict` ask.
    pub(super) fn convert(
        &self,
        report: &mut Report,
        shown: impl Fn(&Report) -> String,
    ) -> Result<ExitCode, Failure> {
        self.judge(report);
        self.print(report, shown)?;
        Ok(self.judgement(report).map_or(ExitCode::SUCCESS, ExitCode::from))
    }

    fn judge(&self, report: &mut Report) {
        if let Some(slo) = &self.slo {
            report.config.slo = Some(slo.to_string());
        }
        let slo = report.config.slo.as_ref().and_then(|slo| slo.parse().ok());
        report.verdict = judge(report, slo.as_ref());
    }

    fn print(&self, report: &Report, shown: impl Fn(&Report) -> String) -> Result<(), Failure> {
        let files = self.files();
        if !files.iter().any(File::is_stdout) {
            to_stdout(&shown(report))?;
        }
        files.iter().try_for_each(|file| file.write(report))
    }

    fn exit_code(&self, report: &Report) -> ExitCode {
        if report.totals.stopped {
            ExitCode::from(STOPPED)
        } else if nothing_succeeded(report) {
            ExitCode::FAILURE
        } else {
            self.judgement(report).map_or(ExitCode::SUCCESS, ExitCode::from)
        }
    }

    fn judgement(&self, report: &Report) -> Option<u8> {
        let missed = self.slo.is_some() && report.verdict.slo_met == Some(false);
        let suspect = self.strict && !report.verdict.valid;
        missed.then_some(SLO_MISSED).or(suspect.then_some(SUSPECT))
    }

    fn files(&self) -> Vec<File> {
        let options = [
            (&self.json, Form::Json),
            (&self.html, Form::Html),
            (&self.csv, Form::Csv),
            (&self.hgrm, Form::Hgrm),
            (&self.hlog, Form::Hlog),
        ];
        let file =
            |(path, form): (&Option<PathBuf>, Form)| path.clone().map(|path| File { form, path });
        options.into_iter().filter_map(file).chain(self.output.iter().cloned()).collect()
    }
}

impl File {
    fn is_stdout(&self) -> bool {
        self.path == Path::new("-")
    }

    fn check(&self) -> Result<(), Failure> {
        if self.is_stdout() {
            return Ok(());
        }
        writable(&self.path).map_err(|error| self.cannot(&error))
    }

    fn write(&self, report: &Report) -> Result<(), Failure> {
        let text = match self.form {
            Form::Json => report.to_json(),
            Form::Html => html::page(report),
            Form::Csv => export::csv(report),
            Form::Hgrm => export::hgrm(&report.latency.response),
            Form::Hlog => export::hlog(report),
            Form::Text => text::text(report, Look::default()),
        };
        if self.is_stdout() {
            return to_stdout(&text);
        }
        fs::write(&self.path, text).map_err(|error| self.cannot(&error))
    }

    fn cannot(&self, error: &io::Error) -> Failure {
        let cure = match error.kind() {
            ErrorKind::NotFound => "; its directory does not exist: make it first",
            ErrorKind::PermissionDenied => "; write to a directory of your own",
            ErrorKind::IsADirectory => "; add the name of a file to it",
            _ => "",
        };
        Failure::Run(format!("cannot write {}: {error}{cure}", self.path.display()))
    }
}

/// Whether a file can be written: by opening it, and without a trace of that. What is there
/// already and no regular file, such as a pipe, may wait for its reader and is left alone.
fn writable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        Err(_) => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            fs::remove_file(path)
        }
    }
}

fn by_ending(text: &str) -> Result<File, String> {
    let path = PathBuf::from(text);
    let form = match path.extension().and_then(OsStr::to_str) {
        Some("json") => Form::Json,
        Some("html" | "htm") => Form::Html,
        Some("csv") => Form::Csv,
        Some("hgrm") => Form::Hgrm,
        Some("hlog") => Form::Hlog,
        Some("txt") => Form::Text,
        _ => return Err("the ending is not .json, .html, .csv, .hgrm, .hlog or .txt".to_owned()),
    };
    Ok(File { form, path })
}

/// Writes to standard output. A reader that has gone away is no error, a full disk is one.
pub(super) fn to_stdout(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The text for people, as this standard output can show it.
pub(super) fn shown(report: &Report) -> String {
    text::text(report, look())
}

/// Colours in a terminal, unless NO_COLOR is set and not empty (no-color.org) or it cannot.
pub(super) fn look() -> Look {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let dumb = set("TERM").is_some_and(|term| term == "dumb");
    Look { colour: io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb }
}

/// What was typed, with the program by its name, so that it reads the same everywhere.
pub(super) fn command() -> Vec<String> {
    let typed = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once("loadgen".to_owned()).chain(typed.skip(1)).collect()
}

fn nothing_succeeded(report: &Report) -> bool {
    let bulk = report
        .stream
        .as_ref()
        .is_some_and(|stream| stream.directions.iter().any(|direction| direction.bytes > 0));
    // Without probes, that they stand is all there is to see.
    let held = report.hold.as_ref().is_some_and(|hold| {
        let answered = hold.probes_ok > 0 || hold.probes_failed == 0;
        hold.established > 0 && answered
    });
    report.totals.ok == 0 && !bulk && !held
}

const SLO_MISSED: u8 = 3;
const SUSPECT: u8 = 4;

#[cfg(test)]
mod tests {
    use loadgen::report::{Direction, Hold, Stream, sample};

    use super::*;

    fn code(change: impl FnOnce(&mut Report), slo: Option<&str>, strict: bool) -> String {
        let slo = slo.map(|slo| slo.parse().expect("sound"));
        let outputs = Outputs { slo, strict, ..Outputs::default() };
        let mut report = sample();
        change(&mut report);
        outputs.judge(&mut report);
        format!("{:?}", outputs.exit_code(&report))
    }

    #[test]
    fn exit_codes_tell_what_became_of_it() {
        let is = |number: u8| format!("{:?}", ExitCode::from(number));
        let (missed, kept) = (Some("p50<1us"), Some("p50<1s"));
        assert_eq!(code(|_| {}, None, false), is(0));
        assert_eq!(code(|_| {}, kept, false), is(0));
        assert_eq!(code(|_| {}, missed, false), is(3));
        // The sample is suspect: one request was never answered.
        assert_eq!(code(|_| {}, kept, true), is(4));
        assert_eq!(code(|_| {}, missed, true), is(3));
        assert_eq!(code(|one| one.totals.stopped = true, missed, true), is(130));
        assert_eq!(code(|one| one.totals.ok = 0, missed, true), is(1));
        let both = |one: &mut Report| (one.totals.ok, one.totals.stopped) = (0, true);
        assert_eq!(code(both, None, false), is(130));
    }

    #[test]
    fn bulk_and_held_connections_succeed_without_requests() {
        let mut report = sample();
        report.totals.ok = 0;
        assert!(nothing_succeeded(&report));
        report.hold = Some(Hold { established: 1, ..Hold::default() });
        assert!(!nothing_succeeded(&report));
        let probes =
            |probes_ok| Hold { established: 1, probes_ok, probes_failed: 9, ..Hold::default() };
        report.hold = Some(probes(1));
        assert!(!nothing_succeeded(&report));
        report.hold = Some(probes(0));
        assert!(nothing_succeeded(&report), "no probe was answered");
        report.hold = None;
        let direction = |bytes| Direction { bytes, ..Direction::default() };
        report.stream = Some(Stream { directions: vec![direction(0)], ..Stream::default() });
        assert!(nothing_succeeded(&report));
        report.stream = Some(Stream { directions: vec![direction(1)], ..Stream::default() });
        assert!(!nothing_succeeded(&report));
    }

    #[test]
    fn the_ending_of_a_file_is_its_form() {
        for (name, form) in [
            ("a.json", Some(Form::Json)),
            ("dir.csv/a.html", Some(Form::Html)),
            ("a.csv", Some(Form::Csv)),
            ("a.hgrm", Some(Form::Hgrm)),
            ("a.hlog", Some(Form::Hlog)),
            ("a.txt", Some(Form::Text)),
            ("a.xml", None),
            ("json", None),
        ] {
            assert_eq!(by_ending(name).ok().map(|file| file.form), form, "{name}");
        }
    }

    #[test]
    fn whether_a_file_can_be_written_is_known_without_a_trace() {
        let directory = std::env::temp_dir().join(format!("loadgen-output-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory for the test");
        let new = directory.join("new.json");
        assert!(writable(&new).is_ok());
        assert!(!new.exists());
        fs::write(&new, "kept").expect("a file for the test");
        assert!(writable(&new).is_ok());
        assert_eq!(fs::read_to_string(&new).expect("still there"), "kept");
        assert!(writable(&directory).is_err());
        assert!(writable(&directory.join("none/new.json")).is_err());
        assert!(writable(Path::new("/dev/null")).is_ok());
        fs::remove_dir_all(&directory).expect("what was made above");
    }

    #[test]
    fn two_forms_cannot_share_standard_output() {
        let dash = Some(PathBuf::from("-"));
        let outputs = Outputs { json: dash.clone(), csv: dash, ..Outputs::default() };
        assert!(matches!(outputs.check(), Err(Failure::Usage(_))));
    }
}
