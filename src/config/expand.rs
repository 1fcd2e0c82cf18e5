//! Environment variables in the strings of a file. It is done on strings that are parsed already, so
//! that no variable can add a key or end a string.

/// `text` with `${NAME}` and `${NAME:-default}` replaced, and `$$` by `$`; the default is used where
/// the variable is not set or empty, as in a shell.
///
/// # Errors
/// What is wrong with it, and the cure.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (reference, after) =
                after.split_once('}').ok_or_else(|| format!("`${{` has no end; {HOW}"))?;
            expanded.push_str(&value_of(reference, env)?);
            after
        } else {
            return Err(format!("`$` stands for nothing; {HOW}"));
        };
        if expanded.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes with its variables"));
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn value_of(reference: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty()
        || !name.chars().all(letter)
        || name.starts_with(|first: char| first.is_ascii_digit())
    {
        return Err(format!("`{name}` is no name of a variable; {HOW}"));
    }
    match (env(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
        )),
    }
}

const HOW: &str = "write ${NAME} or ${NAME:-default} for an environment variable, and $$ for a $";

/// Bytes of one string: a configuration of many strings stays small whatever a variable holds.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("web1".to_owned()),
            "EMPTY" => Some(String::new()),
            "TOML" => Some("\"\nweight = 1 ${HOST}".to_owned()),
            "LONG" => Some("x".repeat(LONGEST)),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("${HOST}:80", "web1:80"),
            ("a${HOST}b${HOST}", "aweb1bweb1"),
            ("${PORT:-80}", "80"),
            ("${HOST:-web2}", "web1"),
            ("${EMPTY:-web2}", "web2"),
            ("${EMPTY}", ""),
            ("${UNSET:-}", ""),
            ("$$", "$"),
            ("$${HOST}", "${HOST}"),
            ("${TOML}", "\"\nweight = 1 ${HOST}"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_refused_with_the_cure() {
        for (text, says) in [
            ("${UNSET}", "UNSET is not set; set it, or write ${UNSET:-default}"),
            ("${HOST", "no end"),
            ("$HOST", "stands for nothing"),
            ("5$", "stands for nothing"),
            ("${}", "no name"),
            ("${1X}", "no name"),
            ("${A B}", "no name"),
            ("${LONG}x${HOST}", "longer than 65536 bytes"),
        ] {
            let error = expand(text, &env).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
