//! The connections of a worker: slots that are used again, with generations that tell users apart.

use uring::Owner;

/// A table of `T`, each at a slot for as long as it lives.
#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<T>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Puts `entry` into a free slot; the owner names it in the kernel.
    pub(super) fn insert(&mut self, entry: T) -> Owner {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            u32::try_from(self.slots.len() - 1).expect("descriptors are fewer than 2^31")
        });
        let place = &mut self.slots[slot as usize];
        place.entry = Some(entry);
        Owner { slot, generation: place.generation, tag: 0 }
    }

    /// The entry of `owner`, unless the slot has another user by now.
    pub(super) fn entry(&mut self, owner: Owner) -> Option<&mut T> {
        let place = self.slots.get_mut(owner.slot as usize)?;
        place.entry.as_mut().filter(|_| place.generation == owner.generation)
    }

    /// Takes the entry of `owner` out; its slot gets a new generation.
    pub(super) fn remove(&mut self, owner: Owner) -> Option<T> {
        let place = self.slots.get_mut(owner.slot as usize)?;
        if place.generation != owner.generation {
            return None;
        }
        let entry = place.entry.take()?;
        place.generation = (place.generation + 1) % Owner::GENERATIONS;
        self.free.push(owner.slot);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_owner_does_not_find_the_next_user() {
        let mut table = Table::new();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(second.slot, first.slot);
        assert_eq!(table.entry(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.entry(second), Some(&mut "second"));
    }
}
