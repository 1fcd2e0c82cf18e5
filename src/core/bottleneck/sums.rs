//! Times and counts that are summed: over intervals, sessions, shards.

/// Who was waited for, in microseconds of watched sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// For the client to read.
    pub client_window: u64,
    /// For the client to go on with what it is saying.
    pub client_upload: u64,
    /// For the client to say something; nothing is due.
    pub client_silence: u64,
    /// For the backend to read.
    pub backend_window: u64,
    /// For the backend to say something, or to go on with it.
    pub backend_answer: u64,
    /// For the network between the client and here.
    pub client_network: u64,
    /// For the network between here and the backend.
    pub backend_network: u64,
    /// For the balancer: its buffers were the limit.
    pub balancer: u64,
}

impl Waited {
    /// How many there are.
    pub const PARTS: usize = 8;

    /// For the client in any way.
    #[must_use]
    pub const fn client(&self) -> u64 {
        self.client_window + self.client_upload + self.client_silence
    }

    /// For the backend in any way.
    #[must_use]
    pub const fn backend(&self) -> u64 {
        self.backend_window + self.backend_answer
    }

    /// Each of them, in their order.
    #[must_use]
    pub const fn parts(&self) -> [u64; Self::PARTS] {
        [
            self.client_window,
            self.client_upload,
            self.client_silence,
            self.backend_window,
            self.backend_answer,
            self.client_network,
            self.backend_network,
            self.balancer,
        ]
    }

    /// The inverse of [`Waited::parts`].
    #[must_use]
    pub const fn of_parts(parts: [u64; Self::PARTS]) -> Self {
        let [
            client_window,
            client_upload,
            client_silence,
            backend_window,
            backend_answer,
            client_network,
            backend_network,
            balancer,
        ] = parts;
        Self {
            client_window,
            client_upload,
            client_silence,
            backend_window,
            backend_answer,
            client_network,
            backend_network,
            balancer,
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.parts().into_iter().fold(0, u64::saturating_add)
    }

    /// Makes each part smaller by the same factor if there is more than `most`.
    pub(super) fn scale_down_to(&mut self, most: u64) {
        let total = self.total();
        if total > most {
            let part = |part: u64| u128::from(part) * u128::from(most) / u128::from(total);
            let scaled = self.parts().map(|one| u64::try_from(part(one)).unwrap_or(most));
            *self = Self::of_parts(scaled);
        }
    }
}

/// What samples of a backend's sessions add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Intervals that this is made of.
    pub samples: u64,
    /// What they were divided into.
    pub waited: Waited,
    /// Segments with data that were sent to clients.
    pub client_segments: u64,
    /// Those of them that were sent again.
    pub client_retransmits: u64,
    /// Segments with data that were sent to the backend.
    pub backend_segments: u64,
    /// Those of them that were sent again.
    pub backend_retransmits: u64,
}

impl Sums {
    /// What has come since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        self.with(more, u64::saturating_add)
    }

    fn with(&self, other: &Self, each: fn(u64, u64) -> u64) -> Self {
        let (own, others) = (self.waited.parts(), other.waited.parts());
        let waited = std::array::from_fn(|part| each(own[part], others[part]));
        Self {
            samples: each(self.samples, other.samples),
            waited: Waited::of_parts(waited),
            client_segments: each(self.client_segments, other.client_segments),
            client_retransmits: each(self.client_retransmits, other.client_retransmits),
            backend_segments: each(self.backend_segments, other.backend_segments),
            backend_retransmits: each(self.backend_retransmits, other.backend_retransmits),
        }
    }
}
