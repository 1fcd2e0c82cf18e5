//! Whether a request may be answered: pure, from who asks and the head of the request.
//!
//! On a unix socket the file's mode has decided already. On the network reads may be open, changes
//! need the token. Whatever a person's browser sends on behalf of another site is refused, also
//! where no token is asked for: a page on the internet must not reach this program through a browser
//! that can, by its own name for our address (DNS rebinding) or by a form.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};

use crate::config::admin::Token;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over a unix socket, with what the kernel knows of it.
    Unix {
        /// The user.
        uid: u32,
        /// The process; 0 where it is in another namespace.
        pid: i32,
    },
    /// Over the network.
    Tcp(SocketAddr),
}

/// What is asked of those who come over the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy<'a> {
    /// What they have to know.
    pub token: Option<&'a Token>,
    /// Whether those who do not know it may look.
    pub public_read: bool,
    /// Names of this host, by which browsers may ask for it.
    pub names: &'a [String],
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Allowed,
    /// The token is missing or wrong: 401.
    Unknown,
    /// It must not be done for whoever asks: 403.
    Forbidden(&'static str),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix { uid, pid: 0 } => write!(f, "uid {uid}"),
            Self::Unix { uid, pid } => write!(f, "uid {uid} (pid {pid})"),
            Self::Tcp(address) => write!(f, "{address} with the token"),
        }
    }
}

/// Whether a request with this head may be answered.
#[must_use]
pub fn judge(peer: &Peer, policy: Policy<'_>, head: &Parts) -> Verdict {
    let asks = Asks::of(head);
    if let Some(why) = is_cross_site(head, asks) {
        return Verdict::Forbidden(why);
    }
    if asks == Asks::WhetherItLives
        || matches!(peer, Peer::Unix { .. })
        || knows_the_token(policy.token, &head.headers)
    {
        return Verdict::Allowed;
    }
    if !is_named_as_we_are(head, policy.names) {
        return Verdict::Forbidden(
            "the Host of the request is no name of this host, as after DNS rebinding; ask by an \
             address, by `localhost` or by the name of the host",
        );
    }
    match asks {
        Asks::ToLook if policy.public_read => Verdict::Allowed,
        // Nobody can know a token that there is not.
        Asks::ToChange if policy.token.is_none() => Verdict::Forbidden(
            "nothing can be changed over the network without --admin-token-file; use the unix socket",
        ),
        Asks::WhetherItLives | Asks::ToLook | Asks::ToChange => Verdict::Unknown,
    }
}

/// What a request is about, as far as that decides who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// Nothing that anybody must not know.
    WhetherItLives,
    ToLook,
    ToChange,
}

impl Asks {
    fn of(head: &Parts) -> Self {
        match head.method {
            // The path as it came: what is written otherwise is another path.
            Method::GET | Method::HEAD if FREE.contains(&head.uri.path()) => Self::WhetherItLives,
            Method::GET | Method::HEAD => Self::ToLook,
            _ => Self::ToChange,
        }
    }
}

fn knows_the_token(token: Option<&Token>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return false };
    let said = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    // The scheme may be written in any case (RFC 9110, 11.1).
    let said = said.and_then(|said| {
        let (scheme, rest) = said.split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then_some(rest)
    });
    said.is_some_and(|said| token.is(said))
}

/// Why a request was made by a page of another site, if it was.
fn is_cross_site(head: &Parts, asks: Asks) -> Option<&'static str> {
    let headers = &head.headers;
    let word = |name: &HeaderName| headers.get(name).map(|value| value.as_bytes());
    match word(&SEC_FETCH_SITE) {
        Some(b"same-origin" | b"none") => return None,
        // A person follows a link to the page, whose content the linking site does not get to see.
        Some(_)
            if asks == Asks::WhetherItLives
                && head.uri.path() == "/"
                && word(&SEC_FETCH_MODE) == Some(b"navigate")
                && word(&SEC_FETCH_DEST) == Some(b"document") =>
        {
            return None;
        }
        Some(_) => return Some(CROSS_SITE),
        // A browser that is older, or that does not trust the origin, or none.
        None => {}
    }
    let origin = word(&ORIGIN)?;
    let (_, of_origin) = split_once(origin, b"://").unwrap_or((b"", b""));
    let is_own = word(&HOST).is_some_and(|host| host.eq_ignore_ascii_case(of_origin));
    (!is_own).then_some(CROSS_SITE)
}

fn split_once<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = text.windows(at.len()).position(|window| window == at)?;
    Some((&text[..place], &text[place + at.len()..]))
}

/// Whether the request names us by an address or by a name of this host, wherever it names us.
fn is_named_as_we_are(head: &Parts, names: &[String]) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let is_ours = |authority: &Authority| {
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || names.iter().any(|name| name.eq_ignore_ascii_case(host))
    };
    let of_header = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    more.is_none()
        && of_header.is_some_and(|host| is_ours(&host))
        && head.uri.authority().is_none_or(is_ours)
}

/// Paths that say nothing that a stranger must not know.
const FREE: [&str; 4] = ["/", "/healthz", "/livez", "/readyz"];

const BEARER: &[u8] = b"Bearer ";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const CROSS_SITE: &str =
    "a page of another site must not ask this; open the admin API's own page, or use a program";

#[cfg(test)]
mod tests;
