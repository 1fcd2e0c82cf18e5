//! Threads on processors of their own.

use std::io;

/// A thread could not be kept on the processor that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("cannot run on processor {cpu}: {source}; see `nproc` and `taskset -p $$`")]
pub struct PinError {
    /// The processor.
    pub cpu: usize,
    /// What the kernel said.
    pub source: io::Error,
}

/// Keeps the calling thread, the one at `index`, on its processor: `cpus` in turn, and wherever the
/// kernel likes when there are none.
pub(crate) fn pin(index: usize, cpus: &[usize]) -> Result<(), PinError> {
    match cpus.get(index % cpus.len().max(1)) {
        Some(&cpu) => uring::pin_to(cpu).map_err(|source| PinError { cpu, source }),
        None => Ok(()),
    }
}
