//! Reading one committed state of the catalog.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase};

use super::layers::{Layers, VisitAll};
use super::record::Record;
use super::table::Table;
use crate::error::{Error, Result};
use crate::storage::{self, Container, Db, OpenFile, Pin, Recent, guarded};

/// How long a reader tries to find redb and the log in one state, while others write.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is done with each row, its key and its value; `false` ends the scan.
pub(crate) type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<bool> + 'v;

/// What can be asked of a state of the catalog, committed or in the making.
pub(crate) trait Rows {
    /// The value of a key, verified.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Calls `visit` with each row from `from` on, in the order of the keys, until it answers `false`.
    fn scan(&self, table: Table, from: &[u8], visit: &mut Visit<'_>) -> Result<()>;

    /// The last key that is not after `key`.
    fn floor(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;
}

/// Reads a record, if the key has one.
pub(crate) fn find<T: Record>(rows: &dyn Rows, table: Table, key: &[u8]) -> Result<Option<T>> {
    rows.get(table, key)?.map(|bytes| T::decode(&bytes)).transpose()
}

type RedbTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A read transaction: sees one commit, and keeps what that commit names from being overwritten.
pub(crate) struct ReadTxn {
    // Fields drop in this order: the tables, the transaction, then the pin on the pages they read.
    tables: [OnceLock<RedbTable>; Table::ALL.len()],
    txn: Option<ReadTransaction>,
    /// The rows that lie over those tables.
    recent: Arc<Recent>,
    container: Arc<Container>,
    pin: Arc<Pin>,
}

impl std::fmt::Debug for ReadTxn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadTxn").finish_non_exhaustive()
    }
}

impl ReadTxn {
    /// Begins to read the last commit.
    pub(crate) fn begin(file: &OpenFile) -> Result<Self> {
        let started = Instant::now();
        loop {
            let (mut begun, epoch) = Self::begin_redb(file)?;
            if let Some(recent) = begun.container.recent(epoch)? {
                begun.recent = recent;
                return Ok(begun);
            }
            // redb has committed in between.
            if started.elapsed() > PATIENCE {
                return Err(Error::corrupt("write-ahead log", 0, format!("it is not of epoch {epoch}")));
            }
        }
    }

    /// Begins to read redb's last commit, without the log of its epoch.
    fn begin_redb(file: &OpenFile) -> Result<(Self, u64)> {
        let container = Arc::clone(&file.container);
        container.check_process()?;
        let pin = Arc::new(container.pin());
        let db = file.db()?;
        let known = container.epoch_in_force();
        let txn = guarded(&container, "read", || match db {
            Db::Writer(db) => db.begin_read(),
            Db::Reader(db) => db.begin_read(),
        })?;
        // Nothing that redb has committed in between would leave it in force.
        let epoch = match known.filter(|_| container.epoch_in_force() == known) {
            Some(epoch) => epoch,
            None => guarded(&container, "read", || storage::epoch(&txn))?,
        };
        let recent = Arc::default();
        Ok((ReadTxn { tables: Default::default(), txn: Some(txn), recent, container, pin }, epoch))
    }

    /// What keeps the blobs that the commit names, which may be kept for longer than the transaction.
    pub(crate) fn pin(&self) -> &Arc<Pin> {
        &self.pin
    }

    /// The container that it reads.
    pub(crate) fn container(&self) -> &Arc<Container> {
        &self.container
    }

    fn table(&self, table: Table) -> Result<&RedbTable> {
        self.container.check_process()?;
        let cell = self.tables.get(table as usize).ok_or_else(|| table.damage(&[], "it has no place"))?;
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let Some(txn) = &self.txn else { return Err(crate::Error::invalid("snapshot", "it has ended")) };
        let open = guarded(&self.container, "read", || txn.open_table(table.definition()))?;
        Ok(cell.get_or_init(|| open))
    }

    /// As [`Rows::scan`], but rows that are damaged are given to `visit`, too.
    pub(crate) fn scan_all(&self, table: Table, from: &[u8], visit: &mut VisitAll<'_>) -> Result<()> {
        Layers::new(&self.container, table, &[&self.recent], self.table(table)?).scan(from, visit)
    }

    /// Reads a record, if the key has one.
    pub(crate) fn find<T: Record>(&self, table: Table, key: &[u8]) -> Result<Option<T>> {
        find(self, table, key)
    }
}

impl Drop for ReadTxn {
    fn drop(&mut self) {
        let (txn, tables) = (self.txn.take(), std::mem::take(&mut self.tables));
        if !self.container.is_ours() {
            std::mem::forget((txn, tables));
            return;
        }
        let _ = guarded(&self.container, "end reading", || {
            drop((tables, txn));
            Ok::<_, redb::Error>(())
        });
    }
}

impl Rows for ReadTxn {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Layers::new(&self.container, table, &[&self.recent], self.table(table)?).get(key)
    }

    fn scan(&self, table: Table, from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.scan_all(table, from, &mut |key, value| visit(key, value?))
    }

    fn floor(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Layers::new(&self.container, table, &[&self.recent], self.table(table)?).floor(key)
    }
}
