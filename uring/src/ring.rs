//! The ring: operations are queued, submitted together, and answered as [`Completion`]s.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::errno::Errno;
use socket2::SockAddr;

use crate::buffers::Buffers;
use crate::enter::Enter;
use crate::setup::{self, errno};
use crate::sqe::{IORING_ACCEPT_POLL_FIRST, with_ioprio};
use crate::{BufferId, Completion, Config, Op, Outcome, Owner, SetupError, SetupFlags, Token};

/// One ring with its buffers. It belongs to the thread that made it (`IORING_SETUP_SINGLE_ISSUER`),
/// so it is neither `Send` nor `Sync`.
///
/// Operations are queued by the methods named after them and start at the next
/// [`submit_and_wait`](Self::submit_and_wait); completions arrive only there
/// (`IORING_SETUP_DEFER_TASKRUN`). Dropping the ring cancels what is in flight and waits for it.
///
/// A queued operation names its file by number. A file that is closed by other means than
/// [`Ring::close`] must have nothing queued or in flight, or the operation meets whatever file got
/// the number next.
pub struct Ring {
    /// Before `buffers`: the ring must be gone before the memory is.
    ring: IoUring,
    buffers: Buffers,
    reserved: Vec<BufferId>,
    /// Addresses of queued connects; the kernel copies them while it prepares the operation, that
    /// is before io_uring_enter(2) returns (`io_connect_prep`, io_uring/net.c).
    addresses: Vec<SockAddr>,
    flags: SetupFlags,
    /// Whether the kernel knows `IORING_ACCEPT_POLL_FIRST`.
    accept_polls_first: bool,
    enter: Enter,
    /// Operations whose last completion has not been seen.
    in_flight: u32,
    counters: RingCounters,
    _single_issuer: PhantomData<Rc<()>>,
}

/// What happened on a ring that is worth knowing, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// Calls of io_uring_enter(2).
    pub enters: u64,
    /// The submission queue was full and was submitted early.
    pub sq_full: u64,
    /// Waits that the kernel answered with EBUSY: completions had overflowed.
    pub cq_overflow: u64,
    /// Cancels that found nothing to cancel: the operation had just ended.
    pub cancel_missed: u64,
    /// Closes that failed.
    pub close_failed: u64,
    /// Completions with `user_data` that nobody packed.
    pub foreign_cqe: u64,
}

/// What is known of a socket that is asked for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Probably empty: wait for it first (`IORING_RECVSEND_POLL_FIRST`), which saves a receive
    /// that would fail.
    Empty,
    /// There may be bytes: try at once.
    Unknown,
}

impl Readiness {
    const fn ioprio(self) -> u16 {
        match self {
            Self::Empty => IORING_RECVSEND_POLL_FIRST,
            Self::Unknown => 0,
        }
    }
}

impl Ring {
    /// A ring with registered buffers, ready for use by the calling thread only.
    ///
    /// # Errors
    /// A [`SetupError`] that names the cause and the cure.
    pub fn new(config: &Config) -> Result<Self, SetupError> {
        let (ring, no_sqarray) = setup::build(config)?;
        let params = ring.params();
        if !params.is_feature_ext_arg() || !params.is_feature_nodrop() {
            let what = "IORING_FEAT_EXT_ARG and IORING_FEAT_NODROP";
            return Err(SetupError::TooOld { kernel: crate::kernel_release(), what });
        }
        let no_iowait = params.is_feature_no_iowait();
        // Both came with 6.10, and only this one tells of itself.
        let accept_polls_first = params.is_feature_recvsend_bundle();
        let buffers = Buffers::map(config.published, config.buffers, config.buffer_bytes)
            .map_err(SetupError::Resources)?;
        let enter = Enter::new(&ring, no_iowait);
        let flags = SetupFlags {
            no_sqarray,
            no_iowait,
            registered_ring: enter.is_registered(),
            napi: config.busy_poll.is_some_and(|time| setup::register_napi(&ring, time)),
        };
        let addresses = Vec::with_capacity(params.sq_entries() as usize);
        let mut ring = Self {
            ring,
            buffers,
            reserved: Vec::new(),
            addresses,
            flags,
            accept_polls_first,
            enter,
            in_flight: 0,
            counters: RingCounters::default(),
            _single_issuer: PhantomData,
        };
        ring.register_buffers()?;
        let kept = config.buffers - config.reserved.min(config.buffers);
        (0..kept).for_each(|id| ring.buffers.release(BufferId(id)));
        ring.reserved = (kept..config.buffers).map(BufferId).collect();
        Ok(ring)
    }

    fn register_buffers(&mut self) -> Result<(), SetupError> {
        let (address, entries) = (self.buffers.ring_address(), self.buffers.entries());
        // SAFETY: the entries lie at `address`, `entries` of them, page aligned, and stay mapped
        // until after the ring is gone (field order, and `Drop`).
        let registered = unsafe {
            self.ring.submitter().register_buf_ring_with_flags(address, entries, BUFFER_GROUP, 0)
        };
        registered.map_err(|error| match errno(&error) {
            Errno::EINVAL => SetupError::TooOld {
                kernel: crate::kernel_release(),
                what: "IORING_REGISTER_PBUF_RING",
            },
            refused if setup::is_refusal(refused) => SetupError::Blocked(refused),
            _ => SetupError::Resources(error),
        })
    }

    /// The optional flags that the kernel granted.
    #[must_use]
    pub fn flags(&self) -> SetupFlags {
        self.flags
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> RingCounters {
        self.counters
    }

    /// Operations whose completion has not been seen yet; cancels and closes included.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Takes one connection from `listener`. Where the kernel can, it waits for one first: an accept
    /// that tries first and finds nobody has made a file and a socket in vain, which costs more than
    /// the wait (docs/decisions/0005-accept-forms.md).
    pub fn accept(&mut self, listener: &impl AsFd, owner: Owner) {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let entry = opcode::Accept::new(raw(listener), std::ptr::null_mut(), std::ptr::null_mut())
            .flags(flags)
            .build();
        let ioprio = if self.accept_polls_first { IORING_ACCEPT_POLL_FIRST } else { 0 };
        self.push(with_ioprio(entry, ioprio), Op::Accept, owner);
    }

    /// Connects `socket` to `address`.
    pub fn connect(&mut self, socket: &impl AsFd, address: &SockAddr, owner: Owner) {
        // Before the address is taken: `push` must not flush between the address and its entry.
        if self.addresses.len() == self.addresses.capacity() || self.ring.submission().is_full() {
            self.flush();
        }
        self.addresses.push(address.clone());
        let address = &self.addresses[self.addresses.len() - 1];
        let entry = opcode::Connect::new(raw(socket), address.as_ptr().cast(), address.len());
        self.push(entry.build(), Op::Connect, owner);
    }

    /// Receives into a buffer that the kernel picks when bytes are there. Fails with ENOBUFS when
    /// no buffer is published at that moment.
    pub fn recv(&mut self, socket: &impl AsFd, readiness: Readiness, owner: Owner) {
        let entry = opcode::Recv::new(raw(socket), std::ptr::null_mut(), 0)
            .buf_group(BUFFER_GROUP)
            .ioprio(readiness.ioprio())
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push(entry, Op::Recv, owner);
    }

    /// Receives up to `bytes` from a TCP connection and drops them in the kernel, without a copy and
    /// without a buffer (`MSG_TRUNC`, tcp(7)); the outcome says how many.
    pub fn discard(&mut self, socket: &impl AsFd, bytes: u32, readiness: Readiness, owner: Owner) {
        let entry = opcode::Recv::new(raw(socket), std::ptr::null_mut(), bytes)
            .flags(libc::MSG_TRUNC)
            .ioprio(readiness.ioprio())
            .build();
        self.push(entry, Op::Recv, owner);
    }

    /// Sends `range` of a held buffer, or as much of it as there is room for. The buffer must not be
    /// released before the completion, or the peer may get what is received into it next.
    ///
    /// A failure is always told by the send that met it, so a receive which then finds the end of
    /// the stream, because the error was told once, comes after it.
    pub fn send(&mut self, socket: &impl AsFd, buffer: BufferId, range: Range<u32>, owner: Owner) {
        self.push_send(socket, buffer, range, 0, owner);
    }

    /// Sends the whole of `range` as [`Ring::send`] does: the kernel repeats short sends
    /// (`MSG_WAITALL`, 5.19). The result is short when the connection fails half-way, and that
    /// failure is then told to nobody: not for relaying, where a receive would see a clean end.
    pub fn send_whole(
        &mut self,
        socket: &impl AsFd,
        buffer: BufferId,
        range: Range<u32>,
        owner: Owner,
    ) {
        self.push_send(socket, buffer, range, libc::MSG_WAITALL, owner);
    }

    fn push_send(
        &mut self,
        socket: &impl AsFd,
        buffer: BufferId,
        range: Range<u32>,
        flags: i32,
        owner: Owner,
    ) {
        let len = range.end - range.start;
        let (pointer, _) = self.buffers.span(buffer, range);
        let entry =
            opcode::Send::new(raw(socket), pointer, len).flags(libc::MSG_NOSIGNAL | flags).build();
        self.push(entry, Op::Send, owner);
    }

    /// Waits, once, until `file` is readable.
    pub fn poll_readable(&mut self, file: &impl AsFd, owner: Owner) {
        self.poll(file, libc::POLLIN, owner);
    }

    /// Waits, once, until `file` is writable.
    pub fn poll_writable(&mut self, file: &impl AsFd, owner: Owner) {
        self.poll(file, libc::POLLOUT, owner);
    }

    #[expect(clippy::cast_sign_loss, reason = "poll(2) events are small positive bits")]
    fn poll(&mut self, file: &impl AsFd, events: libc::c_short, owner: Owner) {
        let entry = opcode::PollAdd::new(raw(file), events as u32).build();
        self.push(entry, Op::Poll, owner);
    }

    /// Does nothing but come back.
    pub fn nop(&mut self, owner: Owner) {
        self.push(opcode::Nop::new().build(), Op::Nop, owner);
    }

    /// Asks for the end of one operation. The answer that counts is the operation's own
    /// completion: `ECANCELED`, or whatever it did just before.
    pub fn cancel(&mut self, target: Token) {
        let entry = opcode::AsyncCancel::new(target.pack()).build();
        self.push(entry, Op::Cancel, target.owner);
    }

    /// Closes `file` with the next submission. Nothing may be in flight on it
    /// (closing does not end pending operations).
    pub fn close(&mut self, file: OwnedFd) {
        let entry = opcode::Close::new(Fd(file.into_raw_fd())).build();
        self.push(entry, Op::Close, Owner::slot(0));
    }

    fn push(&mut self, entry: squeue::Entry, op: Op, owner: Owner) {
        let entry = entry.user_data(Token { op, owner }.pack());
        self.in_flight += 1;
        // SAFETY: every pointer in `entry` is either null, into `buffers` (mapped until nothing is
        // in flight, see `Drop`), or into `addresses` (stable until submitted, see `flush`).
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.counters.sq_full += 1;
            self.flush();
        }
    }

    /// Submits everything that is queued, without waiting for completions.
    fn flush(&mut self) {
        let flushed = self.try_flush();
        assert!(flushed.is_ok(), "io_uring_enter refused a submission: {flushed:?}");
    }

    /// The same where a refusal can be lived with.
    fn try_flush(&mut self) -> io::Result<()> {
        // Receives may be among it: they find what was released before them.
        self.buffers.publish();
        while self.queued() > 0 {
            // Interrupted, or short of memory for a moment: the queue is still there, so again.
            if let Err(error) = self.enter(0, None)
                && !matches!(errno(&error), Errno::EINTR | Errno::EAGAIN | Errno::EBUSY)
            {
                return Err(error);
            }
        }
        self.addresses.clear();
        Ok(())
    }

    fn queued(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Submits what is queued and waits until `want` completions are there or `timeout` is over.
    ///
    /// # Errors
    /// Only what cannot be waited out: a ring that the kernel refuses.
    pub fn submit_and_wait(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        self.buffers.publish();
        let entered = self.enter(want, timeout);
        if self.queued() == 0 {
            self.addresses.clear();
        }
        match entered {
            Ok(()) => Ok(()),
            Err(error) => match errno(&error) {
                // Time is over, a signal came, or memory is short: the caller's loop comes again.
                Errno::ETIME | Errno::EINTR | Errno::EAGAIN => Ok(()),
                Errno::EBUSY => {
                    self.counters.cq_overflow += 1;
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    /// Submits what is queued and looks for completions for `time`, without sleeping; whether there
    /// is one. The ring must have been made with [`Config::busy_poll`].
    ///
    /// # Errors
    /// As [`Ring::submit_and_wait`].
    pub fn submit_and_spin(&mut self, time: Duration) -> io::Result<bool> {
        self.submit_and_wait(0, None)?;
        let started_ns = crate::monotonic_ns();
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        loop {
            if !self.ring.completion().is_empty() {
                return Ok(true);
            }
            if self.ring.submission().taskrun() {
                self.submit_and_wait(0, None)?;
            } else if crate::monotonic_ns() - started_ns >= time_ns {
                return Ok(false);
            } else {
                std::hint::spin_loop();
            }
        }
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.enters += 1;
        let to_submit = u32::try_from(self.queued()).expect("the queue has at most 32768 entries");
        self.enter.call(to_submit, want, timeout)
    }

    /// Appends the completions that are there to `out`, at most as many as its free capacity.
    pub fn completions(&mut self, out: &mut Vec<Completion>) {
        let Self { ring, buffers, in_flight, counters, .. } = self;
        let room = out.capacity() - out.len();
        for cqe in ring.completion().take(room) {
            debug_assert!(!cqueue::more(cqe.flags()), "no operation here is multishot");
            *in_flight -= 1;
            let Some(token) = Token::unpack(cqe.user_data()) else {
                counters.foreign_cqe += 1;
                continue;
            };
            match token.op {
                Op::Cancel => counters.cancel_missed += u64::from(cqe.result() < 0),
                Op::Close => counters.close_failed += u64::from(cqe.result() < 0),
                _ => out.push(Completion { token, outcome: outcome(token.op, &cqe, buffers) }),
            }
        }
    }

    /// Waits a moment for all that is in flight and drops what it brought; how much that was.
    fn reap(&mut self) -> u32 {
        let before = self.in_flight;
        // For all of it: a wait for one runs the work of about 20 completions and no more
        // (`IO_LOCAL_TW_DEFAULT_MAX`, io_uring/io_uring.c).
        let _ = self.submit_and_wait(before, Some(TEARDOWN_WAIT));
        let mut completions = Vec::with_capacity(256);
        loop {
            let unseen = self.in_flight;
            self.completions(&mut completions);
            completions.clear();
            if self.in_flight == unseen {
                return before - unseen;
            }
        }
    }

    /// The bytes of a buffer that the program holds.
    #[must_use]
    pub fn bytes(&self, buffer: BufferId, range: Range<u32>) -> &[u8] {
        self.buffers.bytes(buffer, range)
    }

    /// The whole of a buffer that the program holds, to be filled; not while a send from it is in
    /// flight.
    pub fn bytes_mut(&mut self, buffer: BufferId) -> &mut [u8] {
        self.buffers.bytes_mut(buffer)
    }

    /// Gives a buffer back for the next receives.
    pub fn release(&mut self, buffer: BufferId) {
        self.buffers.release(buffer);
    }

    /// One of the buffers that [`Config::reserved`] kept for the program.
    pub fn take_reserved(&mut self) -> Option<BufferId> {
        self.reserved.pop()
    }

    /// Buffers that receives can be answered in.
    #[must_use]
    pub fn buffers_free(&self) -> u16 {
        self.buffers.free()
    }

    /// Buffers that the program holds, reserved ones included.
    #[must_use]
    pub fn buffers_held(&self) -> u16 {
        self.buffers.held()
    }

    /// Bytes in each buffer.
    #[must_use]
    pub fn buffer_bytes(&self) -> u32 {
        self.buffers.buffer_bytes()
    }
}

impl Drop for Ring {
    /// Cancels what is in flight and waits until the kernel has let go of the buffers.
    fn drop(&mut self) {
        // Until the kernel has let go; also when this unwinds.
        self.buffers.keep_mapped(true);
        if self.try_flush().is_err() {
            // What was refused has not started, and never will.
            self.in_flight -=
                u32::try_from(self.queued()).expect("the queue has at most 32768 entries");
        }
        for _ in 0..TEARDOWN_TRIES {
            if self.in_flight == 0 {
                break;
            }
            let timeout = Timespec::from(TEARDOWN_WAIT);
            // ENOENT: nothing matched, which is what we want.
            let _ = self
                .ring
                .submitter()
                .register_sync_cancel(Some(timeout), CancelBuilder::any().all());
            while self.reap() > 0 {}
        }
        self.buffers.keep_mapped(self.in_flight > 0);
        self.enter.unregister();
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("flags", &self.flags)
            .field("in_flight", &self.in_flight)
            .field("buffers_free", &self.buffers.free())
            .finish_non_exhaustive()
    }
}

fn outcome(op: Op, cqe: &cqueue::Entry, buffers: &mut Buffers) -> Outcome {
    let buffer = cqueue::buffer_select(cqe.flags()).map(BufferId);
    if let Some(buffer) = buffer {
        buffers.note_filled(buffer);
    }
    let result = u32::try_from(cqe.result()).map_err(|_| Errno::from_raw(-cqe.result()));
    match (op, result, buffer) {
        (Op::Accept, Ok(fd), _) => {
            let fd = i32::try_from(fd).expect("it came as an i32");
            // SAFETY: the kernel installed this descriptor for our accept (`op` comes from the
            // user_data that only `Ring::accept` marks so), and this completion is its only owner.
            Outcome::Accepted(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        (Op::Recv, Ok(len @ 1..), Some(buffer)) => {
            Outcome::Received { buffer, len, more: cqueue::sock_nonempty(cqe.flags()) }
        }
        // A buffer that was picked for nothing goes straight back.
        (_, result, unused) => {
            unused.into_iter().for_each(|buffer| buffers.release(buffer));
            match (op, result) {
                (Op::Recv, Ok(0)) => Outcome::EndOfStream,
                (_, Ok(value)) => Outcome::Done(value),
                (_, Err(errno)) => Outcome::Failed(errno),
            }
        }
    }
}

fn raw(file: &impl AsFd) -> Fd {
    Fd(file.as_fd().as_raw_fd())
}

/// One group is enough: all receives of a ring share its buffers.
const BUFFER_GROUP: u16 = 0;
// include/uapi/linux/io_uring.h
const IORING_RECVSEND_POLL_FIRST: u16 = 1 << 0;

/// Cancelling takes microseconds; a ring that has not let go after a second never will, and its
/// memory is then left mapped rather than reused.
const TEARDOWN_TRIES: u32 = 100;
const TEARDOWN_WAIT: Duration = Duration::from_millis(10);
