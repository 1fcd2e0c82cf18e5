//! Who has answered a worker so far, how often, and what each is expected to say next.

use super::super::http::{HttpRequest, Method, Response};
use super::super::payload::{Sizes, Verify, filler};
use super::body::{Body, Expect, filler_crc};

/// Who has answered so far. The first entry is the echo.
#[derive(Debug)]
pub(in crate::load) struct Names {
    known: Vec<Known>,
    form: Form,
    verify: Verify,
}

#[derive(Debug)]
struct Known {
    name: String,
    /// The last reply that was right; empty where nothing is expected to come again.
    reply: Vec<u8>,
    /// Length and checksum of the first body, where these are compared.
    body: Option<(u64, u32)>,
}

/// What replies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Lines, of this length with their newline if one was asked for.
    Line {
        bytes: Option<usize>,
        bytes_max: usize,
    },
    Http {
        head_only: bool,
        body: Expect,
    },
}

/// An index into [`Names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::load) struct BackendId(u16);

impl BackendId {
    /// From 0, without gaps.
    pub(in crate::load) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Names {
    /// Nobody yet; `request` is the line that [`Sizes::line`] makes, and its echo would be
    /// recognized.
    pub(in crate::load) fn of_lines(request: &[u8], sizes: Sizes, verify: Verify) -> Self {
        let bytes = sizes.reply.map(|bytes| bytes as usize);
        // Who was asked for a size and echoes has not done what was asked.
        let is_right = bytes.is_none() || verify == Verify::Off;
        let echo = if is_right { request.to_vec() } else { Vec::new() };
        let bytes_max = request.len().max(bytes.unwrap_or(0)).max(GREETING_BYTES_MAX);
        Self::new("echo", echo, Form::Line { bytes, bytes_max }, verify)
    }

    /// Those who accept, and are asked nothing.
    pub(in crate::load) fn of_connects() -> Self {
        let form = Form::Line { bytes: None, bytes_max: 0 };
        Self::new("accepted", Vec::new(), form, Verify::Full)
    }

    /// Nobody yet, of those who answer `request`. The content of a body is known when a size was
    /// asked for and no path.
    pub(in crate::load) fn of_http(request: &HttpRequest, sizes: Sizes, verify: Verify) -> Self {
        let head_only = request.method == Method::Head;
        let bytes = sizes.reply.map(u64::from);
        let is_known = request.path.is_none();
        let body = match (verify, bytes) {
            _ if head_only => Expect::Anything,
            (Verify::Off, _) | (Verify::Len | Verify::Full, None) => Expect::Anything,
            (Verify::Crc, Some(bytes)) if is_known => filler_crc(bytes),
            (Verify::Full, Some(bytes)) if is_known => Expect::Filler(bytes),
            (Verify::Len | Verify::Full, Some(bytes)) => Expect::Bytes(bytes),
            (Verify::Crc, bytes) => Expect::Same(bytes),
        };
        Self::new("http", Vec::new(), Form::Http { head_only, body }, verify)
    }

    fn new(first: &str, reply: Vec<u8>, form: Form, verify: Verify) -> Self {
        let first = Known { name: first.to_owned(), reply, body: None };
        Self { known: vec![first], form, verify }
    }

    /// What the backend of this index calls itself.
    pub(in crate::load) fn name(&self, index: usize) -> &str {
        &self.known[index].name
    }

    pub(super) fn are_http(&self) -> bool {
        matches!(self.form, Form::Http { .. })
    }

    pub(super) fn are_head_only(&self) -> bool {
        matches!(self.form, Form::Http { head_only: true, .. })
    }

    /// What is known of bodies beforehand.
    pub(super) fn body(&self) -> Expect {
        match self.form {
            Form::Http { body, .. } => body,
            Form::Line { .. } => Expect::Anything,
        }
    }

    /// What `backend` said last.
    pub(super) fn expected(&self, backend: BackendId) -> &[u8] {
        &self.known[backend.index()].reply
    }

    /// `backend` may well say this again.
    pub(super) fn expect(&mut self, backend: BackendId, reply: &[u8]) {
        let known = &mut self.known[backend.index()].reply;
        if reply.len() <= REPEATED_BYTES_MAX && known != reply {
            reply.clone_into(known);
        }
    }

    /// So much of a line is kept: a byte more than a right one can have, which tells it from these.
    pub(super) fn line_bytes_max(&self) -> usize {
        match self.form {
            Form::Line { bytes_max, .. } => bytes_max + 1,
            Form::Http { .. } => 0,
        }
    }

    /// Whether a line that has not ended may still become a right one.
    pub(super) fn may_become_reply(&self, line: &[u8]) -> bool {
        let Form::Line { bytes, bytes_max } = self.form else { return false };
        let fits = line.len() < bytes.unwrap_or(bytes_max);
        match (self.verify, bytes) {
            (Verify::Off, _) => true,
            (Verify::Len, _) => fits,
            (Verify::Crc | Verify::Full, Some(_)) => fits && agree(line, GREETING),
            (Verify::Crc | Verify::Full, None) => {
                self.known[0].reply.starts_with(line) || fits && agree(line, GREETING)
            }
        }
    }

    /// Whose reply `line` is, which has ended; nobody's if it is not right.
    pub(super) fn recognize(&mut self, line: &[u8]) -> Option<BackendId> {
        let Form::Line { bytes, .. } = self.form else { return None };
        if let Some(index) = self.known.iter().position(|known| known.reply == line) {
            return Some(id(index));
        }
        let name = match bytes {
            Some(bytes) => sized_name(line, bytes),
            None => greeted_name(line),
        };
        match (name, self.verify) {
            (Some(name), _) => Some(self.enter(&name, Some(line))),
            // Not of the size that was asked for; it may say who it is nevertheless.
            (None, Verify::Off) => {
                let name = greeted_name(line);
                Some(self.enter(name.as_deref().unwrap_or(NAMELESS), None))
            }
            (None, Verify::Len) => {
                let right = bytes.unwrap_or(self.known[0].reply.len());
                (line.len() == right).then(|| self.enter(NAMELESS, None))
            }
            (None, Verify::Crc | Verify::Full) => None,
        }
    }

    /// The same of a response.
    pub(super) fn recognize_response(
        &mut self,
        body: &Body,
        response: Response,
    ) -> Option<BackendId> {
        if !body.is_right() {
            return None;
        }
        let backend = self.enter(&body.name(), None);
        if let Expect::Same(_) = self.body() {
            let same = (response.body_bytes, body.crc());
            let known = &mut self.known[backend.index()];
            if *known.body.get_or_insert(same) != same {
                return None;
            }
        }
        Some(backend)
    }

    /// The backend of this name, which may be new.
    fn enter(&mut self, name: &str, reply: Option<&[u8]>) -> BackendId {
        let find = |name| self.known.iter().position(|known| known.name == name);
        let is_full = self.known.len() >= NAMES_MAX;
        let found = find(name).or_else(|| if is_full { find(OTHERS) } else { None });
        let index = found.unwrap_or_else(|| {
            let name = if is_full { OTHERS } else { name }.to_owned();
            self.known.push(Known { name, reply: Vec::new(), body: None });
            self.known.len() - 1
        });
        if let Some(reply) = reply {
            reply.clone_into(&mut self.known[index].reply);
        }
        id(index)
    }
}

fn id(index: usize) -> BackendId {
    BackendId(u16::try_from(index).expect("there are not that many names"))
}

/// Whether one of the two is the beginning of the other.
fn agree(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// `Server 9001` of `Hello from Server 9001!` and its newline.
pub(super) fn greeted_name(line: &[u8]) -> Option<String> {
    let name = line.strip_prefix(GREETING)?.trim_ascii();
    let name = name.strip_suffix(b"!").unwrap_or(name);
    let is_name = !name.is_empty() && line.len() <= GREETING_BYTES_MAX;
    is_name.then(|| String::from_utf8_lossy(name).into_owned())
}

/// The same of a greeting that was filled up, or cut, to `bytes` bytes. What is cut too short to have
/// a name is nameless.
fn sized_name(line: &[u8], bytes: usize) -> Option<String> {
    let text = line.strip_suffix(b"\n").filter(|_| line.len() == bytes)?;
    if GREETING.starts_with(text) {
        return Some(NAMELESS.to_owned());
    }
    let space = text.iter().rposition(|&byte| byte == b' ').unwrap_or(0);
    let (greeting, letters) = (&text[..space], text[space..].iter().skip(1));
    if letters.copied().eq(filler().take(text.len() - space - 1))
        && let Some(name) = greeted_name(greeting)
    {
        return Some(name);
    }
    // There was no room for filler: all of it is a name, or a part of one.
    if text.len() <= CUT_BYTES_MAX { greeted_name(text) } else { None }
}

const GREETING: &[u8] = b"Hello from ";
/// Longer names than that are not names.
pub(super) const GREETING_BYTES_MAX: usize = 1024;
/// The same where a wrong byte in the filler would make one.
const CUT_BYTES_MAX: usize = 80;
/// Replies up to this size are compared with the one before as a whole. Beyond it the memory, of each
/// worker and backend, would be more than what is saved.
const REPEATED_BYTES_MAX: usize = 16 * 1024;
/// So many backends are told apart.
const NAMES_MAX: usize = 1000;
/// Who says nothing of himself.
const NAMELESS: &str = "unnamed";
/// Those who came when there were too many already.
const OTHERS: &str = "others";
