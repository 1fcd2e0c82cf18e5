//! Open files.

use super::super::facts::Files;
use super::super::needs::Needs;
use super::{Finding, Verdict};

pub(super) fn open_files(files: Option<Files>, needs: &Needs) -> Finding {
    let why = "a session takes two descriptors; when there are none, clients wait in the kernel's backlog";
    let Some(files) = files else {
        return Finding::unknown(NAME, why, "grep files /proc/self/limits");
    };
    let Files { soft, hard, .. } = files;
    let fitting = needs.takers.sessions(hard) as u64;
    let raised = match soft == hard {
        true => hard.to_string(),
        false => format!("{soft}, which evenkeel raises to {hard}"),
    };
    let finding = Finding::ok(NAME, format!("{raised}: room for {fitting} sessions"), why);
    match needs.max_sessions {
        Some(asked) if fitting < asked => raise(finding, Verdict::Bad, asked, files, needs),
        None if fitting < needs.cpus.len() as u64 => {
            raise(finding, Verdict::Bad, MANY, files, needs)
        }
        None if fitting < FEW => raise(finding, Verdict::Warn, MANY, files, needs),
        Some(_) | None => finding,
    }
}

fn raise(
    finding: Finding,
    verdict: Verdict,
    sessions: u64,
    files: Files,
    needs: &Needs,
) -> Finding {
    let limit = needs.takers.limit_for(sessions);
    let raise = format!("ulimit -n {limit}");
    let cure = match files.highest {
        Some(highest) if highest < limit => format!("sysctl -w fs.nr_open={limit} && {raise}"),
        Some(_) | None => raise,
    };
    let note = format!(
        "as root, in the shell that starts evenkeel; in a systemd unit LimitNOFILE={limit}; \
         docker run --ulimit nofile={limit}"
    );
    finding.but(verdict, cure).noting(note)
}

const NAME: &str = "open files";
/// Fewer sessions than this are reached on an ordinary day.
const FEW: u64 = 2000;
/// What is worth having then.
const MANY: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::super::super::needs::testing::needs;
    use super::super::testing::check;
    use super::Verdict::{Bad, Ok as Good, Warn};
    use super::*;

    fn files(soft: u64, hard: u64) -> Option<Files> {
        Some(Files { soft, hard, highest: Some(1 << 20) })
    }

    #[test]
    fn sessions_need_descriptors() {
        let asked = |many| Needs { max_sessions: Some(many), ..needs() };
        let enough = needs().takers.limit_for(5000);
        for (files, needs, verdict, in_cure) in [
            (files(1024, 1 << 20), needs(), Good, ""),
            (files(1024, 4096), needs(), Warn, "ulimit -n 60"),
            (files(64, 64), needs(), Bad, "ulimit -n 60"),
            (files(enough, enough), asked(5000), Good, ""),
            (files(1024, enough - 1), asked(5000), Bad, &format!("ulimit -n {enough}")[..]),
            (files(1024, 1024), asked(100), Good, ""),
            (files(1024, 1 << 20), asked(1_000_000), Bad, "sysctl -w fs.nr_open=20"),
            (None, needs(), Warn, "/proc/self/limits"),
        ] {
            check(&open_files(files, &needs), verdict, in_cure);
        }
    }

    #[test]
    fn the_soft_limit_is_raised_by_evenkeel_itself() {
        let finding = open_files(files(1024, 20_000), &needs());
        assert!(finding.value.starts_with("1024, which evenkeel raises to 20000: room for 9"));
        assert!(open_files(files(7, 7), &needs()).value.starts_with("7: room for 0 sessions"));
    }
}
