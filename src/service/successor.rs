//! The side of the old process: starts the new binary with the listening sockets, and waits on a thread
//! of its own until it is ready, or has failed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::letter::{self, Letter, PassedGroup, Reply};
use super::passed::Group;
use super::predecessor::HAND_OVER;

/// What this process runs, to be started once more.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// A hand-over that is under way.
#[derive(Debug)]
pub struct HandOver {
    outcome: oneshot::Receiver<Result<Successor, Failure>>,
    line: UnixStream,
    cancelled: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Why the new process did not take over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// The new process, which accepts from the sockets that it has taken.
#[derive(Debug)]
pub struct Successor {
    /// Of its process.
    pub pid: u32,
    /// What it does not want, as places in what was passed.
    pub not_taken: Vec<usize>,
    child: Child,
    /// That it ends tells the new process that this one has let go.
    line: UnixStream,
}

impl Program {
    /// What runs now, by the path that it was started by, where another file may be by the time it is
    /// started again: a link that points to the next version is followed then, not now.
    #[must_use]
    pub fn running() -> Self {
        let mut arguments = std::env::args_os();
        let typed = arguments.next().unwrap_or_default();
        // Without /proc what was typed has to do.
        let running = std::env::current_exe().unwrap_or_else(|_| PathBuf::from(&typed));
        let path = typed_path(&typed, &running).unwrap_or(running);
        Self { path, arguments: arguments.collect() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it with these sockets, of listeners and of the admin API, and with what was changed and no
    /// file keeps, on a thread that waits for `patience` until it is ready.
    ///
    /// # Errors
    /// When no thread and no socket is to be had; all else comes as the outcome.
    pub fn hand_over(
        &self,
        groups: Vec<Group>,
        doors: Vec<(String, OwnedFd)>,
        changes: Option<String>,
        patience: Duration,
    ) -> io::Result<HandOver> {
        let (line, there) = UnixStream::pair()?;
        line.set_read_timeout(Some(patience))?;
        line.set_write_timeout(Some(patience))?;
        let (outcome_tx, outcome) = oneshot::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let (ours, program, is_cancelled) =
            (line.try_clone()?, self.clone(), Arc::clone(&cancelled));
        let work = move || {
            let started = program.start(&groups, &doors, changes, &ours, there);
            drop((groups, doors));
            let outcome = started.and_then(|mut child| {
                let not_taken = wait_for(&mut child, &ours, patience, &is_cancelled)?;
                Ok(Successor { pid: child.id(), not_taken, child, line: ours })
            });
            // Nobody waits if the program has been asked to end meanwhile.
            if let Err(Ok(successor)) = outcome_tx.send(outcome) {
                end(successor.child);
            }
        };
        let thread = std::thread::Builder::new().name("hand-over".to_owned()).spawn(work)?;
        Ok(HandOver { outcome, line, cancelled, thread })
    }

    fn start(
        &self,
        groups: &[Group],
        doors: &[(String, OwnedFd)],
        changes: Option<String>,
        line: &UnixStream,
        there: UnixStream,
    ) -> Result<Child, Failure> {
        let sockets = groups.iter().flat_map(|group| &group.sockets);
        let sockets = sockets.chain(doors.iter().map(|(_, socket)| socket));
        let descriptors: Vec<_> =
            std::iter::once(there.as_fd()).chain(sockets.map(|socket| socket.as_fd())).collect();
        let mut letter = None;
        let child = uring::passing_on(&descriptors, |numbers| {
            let (line, sockets) = numbers.split_first().expect("the line is the first");
            letter = Some(Letter { changes, ..write_letter(groups, doors, sockets) });
            let mut command = Command::new(&self.path);
            command.args(&self.arguments).stdin(Stdio::null()).env(HAND_OVER, line.to_string());
            for name in FOR_US_ALONE {
                command.env_remove(name);
            }
            command.spawn()
        });
        let started = child.and_then(|child| child);
        let path = self.path.display();
        let child =
            started.map_err(|error| Failure(format!("{path} cannot be started: {error}")))?;
        let letter = letter.expect("it was started after this was written");
        // Who does not read it says why, or ends.
        let _ = letter::write(line, &letter);
        Ok(child)
    }
}

impl HandOver {
    /// What comes of it. May be dropped and asked for again.
    pub async fn outcome(&mut self) -> Result<Successor, Failure> {
        let gone = || Failure("the thread that waits for the new process is gone".to_owned());
        (&mut self.outcome).await.unwrap_or_else(|_| Err(gone()))
    }

    /// The new process is ended, unless it has been ready before this.
    pub fn cancel(mut self) -> Option<Successor> {
        // What the other side has not said by now it cannot say any more, and ends its process.
        self.outcome.close();
        let ready = self.outcome.try_recv().ok().and_then(Result::ok);
        if ready.is_none() {
            self.cancelled.store(true, Ordering::Release);
            let _ = self.line.shutdown(Shutdown::Both);
            // It ends a process, which takes no time; after it this one may end.
            let _ = self.thread.join();
        }
        ready
    }
}

impl Successor {
    /// This process accepts no more.
    pub fn let_go(self) {
        let _ = self.line.shutdown(Shutdown::Both);
    }
}

fn write_letter(groups: &[Group], doors: &[(String, OwnedFd)], numbers: &[u32]) -> Letter {
    let mut numbers = numbers.iter().copied();
    let groups = groups.iter().map(|group| PassedGroup {
        name: group.name.clone(),
        asked: group.asked.clone(),
        address: group.address.to_string(),
        ours: group.ours,
        has_file: group.has_file,
        sockets: numbers.by_ref().take(group.sockets.len()).collect(),
    });
    let groups = groups.collect();
    let doors = doors.iter().map(|(asked, _)| asked.clone()).zip(numbers).collect();
    Letter { from: std::process::id(), groups, doors, changes: None }
}

/// Waits until it is ready; what it does not want. A process that is not is ended.
fn wait_for(
    child: &mut Child,
    line: &UnixStream,
    patience: Duration,
    cancelled: &AtomicBool,
) -> Result<Vec<usize>, Failure> {
    let why = match heard(line) {
        Ok(Some(Reply::Ready { not_taken })) => return Ok(not_taken),
        Ok(Some(Reply::Failed(why))) => format!("could not start: {why}"),
        Ok(None) if cancelled.load(Ordering::Acquire) => "was not ready in time".to_owned(),
        Ok(None) => match status_of(child) {
            Some(status) => format!("ended before it was ready: {status}"),
            None => "closed the line to this one before it was ready".to_owned(),
        },
        Err(error) if is_late(&error) => format!("was not ready within {patience:?}"),
        Err(error) => format!("said something that cannot be understood: {error}"),
    };
    let _ = child.kill();
    let _ = child.wait();
    Err(Failure(format!("process {} {why}", child.id())))
}

/// What it says; nothing at its end, which is a reset if it has not read its letter.
fn heard(line: &UnixStream) -> io::Result<Option<Reply>> {
    match letter::read(line) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        heard => heard,
    }
}

/// Its descriptors are closed a moment before it has ended.
fn status_of(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + ENDING;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_AGAIN_AFTER),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The path that leads to what runs now as it was typed, also if it was looked for in `PATH`.
fn typed_path(typed: &OsStr, running: &Path) -> Option<PathBuf> {
    let typed = Path::new(typed);
    let has_folder = typed.components().nth(1).is_some();
    let folders = std::env::var_os("PATH").filter(|_| !has_folder).unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(typed));
    let mut candidates = has_folder.then(|| typed.to_owned()).into_iter().chain(found);
    let path = candidates.find(|candidate| is_same_file(candidate, running))?;
    std::path::absolute(path).ok()
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// What a service manager has said to this process and not to the next: the number of a process is in
/// it. Without `WATCHDOG_PID` the watchdog is meant for whoever reads it (sd_watchdog_enabled(3)).
const FOR_US_ALONE: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How long a process may take to end when it has closed its descriptors.
const ENDING: Duration = Duration::from_secs(2);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(program: &str, arguments: &[&str], patience: Duration) -> String {
        let arguments = arguments.iter().map(OsString::from).collect();
        let program = Program { path: program.into(), arguments };
        let mut going_on =
            program.hand_over(Vec::new(), Vec::new(), None, patience).expect("descriptors");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        match runtime.block_on(going_on.outcome()) {
            Ok(successor) => format!("{:?} not taken", successor.not_taken),
            Err(failure) => failure.to_string(),
        }
    }

    /// Nothing here takes as long.
    const LONG: Duration = Duration::from_secs(40);

    #[test]
    fn what_becomes_of_the_new_process_is_told() {
        let says = |reply: &str| {
            let script = format!("eval \"echo '{reply}' >&$EVENKEEL_HAND_OVER\"; sleep 0.1");
            outcome("/bin/bash", &["-c", &script], LONG)
        };
        assert_eq!(
            says(r#"{"Ready":{"not_taken":[1]}}"#.replace('"', "\\\"").as_str()),
            "[1] not taken"
        );
        let failed = says(r#"{"Failed":"no luck"}"#.replace('"', "\\\"").as_str());
        assert!(failed.ends_with("could not start: no luck"), "{failed}");
        let ended = outcome("/bin/sh", &["-c", "exit 3"], LONG);
        assert!(ended.ends_with("ended before it was ready: exit status: 3"), "{ended}");
        let absent = outcome("/no/such/program", &[], LONG);
        assert!(absent.starts_with("/no/such/program cannot be started: "), "{absent}");
    }

    #[test]
    fn one_that_is_never_ready_is_ended() {
        let late = outcome("/bin/sleep", &["1000"], Duration::from_millis(100));
        assert!(late.ends_with("was not ready within 100ms"), "{late}");
        let pid = late.split(' ').nth(1).expect("a process");
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is there");
    }

    #[test]
    fn the_path_is_the_one_that_was_typed_also_if_it_is_a_link() {
        let folder = std::env::temp_dir().join(format!("evenkeel-link-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("our own folder");
        let (old, new, link) = (folder.join("1"), folder.join("2"), folder.join("current"));
        std::fs::write(&old, "").and_then(|()| std::fs::write(&new, "")).expect("our own folder");
        std::os::unix::fs::symlink(&old, &link).expect("our own folder");
        assert_eq!(typed_path(link.as_os_str(), &old), Some(link.clone()));
        assert_eq!(typed_path(link.as_os_str(), &new), None);
        assert_eq!(typed_path(OsStr::new("no-such-program"), &new), None);
        std::fs::remove_dir_all(folder).expect("our own folder");
    }
}
