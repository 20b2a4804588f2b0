//! What we read of redb's own header: the number of the last committed transaction; a test pins the offsets.

use crate::codec::u64_at;

/// The bytes of redb's header: super-header and two commit slots.
pub(crate) const HEADER_LEN: usize = 320;
const MAGIC: &[u8] = b"redb\x1a\n\xa9\r\n";
const FLAGS_OFFSET: usize = MAGIC.len();
const PRIMARY_IS_SLOT_1: u8 = 1;
const RECOVERY_REQUIRED: u8 = 2;
const PRIMARY_UNFLUSHED: u8 = 8;
const SLOT_0_OFFSET: usize = 64;
const SLOT_LEN: usize = 128;
const TRANSACTION_OFFSET: usize = 104;

/// Where redb's lock bytes begin; the byte of a reader of transaction `t` is `READER_BASE + t`.
const LOCK_BASE: u64 = 1 << 62;
/// The first of the bytes that readers hold, one per transaction.
pub(crate) const READER_BASE: u64 = LOCK_BASE + 1024;

/// Whether the last writer did not close the file.
pub(crate) fn is_unclean(header: &[u8]) -> bool {
    header.get(FLAGS_OFFSET).is_some_and(|flags| flags & (RECOVERY_REQUIRED | PRIMARY_UNFLUSHED) != 0)
}

/// The last transaction that is certainly durable, or `None` without a header.
pub(crate) fn durable_transaction(header: &[u8]) -> Option<u64> {
    let flags = *header.get(FLAGS_OFFSET)?;
    let primary = usize::from(flags & PRIMARY_IS_SLOT_1 != 0);
    transaction(header, if flags & PRIMARY_UNFLUSHED == 0 { primary } else { 1 - primary })
}

/// The last transaction that may be durable, or `None` without a header: a writer that died before it could say so may
/// well have made it so.
pub(crate) fn newest_transaction(header: &[u8]) -> Option<u64> {
    let flags = *header.get(FLAGS_OFFSET)?;
    transaction(header, usize::from(flags & PRIMARY_IS_SLOT_1 != 0))
}

/// Whether a commit is written into the slot that does not count yet: its pages come before it counts.
pub(crate) fn awaits_publication(header: &[u8]) -> bool {
    let Some(&flags) = header.get(FLAGS_OFFSET) else { return false };
    let primary = usize::from(flags & PRIMARY_IS_SLOT_1 != 0);
    flags & PRIMARY_UNFLUSHED == 0 && transaction(header, 1 - primary) > transaction(header, primary)
}

/// The header with the commit before the newest as the one that counts; `None` if there is none.
pub(crate) fn withdrawn(header: &[u8; HEADER_LEN]) -> Option<[u8; HEADER_LEN]> {
    let mut before = *header;
    let flags = before.get_mut(FLAGS_OFFSET)?;
    *flags = (*flags ^ PRIMARY_IS_SLOT_1) & !PRIMARY_UNFLUSHED;
    (newest_transaction(&before)? < newest_transaction(header)?).then_some(before)
}

fn transaction(header: &[u8], slot: usize) -> Option<u64> {
    if !header.starts_with(MAGIC) {
        return None;
    }
    u64_at(header, SLOT_0_OFFSET + slot * SLOT_LEN + TRANSACTION_OFFSET)
}

#[cfg(test)]
mod tests {
    use super::super::file::{LockKind, RawFile, RealFile, Wait};
    use super::*;
    use std::ops::Bound;

    /// redb moving these bytes would show here first.
    #[test]
    fn redb_keeps_its_header_and_lock_bytes_where_we_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plain.redb");
        let table: redb::TableDefinition<u64, u64> = redb::TableDefinition::new("t");
        let mut builder = redb::Builder::new();
        builder.set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
        let db = builder.create(&path).unwrap();
        let mut last = 0;
        for n in 0..5 {
            let mut txn = db.begin_write().unwrap();
            txn.set_two_phase_commit(true);
            txn.open_table(table).unwrap().insert(n, n).unwrap();
            txn.commit().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let now = durable_transaction(&bytes).unwrap();
            assert!(now > last && now < 64, "transaction {now} after {last}");
            assert!(is_unclean(&bytes));
            last = now;
        }
        let reader = builder.open_read_only(&path).unwrap();
        let snapshot = redb::ReadableDatabase::begin_read(&reader).unwrap();
        let other =
            RealFile::new(std::fs::File::options().read(true).write(true).open(&path).unwrap()).unwrap();
        let byte = |n| (Bound::Included(READER_BASE + n), Bound::Included(READER_BASE + n));
        let held: Vec<u64> = (0..64).filter(|&n| other.locked_elsewhere(byte(n)).unwrap()).collect();
        assert_eq!(held, [last]);
        assert!(!other.lock(byte(last), LockKind::Exclusive, Wait::No).unwrap());
        drop((snapshot, reader, db));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!is_unclean(&bytes));
        assert_eq!(durable_transaction(b"nothing"), None);
    }
}
