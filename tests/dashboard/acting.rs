//! The page of the real program: what it shows is true, and what is asked for there is done.

use serde_json::json;

use super::browser::Browser;
use super::scene::{NAMES, Scene, TOKEN};
use crate::support::{End, eventually, read_to_the_end};

/// The button that is pressed down, of those that say what a backend should do.
fn wanted_of(backend: &str) -> String {
    format!(
        "document.querySelector('[aria-label={}] [aria-pressed=true]').dataset.state",
        json!(format!("What web/{backend} should do"))
    )
}

fn state_of(backend: &str) -> String {
    format!(
        "[...document.querySelectorAll('.backends tbody tr')]
            .find((row) => row.querySelector('.name').textContent === {})
            .querySelector('.state').textContent",
        json!(backend)
    )
}

#[test]
fn it_shows_what_happens_and_goes_on_showing_it() {
    let Some(mut browser) = Browser::start() else { return };
    let mut scene = Scene::public();
    scene.bring_clients();
    browser.open(&scene.page());
    let shown =
        "[...document.querySelectorAll('.backends tbody .name')].map((one) => one.textContent)";
    assert_eq!(browser.evaluate(shown), json!(NAMES));
    let figure = |name: &str| {
        format!(
            "[...document.querySelectorAll('#figures > div')]
            .find((one) => one.firstChild.textContent === '{name}').querySelector('b').textContent"
        )
    };
    browser.wait_for(&format!("parseFloat({}) > 1", figure("New sessions")));
    browser.wait_for(&format!("parseFloat({}) > 0", figure("First byte p99")));
    assert_eq!(browser.evaluate(&figure("Backends")), json!("3"));
    // As many have ended as came, and they go on coming.
    let ended = "[...document.querySelectorAll('#ended td')]
        .reduce((sum, one) => sum + Number(one.textContent.replaceAll('\\u202f', '')), 0)";
    let before = browser.evaluate(ended).as_f64().expect("a number");
    browser.wait_for(&format!("{ended} > {before}"));
    let drawn = "[...document.querySelectorAll('canvas')].every((canvas) => canvas.getContext('2d')
        .getImageData(0, 0, canvas.width, canvas.height).data.some((part) => part > 0))";
    browser.wait_for(drawn);
    browser.wait_for("document.querySelectorAll('#events li').length > 0");
    browser.wait_for("document.querySelectorAll('.chart .line').length >= 4");
    let pwned = "document.images.length + (typeof pwned === 'undefined' ? 0 : 1)";
    assert_eq!(browser.evaluate(pwned), json!(0));
    browser.assert_content(&[]);
}

#[test]
fn a_drain_button_asks_for_the_token_and_drains() {
    let Some(mut browser) = Browser::start() else { return };
    let scene = Scene::public();
    browser.open(&scene.page());
    browser.press("Drain web/b2");
    browser.wait_for("document.querySelector('dialog[open] h2').textContent === 'Token'");
    browser.type_in("not-the-token");
    browser.press("Use this token");
    browser.wait_for(
        "document.querySelector('dialog [role=alert]').textContent.includes('not accept')",
    );
    assert_eq!(scene.backend("b2")["admin"], json!("ready"), "done without the token");
    browser.type_in(TOKEN);
    browser.press("Use this token");
    browser.wait_for(&format!("{} === 'drain'", wanted_of("b2")));
    browser.wait_for(&format!("{} === 'drain'", state_of("b2")));
    let backend = scene.backend("b2");
    assert_eq!([&backend["admin"], &backend["state"]], [&json!("drain"), &json!("drain")]);
    browser.wait_for("document.getElementById('done').textContent.includes('web/b2 drains')");
    browser.wait_for("document.getElementById('events').textContent.includes('web/b2')");
    // The token is known now, and nowhere but in this tab.
    browser.press("Ready: web/b2 gets connections");
    browser.wait_for(&format!("{} === 'ready'", wanted_of("b2")));
    assert_eq!(scene.backend("b2")["admin"], json!("ready"));
    let kept = "[JSON.stringify(localStorage), document.cookie, location.href].join()";
    let kept = browser.evaluate(kept);
    assert!(!kept.as_str().expect("text").contains(TOKEN), "{kept}");
    browser.assert_content(&["401"]);
}

#[test]
fn all_of_it_can_be_done_by_keys() {
    let Some(mut browser) = Browser::start() else { return };
    let scene = Scene::public();
    browser.open(&scene.page());
    browser.key("Tab");
    assert_eq!(browser.focused(), "Skip to the overview");
    browser.key("Enter");
    let mut reached = Vec::new();
    while reached.last().is_none_or(|name| name != "Explain web/b1") {
        browser.key("Tab");
        reached.push(browser.focused());
        assert!(reached.len() < 100, "not reached: {reached:?}");
        let ring = "getComputedStyle(document.activeElement).outlineStyle";
        assert_eq!(browser.evaluate(ring), json!("solid"), "no ring around {reached:?}");
    }
    for button in
        ["Add backend to web", "Drain web/b1", "Maint: nothing goes to web/b1", "Weight of web/b1"]
    {
        assert!(reached.iter().any(|name| name == button), "{button} is not in {reached:?}");
    }
    browser.key("Enter");
    browser
        .wait_for("document.querySelector('dialog[open] .explained .sentence').textContent !== ''");
    browser.key("Escape");
    browser.wait_for("document.querySelector('dialog') === null");
    assert_eq!(browser.focused(), "Explain web/b1", "the focus is where it was");
    while browser.focused() != "Drain web/b2" {
        browser.key("Tab");
    }
    browser.key("Enter");
    browser.wait_for("document.activeElement.name === 'token'");
    browser.type_in(TOKEN);
    browser.key("Enter");
    browser.wait_for(&format!("{} === 'drain'", wanted_of("b2")));
    assert_eq!(browser.focused(), "Drain web/b2", "the focus is where it was");
    assert_eq!(scene.backend("b2")["admin"], json!("drain"));
    browser.assert_content(&["401"]);
}

#[test]
fn weights_are_set_and_backends_come_and_go() {
    let Some(mut browser) = Browser::start() else { return };
    let scene = Scene::public();
    browser.open(&scene.page());
    browser.press("Enter token");
    browser.wait_for("document.activeElement.name === 'token'");
    browser.type_in(TOKEN);
    browser.key("Enter");
    browser.wait_for("document.querySelector('dialog') === null");

    browser.evaluate("(() => { const one = document.querySelector('[aria-label=\"Weight of web/b1\"]'); one.focus(); one.select() })()");
    browser.type_in("7");
    browser.key("Enter");
    eventually(|| scene.backend("b1")["weight"] == 7, || "the weight is not set".to_owned());

    browser.press("Add backend to web");
    browser.wait_for("document.activeElement.name === 'address'");
    browser.type_in("nonsense");
    browser.key("Enter");
    browser.wait_for("document.querySelector('#failed .toast') !== null");
    browser.press("Add backend to web");
    browser.wait_for("document.activeElement.name === 'address'");
    browser.type_in("127.0.0.1:9");
    browser.key("Enter");
    browser.wait_for("document.querySelector('[aria-label=\"Remove web/127.0.0.1:9\"]') !== null");
    assert_eq!(scene.backend("127.0.0.1:9")["origin"], json!("runtime"));
    browser.press("Remove web/127.0.0.1:9");
    browser.press("Remove backend");
    browser.wait_for("document.querySelector('[aria-label=\"Remove web/127.0.0.1:9\"]') === null");
    assert_eq!(scene.backend("127.0.0.1:9"), json!(null));

    // A name that is nothing but trouble can be worked with like any other.
    browser.press(&format!("Maint: nothing goes to web/{}", NAMES[2]));
    browser.wait_for(&format!("{} === 'maint'", state_of(NAMES[2])));
    assert_eq!(scene.backend(NAMES[2])["admin"], json!("maint"));
    browser.assert_content(&["400", "422"]);
}

#[test]
fn sessions_are_found_and_cut() {
    let Some(mut browser) = Browser::start() else { return };
    let scene = Scene::public();
    let client = scene.balancer.connect();
    browser.open(&scene.page());
    browser.press("Show sessions");
    let address = client.local_addr().expect("connected").to_string();
    let heads =
        "[...document.querySelectorAll('.sessions tbody th')].map((one) => one.textContent)";
    browser.wait_for(&format!("{heads}.includes('{address}')"));
    let name = "document.querySelector('.sessions tbody button.danger').ariaLabel";
    let name = browser.evaluate(name).as_str().expect("a name").to_owned();
    assert!(name.ends_with(&format!("of {address}")), "{name}");
    browser.press(&name.replace("Kill", "Explain"));
    browser.wait_for("document.querySelector('dialog .explained .sentence').textContent !== ''");
    browser.key("Escape");
    browser.press(&name);
    browser.press("Kill it");
    browser.wait_for("document.activeElement.name === 'token'");
    browser.type_in(TOKEN);
    browser.key("Enter");
    assert_eq!(read_to_the_end(&client), End::Reset(0));
    browser.wait_for(&format!("!{heads}.includes('{address}')"));
    browser.assert_content(&["401"]);
}

#[test]
fn where_nobody_may_look_the_page_asks_first() {
    let Some(mut browser) = Browser::start() else { return };
    let scene = Scene::private();
    browser.command("Page.navigate", json!({ "url": scene.page() }));
    browser.wait_for("document.activeElement.name === 'token'");
    assert_eq!(browser.evaluate("document.querySelectorAll('.backends').length"), json!(0));
    browser.type_in(TOKEN);
    browser.key("Enter");
    browser.wait_for("document.querySelectorAll('.backends tbody tr').length === 3");
    browser.assert_content(&["401"]);
}
