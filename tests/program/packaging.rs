//! What is in `packaging/`: the seccomp profile is put on the real binary, the units are read by systemd's own
//! tool, and what cannot be run here (an image) is at least held against what is in the tree.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::scene::{Checked, is_echoed, speak};
use crate::support::seccomp::{IO_URING_SETUP, behind, under};
use crate::support::{EVENKEEL, run_command, skip};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use seccompiler::{BpfProgram, TargetArch};
use serde_json::{Value, json};

#[test]
fn behind_the_seccomp_profile_both_engines_serve_check_reload_and_drain() {
    for engine in ["uring", "epoll"] {
        let (backend, by_name) = (Checked::new("B1"), Backend::named("B2"));
        let (address, port) = (backend.address(), by_name.address.port());
        let file = ConfigFile::new(&two_pools(&address.to_string(), port, "1h"));
        let admin = format!("unix:{}", file.folder().join("admin.sock").display());
        let options = format!("--engine {engine} --drain-timeout 10s --admin {admin}");
        let mut balancer = behind_the_profile(|| file.balancer(&options));
        assert!(balancer.setting("engine").starts_with(engine), "{:?}", balancer.settings);
        // Each byte goes through a pipe.
        let (name, client) = speak(&balancer);
        assert_eq!(name, "B1", "{}", balancer.log());
        backend.wait_for_checks(2);
        // Its clients are no part of what is confined.
        for question in ["health", "status", "sessions"] {
            let ended =
                run_command(Command::new(EVENKEEL).args(["ctl", "--admin", &admin, question]));
            assert_eq!(ended.code, Some(0), "{question}: {}", ended.stderr);
        }
        let said = file.reload(&balancer, &two_pools(&address.to_string(), port, "2h"));
        assert!(said.contains("in force"), "{said}");
        assert!(is_echoed(&client, 7), "the session goes on: {}", balancer.log());
        balancer.signal(Signal::SIGTERM);
        balancer.wait_for_lines("stopping", 1);
        assert!(is_echoed(&client, 8), "it drains: {}", balancer.log());
        drop(client);
        assert_eq!(balancer.wait().code(), Some(0), "{}", balancer.log());
        for refused in ["not permitted", "EPERM", "not implemented", "ENOSYS"] {
            assert!(!balancer.log().contains(refused), "{}", balancer.log());
        }
    }
}

#[test]
fn behind_the_seccomp_profile_what_evenkeel_does_not_need_is_refused() {
    let tried = behind_the_profile(|| {
        let unshared = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER);
        let bound = std::net::UdpSocket::bind("127.0.0.1:0").map(drop);
        (unshared, bound.is_ok())
    });
    assert_eq!(tried, (Err(Errno::EPERM), true));
    // And the doctor sees that the profile is what a container runtime should be given.
    let doctor = |line: &str| run_command(Command::new(EVENKEEL).args(line.split(' ')));
    let well = behind_the_profile(|| doctor("doctor --engine uring"));
    assert!(well.stdout.contains("io_uring: works; a seccomp filter is on"), "{}", well.stdout);
    let blocked = behind(IO_URING_SETUP, Errno::EPERM, || doctor("doctor"));
    assert!(blocked.stdout.contains("seccomp=/usr/share/evenkeel/seccomp.json"));
}

#[test]
fn the_seccomp_profile_has_every_name_once_and_in_order_and_is_for_both_architectures() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(profile["defaultErrnoRet"], Errno::EPERM as i32);
    let mut all = HashSet::new();
    for rule in rules(&profile) {
        let names = names(rule);
        assert!(names.is_sorted(), "{names:?}");
        let twice = names.iter().find(|name| !all.insert(format!("{name} {}", rule["args"])));
        assert_eq!(twice, None);
    }
    for architecture in [TargetArch::x86_64, TargetArch::aarch64] {
        filters(&profile, architecture).iter().for_each(|filter| assert!(filter.len() > 1));
    }
}

#[test]
fn the_units_are_understood_by_systemd_and_keep_the_service_in() {
    let folder = ConfigFile::new("");
    for name in ["evenkeel.service", "evenkeel.socket"] {
        let text = read(&format!("packaging/{name}")).replace("/usr/bin/evenkeel", EVENKEEL);
        std::fs::write(folder.folder().join(name), text).unwrap();
    }
    let analyze = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).current_dir(folder.folder()).output()
    };
    let Ok(verified) = analyze(&["verify", "./evenkeel.service", "./evenkeel.socket"]) else {
        return skip("systemd-analyze");
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours = said.lines().filter(|line| line.contains("evenkeel"));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
    // In tenths: 2.0 of 10 is what a service that listens to everybody can hardly go below.
    let exposed =
        analyze(&["security", "--offline=true", "--threshold=20", "./evenkeel.service"]).unwrap();
    assert!(exposed.status.success(), "{}", String::from_utf8_lossy(&exposed.stdout));
}

#[test]
fn what_the_unit_and_the_image_start_is_a_command_line_that_evenkeel_takes() {
    let unit = read("packaging/evenkeel.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/evenkeel "));
    let image = read("packaging/Dockerfile");
    let command = image.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    let start = start.unwrap().split(' ').map(str::to_owned).collect();
    for arguments in [start, command] {
        let here = in_tree("packaging/evenkeel.toml").display().to_string();
        // Its folder is made with the service (RuntimeDirectory=).
        let folder = std::env::temp_dir().display().to_string();
        let installed = |argument: &String| {
            let argument = argument.replace("/etc/evenkeel/evenkeel.toml", &here);
            argument.replace("/run/evenkeel", &folder)
        };
        let arguments: Vec<String> = arguments.iter().map(installed).collect();
        assert!(arguments.contains(&here), "{arguments:?}");
        let ended = run_command(Command::new(EVENKEEL).arg("check").args(&arguments));
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    }
    let health = image.lines().find_map(|line| line.trim().strip_prefix("CMD [\"evenkeel\", "));
    let health: Vec<String> = serde_json::from_str(&format!("[{}", health.unwrap())).unwrap();
    let ended = run_command(Command::new(EVENKEEL).args(&health).arg("--help"));
    assert_eq!(ended.code, Some(0), "{health:?}: {}", ended.stderr);
}

#[test]
fn what_the_image_is_built_from_is_there_and_is_sent_to_the_builder() {
    let (image, ignored) =
        (read("packaging/Dockerfile"), read("packaging/Dockerfile.dockerignore"));
    let copies = image.lines().filter_map(|line| line.strip_prefix("COPY "));
    let mut copied = Vec::new();
    for copy in copies.filter(|copy| !copy.starts_with("--from=")) {
        let (sources, _to) = copy.rsplit_once(' ').unwrap();
        copied.extend(sources.split(' '));
    }
    for source in &copied {
        assert!(in_tree(source).exists(), "{source}");
        assert!(ignored.lines().any(|line| line == format!("!{source}")), "{source}");
    }
    // Cargo wants every member of the workspace to be there, also those that are not built.
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        assert!(copied.contains(&member.as_str().unwrap()), "{member}");
    }
}

#[test]
fn what_the_package_is_made_of_is_there() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let mut installed = Vec::new();
    for asset in deb["assets"].as_array().unwrap() {
        let [from, to] = [0, 1].map(|part| asset[part].as_str().unwrap());
        let built = from.starts_with("target/");
        assert!(built || in_tree(from.trim_end_matches("*.md")).exists(), "{from}");
        installed.push(format!("/{to}{}", from.rsplit('/').next().unwrap()));
    }
    for kept in deb["conf-files"].as_array().unwrap() {
        assert!(installed.iter().any(|path| path == kept.as_str().unwrap()), "{kept}");
    }
    for script in std::fs::read_dir(in_tree(deb["maintainer-scripts"].as_str().unwrap())).unwrap() {
        let script = script.unwrap().path();
        let text = std::fs::read_to_string(&script).unwrap();
        assert!(text.contains("\n#DEBHELPER#\n"), "{script:?} would drop what is generated");
        let checked = run_command(Command::new("sh").arg("-n").arg(&script));
        assert_eq!(checked.code, Some(0), "{script:?}: {}", checked.stderr);
    }
}

/// One pool whose backend is checked, and one whose backend has a name.
fn two_pools(address: &str, port: u16, idle: &str) -> String {
    format!(
        r#"
        [[listener]]
        listen = "127.0.0.1:0"
        pool = "web"
        [[listener]]
        name = "named"
        listen = "127.0.0.1:0"
        pool = "named"
        [pool.web]
        backends = ["{address}"]
        splice = "always"
        idle_timeout = "{idle}"
        [pool.web.health]
        type = "http"
        path = "/health"
        interval = "100ms"
        [pool.named]
        backends = ["localhost:{port}"]
        "#
    )
}

/// On a thread where the kernel answers as the profile says.
fn behind_the_profile<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let [errors, allowed] = filters(&profile(), std::env::consts::ARCH.try_into().unwrap());
    under(&errors, || under(&allowed, start))
}

/// The profile as two filters, because one has a single answer for all that it names: the first for what the
/// profile answers with an error of its own, the second for what it allows.
fn filters(profile: &Value, architecture: TargetArch) -> [BpfProgram; 2] {
    let (mut errors, mut allowed, mut errno) = (Vec::new(), Vec::new(), 0);
    for rule in rules(profile).filter(|rule| is_for(rule, architecture)) {
        let own_error = rule["action"] == "SCMP_ACT_ERRNO";
        assert!(own_error || rule["action"] == "SCMP_ACT_ALLOW", "{rule}");
        for name in names(rule) {
            let seen = json!({ "syscall": name, "args": conditions(rule) });
            if own_error {
                errno = rule["errnoRet"].as_u64().unwrap();
                errors.push(json!({ "syscall": name }));
            }
            allowed.push(seen);
        }
    }
    let text = json!({
        "errors": {
            "mismatch_action": "allow", "match_action": { "errno": errno }, "filter": errors
        },
        "allowed": {
            "mismatch_action": { "errno": profile["defaultErrnoRet"] }, "match_action": "allow",
            "filter": allowed
        },
    });
    let text = text.to_string();
    let mut made = seccompiler::compile_from_json(text.as_bytes(), architecture).unwrap();
    ["errors", "allowed"].map(|name| made.remove(name).unwrap())
}

/// What arguments must be, whole or behind a mask.
fn conditions(rule: &Value) -> Value {
    let one = |condition: &Value| {
        let (op, value) = match condition["op"].as_str().unwrap() {
            "SCMP_CMP_EQ" => (json!("eq"), &condition["value"]),
            "SCMP_CMP_MASKED_EQ" => {
                (json!({ "masked_eq": condition["value"] }), &condition["valueTwo"])
            }
            other => panic!("{other} is translated by nobody"),
        };
        json!({ "index": condition["index"], "type": "qword", "op": op, "val": value })
    };
    match rule["args"].as_array() {
        Some(conditions) => conditions.iter().map(one).collect(),
        None => Value::Null,
    }
}

fn is_for(rule: &Value, architecture: TargetArch) -> bool {
    let name = if architecture == TargetArch::x86_64 { "amd64" } else { "arm64" };
    let only = rule["includes"]["arches"].as_array();
    only.is_none_or(|names| names.iter().any(|one| one == name))
}

fn rules(profile: &Value) -> impl Iterator<Item = &Value> {
    profile["syscalls"].as_array().unwrap().iter()
}

fn names(rule: &Value) -> Vec<&str> {
    rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

fn profile() -> Value {
    serde_json::from_str(&read("packaging/seccomp.json")).unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_tree(path)).unwrap()
}

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
