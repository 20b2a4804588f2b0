//! Ids of documents that were found lately, in memory.

use std::sync::{Arc, Mutex, OnceLock};

use super::memory::{Accountant, Component, Grant};
use crate::codec::to_usize;
use crate::storage::hold;

/// How many ids are kept, at most.
const SLOTS: usize = 1 << 15;
/// Longer ids are not kept, so that all of them take at most some 5 MiB.
const ID_BYTES_MAX: usize = 64;
/// What all of them take, in bytes: slots, and ids with what the allocator adds.
const BYTES: u64 = 6 << 20;

/// A first row and the id of its document.
type Slot = Mutex<Option<(u64, Box<str>)>>;

/// Ids by the first row of their document, each in the one slot of that row.
///
/// Nothing here grows old: a row is never used again, and its document keeps its id.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Made when the first is kept; nothing where the memory budget had no room for them.
    slots: OnceLock<Option<(Box<[Slot]>, Grant)>>,
}

impl Ids {
    /// The slot of a row, if there are slots.
    fn slot(&self, row: u64, memory: &Arc<Accountant>) -> Option<&Slot> {
        let slots = self.slots.get_or_init(|| {
            let grant = memory.grant(Component::Queries, "ids that were found", BYTES).ok()?;
            Some(((0..SLOTS).map(|_| Slot::default()).collect(), grant))
        });
        slots.as_ref().map(|(slots, _)| &slots[to_usize(row) % SLOTS])
    }

    /// The id of the document with this first row, if it is known; else what `read` gives, which is kept.
    pub(super) fn get<E>(
        &self,
        row: u64,
        memory: &Arc<Accountant>,
        read: impl FnOnce() -> Result<String, E>,
    ) -> Result<String, E> {
        let Some(slot) = self.slot(row, memory) else { return read() };
        if let Some((_, id)) = hold(slot).as_ref().filter(|(known, _)| *known == row) {
            return Ok(id.as_ref().to_owned());
        }
        let id = read()?;
        if id.len() <= ID_BYTES_MAX {
            *hold(slot) = Some((row, id.as_str().into()));
        }
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_known_until_another_takes_its_slot() {
        let (ids, memory) = (Ids::default(), Accountant::new(BYTES));
        let read = |row: u64, id: &str| ids.get(row, &memory, || Ok::<_, ()>(id.to_owned())).unwrap();
        assert_eq!(read(7, "a"), "a");
        assert_eq!(read(7, "b"), "a");
        let other = 7 + u64::try_from(SLOTS).unwrap();
        assert_eq!(read(other, "c"), "c");
        assert_eq!(read(7, "d"), "d");
        assert_eq!(ids.get(8, &memory, || Err::<String, _>("no")), Err("no"));
        assert_eq!(read(8, "e"), "e");
    }

    #[test]
    fn long_ids_are_read_each_time() {
        let (ids, long) = (Ids::default(), "x".repeat(ID_BYTES_MAX + 1));
        let memory = Accountant::new(BYTES);
        assert_eq!(ids.get(1, &memory, || Ok::<_, ()>(long.clone())).unwrap(), long);
        assert_eq!(ids.get(1, &memory, || Ok::<_, ()>("short".to_owned())).unwrap(), "short");
    }

    #[test]
    fn without_memory_ids_are_read_each_time() {
        let (ids, memory) = (Ids::default(), Accountant::new(BYTES - 1));
        for id in ["a", "b"] {
            assert_eq!(ids.get(1, &memory, || Ok::<_, ()>(id.to_owned())).unwrap(), id);
        }
        assert_eq!(memory.left(), BYTES - 1);
    }
}
