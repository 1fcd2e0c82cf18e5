//! The configuration files. Where backends are looked after, it is done alike: a check each second,
//! three bad answers take a backend out and two good ones bring it back, a connect that failed is
//! tried at another backend at once; and who checks nothing leaves out for ten seconds who failed
//! three times.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Purpose;

/// Where nginx has its stream module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamModule {
    /// In the program.
    BuiltIn,
    /// To be loaded.
    File(PathBuf),
    /// Nowhere.
    Absent,
}

/// HAProxy in `mode tcp`. It sets TCP_NODELAY by itself.
pub(super) fn haproxy(address: SocketAddr, backends: &[SocketAddr], options: &[&str]) -> String {
    // By default half as many pipes as connections, with which it would not fit its open files.
    let pipes = if options.is_empty() { "" } else { "  maxpipes 256\n" };
    let options: String = options.iter().map(|option| format!("  option {option}\n")).collect();
    haproxy_with(address, backends, pipes, &options, "")
}

/// HAProxy for backends that are looked after. Its default is to try a connect that failed at the
/// same server again, after a second; `redispatch 1` sends each of the tries elsewhere.
pub(super) fn haproxy_that_copes(address: SocketAddr, backends: &[SocketAddr]) -> String {
    let options = "  option redispatch 1\n  retries 3\n";
    haproxy_with(address, backends, "", options, " check inter 1s fall 3 rise 2")
}

fn haproxy_with(
    address: SocketAddr,
    backends: &[SocketAddr],
    pipes: &str,
    options: &str,
    check: &str,
) -> String {
    let servers = backends.iter().enumerate();
    let servers = servers.map(|(index, backend)| format!("  server b{index} {backend}{check}\n"));
    let servers: String = servers.collect();
    format!(
        "global\n  nbthread 1\n  maxconn {SESSIONS}\n{pipes}\
         defaults\n  mode tcp\n{options}  timeout connect 3s\n  timeout client 1h\n  timeout server 1h\n\
         listen bench\n  bind {address} backlog 4096\n{servers}"
    )
}

/// evenkeel by a file. Whoever is to stop does so at once, as the others: by default it would
/// leave running sessions 30 s.
pub(super) fn evenkeel(address: SocketAddr, backends: &[SocketAddr]) -> String {
    let backends: Vec<String> = backends.iter().map(|one| format!("\"{one}\"")).collect();
    let backends = backends.join(", ");
    format!(
        "[process]\nshards = 1\nlog_level = \"ERROR\"\ndrain_timeout = \"0s\"\n\n\
         [[listener]]\nlisten = \"{address}\"\n\n\
         [pool.bench]\nalgorithm = \"round-robin\"\nbackends = [{backends}]\n\n\
         [pool.bench.health]\ninterval = \"1s\"\nfall = 3\nrise = 2\n"
    )
}

/// nginx's stream module, one worker. It checks nothing, and learns from connects.
pub(super) fn nginx(
    address: SocketAddr,
    backends: &[SocketAddr],
    module: &StreamModule,
    pid: &Path,
    purpose: Purpose,
) -> String {
    let load = match module {
        StreamModule::File(path) => format!("load_module {};\n", path.display()),
        StreamModule::BuiltIn | StreamModule::Absent => String::new(),
    };
    let connections = 2 * SESSIONS;
    let learns = match purpose {
        Purpose::Speed => "",
        Purpose::Disruption => " max_fails=3 fail_timeout=10s",
    };
    let servers = backends.iter().map(|one| format!("    server {one}{learns};\n"));
    let servers: String = servers.collect();
    format!(
        "{load}daemon off;\nworker_processes 1;\npid {};\nerror_log /dev/null crit;\n\
         events {{\n  worker_connections {connections};\n}}\n\
         stream {{\n  access_log off;\n  upstream backends {{\n{servers}  }}\n  server {{\n    listen {address} backlog=4096;\n    \
         proxy_pass backends;\n    proxy_connect_timeout 3s;\n    proxy_timeout 1h;\n    \
         tcp_nodelay on;\n  }}\n}}\n",
        pid.display()
    )
}

/// Looks for the module where nginx was told to, and where distributions put it.
pub(super) fn stream_module(nginx: &Path) -> StreamModule {
    let Ok(output) = Command::new(nginx).arg("-V").output() else { return StreamModule::Absent };
    let built_with = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut words = built_with.split_whitespace();
    if words.clone().any(|word| word == "--with-stream") {
        return StreamModule::BuiltIn;
    }
    let told = words.find_map(|word| word.strip_prefix("--modules-path="));
    let usual = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"];
    let mut files = told.into_iter().chain(usual).map(|folder| Path::new(folder).join(MODULE));
    files.find(|file| file.exists()).map_or(StreamModule::Absent, StreamModule::File)
}

const MODULE: &str = "ngx_stream_module.so";
/// At a time; both sides of each fit the 20 000 open files that a small machine allows.
const SESSIONS: u32 = 9500;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> [SocketAddr; 2] {
        [18_000, 18_001].map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn haproxy_splices_when_it_is_told_to() {
        let [address, backend] = addresses();
        let plain = haproxy(address, &[backend], &[]);
        assert!(plain.contains("mode tcp\n  timeout connect"), "{plain}");
        assert!(plain.contains("bind 127.0.0.1:18000 backlog 4096\n  server b0 127.0.0.1:18001"));
        let forced = haproxy(address, &[backend], &["splice-request", "splice-response"]);
        assert!(forced.contains("maxpipes 256\ndefaults\n") && !plain.contains("maxpipes"));
        assert!(forced.contains("  option splice-request\n  option splice-response\n"), "{forced}");
    }

    #[test]
    fn nginx_loads_the_module_from_where_it_is() {
        let [address, backend] = addresses();
        let module = StreamModule::File("/lib/stream.so".into());
        let text = nginx(address, &[backend], &module, Path::new("/tmp/pid"), Purpose::Speed);
        assert!(text.starts_with("load_module /lib/stream.so;\ndaemon off;"), "{text}");
        assert!(text.contains("listen 127.0.0.1:18000 backlog=4096;"), "{text}");
        assert!(text.contains("    server 127.0.0.1:18001;\n  }\n"), "{text}");
        let text = nginx(
            address,
            &[backend],
            &StreamModule::BuiltIn,
            Path::new("/tmp/pid"),
            Purpose::Disruption,
        );
        assert!(!text.contains("load_module"), "{text}");
        assert!(
            text.contains("    server 127.0.0.1:18001 max_fails=3 fail_timeout=10s;"),
            "{text}"
        );
    }

    #[test]
    fn backends_that_are_looked_after_are_checked_alike() {
        let [address, backend] = addresses();
        let text = evenkeel(address, &[backend, address]);
        assert!(text.contains("backends = [\"127.0.0.1:18001\", \"127.0.0.1:18000\"]"), "{text}");
        assert!(text.contains("interval = \"1s\"\nfall = 3\nrise = 2\n"), "{text}");
        let text = haproxy_that_copes(address, &[backend]);
        assert!(
            text.contains("  server b0 127.0.0.1:18001 check inter 1s fall 3 rise 2\n"),
            "{text}"
        );
        assert!(text.contains("  option redispatch 1\n") && !text.contains("pipes"), "{text}");
    }
}
