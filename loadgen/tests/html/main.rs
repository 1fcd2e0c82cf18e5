//! The page of a report, as a browser shows it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop here")]

mod browser;
mod sample;

use loadgen::report::html::page;
use loadgen::report::{Backend, Interval, Part, Report, Totals, plot};

use browser::Browser;

/// The page of `report`, and what a browser made of it: the document, and a complaint if any.
fn rendered(name: &str, report: &Report) -> (String, Option<String>) {
    let page = page(report);
    assert_nothing_is_fetched(&page);
    let document = Browser::find().map(|browser| browser.open(name, &page));
    (page, document)
}

/// No attribute, style or script of the page names another address.
fn assert_nothing_is_fetched(page: &str) {
    for reference in ["http://", "https://", "src=", "@import", "url(", "fetch(", "<link rel=\"s"] {
        assert!(!page.contains(reference), "{reference} in the page");
    }
    assert!(page.contains("default-src 'none'"), "the page may reach nothing");
}

#[test]
fn a_full_report_shows_every_section_without_an_error() {
    let mut report = sample::full();
    report.verdict.slo_met = Some(true);
    let (page, document) = rendered("full", &report);
    let sections = [
        "headline-h",
        "requests",
        "latency",
        "heat",
        "over-time",
        "backends",
        "errors",
        "cost",
        "generator",
        "network",
        "again",
        "settings",
        "environment",
    ];
    for id in sections {
        assert!(page.contains(&format!("id=\"{id}\"")), "no {id}");
    }
    // The script ran to its end: it shows the button.
    if let Some(document) = document {
        assert!(document.contains("<button type=\"button\" data-copy=\"\">Copy</button>"));
        assert!(document.contains("class=\"line c1\""));
    }
}

#[test]
fn names_from_the_network_stay_text() {
    let mut report = sample::full();
    let evil =
        "</script><script>document.body.dataset.owned=1</script><img onerror=x>\"' onload='x";
    report.backends[0].name = evil.to_owned();
    report.errors.insert(evil.to_owned(), 1);
    report.config.target = evil.to_owned();
    report.config.command.push(evil.to_owned());
    report.verdict.valid = false;
    report.verdict.reasons = vec![evil.to_owned()];
    report.env.cpu_model = evil.to_owned();
    for interval in &mut report.intervals {
        interval.backends.insert(evil.to_owned(), 7);
    }
    let (page, document) = rendered("names", &report);
    assert_eq!(page.matches("<script").count(), 1, "the page's own");
    assert!(!page.contains("<img"));
    if let Some(document) = document {
        assert!(!document.contains("data-owned"), "a name became a script");
    }
}

#[test]
fn a_suspect_run_says_so_first_and_why() {
    let mut report = sample::full();
    report.verdict.valid = false;
    report.verdict.reasons = vec!["the generator was at 97 % of a CPU: use -t 2".to_owned()];
    report.verdict.slo_met = Some(false);
    report.verdict.slo_missed = vec!["p99<5ms: 6.83 ms".to_owned()];
    report.totals.stopped = true;
    let (page, _) = rendered("suspect", &report);
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("SUSPECT") < at("97 %") && at("97 %") < at("SLO missed"));
    assert!(at("p99&lt;5ms: 6.83 ms") < at("Stopped") && at("Stopped") < at("Goodput"));
}

#[test]
fn a_run_without_a_request_claims_nothing() {
    let (page, _) = rendered("nothing", &sample::nothing());
    for absent in ["<svg", "NaN", "inf", "id=\"latency\"", "id=\"backends\""] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("too few samples"));
    let mut report = sample::nothing();
    report.totals = Totals { intended: 5, errors: 5, ..Totals::default() };
    assert!(page_of(&report).contains("No request was answered."));
}

#[test]
fn nothing_is_wider_than_a_phone() {
    let mut report = sample::full();
    report.config.target = "a-long-name".repeat(30);
    report.backends[0].name = "another-long-name".repeat(30);
    for (name, report) in [("phone-full", report), ("phone-bulk", sample::bulk())] {
        let script = "const root = page.documentElement; root.scrollWidth - root.clientWidth";
        let excess = answered(name, &report, script);
        assert!(excess.is_none_or(|excess| excess == "0"), "{name}");
    }
}

#[test]
fn the_arrow_keys_read_a_plot() {
    let script = "const plot = page.querySelector('#latency-chart .plot'); \
                  const press = key => plot.dispatchEvent(new KeyboardEvent('keydown', { key })); \
                  press('Home'); press('ArrowRight'); press('End'); \
                  page.querySelectorAll('.tip').length + plot.querySelector('.tip').textContent";
    let report = sample::full();
    if let Some(tip) = answered("keys", &report, script) {
        let last = report.latency.response.quantile_ns(1.0 - 10.0 / 239_946.0).unwrap();
        assert!(tip.starts_with("1p99.9958\n"), "{tip}");
        assert!(tip.contains(&format!("response: {}", plot::time(last))), "{tip}");
    }
}

/// What a script finds in the page, as a phone shows it.
fn answered(name: &str, report: &Report, script: &str) -> Option<String> {
    let browser = Browser::find()?;
    let inner = page(report).replace('&', "&amp;").replace('"', "&quot;");
    let outer = format!(
        "<!doctype html><main></main><iframe srcdoc=\"{inner}\" width=360 height=800 \
         frameborder=0></iframe><script>onload = () => {{ const page = frames[0].document; \
         document.body.dataset.answer = eval(`{script}`) }}</script>"
    );
    let document = browser.open(name, &outer);
    let (_, answer) = document.split_once("data-answer=\"")?;
    Some(answer.split('"').next()?.to_owned())
}

fn page_of(report: &Report) -> String {
    rendered("other", report).0
}

#[test]
fn notes_and_merged_generators_are_told() {
    let mut report = loadgen::report::sample();
    report.verdict.notes = vec!["two of three repeats".to_owned()];
    report.env.steal = Some(0.021);
    let part = |file: &str| Part { file: file.to_owned(), ..Part::default() };
    report.env.generators = vec![part("a.json"), part("<b>.json")];
    let (page, _) = rendered("notes", &report);
    for text in ["two of three repeats", "2.1 %", "a.json, &lt;b&gt;.json"] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn one_interval_is_a_picture_too() {
    let mut report = sample::full();
    report.intervals.truncate(1);
    let (page, _) = rendered("one", &report);
    assert!(page.contains("M0 ") && !page.contains("NaN"));
}

#[test]
fn five_hundred_backends_are_twenty_bars_and_a_table() {
    let mut report = sample::full();
    let one = report.backends[0].clone();
    let backend = |index| Backend { name: format!("backend-{index}"), share: 0.002, ..one.clone() };
    report.backends = (0..500).map(backend).collect();
    let (page, _) = rendered("many", &report);
    assert_eq!(page.matches("<li><span class=\"name\">backend-").count(), 20);
    assert!(page.contains("480 others") && page.contains("backend-499"));
    assert!(page.len() < PAGE_BYTES_MAX, "{} bytes", page.len());
}

#[test]
fn an_hour_stays_a_small_page() {
    let mut report = sample::full();
    let intervals = std::mem::take(&mut report.intervals);
    let hour = intervals.iter().cycle().take(3600).enumerate().map(|(second, interval)| {
        let start_s = f64::from(u32::try_from(second).unwrap());
        Interval { start_s, length_s: 1.0, ..interval.clone() }
    });
    report.intervals = hour.collect();
    let (page, _) = rendered("hour", &report);
    assert!(page.len() < PAGE_BYTES_MAX, "{} bytes", page.len());
    assert!(page.contains(">60 min</span>"));
}

#[test]
fn bulk_and_held_connections_have_their_own_figures() {
    let (page, _) = rendered("bulk", &sample::bulk());
    for text in ["Gbit/s", "Latency under load", "id=\"bulk-chart\"", "9.92"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("Goodput") && !page.contains("id=\"requests\""));
    let (page, _) = rendered("held", &sample::held());
    for text in ["Alive at the end", "14\u{202f}998", "Held connections", "2 reset"] {
        assert!(page.contains(text), "{text}");
    }
}

const PAGE_BYTES_MAX: usize = 1_000_000;
