use axum::http::Request;

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PROTECTED: Access = Access { token: true, public_read: false };
const PUBLIC: Access = Access { token: true, public_read: true };
const DASHBOARD: Access = Access { token: false, public_read: true };

#[derive(Clone, Copy)]
struct Access {
    token: bool,
    public_read: bool,
}

/// A request over TCP: method and target, and headers a line each; `Host` is an address unless it
/// says something else.
fn over_tcp(access: Access, line: &str, headers: &str) -> Verdict {
    let (token, names) = (Token::new(TOKEN), ["lb1".to_owned(), "lb1.example.org".to_owned()]);
    let token = access.token.then_some(&token);
    let policy = Policy { token, public_read: access.public_read, names: &names };
    judge(&Peer::Tcp(([192, 0, 2, 1], 1).into()), policy, &head(line, headers))
}

fn over_unix(line: &str, headers: &str) -> Verdict {
    judge(&Peer::Unix { uid: 0, pid: 1 }, Policy::default(), &head(line, headers))
}

fn head(line: &str, headers: &str) -> Parts {
    let (method, target) = line.split_once(' ').expect("a method and a target");
    let mut request = Request::builder().method(method).uri(target);
    let mut is_named = false;
    for header in headers.lines().map(str::trim).filter(|header| !header.is_empty()) {
        let (name, value) = header.split_once(':').expect("name: value");
        is_named |= name == "Host";
        request = request.header(name, value.trim());
    }
    if !is_named {
        request = request.header(HOST, "127.0.0.1:9000");
    }
    request.body(()).expect("well formed").into_parts().0
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn without_the_token_only_what_anybody_may_know_is_answered() {
    use Verdict::{Allowed, Unknown};
    for (line, verdict) in [
        ("GET /", Allowed),
        ("HEAD /healthz", Allowed),
        ("GET /readyz", Allowed),
        ("GET /livez?verbose", Allowed),
        ("GET /info", Unknown),
        ("GET /metrics", Unknown),
        ("GET /api/status", Unknown),
        ("GET /openapi.json", Unknown),
        ("GET //", Unknown),
        ("GET /./healthz", Unknown),
        ("GET /healthz/", Unknown),
        ("GET /healthz/../api/status", Unknown),
        ("GET /%68ealthz", Unknown),
        ("GET /HEALTHZ", Unknown),
        ("GET /api/%2e%2e/healthz", Unknown),
        ("POST /", Unknown),
        ("DELETE /healthz", Unknown),
        ("OPTIONS /", Unknown),
        ("TRACE /", Unknown),
        ("get /", Unknown),
        ("POST /api/reload", Unknown),
    ] {
        assert_eq!(over_tcp(PROTECTED, line, ""), verdict, "{line}");
    }
}

#[test]
fn the_token_opens_everything_and_nothing_else_does() {
    for (header, allowed) in [
        (bearer(TOKEN), true),
        (format!("authorization: bEARER {TOKEN}"), true),
        (bearer(&TOKEN[1..]), false),
        (bearer(&format!("{TOKEN}0")), false),
        (bearer(&TOKEN.to_uppercase()), false),
        (bearer(&format!(" {TOKEN}")), false),
        (format!("Authorization: Basic {TOKEN}"), false),
        (format!("Authorization: {TOKEN}"), false),
        (format!("Cookie: token={TOKEN}"), false),
        (format!("X-Token: {TOKEN}"), false),
        (bearer(""), false),
        (String::new(), false),
    ] {
        for line in ["GET /api/status", "POST /api/reload", "DELETE /api/sessions?all=true"] {
            let verdict = if allowed { Verdict::Allowed } else { Verdict::Unknown };
            assert_eq!(over_tcp(PROTECTED, line, &header), verdict, "{line} {header}");
        }
    }
    let twice = format!("{}\n{}", bearer("wrong"), bearer(TOKEN));
    assert_eq!(over_tcp(PROTECTED, "GET /info", &twice), Verdict::Unknown);
}

#[test]
fn reads_may_be_open_while_changes_are_not() {
    for line in ["GET /api/status", "HEAD /metrics", "GET /info"] {
        assert_eq!(over_tcp(PUBLIC, line, ""), Verdict::Allowed, "{line}");
        assert_eq!(over_tcp(DASHBOARD, line, ""), Verdict::Allowed, "{line}");
    }
    for line in ["POST /api/reload", "PATCH /api/x", "DELETE /api/x", "PUT /", "GETX /"] {
        assert_eq!(over_tcp(PUBLIC, line, ""), Verdict::Unknown, "{line}");
        assert_eq!(over_tcp(PUBLIC, line, &bearer(TOKEN)), Verdict::Allowed, "{line}");
        // There is no token that could be known.
        for header in [bearer(TOKEN), bearer(""), String::new()] {
            let verdict = over_tcp(DASHBOARD, line, &header);
            assert!(matches!(verdict, Verdict::Forbidden(_)), "{line} {header}");
        }
    }
}

#[test]
fn what_a_page_of_another_site_asks_is_refused_also_over_a_unix_socket() {
    let own = "Host: 127.0.0.1:9000\nOrigin: http://127.0.0.1:9000";
    for (headers, allowed) in [
        ("", true),
        (own, true),
        ("Host: lb1:9000\nOrigin: http://LB1:9000", true),
        ("Origin: http://evil.example", false),
        ("Origin: http://127.0.0.1:9001", false),
        ("Origin: http://127.0.0.1", false),
        ("Origin: null", false),
        ("Origin: 127.0.0.1:9000", false),
        ("Origin: http://127.0.0.1:9000.evil.example", false),
        ("Sec-Fetch-Site: same-origin", true),
        ("Sec-Fetch-Site: none", true),
        ("Sec-Fetch-Site: same-site", false),
        ("Sec-Fetch-Site: cross-site", false),
        ("Sec-Fetch-Site: ", false),
        ("Sec-Fetch-Site: Same-Origin", false),
        // A link, but not to the page.
        ("Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", false),
    ] {
        for line in ["GET /api/status", "POST /api/reload", "DELETE /api/sessions?all=true"] {
            let with_token = format!("{headers}\n{}", bearer(TOKEN));
            for verdict in [over_tcp(PROTECTED, line, &with_token), over_unix(line, headers)] {
                assert_eq!(verdict == Verdict::Allowed, allowed, "{line} {headers}");
            }
        }
    }
}

#[test]
fn a_link_to_the_page_may_be_followed_and_the_page_not_be_framed() {
    let link = "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: ";
    for (line, destination, allowed) in [
        ("GET /", "document", true),
        ("GET /", "iframe", false),
        ("GET /", "image", false),
        ("POST /", "document", false),
        ("GET /healthz", "document", false),
    ] {
        let verdict = over_tcp(DASHBOARD, line, &format!("{link}{destination}"));
        assert_eq!(verdict == Verdict::Allowed, allowed, "{line} {destination}");
    }
}

#[test]
fn without_the_token_the_host_is_one_that_no_other_site_can_have() {
    for (host, allowed) in [
        ("127.0.0.1:9000", true),
        ("127.0.0.1", true),
        ("[::1]:9000", true),
        ("192.0.2.7", true),
        ("localhost:9000", true),
        ("LocalHost", true),
        ("lb1", true),
        ("lb1.example.org:80", true),
        ("evil.example", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example:9000", false),
        ("lb1.evil.example", false),
        ("", false),
        ("a@127.0.0.1", true),
        ("127.0.0.1@evil.example", false),
        ("127.0.0.1/x", false),
    ] {
        let header = format!("Host: {host}");
        let verdict = over_tcp(DASHBOARD, "GET /api/status", &header);
        assert_eq!(verdict == Verdict::Allowed, allowed, "{host}");
        // A scraper with the token may have a name of its own for this host.
        let with_token = format!("{header}\n{}", bearer(TOKEN));
        assert_eq!(over_tcp(PROTECTED, "GET /metrics", &with_token), Verdict::Allowed, "{host}");
    }
    let two = "Host: 127.0.0.1\nHost: evil.example";
    assert_ne!(over_tcp(DASHBOARD, "GET /api/status", two), Verdict::Allowed);
    assert_ne!(over_tcp(DASHBOARD, "GET http://evil.example/api/status", ""), Verdict::Allowed);
    assert_eq!(over_tcp(DASHBOARD, "GET http://localhost/api/status", ""), Verdict::Allowed);
}
