//! The write transaction on the catalog.

use std::cell::OnceCell;
use std::sync::Arc;

use redb::{ReadableTable, WriteTransaction};

use super::read::{Rows, Visit, find, floor_key, scan_table};
use super::record::Record;
use super::table::Table;
use crate::error::{Error, Result};
use crate::storage::{Access, Container, Db, OpenFile, guarded};

/// One write transaction; dropping it undoes everything.
pub(crate) struct WriteTxn {
    container: Arc<Container>,
    txn: Option<WriteTransaction>,
}

impl std::fmt::Debug for WriteTxn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteTxn").finish_non_exhaustive()
    }
}

impl WriteTxn {
    /// Begins to write; waits for another write transaction of this process.
    pub(crate) fn begin(file: &OpenFile) -> Result<Self> {
        let container = Arc::clone(&file.container);
        container.check_process()?;
        container.check_poison()?;
        let (Db::Writer(db), Access::Write) = (file.db()?, file.access) else {
            return Err(Error::Unavailable {
                feature: "writing",
                reason: format!("{} was opened read-only", container.path().display()),
            });
        };
        let mut txn = guarded(&container, "write", || db.begin_write())?;
        // Two phases: the first sync covers the blobs that the second publishes. Quick repair: a reopen after a kill
        // reads the allocator state instead of every page.
        txn.set_two_phase_commit(true);
        txn.set_quick_repair(true);
        Ok(WriteTxn { container, txn: Some(txn) })
    }

    /// The container that it writes.
    pub(crate) fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// The tables, each opened when first used. Opening and closing them costs microseconds: use one for many rows.
    pub(crate) fn tables(&self) -> Result<Tables<'_>> {
        self.container.check_process()?;
        let txn = self.txn.as_ref().ok_or_else(|| Error::invalid("transaction", "it has ended"))?;
        Ok(Tables { container: &self.container, txn, open: Default::default() })
    }

    /// Empties a table, whatever is in it. None of the tables may be open.
    pub(crate) fn clear(&self, table: Table) -> Result<()> {
        let txn = self.txn.as_ref().ok_or_else(|| Error::invalid("transaction", "it has ended"))?;
        guarded(&self.container, "write", || {
            txn.delete_table(table.definition())?;
            txn.open_table(table.definition()).map(drop).map_err(redb::Error::from)
        })
    }

    /// Makes everything durable and visible: one `fdatasync`, or two.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.container.check_process()?;
        let txn = self.txn.take().ok_or_else(|| Error::invalid("transaction", "it has ended"))?;
        guarded(&self.container, "commit", || txn.commit())?;
        self.container.note_commit();
        Ok(())
    }
}

impl Drop for WriteTxn {
    fn drop(&mut self) {
        let Some(txn) = self.txn.take() else { return };
        if !self.container.is_ours() {
            std::mem::forget(txn);
            return;
        }
        let _ = guarded(&self.container, "roll back", || txn.abort());
    }
}

type RedbTable<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// What is done with each row, its key and its value, or what is wrong with that; `false` ends the scan.
pub(crate) type VisitAll<'v> = dyn FnMut(&[u8], Result<&[u8]>) -> Result<bool> + 'v;

/// Open tables of a write transaction.
pub(crate) struct Tables<'t> {
    container: &'t Container,
    txn: &'t WriteTransaction,
    open: [OnceCell<RedbTable<'t>>; Table::ALL.len()],
}

impl<'t> Tables<'t> {
    fn table(&self, table: Table) -> Result<&RedbTable<'t>> {
        let cell = self.open.get(table as usize).ok_or_else(|| table.damage(&[], "it has no place"))?;
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let open = guarded(self.container, "write", || self.txn.open_table(table.definition()))?;
        Ok(cell.get_or_init(|| open))
    }

    fn table_mut(&mut self, table: Table) -> Result<&mut RedbTable<'t>> {
        self.table(table)?;
        let cell = self.open.get_mut(table as usize).and_then(OnceCell::get_mut);
        cell.ok_or_else(|| Error::invalid("table", "it is not open"))
    }

    /// Writes a row; replaces the one of the same key.
    pub(crate) fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) -> Result<()> {
        let stored = table.seal(key, value);
        let container = self.container;
        let open = self.table_mut(table)?;
        guarded(container, "write", || open.insert(key, stored.as_slice()).map(drop))
    }

    /// Calls `visit` with each row from `from` on, or with what is wrong with it, until it answers `false`.
    pub(crate) fn scan_all(&self, table: Table, from: &[u8], visit: &mut VisitAll<'_>) -> Result<()> {
        let open = self.table(table)?;
        let mut range = guarded(self.container, "read", || open.range::<&[u8]>(from..))?;
        while let Some((key, value)) = guarded(self.container, "read", || range.next().transpose())? {
            let key = key.value();
            if !visit(key, table.unseal(key, value.value()))? {
                break;
            }
        }
        Ok(())
    }

    /// Makes a table that may not exist yet.
    pub(super) fn create(&self, table: Table) -> Result<()> {
        self.table(table).map(drop)
    }

    /// Writes a record.
    pub(crate) fn put_record<T: Record>(&mut self, table: Table, key: &[u8], record: &T) -> Result<()> {
        self.put(table, key, record.encode()?)
    }

    /// Reads a record, if the key has one.
    pub(crate) fn find<T: Record>(&self, table: Table, key: &[u8]) -> Result<Option<T>> {
        find(self, table, key)
    }

    /// Removes a row; tells whether it was there.
    pub(crate) fn remove(&mut self, table: Table, key: &[u8]) -> Result<bool> {
        let container = self.container;
        let open = self.table_mut(table)?;
        guarded(container, "write", || open.remove(key).map(|old| old.is_some()))
    }
}

impl Drop for Tables<'_> {
    fn drop(&mut self) {
        let open = std::mem::take(&mut self.open);
        if !self.container.is_ours() {
            std::mem::forget(open);
            return;
        }
        let _ = guarded(self.container, "write", || {
            drop(open);
            Ok::<_, redb::Error>(())
        });
    }
}

impl Rows for Tables<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let open = self.table(table)?;
        match guarded(self.container, "read", || open.get(key))? {
            Some(value) => Ok(Some(table.unseal(key, value.value())?.to_vec())),
            None => Ok(None),
        }
    }

    fn scan(&self, table: Table, from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        scan_table(self.container, table, self.table(table)?, from, visit)
    }

    fn floor(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        floor_key(self.container, self.table(table)?, key)
    }
}
