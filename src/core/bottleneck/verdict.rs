//! From sums to a sentence.

use super::sums::{Sums, Waited};

/// A backend, and what was seen of its sessions in the last seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// As `pool/backend`.
    pub name: String,
    /// What came together in that time.
    pub sums: Sums,
    /// Smoothed round trip to it.
    pub rtt_us: Option<u64>,
    /// Its sessions that ended in that time, watched or not.
    pub ended: Ended,
}

/// Sessions that have ended, from begin to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many.
    pub sessions: u64,
    /// How long they were, together.
    pub us: u64,
    /// How much of that their backends took to accept the connection and to say the first byte.
    pub first_byte_us: u64,
}

impl Ended {
    fn plus(self, other: Self) -> Self {
        Self {
            sessions: self.sessions + other.sessions,
            us: self.us + other.us,
            first_byte_us: self.first_byte_us + other.first_byte_us,
        }
    }

    /// Since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            sessions: self.sessions.saturating_sub(before.sessions),
            us: self.us.saturating_sub(before.us),
            first_byte_us: self.first_byte_us.saturating_sub(before.first_byte_us),
        }
    }

    /// Thousandths of the time until the first byte.
    fn waiting(self) -> u64 {
        permille(self.first_byte_us.min(self.us), self.us)
    }
}

/// What the shards' threads did in the last seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which shard.
    pub shard: usize,
    /// Thousandths of the time in which it worked, or would have if it had had its CPU.
    pub wanted: u32,
    /// Thousandths of the time in which it had to wait for its CPU.
    pub waited: u32,
}

/// Who holds the traffic up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Those who connect.
    Client,
    /// This program, or the machine that it runs on.
    Balancer,
    /// Those who answer.
    Backend,
    /// What lies in between.
    Network,
    /// There is nothing to hold up, or no one thing that does.
    Nobody,
}

impl Who {
    /// As the admin API says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Balancer => "balancer",
            Self::Backend => "backend",
            Self::Network => "network",
            Self::Nobody => "nobody",
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who it is.
    pub who: Who,
    /// Which backend, or to which the network is meant.
    pub backend: Option<String>,
    /// For people.
    pub sentence: String,
    /// What it was concluded from.
    pub evidence: String,
}

/// Says who it is, from what was seen in the last seconds.
#[must_use]
pub fn verdict(backends: &[Watched], loads: &[Load]) -> Verdict {
    let all = backends.iter().fold(Sums::default(), |sum, one| sum.plus(&one.sums));
    let case = Case { backends, loads, all, total: all.waited.total() };
    let (who, backend, sentence) = case.busy_shard().unwrap_or_else(|| case.of_sessions());
    Verdict { who, backend, sentence, evidence: case.evidence() }
}

type Answer = (Who, Option<String>, String);

/// All that is known.
struct Case<'a> {
    backends: &'a [Watched],
    loads: &'a [Load],
    all: Sums,
    /// Microseconds of watched sessions.
    total: u64,
}

/// What a session can be held up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    ClientWindow,
    ClientUpload,
    ClientNetwork,
    BackendWindow,
    BackendAnswer,
    BackendNetwork,
    Buffers,
}

impl Case<'_> {
    /// A shard that has no time left delays all that it does, whoever else is slow.
    fn busy_shard(&self) -> Option<Answer> {
        let Load { shard, wanted, waited } = *self.loads.iter().max_by_key(|load| load.wanted)?;
        if wanted < FULL {
            return None;
        }
        let (wanted, for_cpu) = (wanted / 10, waited / 10);
        let sentence = if for_cpu > wanted / 2 {
            format!(
                "The balancer is the bottleneck: shard {shard} has to wait for its CPU {for_cpu} % of \
                 the time; give it more CPU, or move away what else runs there"
            )
        } else {
            format!(
                "The balancer is the bottleneck: shard {shard} is at work {wanted} % of the time{}",
                if self.loads.len() == 1 { "; try more --shards" } else { "" }
            )
        };
        Some((Who::Balancer, None, sentence))
    }

    fn of_sessions(&self) -> Answer {
        if self.total < ENOUGH_US {
            return self.of_short_sessions();
        }
        let waited = &self.all.waited;
        let (cause, part) = greatest(waited, &CAUSES);
        if waited.client_silence < self.total / 2 && part >= share(self.total, CLEAR) {
            return self.answer(cause, part);
        }
        // One backend of many can be slow without being noticed in the whole.
        if let Some(answer) = self.outlier() {
            return answer;
        }
        let silence = percent(waited.client_silence, self.total);
        let sentence = match silence {
            50.. => format!(
                "Nobody is: {silence} % of the time sessions wait for their clients to say something"
            ),
            _ => "Nobody alone is: sessions wait a little for everybody".to_owned(),
        };
        (Who::Nobody, None, sentence)
    }

    /// Who ends before anybody looks is known by its beginning and its end only.
    fn of_short_sessions(&self) -> Answer {
        let ended = self.backends.iter().map(|one| one.ended);
        let all = ended.fold(Ended::default(), Ended::plus);
        if all.sessions == 0 {
            let sentence = "Nobody is: hardly a byte has moved in the last seconds";
            return (Who::Nobody, None, sentence.to_owned());
        }
        let long = format!("{} ms on average", tenths_of(all.us / all.sessions, 1000));
        let waiting = all.waiting().div_ceil(10);
        if all.waiting() < SHORT_CLEAR {
            let sentence = format!(
                "Nobody is, as far as can be seen: sessions are too short to be watched ({long}), and \
                 {waiting} % of their time passes until backends say the first byte"
            );
            return (Who::Nobody, None, sentence);
        }
        let counts = |one: &&Watched| one.ended.us >= share(all.us, SOME);
        let worst = self.backends.iter().filter(counts).max_by_key(|one| one.ended.waiting());
        let worst = worst.filter(|one| {
            let others = self.backends.iter().filter(|other| other.name != one.name);
            let others = others.map(|one| one.ended).fold(Ended::default(), Ended::plus);
            others.sessions == 0 || !alike(one.ended.waiting(), others.waiting())
        });
        let (who, share) = match worst {
            Some(one) => (format!("Backend {} is", one.name), one.ended.waiting().div_ceil(10)),
            None => ("The backends are".to_owned(), waiting),
        };
        let sentence = format!(
            "{who} the bottleneck: {share} % of the time of its sessions, which are short ({long}), \
             passes until its first byte"
        );
        let sentence = match worst {
            Some(_) => sentence,
            None => {
                sentence.replace("of its sessions", "of sessions").replace("its first", "the first")
            }
        };
        (Who::Backend, worst.map(|one| one.name.clone()), sentence)
    }

    fn answer(&self, cause: Cause, part: u64) -> Answer {
        let often = percent(part, self.total);
        let client =
            |what: &str| (Who::Client, None, format!("Clients are the bottleneck: {what}"));
        match cause {
            Cause::ClientWindow => {
                client(&format!("their receive windows are full {often} % of the time"))
            }
            Cause::ClientUpload => client(&format!(
                "{often} % of the time sessions wait for more of what they are sending"
            )),
            Cause::ClientNetwork => {
                let how =
                    how_network(self.all.client_retransmits, self.all.client_segments, often, None);
                (Who::Network, None, format!("The network to clients {how}"))
            }
            Cause::Buffers => {
                let sentence = format!(
                    "The balancer is the bottleneck: its buffers are full {often} % of the time; \
                     raise net.ipv4.tcp_wmem or --buffers"
                );
                (Who::Balancer, None, sentence)
            }
            Cause::BackendWindow | Cause::BackendAnswer | Cause::BackendNetwork => {
                let worst = self.worst(cause);
                let own = permille(cause.of(&worst.sums.waited), total(worst));
                match self.others(cause, worst) {
                    // It is as good or bad as the others.
                    Some(others) if alike(own, others) => self.of_all_backends(cause, often),
                    _ => self.of_backend(cause, worst),
                }
            }
        }
    }

    /// The backend that is waited for most, of those with some share in the sessions.
    fn worst(&self, cause: Cause) -> &Watched {
        let counts = |one: &&Watched| total(one) >= share(self.total, SOME);
        let by_share = |one: &&Watched| permille(cause.of(&one.sums.waited), total(one));
        let worst = self.backends.iter().filter(counts).max_by_key(by_share);
        worst.or(self.backends.first()).expect("there are samples of some backend")
    }

    /// A backend that holds its own sessions up, unlike the others.
    fn outlier(&self) -> Option<Answer> {
        self.backends.iter().filter(|one| total(one) >= ENOUGH_US).find_map(|one| {
            let (cause, part) = greatest(&one.sums.waited, &OF_BACKEND);
            let (own, others) = (permille(part, total(one)), self.others(cause, one)?);
            (own >= 500 && others <= own / 2).then(|| self.of_backend(cause, one))
        })
    }

    /// The same cause with all others, in thousandths of their time.
    fn others(&self, cause: Cause, one: &Watched) -> Option<u64> {
        let others = self.all.since(&one.sums).waited;
        (others.total() > 0).then(|| permille(cause.of(&others), others.total()))
    }

    fn of_all_backends(&self, cause: Cause, often: u64) -> Answer {
        let backends = "The backends are the bottleneck";
        match cause {
            Cause::BackendNetwork => {
                let Sums { backend_retransmits, backend_segments, .. } = self.all;
                let how = how_network(backend_retransmits, backend_segments, often, None);
                (Who::Network, None, format!("The network to backends {how}"))
            }
            Cause::BackendWindow => {
                let how = format!("their receive windows are full {often} % of the time");
                (Who::Backend, None, format!("{backends}: {how}"))
            }
            _ => {
                let how = format!("{often} % of the time sessions wait for their answers");
                (Who::Backend, None, format!("{backends}: {how}, of one as of the others"))
            }
        }
    }

    fn of_backend(&self, cause: Cause, one: &Watched) -> Answer {
        let name = &one.name;
        let often = percent(cause.of(&one.sums.waited), total(one));
        let others = self.others(cause, one);
        let others = others.map(|share| format!(" (the others: {} %)", (share + 5) / 10));
        let others = others.unwrap_or_default();
        let backend = format!("Backend {name} is the bottleneck");
        let (who, sentence) = match cause {
            Cause::BackendWindow => (
                Who::Backend,
                format!("{backend}: its receive windows are full {often} % of the time{others}"),
            ),
            Cause::BackendNetwork => {
                let (again, of) = (one.sums.backend_retransmits, one.sums.backend_segments);
                let how = how_network(again, of, often, one.rtt_us);
                (Who::Network, format!("The network to backend {name} {how}"))
            }
            _ => (
                Who::Backend,
                format!("{backend}: {often} % of the time sessions wait for its answers{others}"),
            ),
        };
        (who, Some(name.clone()), sentence)
    }

    fn evidence(&self) -> String {
        let Sums { samples, waited, .. } = self.all;
        let part = |part: u64| percent(part, self.total);
        let mut parts = vec![format!(
            "{samples} samples; waiting for clients to speak {} %, to send {} %, to read {} %, for \
             backends to answer {} %, to read {} %, for the network to clients {} %, to backends {} %, \
             for buffers {} %",
            part(waited.client_silence),
            part(waited.client_upload),
            part(waited.client_window),
            part(waited.backend_answer),
            part(waited.backend_window),
            part(waited.client_network),
            part(waited.backend_network),
            part(waited.balancer),
        )];
        let Sums { client_retransmits, client_segments, .. } = self.all;
        let Sums { backend_retransmits, backend_segments, .. } = self.all;
        parts.push(format!(
            "sent again {} to clients, {} to backends",
            tenths(client_retransmits, client_segments),
            tenths(backend_retransmits, backend_segments),
        ));
        if !self.loads.is_empty() {
            let loads = self.loads.iter().map(|load| format!("{} %", load.wanted / 10));
            parts.push(format!("shards at work {}", loads.collect::<Vec<_>>().join(", ")));
        }
        parts.join("; ")
    }
}

impl Cause {
    const fn of(self, waited: &Waited) -> u64 {
        match self {
            Self::ClientWindow => waited.client_window,
            Self::ClientUpload => waited.client_upload,
            Self::ClientNetwork => waited.client_network,
            Self::BackendWindow => waited.backend_window,
            Self::BackendAnswer => waited.backend_answer,
            Self::BackendNetwork => waited.backend_network,
            Self::Buffers => waited.balancer,
        }
    }
}

fn greatest(waited: &Waited, causes: &[Cause]) -> (Cause, u64) {
    let parts = causes.iter().map(|&cause| (cause, cause.of(waited)));
    parts.max_by_key(|&(_, part)| part).expect("there are causes")
}

fn how_network(again: u64, of: u64, often: u64, rtt_us: Option<u64>) -> String {
    if permille(again, of) >= LOSSY {
        return format!(
            "loses segments: {} are sent again, which holds sessions up {often} % of the time",
            tenths(again, of)
        );
    }
    let far = rtt_us.filter(|&rtt_us| rtt_us >= 1000).map(|rtt_us| {
        format!(" (a round trip takes {}.{} ms)", rtt_us / 1000, rtt_us % 1000 / 100)
    });
    let far = far.unwrap_or_default();
    format!("is the bottleneck: sessions wait for it {often} % of the time{far}")
}

fn total(one: &Watched) -> u64 {
    one.sums.waited.total()
}

/// `thousandths` of `whole`.
fn share(whole: u64, thousandths: u64) -> u64 {
    whole / 1000 * thousandths
}

fn permille(part: u64, whole: u64) -> u64 {
    rounded(part, whole, 1000)
}

fn percent(part: u64, whole: u64) -> u64 {
    rounded(part, whole, 100)
}

/// Whether two shares are so near that neither is the one to blame.
fn alike(own: u64, others: u64) -> bool {
    own.abs_diff(others) <= own / 5
}

/// As in `2.1 %`.
fn tenths(part: u64, whole: u64) -> String {
    let permille = permille(part, whole);
    format!("{}.{} %", permille / 10, permille % 10)
}

/// As in `2.1`.
fn tenths_of(part: u64, whole: u64) -> String {
    let tenths = rounded(part, whole, 10);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn rounded(part: u64, whole: u64, of: u64) -> u64 {
    if whole == 0 {
        return 0;
    }
    part.saturating_mul(of).saturating_add(whole / 2) / whole
}

const CAUSES: [Cause; 7] = [
    Cause::ClientWindow,
    Cause::ClientUpload,
    Cause::ClientNetwork,
    Cause::BackendWindow,
    Cause::BackendAnswer,
    Cause::BackendNetwork,
    Cause::Buffers,
];

const OF_BACKEND: [Cause; 3] = [Cause::BackendWindow, Cause::BackendAnswer, Cause::BackendNetwork];

/// Thousandths of its time from which on a shard is the bottleneck.
const FULL: u32 = 900;

/// Thousandths of the time that one cause has to have to be called the bottleneck.
const CLEAR: u64 = 300;

/// Thousandths of the time of short sessions that their backends have to take for that: part of it is the
/// time that any answer takes.
const SHORT_CLEAR: u64 = 500;

/// Thousandths of the sessions' time that a backend has to have to stand for the whole.
const SOME: u64 = 50;

/// Thousandths of segments sent again from which on that is told of a network.
const LOSSY: u64 = 2;

/// Less than this of watched sessions says nothing.
const ENOUGH_US: u64 = 500_000;
