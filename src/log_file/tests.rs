//! On real files.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder that is gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("evenkeel-log-file-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a folder for temporary files");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("lb.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("it is there")
}

#[test]
fn lines_are_appended_to_what_is_there_and_a_new_file_is_not_for_everybody() {
    let folder = Folder::new();
    for text in ["a\n", "b\n"] {
        let file = LogFile::open(&folder.path()).expect("our own folder");
        assert_eq!(file.append(text.as_bytes()).expect("room"), 2);
    }
    assert_eq!(read(&folder.path()), "a\nb\n");
    let mode = fs::metadata(folder.path()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
}

#[test]
fn after_a_rename_lines_go_to_the_old_file_until_it_is_opened_again() {
    let folder = Folder::new();
    let (path, old) = (folder.path(), folder.0.join("lb.log.1"));
    let file = LogFile::open(&path).expect("our own folder");
    file.append(b"a\n").expect("room");
    fs::rename(&path, &old).expect("our own folder");
    file.append(b"b\n").expect("room");
    file.reopen().expect("our own folder");
    file.append(b"c\n").expect("room");
    assert_eq!((read(&old).as_str(), read(&path).as_str()), ("a\nb\n", "c\n"));
}

#[test]
fn a_file_that_cannot_be_opened_again_stays_as_it_is_and_is_tried_again() {
    let folder = Folder::new();
    let (path, kept) = (folder.path(), Folder::new());
    let file = LogFile::open(&path).expect("our own folder");
    let old = kept.path();
    fs::hard_link(&path, &old).expect("the same file system");
    fs::remove_dir_all(&folder.0).expect("our own folder");
    let error = file.reopen().expect_err("no folder").to_string();
    assert!(error.contains("make its folder"), "{error}");
    file.append(b"a\n").expect("the old file");
    assert_eq!(read(&old), "a\n");
    fs::create_dir(&folder.0).expect("a folder for temporary files");
    file.lock().again_at = Some(Instant::now());
    file.append(b"b\n").expect("the new file");
    assert_eq!(read(&path), "b\n");
}

#[test]
fn what_cannot_be_opened_is_told_with_its_cure_and_looking_makes_nothing() {
    let folder = Folder::new();
    LogFile::check(&folder.path()).expect("our own folder");
    assert!(!folder.path().exists());
    for (path, says) in
        [(folder.0.join("no/lb.log"), "make its folder"), (folder.0.clone(), "name a file in it")]
    {
        for error in [LogFile::open(&path).map(drop), LogFile::check(&path)] {
            let error = error.expect_err("not a file").to_string();
            assert!(error.contains(says) && error.contains("lb.log") || says.contains("in it"));
        }
    }
}

#[test]
fn a_fifo_that_nobody_reads_is_opened_and_takes_whole_lines_until_it_is_full() {
    let folder = Folder::new();
    let path = folder.path();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("our own folder");
    let file = LogFile::open(&path).expect("it does not wait");
    let line = format!("{}\n", "x".repeat(99));
    let lines = line.repeat(1000);
    let mut taken = 0;
    let error = loop {
        match file.append(lines.as_bytes()) {
            Ok(bytes) => {
                assert_eq!(bytes % line.len(), 0);
                taken += bytes;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let mut read = vec![0; taken];
    let mut reader = File::open(&path).expect("there is a writer");
    reader.read_exact(&mut read).expect("what was taken is there");
    assert!(read.chunks(line.len()).all(|one| one == line.as_bytes()));
}

#[test]
fn a_device_that_is_full_takes_nothing_and_says_so() {
    let file = LogFile::open(Path::new("/dev/full")).expect("every Linux has it");
    let error = file.append(b"a\n").expect_err("full");
    assert!(cure(&error).contains("make room"), "{error}");
}

#[test]
fn lines_are_counted_whole() {
    assert_eq!(end_of_lines(b"a\nbc\nd"), 5);
    assert_eq!(end_of_lines(b"abc"), 0);
    let long = [&[b'x'; 5000][..], b"\nshort\n"].concat();
    assert_eq!(in_one_piece(&long), 5001);
    assert_eq!(in_one_piece(b"a\nb\n"), 4);
}

#[test]
fn what_a_full_disk_left_of_a_line_is_cut_off() {
    let folder = Folder::new();
    let file = LogFile::open(&folder.path()).expect("our own folder");
    file.append(b"whole\n").expect("room");
    let full = || io::Error::from(ErrorKind::StorageFull);
    let open = file.lock();
    // As if the first eight of these bytes had been written.
    (&open.file).write_all(b"second\nt").expect("room");
    assert_eq!(open.only_whole(b"second\nthird\n", 8, full()).expect("a whole line"), 7);
    assert_eq!(read(&folder.path()), "whole\nsecond\n");
    (&open.file).write_all(b"thi").expect("room");
    assert!(open.only_whole(b"third\n", 3, full()).is_err());
    assert_eq!(read(&folder.path()), "whole\nsecond\n");
}
