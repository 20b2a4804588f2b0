//! One table as it is read: redb's rows, and over them those that were written since.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::ReadableTable;

use super::table::Table;
use crate::error::Result;
use crate::storage::{Container, Entry, Recent, guarded};

/// What is done with each row, its key and its value, or what is wrong with that; `false` ends the scan.
pub(crate) type VisitAll<'v> = dyn FnMut(&[u8], Result<&[u8]>) -> Result<bool> + 'v;

/// A table of redb with rows that lie over it, the newest first.
pub(super) struct Layers<'l, T> {
    container: &'l Container,
    table: Table,
    recent: &'l [&'l Recent],
    open: &'l T,
}

impl<'l, T: ReadableTable<&'static [u8], &'static [u8]>> Layers<'l, T> {
    pub(super) fn new(container: &'l Container, table: Table, recent: &'l [&'l Recent], open: &'l T) -> Self {
        Layers { container, table, recent, open }
    }

    /// The newest that was written of a row since; `None` if redb knows.
    fn entry(&self, key: &[u8]) -> Option<&'l Entry> {
        self.recent.iter().find_map(|recent| recent.get(self.table.number(), key))
    }

    /// Whether a key has a value.
    pub(super) fn contains(&self, key: &[u8]) -> Result<bool> {
        match self.entry(key) {
            Some(entry) => Ok(entry.is_some()),
            None => Ok(guarded(self.container, "read", || self.open.get(key))?.is_some()),
        }
    }

    /// The value of a key, verified.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let unseal = |stored: &[u8]| self.table.unseal(key, stored).map(<[u8]>::to_vec);
        match self.entry(key) {
            Some(entry) => entry.as_deref().map(unseal).transpose(),
            None => guarded(self.container, "read", || self.open.get(key))?
                .map(|value| unseal(value.value()))
                .transpose(),
        }
    }

    /// Calls `visit` with each row from `from` on, or with what is wrong with it, until it answers `false`.
    pub(super) fn scan(&self, from: &[u8], visit: &mut VisitAll<'_>) -> Result<()> {
        let bounds = (Bound::Included(from), Bound::Unbounded);
        let mut over = BTreeMap::new();
        for recent in self.recent.iter().rev() {
            over.extend(recent.range(self.table.number(), bounds));
        }
        let mut over = over.into_iter().peekable();
        let mut visit = |key: &[u8], stored: &[u8]| visit(key, self.table.unseal(key, stored));
        let mut range = guarded(self.container, "read", || self.open.range::<&[u8]>(bounds))?;
        while let Some((key, value)) = guarded(self.container, "read", || range.next().transpose())? {
            let key = key.value();
            let mut is_replaced = false;
            while let Some((newer, entry)) = over.next_if(|&(newer, _)| newer <= key) {
                is_replaced = newer == key;
                if let Some(stored) = entry
                    && !visit(newer, stored)?
                {
                    return Ok(());
                }
            }
            if !is_replaced && !visit(key, value.value())? {
                return Ok(());
            }
        }
        for (newer, entry) in over {
            if let Some(stored) = entry
                && !visit(newer, stored)?
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The last key that is not after `key`.
    pub(super) fn floor(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut below = guarded(self.container, "read", || {
            self.open.range::<&[u8]>((Bound::Unbounded, Bound::Included(key)))
        })?;
        let mut next = || guarded(self.container, "read", || below.next_back().transpose());
        let mut last = next()?;
        let mut bound = Bound::Included(key);
        loop {
            let newer = self
                .recent
                .iter()
                .filter_map(|recent| recent.range(self.table.number(), (Bound::Unbounded, bound)).next_back())
                .max_by_key(|&(key, _)| key);
            let Some((newer, _)) =
                newer.filter(|(newer, _)| last.as_ref().is_none_or(|(last, _)| last.value() <= *newer))
            else {
                return Ok(last.map(|(key, _)| key.value().to_vec()));
            };
            if self.entry(newer).is_some_and(Option::is_some) {
                return Ok(Some(newer.to_vec()));
            }
            // The row was removed.
            if last.as_ref().is_some_and(|(last, _)| last.value() == newer) {
                last = next()?;
            }
            bound = Bound::Excluded(newer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use redb::{ReadableDatabase, TableDefinition};

    use super::*;
    use crate::storage::{Settings, memory_file};

    const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("ids");

    fn sealed(key: u8, value: u8) -> Vec<u8> {
        Table::Ids.seal(&[key], vec![value])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Rows in redb and two layers over it are read as one map would be in which the newest of each stands.
        #[test]
        fn layers_are_read_as_one_table(
            below in prop::collection::btree_map(0_u8..20, 0_u8..9, 0..15),
            older in prop::collection::btree_map(0_u8..20, prop::option::of(0_u8..9), 0..15),
            newer in prop::collection::btree_map(0_u8..20, prop::option::of(0_u8..9), 0..15),
        ) {
            let settings = Settings { cache_bytes: 1 << 20, ..Settings::default() };
            let container = memory_file(settings).unwrap();
            let db = redb::Database::builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
            let txn = db.begin_write().unwrap();
            {
                let mut table = txn.open_table(TABLE).unwrap();
                for (&key, &value) in &below {
                    table.insert(&[key][..], &*sealed(key, value)).unwrap();
                }
            }
            txn.commit().unwrap();
            let open = db.begin_read().unwrap().open_table(TABLE).unwrap();
            let mut expected: BTreeMap<u8, u8> = below;
            let mut layers = [Recent::default(), Recent::default()];
            for (layer, rows) in layers.iter_mut().zip([older, newer]) {
                for (key, value) in rows {
                    layer.set(Table::Ids.number(), &[key], value.map(|value| Arc::from(sealed(key, value))));
                    match value {
                        Some(value) => drop(expected.insert(key, value)),
                        None => drop(expected.remove(&key)),
                    }
                }
            }
            let [older, newer] = &layers;
            let over = [newer, older];
            let layers = Layers::new(&container.container, Table::Ids, &over, &open);
            for key in 0..21 {
                let value = expected.get(&key).map(|&value| vec![value]);
                prop_assert_eq!(layers.contains(&[key]).unwrap(), value.is_some());
                prop_assert_eq!(layers.get(&[key]).unwrap(), value);
                let floor = expected.range(..=key).next_back().map(|(&key, _)| vec![key]);
                prop_assert_eq!(layers.floor(&[key]).unwrap(), floor);
                let mut found = Vec::new();
                layers.scan(&[key], &mut |key, value| {
                    found.push((key[0], value?[0]));
                    Ok(true)
                }).unwrap();
                let rest: Vec<_> = expected.range(key..).map(|(&key, &value)| (key, value)).collect();
                prop_assert_eq!(&found, &rest);
                for stop in 1..rest.len() {
                    let mut visited = 0;
                    layers.scan(&[key], &mut |_, _| { visited += 1; Ok(visited < stop) }).unwrap();
                    prop_assert_eq!(visited, stop);
                }
            }
        }
    }
}
