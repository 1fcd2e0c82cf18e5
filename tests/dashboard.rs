//! The dashboard in a browser: the page of the real program under real clients, and of a stub that shows what is
//! seldom to be seen.

mod dashboard {
    mod acting;
    mod banners;
    pub(crate) mod browser;
    mod layout;
    mod lists;
    mod scene;
    pub(crate) mod stub;
}
mod support;

use dashboard::browser::Browser;
use dashboard::stub::{HOSTILE, Stub, everything, hostile};
use serde_json::json;

#[test]
fn what_buckets_say_is_worked_out_rightly() {
    let Some(mut browser) = Browser::start() else { return };
    let page = include_str!("../src/control/page/js/latency.js");
    let known = include_str!("dashboard/latency.js");
    browser.evaluate(&format!("(() => {{ {page}\n return ({known})() }})()"));
}

#[test]
fn bytes_are_counted_by_thousands_as_in_a_terminal() {
    let Some(mut browser) = Browser::start() else { return };
    let page = include_str!("../src/control/page/js/format.js");
    for (bytes, shown) in [
        ("999", "999 B"),
        ("1000", "1 kB"),
        ("999_600", "1 MB"),
        ("1_048_576", "1.05 MB"),
        ("12.5e9", "12.5 GB"),
    ] {
        let text = format!("(() => {{ {page}\n return byteRateText({bytes}) }})()");
        let rate = format!("{}/s", shown.replace(' ', "\u{202f}"));
        assert_eq!(browser.evaluate(&text), json!(rate));
    }
}

#[test]
fn every_text_can_be_read_in_both_themes() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(14));
    let poor = format!("({})(4.5)", include_str!("dashboard/contrast.js"));
    for theme in ["light", "dark"] {
        browser.prefer("prefers-color-scheme", theme);
        stub.be_silent(false);
        browser.open(&stub.url());
        browser.wait_for("document.querySelector('.heat .soft').textContent.includes('p99')");
        browser
            .evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })");
        browser.press("Show sessions");
        browser.wait_for("document.getElementById('failed').childElementCount === 0");
        let looked = browser.evaluate(&poor);
        assert_eq!(looked["poor"], json!([]), "{theme}");
        assert!(looked["seen"].as_u64() > Some(300), "not all was seen: {}", looked["seen"]);
        for dialog in ["Remove web/b0", "Explain web/b0", "Add backend to web", "Enter token"] {
            browser.press(dialog);
            browser.wait_for("document.querySelector('dialog[open]') !== null");
            assert_eq!(browser.evaluate(&poor)["poor"], json!([]), "{theme}, {dialog}");
            browser.key("Escape");
            browser.wait_for("document.querySelector('dialog') === null");
        }
        stub.be_silent(true);
        browser.wait_for("document.documentElement.dataset.contact === 'lost'");
        assert_eq!(browser.evaluate(&poor)["poor"], json!([]), "{theme}, without contact");
    }
}

#[test]
fn a_phone_shows_it_without_scrolling_sideways() {
    let Some(mut browser) = Browser::start() else { return };
    for status in [everything(60), everything(3), hostile()] {
        let stub = Stub::of(status);
        for width in [320, 360, 768, 1280, 1920] {
            browser.size(width, 740);
            browser.open(&stub.url());
            browser.press("Show sessions");
            let wide = "document.documentElement.scrollWidth";
            assert_eq!(browser.evaluate(wide), json!(width), "scrolls sideways");
            // What sticks out without making the page scroll cannot be reached at all.
            let cut = "[...document.querySelectorAll('button, input, select')]
                .filter((one) => one.checkVisibility() && one.closest('.scroll') === null)
                .map((one) => [one.getBoundingClientRect(), one.ariaLabel ?? one.textContent])
                .filter(([box]) => box.left < 0 || box.right > innerWidth + 1).map(([, name]) => name)";
            assert_eq!(browser.evaluate(cut), json!([]), "cut off at {width}");
        }
    }
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(hostile());
    browser.open(&stub.url());
    browser.wait_for("document.querySelectorAll('#events li').length > 0");
    let name =
        "[...document.querySelectorAll('.backends tbody .name')].map((one) => one.textContent)";
    let shown = browser.evaluate(name);
    let wanted = HOSTILE.map(|name| name.replace('\u{202e}', "<U+202E>"));
    assert_eq!(shown, json!(wanted));
    browser.press(&format!("Explain {0}/{0}", HOSTILE[0]));
    browser.wait_for("document.querySelector('dialog h2').textContent.includes('<img')");
    let pwned = "document.images.length + (typeof pwned === 'undefined' ? 0 : 1)";
    assert_eq!(browser.evaluate(pwned), json!(0));
    // The stub explains nothing.
    browser.assert_content(&["404"]);
}

#[test]
fn the_browser_itself_refuses_to_read_a_name_as_html() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(3));
    browser.open(&stub.url());
    browser.assert_content(&[]);
    let tried = "(() => { try { document.body.innerHTML = '<b>'; return 'read' } catch (error) { return error.name } })()";
    assert_eq!(browser.evaluate(tried), json!("TypeError"));
    let script = "new Promise((resolve) => {
        addEventListener('securitypolicyviolation', (event) => resolve(event.violatedDirective));
        const script = document.createElement('img'); script.src = 'http://127.0.0.1:9/x'; document.body.append(script);
    })";
    assert_eq!(browser.evaluate(script), json!("img-src"));
}

#[test]
fn sixty_backends_are_a_list_one_can_work_with() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(60));
    browser.open(&stub.url());
    let rows = "document.querySelectorAll('[aria-label=\"Pool web\"] tbody tr').length";
    // Trouble comes first, so that it is among the few.
    let states = "[...document.querySelectorAll('[aria-label=\"Pool web\"] tbody .state')].map((one) => one.textContent)";
    assert_eq!(browser.evaluate(rows), json!(12));
    assert_eq!(
        browser.evaluate(&format!("{states}.slice(0, 3)")),
        json!(["down", "down", "ejected"])
    );
    browser.press("Show all 40");
    assert_eq!(browser.evaluate(rows), json!(40));
    browser
        .evaluate("document.querySelector('[aria-label^=\"Filter the backends of web\"]').focus()");
    browser.type_in("maint");
    browser.wait_for(&format!("{states}.every((state) => state === 'maint')"));
    let heats = "document.querySelectorAll('.heat').length";
    assert_eq!(browser.evaluate(heats), json!(12));
    browser.press("Show all 60");
    assert_eq!(browser.evaluate(heats), json!(60));
    browser.assert_content(&[]);
}

#[test]
fn a_lost_contact_is_said_and_found_again() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(3));
    browser.open(&stub.url());
    stub.be_silent(true);
    browser.wait_for(
        "document.querySelector('#lost [role=alert]').textContent.includes('No contact')",
    );
    assert_eq!(
        browser.evaluate("document.getElementById('contact-text').textContent"),
        json!("no contact")
    );
    stub.be_silent(false);
    browser.wait_for("document.getElementById('lost').childElementCount === 0");
    browser.wait_for("document.getElementById('contact-text').textContent === 'live'");
}

#[test]
fn a_screen_reader_is_told_what_everything_is() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(14));
    for width in [360, 1280] {
        browser.size(width, 740);
        browser.open(&stub.url());
        browser.press("Show sessions");
        let told = browser.told_to_screen_readers();
        let names = |role: &str| -> Vec<&str> {
            told.iter().filter(|(is, _)| is == role).map(|(_, name)| name.as_str()).collect()
        };
        for landmark in ["banner", "main", "contentinfo"] {
            assert_eq!(names(landmark).len(), 1, "{landmark} in {told:?}");
        }
        let controls = ["button", "textbox", "searchbox", "combobox", "spinbutton"];
        for (role, name) in told.iter().filter(|(role, _)| controls.contains(&role.as_str())) {
            assert!(name.chars().any(char::is_alphabetic), "a {role} is named {name:?}");
        }
        let mut buttons = names("button");
        for action in ["Drain", "Explain", "Remove"] {
            for backend in ["web/b0", "db/b2", "web/b13"] {
                assert!(buttons.contains(&format!("{action} {backend}").as_str()), "{buttons:?}");
            }
        }
        // The heads of columns sort; each table has its own.
        buttons.retain(|name| name.contains(' ') && !name.contains("p50") && *name != "To clients");
        buttons.retain(|name| *name != "First byte");
        let count = buttons.len();
        buttons.sort_unstable();
        buttons.dedup();
        assert_eq!(buttons.len(), count, "two buttons have one name: {buttons:?}");
        assert!(names("table").iter().all(|name| !name.is_empty()), "{:?}", names("table"));
        assert!(names("rowheader").len() >= 14, "{:?}", names("rowheader"));
        assert!(names("columnheader").len() >= 10, "{:?}", names("columnheader"));
        let images = names("img").into_iter().chain(names("image"));
        let images: Vec<_> = images.collect();
        assert!(images.iter().any(|name| name.contains("response of web/b0")), "{images:?}");
    }
}

#[test]
fn nothing_moves_but_what_is_new() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(14));
    // No movement is a wish, and saves the processor of who leaves the page open all day.
    for wish in ["reduce", "no-preference"] {
        browser.prefer("prefers-reduced-motion", wish);
        browser.open(&stub.url());
        browser.evaluate(
            "window.moved = 0; new MutationObserver(() => { moved += document.getAnimations().length; polled = true })
                .observe(document.getElementById('charts'), { subtree: true, childList: true })",
        );
        browser.wait_for("polled");
        assert_eq!(browser.evaluate("moved"), json!(0), "{wish}");
    }
}
