//! Bytes of answers before they go into buffers: text, and runs of filler that take no memory
//! however long they are.

/// What is to be sent, and how far that has come.
#[derive(Debug, Default)]
pub(super) struct Output {
    text: Vec<u8>,
    /// Text that is in buffers already.
    text_done: usize,
    fillers: Vec<Filler>,
    fillers_done: usize,
    /// Bytes of the first filler that is not done.
    filler_bytes_done: u64,
}

/// `abc...z`, repeated, behind so much of the text.
#[derive(Debug)]
struct Filler {
    behind: usize,
    bytes: u64,
}

impl Output {
    /// Adds text.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Adds `bytes` of filler, which begins with an `a`.
    pub(super) fn push_filler(&mut self, bytes: u64) {
        if bytes > 0 {
            self.fillers.push(Filler { behind: self.text.len(), bytes });
        }
    }

    /// The text, for writing to.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Bytes that are not in a buffer yet.
    pub(super) fn left(&self) -> u64 {
        let text = (self.text.len() - self.text_done) as u64;
        let fillers: u64 = self.fillers[self.fillers_done..].iter().map(|one| one.bytes).sum();
        text + fillers - self.filler_bytes_done
    }

    /// Whether everything is in buffers.
    pub(super) fn is_done(&self) -> bool {
        self.text_done == self.text.len() && self.fillers_done == self.fillers.len()
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.fillers.clear();
        (self.text_done, self.fillers_done, self.filler_bytes_done) = (0, 0, 0);
    }

    /// Writes what comes next into `memory`; how many bytes that were.
    pub(super) fn fill(&mut self, memory: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < memory.len() && !self.is_done() {
            let room = &mut memory[filled..];
            filled += match self.fillers.get(self.fillers_done) {
                Some(filler) if filler.behind == self.text_done => self.fill_filler(room),
                Some(filler) => self.fill_text(filler.behind, room),
                None => self.fill_text(self.text.len(), room),
            };
        }
        filled
    }

    fn fill_text(&mut self, end: usize, room: &mut [u8]) -> usize {
        let text = &self.text[self.text_done..end];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text[..len]);
        self.text_done += len;
        len
    }

    fn fill_filler(&mut self, room: &mut [u8]) -> usize {
        let left = self.fillers[self.fillers_done].bytes - self.filler_bytes_done;
        let len = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let phase = usize::try_from(self.filler_bytes_done % 26).expect("less than 26");
        let (first, others) = room[..len].split_at_mut(len.min(FILLER.len() - phase));
        first.copy_from_slice(&FILLER[phase..phase + first.len()]);
        // The table is whole alphabets, so each further part begins with its first letter.
        others
            .chunks_mut(FILLER.len())
            .for_each(|part| part.copy_from_slice(&FILLER[..part.len()]));
        self.filler_bytes_done += len as u64;
        if len as u64 == left {
            self.fillers_done += 1;
            self.filler_bytes_done = 0;
        }
        len
    }
}

/// Alphabets enough that copying is fast.
static FILLER: [u8; 26 * 64] = alphabets();

const fn alphabets() -> [u8; 26 * 64] {
    let mut all = [b'a'; 26 * 64];
    let (mut at, mut letter) = (0, b'a');
    while at < all.len() {
        all[at] = letter;
        letter = if letter == b'z' { b'a' } else { letter + 1 };
        at += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything, through a memory of `step` bytes at a time.
    fn drain(mut output: Output, step: usize) -> Vec<u8> {
        let (mut all, mut memory) = (Vec::new(), vec![0; step]);
        while !output.is_done() {
            let left = output.left();
            let filled = output.fill(&mut memory);
            assert!(filled > 0, "it goes on");
            assert_eq!(output.left(), left - filled as u64);
            all.extend_from_slice(&memory[..filled]);
        }
        assert_eq!((output.left(), output.fill(&mut memory)), (0, 0));
        all
    }

    #[test]
    fn text_and_filler_come_in_order_however_they_are_cut() {
        let alphabet = "abcdefghijklmnopqrstuvwxyz";
        let expected = format!("head{alphabet}{alphabet}abc\nabtail");
        for step in 1..=expected.len() + 1 {
            let mut output = Output::default();
            output.push(b"head");
            output.push_filler(55);
            output.push(b"\n");
            output.push_filler(0);
            output.push_filler(2);
            output.push(b"tail");
            assert_eq!(drain(output, step), expected.as_bytes(), "{step} at a time");
        }
    }

    #[test]
    fn long_filler_is_alphabets_all_along() {
        for step in [1000, 26 * 64, 16 * 1024] {
            let mut output = Output::default();
            output.push_filler(10_007);
            let expected: Vec<u8> = (b'a'..=b'z').cycle().take(10_007).collect();
            assert!(drain(output, step) == expected, "{step} at a time");
        }
    }

    #[test]
    fn what_was_cleared_is_empty() {
        let mut output = Output::default();
        output.push(b"text");
        output.push_filler(9);
        output.fill(&mut [0; 6]);
        output.clear();
        assert!(output.is_done() && output.left() == 0);
        output.push(b"new");
        assert_eq!(drain(output, 8), b"new");
    }
}
