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
    for part in [
        "may not be opened",
        "belongs to root:root, mode 0600",
        "; try as root, or start evenkeel with --admin unix:PATH,mode=0660",
    ] {
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
    for (path, what) in [(&file, "a file"), (&folder, "a folder")] {
        let address = format!("unix:{}", path.display());
        let expected = format!(
            "evenkeel ctl: {address} is {what}, not a socket: say with --admin or EVENKEEL_ADMIN which socket \
             evenkeel has\n"
        );
        assert_eq!(said_by(&address), expected);
    }
    std::fs::remove_dir_all(folder).expect("our own");
}

#[test]
fn a_request_that_is_too_long_is_said_to_be() {
    let stub = Stub::new();
    for status in [431, 414] {
        stub.say("GET /api/explain/client", status, "");
        let said = stub.ctl("explain client x");
        assert_eq!(said.code, Some(1));
        let why = format!("({status}): a name in it, or the token, is too long");
        assert!(said.err.contains(&why), "{}", said.err);
    }
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
fn a_token_that_cannot_be_read_is_named_with_the_cure() {
    let (stub, folder) = (Stub::on_tcp(), own_folder());
    let missing = folder.join("missing");
    for (path, why) in [(&missing, "it is not there"), (&folder, "it is a folder")] {
        let said = stub.ctl(&format!("status --token-file {}", path.display()));
        let expected = format!(
            "evenkeel ctl: the token file {}: {why}; name the file that has the token with --token-file or \
             EVENKEEL_ADMIN_TOKEN_FILE\n",
            path.display()
        );
        assert_eq!((said.code, said.err), (Some(1), expected));
    }
    if let Some(user) = User::new() {
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).expect("our own");
        let token = folder.join("token");
        std::fs::write(&token, "s3cret").expect("our own");
        std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).expect("our own");
        let mut command = user.may_run(crate::support::EVENKEEL.as_ref());
        command.args(["ctl", "status", "--admin", &stub.address, "--token-file"]).arg(&token);
        let said = done(&mut command).err;
        let cure = "try as root, or name the file that has the token with --token-file or";
        assert!(said.contains("may not be read") && said.contains(cure), "{said}");
    }
    std::fs::remove_dir_all(folder).expect("our own");
}

#[test]
fn a_token_of_the_environment_is_read_where_one_is_asked_for() {
    for (stub, code) in [(Stub::new(), Some(0)), (Stub::on_tcp(), Some(1))] {
        let mut command = evenkeel("ctl");
        command.arg("status").env("EVENKEEL_ADMIN", &stub.address);
        let said = done(command.env("EVENKEEL_ADMIN_TOKEN_FILE", "/missing/token"));
        assert_eq!(said.code, code, "{}: {}", stub.address, said.err);
        // What was asked for by an option is meant.
        assert_eq!(stub.ctl("status --token-file /missing/token").code, Some(1));
    }
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
