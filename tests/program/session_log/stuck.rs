//! What takes no lines: a disk without room, a pipe that nobody reads. Clients notice nothing of it, and
//! every session is a line or is counted.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::session_log::reading::{Folder, Format, lines_of};
use crate::support::backend::Backend;
use crate::support::{Balancer, EVENKEEL, eventually, skip};

#[test]
fn a_disk_that_is_full_is_told_and_counted_and_disturbs_nobody() {
    let backend = Backend::named("B1");
    let balancer =
        Balancer::before(&[backend.address], "--session-log /dev/full --session-log-queue 16");
    serve(&balancer, 200);
    let told = || balancer.lines_with("cannot write to /dev/full: No space left");
    eventually(|| told() == 1, || balancer.log());
    assert!(balancer.log().contains("make room there"), "{}", balancer.log());
    balancer.wait_for_lines("lines dropped, because /dev/full did not take them in time", 1);
    serve(&balancer, 50);
    let report = balancer.end();
    assert_eq!(report.lines_with("cannot write to /dev/full"), 1, "once is enough");
    let [lines, lost, dropped, errors] = fates(&report);
    assert_eq!((lines, lost + dropped), (0, 250));
    assert!(errors > 0 && dropped > 0, "{errors} errors, {dropped} dropped");
}

/// A real one, which takes a part of a write when it is nearly full, and has room again later.
#[test]
fn when_there_is_room_again_lines_go_on_where_they_stopped() {
    let (folder, backend) = (Folder::new(), Backend::named("B1"));
    let disk = folder.path("disk");
    std::fs::create_dir(&disk).expect("our own folder");
    let script = "mount -t tmpfs -o size=16k tmpfs \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, &disk]);
    let mut attempt = Command::new("unshare");
    attempt.args(["--mount", "--propagation", "private", "sh", "-c", script, &disk, "true"]);
    if !attempt.status().is_ok_and(|status| status.success()) {
        return skip("root and `unshare`, to have a file system of its own");
    }
    let log = format!("{disk}/log");
    command.args([EVENKEEL, "--host", "127.0.0.1", "--port", "0", "--session-log", &log]);
    command.args(["--backends", &backend.address.to_string()]);
    let balancer = Balancer::started(&mut command);
    serve(&balancer, 100);
    balancer.wait_for_lines(&format!("cannot write to {log}: No space left"), 1);
    // As it is seen from where the balancer is.
    let seen = format!("/proc/{}/root{log}", balancer.pid());
    let before = lines_of(seen.as_ref());
    assert!(std::fs::read(&seen).expect("it is there").ends_with(b"\n"), "a part of a line stayed");
    std::fs::rename(&seen, format!("{seen}.1")).expect("the same file system");
    File::create(format!("{seen}.1")).expect("emptied, so that there is room");
    balancer.signal(Signal::SIGUSR1);
    balancer.wait_for_lines("takes lines again", 1);
    serve(&balancer, 20);
    eventually(|| lines_of(seen.as_ref()).len() + before.len() == 120, || balancer.log());
    let after = lines_of(seen.as_ref());
    for line in before.iter().chain(&after) {
        assert_eq!(Format::Text.read(line).end, "-- finished");
    }
    let [lines, lost, dropped, _] = fates(&balancer.end());
    assert_eq!([lines, lost, dropped], [120, 0, 0]);
}

#[test]
fn a_file_that_may_not_grow_any_more_is_an_error_and_not_the_end() {
    let (folder, backend) = (Folder::new(), Backend::named("B1"));
    let script = "ulimit -f 4 && exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", EVENKEEL, "--host", "127.0.0.1", "--port", "0"]);
    command.args(["--session-log", &folder.path("log"), "--session-log-queue", "16"]);
    command.args(["--backends", &backend.address.to_string()]);
    let balancer = Balancer::started(&mut command);
    serve(&balancer, 200);
    balancer.wait_for_lines("raise `ulimit -f`", 1);
    serve(&balancer, 20);
    let [lines, lost, dropped, _] = fates(&balancer.end());
    assert_eq!(lines + lost + dropped, 220);
    let written = lines_of(folder.path("log").as_ref());
    assert_eq!(u64::try_from(written.len()).expect("few"), lines, "every line is whole");
}

#[test]
fn a_fifo_that_nobody_reads_keeps_nobody_waiting_and_what_is_dropped_is_counted_exactly() {
    let (folder, backend) = (Folder::new(), Backend::named("B1"));
    let path = folder.path("fifo");
    mkfifo(path.as_str(), Mode::S_IRWXU).expect("our own folder");
    let options = format!("--session-log {path} --session-log-queue 16 --shards 1");
    let balancer = Balancer::before(&[backend.address], &options);
    serve(&balancer, 700);
    balancer.wait_for_lines("lines dropped, because", 1);
    assert_eq!(balancer.ask(), "B1");
    // Who comes late gets what there was room for.
    let reader = BufReader::new(File::open(&path).expect("there is a writer"));
    let reader = std::thread::spawn(move || {
        let entries = reader.lines().map(|line| Format::Text.read(&line.expect("text")));
        entries.filter(|entry| entry.end == "-- finished").count()
    });
    let [lines, lost, dropped, errors] = fates(&balancer.end());
    let read = u64::try_from(reader.join().expect("every line is whole")).expect("few");
    assert_eq!((read, lost, errors), (lines, 0, 0));
    assert_eq!(lines + dropped, 701);
    assert!(dropped > 0);
}

#[test]
fn a_standard_error_that_nobody_reads_keeps_neither_clients_nor_the_end_waiting() {
    let (folder, backend) = (Folder::new(), Backend::named("B1"));
    let path = folder.path("fifo");
    mkfifo(path.as_str(), Mode::S_IRWXU).expect("our own folder");
    // Open at both ends, so that writes wait and do not fail.
    let mut held = OpenOptions::new().read(true).write(true).open(&path).expect("ours");
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>\"$0\"", &path, EVENKEEL]);
    command.args(["--host", "127.0.0.1", "--port", "0", "--session-log", "stderr"]);
    command.args(["--backends", &backend.address.to_string()]);
    let mut balancer = Balancer::started(&mut command);
    serve(&balancer, 700);
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.wait().code(), Some(0));
    let mut said = vec![0; 32 * 1024];
    held.read_exact(&mut said).expect("the pipe is full");
    assert!(String::from_utf8_lossy(&said).contains(" -- finished retries 0 moves 0\n"));
}

fn serve(balancer: &Balancer, clients: usize) {
    std::thread::scope(|scope| {
        for part in 0..4 {
            let mine = clients / 4 + usize::from(part < clients % 4);
            scope.spawn(move || (0..mine).for_each(|_| assert_eq!(balancer.ask(), "B1")));
        }
    });
}

/// Lines, lost, dropped, errors.
fn fates(report: &crate::support::report::Report) -> [u64; 4] {
    report.counts([
        "session_log_lines",
        "session_log_lost",
        "session_log_dropped",
        "session_log_write_errors",
    ])
}
