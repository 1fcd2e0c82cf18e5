//! Who is connected to one endpoint: a bounded number, so that a flood of connections takes neither
//! descriptors nor memory, and does not keep out those who have something to ask.
//!
//! When all places are taken, whoever has been silent for longest makes way: a connection that asks
//! at once is answered however many others do nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The connections of one endpoint.
#[derive(Debug)]
pub(super) struct Guests {
    most: usize,
    book: RefCell<Book>,
}

#[derive(Debug, Default)]
struct Book {
    guests: HashMap<u64, Guest>,
    next: u64,
}

#[derive(Debug)]
struct Guest {
    /// Nothing while a request of its own is being answered.
    silent_since: Option<Instant>,
    /// Ends it, once it runs.
    task: Option<AbortHandle>,
}

/// A place at one endpoint; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    guests: Rc<Guests>,
    number: u64,
}

/// What came of somebody's wish for a place.
#[derive(Debug)]
pub(super) enum Admitted {
    /// There was a place.
    Yes(Place),
    /// Somebody else had to go.
    InsteadOf(Place),
    /// All of them are being answered.
    No,
}

impl Guests {
    pub(super) fn new(most: usize) -> Rc<Self> {
        Rc::new(Self { most, book: RefCell::default() })
    }

    /// A place for one more.
    pub(super) fn admit(self: &Rc<Self>) -> Admitted {
        let mut book = self.book.borrow_mut();
        let full = book.guests.len() >= self.most;
        if full {
            let Some(number) = book.most_silent() else { return Admitted::No };
            let task = book.guests.remove(&number).and_then(|guest| guest.task);
            task.inspect(AbortHandle::abort);
        }
        let number = book.next;
        book.next += 1;
        book.guests.insert(number, Guest { silent_since: Some(Instant::now()), task: None });
        let place = Place { guests: Rc::clone(self), number };
        if full { Admitted::InsteadOf(place) } else { Admitted::Yes(place) }
    }
}

impl Book {
    fn most_silent(&self) -> Option<u64> {
        let silent = self.guests.iter().filter_map(|(number, guest)| {
            // Who has no task yet was admitted a moment ago.
            guest.task.as_ref()?;
            Some((guest.silent_since?, *number))
        });
        silent.min().map(|(_, number)| number)
    }
}

impl Place {
    /// Which task is to be ended if the place is given to another.
    pub(super) fn held_by(guests: &Guests, number: u64, task: AbortHandle) {
        if let Some(guest) = guests.book.borrow_mut().guests.get_mut(&number) {
            guest.task = Some(task);
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// A request has come, or has been answered.
    pub(super) fn is_answered(&self, busy: bool) {
        if let Some(guest) = self.guests.book.borrow_mut().guests.get_mut(&self.number) {
            guest.silent_since = (!busy).then(Instant::now);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.book.borrow_mut().guests.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn who_has_been_silent_for_longest_makes_way() {
        let guests = Guests::new(2);
        let enter = || {
            let place = match guests.admit() {
                Admitted::Yes(place) | Admitted::InsteadOf(place) => place,
                Admitted::No => panic!("somebody is silent"),
            };
            let task = tokio::spawn(std::future::pending::<()>());
            Place::held_by(&guests, place.number(), task.abort_handle());
            (place, task)
        };
        let (first, first_task) = enter();
        let (second, second_task) = enter();
        // The first one asks something, so the second has been silent for longer now.
        first.is_answered(true);
        first.is_answered(false);
        let (third, _third_task) = enter();
        assert!(second_task.await.expect_err("it was ended").is_cancelled());
        assert!(!first_task.is_finished());
        for place in [&first, &third] {
            place.is_answered(true);
        }
        assert!(matches!(guests.admit(), Admitted::No));
        // One that made way frees no other's place when it is gone.
        drop(second);
        assert!(matches!(guests.admit(), Admitted::No));
        drop(first);
        assert!(matches!(guests.admit(), Admitted::Yes(_)));
    }
}
