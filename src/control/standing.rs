//! How a backend stands, in one word: for whoever is told of it.

use crate::core::BackendId;
use crate::core::moment::Moment;
use crate::core::wanted::AdminState;
use crate::shard::condition::Health;
use crate::shard::pool::Pool;

/// The strongest of what speaks against a backend: the words of `/api/status`.
#[must_use]
pub fn word(pool: &Pool, id: BackendId, now: Moment, backups_serve: bool) -> &'static str {
    let member = pool.member(id);
    match (member.state, member.backend.condition.health(now)) {
        (AdminState::Maint, _) => "maint",
        (_, Health::Down) => "down",
        (_, Health::Ejected) => "ejected",
        (state, Health::Up) if state.weight(member.weight) == 0 => "drain",
        _ if pool.is_full(id, now) => "full",
        _ if member.backup && !backups_serve => "backup",
        _ => "up",
    }
}

/// Whether one that stands so serves: who is full has clients, and gets others when some have ended.
#[must_use]
pub fn is_active(word: &str) -> bool {
    matches!(word, "up" | "full")
}

/// Whether backups get clients: no primary is healthy.
#[must_use]
pub fn backups_serve(pool: &Pool, now: Moment) -> bool {
    !pool.members.iter().any(|member| {
        !member.backup
            && member.state.weight(member.weight) > 0
            && member.backend.condition.health(now) == Health::Up
    })
}
