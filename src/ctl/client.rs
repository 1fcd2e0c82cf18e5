//! The client of the admin API: one request, one connection, one answer, within a time.
//!
//! It blocks its caller; the runtime inside has one thread, which is the caller's.

mod address;
mod error;
mod trouble;

pub use address::Address;
pub use error::ClientError;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;

use super::names::Named;
use crate::cli::Admin;

/// Asks one evenkeel.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    address: Address,
    token: Option<String>,
    patience: Duration,
}

/// An answer that is 2xx.
#[derive(Clone, Debug)]
pub struct Answer {
    /// As it came.
    pub body: String,
    address: Address,
}

impl Client {
    /// By the options, by the environment where they are silent, by the default where that is, too. A
    /// token of the environment is for TCP: a unix socket needs none, and nobody has to be able to read it.
    ///
    /// # Errors
    /// An address in the environment that is none, a token that cannot be read.
    pub fn of(options: &Admin) -> Result<Self, ClientError> {
        let address = match (&options.admin, std::env::var(ADDRESS_VARIABLE)) {
            (Some(address), _) => address.clone(),
            (None, Ok(text)) if !text.is_empty() => text
                .parse()
                .map_err(|why| ClientError::Environment { name: ADDRESS_VARIABLE, why })?,
            (None, _) => Address::Unix(DEFAULT_PATH.into()),
        };
        let in_environment = || match &address {
            Address::Tcp { .. } => std::env::var_os(TOKEN_VARIABLE).filter(|path| !path.is_empty()),
            Address::Unix(_) => None,
        };
        let file = options.token_file.clone().or_else(|| in_environment().map(PathBuf::from));
        let token = file.map(|path| read_token(&path)).transpose()?;
        Self::new(address, token)
    }

    /// To `address`, with a token where one is asked for.
    ///
    /// # Errors
    /// The process has no room for a runtime.
    pub fn new(address: Address, token: Option<String>) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ClientError::Runtime)?;
        Ok(Self { runtime, address, token, patience: PATIENCE })
    }

    /// Where it asks.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for something; changes nothing.
    ///
    /// # Errors
    /// A [`ClientError`] that names cause and cure.
    pub fn read(&self, path: impl Into<ApiPath>) -> Result<Answer, ClientError> {
        self.ask(&Method::GET, path.into(), None)
    }

    /// The same as a value.
    ///
    /// # Errors
    /// A [`ClientError`]; also when the answer is something else.
    pub fn value<T: DeserializeOwned>(&self, path: impl Into<ApiPath>) -> Result<T, ClientError> {
        self.read(path)?.value()
    }

    /// Changes something.
    ///
    /// # Errors
    /// A [`ClientError`]; whether it has been done is unknown after a timeout.
    pub fn change(
        &self,
        method: &Method,
        path: impl Into<ApiPath>,
        body: Option<&impl Serialize>,
    ) -> Result<Answer, ClientError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.expect("values of the API have only text as keys");
        self.ask(method, path.into(), body)
    }

    /// Changes something that needs no words.
    ///
    /// # Errors
    /// As of [`Self::change`].
    pub fn act(&self, method: &Method, path: impl Into<ApiPath>) -> Result<Answer, ClientError> {
        self.ask(method, path.into(), None)
    }

    fn ask(
        &self,
        method: &Method,
        path: ApiPath,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ClientError> {
        let request = self.request(method, &path.text, body);
        let (status, body) = self.runtime.block_on(async {
            tokio::time::timeout(self.patience, self.exchange(request)).await.unwrap_or_else(|_| {
                let (address, after) = (self.address.clone(), self.patience);
                Err(ClientError::Timeout { address, after })
            })
        })?;
        let body = String::from_utf8(body.into())
            .map_err(|_| ClientError::not_evenkeel(&self.address, "the answer is not text"))?;
        if status.is_success() {
            return Ok(Answer { body, address: self.address.clone() });
        }
        Err(self.refused(status, &body))
    }

    fn request(&self, method: &Method, path: &str, body: Option<Vec<u8>>) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.host())
            .header(USER_AGENT, concat!("evenkeel-ctl/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(body.unwrap_or_default()));
        request.expect("paths are escaped, and a token was looked at when it was read")
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let trouble = |error: io::Error| trouble::connecting(&self.address, &error);
        match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(trouble)?;
                self.over(stream, request).await
            }
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(trouble)?;
                self.over(stream, request).await
            }
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let odd = |error: hyper::Error| trouble::talking(&self.address, &error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(odd)?;
        // It ends with `sender`, and what it failed of is told by the answer.
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(odd)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| ClientError::not_evenkeel(&self.address, error))?;
        connection.abort();
        Ok((status, body.to_bytes()))
    }

    fn refused(&self, status: StatusCode, body: &str) -> ClientError {
        let said = serde_json::from_str::<No>(body).unwrap_or_default();
        let said = match (said.error.is_empty(), said.reasons.is_empty()) {
            (false, _) => Some(said.error),
            (true, false) => Some(said.reasons.join("; ")),
            (true, true) => None,
        };
        let address = self.address.clone();
        match (status, said) {
            (StatusCode::UNAUTHORIZED, said) => {
                let said = said.unwrap_or_else(|| "a token is needed".to_owned());
                ClientError::Token { address, said, had: self.token.is_some() }
            }
            (status, Some(said)) => ClientError::Refused { status: status.as_u16(), said },
            // Of the server's HTTP, before the API has seen it: there is no body.
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG, None) => {
                let status = status.as_u16();
                let said = format!(
                    "{address} does not take a request of such a length ({status}): a name in it, or the \
                     token, is too long"
                );
                ClientError::Refused { status, said }
            }
            (status, None) => ClientError::not_evenkeel(&address, format!("it answers {status}")),
        }
    }
}

impl Answer {
    /// What it says.
    ///
    /// # Errors
    /// It is something else: this is no evenkeel.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.body)
            .map_err(|error| ClientError::not_evenkeel(&self.address, error))
    }
}

/// An answer that is not 2xx: a [`crate::api::Problem`], or what health probes are told.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct No {
    error: String,
    reasons: Vec<String>,
}

/// A path below the root, with what is behind the question mark.
#[derive(Clone, Debug)]
pub struct ApiPath {
    text: String,
    parameters: bool,
}

impl ApiPath {
    /// `/api/pools/{pool}/backends`
    #[must_use]
    pub fn backends_of(pool: &str) -> Self {
        format!("/api/pools/{}/backends", escaped(pool)).as_str().into()
    }

    /// `/api/pools/{pool}/backends/{name}`
    #[must_use]
    pub fn backend(pool: &str, name: &str) -> Self {
        let text = format!("/api/pools/{}/backends/{}", escaped(pool), escaped(name));
        text.as_str().into()
    }

    /// `/api/explain/backend?pool={pool}&name={name}`
    #[must_use]
    pub(crate) fn explain_backend(named: &Named) -> Self {
        Self::from("/api/explain/backend").with("pool", &named.pool).with("name", &named.name)
    }

    /// `/api/sessions/{id}`
    #[must_use]
    pub fn session(id: &str) -> Self {
        format!("/api/sessions/{}", escaped(id)).as_str().into()
    }

    /// With one more parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.parameters { '&' } else { '?' });
        self.parameters = true;
        self.text += &format!("{name}={}", escaped(value));
        self
    }

    /// With one more parameter, if it has a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<&str> for ApiPath {
    fn from(path: &str) -> Self {
        Self { text: path.to_owned(), parameters: false }
    }
}

fn escaped(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

fn read_token(path: &Path) -> Result<String, ClientError> {
    let problem = |why: String| ClientError::TokenFile { path: path.to_owned(), why };
    let text =
        std::fs::read_to_string(path).map_err(|error| problem(trouble::reading(path, &error)))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(problem("it is empty".to_owned()));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(problem("it has more than one word, or letters beyond ASCII".to_owned()));
    }
    Ok(token.to_owned())
}

/// Where to, without an option.
pub const ADDRESS_VARIABLE: &str = "EVENKEEL_ADMIN";
/// Which token, without an option.
pub const TOKEN_VARIABLE: &str = "EVENKEEL_ADMIN_TOKEN_FILE";
/// Where to, without any word.
pub const DEFAULT_PATH: &str = "/run/evenkeel/admin.sock";
/// What stays as it is in a path: RFC 3986, unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// An evenkeel answers within milliseconds, also a busy one; a reload may look names up.
const PATIENCE: Duration = Duration::from_secs(10);
/// 100 000 sessions are some 40 MB.
const LONGEST_ANSWER: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        let path = ApiPath::backend("we b", "unix:/run/../a?b#c").with("x", "a&b=c");
        assert_eq!(
            path.as_str(),
            "/api/pools/we%20b/backends/unix%3A%2Frun%2F..%2Fa%3Fb%23c?x=a%26b%3Dc"
        );
        let path = ApiPath::from("/api/events").with("after", "1").with_some("limit", None);
        assert_eq!(path.with_some("more", Some("ü")).as_str(), "/api/events?after=1&more=%C3%BC");
    }
}
