//! What all segments have in common: the schema, and a searcher of nothing, which tantivy asks for it.

use std::sync::OnceLock;

use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::store::Compressor;
use tantivy::{Index, IndexSettings, ReloadPolicy, Searcher, TantivyError};

use crate::error::{Error, Result};
use crate::storage::caught;

/// The endings of the files of a segment, in the order in which they are packed.
pub(super) const FILES: [&str; 6] = ["term", "idx", "pos", "fieldnorm", "fast", "store"];

pub(super) struct Shape {
    pub(super) schema: Schema,
    /// The only field: terms with their frequencies and positions, and the lengths of texts.
    pub(super) text: Field,
    pub(super) searcher: Searcher,
}

impl Shape {
    /// The same for all.
    pub(super) fn get() -> Result<&'static Self> {
        static SHAPE: OnceLock<std::result::Result<Shape, String>> = OnceLock::new();
        let made = SHAPE.get_or_init(|| match caught(Shape::make) {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(panic) => Err(panic),
        });
        made.as_ref().map_err(|message| Error::Native { call: "tantivy", message: message.clone() })
    }

    fn make() -> tantivy::Result<Self> {
        let indexing = TextFieldIndexing::default()
            .set_index_option(IndexRecordOption::WithFreqsAndPositions)
            .set_fieldnorms(true);
        let mut schema = Schema::builder();
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let schema = schema.build();
        let empty = Index::create_in_ram(schema.clone());
        let reader = empty.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Shape { schema, text, searcher: reader.searcher() })
    }
}

/// No documents are stored, so nothing is compressed.
pub(super) fn index_settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::None,
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

/// Runs a call of tantivy on what is in memory: whatever goes wrong is a fault of the library.
pub(super) fn native<T>(call: impl FnOnce() -> tantivy::Result<T>) -> Result<T> {
    let message = match caught(call) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic,
    };
    Err(Error::Native { call: "tantivy", message })
}

/// Runs a call of tantivy on the bytes of `what`, which were verified: whatever goes wrong is damage.
pub(super) fn reading<T>(what: &str, call: impl FnOnce() -> tantivy::Result<T>) -> Result<T> {
    let detail = match caught(call) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(TantivyError::IncompatibleIndex(incompatibility))) => {
            format!("another version of tantivy wrote it: {incompatibility:?}")
        }
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic,
    };
    Err(Error::corrupt(what, 0, detail))
}
