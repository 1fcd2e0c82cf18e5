//! A report as a file: JSON, written for people too, and read back with clear errors.

use super::{Report, SCHEMA};

/// The schema that every report in JSON keeps to (JSON Schema 2020-12).
pub const JSON_SCHEMA: &str = include_str!("../../schema/report.schema.json");

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON, or not all of it is there.
    #[error("it is no JSON ({0}); is it the file that --json wrote, all of it?")]
    NoJson(serde_json::Error),
    /// It is JSON of something else.
    #[error("it has no `schema`, so it is no report of loadgen; give a file that --json wrote")]
    NoReport,
    /// It is of another version.
    #[error("it is of schema {0}, and this program reads {SCHEMA}: use the version that wrote it")]
    OtherSchema(String),
    /// A part is missing or wrong.
    #[error("it keeps not to its schema ({0}); `loadgen report --schema` prints what it should be")]
    Malformed(serde_json::Error),
}

impl Report {
    /// The report as JSON, indented.
    ///
    /// # Panics
    /// Never: every part has a JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("every part has a JSON form") + "\n"
    }

    /// Reads [`Report::to_json`] back.
    ///
    /// # Errors
    /// Why `text` is no report that this version can read.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(ReadError::NoJson)?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            None => Err(ReadError::NoReport),
            Some(SCHEMA) => serde_json::from_value(value).map_err(ReadError::Malformed),
            Some(other) => Err(ReadError::OtherSchema(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        assert_eq!(Report::from_json(&sample().to_json()).expect("a report"), sample());
    }

    #[test]
    fn what_is_no_report_is_told_apart() {
        let json = sample().to_json();
        let other = json.replace(SCHEMA, "evenkeel.loadgen/9");
        let without = json.replace("\"goodput_per_s\"", "\"badput_per_s\"");
        let spoilt = json.replace("HISTF", "HISTX");
        for (text, words) in [
            ("", "no JSON (EOF"),
            (&json[..json.len() / 2], "no JSON (EOF"),
            ("[1, 2]", "no `schema`"),
            ("{\"schema\": 1}", "no `schema`"),
            (&other, "schema evenkeel.loadgen/9, and this program reads evenkeel.loadgen/1"),
            (&without, "missing field `goodput_per_s`"),
            (&spoilt, "not a histogram"),
        ] {
            let error = Report::from_json(text).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
