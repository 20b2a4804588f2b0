//! The vector engine: tail, segments, exact and indexed search, and the bridge to FAISS.

pub(crate) mod ask;
pub(crate) mod codes;
pub(crate) mod exact;
pub(crate) mod faiss;
pub(crate) mod faiss_stream;
pub(crate) mod hnsw;
pub(crate) mod index;
pub(crate) mod kernel;
pub(crate) mod outline;
pub(crate) mod parallel;
mod pieces;
pub(crate) mod rows;
pub(crate) mod segment;
pub(crate) mod sketch;
mod table;
pub(crate) mod tail;
pub(crate) mod tiers;
pub(crate) mod topk;

#[cfg(test)]
mod tests;
