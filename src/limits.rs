//! Every hard limit of the store, in one place.

/// The longest document id, in bytes.
pub const ID_BYTES_MAX: usize = 1024;
/// The longest text of a document, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 << 20;
/// The longest line of an imported file, in bytes.
pub const LINE_BYTES_MAX: usize = 128 << 20;
/// The longest metadata of a document as compact JSON, in bytes.
pub const METADATA_BYTES_MAX: usize = 16 << 20;
/// The deepest nesting of metadata and of filters.
pub const DEPTH_MAX: usize = 64;
/// The largest dimension of a vector.
pub const DIM_MAX: usize = 65_536;
/// The most parts that one document is split into.
pub const PARTS_MAX: usize = 65_536;
/// The least memory budget, in bytes.
pub const MEMORY_BUDGET_MIN: u64 = 32 << 20;
/// The vectors kept in the tail before they are sealed into a segment, in bytes.
pub const TAIL_BYTES_MAX: usize = 8 << 20;
/// The texts that are searched in memory before they are written into a segment of the text index, in bytes.
pub const TEXT_TAIL_BYTES_MAX: u64 = 128 << 10;
/// The rows that the documents of these texts have, at most.
pub(crate) const TEXT_TAIL_ROWS_MAX: u64 = 4096;
/// The vectors of one segment, in bytes.
pub const SEGMENT_BYTES_MAX: usize = 1 << 30;
/// A segment that is written while rows come in takes at most so many times the vectors of a full tail: room for them is
/// reserved in the file.
pub(crate) const BULK_SEGMENT_TAILS: usize = 8;
/// The documents of a call that are checked, embedded and written together.
pub(crate) const BATCH_DOCUMENTS: usize = 512;
/// Documents are read and written together until they have so many bytes.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// The memory of a compiled regular expression of a filter, in bytes; its lazy automaton may take as much again.
pub const REGEX_BYTES_MAX: usize = 2 << 20;
/// The fields of metadata that a store indexes. A document that brings another one is not indexed, and read instead.
pub const FIELDS_MAX: u32 = 1024;
/// The longest name of an indexed field, in bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 256;
/// The values of all fields of an indexed document.
pub const DOCUMENT_VALUES_MAX: usize = 1024;
/// The terms of a query text; those after them are not searched for.
pub const QUERY_TERMS_MAX: usize = 64;
