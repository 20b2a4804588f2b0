//! Is the only door to FAISS: start-up checks, then calls through the C++ shim.

mod cpu;
mod ffi;
mod graph;

use std::fmt;
use std::sync::Mutex;

use crate::error::Result;

#[cfg(test)]
pub(in crate::vector) use ffi::oracle_write;
pub(in crate::vector) use ffi::{Graph, GraphBuilder, Searcher, encode, hnsw_plan, sketch_scan, sketch_ways};
pub(in crate::vector) use graph::{Nearest, SketchParts};

/// Which FAISS this program contains.
///
/// On x86-64 Linux a program that links this crate checks the processor before `main`: without AVX2, FMA, F16C and
/// POPCNT it ends with a message and status 1, because the constructors of FAISS would end it without one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaissBuild {
    /// Its version, such as `1.12.0`.
    pub version: String,
    /// Its own account of how it was compiled, such as `OPTIMIZE AVX2`. Without those two words on x86-64, search and
    /// index building run several times slower.
    pub compile_options: String,
}

impl FaissBuild {
    /// Asks the FAISS in this program.
    ///
    /// # Errors
    /// `Unavailable` if this processor lacks an instruction set that FAISS was compiled to use.
    pub fn read() -> Result<Self> {
        ready()?;
        Ok(FaissBuild {
            version: ffi::faiss_version()?,
            compile_options: ffi::faiss_compile_options()?.trim().to_owned(),
        })
    }
}

impl fmt::Display for FaissBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAISS {} ({})", self.version, self.compile_options)
    }
}

/// Makes FAISS ready for use: checks the processor and keeps the linear algebra library to the calling thread.
///
/// Must come before any other call of FAISS. Cost: nothing to speak of after the first call.
/// # Errors
/// `Unavailable` if this processor lacks an instruction set that FAISS was compiled to use.
pub(crate) fn ready() -> Result<()> {
    static READY: Mutex<bool> = Mutex::new(false);
    let mut done = READY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*done {
        cpu::require_cpu()?;
        ffi::faiss_init()?;
        *done = true;
    }
    Ok(())
}
