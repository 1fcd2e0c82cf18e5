//! What is said when the admin API cannot be asked, or says no: cause and cure.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::stub::{Stub, done, evenkeel, nobody, own_folder};
use crate::support::Nobody;
use crate::support::user::User;

fn said_by(address: &str) -> String {
    let done = done(evenkeel("ctl").args(["status", "--admin", address]));
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", done.err);
    assert_eq!(done.err.lines().count(), 1, "{}", done.err);
    done.err
}

#[test]
fn where_nobody_listens_it_says_how_somebody_would() {
    let folder = own_folder();
    let missing = nobody(&folder);
    let said = said_by(&missing);
    let expected = format!(
        "evenkeel ctl: nobody listens at {missing}: start evenkeel with --admin {missing}, or name \
         another with --admin or EVENKEEL_ADMIN\n"
    );
    assert_eq!(said, expected);
    // A socket that is left of somebody who is gone.
    let left = folder.join("left.sock");
    drop(UnixListener::bind(&left).expect("a path of our own"));
    assert!(said_by(&format!("unix:{}", left.display())).contains("nobody listens"));
    let port = Nobody::new();
    assert!(said_by(&port.address.to_string()).contains("nobody listens"));
    std::fs::remove_dir_all(folder).expect("our own");
}

#[test]
fn the_default_is_the_socket_in_run() {
    let said = done(evenkeel("ctl").arg("status"));
    if said.code == Some(1) {
        assert!(said.err.contains("unix:/run/evenkeel/admin.sock"), "{}", said.err);
    }
    let wrong = done(evenkeel("ctl").arg("status").env("EVENKEEL_ADMIN", "/run/x.sock"));
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("EVENKEEL_ADMIN: write unix:/run/x.sock"), "{}", wrong.err);
}

#[test]
fn a_socket_of_somebody_else_names_who_may() {
    let Some(user) = User::new() else { return };
    let folder = own_folder();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).expect("our own");
    let path = folder.join("admin.sock");
    let _listener = UnixListener::bind(&path).expect("a path of our own");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("our own");
    let mut command = user.may_run(crate::support::EVENKEEL.as_ref());
    let address = format!("unix:{}", path.display());
    let said = done(command.args(["ctl", "status", "--admin", &address]));
    assert_eq!(said.code, Some(1));
    for part in ["may not be opened", "belongs to root:root, mode 0600", "mode=0660"] {
        assert!(said.err.contains(part), "no {part} in {}", said.err);
    }
    std::fs::remove_dir_all(folder).expect("our own");
}

#[test]
fn what_is_no_evenkeel_is_not_taken_for_one() {
    for (answer, says) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "is no evenkeel's admin API"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "it answers 404"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "is no evenkeel's admin API"),
        ("", "closed the connection without an answer"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("it comes");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let said = said_by(&address);
        assert!(said.contains(says) && said.contains(&address), "{answer:?}: {said}");
        peer.join().expect("it answered");
    }
    let folder = own_folder();
    let file = folder.join("file");
    std::fs::write(&file, "").expect("our own");
    let said = said_by(&format!("unix:{}", file.display()));
    assert!(said.contains("nobody listens") || said.contains("not a socket"), "{said}");
    std::fs::remove_dir_all(folder).expect("our own");
}

#[test]
fn a_token_is_sent_and_its_absence_explained() {
    let stub = Stub::on_tcp();
    let folder = own_folder();
    let file = folder.join("token");
    std::fs::write(&file, "s3cret\n").expect("our own");
    let file = file.to_str().expect("text").to_owned();
    stub.ctl(&format!("status --token-file {file}"));
    let token = || stub.asked().pop().expect("it asked").token;
    assert_eq!(token().as_deref(), Some("Bearer s3cret"));
    let mut by_environment = evenkeel("ctl");
    by_environment.arg("status").env("EVENKEEL_ADMIN", &stub.address);
    done(by_environment.env("EVENKEEL_ADMIN_TOKEN_FILE", &file));
    assert_eq!(token().as_deref(), Some("Bearer s3cret"));

    stub.say("GET /api/status", 401, r#"{"error":"a token is needed"}"#);
    let without = stub.ctl("status");
    assert_eq!((without.code, token()), (Some(1), None));
    let cure = "name the file that has it with --token-file or EVENKEEL_ADMIN_TOKEN_FILE";
    assert!(
        without.err.contains("a token is needed") && without.err.contains(cure),
        "{}",
        without.err
    );
    let with = stub.ctl(&format!("status --token-file {file}"));
    assert!(with.err.contains("not that of --admin-token-file there"), "{}", with.err);
    assert!(!with.err.contains("s3cret"));
    for (text, says) in [("", "empty"), ("two words", "more than one word")] {
        std::fs::write(&file, text).expect("our own");
        let said = stub.ctl(&format!("status --token-file {file}")).err;
        assert!(said.contains(says) && said.contains(&file), "{said}");
    }
    std::fs::remove_dir_all(folder).expect("our own");
}

#[test]
fn a_no_is_told_in_the_words_of_who_said_it() {
    let stub = Stub::new();
    let no = r#"{"error":"pool \u001b[2J `web` has a backend `a` already; give another name"}"#;
    stub.say("POST /api/pools/web/backends", 409, no);
    let said = stub.ctl("add web 10.0.0.1:80");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("has a backend `a` already; give another name"), "{}", said.err);
    assert!(!said.err.contains('\u{1b}'));
}

#[test]
fn top_needs_a_terminal_or_once() {
    let stub = Stub::new();
    let said = done(evenkeel("top").args(["--admin", &stub.address]));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("--once"), "{}", said.err);
    let folder = own_folder();
    let said = done(evenkeel("top").args(["--once", "--admin", &nobody(&folder)]));
    assert_eq!(said.code, Some(1));
    assert!(said.err.starts_with("evenkeel top: nobody listens"), "{}", said.err);
    std::fs::remove_dir_all(folder).expect("our own");
}
