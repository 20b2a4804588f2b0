//! Ids of documents that were found lately, in memory.

use std::sync::{Mutex, OnceLock};

use crate::codec::to_usize;
use crate::storage::hold;

/// How many ids are kept, at most.
const SLOTS: usize = 1 << 15;
/// Longer ids are not kept, so that all of them take at most some 5 MiB.
const ID_BYTES_MAX: usize = 64;

/// A first row and the id of its document.
type Slot = Mutex<Option<(u64, Box<str>)>>;

/// Ids by the first row of their document, each in the one slot of that row.
///
/// Nothing here grows old: a row is never used again, and its document keeps its id.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Made when the first is kept.
    slots: OnceLock<Box<[Slot]>>,
}

impl Ids {
    fn slot(&self, row: u64) -> &Slot {
        let slots = self.slots.get_or_init(|| (0..SLOTS).map(|_| Slot::default()).collect());
        &slots[to_usize(row) % SLOTS]
    }

    /// The id of the document with this first row, if it is known; else what `read` gives, which is kept.
    pub(super) fn get<E>(&self, row: u64, read: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
        let slot = self.slot(row);
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
        let ids = Ids::default();
        let read = |row: u64, id: &str| ids.get(row, || Ok::<_, ()>(id.to_owned())).unwrap();
        assert_eq!(read(7, "a"), "a");
        assert_eq!(read(7, "b"), "a");
        let other = 7 + u64::try_from(SLOTS).unwrap();
        assert_eq!(read(other, "c"), "c");
        assert_eq!(read(7, "d"), "d");
        assert_eq!(ids.get(8, || Err::<String, _>("no")), Err("no"));
        assert_eq!(read(8, "e"), "e");
    }

    #[test]
    fn long_ids_are_read_each_time() {
        let (ids, long) = (Ids::default(), "x".repeat(ID_BYTES_MAX + 1));
        assert_eq!(ids.get(1, || Ok::<_, ()>(long.clone())).unwrap(), long);
        assert_eq!(ids.get(1, || Ok::<_, ()>("short".to_owned())).unwrap(), "short");
    }
}
