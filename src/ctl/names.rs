//! Which backend is meant by what was typed.

use crate::api::Backend;
use crate::config::problem::{closest, did_you_mean};

/// A backend by its pool and its name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) pool: String,
    pub(crate) name: String,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.pool, self.name)
    }
}

/// The backend that `written` names: `POOL/BACKEND`, or `BACKEND` where only one pool has it. Names may
/// have slashes themselves.
pub(crate) fn backend(written: &str, backends: &[Backend]) -> Result<Named, String> {
    let full = |backend: &Backend| format!("{}/{}", backend.pool, backend.name);
    let named =
        |backend: &Backend| Named { pool: backend.pool.clone(), name: backend.name.clone() };
    if let Some(backend) = backends.iter().find(|backend| full(backend) == written) {
        return Ok(named(backend));
    }
    let alone: Vec<&Backend> = backends.iter().filter(|backend| backend.name == written).collect();
    match alone[..] {
        [backend] => return Ok(named(backend)),
        [] => {}
        [first, ..] => {
            let pools: Vec<&str> = alone.iter().map(|backend| backend.pool.as_str()).collect();
            let pools = pools.join(" and ");
            return Err(format!(
                "several pools have a backend `{written}`: {pools}; write {}",
                full(first)
            ));
        }
    }
    Err(unknown(written, backends))
}

/// The pool of this name, or the only one there is.
pub(crate) fn pool(written: Option<&str>, pools: &[&str]) -> Result<String, String> {
    match (written, pools) {
        (Some(written), pools) if pools.contains(&written) => Ok(written.to_owned()),
        (Some(written), pools) => {
            let near = did_you_mean(written, pools.iter().copied());
            Err(format!("there is no pool `{written}`{}", or_all(near, pools)))
        }
        (None, [pool]) => Ok((*pool).to_owned()),
        (None, []) => Err("there is no pool".to_owned()),
        (None, pools) => Err(format!("there are several pools, say which: {}", pools.join(", "))),
    }
}

fn unknown(written: &str, backends: &[Backend]) -> String {
    let full: Vec<String> =
        backends.iter().map(|backend| format!("{}/{}", backend.pool, backend.name)).collect();
    // What was left out is not what was mistyped.
    let near = closest(written, full.iter().map(String::as_str)).map(ToOwned::to_owned);
    let near = near.or_else(|| {
        let name = closest(written, backends.iter().map(|backend| backend.name.as_str()))?;
        let found = backends.iter().position(|backend| backend.name == name)?;
        Some(full[found].clone())
    });
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let all: Vec<&str> = full.iter().map(String::as_str).collect();
    format!("there is no backend `{written}`{}", or_all(near, &all))
}

/// The proposal, or all that there is if that is little.
fn or_all(near: String, all: &[&str]) -> String {
    match all.len() {
        _ if !near.is_empty() => near,
        0 => "; there is none".to_owned(),
        1..=8 => format!("; there is {}", all.join(", ")),
        many => format!("; there are {many}: see `evenkeel ctl backends`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(names: &[(&str, &str)]) -> Vec<Backend> {
        let backend = |&(pool, name): &(&str, &str)| Backend {
            pool: pool.to_owned(),
            name: name.to_owned(),
            ..Backend::default()
        };
        names.iter().map(backend).collect()
    }

    #[test]
    fn a_backend_is_found_by_its_pool_and_alone() {
        let all = backends(&[("web", "a"), ("web", "b"), ("db", "a"), ("db", "unix:/run/db")]);
        for (written, found) in [
            ("web/a", Ok("web/a")),
            ("db/a", Ok("db/a")),
            ("b", Ok("web/b")),
            ("unix:/run/db", Ok("db/unix:/run/db")),
            ("db/unix:/run/db", Ok("db/unix:/run/db")),
            ("a", Err("web and db; write web/a")),
            ("wep/a", Err("did you mean `web/a`?")),
            ("c", Err("did you mean `web/a`?")),
            ("quite-another", Err("there is web/a, web/b, db/a, db/unix:/run/db")),
        ] {
            match (backend(written, &all), found) {
                (Ok(named), Ok(found)) => assert_eq!(named.to_string(), found),
                (Err(error), Err(says)) => assert!(error.contains(says), "{written}: {error}"),
                (got, _) => panic!("{written}: {got:?}"),
            }
        }
        assert!(backend("a", &[]).expect_err("none").contains("there is none"));
    }

    #[test]
    fn the_only_pool_need_not_be_said() {
        assert_eq!(pool(None, &["web"]), Ok("web".to_owned()));
        assert_eq!(pool(Some("web"), &["web", "db"]), Ok("web".to_owned()));
        assert!(pool(None, &["web", "db"]).expect_err("two").contains("web, db"));
        assert!(pool(Some("wep"), &["web", "db"]).expect_err("none").contains("`web`"));
    }
}
