//! What an errno on the way to the admin API means.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::{Address, ClientError, TOKEN_VARIABLE};

/// A connect failed.
pub(super) fn connecting(address: &Address, error: &io::Error) -> ClientError {
    let address = address.clone();
    match (error.kind(), &address) {
        // Linux says ECONNREFUSED of a file that is no socket, as of one that nobody listens at.
        (ErrorKind::ConnectionRefused, Address::Unix(path)) => match what_is_no_socket(path) {
            Some(what) => ClientError::NotASocket { address, what },
            None => ClientError::NobodyListens { address },
        },
        // No file, or nobody at the port.
        (ErrorKind::NotFound, Address::Unix(_)) | (ErrorKind::ConnectionRefused, _) => {
            ClientError::NobodyListens { address }
        }
        (ErrorKind::PermissionDenied, Address::Unix(path)) => {
            let (who, cure) = who_may_connect(path);
            ClientError::NotAllowed { address, who, cure }
        }
        _ => ClientError::Unreachable { address, error: error.to_string() },
    }
}

/// What is in the way, unless it is a socket.
fn what_is_no_socket(path: &Path) -> Option<&'static str> {
    let kind = path.metadata().ok()?.file_type();
    if kind.is_socket() {
        return None;
    }
    Some(if kind.is_dir() { "a folder" } else { "a file" })
}

/// A file with a token could not be read: why, and what helps.
pub(super) fn reading(path: &Path, error: &io::Error) -> String {
    let name = format!("name the file that has the token with --token-file or {TOKEN_VARIABLE}");
    match error.kind() {
        ErrorKind::NotFound => format!("it is not there; {name}"),
        ErrorKind::IsADirectory => format!("it is a folder; {name}"),
        ErrorKind::InvalidData => format!("it is not text; {name}"),
        ErrorKind::PermissionDenied => match Owner::of(path) {
            Some(owner) => format!("it may not be read: {owner}; {}, or {name}", owner.as_whom()),
            None => format!("it may not be read; try as root, or {name}"),
        },
        _ => format!("{error}; {name}"),
    }
}

/// A request or an answer got stuck.
pub(super) fn talking(address: &Address, error: &hyper::Error) -> ClientError {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return ClientError::Closed { address: address.clone() };
    }
    if error.is_parse() {
        return ClientError::not_evenkeel(address, "it does not speak HTTP");
    }
    // The peer went away: a reset, or a pipe without an end.
    ClientError::Closed { address: address.clone() }
}

/// Whose the socket is, or the first folder on the way to it that can be looked at, and what helps.
fn who_may_connect(path: &Path) -> (String, String) {
    let Some(owner) = Owner::of(path) else {
        return ("it cannot be looked at".to_owned(), "try as root".to_owned());
    };
    let (try_as, group) = (owner.as_whom(), &owner.group);
    let cure = match owner.mode & 0o070 {
        0 => format!("{try_as}, or start evenkeel with --admin unix:PATH,mode=0660"),
        _ => format!("{try_as}, or become a member of the group {group}"),
    };
    (owner.to_string(), cure)
}

/// Whose a file is, or the first folder on the way to it that can be looked at.
struct Owner {
    part: PathBuf,
    user: String,
    group: String,
    mode: u32,
}

impl Owner {
    fn of(path: &Path) -> Option<Self> {
        let (part, metadata) =
            path.ancestors().find_map(|part| Some((part, part.metadata().ok()?)))?;
        Some(Self {
            part: part.to_owned(),
            user: name_of(metadata.uid(), "/etc/passwd"),
            group: name_of(metadata.gid(), "/etc/group"),
            mode: metadata.mode() & 0o7777,
        })
    }

    /// Whom the kernel lets through.
    fn as_whom(&self) -> String {
        match self.user.as_str() {
            "root" => "try as root".to_owned(),
            user => format!("try as {user} or root"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Belongs to the effective user: proc_pid_self(5).
        let me = std::fs::metadata("/proc/self").map(|me| name_of(me.uid(), "/etc/passwd"));
        let me = me.unwrap_or_else(|_| "somebody else".to_owned());
        let Self { part, user, group, mode } = self;
        let part = part.display();
        write!(f, "{part} belongs to {user}:{group}, mode {mode:04o}, and you are {me}")
    }
}

/// The name of an id, by passwd(5) or group(5), which begin alike; the number if it has none.
fn name_of(id: u32, file: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let id = id.to_string();
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&id));
    line.and_then(|line| line.split(':').next()).map_or(id.clone(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_names_and_without_one_their_number() {
        assert_eq!(name_of(0, "/etc/passwd"), "root");
        assert_eq!(name_of(0, "/etc/group"), "root");
        assert_eq!(name_of(4_000_000_000, "/etc/passwd"), "4000000000");
    }

    #[test]
    fn a_path_that_may_not_be_opened_names_who_may() {
        let (who, cure) = who_may_connect(Path::new("/etc/passwd/not/there"));
        assert!(who.starts_with("/etc/passwd belongs to root:root, mode 0"), "{who}");
        assert!(cure.starts_with("try as root, or "), "{cure}");
        let owner =
            Owner { user: "evenkeel".to_owned(), ..Owner::of(Path::new("/")).expect("it is") };
        assert_eq!(owner.as_whom(), "try as evenkeel or root");
    }
}
