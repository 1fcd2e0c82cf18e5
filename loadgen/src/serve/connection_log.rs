//! The lines about connections in a backend's terminal: ten a second, the rest counted.

use std::time::{Duration, Instant};

/// Which lines may be printed.
#[derive(Debug)]
pub(super) struct ConnectionLog {
    enabled: bool,
    window_start: Option<Instant>,
    printed: u32,
    suppressed: u64,
}

impl ConnectionLog {
    /// A log that says nothing when it is not `enabled`.
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, window_start: None, printed: 0, suppressed: 0 }
    }

    /// Prints `line` on standard error, or counts it.
    pub(super) fn print(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.enabled && self.admit(now) {
            eprintln!("{}", line());
        }
    }

    /// Says how many lines were left out, once the second in which they were is over.
    pub(super) fn flush(&mut self, now: Instant) {
        if let Some(suppressed) = self.take_suppressed(now) {
            eprintln!("({suppressed} more lines about connections were left out)");
        }
    }

    /// When [`ConnectionLog::flush`] will have something to say.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        self.window_start.filter(|_| self.suppressed > 0).map(|start| start + WINDOW)
    }

    fn admit(&mut self, now: Instant) -> bool {
        if self.window_start.is_none_or(|start| now >= start + WINDOW) {
            self.flush(now);
            (self.window_start, self.printed) = (Some(now), 0);
        }
        let admitted = self.printed < LINES_PER_WINDOW;
        self.printed += u32::from(admitted);
        self.suppressed += u64::from(!admitted);
        admitted
    }

    fn take_suppressed(&mut self, now: Instant) -> Option<u64> {
        self.flush_at().filter(|&at| now >= at)?;
        Some(std::mem::take(&mut self.suppressed))
    }
}

const LINES_PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_pass_and_the_rest_is_counted() {
        let start = Instant::now();
        let mut log = ConnectionLog::new(true);
        let admitted = (0..25).filter(|_| log.admit(start)).count();
        assert_eq!((admitted, log.suppressed), (10, 15));
        assert_eq!(log.take_suppressed(start), None);
        assert_eq!(log.take_suppressed(start + WINDOW), Some(15));
        assert!(log.admit(start + WINDOW));
    }
}
