//! The catalog: everything small, as checksummed rows of redb tables.
//!
//! Every value ends in a crc32 over (table, key, value); records begin with a version byte. redb's commit is the only
//! commit point of the file: what no committed row names does not exist.
#![deny(clippy::indexing_slicing)]

mod bitmap;
pub(crate) mod index;
mod indexes;
mod layers;
mod read;
mod record;
mod rows;
mod table;
mod text;
mod write;

pub(crate) use bitmap::{BLOCK_BYTES, BLOCK_ROWS, add_rows, load_rows, rows_bytes};
pub(crate) use indexes::{drop_index, drop_orphans, indexes, put_index, put_sample, samples};
pub(crate) use read::{ReadTxn, Rows};
pub(crate) use record::{
    Counters, DocumentRecord, FieldRecord, ModelRecord, PartRecord, Record, SampleRecord, SegmentIndexRecord,
    SegmentRecord, SpaceRecord, TextRecord, TextSegmentRecord, VECTORS_F16, VECTORS_F32,
};
pub(crate) use rows::{
    blob, blobs, counters, documents, id_row, initialise, put_counters, settings, store, tail_row, tail_value,
};
pub(crate) use table::Table;
pub(crate) use text::{drop_text_segment, put_text, put_text_segment, text, text_segments};
pub(crate) use write::{Tables, WriteTxn, fold};

#[cfg(fuzzing)]
pub(crate) use record::fuzz_rows;
