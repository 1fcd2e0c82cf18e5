//! Where the admin API is, and who may come there.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::client::{Scene, on_network, request, say_to, web};
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::{Balancer, free_port, run};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A file with the token in it.
pub(crate) fn token_file(folder: &Path, mode: u32) -> String {
    let path = folder.join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_sockets_file_is_for_its_user_alone_unless_said_and_is_removed_at_the_end() {
    let backend = Backend::echo();
    let mut scene = Scene::before(&[backend.address], "", "");
    assert_eq!(mode_of(&scene.socket), 0o600);
    assert!(scene.balancer.setting("admin").ends_with("admin.sock, mode 0600"));
    scene.balancer.signal(Signal::SIGTERM);
    assert!(scene.balancer.wait().success());
    assert!(!scene.socket.exists());
    let socket = scene.file.folder().join("group.sock");
    let balancer = scene.file.balancer(&format!("--admin unix:{},mode=0660", socket.display()));
    assert_eq!(mode_of(&socket), 0o660);
    drop(balancer);
}

#[test]
fn a_file_that_was_left_over_is_replaced_and_one_in_use_is_not() {
    let backend = Backend::echo();
    let file = ConfigFile::new(&web(&[backend.address], ""));
    let socket = file.folder().join("admin.sock");
    let option = format!("unix:{}", socket.display());
    drop(UnixListener::bind(&socket).unwrap());
    let balancer = file.balancer(&format!("--admin {option}"));
    let ended = run(&["--config", file.name(), "--admin", &option]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("someone listens there"), "{}", ended.stderr);
    drop(balancer);
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "words").unwrap();
    let ended = run(&["--config", file.name(), "--admin", &option]);
    assert!(ended.code == Some(1) && ended.stderr.contains("no socket"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "words");
}

#[test]
fn on_the_network_it_needs_a_token_that_is_one_and_a_place_that_is_free() {
    let backend = Backend::echo();
    let file = ConfigFile::new(&web(&[backend.address], ""));
    let token = token_file(file.folder(), 0o600);
    let balancer = file.balancer(&format!("--admin 127.0.0.1:0 --admin-token-file {token}"));
    let taken = on_network(&balancer).to_string();
    let refused = |options: &[&str], says: &str| {
        let ended = run(&[&["--config", file.name()], options].concat());
        assert_eq!(ended.code, Some(1), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{options:?}: {}", ended.stderr);
    };
    refused(&["--admin", &taken, "--admin-token-file", &token], "the address is in use");
    refused(&["--admin", "127.0.0.1:0"], "--admin-token-file");
    refused(&["--admin", "192.0.2.1:1", "--admin-public-read"], "no such address");
    refused(&["--admin", "no.invalid:1", "--admin-public-read"], "cannot resolve");
    let missing = file.folder().join("missing");
    let missing = missing.to_str().unwrap();
    refused(&["--admin", "127.0.0.1:0", "--admin-token-file", missing], "cannot read");
    let open = token_file(file.folder(), 0o644);
    refused(&["--admin", "127.0.0.1:0", "--admin-token-file", &open], "chmod o=");
    std::fs::write(&open, "short").unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o600)).unwrap();
    refused(&["--admin", "127.0.0.1:0", "--admin-token-file", &open], "openssl rand");
}

#[test]
fn a_place_that_the_program_itself_has_already_is_said_to_be_its_own() {
    let backend = Backend::echo();
    let port = free_port().to_string();
    let file = ConfigFile::new("");
    let folder = file.folder().to_str().unwrap();
    let socket = format!("unix:{folder}/m.sock");
    let grouped = format!("{socket},mode=0660");
    let (here, everywhere) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));
    let backend = backend.address.to_string();
    for (options, says) in [
        (
            vec!["--admin", &here, "--admin-public-read"],
            format!("--admin: {here} is where listener {everywhere} is already;"),
        ),
        (
            vec!["--http-host", "127.0.0.1", "--http-port", &port],
            format!("--http-port: {here} is where listener {everywhere} is already;"),
        ),
        (
            vec!["--admin", &everywhere, "--host", "127.0.0.1", "--admin-public-read"],
            format!("--admin: {everywhere} is where listener {here} is already;"),
        ),
        (vec!["--admin", &socket, "--admin", &socket], format!("--admin: {socket} is there twice")),
        (
            vec!["--admin", &socket, "--admin", &grouped],
            format!("--admin: {socket} is there twice"),
        ),
        (
            vec!["--admin", "127.0.0.1:1", "--admin", "127.0.0.1:1", "--admin-public-read"],
            "--admin: 127.0.0.1:1 is there twice".to_owned(),
        ),
        (
            vec!["--admin", "127.0.0.1:1", "--admin", "0.0.0.0:1", "--admin-public-read"],
            "--admin: 0.0.0.0:1 and 127.0.0.1:1 are one place".to_owned(),
        ),
        (
            vec!["--admin", "127.0.0.1:0", "--admin-token-file", folder],
            format!("{folder} is a directory; name the file with the token in it"),
        ),
    ] {
        for check in [&[][..], &["check"]] {
            let at = ["--port", port.as_str(), "--backends", backend.as_str()];
            let ended = run(&[check, &at, &options].concat());
            assert_eq!(ended.code, Some(1), "{options:?}: {}", ended.stderr);
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(said.contains(&says), "{check:?} {options:?}: {said}");
        }
    }
    // Any port is not the same port.
    let at = ["check", "--port", "0", "--backends", backend.as_str(), "--admin-public-read"];
    let ended = run(&[&at[..], &["--admin", "127.0.0.1:0", "--admin", "127.0.0.1:0"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_word_after_the_path_that_is_not_known_is_no_part_of_it() {
    let file = ConfigFile::new("");
    let folder = file.folder().display().to_string();
    let option = format!("unix:{folder}/q.sock,mod=0660");
    let ended = run(&["--port", "0", "--backends", "127.0.0.1:1", "--admin", &option]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("unknown `mod`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `mode`?"), "{}", ended.stderr);
    assert!(!file.folder().join("q.sock,mod=0660").exists());
}

#[test]
fn a_reload_reads_the_token_again() {
    let backend = Backend::echo();
    let file = ConfigFile::new(&web(&[backend.address], ""));
    let token = token_file(file.folder(), 0o600);
    let balancer = file.balancer(&format!("--admin 127.0.0.1:0 --admin-token-file {token}"));
    let address = on_network(&balancer);
    let status = |token: &str| {
        let words = request("GET /info", &format!("Authorization: Bearer {token}\r\n"), "");
        say_to(address, words.as_bytes()).expect("an answer").status
    };
    let new = "another-token-another-token";
    assert_eq!((status(TOKEN), status(new)), (200, 401));
    std::fs::write(&token, new).unwrap();
    balancer.reload();
    assert_eq!((status(TOKEN), status(new)), (401, 200));
    // One that cannot be used leaves everything as it is.
    std::fs::write(&token, "short").unwrap();
    assert!(balancer.reload().contains("has 5 characters"));
    assert_eq!(status(new), 200);
}

#[test]
fn the_flags_of_the_python_versions_dashboard_let_everybody_look_and_nobody_change() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "--http-host 127.0.0.1 --http-port 0");
    let address = on_network(&balancer);
    let say = |line: &str, body: &str| {
        let words = request(line, "Content-Type: application/json\r\n", body);
        say_to(address, words.as_bytes()).expect("an answer")
    };
    assert_eq!(say("GET /", "").status, 200);
    assert_eq!(say("GET /api/status", "").status, 200);
    let path = format!("PATCH /api/pools/default/backends/{}", backend.address);
    assert_eq!(say(&path, "{\"weight\":7}").status, 403);
    assert_eq!(say("POST /api/reload", "").status, 403);
    assert!(balancer.setting("admin").contains("everybody looks, nobody changes"));
}

#[test]
fn there_is_no_admin_api_unless_it_is_asked_for() {
    let backend = Backend::echo();
    let balancer = Balancer::before(&[backend.address], "");
    assert_eq!(balancer.setting("admin"), "off");
}
