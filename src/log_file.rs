//! Files that lines are appended to, and that can be opened again while they are written: the program's
//! own log, the session log, or both in one.
//!
//! Two threads may write to the same file, and after a hand-over two processes. Whole lines stay whole all
//! the same: the file is opened with `O_APPEND`, so each write begins where the file ends at that moment
//! (open(2)); a write holds whole lines; and what a full disk left of a line is cut off again. Within a
//! process a lock keeps writers apart while that is done. Only threads that do nothing but write logs take
//! it, and whoever opens the file again: no shard.
//!
//! Nothing in here waits for a reader. A FIFO is opened for reading as well, which the kernel does at once
//! whether somebody is at the other end or not (fifo(7)), and takes lines until it is full.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};

/// A file that lines are appended to.
#[derive(Debug)]
pub struct LogFile {
    /// Nothing for standard error, which is nobody's to open again.
    path: Option<PathBuf>,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    kind: Kind,
    /// It was to be opened again and could not be: the next attempt.
    again_at: Option<Instant>,
}

/// What was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file that can be cut.
    Regular,
    /// A pipe, or a socket: a write of few bytes comes in one piece, or not at all (pipe(7)).
    Pipe,
    /// A terminal, a device, or a file that belongs to whoever started us.
    Other,
}

/// Why a file cannot be appended to.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log file {}: {source}; {}", path.display(), cure(source))]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl LogFile {
    /// Opens it, and makes it if it is not there: readable by its owner and group.
    ///
    /// # Errors
    /// An [`OpenError`] that names the cause and the cure.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let open = Open::new(path).map_err(|source| OpenError { path: path.to_owned(), source })?;
        Ok(Self { path: Some(path.to_owned()), open: Mutex::new(open) })
    }

    /// Standard error, as it is.
    ///
    /// # Errors
    /// When it is closed, or no descriptor is to be had.
    pub fn stderr() -> io::Result<Self> {
        let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        // Writers that share a regular file's offset must not cut it: the next one would leave a hole.
        let kind = match kind(&file)? {
            Kind::Pipe => Kind::Pipe,
            Kind::Regular | Kind::Other => Kind::Other,
        };
        Ok(Self { path: None, open: Mutex::new(Open { file, kind, again_at: None }) })
    }

    /// Whether it could be opened, without making it.
    ///
    /// # Errors
    /// As [`LogFile::open`].
    pub fn check(path: &Path) -> Result<(), OpenError> {
        let checked = match path.symlink_metadata() {
            Ok(_) => Open::new(path).map(drop),
            // As the kernel would ask it when it makes the file.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = folder.unwrap_or(Path::new("."));
                access(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(io::Error::from)
            }
            Err(error) => Err(error),
        };
        checked.map_err(|source| OpenError { path: path.to_owned(), source })
    }

    /// Opens the path again, between two lines: after it was renamed, what comes next goes to a new file.
    ///
    /// # Errors
    /// When that fails. Lines go to the old file then, and it is tried again while there are lines.
    pub fn reopen(&self) -> Result<(), OpenError> {
        let Some(path) = &self.path else { return Ok(()) };
        let new = Open::new(path);
        let mut open = self.lock();
        match new {
            Ok(new) => *open = new,
            Err(source) => {
                open.again_at = Some(Instant::now() + OPEN_AGAIN_AFTER);
                return Err(OpenError { path: path.clone(), source });
            }
        }
        Ok(())
    }

    /// Appends as many of these whole lines as it takes; their bytes.
    ///
    /// # Errors
    /// When it takes none. `WouldBlock` is a pipe that is full, anything else a file with a problem.
    pub fn append(&self, lines: &[u8]) -> io::Result<usize> {
        let mut open = self.lock();
        self.open_again_if_due(&mut open);
        open.append(lines)
    }

    fn open_again_if_due(&self, open: &mut Open) {
        let (Some(at), Some(path)) = (open.again_at, &self.path) else { return };
        let now = Instant::now();
        if now < at {
            return;
        }
        open.again_at = Some(now + OPEN_AGAIN_AFTER);
        if let Ok(new) = Open::new(path) {
            *open = new;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => path.display().fmt(f),
            None => f.write_str("standard error"),
        }
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        let is_fifo = path.metadata().is_ok_and(|found| found.file_type().is_fifo());
        let mut options = OpenOptions::new();
        options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).mode(MODE);
        let file = match is_fifo {
            true => options.read(true).write(true).open(path)?,
            false => options.append(true).create(true).open(path)?,
        };
        let kind = kind(&file)?;
        Ok(Self { file, kind, again_at: None })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<usize> {
        let lines = match self.kind {
            Kind::Pipe => &lines[..in_one_piece(lines)],
            Kind::Regular | Kind::Other => lines,
        };
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return self.only_whole(lines, written, ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.only_whole(lines, written, error),
            }
        }
        Ok(written)
    }

    /// Part of the lines was written, then there was an error: the last line that is not whole goes.
    fn only_whole(&self, lines: &[u8], written: usize, error: io::Error) -> io::Result<usize> {
        let whole = end_of_lines(&lines[..written]);
        self.cut_off(written - whole);
        if whole > 0 { Ok(whole) } else { Err(error) }
    }

    /// Where that cannot be done a part of a line stays, and is followed by the whole.
    fn cut_off(&self, bytes: usize) {
        if bytes > 0
            && self.kind == Kind::Regular
            && let Ok(found) = self.file.metadata()
        {
            let _ = self.file.set_len(found.len().saturating_sub(bytes as u64));
        }
    }
}

fn kind(file: &File) -> io::Result<Kind> {
    let found = file.metadata()?.file_type();
    Ok(match found {
        _ if found.is_file() => Kind::Regular,
        _ if found.is_fifo() || found.is_socket() => Kind::Pipe,
        _ => Kind::Other,
    })
}

/// As many whole lines as a pipe takes in one piece; one line if the first is longer.
fn in_one_piece(lines: &[u8]) -> usize {
    let fits = lines.len().min(PIPE_BUF);
    match end_of_lines(&lines[..fits]) {
        0 => lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |end| end + 1),
        whole => whole,
    }
}

/// Where the last whole line ends.
fn end_of_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1)
}

/// What helps against an error of a log file.
#[must_use]
pub fn cure(error: &io::Error) -> &'static str {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::ENOENT => "make its folder, or name another file",
        Errno::EACCES | Errno::EPERM => "let this user write there, or name another file",
        Errno::EISDIR => "name a file in it",
        Errno::ENXIO => "it is a socket; name a file, or a FIFO",
        Errno::EROFS => "mount it for writing, or name another file",
        Errno::ENOSPC | Errno::EDQUOT => "make room there",
        Errno::EFBIG => "raise `ulimit -f`, or move the file away and send SIGUSR1",
        Errno::EPIPE => "nobody reads it any more: start its reader and evenkeel again",
        _ => "see what is wrong with it, or name another file",
    }
}

/// For the owner, and for the group to read.
const MODE: u32 = 0o640;

/// A folder that is gone may come back; a look costs a system call.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// So many bytes are written to a pipe in one piece (pipe(7)).
const PIPE_BUF: usize = 4096;

#[cfg(test)]
mod tests;
