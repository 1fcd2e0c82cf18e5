//! What holds of the configuration file whatever is in it. The fuzzer and `tests/corpus.rs` call the
//! same function.

use evenkeel::config::{Place, parse};

/// Fails if `bytes` show a mistake in the reader.
pub(crate) fn check(bytes: &[u8]) {
    // A file that is no text is refused before it comes to this.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let env = |name: &str| (name == "NAME").then(|| "10.0.0.1".to_owned());
    let read = parse(text, FILE, &env);
    let again = parse(text, FILE, &env);
    assert_eq!(format!("{read:?}"), format!("{again:?}"), "it depends on more than the text");
    let Err(problems) = read else { return };
    assert!(!problems.0.is_empty(), "refused without a reason");
    for problem in &problems.0 {
        assert!(!problem.text.trim().is_empty() && !problem.text.contains('\n'), "{problem:?}");
        if let Place::File { file, line, column } = &problem.place {
            assert_eq!(&**file, FILE);
            let place = (*line, *column);
            assert!(is_within(text, place) || place.0 == 0, "{problem:?}");
        }
    }
    assert!(!problems.lines().is_empty());
}

/// Whether there is such a line and such a column in it, or just behind it.
fn is_within(text: &str, (line, column): (u32, u32)) -> bool {
    let line = (line as usize).checked_sub(1).and_then(|index| text.split('\n').nth(index));
    line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&(column as usize)))
}

const FILE: &str = "fuzz.toml";
