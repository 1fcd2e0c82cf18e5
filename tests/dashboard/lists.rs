//! Lists one works with: who is shown of many, what a filter finds, and what is being typed.

use evenkeel::api::Backend;
use serde_json::json;

use super::browser::Browser;
use super::stub::{Stub, everything};

#[test]
fn the_slowest_are_chosen_as_soon_as_there_are_values() {
    let Some(mut browser) = Browser::start() else { return };
    let mut status = everything(60);
    let slow = |(at, backend): (usize, &mut Backend)| backend.name = format!("slow{at}");
    status.backends.iter_mut().rev().take(12).enumerate().for_each(slow);
    let stub = Stub::of(status);
    browser.open(&stub.url());
    let first = "document.querySelector('.heat .soft').textContent.includes('p99')";
    browser.wait_for(first);
    let chosen =
        "[...document.querySelectorAll('.heat .name')].map((one) => one.textContent.split('/')[1])
        .filter((name) => !name.startsWith('slow'))";
    assert_eq!(browser.evaluate(chosen), json!([]), "not among the slowest");
    let note = "document.getElementById('heat-note').textContent.includes('The 12 slowest of 60')";
    assert_eq!(browser.evaluate(note), json!(true));
}

#[test]
fn a_choice_without_values_does_not_call_itself_the_slowest() {
    let Some(mut browser) = Browser::start() else { return };
    let mut status = everything(60);
    status.backends.iter_mut().for_each(|backend| backend.active = false);
    let stub = Stub::of(status);
    browser.open(&stub.url());
    let note = browser.evaluate("document.getElementById('heat-note').textContent");
    let note = note.as_str().expect("a sentence");
    assert!(note.contains("12 of 60") && !note.contains("slowest"), "{note}");
}

#[test]
fn a_filter_that_nothing_fits_says_so() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(60));
    browser.open(&stub.url());
    let filter = "document.querySelector('[aria-label^=\"Filter the backends of web\"]')";
    browser.evaluate(&format!("{filter}.focus()"));
    browser.type_in("nobody");
    let said = "document.querySelector('[aria-label=\"Pool web\"] [role=status]').textContent";
    browser.wait_for(&format!("{said} === 'None of 40 backends matches “nobody”.'"));
    let table = "document.querySelector('[aria-label=\"Pool web\"] table').checkVisibility()";
    assert_eq!(browser.evaluate(table), json!(false), "heads of nothing");
    browser.evaluate(&format!("{filter}.select()"));
    browser.type_in("maint");
    browser.wait_for(&format!("{said} === '' && {table}"));
}

#[test]
fn a_weight_that_was_not_set_is_not_shown_as_if_it_were() {
    let Some(mut browser) = Browser::start() else { return };
    let stub = Stub::of(everything(3));
    browser.open(&stub.url());
    let field = "document.querySelector('[aria-label=\"Weight of web/b0\"]')";
    let shown = format!("{field}.value");
    let set =
        "document.querySelector('[aria-label=\"Set the weight of web/b0\"]').checkVisibility()";
    let typed = |browser: &mut Browser| {
        browser.evaluate(&format!("{field}.focus(), {field}.select()"));
        browser.type_in("99");
        browser.wait_for(&format!("{shown} === '99' && {set}"));
    };
    typed(&mut browser);
    browser.key("Escape");
    browser.wait_for(&format!("{shown} === '1' && !{set}"));
    // The button that sets it is no other place.
    typed(&mut browser);
    browser.key("Tab");
    assert_eq!(browser.focused(), "Set the weight of web/b0");
    assert_eq!(browser.evaluate(&shown), json!("99"));
    browser.key("Tab");
    browser.wait_for(&format!("{shown} === '1' && !{set}"));
    typed(&mut browser);
    browser.press("Set the weight of web/b0");
    // The stub sets nothing, and what it has is shown once somebody has left.
    browser.wait_for("document.querySelector('#failed .toast') !== null");
    browser.evaluate("document.activeElement.blur()");
    browser.wait_for(&format!("{shown} === '1' && !{set}"));
}
