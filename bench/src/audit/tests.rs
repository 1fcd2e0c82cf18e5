use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::contender::listens;
use crate::network::Cpus;

/// Somebody who is as all shall be.
pub(super) fn alike() -> Seen {
    let buffer = Buffer { bytes: 131_072, fixed: Some(false) };
    let side = Connection {
        no_delay: true,
        keepalive: false,
        congestion_control: "cubic".to_owned(),
        send_buffer: buffer,
        receive_buffer: buffer,
        ss: None,
    };
    let path = DataPath { carried_bytes: 1000, spliced_bytes: 0, calls: Vec::new() };
    let [null, pipe] = ["/dev/null", "a pipe"].map(str::to_owned);
    Seen {
        contender: "alike".to_owned(),
        processes: 1,
        threads: 2,
        working_threads: Some(1),
        cpus_allowed: "0".to_owned(),
        backlog: Some(4096),
        client_side: Some(side.clone()),
        backend_side: Some(side),
        up: Some(path.clone()),
        down: Some(path),
        log: Some(Log { stdout: null, stderr: pipe, others: Vec::new(), writes: Some(0) }),
        deviations: Vec::new(),
        not_seen: Vec::new(),
    }
}

/// One CPU for the contender; where there is only one, the others share it.
fn network() -> Network {
    let cpus = uring::allowed_cpus().expect("/proc is there");
    let cpus = Cpus { balancer: cpus[0], others: cpus[cpus.len().min(2) - 1..].to_vec() };
    Network::loopback(&cpus).expect("/proc is there")
}

/// Says what is missing; where nothing may be missing (`EVENKEEL_NO_SKIP`), fails.
fn skip(needs: &str) {
    assert!(std::env::var_os("EVENKEEL_NO_SKIP").is_none(), "needs {needs}");
    eprintln!("SKIPPED: needs {needs}");
}

/// Looks at a contender, if it is here and may be looked at.
fn look_at_contender(name: &str) -> Option<Seen> {
    let contender = Contender::named(name).expect("it is one of them");
    if let Some(why) = contender.look().absent {
        skip(&why);
        return None;
    }
    let network = network();
    let start = |address, backend| contender.start(&network.balancer, address, &[backend]);
    let look = || look_at(&network, name, 8 << 20, start);
    // A port that was free may be another test's by the time somebody listens there.
    let taken = |seen: &io::Result<Seen>| {
        seen.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    let mut seen = look();
    for _ in 0..5 {
        if taken(&seen) {
            seen = look();
        }
    }
    complete(seen.expect("it carries everything"))
}

fn complete(mut seen: Seen) -> Option<Seen> {
    // Not everybody may choose it for the machine's loopback.
    seen.deviations.retain(|line| !line.contains("instead of cubic"));
    let hidden = seen.not_seen.join("; ");
    let needs = ["apt-get install", "CAP_SYS_PTRACE"].iter().any(|&need| hidden.contains(need));
    assert_eq!(hidden.is_empty(), !needs, "{hidden}");
    if needs {
        skip(&hidden);
    }
    hidden.is_empty().then_some(seen)
}

fn spliced(path: &Option<DataPath>) -> f64 {
    let path = path.as_ref().expect("it was seen");
    path.spliced_bytes as f64 / path.carried_bytes as f64
}

#[test]
fn haproxy_copies_and_is_as_all_shall_be() {
    let Some(seen) = look_at_contender("haproxy") else { return };
    assert!(seen.deviations.is_empty(), "{seen:?}");
    assert_eq!((seen.processes, seen.threads), (1, 1));
    assert_eq!((spliced(&seen.up), spliced(&seen.down)), (0.0, 0.0));
    let evidence = seen.backend_side.expect("it was seen").ss.expect("ss is here");
    assert!(evidence.contains("rto:") && !evidence.contains("127.0.0.1"), "{evidence}");
}

#[test]
fn what_haproxy_splices_is_seen_as_spliced() {
    let Some(seen) = look_at_contender("haproxy-splice") else { return };
    for path in [&seen.up, &seen.down] {
        assert!((0.5..=1.0).contains(&spliced(path)), "{path:?}");
    }
}

#[test]
fn the_master_of_nginx_is_seen_but_does_not_work() {
    let Some(seen) = look_at_contender("nginx") else { return };
    assert!(seen.deviations.is_empty(), "{seen:?}");
    assert_eq!((seen.processes, seen.threads, seen.working_threads), (2, 2, Some(1)));
}

#[test]
fn a_contender_with_two_threads_a_short_backlog_and_a_log_is_not_alike() {
    if let Some(why) = Contender::named("haproxy").expect("it is one of them").look().absent {
        return skip(&why);
    }
    let network = network();
    let start =
        |address: SocketAddr, backend| network.balancer.run(|| start_otherwise(address, backend));
    let seen = look_at(&network, "other", 1 << 20, start).expect("it carries everything");
    let Some(seen) = complete(seen) else { return };
    let [threads, backlog, log] = seen.deviations.as_slice() else { panic!("{seen:?}") };
    assert_eq!(threads, "2 threads work instead of 1");
    assert_eq!(backlog, "a backlog of 100 instead of 4096");
    assert!(log.starts_with("it wrote a log, "), "{log}");
}

/// HAProxy with everything that no contender shall have.
fn start_otherwise(address: SocketAddr, backend: SocketAddr) -> io::Result<Process> {
    let name = format!("evenkeel-bench-{}-{}-other.cfg", std::process::id(), address.port());
    let path = std::env::temp_dir().join(name);
    let text = format!(
        "global\n  nbthread 2\n  log stdout format raw local0\n\
         defaults\n  mode tcp\n  log global\n  option tcplog\n  timeout connect 3s\n  \
         timeout client 1h\n  timeout server 1h\n\
         listen other\n  bind {address} backlog 100\n  server b0 {backend}\n"
    );
    std::fs::write(&path, text)?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.args(["-db", "-f"]).arg(&path).stdout(Stdio::piped()).stderr(Stdio::null());
    let process = Process::spawn(command, vec![path])?;
    let give_up = Instant::now() + Duration::from_secs(30);
    while !listens(address)? && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(process)
}
