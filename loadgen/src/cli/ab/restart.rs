//! A target that is started anew between runs, so that none inherits what another left behind.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::cli::Failure;
use crate::cli::load::Where;

/// Runs `command` and waits until `target` accepts connections.
pub(super) fn restart(name: &str, command: &str, target: &Where) -> Result<(), Failure> {
    let status = shell(command).map_err(|error| {
        Failure::Run(format!("cannot run the restart command of {name}: {error}"))
    })?;
    if !status.success() {
        return Err(Failure::Run(format!(
            "the restart command of {name} failed ({status}): try `sh -c '{command}'` by itself"
        )));
    }
    wait_until_accepting(name, target)
}

/// The end signals are blocked in this process, and children inherit that: they are let through
/// while the child is made, or what the command starts could not be ended.
fn shell(command: &str) -> io::Result<ExitStatus> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    let before = signals.thread_swap_mask(SigmaskHow::SIG_UNBLOCK)?;
    let child =
        Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    before.thread_set_mask()?;
    child?.wait()
}

fn wait_until_accepting(name: &str, target: &Where) -> Result<(), Failure> {
    let until = Instant::now() + WAIT;
    loop {
        match try_connect(target) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => {
                return Err(Failure::Run(format!(
                    "{name} does not accept connections at {target} {} s after its restart: \
                     {error}; the command has to leave it running, as `... &` does",
                    WAIT.as_secs()
                )));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn try_connect(target: &Where) -> io::Result<()> {
    match target {
        Where::Tcp(target) | Where::Url { target, .. } => {
            TcpStream::connect((target.host.as_str(), target.port)).map(drop)
        }
        Where::Unix(path) => UnixStream::connect(path).map(drop),
    }
}

/// Programs that take longer to start are not restarted for a measurement.
const WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn target(listener: &TcpListener) -> Where {
        Where::Tcp(listener.local_addr().expect("it is bound").into())
    }

    #[test]
    fn the_command_runs_and_the_target_is_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let file = std::env::temp_dir().join(format!("loadgen-restart-{}", std::process::id()));
        let command = format!("echo again >> {}", file.display());
        for _ in 0..2 {
            restart("B", &command, &target(&listener)).expect("it listens");
        }
        let text = std::fs::read_to_string(&file).expect("it was written");
        std::fs::remove_file(&file).expect("it was there");
        assert_eq!(text, "again\nagain\n");
        assert!(listener.accept().is_ok(), "it was tried");
    }

    #[test]
    fn what_is_started_can_be_ended() {
        let signals: SigSet = [Signal::SIGTERM].into_iter().collect();
        signals.thread_block().expect("it may be blocked");
        // Bit 14 of the blocked signals is SIGTERM.
        let command = "set -- $(grep SigBlk /proc/self/status); test $(( 0x$2 & 0x4000 )) -eq 0";
        assert!(shell(command).expect("there is a shell").success());
        assert!(SigSet::thread_get_mask().expect("it may be read").contains(Signal::SIGTERM));
    }

    #[test]
    fn a_command_that_fails_is_told_with_how_to_try_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let failure = restart("B", "exit 3", &target(&listener));
        let Err(Failure::Run(message)) = failure else { panic!("{failure:?}") };
        assert!(message.contains("restart command of B failed (exit status: 3)"), "{message}");
    }
}
