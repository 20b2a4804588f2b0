//! Holds vectors: their storage, their search, and the bridge to FAISS.

pub(crate) mod faiss;
pub(crate) mod faiss_stream;
