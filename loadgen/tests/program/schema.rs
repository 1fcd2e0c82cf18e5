//! The published schema against what is written: nothing is missing, and nothing is more.

use crate::common::{Served, run, text};
use jsonschema::Validator;
use loadgen::report::file::JSON_SCHEMA;
use loadgen::report::{Direction, Distribution, Hold, Part, Report, Stream, sample};
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(JSON_SCHEMA).expect("the schema is JSON")
}

fn validator() -> Validator {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema), "the schema keeps to JSON Schema");
    jsonschema::validator_for(&schema).expect("the schema is one")
}

/// The sample with every part that a report can have.
fn full() -> Report {
    let mut report = sample();
    let direction =
        Direction { name: "up".into(), streams_bytes: vec![1, 2], ..Direction::default() };
    report.stream = Some(Stream {
        directions: vec![direction],
        probe: Some(Distribution::default()),
        probe_idle: Some(report.latency.service.clone()),
        probe_error: Some("closed_early".to_owned()),
    });
    report.hold = Some(Hold::default());
    report.config.weights.insert("B1".to_owned(), 2.5);
    report.config.slo = Some("p99<2ms".to_owned());
    report.verdict.slo_met = Some(false);
    report.env.steal = Some(0.01);
    report.env.generators = vec![Part::default()];
    report
}

fn json(report: &Report) -> Value {
    serde_json::from_str(&report.to_json()).expect("a report is JSON")
}

#[test]
fn reports_keep_to_the_schema() {
    let validator = validator();
    let empty = Report {
        intervals: Vec::new(),
        backends: Vec::new(),
        sut: None,
        network: None,
        ..sample()
    };
    for report in [sample(), full(), empty] {
        let errors: Vec<_> =
            validator.iter_errors(&json(&report)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn results_of_runs_keep_to_the_schema() {
    let validator = validator();
    let served = Served::start(&["--name", "B1", "--port", "0"], 1);
    let target = served.addresses[0].to_string();
    for arguments in [
        &["ping", "-n", "500"][..],
        &["ping", "-n", "200", "-R", "10k", "--arrivals", "poisson", "--slo", "p99<1s"],
        &["conn", "-n", "50", "-c", "2"],
    ] {
        let output = run(&[arguments, &[target.as_str(), "--json", "-"]].concat());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {}", text(&output.stderr));
        });
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{arguments:?}: {errors:?}");
        let report = Report::from_json(&text(&output.stdout)).expect("it is read back");
        assert_eq!(report.to_json(), text(&output.stdout), "{arguments:?}: and nothing is lost");
    }
}

/// Calls `change` with each object of `value`, and its place.
fn each_object(value: &Value, place: &str, change: &mut dyn FnMut(&str, &[String])) {
    match value {
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            change(place, &names);
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                each_object(field, &format!("{place}/{name}"), change);
            }
        }
        Value::Array(items) => {
            if let Some(first) = items.first() {
                each_object(first, &format!("{place}/0"), change);
            }
        }
        _ => {}
    }
}

/// Objects whose keys are names that the run found.
fn is_open(place: &str) -> bool {
    place.ends_with("/weights") || place == "/errors" || place.ends_with("/0/backends")
}

#[test]
fn a_field_that_is_missing_or_unknown_breaks_the_schema() {
    let (validator, whole) = (validator(), json(&full()));
    let mut tried = 0;
    each_object(&whole, "", &mut |place, names| {
        if is_open(place) {
            return;
        }
        for name in names {
            let mut without = whole.clone();
            let object = without.pointer_mut(place).and_then(Value::as_object_mut);
            object.expect("it was found there").remove(name);
            assert!(!validator.is_valid(&without), "{place} without {name}");
            tried += 1;
        }
        let mut more = whole.clone();
        let object = more.pointer_mut(place).and_then(Value::as_object_mut);
        object.expect("it was found there").insert("surprise".to_owned(), Value::Null);
        assert!(!validator.is_valid(&more), "{place} with a surprise");
    });
    assert!(tried > 150, "only {tried} fields were found");
}

#[test]
fn a_value_of_another_kind_breaks_the_schema() {
    let validator = validator();
    for (place, value) in [
        ("/schema", Value::from("evenkeel.loadgen/2")),
        ("/config/workload", Value::from("pong")),
        ("/totals/ok", Value::from(-1)),
        ("/totals/ok", Value::from(1.5)),
        ("/backends/0/share", Value::Null),
        ("/generator/ports", serde_json::json!([1])),
        ("/latency/response/hdr_v2", Value::from("HIST")),
    ] {
        let mut report = json(&full());
        *report.pointer_mut(place).expect(place) = value;
        assert!(!validator.is_valid(&report), "{place}");
    }
}

#[test]
fn every_field_is_described() {
    let schema = schema();
    let types = schema["$defs"].as_object().expect("there are types").values();
    for one in types.chain([&schema]) {
        assert!(one["description"].is_string(), "{one}");
        for (name, field) in one["properties"].as_object().expect("a type has fields") {
            let described = field["description"].as_str().is_some_and(|text| text.len() > 3);
            assert!(described, "{name}");
        }
    }
}
