//! What the fuzzers found, in every ordinary test run: each file of `fuzz/corpus` goes through the
//! function that the fuzzer calls. How to find more is in `scripts/fuzz --help`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::path::Path;

#[path = "../../fuzz/checks/config.rs"]
mod config;
#[path = "../../fuzz/checks/proxy.rs"]
mod proxy;

#[test]
fn the_configuration_holds_over_all_that_the_fuzzer_found() {
    replay("config", config::check);
}

#[test]
fn the_proxy_protocol_holds_over_all_that_the_fuzzer_found() {
    replay("proxy", proxy::check);
}

/// Calls `check` with each file of a corpus.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{corpus:?}: {error}"));
    let mut count = 0;
    for file in files {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // The name of the file is all that is needed to see it again.
        let held = std::panic::catch_unwind(|| check(&bytes));
        assert!(held.is_ok(), "{}: see above", path.display());
        count += 1;
    }
    assert!(count >= FEWEST, "{count} files in {corpus:?}: the corpus is missing");
}

/// Less is no corpus.
const FEWEST: usize = 20;
