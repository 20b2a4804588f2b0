//! The write-ahead log: a small commit appends its rows to one run of the file and syncs that alone.
//!
//! redb's pages lie all over the stream; a sync of a commit's pages takes as long as several of one page. So a commit of few
//! rows does not go to redb: it is one record in the log. What the log holds is read with it into memory, where it lies over
//! redb's tables, until a commit of redb takes all of it over and begins the log anew, in a new epoch. redb keeps the
//! epoch that its state belongs to, in a table of its own: a record of any other does not count.
//!
//! A record is durable before it is published, and published before anybody sees it. The records themselves tell a recovery
//! what is durable; how far they are published, which is written without a sync, tells it what must be.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};
use uuid::Uuid;

use super::container::{Container, Role, Sabotage, hold};
use super::layout::{PAGE_BYTES, PAGE_LEN};
use super::pages::{Place, WAL_BASE};
use super::recent::Recent;
use crate::checksum::crc32;
use crate::codec::{Reader, to_u64, to_usize, u32_at};
use crate::error::{Error, Result};

/// The pages of the log: the first tells how far it goes.
pub(crate) const WAL_PAGES: u64 = 64;
/// Where the first record begins, in bytes.
const RECORDS_OFFSET: u64 = PAGE_BYTES;
/// Records begin at multiples of this, so that none shares a sector with another.
const RECORD_ALIGN: u64 = 512;
/// Length, checksum, epoch.
const RECORD_HEAD_LEN: usize = 16;
/// The most memory for the rows of a log, in bytes.
const RECENT_BYTES_MAX: usize = 1 << 20;
const MAGIC: [u8; 8] = *b"vdbwalog";
const HEAD_CRC_OFFSET: usize = MAGIC.len() + 2 * size_of::<u64>();
const HEAD_LEN: usize = HEAD_CRC_OFFSET + size_of::<u32>();
/// How long a reader waits for a head that is being written, and for one that publishes a record, before it takes the writer for
/// dead.
const PATIENCE: Duration = Duration::from_millis(20);
/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// redb's table of the epoch.
const EPOCH_TABLE: TableDefinition<'static, &'static str, u64> = TableDefinition::new("log");
const EPOCH_KEY: &str = "epoch";

/// The epoch of the log that belongs to the state that `txn` reads; 0 for a file without a log.
pub(crate) fn epoch(txn: &ReadTransaction) -> std::result::Result<u64, redb::Error> {
    match txn.open_table(EPOCH_TABLE) {
        Ok(table) => Ok(table.get(EPOCH_KEY)?.map_or(0, |epoch| epoch.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Lets the log begin anew with the commit of `txn`.
pub(crate) fn set_epoch(txn: &WriteTransaction, epoch: u64) -> std::result::Result<(), redb::Error> {
    txn.open_table(EPOCH_TABLE)?.insert(EPOCH_KEY, epoch)?;
    Ok(())
}

/// What is known of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Wal {
    epoch: u64,
    /// redb is committing a state of the next epoch.
    is_ending: bool,
    /// Where the next record begins.
    end: u64,
    /// The checksum of the record before, which that of the next covers.
    chain: u32,
    recent: Arc<Recent>,
}

impl Wal {
    fn new(epoch: u64, uuid: Uuid) -> Self {
        let chain = crc32(&[uuid.as_bytes()]);
        Wal { epoch, is_ending: false, end: RECORDS_OFFSET, chain, recent: Arc::default() }
    }

    /// The checksum of the next record.
    fn crc(&self, body: &[u8]) -> u32 {
        let len = to_u64(body.len());
        crc32(&[&self.chain.to_le_bytes(), &self.epoch.to_le_bytes(), &len.to_le_bytes(), body])
    }

    /// The next record.
    fn encode(&self, rows: &Recent) -> (Vec<u8>, u32) {
        let mut record = vec![0; RECORD_HEAD_LEN];
        rows.encode(&mut record);
        let (head, body) = record.split_at_mut(RECORD_HEAD_LEN);
        let crc = self.crc(body);
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let fields = [len.to_le_bytes(), crc.to_le_bytes()].concat();
        head.copy_from_slice(&[&*fields, &self.epoch.to_le_bytes()].concat());
        record.resize(to_usize(to_u64(record.len()).next_multiple_of(RECORD_ALIGN)), 0);
        (record, crc)
    }

    /// Takes over rows that a record of `len` bytes holds.
    fn advance(&mut self, rows: &Recent, len: u64, crc: u32) {
        Arc::make_mut(&mut self.recent).extend(rows);
        self.end += len.next_multiple_of(RECORD_ALIGN);
        self.chain = crc;
    }
}

/// The place of the log in the file, in bytes.
#[derive(Clone, Copy, Debug)]
struct Region {
    offset: u64,
    len: u64,
}

/// What the first page of the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    epoch: u64,
    /// Where the published records end.
    published: u64,
}

impl Head {
    fn encode(self) -> [u8; HEAD_LEN] {
        let fields = [&MAGIC[..], &self.epoch.to_le_bytes(), &self.published.to_le_bytes()].concat();
        let mut bytes = [0; HEAD_LEN];
        let (covered, crc) = bytes.split_at_mut(HEAD_CRC_OFFSET);
        covered.copy_from_slice(&fields);
        crc.copy_from_slice(&crc32(&[covered]).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEAD_LEN]) -> Result<Self> {
        let (covered, _) = bytes.split_at(HEAD_CRC_OFFSET);
        let (stored, computed) = (u32_at(bytes, HEAD_CRC_OFFSET).unwrap_or(0), crc32(&[covered]));
        if stored != computed {
            return Err(damaged(0, format!("checksum {stored:#010x} expected, {computed:#010x} found")));
        }
        let mut reader = Reader::new("head of the log", covered);
        if reader.array()? != MAGIC {
            return Err(damaged(0, "magic bytes differ".into()));
        }
        Ok(Head { epoch: reader.u64()?, published: reader.u64()? })
    }
}

fn damaged(offset: u64, detail: String) -> Error {
    Error::corrupt("write-ahead log", offset, detail)
}

/// A record that was published is not there.
fn missing(end: u64, published: u64) -> Error {
    damaged(end, format!("records up to byte {published} expected, a damaged one found"))
}

impl Container {
    /// Where the log is, if the file has one.
    fn wal_place(&self) -> Result<Option<Region>> {
        Ok(match self.map().map_err(self.io("read"))?.find(WAL_BASE) {
            Place::Mapped { physical, left } => {
                Some(Region { offset: physical * PAGE_BYTES, len: left * PAGE_BYTES })
            }
            Place::Hole { .. } => None,
        })
    }

    fn wal_region(&self) -> Result<Region> {
        self.wal_place()?.ok_or_else(|| damaged(0, "it has no place in the file".into()))
    }

    fn read_head(&self, region: Region) -> Result<Head> {
        let mut bytes = [0; HEAD_LEN];
        self.read_raw(&mut bytes, region.offset).map_err(self.io("read"))?;
        Head::decode(&bytes)
    }

    /// The same beside a writer, whose writing may just be seen in halves.
    fn read_head_patiently(&self, region: Region) -> Result<Head> {
        let started = Instant::now();
        loop {
            match self.read_head(region) {
                Err(Error::Corrupt { .. }) if started.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                result => return result,
            }
        }
    }

    fn write_head(&self, region: Region, head: Head) -> io::Result<()> {
        self.poisoning(self.file.write_at(&head.encode(), region.offset))
    }

    /// Reads the record at the end of what is known; `false` if there is none.
    fn read_record(&self, region: Region, wal: &mut Wal) -> Result<bool> {
        let left = to_usize(region.len.saturating_sub(wal.end));
        let mut head = [0; RECORD_HEAD_LEN];
        if left < RECORD_HEAD_LEN {
            return Ok(false);
        }
        self.read_raw(&mut head, region.offset + wal.end).map_err(self.io("read"))?;
        let mut reader = Reader::new("record of the log", &head);
        let (len, crc, epoch) = (to_usize(reader.u32()?.into()), reader.u32()?, reader.u64()?);
        if epoch != wal.epoch || len == 0 || len > left - RECORD_HEAD_LEN {
            return Ok(false);
        }
        let mut body = vec![0; len];
        let offset = region.offset + wal.end + to_u64(RECORD_HEAD_LEN);
        self.read_raw(&mut body, offset).map_err(self.io("read"))?;
        if wal.crc(&body) != crc {
            return Ok(false);
        }
        let mut rows = Recent::default();
        rows.decode(&body)?;
        wal.advance(&rows, to_u64(RECORD_HEAD_LEN + len), crc);
        Ok(true)
    }

    /// Gives the file a log, if it has none; the commit of redb that is being made names its first epoch.
    pub(crate) fn make_wal(&self) -> Result<()> {
        self.check_poison()?;
        self.poisoning(self.map_wal()).map_err(self.io("write"))?;
        let head = Head { epoch: 0, published: RECORDS_OFFSET };
        self.write_head(self.wal_region()?, head).map_err(self.io("write"))
    }

    /// Reads the log of a file that is opened to be written: what is durable counts, published or not.
    ///
    /// What was published and is not there is an error, unless it is to be discarded: then the log ends before it, and what
    /// is returned says what was wrong.
    /// # Errors
    /// `Corrupt` if what was published is not there.
    pub(super) fn recover_wal(&self, epoch: u64, discards: bool) -> Result<Option<Error>> {
        let (mut wal, mut discarded) = (Wal::new(epoch, self.preamble.uuid), None);
        if epoch > 0 {
            let region = self.wal_region()?;
            self.file.drop_cached(region.offset, region.len).map_err(self.io("read"))?;
            let head = match self.read_head(region) {
                Err(error @ Error::Corrupt { .. }) if discards => {
                    discarded = Some(error);
                    None
                }
                head => Some(head?),
            };
            if let Some(head) = head.filter(|head| head.epoch > epoch) {
                let detail = format!("epoch {epoch} or earlier expected, {} found", head.epoch);
                return Err(damaged(0, detail));
            }
            while self.read_record(region, &mut wal)? {}
            let published =
                head.filter(|head| head.epoch == epoch).map_or(RECORDS_OFFSET, |head| head.published);
            if wal.end < published {
                let missing = missing(wal.end, published);
                if !discards {
                    return Err(missing);
                }
                discarded = Some(missing);
            }
            if wal.end > published {
                // Whoever wrote this may have died before it was durable.
                self.sync_blobs()?;
            }
            let found = Head { epoch, published: wal.end };
            if head != Some(found) {
                self.write_head(region, found).map_err(self.io("write"))?;
            }
        }
        *hold(&self.wal) = wal;
        Ok(discarded)
    }

    /// The rows that lie over the state of redb of this epoch; `None` if the log is of a later one, so that state must
    /// be read anew.
    pub(crate) fn recent(&self, epoch: u64) -> Result<Option<Arc<Recent>>> {
        if epoch == 0 {
            return Ok(Some(Arc::default()));
        }
        let mut wal = hold(&self.wal);
        if self.role == Role::Follower {
            return self.follow_wal(&mut wal, epoch);
        }
        Ok(match wal.epoch.cmp(&epoch) {
            std::cmp::Ordering::Equal => Some(Arc::clone(&wal.recent)),
            // A commit of redb has taken everything over, and nothing was written since.
            std::cmp::Ordering::Less => Some(Arc::default()),
            std::cmp::Ordering::Greater => None,
        })
    }

    /// What the log holds, and its epoch, for the one who may write.
    pub(crate) fn newest_rows(&self) -> (u64, Arc<Recent>) {
        let wal = hold(&self.wal);
        (wal.epoch, Arc::clone(&wal.recent))
    }

    fn follow_wal(&self, wal: &mut Wal, epoch: u64) -> Result<Option<Arc<Recent>>> {
        loop {
            let region = self.wal_region()?;
            let head = self.read_head_patiently(region)?;
            match head.epoch.cmp(&epoch) {
                std::cmp::Ordering::Greater => return Ok(None),
                std::cmp::Ordering::Less => return Ok(Some(Arc::default())),
                std::cmp::Ordering::Equal => {}
            }
            if wal.epoch != epoch || wal.end > head.published {
                *wal = Wal::new(epoch, self.preamble.uuid);
            }
            while wal.end < head.published && self.read_record(region, wal)? {}
            if wal.end == head.published {
                return Ok(Some(Arc::clone(&wal.recent)));
            }
            let end = std::mem::take(wal).end;
            // A log that begins anew says so before it is written.
            if self.read_head_patiently(region)?.epoch == epoch {
                return Err(missing(end, head.published));
            }
        }
    }

    /// Whether a record is there that nobody publishes: its writer died, and only the next one can tell that it is durable.
    pub(super) fn has_unpublished(&self, epoch: u64) -> Result<bool> {
        let started = Instant::now();
        while epoch > 0 && self.recent(epoch)?.is_some() {
            let known = hold(&self.wal).clone();
            let fresh = Wal::new(epoch, self.preamble.uuid);
            let mut next = if known.epoch == epoch { known } else { fresh };
            if !self.read_record(self.wal_region()?, &mut next)? {
                return Ok(false);
            }
            if started.elapsed() > PATIENCE {
                return Ok(true);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(false)
    }

    /// Commits rows: durable and visible. `false` if the log has no room for them, or there is none.
    ///
    /// Only whoever may write calls this, one at a time.
    pub(crate) fn append(&self, epoch: u64, rows: &Recent) -> Result<bool> {
        self.check_poison()?;
        if rows.is_empty() {
            // A record without rows would be the end of the log.
            return Ok(true);
        }
        let (record, crc, end) = {
            let wal = hold(&self.wal);
            if epoch == 0 || wal.epoch != epoch || wal.recent.bytes() + rows.bytes() > RECENT_BYTES_MAX {
                return Ok(false);
            }
            let (record, crc) = wal.encode(rows);
            (record, crc, wal.end)
        };
        let region = self.wal_region()?;
        let next = end + to_u64(record.len());
        if next > region.len {
            return Ok(false);
        }
        // Nobody waits for the disk with the lock.
        let at = region.offset + end;
        let is_plain = !self.sync || self.sabotage == Sabotage::AppendWithoutSync;
        let written =
            if is_plain { self.file.write_at(&record, at) } else { self.file.write_synced(&record, at) };
        self.poisoning(written).map_err(self.io("write"))?;
        self.write_head(region, Head { epoch, published: next }).map_err(self.io("write"))?;
        hold(&self.wal).advance(rows, to_u64(record.len()), crc);
        Ok(true)
    }

    /// Tells that redb is about to commit a state of the next epoch.
    pub(crate) fn end_epoch(&self) {
        hold(&self.wal).is_ending = true;
    }

    /// The epoch of redb's last commit, for the one who may write, and not while it commits. Cost: none.
    pub(crate) fn epoch_in_force(&self) -> Option<u64> {
        let wal = hold(&self.wal);
        (self.role == Role::Writer && !wal.is_ending).then_some(wal.epoch)
    }

    /// Begins the log anew, after the commit of redb that names the epoch and has all that was in it.
    pub(crate) fn restart_wal(&self, epoch: u64) -> Result<()> {
        let head = Head { epoch, published: RECORDS_OFFSET };
        self.write_head(self.wal_region()?, head).map_err(self.io("write"))?;
        *hold(&self.wal) = Wal::new(epoch, self.preamble.uuid);
        Ok(())
    }

    /// Verifies what the file has of the log, if it has one.
    pub(super) fn check_wal(&self) -> Result<()> {
        let Some(region) = self.wal_place()? else { return Ok(()) };
        let head = self.read_head_patiently(region)?;
        let mut wal = Wal::new(head.epoch, self.preamble.uuid);
        while wal.end < head.published {
            if self.read_record(region, &mut wal)? {
                continue;
            }
            // A writer may have begun the log anew meanwhile.
            let is_same = self.read_head_patiently(region)?.epoch == head.epoch;
            return if is_same { Err(missing(wal.end, head.published)) } else { Ok(()) };
        }
        Ok(())
    }
}

const _: () = assert!(HEAD_LEN <= PAGE_LEN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flip_in_a_head_or_a_record_is_seen() {
        let head = Head { epoch: 7, published: 8192 };
        let bytes = head.encode();
        assert_eq!(Head::decode(&bytes).unwrap(), head);
        for at in 0..bytes.len() {
            let mut bad = bytes;
            bad[at] ^= 0x20;
            assert!(Head::decode(&bad).is_err(), "flip at {at}");
        }
        let mut rows = Recent::default();
        rows.set(1, b"key", Some(Arc::from(&b"value"[..])));
        let wal = Wal::new(7, Uuid::nil());
        let (record, crc) = wal.encode(&rows);
        assert_eq!(to_u64(record.len()), RECORD_ALIGN);
        let len = to_usize(u32_at(&record, 0).unwrap().into());
        assert_eq!(wal.crc(&record[RECORD_HEAD_LEN..RECORD_HEAD_LEN + len]), crc);
        assert_ne!(Wal::new(8, Uuid::nil()).crc(&record[RECORD_HEAD_LEN..RECORD_HEAD_LEN + len]), crc);
        let mut after = Wal::new(7, Uuid::nil());
        after.advance(&rows, to_u64(record.len()), crc);
        assert_ne!(after.crc(&record[RECORD_HEAD_LEN..RECORD_HEAD_LEN + len]), crc);
    }
}
