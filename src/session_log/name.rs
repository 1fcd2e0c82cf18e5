//! Names in log lines. Whoever chooses the name of a backend must not be able to begin a line with it,
//! to look like another field, or to make a line so long that it is not written in one piece.

use std::fmt::{self, Write};

use serde::{Serialize, Serializer};

/// A name as it is written: cut where it is too long; where it is shown as text, without spaces and
/// without anything that a terminal would obey.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a>(pub(super) &'a str);

impl Name<'_> {
    /// The name, if text and JSON write it as it is: nearly every one.
    pub(super) fn plain(&self) -> Option<&str> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\' && byte != b'"';
        (self.0.len() <= LONGEST && self.0.bytes().all(plain)).then_some(self.0)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        if let Some(plain) = self.plain() {
            return f.write_str(plain);
        }
        let mut room = LONGEST;
        for letter in name.chars() {
            let mut escaped = Escaped::default();
            escaped.push(letter)?;
            match room.checked_sub(escaped.text.len()) {
                Some(left) => room = left,
                None => return f.write_str(CUT),
            }
            f.write_str(&escaped.text)?;
        }
        Ok(())
    }
}

/// One letter.
#[derive(Default)]
struct Escaped {
    text: arrayvec::ArrayString<10>,
}

impl Escaped {
    /// Letters as they are; spaces, controls, what turns the direction of writing, and the escape itself
    /// in Rust's notation.
    fn push(&mut self, letter: char) -> fmt::Result {
        let plain = match letter {
            '\'' | '"' => true,
            _ if letter.is_ascii() => letter.is_ascii_graphic() && letter != '\\',
            _ => !letter.is_whitespace() && letter.escape_debug().len() == 1,
        };
        match letter {
            _ if plain => self.text.write_char(letter),
            '\\' | '\n' | '\r' | '\t' => write!(self.text, "{}", letter.escape_default()),
            _ => write!(self.text, "{}", letter.escape_unicode()),
        }
    }
}

impl Serialize for Name<'_> {
    /// Escaping is JSON's business; only the length is looked at, as it will be written.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(name) = self;
        // Even if each byte becomes six.
        if name.len() <= LONGEST / 6 {
            return serializer.serialize_str(name);
        }
        let mut room = LONGEST;
        let end = name.char_indices().find_map(|(at, letter)| {
            let takes = match letter {
                '"' | '\\' => 2,
                _ if letter < ' ' => 6,
                _ => letter.len_utf8(),
            };
            match room.checked_sub(takes) {
                Some(left) => room = left,
                None => return Some(at),
            }
            None
        });
        match end {
            None => serializer.serialize_str(name),
            Some(end) => serializer.collect_str(&format_args!("{}{CUT}", &name[..end])),
        }
    }
}

/// Bytes of a name as it is written, without [`CUT`]: the longest host name with its port fits, and a
/// line with three of them goes through a pipe in one piece.
const LONGEST: usize = 260;

/// Where the rest is left out.
const CUT: &str = "\u{2026}";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> String {
        Name(name).to_string()
    }

    fn json(name: &str) -> String {
        serde_json::to_string(&Name(name)).expect("a string")
    }

    #[test]
    fn names_that_people_give_are_written_as_they_are() {
        for name in
            ["web", "10.0.0.1:80", "[fd00::1]:80", "unix:/run/x.sock", "böse", "バ", "a'\"b"]
        {
            assert_eq!(text(name), name);
        }
    }

    #[test]
    fn nothing_in_a_name_ends_a_line_or_a_field_or_moves_the_cursor() {
        for (name, shown) in [
            ("a b", "a\\u{20}b"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("a\\nb", "a\\\\nb"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("a\u{85}b\u{a0}", "a\\u{85}b\\u{a0}"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("", ""),
        ] {
            assert_eq!(text(name), shown, "{name:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_says_so() {
        assert_eq!(text(&"x".repeat(260)), "x".repeat(260));
        assert_eq!(text(&"x".repeat(261)), format!("{}…", "x".repeat(260)));
        assert!(text(&"\u{10ffff}".repeat(300)).len() <= LONGEST + CUT.len());
        assert_eq!(json(&"x".repeat(261)), format!("\"{}…\"", "x".repeat(260)));
        // Of two bytes; with the one before it, the last would be cut in the middle.
        assert_eq!(
            json(&format!("x{}", "ö".repeat(200))).chars().filter(|&c| c == 'ö').count(),
            129
        );
    }

    #[test]
    fn json_is_json_whatever_the_name() {
        for name in ["web", "a\"b\\c", "a\nb", "\u{1}\u{2028}", "💡"] {
            let back: String = serde_json::from_str(&json(name)).expect("JSON");
            assert_eq!(back, name);
        }
        assert!(json(&"\u{1}".repeat(300)).len() <= LONGEST + CUT.len() + 2);
    }
}
