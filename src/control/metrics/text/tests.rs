use super::*;

fn some() -> Vec<Family> {
    let web = Labels::new(&[("pool", "web")]);
    let buckets = Buckets { bounds: Bounds::LENGTH, counts: vec![1; 13], sum_ns: 2_500_000_000 };
    vec![
        Family::new("evenkeel_a", Kind::Counter, "Things.")
            .with(web.and("path=\"copied\""), 3_u64)
            .with(web.and("path=\"spliced\""), u64::MAX),
        Family::new("evenkeel_b_seconds", Kind::Gauge, "A time.")
            .with(Labels::default(), Value::Nanoseconds(1_000_000_020)),
        Family::new("evenkeel_c", Kind::Info, "Words.").with(web.clone(), 1_u64),
        Family::new("evenkeel_nothing", Kind::Gauge, "Never seen."),
        Family::new("evenkeel_d_seconds", Kind::Histogram, "A distribution.").with(web, buckets),
        Family::new("evenkeel_e", Kind::Gauge, "A part.").with(Labels::default(), 0.25),
    ]
}

fn written(format: Format) -> String {
    Writer::new(some(), format).collect()
}

#[test]
fn text_is_as_prometheus_has_it() {
    let text = written(Format::Text);
    let head = "# HELP evenkeel_a_total Things.\n# TYPE evenkeel_a_total counter\n\
        evenkeel_a_total{pool=\"web\",path=\"copied\"} 3\n\
        evenkeel_a_total{pool=\"web\",path=\"spliced\"} 18446744073709551615\n\
        # HELP evenkeel_b_seconds A time.\n# TYPE evenkeel_b_seconds gauge\n\
        evenkeel_b_seconds 1.00000002\n\
        # HELP evenkeel_c_info Words.\n# TYPE evenkeel_c_info gauge\n\
        evenkeel_c_info{pool=\"web\"} 1\n\
        # HELP evenkeel_d_seconds A distribution.\n# TYPE evenkeel_d_seconds histogram\n\
        evenkeel_d_seconds_bucket{pool=\"web\",le=\"0.001024\"} 1\n\
        evenkeel_d_seconds_bucket{pool=\"web\",le=\"0.004096\"} 2\n";
    assert!(text.starts_with(head), "{text}");
    let tail = "evenkeel_d_seconds_bucket{pool=\"web\",le=\"4294.967296\"} 12\n\
        evenkeel_d_seconds_bucket{pool=\"web\",le=\"+Inf\"} 13\n\
        evenkeel_d_seconds_sum{pool=\"web\"} 2.5\n\
        evenkeel_d_seconds_count{pool=\"web\"} 13\n\
        # HELP evenkeel_e A part.\n# TYPE evenkeel_e gauge\nevenkeel_e 0.25\n";
    assert!(text.ends_with(tail), "{text}");
}

#[test]
fn openmetrics_has_its_own_types_units_and_end() {
    let text = written(Format::OpenMetrics);
    for lines in [
        "# HELP evenkeel_a Things.\n# TYPE evenkeel_a counter\nevenkeel_a_total{",
        "# TYPE evenkeel_b_seconds gauge\n# UNIT evenkeel_b_seconds seconds\n",
        "# TYPE evenkeel_c info\nevenkeel_c_info{pool=\"web\"} 1\n",
    ] {
        assert!(text.contains(lines), "{lines} in {text}");
    }
    assert!(text.ends_with("evenkeel_e 0.25\n# EOF\n"), "{text}");
    assert!(!text.contains("nothing"), "a family without a sample is left out: {text}");
}

#[test]
fn what_is_large_comes_in_pieces_that_end_with_a_line() {
    let labels = Labels::new(&[("backend", &"x".repeat(100))]);
    let family = Family::new("evenkeel_a", Kind::Counter, "Things.");
    let family = family.of(0..5000_u64, |number| (labels.clone(), number));
    let pieces: Vec<String> = Writer::new(vec![family], Format::OpenMetrics).collect();
    assert!(pieces.len() > 5, "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.ends_with('\n')));
    assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES + LINE_BYTES));
    assert_eq!(pieces.concat().lines().count(), 5003);
    assert!(pieces.concat().ends_with("\n# EOF\n"));
}

#[test]
fn seconds_are_not_rounded() {
    for (ns, text) in [
        (0, "0.0"),
        (1, "0.000000001"),
        (64_000, "0.000064"),
        (1_000_000_000, "1.0"),
        (u64::MAX, "18446744073.709551615"),
    ] {
        assert_eq!(Seconds(ns).to_string(), text);
    }
}
