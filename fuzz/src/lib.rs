//! The container and the catalog of vdb, compiled from its sources without FAISS, and what is fuzzed of them.
#![allow(dead_code, unused_imports, reason = "only what decodes is used here")]
// Outside a fuzzing build there is nothing to call.
#![cfg(fuzzing)]

#[path = "../../src/catalog/mod.rs"]
mod catalog;
#[path = "../../src/checksum.rs"]
mod checksum;
#[path = "../../src/codec.rs"]
mod codec;
#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/filter/mod.rs"]
mod filter;
#[path = "../../src/json/mod.rs"]
mod json;
#[path = "../../src/limits.rs"]
mod limits;
#[path = "../../src/storage/mod.rs"]
mod storage;

pub use error::{Error, Result};
pub use storage::Occupancy;

/// Any bytes as a superblock.
pub fn superblock(bytes: &[u8]) {
    storage::fuzz_superblock(bytes);
}

/// Any bytes as each kind of record of the catalog.
pub fn catalog_rows(bytes: &[u8]) {
    catalog::fuzz_rows(bytes);
}
