//! Where the admin API is, and who may use it there.

use std::fmt;
use std::io::Read as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use subtle::ConstantTimeEq as _;

use super::draft::At;
use super::plan::{Address, ListenerConfig, On, Target};
use super::problem::{Place, Problem, Problems, did_you_mean};
use super::text::{target, unix_path};
use crate::cli::Endpoint;

/// An address of the admin API, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// A socket in the file system; who may write to its file may do everything.
    Unix {
        /// Its file.
        path: PathBuf,
        /// The permissions of the file.
        mode: u32,
    },
    /// On the network; who has the token may do everything.
    Tcp(Endpoint),
}

/// The admin API as it was asked for; without an endpoint there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdminDraft {
    /// Where it is.
    pub endpoints: Vec<At<AdminListen>>,
    /// What its clients on the network know.
    pub token_file: Option<At<PathBuf>>,
    /// Whether those without the token may look, and not change, on the network.
    pub public_read: bool,
    /// One more endpoint on the network, where everybody may look.
    pub dashboard: Option<At<Endpoint>>,
}

/// The admin API with its addresses and its token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdminConfig {
    /// Where it is.
    pub endpoints: Vec<AdminEndpoint>,
    /// What its clients on the network know.
    pub token: Option<Token>,
}

/// Where the admin API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminEndpoint {
    /// A socket in the file system.
    Unix {
        /// Its file.
        path: PathBuf,
        /// The permissions of the file.
        mode: u32,
    },
    /// On the network.
    Tcp {
        /// Where it listens.
        address: SocketAddr,
        /// As it is written: a name by which browsers may know it.
        host: String,
        /// Whether those without the token may look.
        public_read: bool,
    },
}

/// The secret of those who may do everything over the network. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<[u8]>);

/// Why there is no admin API, with the cure.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A name that stands for nothing.
    #[error(
        "cannot resolve `{0}` for {1}: {2}; check the spelling, or write an address as in 127.0.0.1:9000"
    )]
    Unresolvable(Endpoint, String, std::io::Error),
    /// Nobody could use it.
    #[error(
        "{0} on the network needs to know who may use it: name a file with a secret in {1}, or let \
         everybody look, and nobody change anything, with {2}"
    )]
    NoToken(String, String, String),
    /// The file is not there, or not for us.
    #[error("cannot read {0}: {1}; check the path and its permissions")]
    Unreadable(String, std::io::Error),
    /// There is no token in a directory.
    #[error("{0} is a directory; name the file with the token in it")]
    Folder(String),
    /// Anybody on this host could read it.
    #[error("{0} may be read by everybody on this host; try `chmod o= {0}`")]
    Open(String),
    /// It could be guessed.
    #[error(
        "the token in {0} has {1} characters, and {LEAST_TOKEN} are needed; try `openssl rand -hex 32 > {0}`"
    )]
    Short(String, usize),
    /// A header could not carry it.
    #[error(
        "the token in {0} has spaces or characters that are no visible ASCII; try `openssl rand -hex 32 > {0}`"
    )]
    Unsuitable(String),
    /// Clients come there.
    #[error("{0}: {1} is where listener {2} is already; write another address or port")]
    Listens(String, Address, String),
    /// The same endpoint.
    #[error("{0}: {1} is there twice; leave one of them out")]
    Twice(String, Address),
    /// One of two is everywhere.
    #[error("{0}: {1} and {2} are one place; leave one of them out, or write another port")]
    Overlap(String, Address, Address),
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(unix) = text.strip_prefix("unix:") else {
            return match target(text)? {
                Target::Host(endpoint) => Ok(Self::Tcp(endpoint)),
                Target::Unix(path) => Ok(Self::Unix { path, mode: MODE }),
            };
        };
        let (path, mode) = path_and_mode(unix)?;
        Ok(Self::Unix { path: unix_path(&path)?, mode: mode.unwrap_or(MODE) })
    }
}

/// A path may have commas; what looks like an option is one, or a mistake.
fn path_and_mode(text: &str) -> Result<(String, Option<u32>), String> {
    let (path, more) = text.split_once(',').map_or((text, None), |(path, more)| (path, Some(more)));
    let (mut path, mut mode) = (path.to_owned(), None);
    for part in more.into_iter().flat_map(|more| more.split(',')) {
        match (option(part), mode) {
            (Some(("mode", value)), None) => mode = Some(file_mode(value)?),
            (Some(("mode", _)), Some(_)) => {
                return Err("mode is there twice; write it once".to_owned());
            }
            (Some((word, _)), _) => {
                let meant = did_you_mean(word, ["mode"]);
                return Err(format!(
                    "unknown `{word}`; after the path comes mode=0660 only{meant}"
                ));
            }
            (None, None) => path = format!("{path},{part}"),
            (None, Some(_)) => {
                return Err(format!("unknown `{part}`; nothing comes after the mode"));
            }
        }
    }
    Ok((path, mode))
}

/// `word=value`
fn option(part: &str) -> Option<(&str, &str)> {
    let (word, value) = part.split_once('=')?;
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    (!word.is_empty() && word.chars().all(is_letter)).then_some((word, value))
}

fn file_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| mode <= 0o777);
    mode.ok_or_else(|| format!("`{text}` is no mode of a file; write it in octal, as in mode=0660"))
}

impl AdminEndpoint {
    fn address(&self) -> Address {
        match self {
            Self::Unix { path, .. } => Address::Unix(path.clone()),
            Self::Tcp { address, .. } => Address::Inet(*address),
        }
    }
}

impl fmt::Display for AdminEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Tcp { address, .. } => address.fmt(f),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// A token of these bytes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().into())
    }

    /// Whether `said` is it. How long that takes does not tell how much of it is right.
    #[must_use]
    pub fn is(&self, said: &[u8]) -> bool {
        self.0.ct_eq(said).into()
    }

    /// The token of a file, without the white space around it.
    ///
    /// # Errors
    /// An [`AdminError`] that names the cause and the cure.
    pub fn read(path: &Path) -> Result<Self, AdminError> {
        let name = path.display().to_string();
        let unreadable = |error| AdminError::Unreadable(name.clone(), error);
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if about.is_dir() {
            return Err(AdminError::Folder(name));
        }
        if about.permissions().mode() & 0o007 != 0 {
            return Err(AdminError::Open(name));
        }
        let mut text = String::new();
        file.take(LONGEST_TOKEN_FILE).read_to_string(&mut text).map_err(unreadable)?;
        let token = text.trim();
        if token.chars().any(|letter| !letter.is_ascii_graphic()) {
            return Err(AdminError::Unsuitable(name));
        }
        if token.len() < LEAST_TOKEN {
            return Err(AdminError::Short(name, token.len()));
        }
        Ok(Self::new(token))
    }
}

/// The admin API with what names stand for and what the file of the token says. Nothing of it is where one of the
/// listeners is.
pub(super) fn resolve(
    draft: &AdminDraft,
    listeners: &[ListenerConfig],
) -> Result<AdminConfig, Problems> {
    let mut problems = Vec::new();
    let mut token = None;
    if let Some(At { value, place }) = &draft.token_file {
        match Token::read(value) {
            Ok(read) => token = Some(read),
            Err(error) => problems.push(Problem::new(place, error.to_string())),
        }
    }
    let mut endpoints: Vec<AdminEndpoint> = Vec::new();
    let wanted = draft
        .endpoints
        .iter()
        .map(|At { value, place }| (endpoint(value, draft, place), "admin", place));
    let dashboard = draft
        .dashboard
        .iter()
        .map(|At { value, place }| (tcp(value, "http_host", true, place), "http_port", place));
    for (resolved, key, place) in wanted.chain(dashboard) {
        let free = resolved.and_then(|endpoint| {
            refuse_taken(&endpoint, &place.option(key), listeners, &endpoints).map(|()| endpoint)
        });
        match free {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => problems.push(Problem::new(place, error.to_string())),
        }
    }
    if problems.is_empty() { Ok(AdminConfig { endpoints, token }) } else { Err(Problems(problems)) }
}

fn endpoint(
    listen: &AdminListen,
    draft: &AdminDraft,
    place: &Place,
) -> Result<AdminEndpoint, AdminError> {
    match listen {
        AdminListen::Unix { path, mode } => {
            Ok(AdminEndpoint::Unix { path: path.clone(), mode: *mode })
        }
        AdminListen::Tcp(_) if draft.token_file.is_none() && !draft.public_read => {
            let [admin, file, read] =
                ["admin", "admin_token_file", "admin_public_read"].map(|key| place.option(key));
            Err(AdminError::NoToken(admin, file, read))
        }
        AdminListen::Tcp(endpoint) => tcp(endpoint, "admin", draft.public_read, place),
    }
}

/// Refuses an endpoint that this program itself would find taken, by itself.
fn refuse_taken(
    endpoint: &AdminEndpoint,
    option: &str,
    listeners: &[ListenerConfig],
    others: &[AdminEndpoint],
) -> Result<(), AdminError> {
    let (option, here) = (option.to_owned(), endpoint.address());
    for ListenerConfig { name, address, .. } in listeners {
        if let On::At(there) = address
            && collide(&here, there)
        {
            // Without a name of its own it is called by its address.
            let listener = match there.to_string() {
                there if there == *name => there,
                there => format!("{name} ({there})"),
            };
            return Err(AdminError::Listens(option, here, listener));
        }
    }
    match others.iter().map(AdminEndpoint::address).find(|there| collide(&here, there)) {
        None => Ok(()),
        Some(there) if there == here => Err(AdminError::Twice(option, here)),
        Some(there) => Err(AdminError::Overlap(option, here, there)),
    }
}

/// Whether one socket at each of these is one too many.
fn collide(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Unix(one), Address::Unix(other)) => {
            let [one, other] = [one, other].map(|path| std::path::absolute(path).ok());
            one.is_some() && one == other
        }
        (Address::Inet(one), Address::Inet(other)) => {
            let same = one.ip() == other.ip() || covers(one, other) || covers(other, one);
            one.port() != 0 && one.port() == other.port() && same
        }
        (Address::Unix(_), Address::Inet(_)) | (Address::Inet(_), Address::Unix(_)) => false,
    }
}

/// Whether `wide` stands for all addresses, and `other` is one of them: `::` is for IPv4, too, unless the host
/// says otherwise (net.ipv6.bindv6only, ip(7) and ipv6(7)).
fn covers(wide: &SocketAddr, other: &SocketAddr) -> bool {
    let other_family =
        || wide.is_ipv6() && uring::sysctl("net/ipv6/bindv6only").as_deref() == Some("0");
    wide.ip().is_unspecified() && (wide.is_ipv4() == other.is_ipv4() || other_family())
}

fn tcp(
    endpoint: &Endpoint,
    key: &str,
    public_read: bool,
    place: &Place,
) -> Result<AdminEndpoint, AdminError> {
    let failed = |error| AdminError::Unresolvable(endpoint.clone(), place.option(key), error);
    let mut found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(failed)?;
    let address = found.next().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
    Ok(AdminEndpoint::Tcp { address, host: endpoint.host.clone(), public_read })
}

/// Connections at a time to one endpoint. A person, a scraper and a page have a few each; who comes
/// when all are taken takes the place of whoever has been silent for longest.
pub const CONNECTIONS_AN_ENDPOINT: usize = 64;

/// The permissions of a socket's file where nothing is said: for the user of the program alone.
const MODE: u32 = 0o600;

/// 64 bits if they are hexadecimal digits, which nobody guesses over a network.
const LEAST_TOKEN: usize = 16;

/// A file that has more is something else.
const LONGEST_TOKEN_FILE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_as_it_is_written() {
        let unix = |path: &str, mode| Ok(AdminListen::Unix { path: path.into(), mode });
        let tcp = |host: &str, port| Ok(AdminListen::Tcp(Endpoint { host: host.into(), port }));
        for (text, endpoint) in [
            ("unix:/run/a.sock", unix("/run/a.sock", 0o600)),
            ("unix:/run/a.sock,mode=0660", unix("/run/a.sock", 0o660)),
            ("unix:/a,b,mode=7", unix("/a,b", 0o7)),
            ("127.0.0.1:9000", tcp("127.0.0.1", 9000)),
            ("[::1]:0", tcp("::1", 0)),
            ("lb1:80", tcp("lb1", 80)),
        ] {
            assert_eq!(text.parse::<AdminListen>(), endpoint, "{text}");
        }
        for text in ["", "unix:", "9000", ":9000", "unix:/a,mode=9", "unix:/a,mode=10000", "a:b"] {
            assert!(text.parse::<AdminListen>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_looks_like_an_option_of_a_socket_is_no_part_of_its_path() {
        for (text, says) in [
            (
                "unix:/a,mod=0660",
                "unknown `mod`; after the path comes mode=0660 only; did you mean `mode`?",
            ),
            ("unix:/a,user=me", "unknown `user`; after the path comes mode=0660 only"),
            (
                "unix:/a,b,Mode=0660",
                "unknown `Mode`; after the path comes mode=0660 only; did you mean `mode`?",
            ),
            (
                "unix:/a,mode=0660,mod=7",
                "unknown `mod`; after the path comes mode=0660 only; did you mean `mode`?",
            ),
            ("unix:/a,mode=0660,mode=0600", "mode is there twice; write it once"),
            ("unix:/a,mode=0660,b", "unknown `b`; nothing comes after the mode"),
        ] {
            assert_eq!(text.parse::<AdminListen>(), Err(says.to_owned()), "{text}");
        }
        for path in ["/a,b", "/a,=b", "/a=b", "/a,b c=d", "/a,b/c=d"] {
            let unix = AdminListen::Unix { path: path.into(), mode: 0o600 };
            assert_eq!(format!("unix:{path}").parse(), Ok(unix), "{path}");
        }
    }

    #[test]
    fn two_sockets_collide_where_the_kernel_would_refuse_one() {
        let inet = |text: &str| Address::Inet(text.parse().expect("an address"));
        let here = std::env::current_dir().expect("there is one").join("a.sock");
        for (one, other, refused) in [
            (inet("127.0.0.1:80"), inet("127.0.0.1:80"), true),
            (inet("127.0.0.1:80"), inet("127.0.0.1:81"), false),
            (inet("127.0.0.1:80"), inet("127.0.0.2:80"), false),
            (inet("127.0.0.1:0"), inet("127.0.0.1:0"), false),
            (inet("127.0.0.1:80"), inet("0.0.0.0:80"), true),
            (inet("[::1]:80"), inet("[::]:80"), true),
            (inet("[::1]:80"), inet("0.0.0.0:80"), false),
            (inet("[::1]:80"), inet("127.0.0.1:80"), false),
            (Address::Unix("a.sock".into()), Address::Unix("./a.sock".into()), true),
            (Address::Unix("a.sock".into()), Address::Unix(here), true),
            (Address::Unix("a.sock".into()), Address::Unix("b.sock".into()), false),
            (Address::Unix("a.sock".into()), inet("127.0.0.1:80"), false),
        ] {
            assert_eq!(collide(&one, &other), refused, "{one} {other}");
            assert_eq!(collide(&other, &one), refused, "{other} {one}");
        }
    }

    #[test]
    fn a_token_is_itself_only_and_is_not_shown() {
        let token = Token::new("0123456789abcdef");
        for (said, is) in [
            ("0123456789abcdef", true),
            ("0123456789abcdeF", false),
            ("0123456789abcde", false),
            ("0123456789abcdef0", false),
            ("", false),
        ] {
            assert_eq!(token.is(said.as_bytes()), is, "{said}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_token_file_is_long_enough_and_not_for_everybody() {
        let path = std::env::temp_dir().join(format!("evenkeel-token-{}", std::process::id()));
        for (text, mode, says) in [
            ("0123456789abcdef\n", 0o600, None),
            ("  0123456789abcdef  ", 0o640, None),
            ("0123456789abcdef", 0o604, Some("may be read by everybody")),
            ("0123456789abcde", 0o600, Some("has 15 characters")),
            ("0123456789 abcdef", 0o600, Some("has spaces")),
            ("", 0o600, Some("has 0 characters")),
        ] {
            std::fs::write(&path, text).expect("there is a place for temporary files");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("it is ours");
            match (Token::read(&path), says) {
                (Ok(token), None) => assert!(token.is(b"0123456789abcdef")),
                (Err(error), Some(says)) => assert!(error.to_string().contains(says), "{error}"),
                (read, _) => panic!("{text:?}: {read:?}"),
            }
        }
        std::fs::remove_file(&path).expect("it is there");
        let folder = Token::read(&std::env::temp_dir());
        assert!(matches!(folder, Err(AdminError::Folder(_))), "{folder:?}");
        assert!(matches!(Token::read(&path), Err(AdminError::Unreadable(..))));
    }
}
