//! Where a contender could write a log.

use std::fs;
use std::io;
use std::path::Path;

use super::Log;
use super::descriptors::{Descriptor, descriptors};

/// What `processes`, the first of which leads, have open to write to.
///
/// # Errors
/// When the kernel does not let us look.
pub(super) fn look(processes: &[u32], datagrams: usize) -> io::Result<Log> {
    let first = *processes.first().ok_or(io::ErrorKind::NotFound)?;
    let mut others = Vec::new();
    for &pid in processes {
        others.extend(descriptors(pid)?.into_iter().filter_map(|one| file(pid, one)));
    }
    others.extend((datagrams > 0).then(|| format!("datagram sockets: {datagrams}")));
    others.sort_unstable();
    others.dedup();
    Ok(Log { stdout: standard(first, 1), stderr: standard(first, 2), others, writes: None })
}

fn standard(pid: u32, number: u32) -> String {
    let path = format!("/proc/{pid}/fd/{number}");
    let Ok(link) = fs::read_link(&path) else { return "closed".to_owned() };
    kind(&link.to_string_lossy()).to_owned()
}

/// In words, so that no path of the machine gets into the results.
fn kind(link: &str) -> &str {
    match link {
        NOTHING => NOTHING,
        _ if link.starts_with("pipe:") => "a pipe",
        _ if link.starts_with("socket:") => "a socket",
        _ if link.starts_with("/dev/pts/") || link.starts_with("/dev/tty") => "a terminal",
        _ => "a file",
    }
}

/// A file that is open to write, besides the standard ones.
fn file(pid: u32, one: Descriptor) -> Option<String> {
    let info = || fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", one.number)).ok();
    (one.number > 2 && is_log(&one.link) && is_written(&info()?)).then_some(one.link)
}

/// Whether what is written there stays: it is a file, or a terminal.
pub(super) fn is_log(link: &str) -> bool {
    let is_memory = ["/memfd:", "/dev/shm/", "/proc/", "/sys/"];
    Path::new(link).is_absolute()
        && link != NOTHING
        && !is_memory.iter().any(|start| link.starts_with(start))
}

/// The access mode is in the last two bits of the octal `flags`; 0 is reading only.
fn is_written(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.is_some_and(|flags| !flags.trim_end().ends_with(['0', '4']))
}

/// Where nothing stays.
pub(super) const NOTHING: &str = "/dev/null";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_log_if_it_is_open_to_write() {
        assert!(is_written("pos:\t0\nflags:\t0100001\nmnt_id:\t9\n"));
        assert!(is_written("pos:\t0\nflags:\t02102002\n"));
        assert!(!is_written("pos:\t0\nflags:\t0100000\n") && !is_written(""));
    }

    #[test]
    fn what_does_not_stay_is_no_log() {
        for link in
            [NOTHING, "socket:[1]", "pipe:[1]", "anon_inode:[eventpoll]", "/memfd:x (deleted)"]
        {
            assert!(!is_log(link), "{link}");
        }
        assert!(is_log("/var/log/haproxy.log") && is_log("/dev/pts/0"));
    }

    #[test]
    fn a_file_that_this_process_writes_is_seen() {
        let path = std::env::temp_dir().join(format!("evenkeel-bench-log-{}", std::process::id()));
        let file = fs::File::create(&path).expect("a place for files");
        let log = look(&[std::process::id()], 1).expect("it is this process");
        let [path_text, sockets] = [path.display().to_string(), "datagram sockets: 1".to_owned()];
        assert!(log.others.contains(&path_text) && log.others.contains(&sockets), "{log:?}");
        // Standard error is told apart, whatever it is.
        let link = path_text.clone();
        assert_eq!(super::file(std::process::id(), Descriptor { number: 2, link }), None);
        drop(file);
        let file = fs::File::open(&path).expect("it was made");
        let log = look(&[std::process::id()], 0).expect("it is this process");
        assert!(!log.others.contains(&path_text), "it is only read: {log:?}");
        drop(file);
        fs::remove_file(path).expect("it is ours");
    }

    #[test]
    fn standard_output_is_told_in_words() {
        assert_eq!(kind("/tmp/out.txt"), "a file");
        assert_eq!(kind("/dev/pts/3"), "a terminal");
        assert_eq!(standard(std::process::id(), 1_000_000), "closed");
    }
}
