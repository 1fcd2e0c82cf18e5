//! Each key has its effect.

use super::*;
use crate::cli::Endpoint;
use crate::config::admin::AdminListen;

#[test]
fn every_key_of_a_pool_arrives() {
    let config = pool(
        r#"
        algorithm = "maglev"
        sticky_key = "ip-port"
        sticky_ttl = "2m"
        sticky_size = 9
        sticky_return = true
        connect_timeout = "1s"
        idle_timeout = "2s"
        half_closed_timeout = "3s"
        wait_for_backend_timeout = "0s"
        on_unavailable = { reply = "a\r\nb" }
        queue_size = 0
        queue_timeout = "4s"
        session_failover = true
        on_marked_down = "close"
        send_proxy = "v2"
        max_connection_age = "10s"
        max_connection_age_jitter = "0s"
        source = ["127.0.0.2", "::ffff:127.0.0.3", "::1"]
        tcp_keepalive = "11s"
        tcp_user_timeout = "12s"
        splice = "off"
        slow_start = "5s"
        eject_after = 1
        eject_time = "6s"
        eject_time_max = "7s"
        status_port_offset = 10000
        [pool.web.health]
        type = "http"
        interval = "500ms"
        timeout = "8s"
        rise = 5
        fall = 6
        jitter = 0
        port = 99
        path = "/ok?x=1"
        host = "example.org"
        status = [200, "300-303"]
        [[pool.web.backend]]
        address = "[::1]:81"
        name = "b3"
        weight = "${WEIGHT}"
        backup = true
        max_connections = 7
        "#,
    );
    let config = config.config;
    assert_eq!(config.status_port_offset.map(u16::from), Some(10_000));
    assert_eq!(config.algorithm, Algorithm::Maglev);
    let sticky = config.sticky.expect("on");
    assert_eq!((sticky.key, sticky.ttl.as_secs()), (StickyBy::IpPort, 120));
    assert_eq!((sticky.size.get(), sticky.returns), (9, true));
    let seconds = [
        config.connect_timeout,
        config.idle_timeout,
        config.half_closed_timeout,
        config.wait_for_backend,
    ];
    assert_eq!(seconds.map(|time| time.as_secs()), [1, 2, 3, 0]);
    assert_eq!(config.on_unavailable, OnUnavailable::Reply(b"a\r\nb"[..].into()));
    assert_eq!((config.queue.size, config.queue.timeout.as_secs()), (0, 4));
    assert!(config.session_failover && config.close_when_down);
    assert_eq!(config.send_proxy, Some(ProxyVersion::V2));
    let age = config.max_age.expect("on");
    assert_eq!((age.age.as_secs(), age.jitter), (10, Duration::ZERO));
    let sources: Vec<_> = config.connect.sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["127.0.0.2", "127.0.0.3", "::1"]);
    let watch = [config.connect.keepalive, config.connect.user_timeout];
    assert_eq!(watch.map(|time| time.expect("on").as_secs()), [11, 12]);
    assert_eq!((config.splice, config.slow_start), (Splice::Off, Some(Duration::from_secs(5))));
    let ejection = config.ejection.expect("on");
    let seconds = [ejection.first, ejection.longest].map(|time| time.as_secs());
    assert_eq!((ejection.after.get(), seconds), (1, [6, 7]));
    let health = config.health.expect("on");
    let check = Check::Http {
        path: "/ok?x=1".to_owned(),
        host: Some("example.org".to_owned()),
        status: vec![(200, 200), (300, 303)],
    };
    assert_eq!(health.check, check);
    let times =
        [health.interval, health.fast_interval, health.timeout].map(|time| time.as_millis());
    assert_eq!(times, [500, 500, 8000]);
    assert_eq!((health.rise.get(), health.fall.get()), (5, 6));
    assert_eq!((health.jitter, health.port.map(u16::from)), (0.0, Some(99)));
    let backend = &config.backends[0];
    assert_eq!((backend.name.as_str(), backend.target.to_string().as_str()), ("b3", "[::1]:81"));
    assert_eq!((backend.weight, backend.backup), (7, true));
    assert_eq!(backend.max_connections.map(u32::from), Some(7));
}

#[test]
fn every_key_of_a_listener_arrives() {
    let text = r#"
        [[listener]]
        name = "web"
        listen = ["[::]:${PORT}", "unix:/run/x.sock"]
        backlog = 5
        max_sessions = 6
        allow = "10.1.2.3/8"
        deny = ["10.0.0.1", "fd00::/8"]
        max_sessions_per_ip = 7
        max_rate_per_ip = "6000/1m"
        accept_proxy = ["127.0.0.1"]
        proxy_timeout = "8s"
        defer_accept = "9s"
        tcp_fastopen = 10
        tcp_keepalive = "11s"
        tcp_user_timeout = "12s"
        [pool.web]
        backends = ["b:1"]
    "#;
    let draft = good(text);
    let on: Vec<_> =
        draft.listeners.iter().map(|one| (one.name.as_str(), one.on.to_string())).collect();
    assert_eq!(on, [("web", "[::]:8443".to_owned()), ("web", "unix:/run/x.sock".to_owned())]);
    for listener in &draft.listeners {
        assert_eq!((listener.backlog, listener.max_sessions.map(u32::from)), (5, Some(6)));
        let access = [&listener.access.allow, &listener.access.deny]
            .map(|nets| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(access, ["10.0.0.0/8", "10.0.0.1/32 fd00::/8"]);
        assert_eq!(listener.per_ip.sessions.map(u32::from), Some(7));
        let events = 6000.try_into().expect("not 0");
        assert_eq!(listener.per_ip.rate, Some(Rate { events, period: Duration::from_secs(60) }));
        let proxy = listener.accept_proxy.as_ref().expect("on");
        assert_eq!((proxy.from.len(), proxy.timeout.as_secs()), (1, 8));
        assert_eq!(listener.options.defer_accept, Some(Duration::from_secs(9)));
        assert_eq!(listener.options.fast_open, 10);
        let watch = [listener.options.keepalive, listener.options.user_timeout];
        assert_eq!(watch.map(|time| time.expect("on").as_secs()), [11, 12]);
    }
}

#[test]
fn every_key_of_the_process_arrives() {
    let process = r#"
        [process]
        shards = 2
        cpus = "0-1"
        engine = "epoll"
        max_sessions = 3
        buffers = 4
        busy_poll = "50us"
        drain_timeout = "0s"
        report_interval = "6s"
        tcp_info = "off"
        log_level = "debug"
        log_file = "lb.log"
        session_log = "journald"
        session_log_format = "JSON"
        session_log_queue = 9
        resolve_ttl_min = "7s"
        admin = ["unix:/run/a.sock,mode=0660", "127.0.0.1:9000"]
        admin_token_file = "/etc/token"
        admin_public_read = true
        state_file = "/var/lib/state"
    "#;
    let process = good(&format!("{SMALL}{process}")).process;
    let shards = process.shards.expect("given");
    let place = Place::File { file: "a.toml".into(), line: 7, column: 18 };
    assert_eq!((shards.value, shards.place), (2, place));
    assert_eq!(process.cpus.expect("given").value.0, [0, 1]);
    assert_eq!((process.engine, process.log_level), (EngineName::Epoll, LogLevel::Debug));
    assert_eq!((process.max_sessions.expect("given").value, process.buffers), (3, Some(4)));
    assert_eq!(process.busy_poll, Some(Duration::from_micros(50)));
    assert_eq!(process.drain_timeout, Duration::ZERO);
    assert_eq!(process.log_file.as_deref(), Some(std::path::Path::new("lb.log")));
    assert_eq!(process.session_log, Some(SessionLogTo::Journald));
    assert_eq!(
        (process.session_log_format, process.session_log_queue),
        (SessionLogFormat::Json, 9)
    );
    assert_eq!(process.report_interval, Some(Duration::from_secs(6)));
    assert_eq!(process.resolve_ttl_min, Duration::from_secs(7));
    let endpoints: Vec<_> = process.admin.endpoints.iter().map(|one| &one.value).collect();
    let unix = AdminListen::Unix { path: "/run/a.sock".into(), mode: 0o660 };
    let tcp = AdminListen::Tcp(Endpoint { host: "127.0.0.1".into(), port: 9000 });
    assert_eq!(endpoints, [&unix, &tcp]);
    assert_eq!(process.admin.token_file.expect("given").value.to_str(), Some("/etc/token"));
    assert!(process.admin.public_read);
    assert_eq!(process.state_file.expect("given").to_str(), Some("/var/lib/state"));
    assert_eq!(process.tcp_info, OnOff::Off);
}
