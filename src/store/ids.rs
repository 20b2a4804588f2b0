//! Ids of documents that were found lately, in memory.

use std::sync::{Arc, Mutex, OnceLock};

use super::memory::{Accountant, Component, Grant};
use crate::codec::to_usize;
use crate::storage::hold;

/// Ids are kept in so many sets, each row in one of them.
const SETS: usize = 1 << 13;
/// The ids of a set: some of the rows that a query finds fall into the same.
const WAYS: usize = 4;
/// Longer ids are not kept.
const ID_BYTES_MAX: usize = 47;
/// What all of them take, in bytes.
const BYTES: u64 = (SETS * size_of::<Mutex<Set>>()) as u64;

/// The ids of some rows, where they are looked for together.
#[derive(Debug)]
struct Set {
    /// The row of each; [`Set::NONE`] where there is none.
    rows: [u64; WAYS],
    lens: [u8; WAYS],
    ids: [[u8; ID_BYTES_MAX]; WAYS],
    /// The one whose place the next takes.
    next: usize,
}

impl Set {
    /// No row has this number.
    const NONE: u64 = u64::MAX;

    fn new() -> Self {
        Set { rows: [Self::NONE; WAYS], lens: [0; WAYS], ids: [[0; ID_BYTES_MAX]; WAYS], next: 0 }
    }

    fn find(&self, row: u64) -> Option<&str> {
        let way = self.rows.iter().position(|&known| known == row)?;
        std::str::from_utf8(&self.ids[way][..usize::from(self.lens[way])]).ok()
    }

    fn keep(&mut self, row: u64, id: &str) {
        let (Ok(len), Some(room)) = (u8::try_from(id.len()), self.ids[self.next].get_mut(..id.len())) else {
            return;
        };
        room.copy_from_slice(id.as_bytes());
        (self.rows[self.next], self.lens[self.next]) = (row, len);
        self.next = (self.next + 1) % WAYS;
    }
}

/// Each row has its id in one of them.
type Sets = Box<[Mutex<Set>]>;

/// Ids by the first row of their document.
///
/// Nothing here grows old: a row is never used again, and its document keeps its id.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// Made when the first is asked for; nothing where the memory budget had no room for them.
    sets: OnceLock<Option<(Sets, Grant)>>,
}

impl Ids {
    /// The set of a row, if there are sets.
    fn set(&self, row: u64, memory: &Arc<Accountant>) -> Option<&Mutex<Set>> {
        let sets = self.sets.get_or_init(|| {
            let grant = memory.grant(Component::Queries, "ids that were found", BYTES).ok()?;
            Some(((0..SETS).map(|_| Mutex::new(Set::new())).collect(), grant))
        });
        sets.as_ref().map(|(sets, _)| &sets[to_usize(row) % SETS])
    }

    /// The id of the document with this first row, if it is known; else what `read` gives, which is kept.
    pub(super) fn get<E>(
        &self,
        row: u64,
        memory: &Arc<Accountant>,
        read: impl FnOnce() -> Result<String, E>,
    ) -> Result<String, E> {
        let Some(set) = self.set(row, memory) else { return read() };
        if let Some(id) = hold(set).find(row) {
            return Ok(id.to_owned());
        }
        let id = read()?;
        hold(set).keep(row, &id);
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_known_until_others_take_its_place() {
        let (ids, memory) = (Ids::default(), Accountant::new(BYTES));
        let read = |row: u64, id: &str| ids.get(row, &memory, || Ok::<_, ()>(id.to_owned())).unwrap();
        assert_eq!(read(7, "a"), "a");
        assert_eq!(read(7, "b"), "a");
        let others = (1..=4).map(|n| 7 + n * u64::try_from(SETS).unwrap());
        for other in others.clone() {
            assert_eq!(read(7, "c"), "a");
            assert_eq!(read(other, &format!("of {other}")), format!("of {other}"));
        }
        assert_eq!(read(7, "d"), "d");
        for other in others.skip(1) {
            assert_eq!(read(other, "late"), format!("of {other}"));
        }
        assert_eq!(ids.get(8, &memory, || Err::<String, _>("no")), Err("no"));
        assert_eq!(read(8, "e"), "e");
    }

    #[test]
    fn long_ids_are_read_each_time() {
        let (ids, long) = (Ids::default(), "x".repeat(ID_BYTES_MAX + 1));
        let memory = Accountant::new(BYTES);
        let mut reads = 0;
        for id in [long.clone(), long, "short".to_owned()] {
            let found = ids.get(1, &memory, || {
                reads += 1;
                Ok::<_, ()>(id.clone())
            });
            assert_eq!(found.unwrap(), id);
        }
        assert_eq!(reads, 3);
    }

    #[test]
    fn the_longest_id_is_kept() {
        let (ids, memory, long) = (Ids::default(), Accountant::new(BYTES), "é".repeat(23) + "x");
        assert_eq!(long.len(), ID_BYTES_MAX);
        for id in [&long, "other"] {
            assert_eq!(ids.get(1, &memory, || Ok::<_, ()>(id.to_owned())).unwrap(), long);
        }
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        let (ids, memory) = (Ids::default(), Accountant::new(0));
        for id in ["a", "b"] {
            assert_eq!(ids.get(1, &memory, || Ok::<_, ()>(id.to_owned())).unwrap(), id);
        }
    }
}
