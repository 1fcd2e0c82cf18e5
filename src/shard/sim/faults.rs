//! What the simulated kernel and network do to us, how likely each is in a run, and how often it
//! was done.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident: $at_most:literal,)*) => {
        /// A kind of misfortune, with the largest probability that it is given, in thousandths.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            pub(super) const ALL: &[(Self, &'static str, u32)] =
                &[$((Self::$name, stringify!($name), $at_most),)*];
        }
    };
}

faults! {
    /// A receive brings less than there is.
    ShortRecv: 900,
    /// The flag "there is more" of a receive is wrong; it is only a hint.
    WrongMore: 900,
    /// A receive finds no buffer although there is one.
    NoBuffer: 500,
    /// A send takes less than there is room for.
    ShortSend: 900,
    /// A look into a socket with bytes brings none into a pipe: urgent data stands before them.
    SpliceNothing: 500,
    /// The same with a FIN behind them: the look says that the stream has ended.
    SpliceEnd: 500,
    /// A pipe takes less than there is.
    ShortFill: 900,
    /// A pipe gives less than there is room for.
    ShortDrain: 900,
    /// There is no pipe to be had.
    NoPipe: 300,
    /// An operation starts late.
    Late: 700,
    /// Some of what has completed is told in a later turn.
    HeldBack: 800,
    /// A wait ends with nothing (`EINTR`).
    EmptyWait: 300,
    /// An operation does what it was asked although it was cancelled before.
    CancelledTooLate: 900,
    /// A connect is refused, or fails otherwise.
    ConnectRefused: 500,
    /// A connect is never answered.
    ConnectLost: 400,
    /// No socket to connect with, or no local port.
    ConnectImpossible: 300,
    /// The connection was made although the connect was cancelled; the backend has seen it.
    ConnectedAnyway: 900,
    /// A new connection has no room for a few words.
    ShortHeader: 100,
    /// An accept finds a connection that is gone.
    AcceptAborted: 300,
    /// An accept finds no descriptor or memory.
    AcceptExhausted: 300,
}

/// How likely each kind is, and how often it struck.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    per_mille: [u32; Fault::ALL.len()],
    pub(super) struck: [u64; Fault::ALL.len()],
}

impl Faults {
    pub(super) const fn none() -> Self {
        Self { per_mille: [0; Fault::ALL.len()], struck: [0; Fault::ALL.len()] }
    }

    /// Some runs have none, some a few of each, some much of a few, some much of all.
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let mut faults = Self::none();
        let kind = rng.u8(..4);
        for (fault, _, at_most) in Fault::ALL {
            faults.per_mille[*fault as usize] = match kind {
                0 => 0,
                1 => rng.u32(..=at_most / 10),
                2 if rng.bool() => 0,
                _ => rng.u32(..=*at_most),
            };
        }
        faults
    }

    /// The same without those that a peer could tell from a healthy balancer.
    pub(super) fn without_the_visible(mut self) -> Self {
        for fault in [
            Fault::ConnectRefused,
            Fault::ConnectLost,
            Fault::ConnectImpossible,
            Fault::ShortHeader,
            Fault::AcceptAborted,
        ] {
            self.per_mille[fault as usize] = 0;
        }
        self
    }

    /// Whether `fault` happens this time.
    pub(super) fn strike(&mut self, fault: Fault, rng: &mut fastrand::Rng) -> bool {
        let struck = rng.u32(..1000) < self.per_mille[fault as usize];
        self.struck[fault as usize] += u64::from(struck);
        struck
    }
}
