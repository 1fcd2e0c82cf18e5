//! Which backend is meant by what was typed.

use crate::api::Backend;
use crate::config::problem::closest;

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

/// All that `written` can stand for where it is spelt out, as it has to be for a backend that is gone:
/// `POOL/BACKEND`, or `BACKEND` of a pool that was named. Names may have slashes themselves.
pub(crate) fn spelt_out(written: &str, pool: Option<&str>) -> Vec<Named> {
    let named = |(pool, name): (&str, &str)| Named { pool: pool.to_owned(), name: name.to_owned() };
    let splits = written.match_indices('/').map(|(at, _)| (&written[..at], &written[at + 1..]));
    let splits =
        splits.filter(|(of, name)| pool.is_none_or(|pool| pool == *of) && !name.is_empty());
    let of_pool = pool.map(|pool| (pool, written));
    splits.chain(of_pool).filter(|(pool, _)| !pool.is_empty()).map(named).collect()
}

/// The pool of this name, or the only one there is.
pub(crate) fn pool(written: Option<&str>, pools: &[&str]) -> Result<String, String> {
    match (written, pools) {
        (Some(written), pools) => one_of("pool", written, pools),
        (None, [pool]) => Ok((*pool).to_owned()),
        (None, []) => Err("there is no pool".to_owned()),
        (None, pools) => Err(format!("there are several pools, say which: {}", pools.join(", "))),
    }
}

/// The listener of this name.
pub(crate) fn listener(written: &str, listeners: &[&str]) -> Result<String, String> {
    one_of("listener", written, listeners)
}

/// The name itself if it is known, else a guess.
fn one_of(what: &str, written: &str, known: &[&str]) -> Result<String, String> {
    if known.contains(&written) {
        return Ok(written.to_owned());
    }
    let near = closest(written, known.iter().copied().filter(|known| is_slip(written, known)));
    Err(format!("there is no {what} `{written}`{}", or_all(near, known)))
}

fn unknown(written: &str, backends: &[Backend]) -> String {
    let full = |backend: &Backend| -> String { format!("{}/{}", backend.pool, backend.name) };
    let all: Vec<String> = backends.iter().map(full).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    // Pool and name each have to be near: `web/c` is not `web/a`, although most of it is the same.
    let (pool, name) = written.split_once('/').unwrap_or_default();
    let by_both = |backend: &&Backend| is_slip(pool, &backend.pool) && is_slip(name, &backend.name);
    let likely: Vec<String> = backends.iter().filter(by_both).map(full).collect();
    let near = closest(written, likely.iter().map(String::as_str)).map(ToOwned::to_owned);
    // What was left out is not what was mistyped.
    let near = near.or_else(|| {
        let names = backends.iter().map(|backend| backend.name.as_str());
        let name = closest(written, names.filter(|name| is_slip(written, name)))?;
        backends.iter().find(|backend| backend.name == name).map(full)
    });
    format!("there is no backend `{written}`{}", or_all(near.as_deref(), &all))
}

/// Whether one may have been meant by the other: a third of the letters differs at the most. Of names of
/// one or two letters that is none, so that nobody is led to a backend that has nothing to do with it.
fn is_slip(written: &str, known: &str) -> bool {
    let enough_letters = known.chars().count() >= 3;
    written.eq_ignore_ascii_case(known) || enough_letters && closest(written, [known]).is_some()
}

/// The proposal, or all that there is if that is little.
fn or_all(near: Option<&str>, all: &[&str]) -> String {
    if let Some(near) = near {
        return format!("; did you mean `{near}`?");
    }
    match all.len() {
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
            ("WEB/A", Err("did you mean `web/a`?")),
            ("db/unix:/run/bd", Err("did you mean `db/unix:/run/db`?")),
            ("unix:/run/bd", Err("did you mean `db/unix:/run/db`?")),
            // Nothing of these was mistyped: they are others, or gone.
            ("c", Err("there is web/a, web/b")),
            ("web/c", Err("there is web/a, web/b")),
            ("db/b", Err("there is web/a, web/b")),
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
    fn a_backend_that_is_gone_is_found_where_its_name_is_spelt_out() {
        for (written, pool, meant) in [
            ("web/c", None, &["web/c"][..]),
            ("c", None, &[]),
            ("c", Some("web"), &["web/c"]),
            ("web/c", Some("web"), &["web/c", "web/web/c"]),
            ("db/c", Some("web"), &["web/db/c"]),
            ("db/unix:/c", None, &["db/unix:/c", "db/unix:/c"]),
            ("/", None, &[]),
        ] {
            let found: Vec<_> = spelt_out(written, pool).iter().map(Named::to_string).collect();
            assert_eq!(found, meant, "{written} {pool:?}");
        }
    }

    #[test]
    fn a_listener_that_is_not_known_is_guessed() {
        assert_eq!(listener("web", &["web"]), Ok("web".to_owned()));
        assert!(listener("wbe", &["web", "tls"]).expect_err("none").contains("mean `web`?"));
        assert!(listener("x", &["y"]).expect_err("none").ends_with("listener `x`; there is y"));
    }

    #[test]
    fn the_only_pool_need_not_be_said() {
        assert_eq!(pool(None, &["web"]), Ok("web".to_owned()));
        assert_eq!(pool(Some("web"), &["web", "db"]), Ok("web".to_owned()));
        assert!(pool(None, &["web", "db"]).expect_err("two").contains("web, db"));
        assert!(pool(Some("wep"), &["web", "db"]).expect_err("none").contains("`web`"));
    }
}
