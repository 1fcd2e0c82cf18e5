//! The file that keeps what the operator changed: written whole and renamed into place, so that
//! whoever reads it, also after a crash, finds one version or the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};
use uring::errno;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::plan::{BackendConfig, ListenerConfig};
use crate::config::{new_backend, text};

use super::overrides::{Changed, OfPool, Overrides};

/// Why the file cannot be used, with the cure.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is there, and not for us.
    #[error(
        "cannot read the state file {0}: {1}; check its permissions, or name another one with --state-file"
    )]
    Unreadable(PathBuf, io::Error),
    /// It cannot be replaced.
    #[error(
        "cannot write the state file {0}: {1}; its directory must be there, and be writable for this program"
    )]
    Unwritable(PathBuf, io::Error),
    /// It is something else, or damaged.
    #[error(
        "the state file {0} cannot be understood: {1}; mend it, or move it away to start without what \
         it keeps"
    )]
    Corrupt(PathBuf, String),
}

/// The whole file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    pools: BTreeMap<String, PoolEntry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolEntry {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    added: Vec<AddedEntry>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    removed: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    changed: BTreeMap<String, ChangedEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddedEntry {
    name: String,
    address: String,
    weight: u16,
    backup: bool,
    max_connections: Option<u32>,
    state: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangedEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

/// What the file keeps; nothing if there is none. Names are not looked up.
///
/// # Errors
/// A [`StateError`]: what cannot be read is not taken for nothing.
pub fn load(path: &Path) -> Result<Overrides, StateError> {
    let unreadable = |error| StateError::Unreadable(path.to_owned(), error);
    let corrupt = |problem: String| StateError::Corrupt(path.to_owned(), problem);
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Overrides::default()),
        Err(error) => return Err(unreadable(error)),
    };
    let text = String::from_utf8(text).map_err(|error| corrupt(error.to_string()))?;
    decode(&text).map_err(corrupt)
}

/// All of it. Who opens a pipe waits for its writer, so that is not asked for.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// What tells one version of the file from another; nothing if there is none to be read.
#[must_use]
pub fn version(path: &Path) -> Option<u64> {
    read(path).ok().map(|text| xxh3_64(&text))
}

/// Whether it can be used; nothing is written.
///
/// # Errors
/// A [`StateError`].
pub fn check(path: &Path) -> Result<(), StateError> {
    load(path)?;
    let may_make = AccessFlags::W_OK | AccessFlags::X_OK;
    let unwritable = |error: Errno| StateError::Unwritable(path.to_owned(), error.into());
    let target = followed(path).map_err(|error| StateError::Unwritable(path.to_owned(), error))?;
    access(folder_of(&target), may_make).map_err(unwritable)
}

/// Looks up the backends that were added. One whose name stands for nothing now, or that is where a
/// listener is, is kept and not in force; these are said.
pub fn look_up(overrides: &mut Overrides, listeners: &[ListenerConfig]) -> Vec<String> {
    let mut unknown = Vec::new();
    for (pool, backend) in overrides.added() {
        backend.addresses.clear();
        if let Err(problem) = new_backend(backend, listeners) {
            unknown.push(format!("{pool}/{} (kept, but not in force: {problem})", backend.name));
        }
    }
    unknown
}

/// Puts `text` where the file is. Others see the file before or after, and nothing between.
///
/// # Errors
/// [`StateError::Unwritable`]; then the file is as it was.
pub fn save(path: &Path, text: &str) -> Result<(), StateError> {
    write_beside(path, text).map_err(|error| StateError::Unwritable(path.to_owned(), error))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn write_beside(path: &Path, text: &str) -> io::Result<()> {
    // The file that a link leads to is replaced, not the link.
    let path = &followed(path)?;
    let folder = folder_of(path);
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(".new");
    let beside = folder.join(name);
    // What an earlier program left half written, whoever it belongs to.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    // The words are on the disk before the name leads to them, and the name before we say so.
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// Where links lead, also if nothing is there yet.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match path.read_link() {
            // An absolute one replaces all of it.
            Ok(target) => path = folder_of(&path).join(target),
            // Nothing there, or something else than a link.
            Err(error) => match errno(&error) {
                Errno::ENOENT | Errno::EINVAL => return Ok(path),
                _ => return Err(error),
            },
        }
    }
    Err(Errno::ELOOP.into())
}

/// As it is written.
///
/// # Panics
/// Never: there is nothing in it that JSON has no form for.
#[must_use]
pub fn encode(overrides: &Overrides) -> String {
    let pools = overrides.pools.iter().map(|(pool, of_pool)| (pool.clone(), entry(of_pool)));
    let document = Document { format: FORMAT.to_owned(), pools: pools.collect() };
    serde_json::to_string_pretty(&document).expect("text and numbers") + "\n"
}

fn entry(of_pool: &OfPool) -> PoolEntry {
    let added = of_pool.added.iter().map(|backend| AddedEntry {
        name: backend.name.clone(),
        address: backend.target.to_string(),
        weight: backend.weight,
        backup: backend.backup,
        max_connections: backend.max_connections.map(NonZeroU32::get),
        state: backend.state.to_string(),
    });
    let changed = of_pool.changed.iter().map(|(name, changed)| {
        let state = changed.state.map(|state| state.to_string());
        (name.clone(), ChangedEntry { weight: changed.weight, state })
    });
    let (added, changed) = (added.collect(), changed.collect());
    PoolEntry { added, removed: of_pool.removed.clone(), changed }
}

/// What a text of [`encode`] keeps. Names are not looked up.
///
/// # Errors
/// What of it is not understood.
pub fn decode(text: &str) -> Result<Overrides, String> {
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if document.format != FORMAT {
        return Err(format!(
            "its format is `{}`, and this program knows `{FORMAT}`",
            document.format
        ));
    }
    let mut overrides = Overrides::default();
    for (pool, entry) in document.pools {
        let mut of_pool = OfPool { removed: entry.removed, ..OfPool::default() };
        for added in entry.added {
            let backend = backend(added).map_err(|problem| format!("pool {pool}: {problem}"))?;
            of_pool.added.push(backend);
        }
        for (name, entry) in entry.changed {
            let changed = changed(&entry).map_err(|problem| format!("{pool}/{name}: {problem}"))?;
            of_pool.changed.insert(name, changed);
        }
        overrides.pools.insert(pool, of_pool);
    }
    Ok(overrides)
}

fn backend(entry: AddedEntry) -> Result<BackendConfig, String> {
    let AddedEntry { name, address, weight, backup, max_connections, state } = entry;
    let target = text::backend(&address)?;
    let most = max_connections.map(|most| NonZeroU32::new(most).ok_or("max_connections is 0"));
    Ok(BackendConfig {
        weight: checked(weight)?,
        backup,
        max_connections: most.transpose()?,
        state: state.parse().map_err(|error| format!("{error}"))?,
        ..BackendConfig::at_run_time(target, Some(name))
    })
}

fn changed(entry: &ChangedEntry) -> Result<Changed, String> {
    let weight = entry.weight.map(checked).transpose()?;
    let state = entry.state.as_ref().map(|word| word.parse()).transpose();
    Ok(Changed { weight, state: state.map_err(|error| format!("{error}"))? })
}

fn checked(weight: u16) -> Result<u16, String> {
    if weight <= 256 { Ok(weight) } else { Err(format!("weight {weight} is more than 256")) }
}

const FORMAT: &str = "evenkeel-state-1";

/// As the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Thousands of changes.
const LARGEST: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wanted::AdminState;

    fn some() -> Overrides {
        let added = |address: &str, name: Option<&str>| {
            let target = text::backend(address).expect("an address");
            BackendConfig::at_run_time(target, name.map(str::to_owned))
        };
        let mut overrides = Overrides::default();
        let most = NonZeroU32::new(7);
        overrides.add(
            "web",
            BackendConfig { backup: true, max_connections: most, ..added("b:1", None) },
        );
        let state = AdminState::Drain;
        overrides
            .add("web", BackendConfig { weight: 9, state, ..added("unix:/a b", Some("u \"x\"")) });
        overrides.remove("web", "gone");
        let to = Changed { weight: Some(0), state: Some(AdminState::Maint) };
        overrides.set("w\u{f6}b", "\u{e4}", to, &[]);
        overrides
    }

    #[test]
    fn what_is_written_is_read_again() {
        for overrides in [Overrides::default(), some()] {
            assert_eq!(decode(&encode(&overrides)), Ok(overrides));
        }
    }

    #[test]
    fn what_is_not_understood_is_said_and_not_left_out() {
        let good = encode(&some());
        for (from, to, says) in [
            ("evenkeel-state-1", "evenkeel-state-2", "its format is `evenkeel-state-2`"),
            ("\"maint\"", "\"down\"", "`down` is no state"),
            ("\"weight\": 9", "\"weight\": 257", "weight 257"),
            ("\"weight\": 9", "\"weight\": -1", "invalid value"),
            ("\"b:1\"", "\"b\"", "no port"),
            ("\"max_connections\": 7", "\"max_connections\": 0", "max_connections is 0"),
            ("\"backup\"", "\"backups\"", "unknown field `backups`"),
            ("\"removed\"", "\"remved\"", "unknown field `remved`"),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            let error = decode(&good.replace(from, to)).expect_err(to);
            assert!(error.contains(says), "{to}: {error}");
        }
        for cut in 1..good.trim_end().len() {
            if good.is_char_boundary(cut) {
                assert!(decode(&good[..cut]).is_err(), "{}", &good[..cut]);
            }
        }
    }

    #[test]
    fn where_a_link_leads_is_the_file_and_what_is_none_is_said_to_be_none() {
        use std::os::unix::fs::symlink;
        let folder = std::env::temp_dir().join(format!("evenkeel-link-{}", std::process::id()));
        let volume = folder.join("volume");
        std::fs::create_dir_all(&volume).expect("there is a place for temporary files");
        let link = folder.join("state.json");
        symlink("second", &link).expect("a name that is free");
        symlink(volume.join("real.json"), folder.join("second")).expect("a name that is free");
        for _ in 0..2 {
            check(&link).expect("it can be made");
            save(&link, &encode(&some())).expect("it can be written");
            assert!(link.is_symlink() && volume.join("real.json").is_file());
            assert_eq!(load(&link).expect("it was written"), some());
        }
        let first = version(&link);
        std::fs::write(&link, "\u{e4}").expect("it can be written");
        assert!(first.is_some() && version(&link) != first);
        std::fs::write(&link, [0xff]).expect("it can be written");
        assert!(matches!(load(&link), Err(StateError::Corrupt(..))));
        let pipe = folder.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a name that is free");
        let error = load(&pipe).expect_err("it is a pipe").to_string();
        assert!(error.contains("it is no file"), "{error}");
        symlink("loop", folder.join("loop")).expect("a name that is free");
        assert!(save(&folder.join("loop"), "").is_err());
        std::fs::remove_dir_all(&folder).expect("it was made here");
    }

    #[test]
    fn the_file_is_ours_alone_and_replaced_whole() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("evenkeel-state-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("there is a place for temporary files");
        let path = folder.join("state.json");
        assert_eq!(load(&path).expect("none is as good as an empty one"), Overrides::default());
        // Left by a program that was cut off.
        std::fs::write(folder.join("state.json.new"), "{").expect("it can be written");
        save(&path, &encode(&some())).expect("it can be written");
        assert_eq!(load(&path).expect("it was written"), some());
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 1);
        std::fs::write(&path, "").expect("it can be written");
        assert!(matches!(load(&path), Err(StateError::Corrupt(..))));
        assert!(matches!(load(&folder), Err(StateError::Unreadable(..))));
        std::fs::remove_dir_all(&folder).expect("it is there");
        assert!(matches!(save(&path, ""), Err(StateError::Unwritable(..))));
    }
}
