//! Replies: whether a line is complete, whether it is right, and whose it is.
//!
//! A reply is compared with the one before it on the same connection, so that the name of the
//! backend is looked at once a connection and not once a request. The first guess is an echo.

/// Who has answered a worker so far, and how often. The first entry is the echo.
#[derive(Debug)]
pub(super) struct Names {
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    reply: Vec<u8>,
    name: String,
    responses: u64,
}

/// An index into [`Names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BackendId(u16);

/// The reply that one connection is getting.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Whose reply is expected.
    expected: BackendId,
    /// So many bytes of it have come.
    matched: usize,
    /// A reply that is not the expected one, as far as it has come.
    line: Vec<u8>,
}

/// What bytes made of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progressed {
    Part,
    Whole(BackendId),
    /// Neither an echo nor a greeting, or more than was asked for.
    Wrong,
}

impl Names {
    /// Nobody yet; an echo of `request` would be recognized.
    pub(super) fn new(request: &[u8]) -> Self {
        let echo = Known { reply: request.to_vec(), name: "echo".to_owned(), responses: 0 };
        Self { known: vec![echo] }
    }

    /// Counts a response.
    pub(super) fn count(&mut self, backend: BackendId) {
        self.known[usize::from(backend.0)].responses += 1;
    }

    /// Everyone who answered, and how often.
    pub(super) fn responses(&self) -> impl Iterator<Item = (&str, u64)> {
        let answered = self.known.iter().filter(|known| known.responses > 0);
        answered.map(|known| (known.name.as_str(), known.responses))
    }

    /// Whose reply `line` is.
    fn recognize(&mut self, line: &[u8]) -> Option<BackendId> {
        let found = self.known.iter().position(|known| known.reply == line);
        let index = match found {
            Some(index) => index,
            None => {
                let name = greeted_name(line)?;
                self.known.push(Known { reply: line.to_vec(), name, responses: 0 });
                self.known.len() - 1
            }
        };
        // More names than that are not backends but noise.
        u16::try_from(index).ok().map(BackendId)
    }
}

impl Reply {
    /// The connection is new; who answered the last one is still the best guess.
    pub(super) fn restart(&mut self) {
        self.matched = 0;
        self.line.clear();
    }

    /// Bytes came.
    pub(super) fn on_bytes(&mut self, bytes: &[u8], names: &mut Names) -> Progressed {
        if self.line.is_empty() {
            let expected = &names.known[usize::from(self.expected.0)].reply;
            let to_come = &expected[self.matched..];
            if bytes == to_come {
                self.matched = 0;
                return Progressed::Whole(self.expected);
            }
            if to_come.starts_with(bytes) {
                self.matched += bytes.len();
                return Progressed::Part;
            }
            self.line.extend_from_slice(&expected[..self.matched]);
            self.matched = 0;
        }
        self.line.extend_from_slice(bytes);
        self.on_other_line(names)
    }

    fn on_other_line(&mut self, names: &mut Names) -> Progressed {
        let end = self.line.iter().position(|&byte| byte == b'\n');
        match end {
            None if may_become_greeting(&self.line) => Progressed::Part,
            Some(end) if end + 1 == self.line.len() => match names.recognize(&self.line) {
                Some(backend) => {
                    self.expected = backend;
                    self.line.clear();
                    Progressed::Whole(backend)
                }
                None => Progressed::Wrong,
            },
            _ => Progressed::Wrong,
        }
    }
}

fn may_become_greeting(line: &[u8]) -> bool {
    let compared = line.len().min(GREETING.len());
    line[..compared] == GREETING[..compared] && line.len() <= GREETING_BYTES_MAX
}

/// `Server 9001` of `Hello from Server 9001!` and its newline.
fn greeted_name(line: &[u8]) -> Option<String> {
    let name = line.strip_prefix(GREETING)?.trim_ascii();
    let name = name.strip_suffix(b"!").unwrap_or(name);
    Some(String::from_utf8_lossy(name).into_owned()).filter(|name| !name.is_empty())
}

const GREETING: &[u8] = b"Hello from ";
/// Longer names than that are not names.
const GREETING_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Option<&str> = None;
    const REQUEST: &[u8] = b"abc\n";

    /// Feeds `chunks` to one connection; each gives a part, a name, or `wrong`.
    fn check(chunks: &[(&str, Option<&str>)]) {
        let (mut names, mut reply) = (Names::new(REQUEST), Reply::default());
        for (chunk, expected) in chunks {
            let got = match reply.on_bytes(chunk.as_bytes(), &mut names) {
                Progressed::Part => PART.map(str::to_owned),
                Progressed::Whole(id) => Some(names.known[usize::from(id.0)].name.clone()),
                Progressed::Wrong => Some("wrong".to_owned()),
            };
            assert_eq!(got.as_deref(), *expected, "{chunks:?} at {chunk:?}");
        }
    }

    #[test]
    fn an_echo_is_compared_byte_for_byte() {
        check(&[("abc\n", Some("echo")), ("a", PART), ("bc", PART), ("\n", Some("echo"))]);
        check(&[("ab", PART), ("X\n", Some("wrong"))]);
        check(&[("abcX", Some("wrong"))]);
        check(&[("abc\nabc\n", Some("wrong"))]);
    }

    #[test]
    fn a_greeting_names_its_backend() {
        check(&[("Hello from B1\n", Some("B1")), ("Hello from B1\n", Some("B1"))]);
        check(&[("Hello from Server 9001!\n", Some("Server 9001"))]);
        check(&[("Hel", PART), ("lo from B", PART), ("1", PART), ("\n", Some("B1"))]);
    }

    #[test]
    fn another_backend_may_answer_on_the_same_connection() {
        check(&[("Hello from B1\n", Some("B1")), ("Hello from B2\n", Some("B2"))]);
        check(&[("Hello from B1\n", Some("B1")), ("Hello from B", PART), ("12\n", Some("B12"))]);
        check(&[("Hello from B1\n", Some("B1")), ("abc\n", Some("echo"))]);
    }

    #[test]
    fn what_is_neither_is_wrong() {
        check(&[("HTTP/1.1 400 Bad Request\r\n", Some("wrong"))]);
        check(&[("Hello from \n", Some("wrong"))]);
        check(&[("Hello from B1\nmore", Some("wrong"))]);
        let endless = format!("Hello from {}", "x".repeat(GREETING_BYTES_MAX));
        check(&[(&endless, Some("wrong"))]);
    }
}
