//! Whether equals were compared: what everybody was seen to do, and how each was started.

use super::input::Inputs;
use super::markdown::{fenced, percent, table};
use crate::audit::{Buffer, Connection, DataPath, Seen};
use crate::contender::{Known, Setup};

/// The section.
pub(super) fn section(inputs: &Inputs) -> String {
    let mut text = String::from(
        "## Equals are compared\n\n\
         What each contender was seen to do while it carried connections: its sockets as the kernel has \
         them, and its system calls. The order in a cell is that of the heading; buffers are bytes to send \
         and to receive.\n",
    );
    for network in &inputs.networks {
        text += &format!("\n### Seen: {}\n\n", network.name);
        let seen = network.first.as_ref().map(|source| source.document.seen.as_slice());
        match seen {
            None | Some([]) => text += "Not measured.\n",
            Some(seen) => text += &seen_in(seen),
        }
    }
    text += "\n### Commands and configurations\n\nAddresses are examples.\n";
    for known in everyone(inputs) {
        text += &format!("\n**{}**: {}\n\n", known.name, what_it_is(known));
        text += &setup(&known.command, known.config.as_deref());
        if let Some(Setup { command, config }) = &known.disruption {
            text += &format!("\nIn disruptions:\n\n{}", setup(command, config.as_deref()));
        }
    }
    text
}

fn setup(command: &str, config: Option<&str>) -> String {
    let config = config.map(|text| format!("\n\n{text}")).unwrap_or_default();
    fenced(&(command.to_owned() + &config))
}

/// Everybody who was looked for, once.
pub(super) fn everyone(inputs: &Inputs) -> Vec<&Known> {
    let mut everyone: Vec<&Known> = Vec::new();
    for known in inputs.shown().flat_map(|(_, document)| &document.contenders) {
        if !everyone.iter().any(|one| one.name == known.name) {
            everyone.push(known);
        }
    }
    everyone
}

/// Its version, or what brings it.
pub(super) fn what_it_is(known: &Known) -> String {
    match (&known.absent, &known.version) {
        (Some(absent), _) => format!("did not take part: {absent}"),
        (None, Some(version)) => version.clone(),
        (None, None) => "no version".to_owned(),
    }
}

fn seen_in(seen: &[Seen]) -> String {
    let head = [
        "",
        "processes, threads (working)",
        "CPUs allowed",
        "backlog",
        "client side: nodelay, keepalive, congestion, buffers",
        "backend side",
        "bytes up",
        "bytes down",
        "log",
    ];
    let rows: Vec<_> = seen.iter().map(row).collect();
    let mut text = table(&head, &rows);
    for (title, of) in [
        ("Deviations", (|one| &one.deviations) as fn(&Seen) -> &Vec<String>),
        ("Not seen", |one| &one.not_seen),
    ] {
        let said = seen.iter().flat_map(|one| of(one).iter().map(|what| (&one.contender, what)));
        let lines: Vec<_> = said.map(|(who, what)| format!("- {who}: {what}\n")).collect();
        let lines = if lines.is_empty() { "- none\n".to_owned() } else { lines.concat() };
        text += &format!("\n{title}:\n\n{lines}");
    }
    text + &sockets(seen)
}

/// What ss has to say.
fn sockets(seen: &[Seen]) -> String {
    let sides = |one: &Seen| {
        let sides = [("client", &one.client_side), ("backend", &one.backend_side)];
        let line = |(side, connection): (&str, &Option<Connection>)| {
            let ss = connection.as_ref()?.ss.as_ref()?;
            Some(format!("{} {side} side: {ss}", one.contender))
        };
        sides.into_iter().filter_map(line).collect::<Vec<_>>()
    };
    let lines: Vec<_> = seen.iter().flat_map(sides).collect();
    if lines.is_empty() {
        return String::new();
    }
    let (open, close) =
        ("<details><summary>What <code>ss -ti</code> shows</summary>", "</details>");
    format!("\n{open}\n\n{}\n{close}\n", fenced(&lines.join("\n")))
}

fn row(seen: &Seen) -> Vec<String> {
    let Seen { processes, threads, working_threads, .. } = seen;
    let working = working_threads.map_or("not seen".to_owned(), |count| count.to_string());
    let log = seen.log.as_ref().map_or("not seen".to_owned(), |log| {
        let writes =
            log.writes.map_or("writes not seen".to_owned(), |count| format!("{count} writes"));
        let others = log.others.iter().map(|other| format!(", {other}")).collect::<String>();
        format!("{writes}; {} and {}{others}", log.stdout, log.stderr)
    });
    vec![
        seen.contender.clone(),
        format!("{processes}, {threads} ({working})"),
        seen.cpus_allowed.clone(),
        seen.backlog.map_or("not seen".to_owned(), |backlog| backlog.to_string()),
        side(seen.client_side.as_ref()),
        side(seen.backend_side.as_ref()),
        path(seen.up.as_ref()),
        path(seen.down.as_ref()),
        log,
    ]
}

fn side(connection: Option<&Connection>) -> String {
    let Some(connection) = connection else { return "not seen".to_owned() };
    let yes = |is| if is { "yes" } else { "no" };
    let buffer = |Buffer { bytes, fixed }| match fixed {
        Some(true) => format!("{bytes} fixed"),
        Some(false) => format!("{bytes} tuned"),
        None => bytes.to_string(),
    };
    let Connection { no_delay, keepalive, congestion_control, send_buffer, receive_buffer, .. } =
        connection;
    let (no_delay, keepalive) = (yes(*no_delay), yes(*keepalive));
    let (send, receive) = (buffer(*send_buffer), buffer(*receive_buffer));
    format!("{no_delay}, {keepalive}, {congestion_control}, {send} / {receive}")
}

fn path(path: Option<&DataPath>) -> String {
    let Some(DataPath { carried_bytes, spliced_bytes, calls }) = path else {
        return "not seen".to_owned();
    };
    let how = match (*spliced_bytes, *carried_bytes) {
        (_, 0) => "nothing carried".to_owned(),
        (0, _) => "all copied".to_owned(),
        (spliced, carried) if spliced >= carried => "all spliced".to_owned(),
        (spliced, carried) => format!("{} spliced", percent(spliced as f64 / carried as f64)),
    };
    let calls: Vec<_> = calls.iter().map(|one| format!("{} {}", one.name, one.count)).collect();
    if calls.is_empty() { how } else { format!("{how} ({})", calls.join(", ")) }
}
