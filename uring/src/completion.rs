//! What the kernel answered, in terms that can only be used rightly.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::{BufferId, Token};

/// One answer of the kernel.
#[derive(Debug)]
pub struct Completion {
    /// What was asked, and by whom.
    pub token: Token,
    /// How it went.
    pub outcome: Outcome,
}

/// How an operation ended.
#[derive(Debug)]
pub enum Outcome {
    /// An accept: the connection, non-blocking and close-on-exec.
    Accepted(OwnedFd),
    /// A receive: `len` bytes, at least one, at the start of `buffer`, which is the program's
    /// until it is released.
    Received {
        /// Where the bytes are.
        buffer: BufferId,
        /// How many, at least 1.
        len: u32,
        /// Whether the socket held more when the kernel looked (`IORING_CQE_F_SOCK_NONEMPTY`).
        more: bool,
    },
    /// A receive: the peer has finished writing.
    EndOfStream,
    /// Any other operation: its result, for a send the number of bytes taken.
    Done(u32),
    /// The errno, named by the kernel's manual page of the operation.
    Failed(Errno),
}
