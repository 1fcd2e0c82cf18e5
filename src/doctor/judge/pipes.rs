//! How much this user may have in pipes.

use uring::Errno;

use super::super::facts::Pipes;
use super::super::needs::Needs;
use super::{Finding, Verdict, round_up};
use crate::shard::{PIPE_BYTES, PIPE_BYTES_MIN};

/// For all the pipes of all shards, and the one that was tried.
pub(super) fn budget(pipes: &Pipes, needs: &Needs) -> Finding {
    let why = "bulk goes through pipes without being copied; beyond the budget it is copied, which costs \
               several times the CPU";
    if !needs.takers.splices {
        return Finding::ok(NAME, "not asked for (--splice off)", why);
    }
    let most = u64::from(needs.takers.max_pipes(u64::MAX)) * needs.takers.shards as u64;
    let wanted = Wanted { most, pages: most * u64::from(PIPE_BYTES) / pipes.page_bytes };
    match pipes.tried {
        Ok(bytes) if bytes >= PIPE_BYTES => within(pipes, wanted, why),
        Ok(bytes) => {
            let finding = Finding::ok(NAME, format!("{} KiB a pipe", bytes / 1024), why);
            let useless = bytes < PIPE_BYTES_MIN;
            let verdict = if useless { none(needs) } else { Verdict::Warn };
            smaller(pipes, wanted, finding, verdict)
        }
        Err(errno) => Finding::ok(NAME, format!("no pipe ({errno:?})"), why).but(
            none(needs),
            if errno == Errno::EMFILE { "ulimit -n 4096" } else { NO_HARD_LIMIT },
        ),
    }
}

/// What all of them take.
#[derive(Clone, Copy)]
struct Wanted {
    most: u64,
    pages: u64,
}

/// The one that was tried was as large as it should be: whether the others will.
fn within(pipes: &Pipes, Wanted { most, pages }: Wanted, why: &'static str) -> Finding {
    if pipes.exempt {
        let value = format!("no limit for this user; {most} pipes at most");
        return Finding::ok(NAME, value, why);
    }
    let limit = |limit: Option<u64>| limit.filter(|&limit| limit != 0);
    let (soft, hard) = (limit(pipes.soft_pages), limit(pipes.hard_pages));
    let have = soft.into_iter().chain(hard).min();
    let Some(have) = have else { return Finding::ok(NAME, "no limit", why) };
    let mib = |pages: u64| (pages * pipes.page_bytes) >> 20;
    let value = format!("{} MiB, {} MiB for {most} pipes at most", mib(have), mib(pages));
    let finding = Finding::ok(NAME, value, why);
    if have >= pages {
        return finding;
    }
    match soft.is_some_and(|soft| soft < pages) {
        true => finding.but(Verdict::Warn, soft_limit(pages)),
        false => finding.but(Verdict::Warn, NO_HARD_LIMIT),
    }
}

/// The kernel gave less than it was asked for.
fn smaller(pipes: &Pipes, wanted: Wanted, finding: Finding, verdict: Verdict) -> Finding {
    match pipes.bytes_max {
        Some(most) if most < PIPE_BYTES.into() => {
            finding.but(verdict, "sysctl -w fs.pipe-max-size=1048576")
        }
        Some(_) | None => finding
            .but(verdict, soft_limit(wanted.pages))
            .noting("other processes of this user have pipes, too"),
    }
}

/// As many pages again are for the user's other processes.
fn soft_limit(pages: u64) -> String {
    format!("sysctl -w fs.pipe-user-pages-soft={}", round_up(pages * 2).max(DEFAULT_SOFT_PAGES))
}

/// What it means that there is no pipe.
fn none(needs: &Needs) -> Verdict {
    if needs.always_splices { Verdict::Bad } else { Verdict::Warn }
}

const NAME: &str = "pipe budget";
const NO_HARD_LIMIT: &str = "sysctl -w fs.pipe-user-pages-hard=0";
/// `PIPE_DEF_BUFFERS * INR_OPEN_CUR`, fs/pipe.c.
const DEFAULT_SOFT_PAGES: u64 = 16_384;

#[cfg(test)]
mod tests {
    use super::super::super::needs::testing::needs;
    use super::super::testing::check;
    use super::Verdict::{Bad, Ok as Good, Warn};
    use super::*;

    /// As hosts are, for a user without privileges; two shards want 128 pipes, 8192 pages.
    fn host() -> Pipes {
        Pipes {
            page_bytes: 4096,
            soft_pages: Some(16_384),
            hard_pages: Some(0),
            bytes_max: Some(1 << 20),
            exempt: false,
            tried: Ok(PIPE_BYTES),
        }
    }

    #[test]
    fn pipes_need_a_budget() {
        let of = |soft, hard| Pipes { soft_pages: soft, hard_pages: hard, ..host() };
        let soft = "sysctl -w fs.pipe-user-pages-soft=16384";
        for (pipes, verdict, in_cure) in [
            (host(), Good, ""),
            (of(Some(8192), Some(0)), Good, ""),
            (of(Some(8191), Some(0)), Warn, soft),
            (of(Some(0), Some(0)), Good, ""),
            (of(None, None), Good, ""),
            (of(Some(0), Some(8191)), Warn, NO_HARD_LIMIT),
            (of(Some(16_384), Some(8191)), Warn, NO_HARD_LIMIT),
            (Pipes { exempt: true, ..of(Some(1), Some(1)) }, Good, ""),
        ] {
            check(&budget(&pipes, &needs()), verdict, in_cure);
        }
    }

    #[test]
    fn a_pipe_that_was_tried_tells_more_than_settings() {
        let always = || Needs { always_splices: true, ..needs() };
        let tried = |tried, bytes_max| Pipes { tried, bytes_max: Some(bytes_max), ..host() };
        let size = "sysctl -w fs.pipe-max-size=1048576";
        for (pipes, needs, verdict, in_cure) in [
            (tried(Ok(65_536), 65_536), needs(), Warn, size),
            (tried(Ok(65_536), 65_536), always(), Warn, size),
            (tried(Ok(4096), 4096), always(), Bad, size),
            (tried(Ok(4096), 1 << 20), needs(), Warn, "fs.pipe-user-pages-soft=16384"),
            (tried(Ok(4096), 1 << 20), always(), Bad, "fs.pipe-user-pages-soft=16384"),
            (tried(Err(Errno::ENFILE), 1 << 20), needs(), Warn, NO_HARD_LIMIT),
            (tried(Err(Errno::EMFILE), 1 << 20), always(), Bad, "ulimit -n"),
        ] {
            check(&budget(&pipes, &needs), verdict, in_cure);
        }
    }

    #[test]
    fn who_copies_needs_no_pipe() {
        let mut needs = needs();
        needs.takers.splices = false;
        let pipes = Pipes { tried: Err(Errno::EMFILE), ..host() };
        check(&budget(&pipes, &needs), Good, "");
    }

    #[test]
    fn what_is_there_and_what_is_wanted_is_told() {
        let value = "64 MiB, 32 MiB for 128 pipes at most";
        assert_eq!(budget(&host(), &needs()).value, value);
    }
}
