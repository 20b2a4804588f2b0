//! Integration tests.
#![allow(
    clippy::unwrap_used,
    reason = "clippy knows helpers of tests only inside cfg(test), which this crate has not"
)]

mod allocator;
mod api;
mod bad_input;
mod budget;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod cli_bad_input;
#[cfg(feature = "cli")]
mod cli_documents;
#[cfg(feature = "cli")]
mod cli_embed;
#[cfg(feature = "cli")]
mod cli_faults;
#[cfg(feature = "cli")]
mod cli_fields;
#[cfg(feature = "cli")]
mod cli_import;
#[cfg(feature = "cli")]
mod cli_merging;
#[cfg(feature = "cli")]
mod cli_search;
mod compat;
mod corrupt;
#[cfg(feature = "cli")]
mod demo;
#[cfg(feature = "embed")]
mod embed;
mod exchange;
mod grants;
mod import;
mod import_npy;
mod indexes;
mod kinds;
mod memory;
mod merging;
mod model;
mod native;
mod processes;
mod sample;
#[cfg(feature = "cli")]
mod scene;
mod search;
mod tidy;
mod util;
