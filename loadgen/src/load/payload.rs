//! What is sent, how large the answer shall be, and how closely it is looked at.
//!
//! Everything is text, so that it can be read in a capture: the alphabet, again and again. A request
//! that asks for a reply of some size says so in words that the backends of `serve` understand.

use std::fmt;
use std::str::FromStr;

use super::plan::{REQUEST_BYTES_MAX, REQUEST_BYTES_MIN};
use super::si;

/// Bytes of a request, and of the reply if it asks for a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Of a line, its newline included; over HTTP of the body of a POST.
    pub request: u32,
    /// Of a line, its newline included; over HTTP of the body. Without it the backend decides.
    pub reply: Option<u32>,
}

/// How closely a reply is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Only where it ends.
    Off,
    /// Its length.
    Len,
    /// Its checksum (CRC-32). Of a body that is not known beforehand it must be that of the first one
    /// from the same backend, which pages that change do not stand.
    Crc,
    /// Each of its bytes, as far as they are known beforehand.
    #[default]
    Full,
}

/// Why a text gives no sizes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizesError {
    /// Not a number, or not two.
    #[error("`{0}` is not a size: write bytes such as 64 or 4k, or REQUEST:REPLY such as 64:16k")]
    NotASize(String),
    /// Not even a byte and its newline, or more than a buffer holds.
    #[error("a size of `{0}` is outside {REQUEST_BYTES_MIN} to {REQUEST_BYTES_MAX} bytes")]
    OutOfBounds(String),
    /// The request has no room for its own words.
    #[error(
        "a request of {request} bytes has no room to ask for a reply of {reply}: write at least \
         {needed}:{reply}"
    )]
    NoRoomToAsk {
        /// Bytes of the request.
        request: u32,
        /// Bytes of the reply.
        reply: u32,
        /// So many bytes would do.
        needed: usize,
    },
}

/// Why a text is no level of verification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a way to verify replies: write off, len, crc or full")]
pub struct VerifyError(String);

impl Sizes {
    /// A request for `ping` and `conn`: text that ends in its only newline and cannot be taken for
    /// a greeting.
    ///
    /// # Errors
    /// [`SizesError::NoRoomToAsk`]; never without a size of the reply.
    pub(super) fn line(self) -> Result<Vec<u8>, SizesError> {
        let asks = self.reply.map(|bytes| format!("reply={bytes} ")).unwrap_or_default();
        let needed = asks.len() + 1;
        let len = self.request as usize;
        match (len < needed, self.reply) {
            (true, Some(reply)) => {
                Err(SizesError::NoRoomToAsk { request: self.request, reply, needed })
            }
            _ => {
                let text = asks.bytes().chain(filler()).take(len.saturating_sub(1));
                Ok(text.chain([b'\n']).collect())
            }
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self { request: 64, reply: None }
    }
}

/// The alphabet, without end.
pub(super) fn filler() -> impl Iterator<Item = u8> + Clone {
    (b'a'..=b'z').cycle()
}

impl FromStr for Sizes {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (request, reply) = match text.split_once(':') {
            Some((request, reply)) => (request, Some(reply)),
            None => (text, None),
        };
        let size = |part| {
            let bytes = si::whole(part).ok_or_else(|| SizesError::NotASize(text.to_owned()))?;
            let bytes = u32::try_from(bytes).ok();
            bytes
                .filter(|bytes| (REQUEST_BYTES_MIN..=REQUEST_BYTES_MAX).contains(bytes))
                .ok_or_else(|| SizesError::OutOfBounds(part.to_owned()))
        };
        Ok(Self { request: size(request)?, reply: reply.map(size).transpose()? })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reply {
            Some(reply) => write!(f, "{}:{reply}", self.request),
            None => self.request.fmt(f),
        }
    }
}

impl FromStr for Verify {
    type Err = VerifyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let levels = [Self::Off, Self::Len, Self::Crc, Self::Full];
        let level = levels.into_iter().find(|level| level.name() == text);
        level.ok_or_else(|| VerifyError(text.to_owned()))
    }
}

impl fmt::Display for Verify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Verify {
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Len => "len",
            Self::Crc => "crc",
            Self::Full => "full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str) -> Sizes {
        text.parse().expect(text)
    }

    #[test]
    fn sizes_are_one_or_two_numbers_of_bytes() {
        for (text, request, reply) in [
            ("64", 64, None),
            ("4k", 4000, None),
            ("4Ki", 4096, None),
            ("64:16k", 64, Some(16_000)),
            ("2:2", 2, Some(2)),
            ("1Mi", 1 << 20, None),
        ] {
            assert_eq!(sizes(text), Sizes { request, reply }, "{text}");
            assert_eq!(sizes(&sizes(text).to_string()), sizes(text));
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example_or_the_bounds() {
        for (text, cure) in [
            ("", "64:16k"),
            ("big", "64:16k"),
            ("64:", "64:16k"),
            (":64", "64:16k"),
            ("4:5:6", "64:16k"),
            ("1", "2 to 1048576"),
            ("64:1", "2 to 1048576"),
            ("2M", "2 to 1048576"),
            ("5000000000", "2 to 1048576"),
        ] {
            let error = text.parse::<Sizes>().expect_err(text).to_string();
            assert!(error.contains(cure), "{error}");
        }
    }

    #[test]
    fn levels_have_names() {
        for text in ["off", "len", "crc", "full"] {
            assert_eq!(text.parse::<Verify>().map(|level| level.to_string()), Ok(text.to_owned()));
        }
        let error = "none".parse::<Verify>().expect_err("no such level").to_string();
        assert!(error.contains("off, len, crc or full"), "{error}");
    }

    #[test]
    fn a_line_has_its_size_and_one_newline_at_its_end() {
        for text in ["2", "64", "1000", "11:100", "64:16k", "1Mi:1Mi"] {
            let line = sizes(text).line().expect(text);
            assert_eq!(line.len(), sizes(text).request as usize, "{text}");
            assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1), "{text}");
            assert!(!line.starts_with(b"H"), "{text}");
        }
    }

    #[test]
    fn a_line_asks_for_the_size_of_its_reply() {
        assert_eq!(sizes("14:100").line().as_deref(), Ok(b"reply=100 abc\n".as_slice()));
        assert_eq!(sizes("11:100").line().as_deref(), Ok(b"reply=100 \n".as_slice()));
        let error = sizes("10:100").line().expect_err("a byte short").to_string();
        assert!(error.contains("11:100"), "{error}");
    }
}
