//! A file in memory that records what is done to it, for the crash tests.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rkyv::util::AlignedVec;

use super::file::RawFile;
use super::map::Bytes;
use crate::codec::{to_u64, to_usize};

/// One thing done to the file.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Bytes written at an offset.
    Write(u64, Vec<u8>),
    /// Bytes written at an offset, durable when the next thing is done.
    WriteSynced(u64, Vec<u8>),
    /// A new length.
    SetLen(u64),
    /// Everything before is durable.
    Sync,
    /// The workload says that this many transactions are committed.
    Mark(usize),
}

/// Applies one operation to an image of the file.
pub(crate) fn apply(image: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write(offset, data) | Op::WriteSynced(offset, data) => {
            let (start, end) = (to_usize(*offset), to_usize(*offset) + data.len());
            if image.len() < end {
                image.resize(end, 0);
            }
            image[start..end].copy_from_slice(data);
        }
        Op::SetLen(len) => image.resize(to_usize(*len), 0),
        Op::Sync | Op::Mark(_) => {}
    }
}

/// What a [`RecordingFile`] holds; shared with the test that made it.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    /// The bytes now.
    pub(crate) image: Vec<u8>,
    /// Everything done, in order, if that is wanted.
    pub(crate) ops: Option<Vec<Op>>,
    /// After how many more writes writing fails, if it is to fail.
    pub(crate) fail_after: Option<usize>,
    /// Whether the next write fails, and no other.
    pub(crate) fail_once: bool,
    /// The name of the thread in which writing fails.
    pub(crate) fail_in: Option<&'static str>,
}

/// A file in memory; locks are granted to everyone.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordingFile(Arc<Mutex<Recording>>);

impl RecordingFile {
    /// A file that holds `image`.
    pub(crate) fn new(image: Vec<u8>) -> Self {
        RecordingFile(Arc::new(Mutex::new(Recording { image, ..Recording::default() })))
    }

    /// Keeps what is done from here on.
    pub(crate) fn record(&self) {
        self.recording().ops = Some(Vec::new());
    }

    /// Notes that `count` transactions are committed.
    pub(crate) fn mark(&self, count: usize) {
        if let Some(ops) = &mut self.recording().ops {
            ops.push(Op::Mark(count));
        }
    }

    /// Takes what was done.
    pub(crate) fn take_ops(&self) -> Vec<Op> {
        self.recording().ops.take().unwrap_or_default()
    }

    /// The recording, locked.
    pub(crate) fn recording(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, op: Op) -> io::Result<()> {
        let mut recording = self.recording();
        if std::mem::take(&mut recording.fail_once) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if recording.fail_in.is_some() && recording.fail_in == std::thread::current().name() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match recording.fail_after {
            Some(0) => return Err(io::ErrorKind::StorageFull.into()),
            Some(n) => recording.fail_after = Some(n - 1),
            None => {}
        }
        apply(&mut recording.image, &op);
        if let Some(ops) = &mut recording.ops {
            ops.push(op);
        }
        Ok(())
    }
}

impl RawFile for RecordingFile {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let recording = self.recording();
        let start = to_usize(offset);
        let bytes = recording.image.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.act(Op::Write(offset, data.to_vec()))
    }

    fn write_synced(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.act(Op::WriteSynced(offset, data.to_vec()))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(to_u64(self.recording().image.len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.act(Op::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.act(Op::Sync)
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = AlignedVec::with_capacity(len);
        bytes.resize(len, 0);
        self.read_at(&mut bytes, offset)?;
        Ok(Bytes::Owned(bytes))
    }

    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }
}
