//! Newtypes for the numbers that name rows, blobs, segments and states.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A row: one part of one document. Only rises, never reused; the rows of a document are consecutive and the
    /// document is keyed by its first.
    RowId
}
id! {
    /// A blob: an immutable run of pages named by a catalog row. Never reused.
    BlobId
}
id! {
    /// A segment of vectors. Never reused.
    SegmentId
}
id! {
    /// A space: the vectors of one model, dimension and metric.
    SpaceId
}
id! {
    /// A committed state of the file: the number of the redb transaction that made it.
    Generation
}
