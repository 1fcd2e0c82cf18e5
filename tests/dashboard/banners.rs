//! Banners: each is there while what it says is true, and no longer.

use evenkeel::api::Banner;
use nix::sys::signal::Signal;
use serde_json::json;

use super::browser::Browser;
use super::scene::{Scene, TOKEN};
use super::stub::{Stub, everything};

/// Whether a banner has these words.
fn shown(words: &str) -> String {
    format!("document.getElementById('banners').textContent.includes({words:?})")
}

fn gone(words: &str) -> String {
    format!("!{}", shown(words))
}

#[test]
fn each_banner_is_there_as_long_as_it_is_true() {
    let Some(mut browser) = Browser::start() else { return };
    let scene = Scene::in_trouble();
    browser.open(&scene.page());
    browser.wait_for(&shown("epoll moves the bytes, not io_uring"));

    // The file says something that has not been read.
    let unread = "is not what is in force";
    let text = std::fs::read_to_string(scene.file.name()).expect("our file");
    scene.file.write(&text.replace("eject_time = \"1h\"", "eject_time = \"2h\""));
    browser.wait_for(&shown(unread));
    scene.balancer.signal(Signal::SIGHUP);
    browser.wait_for(&gone(unread));

    // What was changed by hand is written nowhere.
    let [unkept, nobody] = ["lost at the next reload or restart", "Pool web has no backend"];
    browser.press("Maint: nothing goes to web/b1");
    browser.wait_for("document.activeElement.name === 'token'");
    browser.type_in(TOKEN);
    browser.key("Enter");
    browser.wait_for(&shown(unkept));
    browser.press("Maint: nothing goes to web/b2");
    browser.press("Take it out");
    browser.wait_for(&shown(nobody));
    scene.balancer.signal(Signal::SIGHUP);
    browser.wait_for(&gone(nobody));
    browser.wait_for(&gone(unkept));

    // One is ejected, the other has to stay.
    let fails_open = "uses backends that should be out";
    browser.wait_for(&gone(fails_open));
    let client = scene.balancer.connect();
    browser.wait_for(&shown(fails_open));
    drop(client);
    browser.assert_content(&["401"]);
}

const ALL: &str =
    "[...document.querySelectorAll('#banners .banner span')].map((one) => one.textContent)";

#[test]
fn a_banner_names_who_has_the_trouble_now() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(3));
    let nobody_in = |pool: &str| {
        let text = format!("Pool {pool} has no backend that gets new connections.");
        Banner { kind: "no-backend".to_owned(), text }
    };
    let texts = |banners: &[Banner]| -> Vec<_> {
        banners.iter().map(|banner| banner.text.clone()).collect()
    };
    let drift = |names: &str| {
        let text = format!("Changed while the program runs: {names}.");
        Banner { kind: "drift".to_owned(), text }
    };
    let both = vec![nobody_in("alpha"), nobody_in("beta"), drift("web/b0")];
    let one = vec![nobody_in("beta"), drift("web/b0, web/b1")];
    stub.change(|status| status.banners.clone_from(&both));
    browser.open(&stub.url());
    assert_eq!(browser.evaluate(ALL), json!(texts(&both)));
    stub.change(|status| status.banners.clone_from(&one));
    browser.wait_for("document.querySelectorAll('#banners .banner').length === 2");
    assert_eq!(browser.evaluate(ALL), json!(texts(&one)));
}

#[test]
fn a_banner_counts_on_and_is_read_aloud_once() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(3));
    browser.open(&stub.url());
    let dropped = "[...document.querySelectorAll('#banners .banner')]
        .find((one) => one.textContent.startsWith('Log lines dropped'))";
    let said = browser.evaluate(&format!("(window.dropped = {dropped}).textContent"));
    assert_eq!(
        said,
        json!("Log lines dropped 3 lines of the session log were dropped in the last minute.")
    );
    stub.change(|status| {
        let banner = status.banners.iter_mut().find(|banner| banner.kind == "log-dropped");
        let banner = banner.expect("every kind is there");
        banner.text = banner.text.replace('3', "12000");
    });
    browser.wait_for(&format!("{dropped}.textContent.includes(' 12000 lines')"));
    // The same element, in which nothing that changes is announced.
    let same = format!("{dropped} === dropped && dropped.querySelector('span').ariaLive === 'off'");
    assert_eq!(browser.evaluate(&same), json!(true));
}
