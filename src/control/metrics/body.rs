//! The text as the body of an answer, written while it is sent: a scrape of hundreds of backends has
//! megabytes, of which only a piece is there at any time, however slowly it is taken.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};

use super::text::Writer;

/// What is left to be sent.
#[derive(Debug)]
pub struct Pieces {
    writer: Writer,
    /// Whether others have had their turn since the last piece.
    rested: bool,
}

impl Pieces {
    /// All of it.
    #[must_use]
    pub const fn new(writer: Writer) -> Self {
        Self { writer, rested: true }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !std::mem::replace(&mut self.rested, false) {
            // A reader that is as fast as the writer would keep checks and reloads waiting.
            self.rested = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.writer.next().map(|piece| Ok(Frame::data(piece.into()))))
    }
}
