//! The vector engine: pure computation over slices of vectors, which know nothing of files or documents.

#![allow(dead_code, reason = "used by the store layer")]

pub(crate) mod exact;
pub(crate) mod kernel;
pub(crate) mod parallel;
pub(crate) mod topk;

#[cfg(test)]
mod tests;
