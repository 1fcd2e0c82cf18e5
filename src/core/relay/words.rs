//! The words of a direction: what it holds, what can happen to it, and what it wants done.

use crate::core::{BufferId, PipeId};

/// Bytes that were received and not yet sent: `start..end` of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The buffer, which this direction owns until they are sent.
    pub buffer: BufferId,
    /// First byte to send.
    pub start: u32,
    /// One past the last byte to send.
    pub end: u32,
    /// Whether the source held more when they were received.
    pub more: bool,
}

/// What holds the bytes of a direction between its source and its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// They were copied there.
    Buffer(BufferId),
    /// They were moved there.
    Pipe(PipeId),
}

/// When a direction goes through a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splice {
    /// While it is bulk.
    Auto(Bulk),
    /// Never.
    Off,
    /// Whenever it can.
    Always,
}

/// What bulk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// A receive of at least this many bytes may be part of it.
    pub large_receive: u32,
    /// So many bytes in large receives, one after the other, are bulk.
    pub after: u32,
    /// When less than this comes at once, twice in a row, it is over.
    pub little: u32,
}

impl Bulk {
    /// What was measured to be worth a pipe.
    pub const MEASURED: Self = Self { large_receive: 8 * 1024, after: 32 * 1024, little: 8 * 1024 };
}

/// Why a direction changed its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// To splice: it is bulk, or that was asked for always.
    Bulk,
    /// To copy: little came, twice in a row.
    Little,
    /// To copy: the source was said to have bytes, and splice found none; urgent data, mostly.
    Nothing,
    /// To copy: splice saw the end, which a receive confirms.
    End,
    /// To copy: no pipe is to be had.
    NoPipe,
}

/// What can happen to a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both sides are connected.
    Opened,
    /// The receive brought bytes.
    Received(Held),
    /// The receive found the end of the stream.
    EndOfStream,
    /// The receive, or the filling of a pipe, failed: the source is gone.
    RecvFailed,
    /// The receive found no buffer.
    NoBuffer,
    /// Buffers came back after [`Event::NoBuffer`].
    BufferFree,
    /// The send took so many bytes.
    Sent(u32),
    /// The send, or the draining of a pipe, failed: the destination is gone.
    SendFailed,
    /// The same, and the destination had ended before as it should: it had closed.
    DestinationEnded,
    /// The poll says that it is time to look again.
    Ready,
    /// The poll failed, or was cancelled.
    PollFailed,
    /// Bytes are in this pipe.
    Filled(PipeId),
    /// The source has nothing for a pipe now.
    FilledNothing,
    /// The source has ended, as far as a pipe can tell.
    FilledEnd,
    /// There is no pipe.
    NoPipe,
    /// The destination took so many bytes; an empty pipe has been given back.
    Drained {
        /// How many; none if it takes nothing now.
        bytes: u32,
        /// Whether the pipe is empty.
        empty: bool,
    },
}

impl Event {
    /// Whether bytes came or went, or something ended: what an idle timeout waits for.
    #[must_use]
    pub const fn is_progress(self) -> bool {
        match self {
            Self::NoBuffer
            | Self::BufferFree
            | Self::Ready
            | Self::FilledNothing
            | Self::NoPipe => false,
            Self::Drained { bytes, .. } => bytes > 0,
            Self::Opened
            | Self::Received(_)
            | Self::EndOfStream
            | Self::RecvFailed
            | Self::Sent(_)
            | Self::SendFailed
            | Self::DestinationEnded
            | Self::PollFailed
            | Self::Filled(_)
            | Self::FilledEnd => true,
        }
    }
}

/// What a direction wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Receive; `release` is empty and goes back first.
    Recv {
        /// The buffer that has been sent completely.
        release: Option<BufferId>,
        /// Whether bytes are probably there already.
        ready: bool,
        /// Why the bytes are copied from now on, if they were not before.
        change: Option<PathChange>,
    },
    /// Send these bytes, of which none or some were sent before.
    Send(Held),
    /// Be told when buffers are free.
    AwaitBuffer,
    /// Fill a pipe from the source, now; `release` is empty and goes back first.
    Fill {
        /// The buffer that has been sent completely.
        release: Option<BufferId>,
        /// Why the bytes are spliced from now on, if they were not before.
        change: Option<PathChange>,
    },
    /// Empty the pipe into the destination, now.
    Drain(PipeId),
    /// Wait until the source has bytes.
    PollSource,
    /// Wait until the destination takes bytes.
    PollDestination,
    /// The end was reached: tell the destination.
    Finish,
    /// The source is gone.
    SourceGone,
    /// The destination is gone; what was held is given back.
    DestinationGone(Holder),
}

/// The kernel answered something that was not asked. Our bug or the driver's; it is counted, and
/// what came with it is not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unexpected {
    /// To be given back.
    pub holder: Option<Holder>,
}

/// What the kernel holds for a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// A receive from the source.
    Recv,
    /// A send to the destination.
    Send,
    /// A poll of either.
    Poll,
}

impl Unexpected {
    pub(crate) fn at(event: Event) -> Self {
        let holder = match event {
            Event::Received(held) => Some(Holder::Buffer(held.buffer)),
            Event::Filled(pipe) => Some(Holder::Pipe(pipe)),
            _ => None,
        };
        Self { holder }
    }
}
