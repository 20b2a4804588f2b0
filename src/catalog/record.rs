//! The records of the catalog: rkyv behind one version byte.

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error as RkyvError;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use crate::error::{Error, Result};

/// The version of every record kind so far.
const VERSION: u8 = 1;
/// Vectors are stored as f32.
pub(crate) const VECTORS_F32: u8 = 0;
/// Vectors of segments are stored as f16; those of the tail are f32 of the same values.
pub(crate) const VECTORS_F16: u8 = 1;

/// The store's identity.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct StoreRecord {
    /// As in the preamble.
    pub(crate) uuid: [u8; 16],
    /// As in the preamble.
    pub(crate) lineage: [u8; 16],
    /// The version of vdb that created it.
    pub(crate) created_by: String,
}

/// What may be chosen at creation.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct SettingsRecord {
    /// Whether texts are indexed for full-text search.
    pub(crate) text_index: bool,
    /// The kind of index wanted: `auto`, `exact`, `sq8`, `sq4`, `hnsw`, `hnsw-sq8` or `hnsw-f32`.
    pub(crate) index: String,
    /// The space that documents are added to.
    pub(crate) active_space: u64,
}

/// Numbers that every commit may change.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Rises by one with each commit.
    pub(crate) commit: u64,
    /// The next row.
    pub(crate) next_row: u64,
    /// The next blob id.
    pub(crate) next_blob: u64,
    /// The next segment id.
    pub(crate) next_segment: u64,
    /// Documents that exist.
    pub(crate) documents: u64,
    /// Their rows.
    pub(crate) parts: u64,
    /// Vectors in the tail, dead ones included.
    pub(crate) tail_rows: u64,
    /// The commit that last changed `dead`.
    pub(crate) dead_changed: u64,
    /// The commit that last changed `continuation`.
    pub(crate) continuation_changed: u64,
    /// The commit that last changed `segments`.
    pub(crate) segments_changed: u64,
}

/// The identity of an embedding model.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelRecord {
    pub(crate) name: String,
    pub(crate) pooling: String,
    pub(crate) normalised: bool,
    pub(crate) weights_sha256: String,
    pub(crate) tokenizer_sha256: String,
}

/// A space of vectors.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpaceRecord {
    pub(crate) model: Option<ModelRecord>,
    /// Absent until the first vector.
    pub(crate) dim: Option<u32>,
    /// The metric's name.
    pub(crate) metric: String,
    /// [`VECTORS_F32`] or [`VECTORS_F16`].
    pub(crate) vectors: u8,
}

/// One part of a document: a span of its text in bytes, and one row.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartRecord {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Whether the row has a vector.
    pub(crate) vector: bool,
}

/// A document.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct DocumentRecord {
    pub(crate) id: String,
    pub(crate) text: Option<String>,
    /// Compact JSON of an object, as given.
    pub(crate) metadata: String,
    /// In the order of the rows, the first of which is the key; never empty.
    pub(crate) parts: Vec<PartRecord>,
}

/// A segment: vectors in one blob. Offsets are bytes in the blob, multiples of 64.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRecord {
    pub(crate) space: u64,
    pub(crate) blob: u64,
    pub(crate) dim: u32,
    /// The number of rows.
    pub(crate) count: u64,
    pub(crate) first_row: u64,
    pub(crate) last_row: u64,
    /// Where the inverse norms (f32) begin, for cosine.
    pub(crate) norms_offset: Option<u64>,
    /// Where the row numbers (u64) begin, unless they are consecutive.
    pub(crate) rows_offset: Option<u64>,
}

/// The index of a segment.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentIndexRecord {
    pub(crate) blob: u64,
}

/// What a look at the recall of a segment's index has found.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub(crate) struct SampleRecord {
    /// The blob of the index.
    pub(crate) blob: u64,
    /// The rows of the segment that were dead.
    pub(crate) dead: u64,
    /// The part of the nearest that it found.
    pub(crate) recall: f32,
    /// The recall of the index before this one, if that was built anew because of it.
    pub(crate) before: Option<f32>,
}

/// The state of the text index.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextRecord {
    /// The version of the analyzer that cut the texts.
    pub(crate) analyzer: u32,
    /// The language whose words are stemmed, by its name.
    pub(crate) stem: Option<String>,
    /// Texts of rows from here on are in no segment: their documents are read.
    pub(crate) tail_from: u64,
    /// The bytes of the texts of these rows.
    pub(crate) tail_bytes: u64,
    /// The next number of a text segment.
    pub(crate) next_segment: u64,
    /// The commit that last changed the text segments or `tail_from`.
    pub(crate) changed: u64,
}

/// A segment of the text index: postings in one blob.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextSegmentRecord {
    pub(crate) blob: u64,
    /// The number of rows.
    pub(crate) rows: u64,
    pub(crate) first_row: u64,
    pub(crate) last_row: u64,
    /// The lengths of all rows, as stored, added up.
    pub(crate) positions: u64,
    /// Where the sections of the blob end.
    pub(crate) ends: Vec<u64>,
    /// The version of the analyzer that cut the texts.
    pub(crate) analyzer: u32,
    /// The version of tantivy that wrote the files.
    pub(crate) tantivy: String,
}

/// The state of the index over metadata.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexRecord {
    /// The next number of a field, from 1 on.
    pub(crate) next_field: u32,
    /// Whether documents were ever left out.
    pub(crate) leaves_out: bool,
}

/// An indexed field of the metadata.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldRecord {
    /// The number under which its postings are.
    pub(crate) number: u32,
    /// Whether a document ever had several values.
    pub(crate) is_multiple: bool,
}

/// What every record can do.
pub(crate) trait Record: Sized {
    /// As stored, without the table's checksum.
    fn encode(&self) -> Result<Vec<u8>>;
    /// Reads what `encode` made, checking everything.
    fn decode(bytes: &[u8]) -> Result<Self>;
}

impl<T> Record for T
where
    T: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, RkyvError>>,
    T: Archive,
    T::Archived:
        for<'a> CheckBytes<HighValidator<'a, RkyvError>> + Deserialize<T, HighDeserializer<RkyvError>>,
{
    fn encode(&self) -> Result<Vec<u8>> {
        let body = rkyv::to_bytes::<RkyvError>(self)
            .map_err(|e| Error::invalid("record", format!("it cannot be encoded: {e}")))?;
        let mut out = Vec::with_capacity(body.len() + 5);
        out.push(VERSION);
        out.extend_from_slice(&body);
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        rkyv::from_bytes::<T, RkyvError>(body(bytes)?).map_err(|e| Error::corrupt("record", 1, e.to_string()))
    }
}

/// A record without its version.
fn body(bytes: &[u8]) -> Result<&[u8]> {
    let Some((&version, body)) = bytes.split_first() else {
        return Err(Error::corrupt("record", 0, "it is empty"));
    };
    if version == VERSION {
        return Ok(body);
    }
    let found = format!("record version {version}");
    Err(Error::Version { found, oldest: u32::from(VERSION), newest: u32::from(VERSION) })
}

impl DocumentRecord {
    /// What it takes in memory besides its struct.
    pub(crate) fn bytes(&self) -> usize {
        let text = self.text.as_ref().map_or(0, String::len);
        self.id.len() + text + self.metadata.len() + self.parts.len() * size_of::<PartRecord>()
    }

    /// The id of a document as stored, without a copy of the rest.
    pub(crate) fn id_of(bytes: &[u8]) -> Result<String> {
        let document = rkyv::access::<ArchivedDocumentRecord, RkyvError>(body(bytes)?);
        let document = document.map_err(|e| Error::corrupt("record", 1, e.to_string()))?;
        Ok(document.id.as_str().to_owned())
    }
}

/// Decodes `bytes` as every kind of record; none may panic or allocate more than the bytes justify.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_rows(bytes: &[u8]) {
    let _ = StoreRecord::decode(bytes);
    let _ = SettingsRecord::decode(bytes);
    let _ = Counters::decode(bytes);
    let _ = SpaceRecord::decode(bytes);
    if let Ok(document) = DocumentRecord::decode(bytes) {
        let again = document.encode().and_then(|bytes| DocumentRecord::decode(&bytes));
        assert_eq!(again.ok().as_ref(), Some(&document));
        assert_eq!(DocumentRecord::id_of(bytes).ok(), Some(document.id));
    }
    let _ = SegmentRecord::decode(bytes);
    let _ = SegmentIndexRecord::decode(bytes);
    let _ = SampleRecord::decode(bytes);
    let _ = TextRecord::decode(bytes);
    let _ = TextSegmentRecord::decode(bytes);
    let _ = crate::storage::BlobRecord::decode(bytes);
    let _ = super::bitmap::decode(bytes);
    let _ = IndexRecord::decode(bytes);
    let _ = FieldRecord::decode(bytes);
    let _ = super::index::decode_leaf(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> DocumentRecord {
        DocumentRecord {
            id: "doc_1".into(),
            text: Some("딥러닝".into()),
            metadata: r#"{"year":2020.0}"#.into(),
            parts: vec![PartRecord { start: 0, end: 9, vector: true }],
        }
    }

    #[test]
    fn documents_survive() {
        let bytes = sample().encode().unwrap();
        assert_eq!(DocumentRecord::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let mut bytes = sample().encode().unwrap();
        bytes[0] = 9;
        assert!(matches!(DocumentRecord::decode(&bytes), Err(Error::Version { .. })));
        assert!(matches!(DocumentRecord::decode(&[]), Err(Error::Corrupt { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz_rows(&bytes);
        }

        #[test]
        fn damaged_records_never_panic(at in 0usize..200, flip in 1u8..=255) {
            let mut bytes = sample().encode().unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            fuzz_rows(&bytes);
        }
    }
}
