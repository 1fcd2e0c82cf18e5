//! Banners of the real program: each is there while what it says is true, and no longer.

use nix::sys::signal::Signal;

use super::browser::Browser;
use super::scene::{Scene, TOKEN};

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
