//! Who is to say something, as far as a relay can know that without understanding a word.

/// Who has the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// The client, which has its answer, or has said nothing yet.
    Client,
    /// The client, in the midst of what it says.
    ClientStreams,
    /// The backend, which owes an answer.
    Backend,
    /// The backend, in the midst of what it says.
    BackendStreams,
    /// Bytes may be there, and the balancer has no buffer for them.
    Balancer,
}

/// What was heard of a session so far, look by look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    /// Bytes that had gone each way at the last look.
    bytes: [u64; 2],
    /// Which ways had moved at the last look.
    moved: [bool; 2],
    /// Whether the client has spoken and then paused.
    paused: bool,
    /// Whether it went on then, without ever having got an answer: it does not wait for one.
    monologue: bool,
}

impl Talk {
    /// The first look at a session in which so many bytes have gone each way.
    #[must_use]
    pub fn new(bytes: [u64; 2]) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// One more look, a while later. `owes` says that the backend has said nothing since the client did.
    pub fn look(&mut self, bytes: [u64; 2], owes: bool) -> Floor {
        let moved = [0, 1].map(|way| bytes[way] > self.bytes[way]);
        let before = std::mem::replace(&mut self.moved, moved);
        self.bytes = bytes;
        self.note_monologue();
        match (before, moved) {
            (ONLY_CLIENT, ONLY_CLIENT) => Floor::ClientStreams,
            (ONLY_BACKEND, ONLY_BACKEND) => Floor::BackendStreams,
            _ if owes && !self.monologue => Floor::Backend,
            // Who speaks without ever getting an answer and has just spoken is in the midst of it, too:
            // what is lost on the way makes pauses.
            ([true, _], _) | (_, [true, _]) if self.monologue => Floor::ClientStreams,
            _ => Floor::Client,
        }
    }

    fn note_monologue(&mut self) {
        let [says, _] = self.moved;
        let [said, answered] = self.bytes.map(|bytes| bytes > 0);
        self.monologue = !answered && (self.monologue || (says && self.paused));
        self.paused = !answered && (self.paused || (said && !says));
    }
}

const ONLY_CLIENT: [bool; 2] = [true, false];
const ONLY_BACKEND: [bool; 2] = [false, true];

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a session, each with the bytes that had moved since the last, whether the backend owes
    /// an answer then, and who has the floor.
    #[track_caller]
    fn check(looks: &[([u64; 2], bool, Floor)]) {
        let mut talk = Talk::new([0, 0]);
        let mut bytes = [0, 0];
        for (index, (more, owes, floor)) in looks.iter().enumerate() {
            bytes = [bytes[0] + more[0], bytes[1] + more[1]];
            assert_eq!(talk.look(bytes, *owes), *floor, "look {index}");
        }
    }

    /// Who spoke last.
    const CLIENT: bool = true;
    const BACKEND: bool = false;

    #[test]
    fn after_a_request_the_backend_owes_an_answer_and_after_that_nobody_does() {
        check(&[
            ([0, 0], BACKEND, Floor::Client),
            ([9, 0], CLIENT, Floor::Backend),
            ([0, 0], CLIENT, Floor::Backend),
            ([0, 9], BACKEND, Floor::Client),
            ([0, 0], BACKEND, Floor::Client),
            ([9, 9], BACKEND, Floor::Client),
            ([9, 9], CLIENT, Floor::Backend),
        ]);
    }

    #[test]
    fn who_goes_on_speaking_alone_is_in_the_midst_of_it() {
        check(&[
            ([9, 0], CLIENT, Floor::Backend),
            ([0, 9], BACKEND, Floor::Client),
            ([0, 9], BACKEND, Floor::BackendStreams),
            ([0, 9], BACKEND, Floor::BackendStreams),
            ([0, 0], BACKEND, Floor::Client),
            ([9, 0], CLIENT, Floor::Backend),
            ([9, 0], CLIENT, Floor::ClientStreams),
            ([0, 0], CLIENT, Floor::Backend),
        ]);
    }

    #[test]
    fn a_client_that_goes_on_without_an_answer_does_not_wait_for_one() {
        check(&[
            ([9, 0], CLIENT, Floor::Backend),
            ([0, 0], CLIENT, Floor::Backend),
            ([9, 0], CLIENT, Floor::ClientStreams),
            ([0, 0], CLIENT, Floor::ClientStreams),
            ([0, 0], CLIENT, Floor::Client),
            ([9, 0], CLIENT, Floor::ClientStreams),
            // But it has got one after all.
            ([9, 9], CLIENT, Floor::Backend),
        ]);
    }

    #[test]
    fn a_session_that_has_talked_before_is_not_a_monologue() {
        let mut talk = Talk::new([100, 100]);
        for bytes in [[109, 100], [109, 100], [118, 100], [118, 100]] {
            assert_eq!(talk.look(bytes, CLIENT), Floor::Backend);
        }
    }
}
