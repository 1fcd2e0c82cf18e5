//! A client that others wrote, through the balancer to HTTP backends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use crate::support::{Balancer, pattern, skip};
use loadgen::serve::{self, Mode, Serving};

#[test]
fn two_http_backends_answer_curl_in_turn() {
    let Some(site) = Site::before_curl() else { return };
    let said: Vec<String> = (0..6).map(|_| site.curl(&["/"])).collect();
    let [b1, b2] = ["Hello from B1", "Hello from B2"];
    assert_eq!(said, [b1, b2, b1, b2, b1, b2]);
    assert_eq!(site.curl(&["/health"]), "OK");
}

#[test]
fn two_urls_of_one_curl_go_over_one_connection_to_one_backend() {
    let Some(site) = Site::before_curl() else { return };
    for name in ["B1", "B2", "B1"] {
        let told = site.curl(&["--write-out", " over %{num_connects} new\n", "/a", "/b"]);
        let expected = format!("Hello from {name} over 1 new\nHello from {name} over 0 new\n");
        assert_eq!(told, expected);
    }
}

#[test]
fn a_head_request_of_curl_gets_headers_and_no_body() {
    let Some(site) = Site::before_curl() else { return };
    let told = site.curl(&["--head", "/"]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "HTTP/1.1 200 OK");
    assert!(lines.contains(&"Content-Length: 13") && lines.contains(&"X-Backend: B1"), "{told}");
    assert_eq!(lines.last(), Some(&""), "nothing comes after the headers: {told}");
}

#[test]
fn an_upload_of_curl_arrives_whole_before_the_next_request_is_answered() {
    let Some(site) = Site::before_curl() else { return };
    let upload = ["--request", "POST", "--data-binary", "@-"];
    let told = ["--write-out", " after %{size_upload} bytes with %{http_code}\n", "/"];
    let said = site.curl_with(&[upload.as_slice(), &told].concat(), &pattern(1, 1 << 20));
    assert_eq!(said, "Hello from B1 after 1048576 bytes with 200\n");
    // In one connection: had a byte of the upload been lost, the second answer would not come.
    let then = ["--next", "--silent", "--show-error", "--fail", "/then"];
    let said = site.curl_with(&[&upload[..], &["/"], &then].concat(), &pattern(2, 1 << 20));
    assert_eq!(said, "Hello from B2Hello from B2");
}

/// Two HTTP backends behind a balancer that lets them take turns.
struct Site {
    balancer: Balancer,
    _serving: Serving,
}

impl Site {
    /// Says so where no curl is installed.
    fn before_curl() -> Option<Self> {
        if !Command::new("curl").arg("--version").output().is_ok_and(|curl| curl.status.success()) {
            skip("curl");
            return None;
        }
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let backend =
            |name: &str| serve::Backend { name: Some(name.to_owned()), address, mode: Mode::Http };
        let serving = serve::start(["B1", "B2"].map(backend).into(), NonZeroUsize::MIN).unwrap();
        let balancer = Balancer::before(serving.addresses(), "-s rr");
        Some(Self { balancer, _serving: serving })
    }

    /// What one curl prints; of `words` those that begin with a slash are paths on this site.
    fn curl(&self, words: &[&str]) -> String {
        self.curl_with(words, b"")
    }

    /// The same with bytes to read from its standard input.
    fn curl_with(&self, words: &[&str], input: &[u8]) -> String {
        let mut curl = Command::new("curl");
        // No proxy and no settings of whoever runs the test.
        curl.args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--fail"]);
        curl.args(["--max-time", "40"]);
        for word in words {
            match word.strip_prefix('/') {
                Some(path) => curl.arg(format!("http://{}/{path}", self.balancer.address)),
                None => curl.arg(word),
            };
        }
        curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut curl = curl.spawn().unwrap();
        // It may have ended without reading any of it.
        let _ = curl.stdin.take().unwrap().write_all(input);
        let output = curl.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl {words:?}: {}: {complaint}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }
}
