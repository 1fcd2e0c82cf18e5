//! Whether the configuration file is still what was read: somebody may have changed it and not told
//! us, or told us in vain.

use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use crate::config::LARGEST_FILE;

/// The configuration file, and what of it is in force.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the text that is in force.
    in_force: Option<u64>,
    /// What the file was like when it was last looked into, and what was in it: it is read again
    /// only when it looks different from outside.
    seen: Option<(Outside, Option<u64>)>,
}

/// What changes when somebody writes a file or puts another in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outside {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl ConfigFile {
    /// The file as it is now, whose text is in force.
    #[must_use]
    pub fn as_read(path: &Path) -> Self {
        let known = Known { in_force: hash_of(path), seen: None };
        Self { path: path.to_owned(), known: Mutex::new(known) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This text of it is in force from now on.
    pub fn note(&self, text: &[u8]) {
        self.lock(|known| known.in_force = Some(xxh3_64(text)));
    }

    /// Whether something else is written there now. A look costs a system call.
    #[must_use]
    pub fn differs(&self) -> bool {
        let outside = std::fs::metadata(&self.path).ok().map(|file| Outside::of(&file));
        self.lock(|known| {
            let now = match (outside, known.seen) {
                (None, _) => None,
                (Some(outside), Some((before, hash))) if before == outside => hash,
                (Some(outside), _) => {
                    let hash = hash_of(&self.path);
                    known.seen = Some((outside, hash));
                    hash
                }
            };
            now != known.in_force
        })
    }

    fn lock<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Outside {
    fn of(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { device: file.dev(), inode: file.ino(), bytes: file.size(), modified }
    }
}

fn hash_of(path: &Path) -> Option<u64> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(LARGEST_FILE as u64).read_to_end(&mut text).ok()?;
    Some(xxh3_64(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_something_else_differs_until_that_is_in_force() {
        let path = std::env::temp_dir().join(format!("evenkeel-drift-{}", std::process::id()));
        let write = |text: &str| std::fs::write(&path, text).expect("a place for files");
        write("one");
        let file = ConfigFile::as_read(&path);
        assert!(!file.differs());
        write("another");
        assert!(file.differs() && file.differs());
        file.note(b"another");
        assert!(!file.differs());
        // Written again, with the same words.
        write("another");
        assert!(!file.differs());
        std::fs::remove_file(&path).expect("it is there");
        assert!(file.differs());
    }
}
