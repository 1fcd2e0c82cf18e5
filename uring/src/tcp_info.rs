//! What the kernel knows of a TCP connection (`TCP_INFO`, tcp(7)).

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// A connection at a moment. Counts and times are of its whole life; what an older kernel does not
/// tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Smoothed round trip.
    pub rtt_us: u32,
    /// The shortest round trip of the last minutes (`net.ipv4.tcp_min_rtt_wlen`); `u32::MAX` before
    /// the first.
    pub rtt_us_min: u32,
    /// Segments with data that were sent, those that were sent again included.
    pub segments_sent: u32,
    /// Segments with data that came.
    pub segments_received: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
    /// Whether it is making up for a loss now.
    pub recovers: bool,
    /// Segments that are sent and not acknowledged now.
    pub segments_unacked: u32,
    /// How many of these there may be.
    pub congestion_window: u32,
    /// Bytes that were given to the kernel and are not sent yet.
    pub bytes_unsent: u32,
    /// Bytes that were sent and acknowledged.
    pub bytes_acked: u64,
    /// Time in which there was something to send or to be acknowledged.
    pub busy_us: u64,
    /// The part of it in which the peer's receive window was the limit.
    pub rwnd_limited_us: u64,
    /// The part of it in which the send buffer was the limit.
    pub sndbuf_limited_us: u64,
}

impl TcpInfo {
    /// Of `socket`; nothing if that is not a TCP socket.
    #[must_use]
    pub fn of(socket: &impl AsFd) -> Option<Self> {
        let raw = Raw::of(socket).ok()?;
        Some(Self {
            rtt_us: raw.rtt,
            rtt_us_min: raw.min_rtt,
            segments_sent: raw.data_segs_out,
            segments_received: raw.data_segs_in,
            retransmits: raw.total_retrans,
            recovers: raw.ca_state >= TCP_CA_RECOVERY || raw.retransmits > 0,
            segments_unacked: raw.unacked,
            congestion_window: raw.snd_cwnd,
            bytes_unsent: raw.notsent_bytes,
            bytes_acked: raw.bytes_acked,
            busy_us: raw.busy_time,
            rwnd_limited_us: raw.rwnd_limited,
            sndbuf_limited_us: raw.sndbuf_limited,
        })
    }
}

/// Whether the peer of a TCP connection has acknowledged everything and our end, and has not ended itself
/// (FIN_WAIT2).
#[must_use]
pub fn has_delivered_all(socket: &impl AsFd) -> bool {
    Raw::of(socket).is_ok_and(|raw| raw.state == TCP_FIN_WAIT2)
}

/// `struct tcp_info` (include/uapi/linux/tcp.h) as far as it is used here. It has only ever grown at
/// its end; the last of these fields are there since Linux 4.10.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Raw {
    state: u8,
    ca_state: u8,
    /// Timeouts in a row.
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    window_scales: u8,
    flags: u8,
    rto: u32,
    ato: u32,
    snd_mss: u32,
    rcv_mss: u32,
    unacked: u32,
    sacked: u32,
    lost: u32,
    retrans: u32,
    fackets: u32,
    last_data_sent: u32,
    last_ack_sent: u32,
    last_data_recv: u32,
    last_ack_recv: u32,
    pmtu: u32,
    rcv_ssthresh: u32,
    rtt: u32,
    rttvar: u32,
    snd_ssthresh: u32,
    snd_cwnd: u32,
    advmss: u32,
    reordering: u32,
    rcv_rtt: u32,
    rcv_space: u32,
    total_retrans: u32,
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
    delivery_rate: u64,
    busy_time: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
}

// As the kernel lays it out.
const _: () = assert!(std::mem::offset_of!(Raw, total_retrans) == 100);
const _: () = assert!(std::mem::offset_of!(Raw, notsent_bytes) == 144);
const _: () = assert!(size_of::<Raw>() == 192);

impl Raw {
    fn of(socket: &impl AsFd) -> Result<Self, Errno> {
        let mut raw = Self::default();
        let mut len = libc::socklen_t::try_from(size_of_val(&raw)).expect("a small structure");
        let fd = socket.as_fd().as_raw_fd();
        let to = (&raw mut raw).cast();
        // SAFETY: `socket` is borrowed, so the fd is open for the whole call; the kernel writes at most
        // `len` bytes to `raw` (tcp(7), do_tcp_getsockopt), in which every field is an integer that may
        // have any value, and how many to `len`, and keeps no pointer to either.
        let read =
            unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut len) };
        Errno::result(read).map(|_| raw)
    }
}

/// `TCP_CA_Recovery` (include/uapi/linux/tcp.h); what comes after it is `TCP_CA_Loss`.
const TCP_CA_RECOVERY: u8 = 3;
/// A state of TCP (include/net/tcp_states.h).
const TCP_FIN_WAIT2: u8 = 5;
