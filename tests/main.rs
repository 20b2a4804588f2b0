//! Integration tests.
#![allow(
    clippy::unwrap_used,
    reason = "clippy knows helpers of tests only inside cfg(test), which this crate has not"
)]

mod allocator;
mod api;
mod compat;
mod corrupt;
mod exchange;
mod model;
mod native;
mod sample;
