//! Where everything is: what has to be seen at once is in sight, and long names push nothing away.

use evenkeel::api::Status;
use serde_json::json;

use super::browser::Browser;
use super::stub::{Stub, everything};

/// An address as a name, one that is long, and one that is much too long.
fn with_long_names() -> Status {
    let mut status = everything(3);
    status.backends.iter_mut().for_each(|backend| backend.since_ms = None);
    status.backends[0].name = "127.0.0.1:23082".to_owned();
    status.backends[1].name = "service-17.production.svc.example.org:23083".to_owned();
    status.backends[2].name = "n".repeat(200);
    status.backends[2].state = "down".to_owned();
    status.backends[2].evidence = Some("the same words again ".repeat(30));
    status
}

/// The height of the row of a backend.
fn height_of(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('.backends tbody tr')]
            .find((row) => row.querySelector('.name').textContent === {})
            .getBoundingClientRect().height",
        json!(name)
    )
}

#[test]
fn an_address_is_not_broken_and_a_long_name_is_cut() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(with_long_names());
    // The lines that each text of a name is on, in pixels from above: a port is on one.
    let broken =
        "[...document.querySelectorAll('.backends tbody .name')].slice(0, 2).flatMap((name) =>
        [...name.childNodes].filter((node) => /\\d+$/.test(node.data)).map((node) => {
            const range = document.createRange();
            range.setStart(node, node.data.search(/[\\d.]+$/));
            range.setEnd(node, node.data.length);
            return new Set([...range.getClientRects()].map(({ top }) => top)).size;
        })).filter((lines) => lines > 1)";
    for width in [320, 360, 768, 1024, 1280, 1440, 1920] {
        browser.size(width, 900);
        browser.open(&stub.url());
        browser.wait_for("document.querySelector('.heat .soft').textContent.includes('p99')");
        assert_eq!(browser.evaluate(broken), json!([]), "at {width}");
        let long = "n".repeat(200);
        let title = format!(
            "[...document.querySelectorAll('.backends tbody .name')].some(({{ title }}) => title === {})",
            json!(long)
        );
        assert_eq!(browser.evaluate(&title), json!(true), "nothing tells the whole name");
        if width >= 1280 {
            let [one, all] = ["127.0.0.1:23082", &long].map(height_of);
            let [one, all] = [one, all].map(|height| browser.evaluate(&height));
            assert!(one.as_f64() < Some(60.0), "a row is {one} high at {width}");
            assert!(all.as_f64() < Some(140.0), "a row is {all} high at {width}");
        }
        // Nothing lies above what is beside it.
        let over = "[...document.querySelectorAll('.backends td, .backends tbody th')]
            .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent)";
        assert_eq!(browser.evaluate(over), json!([]), "at {width}");
    }
}

#[test]
fn figures_of_shards_and_listeners_are_all_in_sight() {
    let Some(mut browser) = Browser::start() else { return };
    let mut status = everything(3);
    let listener = &mut status.listeners[0];
    listener.address = "192.0.2.17:65535".to_owned();
    (listener.sessions, listener.max_sessions) = (1234, Some(20_000));
    let stub = Stub::of(status);
    let hidden = "['shards', 'listeners'].map((id) => document.getElementById(id))
        .filter((one) => one.scrollWidth > one.clientWidth).map(({ id }) => id)";
    for width in [768, 1024, 1280, 1440, 1920] {
        browser.size(width, 900);
        browser.open(&stub.url());
        browser.wait_for("document.querySelector('#shards td:nth-child(4)').textContent !== '–'");
        assert_eq!(browser.evaluate(hidden), json!([]), "at {width}");
    }
}
