//! The container: one file of pages that holds redb's byte stream and immutable blobs.
//!
//! It knows nothing of documents, vectors or text. Everything reaches the disk through [`file::RawFile`]; which pages
//! belong to the stream is told by the newest valid superblock, which pages belong to blobs by the catalog above.
#![deny(clippy::indexing_slicing)]

mod blob;
mod container;
mod extents;
mod file;
mod guard;
mod header;
mod layout;
mod lock;
mod manifest;
mod map;
mod open;
mod overlay;
mod pages;
mod pin;
mod recent;
#[cfg(test)]
pub(crate) mod recording;
mod stream;
mod superblock;
mod wal;

pub(crate) use blob::{Blob, BlobDraft, BlobRecord, BlobWriter, Naming, Unnamed};
pub use container::Occupancy;
pub(crate) use container::{Container, Sabotage, hold};
pub(crate) use extents::Run;
pub(crate) use guard::{caught, guarded};
pub(crate) use layout::{DATA_PAGE, PAGE_BYTES};
pub use layout::{FORMAT_NEWEST, FORMAT_OLDEST};
#[cfg(feature = "embed")]
pub(crate) use map::map_for_good;
pub(crate) use map::{Bytes, SharedBytes, fetch, process};
pub(crate) use open::{Access, Db, OpenFile, Settings, create_file, memory_file, open_file};
#[cfg(test)]
pub(crate) use open::{format_and_open, reopen};
pub(crate) use pin::Pin;
pub(crate) use recent::{Entry, Recent};
#[cfg(fuzzing)]
pub(crate) use superblock::fuzz_superblock;
pub(crate) use wal::{epoch, set_epoch};
