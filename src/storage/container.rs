//! The open file: its superblock, its free space, and who may still read which state.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::extents::{FreeSpace, Run, sort_disjoint};
use super::file::RawFile;
use super::header::{HEADER_LEN, READER_BASE};
use super::layout::{
    DATA_OFFSET, DATA_PAGE, PAGE_BYTES, Preamble, SUPERBLOCK_A_OFFSET, SUPERBLOCK_B_OFFSET, SUPERBLOCK_LEN,
};
use super::manifest::Unsynced;
use super::map::process;
use super::open::Settings;
use super::pages::{Place, StreamMap};
use super::stream::SumPage;
use super::superblock::{Features, GENERATION_OFFSET, Superblock};
use super::wal::Wal;
use crate::codec::u64_at;
use crate::error::{Error, Result};

/// How long a follower waits for a superblock that is being written.
const FOLLOWER_PATIENCE: Duration = Duration::from_secs(1);

/// What this handle may do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Holds, or is about to take, the writer lock.
    Writer,
    /// Follows the commits of whoever writes.
    Follower,
}

/// How the pages of the file are used, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// The length of the file.
    pub file: u64,
    /// Pages of the catalog's stream.
    pub stream: u64,
    /// Free pages, to be used next.
    pub free: u64,
    /// Pages that become free when older snapshots end.
    pub pending: u64,
}

/// A deliberate mistake, by which the crash tests prove that they would notice one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sabotage {
    #[default]
    None,
    /// Write the map only after the sync that should make it durable.
    MapAfterSync,
    /// Move an extent with one sync instead of two.
    MoveWithOneSync,
    /// Leave the first sync of a commit out, and the manifest too.
    PublishWithoutManifest,
    /// Write records of the log without making them durable.
    AppendWithoutSync,
}

/// What changes when the writer writes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) generation: u64,
    pub(super) features: Features,
    /// The map differs from the last superblock written.
    pub(super) dirty: bool,
    pub(super) space: FreeSpace,
    /// Runs taken out of the map, to be freed after the superblock that does so is durable.
    pub(super) unmapped: Vec<Run>,
    /// Checksum pages that differ from the file.
    pub(super) dirty_sums: BTreeSet<u64>,
    pub(super) unsynced: Unsynced,
}

/// One open file.
#[derive(Debug)]
pub(crate) struct Container {
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn RawFile>,
    pub(super) preamble: Preamble,
    pub(super) role: Role,
    process: u32,
    /// Whether the writer notice is ours to take back.
    pub(super) noticed: AtomicBool,
    poisoned: AtomicBool,
    /// `None` until the first look at the superblock, which redb's first question brings about, after it has locked.
    pub(super) map: RwLock<Option<Arc<StreamMap>>>,
    pub(super) state: Mutex<State>,
    /// The writer's checksum pages.
    pub(super) sums: RwLock<HashMap<u64, Arc<SumPage>>>,
    /// redb's header as last read or written.
    pub(super) header: Mutex<[u8; HEADER_LEN]>,
    pub(super) pins: Mutex<BTreeMap<u64, usize>>,
    pub(super) wal: Mutex<Wal>,
    committed: AtomicU64,
    pub(super) sync: bool,
    pub(super) sabotage: Sabotage,
}

/// Takes a lock whose holders leave nothing half done.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Container {
    /// Wraps a file whose preamble was read; nothing else is read yet.
    pub(crate) fn new(
        path: PathBuf,
        file: Box<dyn RawFile>,
        preamble: Preamble,
        role: Role,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Container {
            path,
            file,
            preamble,
            role,
            process: process(),
            noticed: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            map: RwLock::new(None),
            state: Mutex::new(State {
                generation: 0,
                features: Features::default(),
                dirty: false,
                space: FreeSpace::new(DATA_PAGE),
                unmapped: Vec::new(),
                dirty_sums: BTreeSet::new(),
                unsynced: Unsynced::default(),
            }),
            sums: RwLock::default(),
            header: Mutex::new([0; HEADER_LEN]),
            pins: Mutex::default(),
            wal: Mutex::default(),
            committed: AtomicU64::new(0),
            sync: settings.sync,
            sabotage: settings.sabotage,
        })
    }

    /// The path it was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What identifies the file.
    pub(crate) fn preamble(&self) -> Preamble {
        self.preamble
    }

    pub(super) fn io(&self, op: &'static str) -> impl Fn(io::Error) -> Error + '_ {
        move |source| match source.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => Error::Io { op, path: self.path.clone(), source },
        }
    }

    /// Refuses to go on in a forked child, whose locks and threads are its parent's.
    pub(crate) fn check_process(&self) -> Result<()> {
        let now = process();
        if now == self.process {
            return Ok(());
        }
        Err(Error::Unavailable {
            feature: "a store opened before fork",
            reason: format!(
                "it belongs to process {}, this is process {now}; open the file again",
                self.process
            ),
        })
    }

    /// Whether this process opened the file.
    pub(crate) fn is_ours(&self) -> bool {
        process() == self.process
    }

    /// Refuses to go on after a failed write.
    pub(crate) fn check_poison(&self) -> Result<()> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned { path: self.path.clone() });
        }
        Ok(())
    }

    /// Passes a result of writing on, and remembers a failure for ever.
    pub(super) fn poisoning<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
        result
    }

    /// The map, read from the file at the first call.
    pub(super) fn map(&self) -> io::Result<Arc<StreamMap>> {
        if let Some(map) = &*self.map.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(map));
        }
        self.load().map_err(io::Error::other)
    }

    pub(super) fn set_map(&self, map: StreamMap) -> Arc<StreamMap> {
        let map = Arc::new(map);
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&map));
        map
    }

    /// Reads the superblocks and takes the newer.
    pub(super) fn load(&self) -> Result<Arc<StreamMap>> {
        if self.role == Role::Writer {
            self.file.drop_cached(0, DATA_OFFSET).map_err(self.io("read"))?;
        }
        let block = self.newest_superblock()?;
        let map = StreamMap::from_superblock(&block)?;
        let file_pages = self.file.len().map_err(self.io("read"))?.div_ceil(PAGE_BYTES);
        let end = map.runs().iter().map(|run| run.end()).fold(file_pages, u64::max);
        if self.role == Role::Writer {
            self.forget_unclean(&map).map_err(self.io("read"))?;
            self.withdraw_incomplete(&map).map_err(self.io("recover"))?;
        }
        self.check_floor(&map, block.txn_floor)?;
        let mut state = hold(&self.state);
        if state.generation == 0 {
            state.space = FreeSpace::new(end.max(DATA_PAGE));
        }
        state.generation = block.generation;
        state.features = block.features;
        // The first sync of a writer writes a superblock, whatever else it writes: a failed sync before it is not cured.
        state.dirty = self.role == Role::Writer;
        Ok(self.set_map(map))
    }

    /// After a failed sync the system keeps showing pages that never reached the disk, and calls them clean. So a writer
    /// that opens a file that was not closed reads the stream from the disk again. Blobs are checked when they are used.
    fn forget_unclean(&self, map: &StreamMap) -> io::Result<()> {
        if let Place::Mapped { physical, .. } = map.find(0) {
            self.file.drop_cached(physical * PAGE_BYTES, PAGE_BYTES)?;
        }
        if super::header::is_unclean(&self.read_header(map)?) {
            for run in map.runs() {
                self.file.drop_cached(run.start * PAGE_BYTES, run.pages * PAGE_BYTES)?;
            }
        }
        Ok(())
    }

    fn newest_superblock(&self) -> Result<Superblock> {
        let started = Instant::now();
        loop {
            match self.read_superblocks() {
                Err(Error::Corrupt { .. })
                    if self.role == Role::Follower && started.elapsed() < FOLLOWER_PATIENCE =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                result => return result,
            }
        }
    }

    fn read_superblocks(&self) -> Result<Superblock> {
        let mut newest: Option<Superblock> = None;
        let mut fault = None;
        for (offset, name) in [(SUPERBLOCK_A_OFFSET, "superblock A"), (SUPERBLOCK_B_OFFSET, "superblock B")] {
            let mut slot = vec![0; SUPERBLOCK_LEN];
            self.file.read_at(&mut slot, offset).map_err(self.io("read"))?;
            match Superblock::decode(&slot) {
                Ok(block) if block.uuid != self.preamble.uuid => {
                    let detail = format!("uuid {} expected, {} found", self.preamble.uuid, block.uuid);
                    fault = Some(Error::corrupt(name, offset, detail));
                }
                Ok(block) if newest.as_ref().is_none_or(|n| n.generation < block.generation) => {
                    newest = Some(block);
                }
                Ok(_) => {}
                Err(Error::Corrupt { offset: within, detail, .. }) => {
                    fault = Some(Error::corrupt(name, offset + within, detail));
                }
                Err(other) => return Err(other),
            }
        }
        newest.ok_or_else(|| {
            fault.unwrap_or_else(|| Error::corrupt("superblock", SUPERBLOCK_A_OFFSET, "none is valid"))
        })
    }

    /// Verifies what stands at the head of the file: preamble, superblocks (one may be torn, it is the next to be
    /// written), redb's header, the log.
    pub(crate) fn check_head(&self) -> Result<()> {
        super::layout::read_preamble(&*self.file, &self.path)?;
        let map = StreamMap::from_superblock(&self.newest_superblock()?)?;
        self.read_header(&map).map_err(self.io("read"))?;
        self.check_wal()
    }

    /// Refuses a redb header older than the one that was durable when the superblock was written.
    fn check_floor(&self, map: &StreamMap, floor: u64) -> Result<()> {
        let header = self.read_header(map).map_err(self.io("read"))?;
        match super::header::newest_transaction(&header) {
            Some(found) if found < floor => Err(Error::corrupt(
                "catalog header",
                0,
                format!("transaction {floor} or later expected, {found} found"),
            )),
            _ => Ok(()),
        }
    }

    /// A follower's look whether there is a newer map.
    pub(super) fn follow(&self) -> Result<Arc<StreamMap>> {
        let mut newest = 0;
        for offset in [SUPERBLOCK_A_OFFSET, SUPERBLOCK_B_OFFSET] {
            let mut start = [0; GENERATION_OFFSET + 8];
            self.file.read_at(&mut start, offset).map_err(self.io("read"))?;
            newest = newest.max(u64_at(&start, GENERATION_OFFSET).unwrap_or(0));
        }
        let known = hold(&self.state).generation;
        match &*self.map.read().unwrap_or_else(PoisonError::into_inner) {
            Some(map) if newest == known => return Ok(Arc::clone(map)),
            _ => {}
        }
        self.load()
    }

    /// Looks before locking: refuses what must not be opened, says whether it may be written. A superblock that is
    /// damaged is judged later, under the lock.
    pub(super) fn refuse_unreadable(&self) -> Result<bool> {
        match self.newest_superblock() {
            Ok(block) if block.stream_len == 0 => {
                Err(Error::corrupt("superblock", 0, "the catalog is empty: the file was not created whole"))
            }
            Ok(block) => block.features.writable(),
            Err(Error::Corrupt { .. }) => Ok(true),
            Err(other) => Err(other),
        }
    }

    /// Lets every later write fail.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    /// Tells which runs the blobs occupy, so that the rest can be used.
    ///
    /// # Errors
    /// As [`Container::check_disjoint`].
    pub(crate) fn attach(&self, blobs: &[Run]) -> Result<()> {
        let occupied = self.occupied(blobs)?;
        let committed = self.committed();
        hold(&self.state).space.attach(&occupied, DATA_PAGE, committed);
        Ok(())
    }

    /// Verifies that superblocks, extents and blobs do not overlap.
    ///
    /// # Errors
    /// `Corrupt` if two of them share a page, or a blob lies past the end of the file.
    pub(crate) fn check_disjoint(&self, blobs: &[Run]) -> Result<()> {
        self.occupied(blobs).map(drop)
    }

    fn occupied(&self, blobs: &[Run]) -> Result<Vec<Run>> {
        let map = self.map().map_err(self.io("read"))?;
        let mut runs: Vec<(Run, &'static str)> =
            vec![(Run { start: 0, pages: DATA_PAGE }, "head of the file")];
        runs.extend(map.runs().into_iter().map(|run| (run, "extent")));
        runs.extend(blobs.iter().map(|&run| (run, "blob")));
        sort_disjoint(&mut runs)?;
        let file_pages = self.file.len().map_err(self.io("read"))?.div_ceil(PAGE_BYTES);
        if let Some(blob) = blobs.iter().find(|blob| blob.end() > file_pages) {
            let detail = format!("pages {}..{} of a file of {file_pages} pages", blob.start, blob.end());
            return Err(Error::corrupt("blob", blob.start * PAGE_BYTES, detail));
        }
        Ok(runs.into_iter().map(|(run, _)| run).collect())
    }

    /// Tells that redb has committed: what earlier commits dropped may be free now.
    pub(crate) fn note_commit(&self) {
        let now = super::header::durable_transaction(&*hold(&self.header)).unwrap_or(0);
        let _pins = hold(&self.pins);
        self.committed.store(now, Ordering::Release);
    }

    /// The last transaction known to be committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Frees what no reader of this or another process can see any more.
    pub(crate) fn ripen(&self) -> Result<()> {
        let committed = self.committed();
        let oldest_pin = hold(&self.pins).keys().next().copied();
        hold(&self.state).space.ripen(|transaction| {
            if transaction > committed || oldest_pin.is_some_and(|pin| pin < transaction) {
                return Ok(false);
            }
            let before = (Bound::Included(READER_BASE), Bound::Excluded(READER_BASE + transaction));
            let elsewhere =
                transaction > 0 && self.file.locked_elsewhere(before).map_err(self.io("query locks of"))?;
            Ok(!elsewhere)
        })
    }

    /// Takes `most` pages for a blob, or fewer where these are free, but `least`.
    pub(super) fn allocate(&self, least: u64, most: u64) -> Result<Run> {
        hold(&self.state).space.allocate_within(least, most)
    }

    /// Takes pages wholly below `limit`, if there are any.
    pub(crate) fn allocate_below(&self, pages: u64, limit: u64) -> Option<Run> {
        hold(&self.state).space.allocate_below(pages, limit)
    }

    /// Takes pages past everything else.
    pub(crate) fn allocate_at_end(&self, pages: u64) -> Result<Run> {
        hold(&self.state).space.allocate_at_end(pages)
    }

    /// The free runs, ascending.
    pub(crate) fn free_runs(&self) -> Vec<Run> {
        hold(&self.state).space.free_runs().collect()
    }

    /// The extents that may be moved.
    pub(crate) fn movable_extents(&self) -> Result<Vec<Run>> {
        Ok(self.map().map_err(self.io("read"))?.movable())
    }

    /// Gives back pages that no commit has named; in a forked child, where they are not ours, does nothing.
    pub(crate) fn release(&self, run: Run) {
        if self.is_ours() {
            hold(&self.state).space.release(run);
        }
    }

    /// Gives back the pages of a blob that the transaction just committed has dropped.
    pub(crate) fn retire(&self, run: Run) {
        let committed = self.committed();
        hold(&self.state).space.release_after(run, committed);
    }

    /// Cuts free pages off the end of the file.
    pub(crate) fn trim(&self) -> Result<()> {
        self.check_poison()?;
        self.ripen()?;
        // Nobody takes pages at the end, to write them there, before the file is shorter.
        let mut state = hold(&self.state);
        let end = state.space.trim() * PAGE_BYTES;
        if self.file.len().map_err(self.io("read"))? > end {
            self.poisoning(self.file.set_len(end)).map_err(self.io("truncate"))?;
        }
        Ok(())
    }

    /// How the file is used.
    pub(crate) fn occupancy(&self) -> Result<Occupancy> {
        let stream = self.map().map_err(self.io("read"))?.mapped_pages() * PAGE_BYTES;
        let file = self.file.len().map_err(self.io("read"))?;
        let state = hold(&self.state);
        let free = state.space.free_pages() * PAGE_BYTES;
        Ok(Occupancy { file, stream, free, pending: state.space.pending_pages() * PAGE_BYTES })
    }
}
