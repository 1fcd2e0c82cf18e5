//! What was seen, on the terminal.

use super::{Buffer, CONNECTIONS, Calls, Connection, DataPath, Log, Seen, TRANSFER_BYTES};
use crate::table::align;

/// A line for each contender, what it stands on, and then who differs.
pub(crate) fn print(seen: &[Seen]) {
    let mib = TRANSFER_BYTES >> 20;
    println!("what they were seen to do, with {CONNECTIONS} connections and {mib} MiB each way:");
    table(seen).iter().for_each(|line| println!("  {line}"));
    seen.iter().flat_map(evidence).for_each(|line| println!("  {line}"));
    println!();
    verdict(seen).iter().for_each(|line| println!("{line}"));
    println!();
}

fn table(seen: &[Seen]) -> Vec<String> {
    let head = HEAD.iter().map(|&name| name.to_owned()).collect();
    let lines: Vec<Vec<String>> = [head].into_iter().chain(seen.iter().map(cells)).collect();
    align(&lines)
}

fn cells(seen: &Seen) -> Vec<String> {
    let sides = [&seen.client_side, &seen.backend_side];
    let both = |show: &dyn Fn(&Connection) -> String| {
        let [client, backend] = sides.map(|side| side.as_ref().map_or("?".to_owned(), show));
        if client == backend { client } else { format!("{client}, {backend}") }
    };
    let on = |is: bool| if is { "on" } else { "off" }.to_owned();
    vec![
        seen.contender.clone(),
        known((seen.processes > 0).then_some(seen.processes)),
        seen.working_threads.map_or("?".into(), |some| format!("{some} of {}", seen.threads)),
        if seen.cpus_allowed.is_empty() { "?".into() } else { seen.cpus_allowed.clone() },
        known(seen.backlog),
        both(&|side| on(side.no_delay)),
        both(&|side| side.congestion_control.clone()),
        both(&|side| buffers(side)),
        both(&|side| on(side.keepalive)),
        seen.up.as_ref().map_or("?".to_owned(), path),
        seen.down.as_ref().map_or("?".to_owned(), path),
        seen.log.as_ref().map_or("?".to_owned(), log),
    ]
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or("?".to_owned(), |value| value.to_string())
}

/// Who gives both buffers their size.
fn buffers(side: &Connection) -> String {
    let who = |buffer: Buffer| match buffer.fixed {
        Some(true) => format!("{} B", buffer.bytes),
        Some(false) => "kernel".to_owned(),
        None => "?".to_owned(),
    };
    let (send, receive) = (who(side.send_buffer), who(side.receive_buffer));
    if send == receive { send } else { format!("{send}/{receive}") }
}

fn path(path: &DataPath) -> String {
    match path.spliced_bytes {
        0 => "copied".to_owned(),
        spliced => {
            format!("{:.1} % spliced", spliced as f64 * 100.0 / path.carried_bytes.max(1) as f64)
        }
    }
}

fn log(log: &Log) -> String {
    match (log.writes, log.others.is_empty()) {
        (Some(0), true) => "none".to_owned(),
        (None, true) => "none open".to_owned(),
        _ => "YES".to_owned(),
    }
}

/// ss(8), and the calls.
fn evidence(seen: &Seen) -> Vec<String> {
    let sides = [("client", &seen.client_side), ("backend", &seen.backend_side)];
    let ss = sides.into_iter().filter_map(|(name, side)| {
        let fields = settled(side.as_ref()?.ss.as_ref()?);
        Some(format!("  {name}'s side, ss -ti: {fields}"))
    });
    let paths = [("up", &seen.up), ("down", &seen.down)];
    let paths = paths.into_iter().filter_map(|(name, path)| {
        let calls = path.as_ref()?.calls.iter();
        let calls = calls.map(|Calls { name, count }| format!("{count} {name}"));
        Some(format!("{name}: {}", calls.collect::<Vec<_>>().join(", ")))
    });
    let paths = paths.collect::<Vec<_>>().join("; ");
    let calls = (!paths.is_empty()).then(|| format!("  system calls {paths}"));
    let lines: Vec<String> = ss.chain(calls).collect();
    let name = (!lines.is_empty()).then(|| format!("{}:", seen.contender));
    name.into_iter().chain(lines).collect()
}

/// Of what ss(8) shows, that which is no count; the rest is in the file.
fn settled(ss: &str) -> String {
    let fields = ss.split(' ').enumerate();
    let fields = fields.filter(|(index, field)| {
        *index == 0 || SETTLED.iter().any(|name| field.split(':').next() == Some(name))
    });
    fields.map(|(_, field)| field).collect::<Vec<_>>().join(" ")
}

/// The differences, loud; and what nobody has looked at.
fn verdict(seen: &[Seen]) -> Vec<String> {
    let lines_of = |what: fn(&Seen) -> &[String]| {
        let lines = seen.iter().flat_map(move |seen| {
            what(seen).iter().map(move |line| format!("  {}: {line}", seen.contender))
        });
        lines.collect::<Vec<_>>()
    };
    let (differ, hidden) = (lines_of(|seen| &seen.deviations), lines_of(|seen| &seen.not_seen));
    let differ = match differ.as_slice() {
        [] => vec!["all that was seen is alike".to_owned()],
        _ => [vec!["NOT ALIKE:".to_owned()], differ].concat(),
    };
    let hidden = match hidden.as_slice() {
        [] => hidden,
        _ => [vec!["not seen:".to_owned()], hidden].concat(),
    };
    [differ, hidden].concat()
}

/// The congestion control is the first field, and has no name.
const SETTLED: [&str; 6] = ["wscale", "rto", "mss", "pmtu", "advmss", "cwnd"];
const HEAD: [&str; 12] = [
    "",
    "processes",
    "threads at work",
    "CPU",
    "backlog",
    "nodelay",
    "congestion",
    "buffers",
    "keepalive",
    "bulk up",
    "bulk down",
    "log",
];

#[cfg(test)]
mod tests {
    use super::super::tests::alike;
    use super::*;

    #[test]
    fn both_sides_are_shown_once_where_they_agree() {
        let mut other = Seen { contender: "other".to_owned(), ..alike() };
        let side = other.backend_side.as_mut().expect("it was seen");
        side.no_delay = false;
        side.receive_buffer = Buffer { bytes: 4096, fixed: Some(true) };
        other.up = Some(DataPath { carried_bytes: 1000, spliced_bytes: 999, calls: Vec::new() });
        let hidden = Seen { contender: "hidden".to_owned(), ..Seen::default() };
        let lines = table(&[alike(), other, hidden]);
        let words: Vec<Vec<&str>> = lines
            .iter()
            .map(|line| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect())
            .collect();
        assert_eq!(
            words[1],
            [
                "alike", "1", "1 of 2", "0", "4096", "on", "cubic", "kernel", "off", "copied",
                "copied", "none"
            ]
        );
        assert_eq!(words[2][5..8], ["on, off", "cubic", "kernel, kernel/4096 B"]);
        assert_eq!(words[2][9..], ["99.9 % spliced", "copied", "none"]);
        assert_eq!(words[3], [&["hidden"][..], &["?"; 11]].concat());
    }

    #[test]
    fn differences_are_loud_and_what_was_not_seen_is_said() {
        assert_eq!(verdict(&[alike()]), ["all that was seen is alike"]);
        let mut other = alike();
        other.deviations = vec!["a backlog of 1".to_owned()];
        other.not_seen = vec!["strace".to_owned()];
        let said = verdict(&[alike(), other]);
        assert_eq!(said, ["NOT ALIKE:", "  alike: a backlog of 1", "not seen:", "  alike: strace"]);
    }

    #[test]
    fn what_it_stands_on_is_shown() {
        let mut seen = alike();
        seen.client_side.as_mut().expect("it was seen").ss = Some(
            "cubic wscale:10,10 rto:201 rtt:0.1/0.2 mss:32768 rcvmss:536 bytes_sent:9".to_owned(),
        );
        let calls = |name: &str, count| Calls { name: name.to_owned(), count };
        seen.up.as_mut().expect("it was seen").calls = vec![calls("splice", 9), calls("read", 2)];
        assert_eq!(
            evidence(&seen),
            [
                "alike:",
                "  client's side, ss -ti: cubic wscale:10,10 rto:201 mss:32768",
                "  system calls up: 9 splice, 2 read; down: "
            ]
        );
        assert!(evidence(&Seen::default()).is_empty());
    }
}
