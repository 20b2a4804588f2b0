//! `SQLite` for documents and vectors.

mod caret;
mod catalog;
mod checksum;
mod codec;
mod document;
pub mod embed;
pub mod error;
mod filter;
mod fusion;
mod json;
pub mod limits;
pub mod metric;
mod mmr;
mod storage;
mod store;
mod text;
mod vector;

/// The examples of the README are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So are those of the guide.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;

pub use document::{Document, ExtraKeys, JsonFields, Metadata, Part};
pub use embed::{Embedder, Embeddings, Fit, ModelIdentity};
pub use error::{Error, ErrorKind, Result};
pub use filter::{Candidate, Field, Filter, Operand};
pub use fusion::Fusion;
pub use metric::Metric;
pub use storage::{FORMAT_NEWEST, FORMAT_OLDEST, Occupancy};
#[doc(hidden)]
pub use store::SearchPath;
pub use store::{
    Background, CancelToken, CheckLevel, CheckReport, CommitReport, Committed, CompactReport, ConflictPolicy,
    Control, Damage, DeleteReport, Documents, Durability, Explained, FieldStats, Hit, Import, ImportFormat,
    ImportSummary, IndexKind, MemoryShare, MemoryUse, MergeLimits, MergeReport, Mode, OnError, OpenOptions,
    Plan, Progress, Query, RecallPoint, RepairMode, RepairReport, ScoreParts, SegmentStats, Side, Snapshot,
    SortOrder, Stats, Store, TextStats, Together, ValueCount, Weighing, WriteTxn,
};
pub use text::Language;
pub use vector::faiss::FaissBuild;
#[doc(hidden)]
pub use vector::hnsw::lab;
pub use vector::segment::Precision;

/// What the fuzz targets call: not part of the interface.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    /// Any bytes as each kind of record of the catalog.
    pub fn catalog_rows(bytes: &[u8]) {
        crate::catalog::fuzz_rows(bytes);
    }

    /// Words by which an index of codes is damaged and then scanned.
    pub fn codes(bytes: &[u8]) {
        crate::vector::codes::hostile::fuzz_codes(bytes);
    }

    /// Words by which an index is damaged and then searched.
    pub fn index(bytes: &[u8]) {
        crate::vector::hnsw::hostile::fuzz_index(bytes);
    }

    /// Words by which the index in a file is damaged, under checksums that are right, and then searched.
    pub fn file(bytes: &[u8]) {
        crate::store::hostile::fuzz_file(bytes);
    }

    /// Any bytes as a superblock.
    pub fn superblock(bytes: &[u8]) {
        crate::storage::fuzz_superblock(bytes);
    }
}
