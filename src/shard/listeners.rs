//! The listeners of a driver, by number.

use std::io;

use uring::Errno;

use super::driver::ListenerNumber;

/// Listeners; a number that is free is given again.
#[derive(Debug)]
pub(super) struct Listeners<L>(Vec<Option<L>>);

impl<L> Listeners<L> {
    /// The number that the next one will have.
    ///
    /// # Errors
    /// `EMFILE` when all are taken.
    pub(super) fn next(&self) -> io::Result<ListenerNumber> {
        let free = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        u16::try_from(free).map(ListenerNumber).map_err(|_| Errno::EMFILE.into())
    }

    /// Puts one where [`Listeners::next`] said.
    pub(super) fn add(&mut self, listener: L) -> io::Result<ListenerNumber> {
        let number = self.next()?;
        let place = usize::from(number.0);
        if place == self.0.len() {
            self.0.push(None);
        }
        self.0[place] = Some(listener);
        Ok(number)
    }

    /// The one with this number.
    pub(super) fn at(&self, number: ListenerNumber) -> &L {
        self.0[usize::from(number.0)].as_ref().expect(OPEN)
    }

    /// The one with this number, if there is one.
    pub(super) fn find(&mut self, number: ListenerNumber) -> Option<&mut L> {
        self.0.get_mut(usize::from(number.0))?.as_mut()
    }

    /// The one with this number, if there is one; the number is free from now on.
    pub(super) fn remove(&mut self, number: ListenerNumber) -> Option<L> {
        self.0.get_mut(usize::from(number.0))?.take()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &L> {
        self.0.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut L> {
        self.0.iter_mut().flatten()
    }
}

impl<L> Default for Listeners<L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

const OPEN: &str = "a listener has its number until it is closed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_given_again() {
        let mut listeners = Listeners::default();
        for (name, number) in [("a", 0), ("b", 1), ("c", 2)] {
            assert_eq!(listeners.add(name).expect("a number"), ListenerNumber(number));
        }
        assert_eq!(listeners.remove(ListenerNumber(1)), Some("b"));
        assert_eq!(listeners.remove(ListenerNumber(1)), None);
        assert_eq!(listeners.find(ListenerNumber(1)), None);
        assert_eq!(listeners.find(ListenerNumber(9)), None);
        assert_eq!(listeners.add("d").expect("a number"), ListenerNumber(1));
        assert_eq!(listeners.at(ListenerNumber(1)), &"d");
        assert_eq!(listeners.add("e").expect("a number"), ListenerNumber(3));
        assert_eq!(listeners.iter_mut().map(|name| *name).collect::<String>(), "adce");
    }
}
