//! Listening sockets that somebody else has opened: a service manager (`LISTEN_FDS`,
//! sd_listen_fds(3)), whoever started the program (`fd@N`), or the process that hands over. They wait
//! here until a listener takes them; one that none takes stays open, because clients may be in its
//! queue.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use socket2::SockRef;
use tracing::{info, warn};
use uring::{InheritError, SocketFile};

use crate::config::admin::AdminListen;
use crate::config::plan::{Address, ListenerConfig, On};

/// Sockets that no listener has taken yet.
#[derive(Debug, Default)]
pub struct Passed {
    groups: Vec<Group>,
    /// Of the admin API, as it was configured; from the process that hands over only.
    doors: Vec<(String, OwnedFd)>,
    /// What was changed through the admin API there, as a state file would have it.
    changes: Option<String>,
}

/// Sockets that belong together: of one name and at one address.
#[derive(Debug)]
pub struct Group {
    /// Under which they were passed.
    pub name: Option<String>,
    /// The address of the listener that had them, as it was configured.
    pub asked: Option<String>,
    /// Where they are.
    pub address: Address,
    /// Whether evenkeel has opened them: then nobody else goes on with them.
    pub ours: bool,
    /// Whether their file is to be removed when nobody listens any more.
    pub has_file: bool,
    /// In the order of the shards that had them.
    pub sockets: Vec<OwnedFd>,
    /// Where they come from.
    pub from: From,
}

/// Who passed sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Whoever started the program chose the numbers that they have.
    Starter,
    /// The process that hands over, which knows them by this place.
    Predecessor(usize),
    /// A listener that is not configured any more.
    Listener,
}

/// Why sockets that were passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The variables of a service manager contradict each other.
    #[error("{0}; whoever starts this program sets it as sd_listen_fds(3) says")]
    Variables(String),
    /// One of them is something else than was said.
    #[error("{what}: {source}")]
    Descriptor {
        /// Which.
        what: String,
        /// Why it cannot be used.
        source: InheritError,
    },
    /// Where it is cannot be told.
    #[error("{what}: its address cannot be read: {source}")]
    Address {
        /// Which.
        what: String,
        /// What the kernel says.
        source: io::Error,
    },
}

impl Passed {
    /// Those of a service manager, by the environment.
    ///
    /// # Errors
    /// A [`PassError`] that names what is wrong with them.
    pub fn by_service_manager() -> Result<Self, PassError> {
        let variable = |name: &str| std::env::var(name).ok();
        let mut passed = Self::default();
        for (number, name) in listen_fds(std::process::id(), variable)? {
            let what = || match &name {
                Some(name) => format!("LISTEN_FDS passes descriptor {number} ({name})"),
                None => format!("LISTEN_FDS passes descriptor {number}"),
            };
            let socket = uring::inherited_listener(number)
                .map_err(|source| PassError::Descriptor { what: what(), source })?;
            let address = address_of(&socket)
                .map_err(|source| PassError::Address { what: what(), source })?;
            passed.add_to_group(name, address, socket);
        }
        Ok(passed)
    }

    fn add_to_group(&mut self, name: Option<String>, address: Address, socket: OwnedFd) {
        let same = |group: &&mut Group| group.name == name && group.address == address;
        match self.groups.iter_mut().find(same) {
            Some(group) => group.sockets.push(socket),
            None => self.groups.push(Group::from_starter(name, address, socket)),
        }
    }

    /// One more group.
    pub fn add(&mut self, group: Group) {
        self.groups.push(group);
    }

    /// One more of the admin API.
    pub fn add_door(&mut self, asked: String, socket: OwnedFd) {
        self.doors.push((asked, socket));
    }

    /// The next of those of the admin API that are configured so.
    pub fn take_door(&mut self, asked: &str) -> Option<OwnedFd> {
        let place = self.doors.iter().position(|(known, _)| known == asked)?;
        Some(self.doors.remove(place).1)
    }

    /// Changes that the process which hands over kept in no file.
    pub fn add_changes(&mut self, changes: Option<String>) {
        self.changes = changes;
    }

    /// These changes, once.
    pub fn take_changes(&mut self) -> Option<String> {
        self.changes.take()
    }

    /// Those that are here.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Makes sure that the socket of each listener at `fd@N` is here, in a group of its own.
    ///
    /// # Errors
    /// It was not passed, or is no such socket.
    pub fn find_numbers(&mut self, listeners: &[&ListenerConfig]) -> Result<(), PassError> {
        for listener in listeners {
            let On::Fd(number) = listener.address else { continue };
            let asked = listener.address.to_string();
            if self.groups.iter().any(|group| group.asked.as_ref() == Some(&asked)) {
                continue;
            }
            let what = || format!("listener {}", listener.name);
            let socket = match self.take_number(number) {
                Some(socket) => socket,
                None => uring::inherited_listener(number)
                    .map_err(|source| PassError::Descriptor { what: what(), source })?,
            };
            let address = address_of(&socket)
                .map_err(|source| PassError::Address { what: what(), source })?;
            let group = Group::from_starter(None, address, socket);
            self.add(Group { asked: Some(asked), ..group });
        }
        Ok(())
    }

    /// The socket that a service manager passed under this number.
    fn take_number(&mut self, number: u32) -> Option<OwnedFd> {
        let is_it = |socket: &OwnedFd| u32::try_from(socket.as_raw_fd()) == Ok(number);
        let by_starter = self.groups.iter_mut().filter(|group| group.from == From::Starter);
        let socket = by_starter.into_iter().find_map(|group| {
            let place = group.sockets.iter().position(is_it)?;
            Some(group.sockets.remove(place))
        });
        self.groups.retain(|group| !group.sockets.is_empty());
        socket
    }

    /// Which groups each of the listeners takes, as places in [`Passed::groups`]; each is taken once.
    #[must_use]
    pub fn assign(&self, listeners: &[&ListenerConfig]) -> Vec<Vec<usize>> {
        let mut free = vec![true; self.groups.len()];
        let mut assigned = vec![Vec::new(); listeners.len()];
        for fits in [fits_twin, fits_asked, fits_address, fits_name] {
            for (listener, taken) in listeners.iter().zip(&mut assigned) {
                self.assign_by(fits, listener, &mut free, taken);
            }
        }
        assigned
    }

    fn assign_by(
        &self,
        fits: fn(&Group, &ListenerConfig) -> bool,
        listener: &ListenerConfig,
        free: &mut [bool],
        taken: &mut Vec<usize>,
    ) {
        for (place, group) in self.groups.iter().enumerate() {
            // Two listeners may have asked for any port: each goes on with its own.
            let other_port = taken
                .first()
                .is_some_and(|&first: &usize| self.groups[first].address != group.address);
            if free[place] && fits(group, listener) && (!group.ours || !other_port) {
                free[place] = false;
                taken.push(place);
            }
        }
    }

    /// Forgets those that listeners have taken.
    pub fn remove(&mut self, mut taken: Vec<usize>) {
        taken.sort_unstable();
        taken.iter().rev().for_each(|&place| drop(self.groups.remove(place)));
    }

    /// Forgets the sockets of the process that hands over which no listener has taken; their places
    /// there. It has them still, and closes them as it closes a listener. Nobody listens any more at
    /// endpoints of the admin API that are not configured now.
    pub fn leave_to_predecessor(&mut self) -> Vec<usize> {
        self.doors.drain(..).for_each(|(asked, _)| remove_file_of(&asked));
        let mut left = Vec::new();
        self.groups.retain(|group| match group.from {
            From::Predecessor(place) if group.ours => {
                left.push(place);
                false
            }
            _ => true,
        });
        left
    }

    /// Whether a socket that the process which hands over has is in the way of `address`.
    pub fn is_left_at(&self, in_the_way: impl Fn(&Address) -> bool) -> bool {
        let of_ours = |group: &&Group| group.ours;
        self.groups.iter().filter(of_ours).any(|group| in_the_way(&group.address))
    }

    /// Says which were passed and serve nobody.
    pub fn tell_unused(&self) {
        self.groups.iter().for_each(Group::tell_unused);
    }
}

impl Group {
    fn from_starter(name: Option<String>, address: Address, socket: OwnedFd) -> Self {
        Self {
            name,
            asked: None,
            address,
            ours: false,
            has_file: false,
            sockets: vec![socket],
            from: From::Starter,
        }
    }

    /// The same sockets once more.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn try_clone(&self) -> io::Result<Self> {
        let sockets: io::Result<_> = self.sockets.iter().map(OwnedFd::try_clone).collect();
        let (name, asked, address) = (self.name.clone(), self.asked.clone(), self.address.clone());
        let Self { ours, has_file, from, .. } = *self;
        Ok(Self { name, asked, address, ours, has_file, sockets: sockets?, from })
    }

    /// Says that it serves nobody.
    pub fn tell_unused(&self) {
        let name = self.name.as_ref().map(|name| format!(" as `{name}`"));
        let (address, name) = (&self.address, name.unwrap_or_default());
        warn!(
            "a listening socket at {address} was passed{name} and no listener has that name or \
             address: it stays open, and who connects there waits; add a listener, or pass it no more"
        );
    }

    /// Says that a listener takes it.
    pub fn tell_taken(&self, listener: &str) {
        let address = &self.address;
        match self.sockets.len() {
            1 => info!("listener {listener} takes the socket at {address} that was passed"),
            many => info!("listener {listener} takes {many} sockets at {address} that were passed"),
        }
    }
}

/// The process that hands over leaves the file of its socket to this one, which has no use for it.
fn remove_file_of(asked: &str) {
    let path = asked.parse().ok().and_then(|listen| match listen {
        AdminListen::Unix { path, .. } => Some(path),
        AdminListen::Tcp(_) => None,
    });
    // If it is gone it need not be removed.
    drop(path.map(|path| SocketFile::adopt(&path)));
}

/// The same address was asked for under the same name.
fn fits_twin(group: &Group, listener: &ListenerConfig) -> bool {
    fits_asked(group, listener) && group.name.as_ref() == Some(&listener.name)
}

/// The same address was asked for.
fn fits_asked(group: &Group, listener: &ListenerConfig) -> bool {
    group.asked.as_ref().is_some_and(|asked| *asked == listener.address.to_string())
}

/// It is at the address of the listener.
fn fits_address(group: &Group, listener: &ListenerConfig) -> bool {
    matches!(&listener.address, On::At(address) if *address == group.address)
}

/// Somebody else passed it under the listener's name.
fn fits_name(group: &Group, listener: &ListenerConfig) -> bool {
    !group.ours && group.name.as_ref() == Some(&listener.name)
}

/// Where a listening socket is. A name in the abstract namespace is written after an `@`.
fn address_of(socket: &OwnedFd) -> io::Result<Address> {
    let address = SockRef::from(socket).local_addr()?;
    let inet: Option<SocketAddr> = address.as_socket();
    let unix = || match address.as_abstract_namespace() {
        Some(name) => PathBuf::from(format!("@{}", String::from_utf8_lossy(name))),
        None => address.as_pathname().map(PathBuf::from).unwrap_or_default(),
    };
    Ok(inet.map_or_else(|| Address::Unix(unix()), Address::Inet))
}

/// Numbers and names of what a service manager passes to the process `own` (sd_listen_fds(3)).
fn listen_fds(
    own: u32,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(u32, Option<String>)>, PassError> {
    let number = |name: &str, text: String| {
        let wrong = || PassError::Variables(format!("{name}={text} is no number"));
        text.parse::<u32>().map_err(|_| wrong())
    };
    let (Some(pid), Some(count)) = (variable("LISTEN_PID"), variable("LISTEN_FDS")) else {
        return Ok(Vec::new());
    };
    // They were for whoever started us.
    if number("LISTEN_PID", pid)? != own {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS", count)?;
    if count > MOST_FDS {
        return Err(PassError::Variables(format!("LISTEN_FDS={count} is more than there can be")));
    }
    let numbers = FIRST_FD..FIRST_FD + count;
    let Some(names) = variable("LISTEN_FDNAMES") else {
        return Ok(numbers.map(|number| (number, None)).collect());
    };
    let names: Vec<&str> = names.split(':').collect();
    if names.len() != numbers.len() {
        let text = format!("LISTEN_FDNAMES has {} names for {count} descriptors", names.len());
        return Err(PassError::Variables(text));
    }
    let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Ok(numbers.zip(names.into_iter().map(name)).collect())
}

/// `SD_LISTEN_FDS_START`.
const FIRST_FD: u32 = 3;
/// No limit of open files is higher (`sysctl_nr_open_max`, fs/file.c).
const MOST_FDS: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: Result<&[(u32, Option<&str>)], &str>) {
        let variable = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        match (listen_fds(7, variable), expected) {
            (Ok(got), Ok(expected)) => {
                let got: Vec<_> =
                    got.iter().map(|(number, name)| (*number, name.as_deref())).collect();
                assert_eq!(got, expected, "{variables:?}");
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, _) => panic!("{variables:?}: {got:?}"),
        }
    }

    #[test]
    fn what_a_service_manager_passes_is_read_from_its_variables() {
        let [pid, two] = [("LISTEN_PID", "7"), ("LISTEN_FDS", "2")];
        check(&[], Ok(&[]));
        check(&[two], Ok(&[]));
        // Inherited from somebody for whom it was.
        check(&[("LISTEN_PID", "8"), two, ("LISTEN_FDNAMES", "a:b")], Ok(&[]));
        check(&[pid, two], Ok(&[(3, None), (4, None)]));
        check(&[pid, two, ("LISTEN_FDNAMES", "a:b")], Ok(&[(3, Some("a")), (4, Some("b"))]));
        check(&[pid, two, ("LISTEN_FDNAMES", "a:")], Ok(&[(3, Some("a")), (4, None)]));
        check(&[pid, two, ("LISTEN_FDNAMES", "a")], Err("1 names for 2 descriptors"));
        check(&[pid, ("LISTEN_FDS", "two")], Err("LISTEN_FDS=two is no number"));
        check(&[("LISTEN_PID", "me"), two], Err("LISTEN_PID=me is no number"));
        check(&[pid, ("LISTEN_FDS", "4294967295")], Err("more than there can be"));
    }
}
