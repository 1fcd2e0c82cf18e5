//! Splicing between receives and sends.

use super::*;

#[test]
fn what_was_spliced_away_is_waited_for_and_not_believed_again() {
    let mut rig = Rig::new();
    let (mut here, mut there) = rig.pair();
    let (mut out, mut reader) = rig.pair();
    let mut pipe = rig.driver.make_pipe().expect("a pipe");
    for word in [b"first", b"other"] {
        rig.driver.poll(&here, Readiness::Readable, owner(1));
        rig.assert_silent();
        write(&mut there, word);
        assert_ready(&rig.answer(), owner(1));
        assert_eq!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::Moved(5)));
        assert_eq!(rig.driver.held(&pipe), 5);
        assert_eq!(rig.driver.drain(&mut pipe, &mut out), Ok(Spliced::Moved(5)));
        assert_eq!(read(&mut reader, 5), word);
        assert_eq!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::NotNow));
    }
    drop(there);
    rig.driver.poll(&here, Readiness::Readable, owner(1));
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::EndOfStream));
}

#[test]
fn a_poll_after_everything_was_spliced_away_waits_although_nothing_has_met_the_end() {
    let mut rig = Rig::new();
    let (mut here, mut there) = rig.pair();
    let mut pipe = rig.driver.make_pipe().expect("a pipe");
    rig.driver.poll(&here, Readiness::Readable, owner(1));
    rig.assert_silent();
    write(&mut there, b"first");
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::Moved(5)));
    rig.driver.poll(&here, Readiness::Readable, owner(1));
    rig.assert_silent();
    write(&mut there, b"x");
    assert_ready(&rig.answer(), owner(1));
}

#[test]
fn a_drain_that_finds_no_room_waits_for_it() {
    let mut rig = Rig::new();
    let (mut here, mut there) = rig.pair();
    let (mut out, mut reader) = rig.pair();
    let mut pipe = rig.driver.make_pipe().expect("a pipe");
    let mut sent = 0;
    loop {
        if rig.driver.held(&pipe) == 0 {
            write(&mut there, &[7; 50_000]);
            rig.driver.poll(&here, Readiness::Readable, owner(1));
            assert_ready(&rig.answer(), owner(1));
            assert!(matches!(rig.driver.fill(&mut pipe, &mut here), Ok(Spliced::Moved(_))));
        }
        match rig.driver.drain(&mut pipe, &mut out).expect("its peer only does not read") {
            Spliced::Moved(bytes) => sent += bytes as usize,
            Spliced::NotNow => break,
            Spliced::EndOfStream => panic!("a pipe has no end"),
        }
    }
    rig.driver.poll(&out, Readiness::Writable, owner(1));
    rig.assert_silent();
    assert_eq!(read(&mut reader, sent).len(), sent);
    assert_ready(&rig.answer(), owner(1));
    assert!(matches!(rig.driver.drain(&mut pipe, &mut out), Ok(Spliced::Moved(_))));
}

#[test]
fn splicing_that_stops_at_an_urgent_byte_leaves_it_to_the_next_receive() {
    let mut rig = Rig::new();
    let (mut socket, mut there) = rig.pair();
    let mut pipe = rig.driver.make_pipe().expect("a pipe");
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    rig.assert_silent();
    write(&mut there, b"before");
    send_urgent(&there, b'!');
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.fill(&mut pipe, &mut socket), Ok(Spliced::Moved(6)));
    assert_eq!(rig.driver.fill(&mut pipe, &mut socket), Ok(Spliced::NotNow));
    // No event tells of the byte again.
    rig.driver.poll(&socket, Readiness::Readable, owner(1));
    assert_ready(&rig.answer(), owner(1));
    assert_eq!(rig.driver.fill(&mut pipe, &mut socket), Ok(Spliced::NotNow));
    rig.driver.recv(&socket, true, owner(1));
    let held = received(rig.answer(), owner(1));
    assert_eq!(rig.driver.buffers.bytes(held), b"!");
    rig.driver.recv(&socket, true, owner(1));
    rig.assert_silent();
}
