//! The system calls of a contender while it carries something, by strace(1): the only ones who know
//! which bytes went through a pipe are the kernel and whoever watches the calls.
//!
//! A contender that is traced is slow; how fast it is, is measured without.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Calls;
use super::log::{NOTHING, is_log};
use super::threads::{field, ids};
use crate::place::Place;
use crate::process::Process;

/// What was called.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    counts: BTreeMap<String, u64>,
    /// By splice(2), into pipes and out of them.
    moved_bytes: u64,
    /// To standard output, standard error and files.
    pub(super) log_writes: u64,
}

/// strace(1), and where it writes.
#[derive(Debug)]
pub(super) struct Tracer {
    strace: Process,
    folder: Folder,
}

/// Removed when it is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Tracer {
    /// Attaches to all threads of `processes`; strace itself runs at `place`.
    ///
    /// # Errors
    /// When strace is not here or may not; the message says what helps.
    pub(super) fn attach(processes: &[u32], place: &Place) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-bench-strace-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0)?;
        let mut command = Command::new("strace");
        // -y names the files behind descriptors; strings are of no interest.
        command.args(["-f", "-qq", "-y", "-s", "0", "-e", "signal=none", "-o"]);
        command.arg(folder.calls()).stdout(Stdio::null()).stderr(File::create(folder.said())?);
        processes.iter().for_each(|pid| _ = command.args(["-p", &pid.to_string()]));
        let strace = place.run(|| {
            Process::spawn(command, Vec::new()).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::new(error.kind(), "strace is not here: apt-get install strace")
                }
                _ => error,
            })
        })?;
        let mut tracer = Self { strace, folder };
        tracer.wait_until_attached(processes)?;
        Ok(tracer)
    }

    /// Detaches, and reads what was called since.
    ///
    /// # Errors
    /// When strace wrote nothing.
    pub(super) fn detach(self) -> io::Result<Trace> {
        let Self { strace, folder } = self;
        // SIGTERM makes it detach and end.
        drop(strace);
        Ok(Trace::parse(&String::from_utf8_lossy(&fs::read(folder.calls())?)))
    }

    fn wait_until_attached(&mut self, processes: &[u32]) -> io::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while !processes.iter().all(|&pid| ids(pid).all(|tid| is_traced(pid, tid))) {
            if self.strace.ended()?.is_some() || Instant::now() > give_up {
                let said = fs::read_to_string(self.folder.said()).unwrap_or_default();
                let said = said.lines().next().unwrap_or("it does not attach in time").to_owned();
                let hint = "strace needs root (CAP_SYS_PTRACE)";
                return Err(io::Error::other(format!("{hint}: {said}")));
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// Or cannot be traced: a worker that the kernel made for a ring; or has ended.
fn is_traced(pid: u32, tid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")) else {
        return true;
    };
    let has = |name| field(&status, name).unwrap_or_default();
    has("TracerPid:") != "0" || has("Name:").starts_with("iou-")
}

impl Folder {
    fn calls(&self) -> PathBuf {
        self.0.join("calls")
    }

    fn said(&self) -> PathBuf {
        self.0.join("said")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Trace {
    fn parse(text: &str) -> Self {
        let mut trace = Self::default();
        text.lines().for_each(|line| trace.add(line));
        trace
    }

    /// A call is a line, or two if another thread's came in between:
    /// ```text
    /// 41 splice(7<socket:[9]>, NULL, 9<pipe:[8]>, NULL, 65536, SPLICE_F_NONBLOCK) = 4096
    /// 41 splice(7<socket:[9]>, NULL, 9<pipe:[8]>, NULL, 65536, SPLICE_F_NONBLOCK <unfinished ...>
    /// 41 <... splice resumed>) = 4096
    /// ```
    fn add(&mut self, line: &str) {
        let Some((_, call)) = line.split_once(' ') else { return };
        let call = call.trim_start();
        let name = match call.strip_prefix("<... ") {
            Some(resumed) => resumed.split(' ').next(),
            None => call.split_once('(').map(|(name, arguments)| {
                *self.counts.entry(name.to_owned()).or_default() += 1;
                self.log_writes += u64::from(writes_to_a_log(name, arguments));
                name
            }),
        };
        if name == Some("splice") {
            self.moved_bytes += returned(call).unwrap_or(0);
        }
    }

    /// Bytes that went through pipes, into them and out of them.
    pub(super) const fn spliced_bytes(&self) -> u64 {
        self.moved_bytes / 2
    }

    /// The calls that were made most.
    pub(super) fn most_frequent(&self, how_many: usize) -> Vec<Calls> {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
        let calls = all.into_iter().map(|(name, &count)| Calls { name: name.clone(), count });
        calls.take(how_many).collect()
    }
}

/// What the line ends with: a number, or `-1 EAGAIN (Resource …)`, or `?`.
fn returned(call: &str) -> Option<u64> {
    call.rsplit_once(" = ")?.1.split(' ').next()?.parse().ok()
}

/// `write(2</dev/pts/0>, …`: the first argument with what is behind it.
fn writes_to_a_log(name: &str, arguments: &str) -> bool {
    if !WRITES.contains(&name) {
        return false;
    }
    let Some((number, rest)) = arguments.split_once('<') else { return false };
    let behind = rest.split('>').next().unwrap_or_default();
    is_log(behind) || (matches!(number, "1" | "2") && Path::new(behind) != Path::new(NOTHING))
}

const WRITES: [&str; 6] = ["write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg"];
/// strace attaches to a few threads at once; on a loaded machine it may have to wait for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
41 epoll_wait(4<anon_inode:[eventpoll]>, [{events=EPOLLIN, data={u32=1, u64=1}}], 64, -1) = 1
41 recvfrom(7<socket:[9]>, \"\"..., 16384, 0, NULL, NULL) = 9
41 splice(7<socket:[9]>, NULL, 9<pipe:[8]>, NULL, 65536, SPLICE_F_MOVE) = 65536
41 splice(8<pipe:[8]>, NULL, 11<socket:[7]>, NULL, 65536, SPLICE_F_MOVE <unfinished ...>
42 write(1</dev/null>, \"\"..., 5) = 5
41 <... splice resumed>) = 65536
41 splice(7<socket:[9]>, NULL, 9<pipe:[8]>, NULL, 65536, 0) = -1 EAGAIN (Resource temporarily unavailable)
42 write(2</dev/pts/0>, \"\"..., 5 <unfinished ...>
42 <... write resumed>) = 5
42 writev(5</var/log/x.log>, [{iov_base=\"\"..., iov_len=3}], 1) = 3
42 write(2<pipe:[3]>, \"\"..., 5) = 5
42 write(6<pipe:[4]>, \"\"..., 1) = 1
42 +++ exited with 0 +++
";

    #[test]
    fn splices_are_added_up_also_those_on_two_lines() {
        assert_eq!(Trace::parse(TEXT).spliced_bytes(), 65_536);
    }

    #[test]
    fn writes_to_where_logs_go_are_counted_and_others_not() {
        assert_eq!(Trace::parse(TEXT).log_writes, 3);
    }

    #[test]
    fn each_call_counts_once() {
        let calls = |name: &str, count| Calls { name: name.to_owned(), count };
        let most = Trace::parse(TEXT).most_frequent(2);
        assert_eq!(most, [calls("write", 4), calls("splice", 3)]);
        assert_eq!(Trace::parse(""), Trace::default());
    }
}
