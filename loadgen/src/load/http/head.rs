//! Heads of responses: what they say of the body that follows and of the connection.

use super::{Refusal, Watch};

/// A head that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Something in advance (1xx): the response itself follows.
    Interim,
    Final {
        status: u16,
        stays: bool,
        body: Body,
    },
}

/// How the end of a body is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// After so many bytes, perhaps none.
    Counted(u64),
    Chunked,
    /// With the stream.
    UntilClose,
}

/// What the headers say that matters here.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

/// The head at the beginning of `input` and its length, if all of it is there.
pub(super) fn parse(
    input: &[u8],
    head_only: bool,
    watch: &mut impl Watch,
) -> Result<Option<(Head, usize)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(input) {
        Ok(httparse::Status::Complete(bytes)) if bytes > HEAD_BYTES_MAX => Err(Refusal::TooLarge),
        Ok(httparse::Status::Partial) if input.len() > HEAD_BYTES_MAX => Err(Refusal::TooLarge),
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(bytes)) => {
            let head = understand(&response, head_only)?;
            if head != Head::Interim {
                watch.on_head(&response);
            }
            Ok(Some((head, bytes)))
        }
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::TooLarge),
        Err(_) => Err(Refusal::Malformed),
    }
}

fn understand(response: &httparse::Response<'_, '_>, head_only: bool) -> Result<Head, Refusal> {
    let status = response.code.unwrap_or(0);
    let said = read(response.headers)?;
    let body = match status {
        101 => return Err(Refusal::Upgrade),
        100..200 => return Ok(Head::Interim),
        204 | 304 => Body::Counted(0),
        200..600 if head_only => Body::Counted(0),
        200..600 => match said {
            Said { chunked: true, length: Some(_), .. } => return Err(Refusal::Length),
            Said { chunked: true, .. } => Body::Chunked,
            Said { length: Some(bytes), .. } => Body::Counted(bytes),
            Said { length: None, .. } => Body::UntilClose,
        },
        _ => return Err(Refusal::Malformed),
    };
    let stays = !said.close && (response.version == Some(1) || said.keep_alive);
    Ok(Head::Final { status, stays, body })
}

fn read(headers: &[httparse::Header<'_>]) -> Result<Said, Refusal> {
    let mut said = Said::default();
    for header in headers {
        let (name, value) = (header.name, header.value.trim_ascii());
        if name.eq_ignore_ascii_case("content-length") {
            let bytes = length(value).ok_or(Refusal::Length)?;
            // Two that differ, and nobody knows where the next response begins.
            if said.length.is_some_and(|other| other != bytes) {
                return Err(Refusal::Length);
            }
            said.length = Some(bytes);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if said.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Coding);
            }
            said.chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                said.close |= option.eq_ignore_ascii_case(b"close");
                said.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    Ok(said)
}

fn length(value: &[u8]) -> Option<u64> {
    // `parse` alone would take a sign.
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// Twice what servers accept of a request.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// As many as fit a head that people write.
const HEADERS_MAX: usize = 100;
