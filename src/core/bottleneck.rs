//! Who holds a session up: from what the kernel says of its two sockets at two moments, and from who
//! spoke last, to shares of the time in between; and from the sums of these to one sentence.
//!
//! ```text
//!            client's socket                        backend's socket
//!  rwnd-limited    the client does not read    rwnd-limited    the backend does not read
//!  sndbuf-limited  the balancer                sndbuf-limited  the balancer
//!  busy otherwise  the network, if segments were lost or more was to be sent than the network took
//!  what is left    somebody is to say something: talk.rs knows who
//! ```
//!
//! Busy alone says nothing: between a request and its answer there is something to be acknowledged
//! nearly all the time, because the acknowledgement comes with the answer.

mod sums;
mod talk;
mod verdict;

pub use sums::{Sums, Waited};
pub use talk::{Floor, Talk};
pub use verdict::{Ended, Load, Verdict, Watched, Who, verdict};

/// What the kernel says of one TCP socket at a moment; counts and times are of its whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Smoothed round trip.
    pub rtt_us: u32,
    /// The shortest round trip of the last minutes.
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

/// One socket at two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// The earlier one.
    pub before: Sample,
    /// The later one.
    pub after: Sample,
}

/// A session between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// How long that was.
    pub us: u64,
    /// The client's socket, if it is one of TCP.
    pub client: Option<Pair>,
    /// The backend's, if it is one of TCP.
    pub backend: Option<Pair>,
    /// Who was to speak.
    pub floor: Floor,
}

impl Interval {
    /// How the time is divided among those who were waited for; the parts make up the whole.
    #[must_use]
    pub fn shares(&self) -> Waited {
        let [client, backend] = [self.client, self.backend].map(|pair| self.claims(pair));
        let mut waited = Waited {
            client_window: client.window,
            client_network: client.network,
            backend_window: backend.window,
            backend_network: backend.network,
            balancer: client.buffer + backend.buffer,
            ..Waited::default()
        };
        // Both directions can be held up at a time.
        waited.scale_down_to(self.us);
        let left = self.us - waited.total();
        *match self.floor {
            Floor::Client => &mut waited.client_silence,
            Floor::ClientStreams => &mut waited.client_upload,
            Floor::Backend | Floor::BackendStreams => &mut waited.backend_answer,
            Floor::Balancer => &mut waited.balancer,
        } += left;
        waited
    }

    /// What is added to the sums of a backend.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let [client, backend] = [self.client, self.backend].map(Option::unwrap_or_default);
        Sums {
            samples: 1,
            waited: self.shares(),
            client_segments: client.segments_sent().into(),
            client_retransmits: client.retransmits().into(),
            backend_segments: backend.segments_sent().into(),
            backend_retransmits: backend.retransmits().into(),
        }
    }

    fn claims(&self, pair: Option<Pair>) -> Claims {
        let Some(pair) = pair else { return Claims::default() };
        let since = |time: fn(&Sample) -> u64| time(&pair.after).saturating_sub(time(&pair.before));
        let window = since(|sample| sample.rwnd_limited_us).min(self.us);
        let buffer = since(|sample| sample.sndbuf_limited_us).min(self.us - window);
        let busy = since(|sample| sample.busy_us).min(self.us);
        let in_flight = busy.saturating_sub(window + buffer);
        let network = if pair.is_congested() {
            in_flight
        } else if matches!(self.floor, Floor::Client | Floor::Backend) {
            in_flight.min(pair.far_us())
        } else {
            0
        };
        Claims { window, buffer, network }
    }
}

/// What of an interval one socket explains.
#[derive(Clone, Copy, Debug, Default)]
struct Claims {
    window: u64,
    buffer: u64,
    network: u64,
}

impl Pair {
    fn segments_sent(&self) -> u32 {
        self.after.segments_sent.wrapping_sub(self.before.segments_sent)
    }

    fn retransmits(&self) -> u32 {
        self.after.retransmits.wrapping_sub(self.before.retransmits)
    }

    /// Whether what was in flight was held up by the network: something was lost, or more was to be
    /// sent than it took.
    fn is_congested(&self) -> bool {
        let Self { before, after } = self;
        // A receiver that has nothing to say acknowledges after 40 ms (TCP_DELACK_MIN), so what stays
        // without an answer for a whole interval is lost, or the way is as long as that.
        let is_stuck = before.segments_unacked > 0
            && after.segments_unacked > 0
            && after.bytes_acked == before.bytes_acked;
        after.bytes_unsent > 0 || self.retransmits() > 0 || after.recovers || is_stuck
    }

    /// How much of a dialogue is the way there and back. Near peers answer as fast as they work.
    fn far_us(&self) -> u64 {
        let Self { before, after } = self;
        let rtt_us = after.rtt_us_min;
        if !(FAR_US..u32::MAX).contains(&rtt_us) {
            return 0;
        }
        let said = u64::from(self.segments_sent()) + u64::from(before.segments_unacked);
        let heard = after.segments_received.wrapping_sub(before.segments_received);
        // An answer may be on its way still.
        said.min(u64::from(heard) + 1).saturating_mul(rtt_us.into())
    }
}

/// A round trip within a data centre is shorter, and nobody would call it the bottleneck.
const FAR_US: u32 = 1000;

#[cfg(test)]
mod tests;
