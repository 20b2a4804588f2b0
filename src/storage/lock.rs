//! The writer notice: who writes, told to those who may not; advisory, trusted by nobody.

use std::sync::atomic::Ordering;

use super::container::Container;
use super::layout::{NOTICE_OFFSET, PAGE_LEN};
use crate::codec::{Reader, to_usize};

const MAGIC: [u8; 8] = *b"vdbwrite";
const HOST_MAX: usize = 255;

/// Writes who we are. A failure is of no consequence: the notice only words a message.
pub(super) fn write_notice(container: &Container) {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().filter(|c| !c.is_control()).take(HOST_MAX / 4).collect();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let mut page = Vec::with_capacity(PAGE_LEN);
    page.extend_from_slice(&MAGIC);
    page.extend_from_slice(&u64::from(std::process::id()).to_le_bytes());
    page.extend_from_slice(&since.to_le_bytes());
    page.extend_from_slice(&u64::try_from(host.len()).unwrap_or(0).to_le_bytes());
    page.extend_from_slice(host.as_bytes());
    page.resize(PAGE_LEN, 0);
    let _ = container.file.write_at(&page, NOTICE_OFFSET);
    container.noticed.store(true, Ordering::Release);
}

/// Takes our notice back; a writer that did not get the lock leaves the holder's in place.
pub(super) fn clear_notice(container: &Container) {
    if !container.noticed.swap(false, Ordering::AcqRel) {
        return;
    }
    let _ = container.file.write_at(&[0; PAGE_LEN], NOTICE_OFFSET);
}

/// Who holds the writer lock, as far as the notice tells.
pub(super) fn holder(container: &Container) -> String {
    read_notice(container).unwrap_or_else(|| "another process".to_owned())
}

fn read_notice(container: &Container) -> Option<String> {
    let mut page = vec![0; PAGE_LEN];
    container.file.read_at(&mut page, NOTICE_OFFSET).ok()?;
    let mut reader = Reader::new("writer notice", &page);
    if reader.array::<8>().ok()? != MAGIC {
        return None;
    }
    let (process, since) = (reader.u64().ok()?, reader.u64().ok()?);
    let len = to_usize(reader.u64().ok()?);
    let host = reader.bytes(len).ok().filter(|_| len <= HOST_MAX)?;
    let host: String = String::from_utf8_lossy(host).chars().filter(|c| !c.is_control()).collect();
    let since = i64::try_from(since).ok().and_then(|s| jiff::Timestamp::from_second(s).ok())?;
    Some(format!("process {process} on {host} since {since}"))
}
