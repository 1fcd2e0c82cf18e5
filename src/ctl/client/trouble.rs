//! What an errno on the way to the admin API means.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Address, ClientError};

/// A connect failed.
pub(super) fn connecting(address: &Address, error: &io::Error) -> ClientError {
    let address = address.clone();
    match (error.kind(), &address) {
        // No file, or one that is left of somebody who is gone.
        (ErrorKind::NotFound, Address::Unix(_)) | (ErrorKind::ConnectionRefused, _) => {
            ClientError::NobodyListens { address }
        }
        (ErrorKind::PermissionDenied, Address::Unix(path)) => {
            let (who, cure) = owner(path);
            ClientError::NotAllowed { address, who, cure }
        }
        // ENOTSOCK of connect(2): a file that is no socket.
        _ if error.raw_os_error() == Some(nix::errno::Errno::ENOTSOCK as i32) => {
            ClientError::not_evenkeel(&address, "it is a file, not a socket")
        }
        _ => ClientError::Unreachable { address, error: error.to_string() },
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
fn owner(path: &Path) -> (String, String) {
    let seen = path.ancestors().find_map(|part| Some((part, part.metadata().ok()?)));
    let Some((part, metadata)) = seen else {
        return ("it cannot be looked at".to_owned(), "try as root".to_owned());
    };
    let user = name_of(metadata.uid(), "/etc/passwd");
    let group = name_of(metadata.gid(), "/etc/group");
    // Belongs to the effective user: proc_pid_self(5).
    let me = std::fs::metadata("/proc/self").map(|me| name_of(me.uid(), "/etc/passwd"));
    let me = me.unwrap_or_else(|_| "somebody else".to_owned());
    let (mode, part) = (metadata.mode() & 0o7777, part.display());
    let who = format!("{part} belongs to {user}:{group}, mode {mode:04o}, and you are {me}");
    let cure = match mode & 0o070 {
        0 => format!("try as {user} or root, or start evenkeel with --admin unix:PATH,mode=0660"),
        _ => format!("try as {user} or root, or become a member of the group {group}"),
    };
    (who, cure)
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
        let (who, cure) = owner(Path::new("/etc/passwd/not/there"));
        assert!(who.starts_with("/etc/passwd belongs to root:root, mode 0"), "{who}");
        assert!(cure.contains("root"), "{cure}");
    }
}
