//! The ring as it is.

use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use ::uring::{BufferId, Completion, Config, Owner, Readiness, Ring, SetupError, Token};
use socket2::SockAddr;

use super::{Io, Socket};

impl Io for Ring {
    fn open(config: &Config) -> Result<Self, SetupError> {
        Self::new(config)
    }

    #[inline]
    fn connect(&mut self, socket: &Socket, address: &SockAddr, owner: Owner) {
        Self::connect(self, socket, address, owner);
    }

    #[inline]
    fn send_whole(&mut self, socket: &Socket, buffer: BufferId, range: Range<u32>, owner: Owner) {
        Self::send_whole(self, socket, buffer, range, owner);
    }

    #[inline]
    fn recv(&mut self, socket: &Socket, readiness: Readiness, owner: Owner) {
        Self::recv(self, socket, readiness, owner);
    }

    #[inline]
    fn cancel(&mut self, target: Token) {
        Self::cancel(self, target);
    }

    #[inline]
    fn close(&mut self, socket: Socket) {
        if let Some(fd) = Rc::into_inner(socket) {
            Self::close(self, fd);
        }
    }

    fn reset(&mut self, socket: Socket) {
        if let Some(fd) = Rc::into_inner(socket) {
            ::uring::close_with_reset(fd);
        }
    }

    #[inline]
    fn submit_and_wait(&mut self, want: u32, timeout: Option<Duration>) -> std::io::Result<()> {
        Self::submit_and_wait(self, want, timeout)
    }

    #[inline]
    fn completions(&mut self, out: &mut Vec<Completion>) {
        Self::completions(self, out);
    }

    #[inline]
    fn bytes(&self, buffer: BufferId, range: Range<u32>) -> &[u8] {
        Self::bytes(self, buffer, range)
    }

    fn bytes_mut(&mut self, buffer: BufferId) -> &mut [u8] {
        Self::bytes_mut(self, buffer)
    }

    #[inline]
    fn release(&mut self, buffer: BufferId) {
        Self::release(self, buffer);
    }

    fn take_reserved(&mut self) -> Option<BufferId> {
        Self::take_reserved(self)
    }

    fn buffers_free(&self) -> u16 {
        Self::buffers_free(self)
    }
}
