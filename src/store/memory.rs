//! The accountant of memory: bytes are granted before they are allocated, and never more in all than the budget.
//!
//! Counted is anonymous memory. Mapped pages of the file are the system's, which takes them back when it needs them.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::vector::ask::Held;

/// What a thread takes for its stack and its share of the allocator, as far as it touches them, in bytes.
pub(super) const THREAD_BYTES: u64 = 256 << 10;
/// Outlines take at most this part of the memory budget.
const OUTLINE_PARTS: u64 = 16;

/// What memory is granted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    /// The page cache of the catalog.
    Catalog,
    /// Vectors that are not in a segment yet, in memory for searches.
    Tail,
    /// Outlines of vectors that have no index and are scanned again.
    Outlines,
    /// Sets of rows: dead ones, continuations, those that a check has found.
    Rows,
    /// What a write transaction collects, and the segments that it writes.
    Writing,
    /// Segments that are written by merges.
    Merging,
    /// Indexes that are built.
    Indexing,
    /// Graphs that are open, and what searches of them need.
    Graphs,
    /// What a search needs besides, its hits, and lists of values or of documents.
    Queries,
    /// Embedding models.
    Embedding,
    /// What an import has read and not yet added.
    Importing,
    /// Threads that stay.
    Threads,
    /// The full-text index: what is built and merged.
    Text,
}

impl Component {
    const ALL: [Component; 13] = [
        Component::Catalog,
        Component::Tail,
        Component::Outlines,
        Component::Rows,
        Component::Writing,
        Component::Merging,
        Component::Indexing,
        Component::Graphs,
        Component::Queries,
        Component::Embedding,
        Component::Importing,
        Component::Threads,
        Component::Text,
    ];

    fn name(self) -> &'static str {
        match self {
            Component::Catalog => "catalog",
            Component::Tail => "tail",
            Component::Outlines => "outlines",
            Component::Rows => "rows",
            Component::Writing => "writing",
            Component::Merging => "merging",
            Component::Indexing => "indexing",
            Component::Graphs => "graphs",
            Component::Queries => "queries",
            Component::Embedding => "embedding",
            Component::Importing => "importing",
            Component::Threads => "threads",
            Component::Text => "text",
        }
    }
}

/// The memory that a part of a store was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryShare {
    /// What it is for: `catalog`, `tail`, `outlines`, `rows`, `writing`, `merging`, `indexing`, `graphs`, `queries`, `embedding`,
    /// `importing`, `threads`, `text`.
    pub component: &'static str,
    /// Bytes granted now.
    pub bytes: u64,
    /// The most bytes granted at once since the store was opened.
    pub peak: u64,
}

/// The memory of a store against its budget, in bytes. What is granted is what may be allocated, not what is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// The most that may be granted.
    pub budget: u64,
    /// Granted now; the sum over the components.
    pub granted: u64,
    /// The most that was granted at once since the store was opened.
    pub peak: u64,
    /// Every component, in a fixed order.
    pub components: Vec<MemoryShare>,
}

#[derive(Debug, Default)]
struct Account {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Account {
    fn add(&self, bytes: u64) {
        let now = self.now.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.peak.fetch_max(now, Ordering::AcqRel);
    }
}

/// Grants memory up to a budget. It has no lock, so that a forked child can give back what its parent was granted.
#[derive(Debug)]
pub(super) struct Accountant {
    budget: u64,
    all: Account,
    parts: [Account; Component::ALL.len()],
}

impl Accountant {
    pub(super) fn new(budget: u64) -> Arc<Self> {
        Arc::new(Accountant { budget, all: Account::default(), parts: Default::default() })
    }

    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    /// What can still be granted.
    pub(super) fn left(&self) -> u64 {
        self.budget.saturating_sub(self.all.now.load(Ordering::Acquire))
    }

    /// What is granted for a component now.
    pub(super) fn granted(&self, component: Component) -> u64 {
        self.account(component).now.load(Ordering::Acquire)
    }

    /// Grants memory until what is returned is dropped.
    ///
    /// # Errors
    /// `Memory` that says what `what` needs and what is left.
    pub(super) fn grant(
        self: &Arc<Self>,
        component: Component,
        what: impl Display,
        bytes: u64,
    ) -> Result<Grant> {
        let mut grant = self.nothing(component);
        grant.grow(what, bytes)?;
        Ok(grant)
    }

    /// The memory of an outline, as long as all outlines take a small part of the budget.
    ///
    /// # Errors
    /// As [`Accountant::grant`].
    pub(super) fn outline(self: &Arc<Self>, bytes: u64) -> Result<Held> {
        let what = "an outline of vectors";
        let most = self.budget / OUTLINE_PARTS;
        let left = most.saturating_sub(self.granted(Component::Outlines));
        if bytes > left {
            return Err(Error::Memory { what: what.into(), needs: bytes, left });
        }
        Ok(Box::new(self.grant(Component::Outlines, what, bytes)?))
    }

    /// A grant of nothing, to grow.
    pub(super) fn nothing(self: &Arc<Self>, component: Component) -> Grant {
        Grant { accountant: Arc::clone(self), component, bytes: 0 }
    }

    fn take(&self, component: Component, bytes: u64) -> std::result::Result<(), u64> {
        let fits = |now: u64| now.checked_add(bytes).filter(|&sum| sum <= self.budget);
        match self.all.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(before) => {
                self.all.peak.fetch_max(before + bytes, Ordering::AcqRel);
                self.account(component).add(bytes);
                Ok(())
            }
            Err(now) => Err(self.budget.saturating_sub(now)),
        }
    }

    fn give_back(&self, component: Component, bytes: u64) {
        self.account(component).now.fetch_sub(bytes, Ordering::AcqRel);
        self.all.now.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn account(&self, component: Component) -> &Account {
        // As many accounts as components, in the order of their declaration.
        &self.parts[component as usize]
    }

    pub(super) fn usage(&self) -> MemoryUse {
        let share = |component: Component| {
            let account = self.account(component);
            MemoryShare {
                component: component.name(),
                bytes: account.now.load(Ordering::Acquire),
                peak: account.peak.load(Ordering::Acquire),
            }
        };
        let components: Vec<MemoryShare> = Component::ALL.into_iter().map(share).collect();
        MemoryUse {
            budget: self.budget,
            granted: components.iter().map(|share| share.bytes).sum(),
            peak: self.all.peak.load(Ordering::Acquire),
            components,
        }
    }
}

/// Memory that may be allocated, until this is dropped.
#[derive(Debug)]
pub(super) struct Grant {
    accountant: Arc<Accountant>,
    component: Component,
    bytes: u64,
}

impl Grant {
    /// What is granted.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Grants more.
    ///
    /// # Errors
    /// As [`Accountant::grant`]; what was granted before stays.
    pub(super) fn grow(&mut self, what: impl Display, bytes: u64) -> Result<()> {
        self.accountant.take(self.component, bytes).map_err(|left| Error::Memory {
            what: what.to_string(),
            needs: bytes,
            left,
        })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Grants so much in all, unless it is granted already.
    ///
    /// # Errors
    /// As [`Grant::grow`].
    pub(super) fn ensure(&mut self, what: impl Display, bytes: u64) -> Result<()> {
        self.grow(what, bytes.saturating_sub(self.bytes))
    }

    /// Grants so much in all; gives back what is more.
    ///
    /// # Errors
    /// As [`Grant::grow`].
    pub(super) fn resize(&mut self, what: impl Display, bytes: u64) -> Result<()> {
        if bytes > self.bytes {
            return self.grow(what, bytes - self.bytes);
        }
        self.accountant.give_back(self.component, self.bytes - bytes);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.accountant.give_back(self.component, self.bytes);
    }
}

/// The budget of a store that is not told one: a quarter of the memory there is, or half of what is free if that is less.
pub(super) fn default_budget() -> u64 {
    let (all, free) = machine();
    (all / 4).min(free / 2)
}

/// The memory of this machine, and what is available of it; those of the control group if that allows less.
fn machine() -> (u64, u64) {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit).max(1);
    let physical = info.totalram.saturating_mul(unit);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let available = available.map_or(info.freeram.saturating_mul(unit), |kib| kib * 1024);
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    group_files(&groups).into_iter().fold((physical, available), |(all, free), (limit, used)| {
        let read = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let Some(limit) = read(&limit) else { return (all, free) };
        let used = read(&used).unwrap_or(0).min(limit);
        (all.min(limit), if all <= limit { free } else { free.min(limit - used) })
    })
}

/// The files that say the limit and the use of the groups named in `/proc/self/cgroup` and of those around them.
fn group_files(groups: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, limit, used) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max", "memory.current")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
        } else {
            continue;
        };
        let mut path = path.trim_end_matches('/');
        loop {
            files.push((format!("{root}{path}/{limit}"), format!("{root}{path}/{used}")));
            let Some(end) = path.rfind('/') else { break };
            path = &path[..end];
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_what_it_needs_and_what_is_left() {
        let accountant = Accountant::new(1000);
        let first = accountant.grant(Component::Tail, "the tail", 600).unwrap();
        let error = accountant.grant(Component::Indexing, "building this segment", 401).unwrap_err();
        let Error::Memory { what, needs: 401, left: 400 } = &error else { panic!("{error:?}") };
        assert_eq!(what, "building this segment");
        let second = accountant.grant(Component::Indexing, "", 400).unwrap();
        assert_eq!((accountant.left(), second.bytes), (0, 400));
        drop(first);
        assert_eq!((accountant.left(), accountant.usage().peak), (600, 1000));
    }

    #[test]
    fn the_numbers_are_for_people() {
        let error =
            Error::Memory { what: "building this segment".into(), needs: 2_040_109_466, left: 429_496_730 };
        assert_eq!(error.to_string(), "building this segment needs 1.9 GiB, the budget leaves 409.6 MiB");
        let error = Error::Memory { what: "a search".into(), needs: 1025, left: 1023 };
        assert_eq!(error.to_string(), "a search needs 1.0 KiB, the budget leaves 1023 bytes");
    }

    #[test]
    fn each_component_has_its_own_account() {
        for (n, component) in Component::ALL.into_iter().enumerate() {
            assert_eq!(component as usize, n, "{component:?}");
        }
        let accountant = Accountant::new(100);
        let mut grant = accountant.grant(Component::Text, "", 40).unwrap();
        grant.resize("", 90).unwrap();
        grant.resize("", 10).unwrap();
        let usage = accountant.usage();
        let text = usage.components.iter().find(|share| share.component == "text").unwrap();
        assert_eq!((text.bytes, text.peak, usage.granted, usage.peak), (10, 90, 10, 90));
    }

    #[test]
    fn groups_are_looked_up_to_the_root() {
        let files = group_files("0::/user/shell\n3:cpu,memory:/a\n4:pids:/b\n");
        let limits: Vec<&str> = files.iter().map(|(limit, _)| limit.as_str()).collect();
        let expected = [
            "/sys/fs/cgroup/user/shell/memory.max",
            "/sys/fs/cgroup/user/memory.max",
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ];
        assert_eq!(limits, expected);
        assert_eq!(group_files("0::/\n").len(), 1);
        assert!(group_files("nonsense").is_empty());
        let (all, free) = machine();
        assert!(all > 0 && free > 0 && free <= all, "{free} of {all}");
    }

    proptest! {
        /// Whatever is asked for and given back, by several threads: never more than the budget, and all of it comes back.
        #[test]
        fn grants_never_pass_the_budget(asked in prop::collection::vec((0_usize..12, 0_u64..60), 1..200)) {
            let accountant = Accountant::new(100);
            std::thread::scope(|scope| {
                for half in asked.chunks(asked.len().div_ceil(2)) {
                    let accountant = &accountant;
                    scope.spawn(move || {
                        let mut held = Vec::new();
                        for &(component, bytes) in half {
                            match accountant.grant(Component::ALL[component], "", bytes) {
                                Ok(grant) => held.push(grant),
                                Err(_) => drop(held.pop()),
                            }
                        }
                    });
                }
            });
            let usage = accountant.usage();
            prop_assert!(usage.peak <= 100, "{}", usage.peak);
            prop_assert_eq!((usage.granted, accountant.left()), (0, 100));
        }
    }
}
