use std::fs;
use std::path::{Path, PathBuf};

use super::input::{Inputs, Measured as Network, Source};
use super::*;
use crate::audit::{DataPath, Seen};
use crate::case;
use crate::contender::{Known, Setup};
use crate::document::{Absent, CaseResult, Document, NetworkUsed, SCHEMA};
use crate::figure::Figure;
use crate::host::Host;
use crate::stats::Spread;
use crate::verdict::{Measured, Row, comparisons};

const FIVE: [f64; 5] = [1.0; 5];

fn row(contender: &str, figures: &[(Figure, [f64; 5])]) -> Row {
    let figures = figures.iter().map(|(figure, rounds)| Measured {
        figure: *figure,
        spread: Spread::of(rounds),
        rounds: rounds.to_vec(),
    });
    Row { contender: contender.to_owned(), figures: figures.collect(), errors: 0 }
}

fn absent(contender: &str, why: &str) -> Absent {
    Absent { contender: contender.to_owned(), why: why.to_owned() }
}

fn result(key: &str, rows: Vec<Row>) -> CaseResult {
    let case = case::ALL.iter().find(|case| case.key == key).expect("it is one of them");
    CaseResult {
        key: key.to_owned(),
        title: case.title.to_owned(),
        rate_per_s: None,
        comparisons: comparisons(case, &rows),
        rows,
        failed: vec![absent("nginx", "it did not <start>")],
        left_out: vec![absent("evenkeel-copy", "it differs in bulk only")],
    }
}

fn known(name: &str, absent: Option<&str>) -> Known {
    Known {
        name: name.to_owned(),
        version: absent.is_none().then(|| format!("{name} 1.2")),
        absent: absent.map(str::to_owned),
        command: format!("{name} --listen"),
        config: (name == "haproxy").then(|| "global\n  nbthread 1\n".to_owned()),
        disruption: (name == "haproxy")
            .then(|| Setup { command: "haproxy -W".into(), config: None }),
    }
}

/// `haproxy_p99` is what p99 of HAProxy is; ours is 200. In CPU: evenkeel / haproxy is 0.8, 0.9,
/// 1.0, 0.9, 0.4, and python / evenkeel 2.5, 2, 3, 2, 2.
fn document(haproxy_p99: f64, python: [f64; 5]) -> Document {
    let (cpu, p99) = (Figure::CpuUs, Figure::P99Us);
    let rows = vec![
        row("evenkeel", &[(cpu, [8.0, 9.0, 10.0, 9.0, 8.0]), (p99, [200.0; 5])]),
        row("haproxy", &[(cpu, [10.0, 10.0, 10.0, 10.0, 20.0]), (p99, [haproxy_p99; 5])]),
        row("python", &[(cpu, python)]),
        row("floor-epoll", &[(cpu, [7.0; 5])]),
        row("floor-ring", &[(cpu, [6.0; 5])]),
    ];
    let gap = Figure::LongestGapMs;
    let killed = vec![
        row("evenkeel", &[(Figure::FailedRequests, [0.0; 5]), (gap, [3.0; 5])]),
        row("haproxy", &[(Figure::FailedRequests, [0.0; 5]), (gap, [1.0; 5])]),
    ];
    let cases = vec![result("ping-64", rows), result("killed", killed)];
    let [cpu, kernel, date] = ["AMD EPYC", "6.18.44", "2026-11-21"].map(str::to_owned);
    let (up, contender) =
        (DataPath { carried_bytes: 100, spliced_bytes: 25, calls: vec![] }, "haproxy".into());
    Document {
        schema: SCHEMA.to_owned(),
        quick: false,
        complete: true,
        host: Host { cpu, cpus: 2, kernel, date },
        network: NetworkUsed {
            name: "loopback".to_owned(),
            congestion_control: "cubic".to_owned(),
            notes: vec![],
        },
        balancer_cpu: 0,
        other_cpus: vec![1],
        rounds: 5,
        seconds_a_run: 1.0,
        idle_connections: 4000,
        witnesses: vec!["wrk 4.1".to_owned()],
        contenders: vec![
            known("evenkeel", None),
            known("haproxy", None),
            known("nginx", None),
            known("python", None),
            known("tokio-uring", Some("this build has none")),
            known("floor-epoll", None),
            known("floor-ring", None),
        ],
        seen: vec![Seen { contender, up: Some(up), ..Seen::default() }],
        cases,
        not_ahead: vec![],
    }
}

fn first() -> Document {
    document(100.0, [20.0, 18.0, 30.0, 18.0, 16.0])
}

fn source(file: &str, document: Document) -> Option<Source> {
    Some(Source { file: file.to_owned(), document })
}

fn inputs(again: Option<Document>) -> Inputs {
    let again = again.and_then(|document| source("x-loopback-again.json", document));
    let first = source("x-loopback.json", first());
    let lab = Network { name: "lab", first: None, again: None };
    Inputs { networks: vec![Network { name: "loopback", first, again }, lab] }
}

/// The part of `page` under a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(heading).unwrap_or_else(|| panic!("no {heading}: {page}"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

#[test]
fn what_speaks_against_evenkeel_comes_first() {
    let page = results::page(&inputs(None));
    let heading = page.find("## Where evenkeel is not ahead").expect("the section");
    assert_eq!(page.find("\n## ").map(|at| at + 1), Some(heading));
    let section = section(&page, "## Where evenkeel is not ahead");
    let (_, behind) = section.split_once("### Behind in every round").expect("the table");
    let (behind, rest) = behind.split_once("### Not behind").expect("the next table");
    assert!(behind.contains(
        "| loopback | ping 64 B, 64 connections | p99 µs | evenkeel 200 (200–200) | \
         haproxy 100 (100–100) | 2.00 (2.00–2.00) | BEHIND in every round |"
    ));
    assert!(behind.contains(
        "longest gap ms | evenkeel 3.0 (3.0–3.0) | haproxy 1.0 (1.0–1.0) | 3.00 (3.00–3.00) | \
         BEHIND in every round |"
    ));
    assert!(rest.contains("0.90 (0.40–1.00) | no difference seen; target ≤ 0.85 MISSED |"));
    // Who has none cannot be ahead of who has none.
    let equal =
        "- failed (one added to both): evenkeel / haproxy 1.00 (1.00–1.00), no difference seen";
    assert!(
        page.contains(equal) && !behind.contains("failed") && !rest.contains("failed"),
        "{page}"
    );
}

#[test]
fn what_the_run_says_is_not_lost_when_no_comparison_says_it() {
    let mut inputs = inputs(None);
    let first = inputs.networks[0].first.as_mut().expect("it is there");
    let known = format!("ping-64: {}", first.document.cases[0].comparisons[0].text());
    first.document.not_ahead = vec![known.clone(), "ping-9: something else".to_owned()];
    let page = results::page(&inputs);
    assert!(page.contains("ping-9: something else") && !page.contains(&known));
}

#[test]
fn who_has_no_figure_has_a_reason() {
    let page = results::page(&inputs(None));
    assert!(page.contains("| nginx | failed: it did not &lt;start> | - | - |"), "{page}");
    assert!(page.contains("Left out: evenkeel-copy: it differs in bulk only."));
    assert!(page.contains("Not here: tokio-uring (`this build has none`)."));
    assert!(page.contains("| python | 18.00 (16.00–30.00) | not measured | 0 |"));
    assert!(
        page.contains("**lab**: not measured.")
            && page.contains("### Again: loopback\n\nNot measured.")
    );
    assert!(
        page.contains("25.0 % spliced")
            && page.contains("haproxy --listen\n\nglobal\n  nbthread 1\n```\n\nIn disruptions:\n\n```text\nhaproxy -W\n")
    );
}

#[test]
fn the_headline_is_python_over_evenkeel_round_by_round() {
    let page = results::page(&inputs(None));
    let python = section(&page, "## Beside the Python version");
    assert!(python.contains(
        "| 9.00 (8.00–10.00) | 18.00 (16.00–30.00) | 2.00 (2.00–3.00) | ahead in every round |"
    ));
    // (9 - 6) / (10 - 6)
    let own = section(&page, "## What is left");
    assert!(own.contains("evenkeel 9.00 | haproxy 10.00 | floor-ring 6.00 | 75.0 % |"), "{own}");
}

#[test]
fn two_runs_are_held_against_each_other() {
    // One median moves within its range by a ninth, one goes to the fourfold, and turns a verdict.
    let again = document(400.0, [20.0; 5]);
    let page = results::page(&inputs(Some(again)));
    let section = section(&page, "## A second run");
    assert!(section.contains("| CPU µs | 5 | 0.0 % | 11.1 % | 5 | 5 | 0 |"), "{section}");
    assert!(section.contains("| p99 µs | 2 | 150.0 % | 300.0 % | 1 | 1 | 1 |"), "{section}");
    assert!(section.contains("| **all** | 11 | 0.0 % | 300.0 % | 10 | 10 | 1 |"), "{section}");
    assert!(
        section.contains("| ping-64, haproxy, p99 µs | 100 (100–100) | 400 (400–400) | 300.0 % |")
    );
    assert!(section.contains(
        "both runs have: 4. The same in the second run: 3. Different: 1, of which 1 turned"
    ));
    assert!(section.contains(
        "| ping-64, p99 µs: evenkeel / haproxy | 2.00 (2.00–2.00), BEHIND in every round | \
         0.50 (0.50–0.50), ahead in every round |"
    ));
}

#[test]
fn what_was_achieved_of_a_rate_is_held_against_that_rate() {
    let paced = |rate: u32, achieved: f64| {
        let rows = vec![row("evenkeel", &[(Figure::AchievedPerS, [achieved; 5])])];
        let case = CaseResult { rate_per_s: Some(rate), ..result("open-50", rows) };
        Document { cases: vec![case], ..first() }
    };
    let mut inputs = inputs(Some(paced(5000, 5000.4)));
    inputs.networks[0].first = source("first-loopback.json", paced(6000, 6000.0));
    let page = results::page(&inputs);
    let again = section(&page, "### Again: loopback");
    assert!(again.contains("| achieved/s | 1 | 0.0 % | 0.0 % | 1 | 1 | 0 |"), "{again}");
}

#[test]
fn who_is_in_one_run_only_is_named() {
    let mut again = first();
    again.cases[0].rows.retain(|row| row.contender != "python");
    let page = results::page(&inputs(Some(again)));
    assert!(page.contains("In one run only: ping-64 python (not in the second)."), "{page}");
    assert!(page.contains("No cell disagrees.") && page.contains("Different: 0, "));
}

/// Tags are closed in their order, and quotes too; there are no scripts.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "{part}");
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a name");
        assert_ne!(name, "script");
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name), "{svg}"),
            (_, true) => {}
            _ => open.push(name),
        }
        for (at, _) in text.match_indices('&') {
            assert!(["&amp;", "&lt;", "&gt;"].iter().any(|one| text[at..].starts_with(one)));
        }
    }
    assert_eq!(open, [""; 0], "{svg}");
}

#[test]
fn a_picture_has_every_contender_and_every_round() {
    let pictures = pictures::all(&inputs(None));
    let names: Vec<_> = pictures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ping-64.svg", "killed.svg", "headline.svg"]);
    for (name, svg) in &pictures {
        assert_well_formed(svg);
        assert!(svg.len() < 30_000, "{name} has {} bytes", svg.len());
    }
    let svg = &pictures[0].1;
    for name in ["evenkeel", "haproxy", "nginx", "python", "floor-epoll", "floor-ring"] {
        assert!(svg.contains(&format!(">{name}</text>")), "{name}: {svg}");
    }
    assert!(svg.contains("failed: it did not &lt;start&gt;"));
    let dots = svg.lines().find(|line| line.contains("class=\"du\"")).expect("our dots");
    assert_eq!(dots.matches("h0").count(), FIVE.len());
    // Ours over the best of the others, which is the only one.
    assert!(svg.contains(">each / haproxy</text>") && svg.contains(">0.90 (0.40–1.00)</text>"));
    // Each panel has one zero, also where all have none.
    assert_eq!(pictures[1].1.matches(">0</text>").count(), 2, "{}", pictures[1].1);
    // No difference to HAProxy was seen, one to the Python version was.
    let headline = &pictures[2].1;
    assert!(headline.contains("class=\"oa\"") && headline.contains("class=\"pc\""), "{headline}");
}

#[test]
fn the_readme_changes_between_its_markers_only() {
    let part = readme::part(&inputs(None));
    assert!(part.contains("evenkeel / haproxy 0.90 (0.40–1.00), no difference seen"));
    assert!(part.contains("Python / evenkeel 2.00 (2.00–3.00), ahead in every round"));
    assert!(part.contains(
        "ahead of the better of HAProxy and nginx in every round in 0 of 1 rows, without a difference in 1;"
    ));
    assert!(part.contains(
        "behind in 2, misses a target without being behind in 1, and shows no difference in 0"
    ));
    let before = format!("a\n{}\nold\n{}\nz\n", readme::BEGIN, readme::END);
    let after = readme::with(&before, "new\n").expect("it has the markers");
    assert_eq!(after, format!("a\n{}\nnew\n{}\nz\n", readme::BEGIN, readme::END));
    for broken in ["nothing".to_owned(), format!("{} only", readme::BEGIN)] {
        let error = readme::with(&broken, "new").expect_err("a marker is missing");
        assert!(error.contains(readme::END) && error.contains("put "), "{error}");
    }
}

/// A folder as the repository's, which is gone at the end.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let folder = format!("evenkeel-publish-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(folder.join("bench/results")).expect("a folder");
        let readme = format!("{}\n{}\n", readme::BEGIN, readme::END);
        fs::write(folder.join("README.md"), readme).expect("a file");
        Self(folder)
    }

    fn results(&self) -> PathBuf {
        self.0.join("bench/results")
    }

    fn put(&self, name: &str, document: &Document) -> PathBuf {
        let path = self.results().join(name);
        fs::write(&path, serde_json::to_string(document).expect("JSON")).expect("a file");
        path
    }

    fn arguments(&self, check: bool, files: &[PathBuf]) -> Arguments {
        let readme = self.0.join("README.md");
        Arguments { results: self.results(), readme, check, files: files.to_vec() }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_written_is_what_would_be_written_until_somebody_edits_it() {
    let tree = Tree::new("check");
    let _ = tree.put("x-loopback.json", &first());
    let (write, check) = (tree.arguments(false, &[]), tree.arguments(true, &[]));
    let error = run(&check).expect_err("nothing is there yet").to_string();
    assert!(error.contains("RESULTS.md") && error.contains("-- publish"), "{error}");
    run(&write).expect("it is written");
    run(&check).expect("it is there");
    let picture = tree.results().join("ping-64.svg");
    fs::write(&picture, "mine").expect("a file");
    let error = run(&check).expect_err("it differs").to_string();
    assert!(error.contains("ping-64.svg") && !error.contains("RESULTS.md"), "{error}");
}

#[test]
fn a_quick_or_broken_off_run_is_not_shown() {
    let tree = Tree::new("quick");
    let quick = tree.put("x-loopback-quick.json", &Document { quick: true, ..first() });
    let broken_off = tree.put("y-loopback.json", &Document { complete: false, ..first() });
    fs::write(tree.results().join("cost.json"), r#"{"schema": "evenkeel-bench-cost-2"}"#)
        .expect("a file");
    let refused = |files: &[PathBuf]| {
        run(&tree.arguments(false, files)).expect_err("it is refused").to_string()
    };
    assert!(refused(&[]).contains("no whole comparison"));
    assert!(refused(&[quick]).contains("leave out --quick"));
    assert!(refused(&[broken_off]).contains("did not come to its end"));
    assert!(refused(&[tree.results().join("cost.json")]).contains("no document of a comparison"));
}

#[test]
fn the_newest_whole_run_of_a_network_is_shown_and_its_repetition_beside_it() {
    let tree = Tree::new("newest");
    let of = |date: &str| {
        let mut document = first();
        date.clone_into(&mut document.host.date);
        document
    };
    let _ = tree.put("2026-11-20-x-loopback.json", &of("2026-11-20"));
    let _ = tree.put("2026-11-21-x-loopback.json", &of("2026-11-21"));
    let _ = tree.put("2026-11-22-x-loopback-ping.json", &of("2026-11-22"));
    let _ = tree.put("2026-11-21-x-loopback-again.json", &of("2026-11-21"));
    let inputs = Inputs::newest_in(&tree.results()).expect("there is one");
    let files = |source: &Option<Source>| source.as_ref().map(|one| one.file.clone());
    let found: Vec<_> = inputs
        .networks
        .iter()
        .map(|one| (one.name, files(&one.first), files(&one.again)))
        .collect();
    let [first, again] = ["2026-11-21-x-loopback.json", "2026-11-21-x-loopback-again.json"];
    let expected = ("loopback", Some(first.to_owned()), Some(again.to_owned()));
    assert_eq!(found, [expected, ("lab", None, None)]);
}

/// Whoever measures anew, or changes a word of the page, has to write it anew.
#[test]
fn the_pages_in_the_tree_are_what_the_documents_say() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    if Inputs::whole_in(&results).expect("the folder can be read").is_none() {
        println!("skipped: bench/results has no whole comparison yet");
        return;
    }
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let arguments = Arguments { results, readme, check: true, files: Vec::new() };
    run(&arguments).expect("what is there is what would be written");
}
