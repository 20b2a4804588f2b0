//! The vector engine: tail, segments, exact search, and the bridge to FAISS.

pub(crate) mod exact;
pub(crate) mod faiss;
pub(crate) mod faiss_stream;
pub(crate) mod kernel;
pub(crate) mod parallel;
pub(crate) mod segment;
pub(crate) mod tail;
pub(crate) mod topk;

#[cfg(test)]
mod tests;
