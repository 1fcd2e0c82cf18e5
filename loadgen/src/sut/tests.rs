use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::*;

/// A shell that does what it is told and says when it is done.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start() -> Self {
        let mut command = Command::new("sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("there is a shell");
        let input = child.stdin.take().expect("it is a pipe");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Self { child, input, output }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns once the shell waits for its next command, as `/proc` says.
    fn until_it_waits(&self) {
        let path = format!("/proc/{}/stat", self.pid());
        let waits = || {
            let stat = fs::read_to_string(&path).expect("it runs");
            let (_, behind_its_name) = stat.rsplit_once(") ").expect("a name in parentheses");
            behind_its_name.starts_with('S')
        };
        while !waits() {
            std::thread::yield_now();
        }
    }

    fn tell(&mut self, script: &str) -> String {
        writeln!(self.input, "{script}").expect("it reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }

    fn end(mut self) {
        drop(self.input);
        self.child.wait().expect("it ends with its input");
    }
}

fn report(ok: u64, connections: u32) -> Report {
    let mut report = crate::report::sample();
    report.verdict.valid = true;
    (report.sut, report.network) = (None, None);
    report.totals.ok = ok;
    (report.totals.bytes_in, report.totals.bytes_out) = (500, 500);
    report.generator.connections_established = connections;
    report
}

fn observe(pid: u32, mut report: Report, meanwhile: impl FnOnce()) -> Report {
    let mut observer = Observer::new(Some(Target::Pid(pid))).expect("it runs");
    for phase in [Phase::Connecting, Phase::WarmUp, Phase::Measuring, Phase::Measuring] {
        observer.on_phase(phase);
    }
    meanwhile();
    observer.on_phase(Phase::Draining);
    observer.on_phase(Phase::Done);
    observer.finish(&mut report);
    report
}

fn sut(report: &Report) -> &Sut {
    report.sut.as_ref().expect("it was observed")
}

/// What a process and the children that it waited for have used, from the kernel's other table.
fn seconds_by_ticks(pid: u32) -> f64 {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = line.rsplit_once(')').expect("its name").1.split_whitespace().collect();
    fields[11..15].iter().map(|ticks| ticks.parse::<f64>().expect("a number") / 100.0).sum()
}

const LOOP: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
/// Each of the four fields of two readings is cut to a tick of 10 ms.
const CUT_S: f64 = 0.08;

#[test]
fn processor_time_is_what_the_kernel_says_and_not_what_was_before() {
    let mut shell = Shell::start();
    shell.tell(&format!("{LOOP}; {LOOP}; {LOOP}; echo"));
    let before = seconds_by_ticks(shell.pid());
    let pid = shell.pid();
    let report = observe(pid, report(1000, 0), || drop(shell.tell(&format!("{LOOP}; echo"))));
    let (seen, ticks) = (sut(&report).cpu_s, seconds_by_ticks(pid) - before);
    assert!(seen > 0.0 && (seen - ticks).abs() <= CUT_S, "{seen} s, by ticks {ticks} s");
    let a_request = sut(&report).cpu_us_per_request.expect("there were requests");
    assert!((a_request - seen * 1e3).abs() < 1e-6, "{seen} s by 1000 are not {a_request} µs");
    assert_eq!(sut(&report).cpu_s_per_gb, None, "it was not bulk");
    assert!(!sut(&report).ended);
    shell.end();
}

#[test]
fn a_child_that_ended_meanwhile_counts() {
    let mut shell = Shell::start();
    shell.tell("echo");
    let (pid, before) = (shell.pid(), seconds_by_ticks(shell.pid()));
    let script = format!("({LOOP}; {LOOP}; {LOOP}; {LOOP}); echo");
    let report = observe(pid, report(1, 0), || drop(shell.tell(&script)));
    let (seen, ticks) = (sut(&report).cpu_s, seconds_by_ticks(pid) - before);
    assert!((seen - ticks).abs() <= CUT_S && seen > CUT_S, "{seen} s, by ticks {ticks} s");
    shell.end();
}

#[test]
fn a_child_that_still_runs_counts_and_so_do_its_children() {
    let mut shell = Shell::start();
    shell.tell("echo");
    // The outer subshell stays because there is something behind the inner one.
    let script = format!("( ( {LOOP}; {LOOP}; {LOOP}; {LOOP}; echo $!; exec sleep 1000 ); : ) & ");
    let mut child = 0;
    let report = observe(shell.pid(), report(1, 0), || {
        shell.tell(&script);
        child = shell.tell("echo $!").parse().expect("its number");
    });
    let grandchild: u32 = fs::read_to_string(format!("/proc/{child}/task/{child}/children"))
        .expect("it runs")
        .trim()
        .parse()
        .expect("one child");
    let (seen, ticks) = (sut(&report).cpu_s, seconds_by_ticks(grandchild));
    shell.tell(&format!("kill {child} {grandchild}; wait; echo"));
    assert!((seen - ticks).abs() <= CUT_S && seen > CUT_S, "{seen} s, by ticks {ticks} s");
    shell.end();
}

#[test]
fn memory_that_grew_is_shared_out_among_the_connections() {
    let mut shell = Shell::start();
    shell.tell("echo");
    let script = "x=xxxxxxxx; i=0; while [ $i -lt 19 ]; do x=$x$x; i=$((i+1)); done; echo";
    let report = observe(shell.pid(), report(1, 64), || drop(shell.tell(script)));
    let sut = sut(&report);
    let each = sut.bytes_per_connection.expect("there were connections");
    // The shell holds 4 MiB, and no more than it copied on the way.
    assert!(each > 65_536.0 && each < 10.0 * 65_536.0, "{sut:?}");
    assert!(sut.resident_bytes > sut.resident_before_bytes, "{sut:?}");
    shell.end();
}

#[test]
fn each_wait_is_a_voluntary_switch() {
    let mut shell = Shell::start();
    shell.tell("echo");
    let report = observe(shell.pid(), report(1, 0), || {
        for _ in 0..100 {
            // Else the next command may be there before the shell looks, which is then no wait.
            shell.until_it_waits();
            shell.tell("echo");
        }
    });
    let voluntary = sut(&report).voluntary_switches.expect("Linux tells");
    assert!((50..=1000).contains(&voluntary), "{voluntary} for a hundred waits");
    shell.end();
}

#[test]
fn bulk_costs_by_the_gigabyte() {
    let mut shell = Shell::start();
    shell.tell("echo");
    let stream = Some(crate::report::Stream::default());
    let report = Report { stream, ..report(7, 0) };
    let report = observe(shell.pid(), report, || drop(shell.tell(&format!("{LOOP}; echo"))));
    let sut = sut(&report);
    let expected = sut.cpu_s * 1e9 / 1000.0;
    assert!((sut.cpu_s_per_gb.expect("bytes went") - expected).abs() < 1e-3, "{sut:?}");
    assert_eq!(sut.cpu_us_per_request, None);
    shell.end();
}

#[test]
fn a_target_that_ends_makes_the_run_suspect() {
    let mut shell = Some(Shell::start());
    let pid = shell.as_ref().expect("it runs").pid();
    let report = observe(pid, report(1, 1), || shell.take().expect("it runs").end());
    assert!(sut(&report).ended, "{report:?}");
    let reasons = crate::report::judge(&report, None).reasons.concat();
    assert!(reasons.contains(&format!("(pid {pid}) ended while it was measured")), "{reasons}");
    assert_eq!(sut(&report).cpu_us_per_request, None);
}

#[test]
fn a_child_that_ends_is_told_and_the_run_still_counts() {
    let mut shell = Shell::start();
    shell.tell("sleep 1000 & echo");
    let report = observe(shell.pid(), report(1, 1), || drop(shell.tell("kill $!; wait; echo")));
    assert!(!sut(&report).ended);
    assert!(sut(&report).what.ends_with(", 1 of its processes ended meanwhile"), "{report:?}");
    shell.end();
}

#[test]
fn who_is_not_there_is_refused_before_the_run() {
    let shell = Shell::start();
    let gone = shell.pid();
    shell.end();
    let file = std::env::temp_dir().join(format!("loadgen-pidfile-{}", std::process::id()));
    fs::write(&file, "no number\n").expect("it is writable");
    for (target, cure) in [
        (Target::Pid(gone), "ps -e"),
        (Target::PidFile(file.clone()), "it holds `no number`"),
        (Target::PidFile("/nonexistent.pid".into()), "such as 4711"),
        (Target::Cgroup("/nonexistent".into()), "/sys/fs/cgroup/NAME"),
    ] {
        let error = Observer::new(Some(target)).expect_err("nobody there").to_string();
        assert!(error.contains(cure), "{error}");
    }
    fs::write(&file, format!("{}\n", std::process::id())).expect("it is writable");
    Observer::new(Some(Target::PidFile(file.clone()))).expect("this process runs");
    fs::remove_file(file).expect("it was there");
}

#[test]
fn without_a_target_the_network_is_told_and_a_phase_may_be_missing() {
    let mut report = report(1, 1);
    Observer::new(None).expect("nothing to find").finish(&mut report);
    assert_eq!(report.sut, None);
    assert!(report.network.is_some());
}

#[test]
fn targets_are_written_in_three_ways() {
    for (text, target) in [
        ("4711", Some(Target::Pid(4711))),
        ("@/run/lb.pid", Some(Target::PidFile("/run/lb.pid".into()))),
        ("cgroup:/sys/fs/cgroup/lb", Some(Target::Cgroup("/sys/fs/cgroup/lb".into()))),
        ("0", None),
        ("lb", None),
    ] {
        assert_eq!(text.parse().ok(), target, "{text}");
    }
}
