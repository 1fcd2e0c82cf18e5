use super::*;
use crate::config::plan::Address;
use crate::config::text;

fn backend(name: &str) -> BackendConfig {
    let target = text::backend("192.0.2.1:1").expect("an address");
    let addresses = vec![Address::Inet("192.0.2.1:1".parse().expect("an address"))];
    BackendConfig { addresses, ..BackendConfig::at_run_time(target, Some(name.to_owned())) }
}

fn pool(name: &str, backends: &[&str]) -> PoolConfig {
    let backends = backends.iter().map(|name| BackendConfig { added: false, ..backend(name) });
    PoolConfig { backends: backends.collect(), ..PoolConfig::defaults(name.to_owned()) }
}

/// What pools come to, in words.
fn shown(pools: &[PoolConfig]) -> String {
    let backends = pools.iter().flat_map(|pool| {
        pool.backends.iter().map(move |one| {
            let added = if one.added { "+" } else { "" };
            format!(
                "{}/{added}{}={}{}",
                pool.name,
                one.name,
                one.weight,
                match one.state {
                    Ready => "",
                    Drain => "d",
                    Maint => "m",
                }
            )
        })
    });
    backends.collect::<Vec<_>>().join(" ")
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(&'static str),
    Remove(&'static str),
    Weight(&'static str, u16),
    State(&'static str, AdminState),
}
use AdminState::{Drain, Maint, Ready};
use Step::{Add, Remove, State, Weight};

fn after(steps: &[Step], configured: &[PoolConfig]) -> Overrides {
    let mut overrides = Overrides::default();
    for step in steps {
        match *step {
            Add(name) => overrides.add("web", backend(name)),
            Remove(name) => overrides.remove("web", name),
            Weight(name, weight) => {
                let to = Changed { weight: Some(weight), state: None };
                overrides.set("web", name, to, configured);
            }
            State(name, state) => {
                let to = Changed { weight: None, state: Some(state) };
                overrides.set("web", name, to, configured);
            }
        }
    }
    overrides
}

#[test]
fn a_configuration_comes_to_what_was_changed_of_it() {
    let configured = [pool("web", &["a", "b"]), pool("db", &["a"])];
    for (steps, expected, list) in [
        (&[][..], "web/a=1 web/b=1 db/a=1", ""),
        (&[Add("c")], "web/a=1 web/b=1 web/+c=1 db/a=1", "web/c added"),
        (&[Remove("a")], "web/b=1 db/a=1", "web/a removed"),
        (&[Remove("a"), Remove("b")], "db/a=1", "web/a removed, web/b removed"),
        (&[Weight("a", 5)], "web/a=5 web/b=1 db/a=1", "web/a weight 5"),
        (&[State("b", Drain)], "web/a=1 web/b=1d db/a=1", "web/b drain"),
        (&[Weight("a", 5), State("a", Maint)], "web/a=5m web/b=1 db/a=1", "web/a weight 5 maint"),
        // As it was again: nothing is left of it.
        (&[Weight("a", 5), Weight("a", 1)], "web/a=1 web/b=1 db/a=1", ""),
        (&[State("a", Maint), State("a", Ready)], "web/a=1 web/b=1 db/a=1", ""),
        (&[Add("c"), Remove("c")], "web/a=1 web/b=1 db/a=1", ""),
        // What was added is changed where it is.
        (
            &[Add("c"), Weight("c", 3), State("c", Drain)],
            "web/a=1 web/b=1 web/+c=3d db/a=1",
            "web/c added",
        ),
        // Another one of the same name.
        (&[Remove("a"), Add("a")], "web/b=1 web/+a=1 db/a=1", "web/a removed, web/a added"),
        (&[Remove("a"), Add("a"), Remove("a")], "web/b=1 db/a=1", "web/a removed"),
        // Who is removed forgets what was changed of it.
        (&[Weight("a", 5), Remove("a")], "web/b=1 db/a=1", "web/a removed"),
    ] {
        let overrides = after(steps, &configured);
        assert_eq!(shown(&overrides.over(&configured)), expected, "{steps:?}");
        assert_eq!(overrides.list().join(", "), list, "{steps:?}");
    }
}

#[test]
fn another_configuration_keeps_what_fits_and_forgets_the_rest_aloud() {
    let steps = [Add("new"), Remove("a"), Weight("b", 5)];
    for (backends, expected, forgotten) in [
        (&["a", "b"][..], "web/b=5 web/+new=1", ""),
        (
            &["b"],
            "web/b=5 web/+new=1",
            "web/a (removed, and the configuration has not got it either)",
        ),
        (&["a"], "web/+new=1", "web/b (changed, and the configuration has not got it any more)"),
        (
            &["a", "b", "new"],
            "web/b=5 web/new=1",
            "web/new (added, and the configuration has it now)",
        ),
    ] {
        let mut overrides = after(&steps, &[pool("web", &["a", "b"])]);
        let configured = [pool("web", backends)];
        let said = overrides.forget_unfit(&configured).join(", ");
        assert_eq!(said, forgotten, "{backends:?}");
        assert_eq!(shown(&overrides.over(&configured)), expected, "{backends:?}");
    }
    let mut overrides = after(&steps, &[pool("web", &["a", "b"])]);
    assert_eq!(overrides.forget_unfit(&[pool("db", &["a"])]).len(), 3);
    assert_eq!(overrides, Overrides::default());
}

#[test]
fn one_whose_name_is_unknown_is_kept_and_not_in_force() {
    let configured = [pool("web", &["a"])];
    let mut overrides = after(&[Add("lost")], &configured);
    overrides.added().for_each(|(_, backend)| backend.addresses.clear());
    assert_eq!(shown(&overrides.over(&configured)), "web/a=1");
    assert_eq!(overrides.forget_unfit(&configured), [""; 0]);
    assert_eq!(overrides.list(), ["web/lost added, but its name is unknown"]);
}
