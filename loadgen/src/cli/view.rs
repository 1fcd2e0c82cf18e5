//! What is shown while a run goes on: a live view in a terminal, lines elsewhere.

use loadgen::report::Progress;

/// The view of one run.
#[derive(Debug, Default)]
pub(super) struct View {}

impl View {
    /// A view that suits standard error; `live` false gives lines even in a terminal.
    pub(super) fn new(_live: bool, _title: &str) -> Self {
        Self {}
    }

    /// Shows how it goes.
    pub(super) fn show(&mut self, _progress: &Progress<'_>) {}

    /// Leaves the terminal as it was.
    pub(super) fn close(&mut self) {}
}
