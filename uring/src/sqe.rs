//! What an entry of the submission queue can say and the `io-uring` crate has no words for.

use io_uring::squeue::Entry;

/// The entry with these bits in `ioprio`, which is where an accept has its flags.
pub(crate) fn with_ioprio(mut entry: Entry, bits: u16) -> Entry {
    let ioprio = (&raw mut entry).cast::<u16>().wrapping_add(IOPRIO / size_of::<u16>());
    // SAFETY: an `Entry` is a `struct io_uring_sqe` and nothing else (`repr(C)` around it, its size
    // is checked below), so `ioprio` points to two of its bytes, aligned as it is; nobody else has
    // the entry, and every value of these bytes is one of `__u16 ioprio`.
    unsafe { ioprio.write(bits) };
    entry
}

/// An accept waits for a connection before it tries to take one (6.10).
pub(crate) const IORING_ACCEPT_POLL_FIRST: u16 = 1 << 2;

/// The offset in `struct io_uring_sqe` (include/uapi/linux/io_uring.h).
const IOPRIO: usize = 2;
const _: () = assert!(size_of::<Entry>() == 64 && align_of::<Entry>() >= align_of::<u16>());

#[cfg(test)]
mod tests {
    use io_uring::{IoUring, opcode, types::Fd};
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn the_kernel_finds_the_bits_where_it_looks_for_an_accepts_flags() {
        let Ok(mut ring) = IoUring::new(2) else {
            assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs io_uring");
            return eprintln!("SKIPPED: needs io_uring");
        };
        let accept = opcode::Accept::new(Fd(-1), std::ptr::null_mut(), std::ptr::null_mut());
        let accept = accept.build();
        for (entry, errno) in [
            (accept.clone(), Errno::EBADF),
            // Bits that no kernel knows are refused before the descriptor is looked at.
            (with_ioprio(accept, 1 << 15), Errno::EINVAL),
        ] {
            // SAFETY: the entry has no pointer but null, and no descriptor.
            unsafe { ring.submission().push(&entry) }.expect("there is room for two");
            ring.submit_and_wait(1).expect("the ring works");
            let answer = ring.completion().next().expect("one was waited for");
            assert_eq!(Errno::from_raw(-answer.result()), errno);
        }
    }
}
