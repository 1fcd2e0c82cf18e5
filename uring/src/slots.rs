//! A table whose places are used again, and which notices when someone means the user before.

use crate::Owner;

/// Values by slot and generation. Freed slots are reused last in, first out: they are in the cache.
///
/// An operation that is queued with a value's [`Owner`] finds that value when it completes, or
/// nothing if the value was removed meanwhile, even though its slot has another user by then.
///
/// ```
/// let mut slots = uring::Slots::default();
/// let first = slots.insert("first");
/// slots.remove(first);
/// let second = slots.insert("second");
/// assert_eq!(second.slot, first.slot);
/// assert_eq!(slots.find(first), None);
/// assert_eq!(slots.find(second), Some(&mut "second"));
/// ```
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// An empty table with room for `capacity` values before it has to move. The memory is not
    /// touched before it is used.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), free: Vec::new() }
    }

    /// Puts a value into a free slot; the owner names it until it is removed.
    ///
    /// # Panics
    /// Beyond 2^32 values.
    pub fn insert(&mut self, value: T) -> Owner {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, value: None });
            u32::try_from(self.entries.len() - 1).expect("descriptors run out long before")
        });
        let entry = &mut self.entries[slot as usize];
        entry.value = Some(value);
        Owner { slot, generation: entry.generation, tag: 0 }
    }

    /// The value that `owner` names, unless it was removed since.
    pub fn find(&mut self, owner: Owner) -> Option<&mut T> {
        let entry = self.entries.get_mut(owner.slot as usize)?;
        if entry.generation == owner.generation { entry.value.as_mut() } else { None }
    }

    /// The same to look at only.
    #[must_use]
    pub fn get(&self, owner: Owner) -> Option<&T> {
        let entry = self.entries.get(owner.slot as usize)?;
        if entry.generation == owner.generation { entry.value.as_ref() } else { None }
    }

    /// Takes the value out; from now on `owner` names nothing.
    pub fn remove(&mut self, owner: Owner) -> Option<T> {
        let entry = self.entries.get_mut(owner.slot as usize)?;
        if entry.generation != owner.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) % Owner::GENERATIONS;
        self.free.push(owner.slot);
        Some(value)
    }

    /// The name of the present user of `slot`.
    #[must_use]
    pub fn owner(&self, slot: u32) -> Option<Owner> {
        let entry = self.entries.get(slot as usize)?;
        let generation = entry.generation;
        entry.value.is_some().then_some(Owner { slot, generation, tag: 0 })
    }

    /// The names of all present users.
    pub fn owners(&self) -> impl Iterator<Item = Owner> + '_ {
        (0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX))
            .filter_map(|slot| self.owner(slot))
    }

    /// Slots that there are, free ones included: every value has one below this.
    #[must_use]
    pub fn places(&self) -> usize {
        self.entries.len()
    }

    /// Values in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_before_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.slot, first.slot);
        assert_eq!(slots.find(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.find(second), Some(&mut "second"));
        assert_eq!(slots.owner(second.slot), Some(second));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_slot_that_never_was_is_empty() {
        let mut slots = Slots::<u8>::default();
        assert_eq!(slots.find(Owner::slot(3)), None);
        assert_eq!(slots.owner(3), None);
        assert!(slots.is_empty());
    }
}
