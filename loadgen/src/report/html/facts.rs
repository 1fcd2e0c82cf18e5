//! What was asked for, what it cost, how the generator was, where it ran, and how to do it again.

use super::{escape, float, section as part, time_or_dash};
use crate::report::{Config, Report, plot};

/// The last sections.
pub(super) fn sections(report: &Report) -> String {
    let facts = [
        hold(report),
        cost(report),
        generator(report),
        network(report),
        settings(&report.config),
        environment(report),
    ]
    .concat();
    format!("{}<div class=\"pair\">{facts}</div>\n", command(report))
}

/// Names and values. What has no value is not there.
fn list(facts: Vec<(&str, Option<String>)>) -> String {
    let fact = |(name, value): (&str, Option<String>)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some(format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(&value)))
    };
    let facts: String = facts.into_iter().filter_map(fact).collect();
    if facts.is_empty() { String::new() } else { format!("<dl class=\"facts\">{facts}</dl>\n") }
}

fn section(id: &str, heading: &str, note: &str, facts: Vec<(&str, Option<String>)>) -> String {
    let list = list(facts);
    if list.is_empty() { list } else { part(id, heading, note, &list) }
}

fn hold(report: &Report) -> String {
    let Some(hold) = &report.hold else { return String::new() };
    let lost: Vec<String> =
        hold.lost.iter().map(|(kind, count)| format!("{} {kind}", plot::count(*count))).collect();
    section(
        "hold",
        "Held connections",
        "",
        vec![
            ("wanted", Some(plot::count(hold.wanted))),
            ("established", Some(plot::count(hold.established))),
            ("alive at the end", Some(plot::count(hold.alive))),
            ("lost, by kind", (!lost.is_empty()).then(|| lost.join(", "))),
            ("time to establish all", Some(plot::seconds(hold.connect_s))),
            ("probes answered", Some(plot::count(hold.probes_ok))),
            ("probes failed", Some(plot::count(hold.probes_failed))),
            (
                "memory of the generator a connection",
                Some(plot::bytes(hold.generator_bytes_per_connection)),
            ),
        ],
    )
}

fn cost(report: &Report) -> String {
    let Some(sut) = &report.sut else { return String::new() };
    section(
        "cost",
        "Cost of the system under test",
        "",
        vec![
            ("what", Some(sut.what.clone())),
            ("CPU a request", sut.cpu_us_per_request.map(|us| format!("{us:.2} µs"))),
            ("CPU a GB", sut.cpu_s_per_gb.map(|s| format!("{s:.3} s"))),
            ("CPU", Some(format!("{:.2} s", sut.cpu_s))),
            ("resident before", Some(plot::bytes(float(sut.resident_before_bytes)))),
            ("resident at the end", Some(plot::bytes(float(sut.resident_bytes)))),
            ("memory a connection", sut.bytes_per_connection.map(plot::bytes)),
            ("voluntary switches", sut.voluntary_switches.map(plot::count)),
            ("involuntary switches", sut.involuntary_switches.map(plot::count)),
        ],
    )
}

fn generator(report: &Report) -> String {
    let generator = &report.generator;
    let turn = |quantile| {
        (generator.turn.count() > 0).then(|| time_or_dash(generator.turn.quantile_ns(quantile)))
    };
    let note =
        "Within a turn of its loop the generator cannot tell times apart: that is the error bar.";
    section(
        "generator",
        "Generator",
        note,
        vec![
            ("engine", Some(generator.engine.clone())),
            ("threads", Some(generator.threads.to_string())),
            ("busiest thread", Some(plot::percent(generator.busiest))),
            ("CPU of all threads", Some(format!("{:.2} s", generator.cpu_s))),
            ("turn p50", turn(0.5)),
            ("turn p99", turn(0.99)),
            ("turn max", generator.turn.max_ns().map(plot::time)),
            (
                "connections",
                Some(format!(
                    "{} of {}",
                    plot::count(generator.connections_established.into()),
                    plot::count(generator.connections_wanted.into())
                )),
            ),
            (
                "of these, silent while it was measured",
                (generator.connections_silent > 0)
                    .then(|| plot::count(generator.connections_silent.into())),
            ),
            (
                "local ports",
                generator
                    .ports
                    .map(|[used, all]| format!("{} of {}", plot::count(used), plot::count(all))),
            ),
        ],
    )
}

fn network(report: &Report) -> String {
    let Some(network) = &report.network else { return String::new() };
    let share = float(network.retransmitted) / float(network.segments_out.max(1));
    section(
        "network",
        "Network",
        "Of the whole network namespace, other programs included.",
        vec![
            ("segments sent", Some(plot::count(network.segments_out))),
            (
                "sent again",
                Some(format!("{} ({})", plot::count(network.retransmitted), plot::percent(share))),
            ),
            ("dropped by a full backlog", Some(plot::count(network.listen_drops))),
        ],
    )
}

fn command(report: &Report) -> String {
    if report.config.command.is_empty() {
        return String::new();
    }
    let words: Vec<String> = report.config.command.iter().map(|word| quoted(word)).collect();
    let body = format!(
        "<div class=\"command\"><pre tabindex=\"0\"><code>{}</code></pre>\
         <button type=\"button\" hidden data-copy>Copy</button></div>\n",
        escape(&words.join(" "))
    );
    part("again", "Do it again", "", &body)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |one: char| one.is_ascii_alphanumeric() || "-_./:=,@%+".contains(one);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn settings(config: &Config) -> String {
    let joined = |words: Vec<String>| (!words.is_empty()).then(|| words.join(", "));
    let rate = config.rate_per_s.map(|from| match config.rate_end_per_s {
        Some(to) => format!("{} to {} /s", plot::rate(from), plot::rate(to)),
        None => format!("{} /s", plot::rate(from)),
    });
    let loop_kind = if rate.is_some() { "open" } else { "closed" };
    let bulk = matches!(config.workload.as_str(), "stream" | "hold");
    section(
        "settings",
        "Settings",
        "",
        vec![
            ("workload", Some(config.workload.clone())),
            ("target", Some(config.target.clone())),
            ("address", Some(config.address.clone())),
            ("connections", Some(plot::count(config.connections.into()))),
            ("threads", Some(config.threads.to_string())),
            ("duration", Some(plot::seconds(config.duration_s))),
            ("warm-up", (config.warm_up_s > 0.0).then(|| plot::seconds(config.warm_up_s))),
            ("requests at the most", config.requests.map(plot::count)),
            ("loop", (!bulk).then(|| loop_kind.to_owned())),
            ("rate", rate),
            ("arrivals", config.arrivals.clone()),
            ("seed", Some(config.seed.to_string())),
            ("pipeline", (config.pipeline > 1).then(|| config.pipeline.to_string())),
            ("requests a connection", config.requests_per_connection.clone()),
            ("request", (!bulk).then(|| plot::bytes(float(config.request_bytes)))),
            ("reply", config.reply_bytes.map(|bytes| plot::bytes(float(bytes)))),
            ("timeout", Some(plot::seconds(config.timeout_s))),
            ("verify", Some(config.verify.clone())),
            ("close", Some(config.close.clone())),
            ("sources", joined(config.sources.clone())),
            ("processors", joined(config.cpus.iter().map(ToString::to_string).collect())),
            (
                "weights",
                joined(
                    config
                        .weights
                        .iter()
                        .map(|(name, weight)| format!("{name} {weight}"))
                        .collect(),
                ),
            ),
            ("objective", config.slo.clone()),
        ],
    )
}

fn environment(report: &Report) -> String {
    let env = &report.env;
    let totals = &report.totals;
    let merged: Vec<&str> = env.generators.iter().map(|one| one.file.as_str()).collect();
    section(
        "environment",
        "Environment",
        "",
        vec![
            ("started", Some(env.started_at.clone())),
            ("loadgen", Some(env.version.clone())),
            ("kernel", Some(env.kernel.clone())),
            ("processor", Some(env.cpu_model.clone())),
            ("processors", Some(env.cpus.to_string())),
            ("congestion control", Some(env.congestion_control.clone())),
            ("processor time given to others", env.steal.map(plot::percent)),
            ("merged from", (!merged.is_empty()).then(|| merged.join(", "))),
            ("received", Some(plot::bytes(float(totals.bytes_in)))),
            ("sent", Some(plot::bytes(float(totals.bytes_out)))),
            ("connections made", Some(plot::count(totals.connects))),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        for (word, shell) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("p99<2ms", "'p99<2ms'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), shell);
        }
    }

    #[test]
    fn what_has_no_value_is_not_shown() {
        assert_eq!(list(vec![("a", None), ("b", Some(String::new()))]), "");
        assert!(list(vec![("a", Some("<".to_owned()))]).contains("<dd>&lt;</dd>"));
    }
}
