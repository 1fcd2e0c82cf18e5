//! Banners of the real program: each is there while what it says is true, and no longer.

use nix::sys::signal::Signal;

use super::browser::Browser;
use super::scene::{Scene, TOKEN};

/// Whether a banner has these words.
fn shown(words: &str) -> String {
    format!("document.getElementById('banners').textContent.includes({words:?})")
}

#[test]
fn each_banner_is_there_as_long_as_it_is_true() {
    let Some(mut browser) = Browser::start() else { return };
    let scene = Scene::in_trouble();
    browser.open(&scene.page());
    browser.wait_for(&shown("epoll moves the bytes, not io_uring"));
    browser.wait_for(&format!("!{}", shown("uses backends that should be out")));
    // One is ejected by the first of these, the other has to stay.
    let fail_open = "uses backends that should be out";
    for _ in 0..4 {
        assert_eq!(scene.balancer.ask(), "");
    }
    browser.wait_for(&shown(fail_open));

    // The file says something that has not been read.
    let text = std::fs::read_to_string(scene.file.name()).expect("our file");
    scene.file.write(&text.replace("eject_after = 1", "eject_after = 2"));
    browser.wait_for(&shown("is not what is in force"));
    scene.balancer.signal(Signal::SIGHUP);
    browser.wait_for(&format!("!{}", shown("is not what is in force")));

    // What was changed by hand is written nowhere.
    browser.press("Maint: nothing goes to web/b1");
    browser.wait_for("document.activeElement.name === 'token'");
    browser.type_in(TOKEN);
    browser.key("Enter");
    browser.wait_for(&shown("lost at the next reload or restart"));
    browser.press("Maint: nothing goes to web/b2");
    browser.wait_for(&shown("Pool web has no backend that gets new connections"));
    browser.wait_for(&format!("!{}", shown(fail_open)));
    scene.balancer.signal(Signal::SIGHUP);
    browser.wait_for(&format!("!{}", shown("has no backend that gets new connections")));
    browser.assert_content(&["401"]);
}
