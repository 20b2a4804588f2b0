//! Integration tests.
#![allow(
    clippy::unwrap_used,
    reason = "clippy knows helpers of tests only inside cfg(test), which this crate has not"
)]

mod allocator;
mod api;
mod cli;
mod bad_input;
mod exchange;
mod import;
mod native;
mod tidy;
mod processes;
mod util;
mod compat;
mod corrupt;
mod model;
mod sample;
