//! The write transaction on the catalog.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

use redb::WriteTransaction;

use super::layers::{Layers, VisitAll};
use super::read::{Rows, Visit, find};
use super::record::Record;
use super::table::Table;
use crate::error::{Error, Result};
use crate::storage::{self, Access, Container, Db, OpenFile, Recent, guarded};

/// A transaction with more rows than fit into so many bytes goes to redb.
const CHANGES_BYTES_MAX: usize = 128 << 10;

/// One write transaction; dropping it undoes everything.
///
/// Its rows are collected until it commits, which appends them to the log. If they become many, or name blobs, they go to redb,
/// and so does all that is in the log.
pub(crate) struct WriteTxn {
    container: Arc<Container>,
    txn: Option<WriteTransaction>,
    /// The epoch of the log over redb's state; 0 if there is no log.
    epoch: u64,
    /// What the log holds; nothing from when that is in redb.
    recent: RefCell<Arc<Recent>>,
    /// The rows that this transaction has written so far; likewise.
    changes: RefCell<Recent>,
    goal: Cell<Goal>,
}

/// Where the rows of a transaction go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// They are collected, for the log.
    Log,
    /// To redb, and those of the log with them.
    Redb,
    /// Nowhere: some of them could not be given to redb.
    Failed,
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
        let txn = guarded(&container, "write", || db.begin_write())?;
        Ok(Self::with(container, txn))
    }

    fn with(container: Arc<Container>, mut txn: WriteTransaction) -> Self {
        let (epoch, recent) = container.newest_rows();
        // Two phases: the first sync covers the blobs that the second publishes. Quick repair: a reopen after a kill
        // reads the allocator state instead of every page.
        txn.set_two_phase_commit(true);
        txn.set_quick_repair(true);
        WriteTxn {
            container,
            txn: Some(txn),
            epoch,
            recent: RefCell::new(recent),
            changes: RefCell::default(),
            goal: Cell::new(Goal::Log),
        }
    }

    /// The container that it writes.
    pub(crate) fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// The tables, each opened when first used. Opening and closing them costs microseconds: use one for many rows.
    pub(crate) fn tables(&self) -> Result<Tables<'_>> {
        self.container.check_process()?;
        Ok(Tables { owner: self, txn: self.redb()?, open: Default::default() })
    }

    fn redb(&self) -> Result<&WriteTransaction> {
        self.txn.as_ref().ok_or_else(|| Error::invalid("transaction", "it has ended"))
    }

    /// Lets the rows go to redb, those of the log with them. None of the tables may be open.
    pub(crate) fn write_through(&self) -> Result<()> {
        self.tables()?.write_through()
    }

    /// Empties a table, whatever is in it. None of the tables may be open.
    pub(crate) fn clear(&self, table: Table) -> Result<()> {
        self.write_through()?;
        let txn = self.redb()?;
        guarded(&self.container, "write", || {
            txn.delete_table(table.definition())?;
            txn.open_table(table.definition()).map(drop).map_err(redb::Error::from)
        })
    }

    /// Makes everything durable and visible: one sync, of what it appends to the log or of the file; of the file perhaps two.
    pub(crate) fn commit(mut self) -> Result<()> {
        self.container.check_process()?;
        if self.goal.get() == Goal::Log {
            // Held by the log alone, its rows need not be copied.
            self.recent.take();
            if self.container.append(self.epoch, &self.changes.borrow())? {
                return Ok(());
            }
            self.recent.replace(self.container.newest_rows().1);
            self.write_through()?;
        }
        if self.goal.get() == Goal::Failed {
            return Err(Error::invalid("transaction", "an earlier failure has left it incomplete"));
        }
        if self.epoch == 0 {
            self.container.make_wal()?;
        }
        // Whatever redb commits begins an epoch, so that nobody reads a log over a state that it does not belong to.
        let (txn, next) = (self.redb()?, self.epoch + 1);
        guarded(&self.container, "write", || storage::set_epoch(txn, next))?;
        let txn = self.txn.take().ok_or_else(|| Error::invalid("transaction", "it has ended"))?;
        self.container.end_epoch();
        guarded(&self.container, "commit", || txn.commit())?;
        self.container.note_commit();
        self.container.restart_wal(next)
    }
}

/// Lets redb take over what the log holds; not while somebody writes, or after a failed write.
pub(crate) fn fold(file: &OpenFile) -> Result<()> {
    let container = &file.container;
    container.check_process()?;
    let Db::Writer(db) = file.db()? else { return Ok(()) };
    if container.check_poison().is_err() || container.newest_rows().1.is_empty() {
        return Ok(());
    }
    let begun = guarded(container, "write", || match db.try_begin_write() {
        Err(redb::TransactionError::WouldBlock) => Ok(None),
        begun => begun.map(Some),
    })?;
    let Some(txn) = begun else { return Ok(()) };
    let txn = WriteTxn::with(Arc::clone(container), txn);
    txn.write_through()?;
    txn.commit()
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

/// Open tables of a write transaction.
pub(crate) struct Tables<'t> {
    owner: &'t WriteTxn,
    txn: &'t WriteTransaction,
    open: [OnceCell<RedbTable<'t>>; Table::ALL.len()],
}

impl<'t> Tables<'t> {
    fn container(&self) -> &'t Container {
        &self.owner.container
    }

    fn table(&self, table: Table) -> Result<&RedbTable<'t>> {
        let cell = self.open.get(table as usize).ok_or_else(|| table.damage(&[], "it has no place"))?;
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let open = guarded(self.container(), "write", || self.txn.open_table(table.definition()))?;
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
        if self.collects(table, stored.len())? {
            self.owner.changes.borrow_mut().set(table.number(), key, Some(stored.into()));
            return Ok(());
        }
        self.insert(table, key, &stored)
    }

    fn insert(&mut self, table: Table, key: &[u8], stored: &[u8]) -> Result<()> {
        let container = self.container();
        let open = self.table_mut(table)?;
        guarded(container, "write", || open.insert(key, stored).map(drop))
    }

    fn erase(&mut self, table: Table, key: &[u8]) -> Result<bool> {
        let container = self.container();
        let open = self.table_mut(table)?;
        guarded(container, "write", || open.remove(key).map(|old| old.is_some()))
    }

    /// Whether a row of this table, with a value of so many bytes, is collected; if not, everything is in redb from here on.
    fn collects(&mut self, table: Table, value_len: usize) -> Result<bool> {
        let bytes = self.owner.changes.borrow().bytes() + value_len;
        if self.owner.goal.get() == Goal::Log && (table.names_blobs() || bytes > CHANGES_BYTES_MAX) {
            self.write_through()?;
        }
        Ok(self.owner.goal.get() == Goal::Log)
    }

    fn write_through(&mut self) -> Result<()> {
        let owner = self.owner;
        if owner.goal.get() != Goal::Log {
            return Ok(());
        }
        owner.goal.set(Goal::Failed);
        let (recent, changes) = (owner.recent.take(), owner.changes.take());
        for (number, key, entry) in recent.rows().chain(changes.rows()) {
            let table = Table::ALL.into_iter().find(|table| table.number() == number).ok_or_else(|| {
                Error::corrupt("write-ahead log", 0, format!("a row of the unknown table {number}"))
            })?;
            match entry {
                Some(stored) => self.insert(table, key, stored)?,
                None => drop(self.erase(table, key)?),
            }
        }
        owner.goal.set(Goal::Redb);
        Ok(())
    }

    /// Calls `read` with a table as it is in this transaction.
    fn layered<T>(
        &self,
        table: Table,
        read: impl FnOnce(Layers<'_, RedbTable<'t>>) -> Result<T>,
    ) -> Result<T> {
        let (changes, recent) = (self.owner.changes.borrow(), self.owner.recent.borrow());
        read(Layers::new(self.container(), table, &[&changes, &recent], self.table(table)?))
    }

    /// Calls `visit` with each row from `from` on, or with what is wrong with it, until it answers `false`.
    pub(crate) fn scan_all(&self, table: Table, from: &[u8], visit: &mut VisitAll<'_>) -> Result<()> {
        self.layered(table, |layers| layers.scan(from, visit))
    }

    /// Makes a table that may not exist yet.
    pub(super) fn create(&mut self, table: Table) -> Result<()> {
        self.write_through()?;
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
        if !self.collects(table, 0)? {
            return self.erase(table, key);
        }
        let was_there = self.layered(table, |layers| layers.contains(key))?;
        if was_there {
            self.owner.changes.borrow_mut().set(table.number(), key, None);
        }
        Ok(was_there)
    }
}

impl Drop for Tables<'_> {
    fn drop(&mut self) {
        let open = std::mem::take(&mut self.open);
        if !self.container().is_ours() {
            std::mem::forget(open);
            return;
        }
        let _ = guarded(self.container(), "write", || {
            drop(open);
            Ok::<_, redb::Error>(())
        });
    }
}

impl Rows for Tables<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.layered(table, |layers| layers.get(key))
    }

    fn scan(&self, table: Table, from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.layered(table, |layers| layers.scan(from, &mut |key, value| visit(key, value?)))
    }

    fn floor(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.layered(table, |layers| layers.floor(key))
    }
}
