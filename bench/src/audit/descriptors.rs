//! What another process has open, from its table of descriptors.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// A descriptor of another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// In that process.
    pub(super) number: i32,
    /// As `/proc/PID/fd` has it: a path, `socket:[…]`, `pipe:[…]`.
    pub(super) link: String,
}

/// Those of `pid`. Ones that are a ring's only (io_uring's direct descriptors) are not in its table.
///
/// # Errors
/// When the kernel does not let us look; the message says what helps.
pub(super) fn descriptors(pid: u32) -> io::Result<Vec<Descriptor>> {
    let mut all = Vec::new();
    for one in fs::read_dir(format!("/proc/{pid}/fd")).map_err(forbidden)? {
        let one = one?;
        let Some(number) = one.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let link = what_it_is(fs::read_link(one.path()))?;
        all.extend(link.map(|link| Descriptor { number, link }));
    }
    Ok(all)
}

/// Nothing if it was closed in between.
fn what_it_is(link: io::Result<PathBuf>) -> io::Result<Option<String>> {
    match link {
        Ok(link) => Ok(Some(link.to_string_lossy().into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(forbidden(error)),
    }
}

/// With what helps, if it is something that can be had.
pub(super) fn forbidden(error: io::Error) -> io::Error {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => "needs root (CAP_SYS_PTRACE)",
        ErrorKind::Unsupported => "needs Linux 5.6",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{hint}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forbidden_is_an_error_with_its_cure() {
        // Not "nothing is open": nobody has looked.
        let error = what_it_is(Err(ErrorKind::PermissionDenied.into())).expect_err("forbidden");
        assert_eq!(error.to_string(), "needs root (CAP_SYS_PTRACE): permission denied");
        assert_eq!(what_it_is(Err(ErrorKind::NotFound.into())).expect("it was closed"), None);
        descriptors(u32::MAX).expect_err("there is no such process");
    }

    #[test]
    fn a_file_of_this_process_is_among_what_it_has_open() {
        use std::os::fd::AsRawFd;
        let path = std::env::current_exe().expect("/proc is there");
        let file = fs::File::open(&path).expect("it runs");
        let wanted =
            Descriptor { number: file.as_raw_fd(), link: path.to_string_lossy().into_owned() };
        assert!(descriptors(std::process::id()).expect("it is this process").contains(&wanted));
    }
}
