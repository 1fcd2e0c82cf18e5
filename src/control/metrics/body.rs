//! The text as the body of an answer, written while it is sent: a scrape of hundreds of backends has
//! megabytes, of which only a piece is there at any time, however slowly it is taken.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::time::{Sleep, sleep};

use super::family::Family;
use super::text::Writer;

/// What is left to be sent.
#[derive(Debug)]
pub struct Pieces<I> {
    writer: Writer<I>,
    /// After a piece.
    rest: Option<Pin<Box<Sleep>>>,
}

impl<I: Iterator<Item = Family>> Pieces<I> {
    /// All of it.
    pub const fn new(writer: Writer<I>) -> Self {
        Self { writer, rest: None }
    }
}

impl<I: Iterator<Item = Family> + Unpin> Body for Pieces<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(context));
        }
        let piece = self.writer.next();
        self.rest = piece.as_ref().map(|_| Box::pin(rest()));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

/// Leaves the CPU to whoever else wants it: a shard that wakes while another thread is at work on its
/// CPU may have to wait until that thread sleeps, or for the rest of its slice, which is some
/// milliseconds.
pub(super) fn rest() -> Sleep {
    sleep(Duration::from_millis(1))
}
