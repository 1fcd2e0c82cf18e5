//! What two processes say to each other when one hands over to the other: a line of JSON each way,
//! over a socket that the new one inherits. Fields that one of them does not know are passed over, so
//! that another version can be handed over to, and back.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// From the old process: what it passes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// Its process.
    pub(super) from: u32,
    /// The listening sockets; where they are is said once for all of one address.
    pub(super) groups: Vec<PassedGroup>,
    /// The listening sockets of the admin API: where each is, as it is configured, and its number.
    #[serde(default)]
    pub(super) doors: Vec<(String, u32)>,
    /// What was changed through the admin API and no file keeps, as a state file would have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) changes: Option<String>,
}

/// Sockets of one listener.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PassedGroup {
    /// The listener's, or that under which a service manager passed them.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// The address as it is configured.
    #[serde(default)]
    pub(super) asked: Option<String>,
    /// Where they are: `address:port`, `unix:path`.
    pub(super) address: String,
    /// Whether evenkeel has opened them.
    pub(super) ours: bool,
    /// Whether their file is evenkeel's to remove.
    #[serde(default)]
    pub(super) has_file: bool,
    /// Under which numbers they are inherited, shard by shard.
    pub(super) sockets: Vec<u32>,
}

/// From the new process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It accepts from all groups but these, which the old one may close.
    Ready {
        /// Their places in the letter.
        not_taken: Vec<usize>,
    },
    /// It could not start, and why.
    Failed(String),
}

/// Says something.
pub(super) fn write(mut line: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(what)?;
    text.push(b'\n');
    line.write_all(&text)
}

/// Hears something; nothing at the end.
pub(super) fn read<T: DeserializeOwned>(line: &UnixStream) -> io::Result<Option<T>> {
    let mut text = Vec::new();
    BufReader::new(line.take(LONGEST)).read_until(b'\n', &mut text)?;
    match text.as_slice() {
        [] => Ok(None),
        text => Ok(Some(serde_json::from_slice(text)?)),
    }
}

/// Thousands of listeners fit.
const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_says_the_other_hears() {
        let (here, there) = UnixStream::pair().expect("descriptors");
        let group = PassedGroup {
            name: Some("web".to_owned()),
            asked: Some("127.0.0.1:0".to_owned()),
            address: "127.0.0.1:4711".to_owned(),
            ours: true,
            has_file: false,
            sockets: vec![7, 9],
        };
        let doors = vec![("unix:/run/a".to_owned(), 11)];
        let changes = Some("{}".to_owned());
        let letter = Letter { from: 1, groups: vec![group], doors, changes };
        write(&here, &letter).expect("room");
        write(&here, &Reply::Ready { not_taken: vec![1] }).expect("room");
        assert_eq!(read(&there).expect("a letter"), Some(letter));
    }

    #[test]
    fn another_version_may_say_more_or_less() {
        let (mut here, there) = UnixStream::pair().expect("descriptors");
        let other = r#"{"from":1,"mood":"good","groups":[{"address":"unix:/x","ours":true,"sockets":[7],"colour":1}]}"#;
        writeln!(here, "{other}").expect("room");
        let letter: Letter = read(&there).expect("a letter").expect("not the end");
        assert_eq!(letter.groups[0].sockets, [7]);
        drop(here);
        assert_eq!(read::<Letter>(&there).expect("the end"), None);
    }
}
