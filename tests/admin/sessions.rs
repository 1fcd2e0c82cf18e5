//! Of many sessions those are told that come first in the order that is asked for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use evenkeel::api::Sessions;

use crate::client::Scene;
use crate::support::backend::Backend;
use crate::support::eventually;

/// Says so many bytes and hears them again.
fn speak(mut client: &TcpStream, bytes: usize) {
    client.write_all(&vec![7; bytes]).unwrap();
    client.read_exact(&mut vec![0; bytes]).unwrap();
}

#[test]
fn the_first_of_each_order_are_told() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "--shards 1");
    let told = |query: &str| -> Sessions { scene.ask(&format!("GET /api/sessions{query}")).json() };
    let gone = scene.balancer.connect_from(1);
    speak(&gone, 1);
    let oldest = scene.balancer.connect_from(2);
    speak(&oldest, 1);
    drop(gone);
    eventually(|| told("").total == 1, || format!("{:?}", told("")));
    // Its place in the table is taken by one that is younger than the other.
    let quiet = scene.balancer.connect_from(3);
    speak(&quiet, 10);
    let bulk = scene.balancer.connect_from(4);
    speak(&bulk, 5000);
    speak(&oldest, 1);
    for (query, order) in [
        ("", [2, 3, 4]),
        ("sort=age", [2, 3, 4]),
        ("sort=bytes", [4, 3, 2]),
        ("sort=idle", [3, 4, 2]),
        ("sort=recent", [2, 4, 3]),
    ] {
        for most in 1..=3 {
            let sessions = told(&format!("?limit={most}&{query}"));
            let clients = sessions.sessions.iter().filter_map(|one| one.client.as_deref());
            let clients: Vec<_> = clients.map(|client| client.split(':').next().unwrap()).collect();
            let wanted: Vec<_> = order.iter().map(|last| format!("127.1.0.{last}")).collect();
            assert_eq!(clients, wanted[..most], "{query}");
            assert_eq!(sessions.matched, 3, "{query}");
        }
    }
    for wrong in ["GET /api/sessions?sort=rate", "DELETE /api/sessions?pool=web&sort=age"] {
        let answer = scene.ask(wrong);
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
        answer.problem();
    }
}

#[test]
fn of_more_sessions_than_a_turn_tells_all_are_told_in_order() {
    let backend = Backend::echo();
    let scene = Scene::before(&[backend.address], "", "--shards 1");
    let clients: Vec<_> = (0..300).map(|_| scene.balancer.connect()).collect();
    let told = |query: &str| -> Sessions { scene.ask(&format!("GET /api/sessions{query}")).json() };
    eventually(|| told("").total == 300, || format!("{} came", told("").total));
    let busy = &clients[280];
    speak(busy, 4000);
    let ages: Vec<_> = told("?limit=10000").sessions.iter().map(|one| one.age_ms).collect();
    assert_eq!(ages.len(), 300);
    assert!(ages.iter().rev().is_sorted(), "{ages:?}");
    let busy = busy.local_addr().unwrap().to_string();
    for query in ["?sort=bytes&limit=290", "?sort=recent&limit=290", "?sort=recent&limit=1"] {
        let sessions = told(query);
        assert_eq!(sessions.sessions[0].client.as_ref(), Some(&busy), "{query}");
    }
}
