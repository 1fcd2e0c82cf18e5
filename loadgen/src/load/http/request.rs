//! Requests: written once, sent again and again.

use std::fmt;
use std::str::FromStr;

use super::super::payload::{Sizes, filler};

/// What a request asks to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Nothing but an answer.
    #[default]
    Get,
    /// The same without the body of the answer.
    Head,
    /// That a body be taken.
    Post,
}

/// One line of a head: a name and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    name: String,
    value: String,
}

/// A request to be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// What to do.
    pub method: Method,
    /// Whom to ask: `host` or `host:port`.
    pub host: String,
    /// What for; without it `/`, or what the backends of `serve` answer with the size that is asked.
    pub path: Option<String>,
    /// What else is said.
    pub headers: Vec<Header>,
}

/// Why a request cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpRequestError {
    /// Not `Name: value`.
    #[error("`{0}` is not a header: write Name: value, such as `Accept: text/html`")]
    NotAHeader(String),
    /// A header that says how long the body is, which only the size does.
    #[error("the header {0} cannot be chosen: the body of a request has the length of --size")]
    Framing(String),
    /// Not a path.
    #[error("`{0}` is not a path: it begins with / and has neither spaces nor control characters")]
    NotAPath(String),
    /// Not a host.
    #[error("`{0}` is not a host: write a name or an address, perhaps with :port")]
    NotAHost(String),
    /// No such method.
    #[error("`{0}` is not a method: write GET, HEAD or POST")]
    NotAMethod(String),
}

impl HttpRequest {
    /// A GET of `/` from `host`.
    #[must_use]
    pub fn new(host: String) -> Self {
        Self { method: Method::Get, host, path: None, headers: Vec::new() }
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// An [`HttpRequestError`] for a path, a host or a header that would not be understood as such.
    pub(in crate::load) fn bytes(&self, sizes: Sizes) -> Result<Vec<u8>, HttpRequestError> {
        let path = self.path(sizes)?;
        if self.host.is_empty() || !is_visible(&self.host) {
            return Err(HttpRequestError::NotAHost(self.host.clone()));
        }
        let mut head = format!("{} {path} HTTP/1.1\r\n", self.method);
        if !self.says("host") {
            head += &format!("Host: {}\r\n", self.host);
        }
        for Header { name, value } in &self.headers {
            if ["content-length", "transfer-encoding"]
                .iter()
                .any(|set| name.eq_ignore_ascii_case(set))
            {
                return Err(HttpRequestError::Framing(name.clone()));
            }
            head += &format!("{name}: {value}\r\n");
        }
        let body_bytes = if self.method == Method::Post { sizes.request as usize } else { 0 };
        if self.method == Method::Post {
            head += &format!("Content-Length: {body_bytes}\r\n");
        }
        head += "\r\n";
        Ok(head.bytes().chain(filler().take(body_bytes)).collect())
    }

    fn path(&self, sizes: Sizes) -> Result<String, HttpRequestError> {
        match (&self.path, sizes.reply) {
            (Some(path), _) if path.starts_with('/') && is_visible(path) => Ok(path.clone()),
            (Some(path), _) => Err(HttpRequestError::NotAPath(path.clone())),
            (None, Some(bytes)) => Ok(format!("/bytes/{bytes}")),
            (None, None) => Ok("/".to_owned()),
        }
    }

    fn says(&self, name: &str) -> bool {
        self.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name))
    }
}

impl FromStr for Header {
    type Err = HttpRequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || HttpRequestError::NotAHeader(text.to_owned());
        let (name, value) = text.split_once(':').ok_or_else(refuse)?;
        let value = value.trim_matches([' ', '\t']);
        // A line break would begin another header.
        let plain = value.chars().all(|char| char == '\t' || !char.is_control());
        if name.is_empty() || !name.bytes().all(is_token) || !plain {
            return Err(refuse());
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

impl FromStr for Method {
    type Err = HttpRequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let methods = [Self::Get, Self::Head, Self::Post];
        let method = methods.into_iter().find(|method| text.eq_ignore_ascii_case(method.name()));
        method.ok_or_else(|| HttpRequestError::NotAMethod(text.to_owned()))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A character of names (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(request: &HttpRequest, sizes: &str) -> Result<String, HttpRequestError> {
        let bytes = request.bytes(sizes.parse().expect(sizes))?;
        Ok(String::from_utf8(bytes).expect("requests are text"))
    }

    fn request() -> HttpRequest {
        HttpRequest::new("lb:80".to_owned())
    }

    #[test]
    fn a_get_has_a_host_and_no_body() {
        let expected = "GET / HTTP/1.1\r\nHost: lb:80\r\n\r\n".to_owned();
        assert_eq!(text(&request(), "64"), Ok(expected));
        let head = HttpRequest { method: Method::Head, ..request() };
        assert_eq!(text(&head, "64"), Ok("HEAD / HTTP/1.1\r\nHost: lb:80\r\n\r\n".to_owned()));
    }

    #[test]
    fn a_post_has_a_body_of_the_size_that_was_asked() {
        let post = HttpRequest { method: Method::Post, ..request() };
        let expected = "POST / HTTP/1.1\r\nHost: lb:80\r\nContent-Length: 3\r\n\r\nabc".to_owned();
        assert_eq!(text(&post, "3"), Ok(expected));
        assert!(
            text(&post, "30").expect("a size").ends_with("\r\n\r\nabcdefghijklmnopqrstuvwxyzabcd")
        );
    }

    #[test]
    fn the_size_of_a_reply_is_asked_for_unless_a_path_is_given() {
        assert!(text(&request(), "64:16k").expect("a size").starts_with("GET /bytes/16000 HTTP"));
        let chosen = HttpRequest { path: Some("/x?y=z".to_owned()), ..request() };
        assert!(text(&chosen, "64:16k").expect("a path").starts_with("GET /x?y=z HTTP"));
    }

    #[test]
    fn headers_are_added_and_may_replace_the_host() {
        let headers = ["Accept:  text/html ", "host: other"].map(|text| text.parse());
        let headers = headers.into_iter().collect::<Result<_, _>>().expect("headers");
        let expected = "GET / HTTP/1.1\r\nAccept: text/html\r\nhost: other\r\n\r\n".to_owned();
        assert_eq!(text(&HttpRequest { headers, ..request() }, "64"), Ok(expected));
    }

    #[test]
    fn what_would_be_understood_as_something_else_is_refused() {
        for header in ["", "Accept", ": x", "A b: c", "A: b\r\nC: d", "A: b\nC: d", "Ä: x"] {
            let error = header.parse::<Header>().expect_err(header).to_string();
            assert!(error.contains("Name: value"), "{error}");
        }
        for header in ["Content-Length: 5", "transfer-encoding: chunked"] {
            let headers = vec![header.parse().expect("a header")];
            let refused = text(&HttpRequest { headers, ..request() }, "64");
            assert!(matches!(refused, Err(HttpRequestError::Framing(_))), "{header}");
        }
        for path in ["", "x", "/a b", "/a\r\nX: y", "/ä"] {
            let refused = text(&HttpRequest { path: Some(path.to_owned()), ..request() }, "64");
            assert_eq!(refused, Err(HttpRequestError::NotAPath(path.to_owned())));
        }
        for host in ["", "a b", "a\r\nX: y"] {
            let refused = text(&HttpRequest::new(host.to_owned()), "64");
            assert_eq!(refused, Err(HttpRequestError::NotAHost(host.to_owned())));
        }
        assert_eq!("post".parse(), Ok(Method::Post));
        let error = "PUT".parse::<Method>().expect_err("no such method").to_string();
        assert!(error.contains("GET, HEAD or POST"), "{error}");
    }
}
