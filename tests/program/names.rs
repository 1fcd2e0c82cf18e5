//! Backends that have names: what a name stands for may change while the balancer runs. Each test has
//! a hosts file of its own, in a mount namespace; needs root, `unshare` and `mount`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use crate::support::backend::Backend;
use crate::support::file::{ConfigFile, QUIET_FILE, listener};
use crate::support::{Balancer, EVENKEEL, eventually, skip};

#[test]
fn a_name_that_moves_takes_new_clients_along_and_leaves_the_others_where_they_are() {
    let Some(rig) = Rig::new("127.0.0.11 web.test\n") else { return };
    let (old, new) = rig.backends("127.0.0.11", "127.0.0.12");
    let balancer = rig.balancer(&["web.test"]);
    let mut client = balancer.connect();
    named(&mut client, "old!");
    rig.hosts("127.0.0.12 web.test\n");
    eventually(|| ask(&balancer) == "new!", || balancer.log());
    let before = old.accepted();
    (0..10).for_each(|_| assert_eq!(ask(&balancer), "new!"));
    named(&mut client, "old!");
    assert_eq!(old.accepted(), before);
    assert!(balancer.log().contains("web.test is 127.0.0.12 now"), "{}", balancer.log());
    // And back.
    rig.hosts("127.0.0.11 web.test\n");
    eventually(|| ask(&balancer) == "old!", || balancer.log());
    assert!(new.accepted() >= 10);
}

#[test]
fn a_name_that_vanishes_keeps_its_addresses_until_it_has_others() {
    let Some(rig) = Rig::new("127.0.0.11 web.test\n") else { return };
    let _backends = rig.backends("127.0.0.11", "127.0.0.12");
    let balancer = rig.balancer(&["web.test"]);
    rig.hosts("127.0.0.1 localhost\n");
    let told = || balancer.log().contains("web.test cannot be looked up");
    eventually(told, || balancer.log());
    (0..10).for_each(|_| assert_eq!(ask(&balancer), "old!"));
    rig.hosts("127.0.0.12 web.test\n");
    eventually(|| ask(&balancer) == "new!", || balancer.log());
    let log = balancer.log();
    assert_eq!(log.matches("cannot be looked up").count(), 1, "{log}");
    assert!(log.contains("web.test can be looked up again"), "{log}");
}

#[test]
fn a_name_with_several_addresses_is_served_by_the_one_that_answers() {
    let Some(rig) = Rig::new("127.0.0.10 web.test\n127.0.0.12 web.test\n") else { return };
    let _backends = rig.backends("127.0.0.11", "127.0.0.12");
    let balancer = rig.balancer(&["web.test"]);
    (0..5).for_each(|_| assert_eq!(ask(&balancer), "new!"));
    // The other one answers now.
    rig.hosts("127.0.0.11 web.test\n127.0.0.13 web.test\n");
    eventually(|| ask(&balancer) == "old!", || balancer.log());
}

#[test]
fn a_reload_looks_names_up_and_follows_those_that_are_new() {
    let Some(rig) = Rig::new("127.0.0.11 web.test\n") else { return };
    let _backends = rig.backends("127.0.0.11", "127.0.0.12");
    let balancer = rig.balancer(&["web.test"]);
    assert_eq!(ask(&balancer), "old!");
    rig.hosts("127.0.0.12 other.test\n");
    let said = rig.file.reload(&balancer, &rig.text(&["other.test"]));
    assert!(said.contains("new backends web/other.test"), "{said}");
    assert_eq!(ask(&balancer), "new!");
    rig.hosts("127.0.0.11 other.test\n");
    eventually(|| ask(&balancer) == "old!", || balancer.log());
    // A name that nobody knows is no reason to lose those that are known.
    let said = rig.file.reload(&balancer, &rig.text(&["other.test", "nobody.test"]));
    assert!(said.contains("cannot resolve backend `nobody.test:"), "{said}");
    assert_eq!(ask(&balancer), "old!");
}

/// A hosts file, and no name server, for balancers that are started with it.
struct Rig {
    file: ConfigFile,
    /// Of all backends, at whichever address.
    port: u16,
}

impl Rig {
    fn new(hosts: &str) -> Option<Self> {
        let rig = Self { file: ConfigFile::new(""), port: crate::support::free_port() };
        rig.hosts(hosts);
        // Nobody listens there: an answer comes at once, and it is none.
        let servers = "nameserver 127.0.0.253\noptions timeout:1 attempts:1\n";
        std::fs::write(rig.file.folder().join("resolv.conf"), servers).unwrap();
        if !rig.command("true").status().is_ok_and(|status| status.success()) {
            skip("root, `unshare` and `mount`, to have a hosts file of its own");
            return None;
        }
        Some(rig)
    }

    /// The hosts file says this from now on. It is a bind mount: another file would not be seen.
    fn hosts(&self, text: &str) {
        std::fs::write(self.file.folder().join("hosts"), text).unwrap();
    }

    fn backends(&self, old: &str, new: &str) -> (Backend, Backend) {
        let on = |ip: &str, name: &'static str| {
            let address = SocketAddr::new(ip.parse::<IpAddr>().unwrap(), self.port);
            Backend::on(address, move |mut client| {
                let mut asked = [0; 4];
                while client.read_exact(&mut asked).is_ok() {
                    let _ = client.write_all(name.as_bytes());
                }
            })
        };
        (on(old, "old!"), on(new, "new!"))
    }

    fn text(&self, names: &[&str]) -> String {
        let names = names.iter().map(|name| format!("\"{name}:{}\"", self.port));
        let names = names.collect::<Vec<_>>().join(", ");
        let process = QUIET_FILE.replace("[process]", "[process]\nresolve_ttl_min = \"100ms\"");
        let web = listener("127.0.0.1:0", "web");
        format!("{process}{web}[pool.web]\nbackends = [{names}]\n")
    }

    fn balancer(&self, names: &[&str]) -> Balancer {
        self.file.write(&self.text(names));
        // The arguments are the script's.
        let mut command = self.command("exec \"$0\" \"$@\"");
        Balancer::started(command.args([EVENKEEL, "--config", self.file.name()]))
    }

    /// A shell's command that sees the files of this rig.
    fn command(&self, script: &str) -> Command {
        let folder = self.file.folder().display();
        let mounts = ["hosts", "resolv.conf"]
            .map(|name| format!("mount --bind {folder}/{name} /etc/{name} && "))
            .concat();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{mounts}{script}")]);
        command
    }
}

fn ask(balancer: &Balancer) -> String {
    let mut client = balancer.connect();
    let mut said = [0; 4];
    client.write_all(b"who?").unwrap();
    client.read_exact(&mut said).unwrap();
    String::from_utf8(said.to_vec()).unwrap()
}

/// A session that is open is answered by this one.
fn named(client: &mut std::net::TcpStream, name: &str) {
    let mut said = [0; 4];
    client.write_all(b"who?").unwrap();
    client.read_exact(&mut said).unwrap();
    assert_eq!(std::str::from_utf8(&said).unwrap(), name);
}
