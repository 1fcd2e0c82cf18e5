//! What all contenders shall have alike, and who has not.

use super::{Connection, Seen};

/// Where `seen` differs from what all shall have; what was not seen does not.
pub(super) fn deviations(seen: &Seen) -> Vec<String> {
    let workers = seen.working_threads.filter(|&workers| workers != 1);
    let workers = workers.map(|workers| format!("{workers} threads work instead of 1"));
    let cpus = &seen.cpus_allowed;
    let is_one = cpus.is_empty() || cpus.parse::<u32>().is_ok();
    let cpus = (!is_one).then(|| format!("it may use the CPUs {cpus} instead of one"));
    let backlog = seen.backlog.filter(|&backlog| backlog != BACKLOG);
    let backlog = backlog.map(|backlog| format!("a backlog of {backlog} instead of {BACKLOG}"));
    let sides = [("client", &seen.client_side), ("backend", &seen.backend_side)];
    let sides = sides.into_iter().filter_map(|(name, side)| Some((name, side.as_ref()?)));
    let sides = sides.flat_map(|(name, side)| of_a_connection(name, side));
    workers.into_iter().chain(cpus).chain(backlog).chain(sides).chain(of_the_log(seen)).collect()
}

fn of_a_connection(name: &str, side: &Connection) -> impl Iterator<Item = String> {
    let delays = (!side.no_delay).then(|| format!("no TCP_NODELAY on the {name}'s side"));
    let other = (side.congestion_control != CONGESTION_CONTROL).then(|| {
        format!("{} instead of {CONGESTION_CONTROL} on the {name}'s side", side.congestion_control)
    });
    delays.into_iter().chain(other)
}

fn of_the_log(seen: &Seen) -> Option<String> {
    let log = seen.log.as_ref()?;
    let others = log.others.join(", ");
    match (log.writes, log.others.is_empty()) {
        (None | Some(0), true) => None,
        (Some(writes @ 1..), true) => Some(format!("it wrote a log, {writes} times")),
        (Some(writes @ 1..), false) => {
            Some(format!("it wrote a log, {writes} times; it has open {others}"))
        }
        (None | Some(0), false) => Some(format!("it has a place for a log open: {others}")),
    }
}

const BACKLOG: u32 = 4096;
const CONGESTION_CONTROL: &str = "cubic";

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::super::tests::alike;
    use super::*;

    fn check(change: impl FnOnce(&mut Seen), expected: &[&str]) {
        let mut seen = alike();
        change(&mut seen);
        assert_eq!(deviations(&seen), expected);
    }

    fn backend(seen: &mut Seen) -> &mut Connection {
        seen.backend_side.as_mut().expect("it was seen")
    }

    #[test]
    fn who_is_as_all_shall_be_has_none() {
        check(|_| (), &[]);
        check(|seen| (seen.threads, seen.processes) = (9, 2), &[]);
        check(|seen| *seen = Seen::nothing("hidden", &ErrorKind::NotFound.into()), &[]);
    }

    #[test]
    fn each_difference_is_said() {
        check(|seen| seen.working_threads = Some(2), &["2 threads work instead of 1"]);
        check(|seen| seen.working_threads = Some(0), &["0 threads work instead of 1"]);
        for cpus in ["0-1", "0,3", "0 and 1"] {
            let said = format!("it may use the CPUs {cpus} instead of one");
            check(|seen| seen.cpus_allowed = cpus.to_owned(), &[&said]);
        }
        check(|seen| seen.backlog = Some(511), &["a backlog of 511 instead of 4096"]);
        check(|seen| backend(seen).no_delay = false, &["no TCP_NODELAY on the backend's side"]);
        check(
            |seen| backend(seen).congestion_control = "bbr".to_owned(),
            &["bbr instead of cubic on the backend's side"],
        );
        check(
            |seen| seen.client_side.as_mut().expect("it was seen").no_delay = false,
            &["no TCP_NODELAY on the client's side"],
        );
    }

    #[test]
    fn a_log_is_a_difference_when_it_is_open_or_written() {
        let log = |writes, others: &[&str]| {
            let others = others.iter().map(|&other| other.to_owned()).collect();
            move |seen: &mut Seen| {
                let log = seen.log.as_mut().expect("it was seen");
                (log.writes, log.others) = (writes, others);
            }
        };
        check(log(Some(3), &[]), &["it wrote a log, 3 times"]);
        check(log(None, &["/a", "/b"]), &["it has a place for a log open: /a, /b"]);
        check(log(Some(1), &["/a"]), &["it wrote a log, 1 times; it has open /a"]);
    }

    #[test]
    fn several_differences_are_all_said() {
        check(
            |seen| {
                seen.backlog = Some(128);
                backend(seen).no_delay = false;
            },
            &["a backlog of 128 instead of 4096", "no TCP_NODELAY on the backend's side"],
        );
    }
}
