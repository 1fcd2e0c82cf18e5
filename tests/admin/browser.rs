//! A person who can reach the admin API has a page of another site open.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::client::{Scene, on_network};
use crate::support::backend::Backend;
use crate::support::file::ConfigFile;
use crate::support::skip;

/// Tries everything that a page can try, and writes down what it was told.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><pre id="said"></pre>
<img src="DOOR/api/reload"><iframe name="inside" src="DOOR/"></iframe>
<form id="form" method="post" enctype="text/plain" target="inside" action="DOOR/api/pools/web/backends">
<input name='{"address":"127.0.0.1:1","x":"' value='"}'></form>
<form id="kill" method="post" target="inside" action="DOOR/api/reload"></form>
<script>
const said = [];
const attempt = async (name, path, options) => {
  try {
    const answer = await fetch("DOOR" + path, options);
    said.push(name + ": " + answer.type + " " + answer.status + " " + (await answer.text()).length);
  } catch (error) {
    said.push(name + ": refused");
  }
};
(async () => {
  const json = { "Content-Type": "application/json" };
  await attempt("read", "/api/status", {});
  await attempt("read blindly", "/api/status", { mode: "no-cors" });
  await attempt("read with a token", "/api/status", { headers: { Authorization: "Bearer x" } });
  await attempt("change", "/api/pools/web/backends/NAME", { method: "PATCH", headers: json, body: '{"weight":9}' });
  await attempt("remove", "/api/pools/web/backends/NAME", { method: "DELETE" });
  await attempt("kill", "/api/sessions?all=true", { method: "DELETE" });
  await attempt("add blindly", "/api/pools/web/backends", { method: "POST", mode: "no-cors", body: '{"address":"127.0.0.1:1"}' });
  await attempt("reload blindly", "/api/reload", { method: "POST", mode: "no-cors", credentials: "include" });
  navigator.sendBeacon("DOOR/api/reload", "x");
  document.getElementById("form").submit();
  document.getElementById("kill").submit();
  setTimeout(() => {
    try { said.push("frame: " + window.frames[0].document.body.innerText.length); }
    catch (error) { said.push("frame: refused"); }
    document.getElementById("said").textContent = said.join("\n") + "\nfinished";
  }, 1500);
})();
</script>"#;

#[test]
fn a_page_of_another_site_reads_nothing_and_changes_nothing() {
    let Some(chromium) = chromium() else { return };
    let backend = Backend::echo();
    // Where a page has the best chances: reads are open, and there is no token at all.
    let scene = Scene::before(&[backend.address], "", "--http-port 0");
    let door = on_network(&scene.balancer);
    let name = backend.address.to_string();
    let page = PAGE.replace("DOOR", &format!("http://{door}")).replace("NAME", &name);
    let site = serve(page);
    let before = scene.in_force();
    let document = open(&chromium, &format!("http://localhost:{}/", site.port()), &[]);
    assert!(document.contains("finished"), "{document}");
    for refused in [
        "read: refused",
        "read with a token: refused",
        "change: refused",
        "remove: refused",
        "kill: refused",
    ] {
        assert!(document.contains(refused), "{refused}: {document}");
    }
    // What is opaque to the page has no status and no text.
    for blind in ["read blindly", "add blindly", "reload blindly"] {
        let opaque = [format!("{blind}: opaque 0 0"), format!("{blind}: refused")];
        assert!(opaque.iter().any(|said| document.contains(said)), "{blind}: {document}");
    }
    assert_eq!(scene.in_force(), before);
    let kinds: Vec<String> = scene.events().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["start"]);
    // They did come.
    let counters = scene.status().counters;
    assert!(counters.get("admin_refused").is_some_and(|&refused| refused >= 5), "{counters:?}");
}

#[test]
fn a_name_that_another_site_gave_to_this_host_leads_nowhere() {
    let Some(chromium) = chromium() else { return };
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "--http-port 0");
    let port = on_network(&scene.balancer).port();
    // After DNS rebinding the browser takes us for the site itself.
    let rules = ["--host-resolver-rules=MAP evil.example 127.0.0.1"];
    let document = open(&chromium, &format!("http://evil.example:{port}/api/status"), &rules);
    assert!(document.contains("DNS rebinding") && !document.contains(&backend.address.to_string()));
    let own = open(&chromium, &format!("http://127.0.0.1:{port}/api/status"), &[]);
    assert!(own.contains(&backend.address.to_string()), "{own}");
}

/// Where it is; says aloud that it is not.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    let found = found.find(|program| program.exists());
    if found.is_none() {
        skip("chromium (Debian: chromium)");
    }
    found
}

/// Another site, with this page at every path.
fn serve(page: String) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all((head + &page).as_bytes());
        }
    });
    address
}

/// The document at `url` when everything in it has happened.
fn open(chromium: &PathBuf, url: &str, more: &[&str]) -> String {
    let profile = ConfigFile::new("");
    let output = Command::new(chromium)
        .args(ARGUMENTS)
        .args(more)
        .arg(format!("--user-data-dir={}", profile.folder().display()))
        .args(["--dump-dom", "--virtual-time-budget=30000"])
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];
