//! Which of the two formats a scraper wants, by its `Accept` header (RFC 9110, 12.5.1).

use super::text::Format;

impl Format {
    /// What somebody gets who accepts that. OpenMetrics is for those who name it and like it at least
    /// as much; everybody else, also who accepts neither, gets what any scraper understands.
    #[must_use]
    pub fn accepted(header: &str) -> Self {
        let (mut text, mut open) = (0, 0);
        for range in header.split(',').map(Range::read) {
            match range.kind.as_str() {
                "application/openmetrics-text" if range.is_version(&["1.0.0", "0.0.1"]) => {
                    open = open.max(range.thousandths);
                }
                "text/plain" if range.is_version(&["0.0.4"]) => text = text.max(range.thousandths),
                "text/*" | "*/*" => text = text.max(range.thousandths),
                _ => {}
            }
        }
        if open > 0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }
}

/// One thing that is accepted.
struct Range {
    /// In small letters.
    kind: String,
    version: Option<String>,
    /// How much it is liked; 0 is not at all.
    thousandths: u16,
}

impl Range {
    fn read(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut version, mut thousandths) = (None, 1000);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => version = Some(value.to_owned()),
                "q" => thousandths = quality(value),
                _ => {}
            }
        }
        Self { kind, version, thousandths }
    }

    fn is_version(&self, known: &[&str]) -> bool {
        self.version.as_deref().is_none_or(|version| known.contains(&version))
    }
}

/// `0.75` is 750; what is no number is not liked.
fn quality(text: &str) -> u16 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 {
        return 0;
    }
    match (whole, format!("{part:0<3}").parse()) {
        ("0", Ok(thousandths)) => thousandths,
        ("1", _) => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_openmetrics_and_likes_it_gets_it() {
        use Format::{OpenMetrics, Text};
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let newer = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (header, format) in [
            ("", Text),
            ("*/*", Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Text),
            ("application/json", Text),
            (prometheus, OpenMetrics),
            (newer, OpenMetrics),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\" ; q=1", OpenMetrics),
            ("application/openmetrics-text;version=2.0.0", Text),
            ("application/openmetrics-text;q=0.3, text/plain;q=0.5", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=0.0,*/*", Text),
            ("application/openmetrics-text;q=cheese", Text),
            ("application/openmetrics-text;q=0.001", OpenMetrics),
            ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.91", OpenMetrics),
            (",;=,;;q,", Text),
        ] {
            assert_eq!(Format::accepted(header), format, "{header}");
        }
    }
}
