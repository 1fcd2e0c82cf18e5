//! What the operator changed while the program ran, as a layer over the configuration: a value, and
//! what a configuration comes to under it.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::plan::{BackendConfig, Destination, PoolConfig};
use crate::core::wanted::AdminState;

/// All changes, by pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Pools that something was changed in.
    pub pools: BTreeMap<String, OfPool>,
}

/// The changes in one pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfPool {
    /// Backends that the configuration does not name. Without an address one is not in force: its
    /// name stood for nothing when it was looked up.
    pub added: Vec<BackendConfig>,
    /// Backends of the configuration that are not there.
    pub removed: BTreeSet<String>,
    /// Backends of the configuration that are otherwise there.
    pub changed: BTreeMap<String, Changed>,
}

/// What is different of a backend; something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Its weight.
    pub weight: Option<u16>,
    /// What is wanted of it.
    pub state: Option<AdminState>,
}

impl Overrides {
    /// One backend more.
    pub fn add(&mut self, pool: &str, backend: BackendConfig) {
        self.pools.entry(pool.to_owned()).or_default().added.push(backend);
    }

    /// A backend has another weight or state, which may be what `configured` says of it.
    pub fn set(&mut self, pool: &str, name: &str, to: Changed, configured: &[PoolConfig]) {
        let of_pool = self.pools.entry(pool.to_owned()).or_default();
        if let Some(backend) = of_pool.added.iter_mut().find(|backend| backend.name == name) {
            backend.weight = to.weight.unwrap_or(backend.weight);
            backend.state = to.state.unwrap_or(backend.state);
            return;
        }
        let changed = of_pool.changed.entry(name.to_owned()).or_default();
        changed.weight = to.weight.or(changed.weight);
        changed.state = to.state.or(changed.state);
        if let Some(backend) = find(configured, pool, name) {
            changed.weight = changed.weight.filter(|&weight| weight != backend.weight);
            changed.state = changed.state.filter(|&state| state != backend.state);
        }
        if *changed == Changed::default() {
            of_pool.changed.remove(name);
        }
        self.drop_empty();
    }

    /// A backend is not there any more.
    pub fn remove(&mut self, pool: &str, name: &str) {
        let of_pool = self.pools.entry(pool.to_owned()).or_default();
        let before = of_pool.added.len();
        of_pool.added.retain(|backend| backend.name != name);
        if of_pool.added.len() == before {
            of_pool.changed.remove(name);
            of_pool.removed.insert(name.to_owned());
        }
        self.drop_empty();
    }

    /// What the configured pools come to.
    #[must_use]
    pub fn over(&self, configured: &[PoolConfig]) -> Vec<PoolConfig> {
        let mut pools = configured.to_vec();
        for pool in &mut pools {
            let Some(of_pool) = self.pools.get(&pool.name) else { continue };
            if pool.destination == Destination::OriginalDst {
                continue;
            }
            pool.backends.retain(|backend| !of_pool.removed.contains(&backend.name));
            for backend in &mut pool.backends {
                let changed = of_pool.changed.get(&backend.name).copied().unwrap_or_default();
                backend.weight = changed.weight.unwrap_or(backend.weight);
                backend.state = changed.state.unwrap_or(backend.state);
            }
            for added in of_pool.added.iter().filter(|added| !added.addresses.is_empty()) {
                if !pool.backends.iter().any(|backend| backend.name == added.name) {
                    pool.backends.push(added.clone());
                }
            }
        }
        pools
    }

    /// Forgets what another configuration leaves no place for, and says what that was.
    pub fn forget_unfit(&mut self, configured: &[PoolConfig]) -> Vec<String> {
        let mut forgotten = Vec::new();
        let mut forget = |pool: &str, name: &str, why: &str| {
            forgotten.push(format!("{pool}/{name} ({why})"));
        };
        for (pool, of_pool) in &mut self.pools {
            let config = configured.iter().find(|config| config.name == *pool);
            let config = config.filter(|config| config.destination == Destination::Backends);
            let gone = config.is_none();
            let has = |name: &str| find(configured, pool, name).is_some();
            let why = |other: &'static str| if gone { "its pool is gone" } else { other };
            let removed = of_pool.removed.clone();
            of_pool.added.retain(|backend| {
                let taken = has(&backend.name) && !removed.contains(&backend.name);
                let stays = !gone && !taken;
                if !stays {
                    forget(pool, &backend.name, why("added, and the configuration has it now"));
                }
                stays
            });
            of_pool.removed.retain(|name| {
                let stays = !gone && has(name);
                if !stays {
                    forget(pool, name, why("removed, and the configuration has not got it either"));
                }
                stays
            });
            of_pool.changed.retain(|name, _| {
                let stays = !gone && has(name);
                if !stays {
                    forget(
                        pool,
                        name,
                        why("changed, and the configuration has not got it any more"),
                    );
                }
                stays
            });
        }
        self.drop_empty();
        forgotten
    }

    /// Each change in a few words.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let mut list = Vec::new();
        for (pool, of_pool) in &self.pools {
            list.extend(of_pool.removed.iter().map(|name| format!("{pool}/{name} removed")));
            for backend in &of_pool.added {
                let unknown =
                    if backend.addresses.is_empty() { ", but its name is unknown" } else { "" };
                list.push(format!("{pool}/{} added{unknown}", backend.name));
            }
            for (name, changed) in &of_pool.changed {
                let weight = changed.weight.map(|weight| format!("weight {weight}"));
                let state = changed.state.map(|state| state.to_string());
                let what: Vec<_> = weight.into_iter().chain(state).collect();
                list.push(format!("{pool}/{name} {}", what.join(" ")));
            }
        }
        list
    }

    /// Backends that were added, to be looked up.
    pub fn added(&mut self) -> impl Iterator<Item = (&String, &mut BackendConfig)> {
        let pools = self.pools.iter_mut();
        pools.flat_map(|(pool, of_pool)| of_pool.added.iter_mut().map(move |one| (pool, one)))
    }

    fn drop_empty(&mut self) {
        self.pools.retain(|_, of_pool| *of_pool != OfPool::default());
    }
}

fn find<'a>(configured: &'a [PoolConfig], pool: &str, name: &str) -> Option<&'a BackendConfig> {
    let pool = configured.iter().find(|config| config.name == pool)?;
    pool.backends.iter().find(|backend| backend.name == name)
}

#[cfg(test)]
mod tests;
