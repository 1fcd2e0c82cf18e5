//! The dashboard and the rules in docs/ ask for nothing that there is not.

use std::collections::BTreeSet;

use crate::metrics::scrape::{Scrape, Socket, judged_by_promtool};
use crate::support::Balancer;
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;

const DASHBOARD: &str = include_str!("../../../docs/grafana/evenkeel.json");
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/prometheus/rules.yml");
const RULES_TEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/prometheus/rules-test.yml");

/// Every name of a metric in an expression.
fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = expression.split(move |letter| !of_name(letter));
    words.filter(|word| word.starts_with("evenkeel_") || word.starts_with("process_"))
}

/// Every text under `key`, however deep.
fn texts<'a>(value: &'a serde_json::Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    serde_json::Value::String(text) if name == key => found.push(text),
                    _ => texts(value, key, found),
                }
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| texts(value, key, found));
        }
        _ => {}
    }
}

/// Something of everything: a table of sticky clients, a limit, checks that have changed something.
fn full_scrape() -> Scrape {
    let ([a, b], socket) = (["A", "B"].map(Backend::named), Socket::new());
    let options = format!("{} --sticky-key ip", socket.option());
    let balancer = Balancer::before(&[a.address, b.address], &options);
    (0..4).for_each(|_| drop(balancer.ask()));
    Scrape::of(&socket.path())
}

fn assert_known<'a>(names: impl IntoIterator<Item = &'a str>, whose: &str) -> usize {
    let scrape = full_scrape();
    let known = scrape.names();
    let asked: BTreeSet<_> = names.into_iter().collect();
    let unknown: Vec<_> = asked.iter().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "{whose} asks for {unknown:?}, which nothing tells");
    asked.len()
}

#[test]
fn every_metric_of_the_dashboard_is_told() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut expressions = Vec::new();
    for key in ["expr", "query", "definition"] {
        texts(&dashboard, key, &mut expressions);
    }
    let names: Vec<_> = expressions.iter().flat_map(|text| metrics_in(text)).collect();
    let asked = assert_known(names, "the dashboard");
    assert!(asked > 30, "only {asked} metrics are shown");
}

#[test]
fn promtool_understands_every_expression_of_the_dashboard() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, expression) in expressions.iter().enumerate() {
        // What Grafana puts in before it asks.
        let expression = expression.replace("$__rate_interval", "1m");
        assert!(expression.contains("=~\"$instance\""), "for any instance: {expression}");
        let expression = serde_json::to_string(&expression).unwrap();
        rules += &format!("  - record: panel:{number}\n    expr: {expression}\n");
    }
    let file = ConfigFile::new(&rules);
    judged_by_promtool(&["check", "rules", file.name()], "");
}

#[test]
fn panels_of_the_dashboard_have_their_own_ids_and_do_not_overlap() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is too wide");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} lies on another at {cell:?}");
        }
    }
    assert!(ids.len() > 20);
}

#[test]
fn every_metric_of_the_rules_is_told() {
    let rules = std::fs::read_to_string(RULES).unwrap();
    let expressions = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let names: Vec<_> = expressions.flat_map(metrics_in).collect();
    let asked = assert_known(names, "a rule");
    assert!(asked > 8, "only {asked} metrics are watched");
}

#[test]
fn promtool_accepts_the_rules_and_they_fire_when_they_should() {
    judged_by_promtool(&["check", "rules", RULES], "");
    judged_by_promtool(&["test", "rules", RULES_TEST], "");
}
