//! What a service manager is told (sd_notify(3)): datagrams to the socket that `NOTIFY_SOCKET` names.
//! Without that variable nobody is told, and nothing else is different.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{info, warn};

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    /// Where it was when the program began.
    address: Option<SocketAddr>,
    /// Whether the last message did not arrive, which is said once.
    fails: AtomicBool,
    /// Why there is none although there should be.
    problem: Option<String>,
    /// Whether another process is the service now.
    replaced: AtomicBool,
}

impl Notifier {
    /// As the environment says. The socket is kept, so that it can be reached when its path cannot.
    #[must_use]
    pub fn from_environment() -> Self {
        match std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) {
            Some(address) => Self::to(&address),
            None => Self::default(),
        }
    }

    /// At this address: a path, or a name in the abstract namespace after an `@`.
    #[must_use]
    pub fn to(address: &OsStr) -> Self {
        match connect(address) {
            Ok((socket, address)) => {
                Self { socket: Some(socket), address: Some(address), ..Self::default() }
            }
            Err(error) => {
                let at = address.display();
                let problem = format!("the service manager is not told anything: {at}: {error}");
                Self { problem: Some(problem), ..Self::default() }
            }
        }
    }

    /// Logs why nobody is told, once there is a log.
    pub fn tell_problem(&self) {
        self.problem.iter().for_each(|problem| warn!("NOTIFY_SOCKET: {problem}"));
    }

    /// Clients can connect, or a reload is over.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&line(status))]);
    }

    /// A reload begins. systemd wants to know when, to tell what was sent before from what comes
    /// after (`Type=notify-reload`).
    pub fn reloading(&self, status: &str) {
        let since = NotifyState::MonotonicUsec(i128::from(uring::monotonic_ns() / 1000));
        self.send(&[NotifyState::Reloading, since, NotifyState::Status(&line(status))]);
    }

    /// The end begins.
    pub fn stopping(&self, status: &str) {
        self.send(&[NotifyState::Stopping, NotifyState::Status(&line(status))]);
    }

    /// What a person reads in `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&[NotifyState::Status(&line(status))]);
    }

    /// All is well.
    pub fn watchdog(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// Another process is the service from now on; this one says nothing more.
    pub fn replaced_by(&self, pid: u32) {
        let status = format!("process {pid} has taken over from process {}", std::process::id());
        self.send(&[NotifyState::MainPid(pid), NotifyState::Status(&status)]);
        self.replaced.store(true, Ordering::Release);
    }

    /// How often [`Notifier::watchdog`] is expected at least, if it is.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.socket.as_ref().and_then(|_| sd_notify::watchdog_enabled())
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        if self.replaced.load(Ordering::Acquire) {
            return;
        }
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        let again = |address| {
            // One that began anew listens at the same place, which has another socket now.
            socket.connect_addr(address)?;
            socket.send(message.as_bytes())
        };
        let sent = socket.send(message.as_bytes());
        let sent = sent.or_else(|error| self.address.as_ref().map_or(Err(error), again));
        match sent {
            Ok(_) if self.fails.swap(false, Ordering::AcqRel) => {
                info!("the service manager can be told again how it goes");
            }
            Err(error) if !self.fails.swap(true, Ordering::AcqRel) => {
                let message = message.trim_end();
                warn!(
                    "the service manager could not be told {message:?}: {error}; it is tried again"
                );
            }
            _ => {}
        }
    }
}

fn connect(address: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => {
            let text = "it is neither a path nor a name after @";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket, address))
}

/// A field is a line.
fn line(status: &str) -> String {
    status.replace('\n', "; ")
}

/// The control thread waits no longer for a service manager whose queue is full.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn next(socket: &UnixDatagram) -> String {
        let mut message = [0; 4096];
        socket.set_read_timeout(Some(Duration::from_secs(40))).expect("not zero");
        let bytes = socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..bytes]).into_owned()
    }

    #[test]
    fn who_listens_at_the_same_place_again_is_told_again() {
        let path = std::env::temp_dir().join(format!("evenkeel-told-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).expect("a free name");
        let notifier = Notifier::to(path.as_os_str());
        notifier.status("one");
        assert_eq!(next(&manager), "STATUS=one\n");
        drop(manager);
        std::fs::remove_file(&path).expect("it is there");
        notifier.status("two");
        let manager = UnixDatagram::bind(&path).expect("a free name");
        notifier.status("three");
        assert_eq!(next(&manager), "STATUS=three\n");
        std::fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn an_abstract_name_is_as_good_as_a_path() {
        let name = format!("evenkeel-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let manager = UnixDatagram::bind_addr(&address).expect("a free name");
        let notifier = Notifier::to(OsStr::new(&format!("@{name}")));
        notifier.ready("one\nline");
        assert_eq!(next(&manager), "READY=1\nSTATUS=one; line\n");
        notifier.reloading("again");
        let said = next(&manager);
        let since = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a time");
        let since = since.strip_suffix("\nSTATUS=again\n").expect("a status");
        assert!(since.parse::<u64>().expect("a number") > 0);
    }

    #[test]
    fn who_was_replaced_says_so_and_nothing_more() {
        let name = format!("evenkeel-replaced-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let manager = UnixDatagram::bind_addr(&address).expect("a free name");
        let notifier = Notifier::to(OsStr::new(&format!("@{name}")));
        notifier.replaced_by(7);
        assert!(next(&manager).starts_with("MAINPID=7\n"));
        notifier.stopping("not to be heard");
        notifier.watchdog();
        manager.set_nonblocking(true).expect("a socket");
        assert!(manager.recv(&mut [0; 64]).is_err());
    }

    #[test]
    fn an_address_that_cannot_be_is_told_and_harms_nobody() {
        for address in ["relative", "/nobody/is/here", "vsock:2:1234"] {
            let notifier = Notifier::to(OsStr::new(address));
            assert!(notifier.problem.is_some(), "{address}");
            notifier.ready("to nobody");
        }
    }
}
