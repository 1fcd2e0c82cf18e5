//! The ring, its buffers and its sockets: everything in evenkeel that needs `unsafe`, behind an
//! interface that does not.
//!
//! Both programs stand on this crate: the balancer's data path and the load generator's engine. It
//! owns the memory that is lent to the kernel (the buffer ring, the addresses of queued connects)
//! and the translation of completions into [`Completion`]s. For hosts without io_uring there is a
//! [`Poller`], with the calls that go with it. The crate knows nothing of sessions, backends or
//! requests; whom an operation belongs to travels through the kernel as a [`Token`], and a [`Slots`]
//! finds who that is.
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use uring::{Config, Outcome, Owner, Readiness, Ring};
//!
//! let (here, there) = UnixStream::pair()?;
//! let mut ring = Ring::new(&Config::default())?;
//! ring.recv(&here, Readiness::Unknown, Owner::slot(0));
//! std::io::Write::write_all(&mut &there, b"hello")?;
//! ring.submit_and_wait(1, None)?;
//! let mut completions = Vec::with_capacity(16);
//! ring.completions(&mut completions);
//! let Outcome::Received { buffer, len, .. } = completions.pop().unwrap().outcome else { panic!() };
//! assert_eq!(ring.bytes(buffer, 0..len), b"hello");
//! ring.release(buffer);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buffers;
mod cgroup;
mod completion;
mod cpu_list;
mod enter;
mod host;
mod inherit;
mod listen;
mod nonblocking;
mod offload;
mod option;
mod pipe;
mod poller;
mod ring;
mod self_test;
mod setup;
mod slots;
mod socket;
mod sqe;
mod tcp_info;
mod token;
mod unix;
mod wake;

pub use buffers::BufferId;
pub use cgroup::{CpuQuota, cpu_quota};
pub use completion::{Completion, Outcome};
pub use cpu_list::{CpuList, CpuListError};
pub use host::{
    NofileLimit, allowed_cpus, give_way, kernel_release, monotonic_ns, online_cpus, pin_to,
    raise_nofile_limit, refuse_huge_pages, sysctl, thread_cpu_ns,
};
pub use inherit::{InheritError, inherited, inherited_listener, passing_on};
pub use listen::{
    Listen, ListenError, ListenOptions, check_listen, check_unused, listen, listen_as,
    listen_options, refuse_new_connections, set_backlog,
};
pub use nix::errno::Errno;
pub use nonblocking::{
    is_gone, take_error, try_accept, try_connect, try_discard, try_peek, try_recv, try_send,
};
pub use offload::{Offloads, offloads};
pub use pipe::{Pipe, Spliced};
pub use poller::Poller;
pub use ring::{Readiness, Ring, RingCounters};
pub use self_test::self_test;
pub use setup::{Config, SetupError, SetupFlags, errno};
pub use slots::Slots;
pub use socket::{
    ConnectOptions, FixedBuffers, can_meet_itself, close_with_reset, finish_writing, fixed_buffers,
    is_connected_to_itself, is_on_this_host, local_address, original_destination, peer_address,
    set_nodelay, shares_its_port, stream_socket,
};
pub use tcp_info::{TcpInfo, has_delivered_all};
pub use token::{Op, Owner, Token};
pub use unix::{SocketFile, UnixListen, UnixListenError, check_unix, listen_unix};
pub use wake::{WakeSource, Waker, wake_pair};
