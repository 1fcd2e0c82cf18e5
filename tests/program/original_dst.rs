//! Clients that do not know of the balancer: the kernel leads them to it, and it connects them to where
//! they wanted to go. Each test has a network of its own; needs root, iproute2 and nftables.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE};
use crate::support::user::User;
use crate::support::{Balancer, EVENKEEL, End, patient, read_to_the_end, skip};
use nix::sched::{CloneFlags, unshare};

#[test]
fn clients_reach_where_they_wanted_to_go_and_no_other_place() {
    let Some(rig) = Rig::new() else { return };
    let balancer = rig.balancer(OPTIONS);
    let names = [("127.0.0.7:81", "B1"), ("127.0.0.8:82", "B2"), ("[::1]:81", "B3")];
    let _backends = names.map(|(at, name)| Backend::named_on(at.parse().unwrap(), name));
    for _ in 0..5 {
        for (at, name) in names {
            let mut said = String::new();
            connect(at).read_to_string(&mut said).unwrap();
            assert_eq!(said, name, "{at}");
        }
    }
    let report = balancer.end();
    assert_eq!(report.counts(["accepted", "connects", "not_redirected"]), [15, 15, 0]);
}

#[test]
fn bytes_and_ends_are_those_of_the_destination() {
    let Some(rig) = Rig::new() else { return };
    let _balancer = rig.balancer(OPTIONS);
    let backend = Backend::sink();
    let _backend = Backend::on("127.0.0.7:81".parse().unwrap(), move |mut client| {
        let mut server = TcpStream::connect(backend.address).unwrap();
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        server.write_all(&bytes).unwrap();
        server.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut server, &mut client).unwrap();
    });
    let bytes = crate::support::pattern(3, 3 << 20);
    let mut client = connect("127.0.0.7:81");
    client.write_all(&bytes).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, crate::support::receipt(&bytes));
}

#[test]
fn who_connects_to_the_balancer_itself_is_refused_and_does_not_go_round() {
    let Some(rig) = Rig::new() else { return };
    let balancer = rig.balancer(OPTIONS);
    for at in ["127.0.0.1:8080", "[::1]:8080", "127.0.0.9:8080"] {
        assert!(matches!(read_to_the_end(&connect(at)), End::Finished(0) | End::Reset(0)), "{at}");
    }
    let report = balancer.end();
    assert_eq!(report.counts(["accepted", "connects", "not_redirected"]), [3, 0, 3]);
}

#[test]
fn a_redirect_that_leads_the_balancer_to_itself_ends_the_client_and_says_what_to_do() {
    let Some(rig) = Rig::new() else { return };
    let balancer = rig.balancer(&format!("{OPTIONS} --max-sessions 500"));
    // Nobody is exempt.
    assert!(rig.rule(""));
    for at in ["127.0.0.7:81", "[::1]:81"] {
        let end = read_to_the_end(&connect(at));
        assert!(matches!(end, End::Finished(0) | End::Reset(0)), "{at}: {end:?}");
    }
    assert!(balancer.log().contains("redirected back to us"), "{}", balancer.log());
    // It found out after a few rounds, not when it was full.
    let [accepted, met_itself] = balancer.end().counts(["accepted", "met_itself"]);
    assert!(met_itself >= 2 && accepted < 100, "{accepted} accepted, {met_itself} met itself");
}

#[test]
fn a_destination_that_refuses_ends_the_client_and_no_other() {
    let Some(rig) = Rig::new() else { return };
    let balancer = rig.balancer(OPTIONS);
    let _backend = Backend::named_on("127.0.0.7:81".parse().unwrap(), "B1");
    for _ in 0..10 {
        let refused = read_to_the_end(&connect("127.0.0.8:82"));
        assert!(matches!(refused, End::Finished(0) | End::Reset(0)), "{refused:?}");
        // However often: nobody is ejected for what another destination does.
        let mut said = String::new();
        connect("127.0.0.7:81").read_to_string(&mut said).unwrap();
        assert_eq!(said, "B1");
    }
    assert_eq!(balancer.end().counts(["connect_failed", "ejected"]), [10, 0]);
}

#[test]
fn a_pool_of_a_file_goes_to_the_original_destination_too() {
    let Some(rig) = Rig::new() else { return };
    let text = "[[listener]]\nlisten = \"[::]:8080\"\npool = \"away\"\n[pool.away]\n\
                destination = \"original-dst\"\n";
    let file = ConfigFile::new(&format!("{QUIET_FILE}{text}"));
    for path in [file.folder(), Path::new(file.name())] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let balancer = rig.balancer(&format!("--config {}", file.name()));
    let _backends = [("127.0.0.7:81", "B1"), ("[::1]:82", "B2")]
        .map(|(at, name)| Backend::named_on(at.parse().unwrap(), name));
    for (at, name) in [("127.0.0.7:81", "B1"), ("[::1]:82", "B2")] {
        let mut said = String::new();
        connect(at).read_to_string(&mut said).unwrap();
        assert_eq!(said, name);
    }
    // Also after a reload.
    std::fs::write(file.name(), format!("{QUIET_FILE}{text}idle_timeout = \"10m\"\n")).unwrap();
    assert!(balancer.reload().contains("changed pool away"), "{}", balancer.log());
    let mut said = String::new();
    connect("127.0.0.7:81").read_to_string(&mut said).unwrap();
    assert_eq!(said, "B1", "{}", balancer.log());
}

/// A network in which ports 81 and 82 of every address lead to the balancer.
struct Rig {
    user: User,
}

impl Rig {
    fn new() -> Option<Self> {
        let user = User::new()?;
        let rig = Self { user };
        let up = || Command::new("ip").args(["link", "set", "lo", "up"]).status();
        let own =
            unshare(CloneFlags::CLONE_NEWNET).is_ok() && up().is_ok_and(|done| done.success());
        let others = format!("meta skuid != {}", rig.user.id());
        if !own || !rig.rule(&others) {
            skip("root, `ip` and `nft`, to have a network that redirects");
            return None;
        }
        Some(rig)
    }

    /// Whom it leads there; those before are led there no more.
    fn rule(&self, whom: &str) -> bool {
        let rules = format!(
            "table inet away\ndelete table inet away\ntable inet away {{\nchain output {{\n\
             type nat hook output priority -100\n\
             {whom} tcp dport {{ 81, 82 }} redirect to :8080\n}}\n}}\n"
        );
        let mut command = Command::new("nft");
        command.args(["--file", "-"]).stdin(Stdio::piped());
        let Ok(mut child) = command.spawn() else { return false };
        child.stdin.take().expect("piped").write_all(rules.as_bytes()).unwrap();
        child.wait().unwrap().success()
    }

    /// By another user, whom the rule does not mean.
    fn balancer(&self, options: &str) -> Balancer {
        let mut command = self.user.may_run(Path::new(EVENKEEL));
        Balancer::started(command.args(options.split_whitespace()))
    }
}

fn connect(at: &str) -> TcpStream {
    patient(TcpStream::connect(at.parse::<SocketAddr>().unwrap()).unwrap())
}

const OPTIONS: &str = "--host :: --port 8080 --original-dst";
