//! What becomes of changes when the file is read again, and when the program starts again.

use evenkeel::api::Event;

use crate::client::{Scene, web};
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::{Ended, run};

/// Three backends, of which two are in the file, and some changes.
fn changed(options: &str) -> (Scene, [Backend; 3]) {
    let backends = [Backend::named("a"), Backend::named("b"), Backend::named("c")];
    let scene = Scene::before(&[backends[0].address, backends[1].address], "", options);
    let [a, b, c] = backends.each_ref().map(|one| one.address);
    for (line, body, status) in [
        (
            format!("PATCH /api/pools/web/backends/{a}"),
            "{\"weight\":7,\"state\":\"drain\"}".to_owned(),
            200,
        ),
        (format!("DELETE /api/pools/web/backends/{b}"), String::new(), 204),
        (
            "POST /api/pools/web/backends".to_owned(),
            format!("{{\"address\":\"{c}\",\"name\":\"new\"}}"),
            201,
        ),
    ] {
        let answer = scene.tell(&line, &body);
        assert_eq!(answer.status, status, "{answer:?}");
    }
    (scene, backends)
}

fn last_reload(scene: &Scene) -> Event {
    let events = scene.events();
    events.into_iter().rfind(|event| event.kind == "reload").expect("it was read again")
}

#[test]
fn without_a_state_file_the_file_wins_and_what_is_lost_is_said() {
    let (scene, [a, b, _c]) = changed("");
    assert_eq!(scene.balancer.ask(), "c");
    scene.file.reload(&scene.balancer, &web(&[a.address, b.address], ""));
    let weights: Vec<u16> = scene.status().backends.iter().map(|one| one.weight).collect();
    assert_eq!(weights, [1, 1]);
    let event = last_reload(&scene);
    assert_eq!(event.level, "WARNING");
    for lost in [
        format!("web/{} removed", b.address),
        "web/new added".to_owned(),
        format!("web/{} weight 7 drain", a.address),
    ] {
        assert!(event.message.contains(&lost), "{lost}: {event:?}");
    }
    assert!(!scene.status().banners.iter().any(|banner| banner.kind == "drift"));
}

#[test]
fn with_a_state_file_changes_survive_a_reload_and_a_restart() {
    let folder = ConfigFile::new("");
    let state = folder.folder().join("state.json");
    let options = format!("--state-file {}", state.display());
    let (scene, [a, b, _c]) = changed(&options);
    let in_force = scene.in_force();
    assert_eq!(in_force.len(), 2);
    scene.file.reload(&scene.balancer, &web(&[a.address, b.address], "idle_timeout = \"1m\""));
    assert_eq!(scene.in_force(), in_force);
    assert_eq!(last_reload(&scene).level, "INFO");
    assert!(!scene.status().banners.iter().any(|banner| banner.kind == "drift"));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&state).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let scene = scene.restart(&options);
    assert_eq!(scene.in_force(), in_force);
    assert_eq!(scene.balancer.ask(), "c");
    assert_eq!(scene.backend("new").origin, "runtime");
    // What the file has no place for any more is forgotten, and said.
    scene.file.reload(&scene.balancer, &web(&[b.address], ""));
    let event = last_reload(&scene);
    assert!(event.message.contains(&format!("web/{} (changed", a.address)), "{event:?}");
    assert_eq!(scene.in_force().len(), 1);
    // And it stays so when the file has that place again.
    scene.file.reload(&scene.balancer, &web(&[a.address, b.address], ""));
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(!text.contains(&a.address.to_string()), "{text}");
    let scene = scene.restart(&options);
    assert_eq!(scene.backend(&a.address.to_string()).weight, 1);
    let started = scene.events().into_iter().find(|event| event.kind == "state");
    let told = started.expect("what is over the configuration is told").message;
    assert!(told.contains(&format!("web/{} removed", b.address)), "{told}");
    assert!(told.contains("web/new added"), "{told}");
}

#[test]
fn a_reload_says_what_is_kept_over_the_file() {
    let folder = ConfigFile::new("");
    let state = folder.folder().join("state.json");
    let (scene, [a, b, _c]) = changed(&format!("--state-file {}", state.display()));
    scene.file.reload(&scene.balancer, &web(&[a.address, b.address], ""));
    let said = last_reload(&scene).message;
    let kept = format!("over it, from the state file: web/{} removed, web/new added", b.address);
    assert!(said.contains(&kept), "{said}");
}

#[test]
fn a_state_file_that_somebody_else_wrote_is_not_overwritten_without_a_word() {
    let folder = ConfigFile::new("");
    let state = folder.folder().join("state.json");
    let (scene, [a, ..]) = changed(&format!("--state-file {}", state.display()));
    let somebodys = |scene: &Scene| {
        let events = scene.events().into_iter();
        events.filter(|event| event.message.contains("somebody else's")).count()
    };
    let path = format!("PATCH /api/pools/web/backends/{}", a.address);
    assert_eq!(scene.tell(&path, "{\"weight\":8}").status, 200);
    assert_eq!(somebodys(&scene), 0, "its own writing is none");
    std::fs::write(&state, "{\"format\":\"evenkeel-state-1\",\"pools\":{}}").unwrap();
    assert_eq!(scene.tell(&path, "{\"weight\":9}").status, 200);
    assert_eq!(somebodys(&scene), 1);
    std::fs::remove_file(&state).unwrap();
    assert_eq!(scene.tell(&path, "{\"weight\":10}").status, 200);
    assert_eq!(somebodys(&scene), 1, "who removes it wants it gone");
}

#[test]
fn a_state_file_from_before_names_had_a_bound_still_holds() {
    let file = ConfigFile::new("");
    let state = file.folder().join("state.json");
    let name = "a".repeat(300);
    let added = format!(
        "{{\"name\":\"{name}\",\"address\":\"127.0.0.1:1\",\"weight\":1,\"backup\":false,\
         \"max_connections\":null,\"state\":\"ready\"}}"
    );
    let text = format!(
        "{{\"format\":\"evenkeel-state-1\",\"pools\":{{\"web\":{{\"added\":[{added}],\
         \"removed\":[],\"changed\":{{}}}}}}}}"
    );
    std::fs::write(&state, text).unwrap();
    let backend = Backend::named("a");
    let scene = Scene::before(&[backend.address], "", &format!("--state-file {}", state.display()));
    assert_eq!(scene.backend(&name).origin, "runtime");
    assert_eq!(scene.ask(&format!("DELETE /api/pools/web/backends/{name}")).status, 204);
}

#[test]
fn a_change_that_cannot_be_kept_is_said_not_to_be() {
    let folder = ConfigFile::new("");
    let place = folder.folder().join("kept");
    std::fs::create_dir(&place).unwrap();
    let backend = Backend::named("a");
    let options = format!("--state-file {}", place.join("state.json").display());
    let scene = Scene::before(&[backend.address], "", &options);
    std::fs::remove_dir_all(&place).unwrap();
    let path = format!("PATCH /api/pools/web/backends/{}", backend.address);
    let answer = scene.tell(&path, "{\"weight\":7}");
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.problem().contains("in force, but not kept"), "{answer:?}");
    assert_eq!(scene.backend(&backend.address.to_string()).weight, 7);
    assert!(scene.events().iter().any(|event| event.kind == "state" && event.level == "ERROR"));
}

#[test]
fn a_state_file_that_cannot_be_understood_ends_the_start_with_the_cure() {
    let file = ConfigFile::new(&web(&[([127, 0, 0, 1], 1).into()], ""));
    let state = file.folder().join("state.json");
    let start =
        || -> Ended { run(&["--config", file.name(), "--state-file", state.to_str().unwrap()]) };
    for (text, says) in [
        ("{", "cannot be understood"),
        ("{\"format\":\"evenkeel-state-9\",\"pools\":{}}", "evenkeel-state-9"),
        ("", "cannot be understood"),
    ] {
        std::fs::write(&state, text).unwrap();
        let ended = start();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(says) && ended.stderr.contains("move it away"),
            "{}",
            ended.stderr
        );
        // It is not touched.
        assert_eq!(std::fs::read_to_string(&state).unwrap(), text);
    }
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    let ended = start();
    assert!(ended.code == Some(1) && ended.stderr.contains("state file"), "{}", ended.stderr);
}
