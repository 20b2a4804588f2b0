//! Searching by a scan of codes: few bits for each value of a vector, over the range of values that its dimension has.
//!
//! An index is one blob of aligned sections ([`sections`]): the ranges, a code for each row, of vectors of unit length
//! under cosine, and a recall curve. A scan sums whole numbers ([`kernel`]), reads an eighth to a quarter of the bytes of the
//! vectors, and gives the rows that are then scored exactly. It is built in one pass and takes no memory to speak of.

mod build;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod index;
mod kernel;
mod scan;
mod sections;
#[cfg(test)]
mod tests;

pub(crate) use build::{blob_bytes, build, build_bytes};
pub(crate) use index::CodeIndex;
pub(crate) use kernel::CodeQuery;
pub(crate) use scan::Found;
pub(crate) use sections::MAGIC;

/// How many bits a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Eight.
    Eight,
    /// Four: two values in a byte, the first in its lower half.
    Four,
}

impl Width {
    /// Every width.
    pub(crate) const ALL: [Width; 2] = [Width::Eight, Width::Four];

    /// Its number in files.
    pub(crate) fn number(self) -> u32 {
        match self {
            Width::Eight => 2,
            Width::Four => 3,
        }
    }

    /// The bytes of a vector of `dim` values.
    pub(crate) fn bytes(self, dim: usize) -> usize {
        match self {
            Width::Eight => dim,
            Width::Four => dim.div_ceil(2),
        }
    }

    /// The greatest code of a value.
    pub(crate) fn greatest(self) -> u8 {
        match self {
            Width::Eight => 255,
            Width::Four => 15,
        }
    }
}
