//! Integration tests.
#![allow(
    clippy::unwrap_used,
    reason = "clippy knows helpers of tests only inside cfg(test), which this crate has not"
)]

mod allocator;
mod api;
mod corrupt;
mod exchange;
mod native;
mod sample;
