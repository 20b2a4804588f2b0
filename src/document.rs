//! Documents: what users put into a store and get back.

mod exchange;
mod metadata;
mod patch;
mod span;

#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::limits::{ID_BYTES_MAX, PARTS_MAX, TEXT_BYTES_MAX};

pub use exchange::{ExtraKeys, JsonFields};
pub use metadata::Metadata;

/// A text, its metadata and its vectors under an id.
///
/// An id, a text and vectors are each optional while a document is built: the store gives a missing id a fresh one,
/// and a store with an embedding model computes missing vectors. A text or a vector is needed.
///
/// # Examples
/// ```
/// # fn main() -> vdb::Result<()> {
/// use vdb::Document;
///
/// let document = Document::new("Seoul is the capital of Korea.")
///     .id("doc_1")
///     .metadata_json(r#"{"lang": "en", "year": 2026}"#)?;
/// assert_eq!(document.id_ref(), Some("doc_1"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    id: Option<String>,
    text: Option<String>,
    metadata: Metadata,
    parts: Vec<Part>,
}

/// A part of a document that is found on its own: a stretch of the text, usually with a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The part of the text, in bytes, half-open. `0..0` when the document has no text.
    pub span: Range<usize>,
    /// The vector of the part, if it is known.
    pub vector: Option<Vec<f32>>,
}

impl Document {
    /// A document of `text`, with neither id, metadata nor vectors.
    pub fn new(text: impl Into<String>) -> Self {
        Document { text: Some(text.into()), ..Document::default() }
    }

    /// A document without text, of one part with `vector`.
    pub fn from_vector(vector: Vec<f32>) -> Self {
        Document::default().vector(vector)
    }

    /// Names the document. The store gives a document without id a fresh `UUIDv7`.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Replaces the metadata by what `metadata` serializes to.
    ///
    /// # Errors
    /// Those of [`Metadata::from_serialize`].
    pub fn metadata(self, metadata: &(impl Serialize + ?Sized)) -> Result<Self> {
        Ok(self.with_metadata(Metadata::from_serialize(metadata)?))
    }

    /// Replaces the metadata by a JSON object, which comes back with its number tokens and key order.
    ///
    /// # Errors
    /// Those of [`Metadata::from_json`].
    pub fn metadata_json(self, json: &str) -> Result<Self> {
        Ok(self.with_metadata(Metadata::from_json(json)?))
    }

    /// Replaces the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Makes the document one part that spans the text, with `vector`. Replaces all parts given before.
    #[must_use]
    pub fn vector(mut self, vector: Vec<f32>) -> Self {
        let length = self.text.as_ref().map_or(0, String::len);
        self.parts = vec![Part { span: 0..length, vector: Some(vector) }];
        self
    }

    /// Adds a part: `span` in bytes of the text, half-open. Without a vector the store's model embeds it.
    #[must_use]
    pub fn part(mut self, span: Range<usize>, vector: Option<Vec<f32>>) -> Self {
        self.parts.push(Part { span, vector });
        self
    }

    /// The id, if one was given or the document comes from a store.
    pub fn id_ref(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The text, if there is one.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The metadata; empty when none was given.
    pub fn metadata_ref(&self) -> &Metadata {
        &self.metadata
    }

    /// The metadata as a type of the caller.
    ///
    /// # Errors
    /// Those of [`Metadata::deserialize`].
    pub fn metadata_as<T: DeserializeOwned>(&self) -> Result<T> {
        self.metadata.deserialize()
    }

    /// The parts in the order given; none when neither a vector nor parts were given.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Takes the parts away.
    pub(crate) fn take_parts(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.parts)
    }

    /// Checks what can be checked without a store: the id is not empty, id, text and number of parts keep their
    /// limits, there is a text or a vector, and every span lies in the text on borders of characters.
    ///
    /// # Errors
    /// `Limit` or `Invalid`, naming the document.
    pub fn validate(&self) -> Result<()> {
        let id = self.id.as_deref().unwrap_or_default();
        if self.id.is_some() && id.is_empty() {
            return Err(Error::invalid("document id", "it is empty"));
        }
        limit("document id in bytes", id.len(), ID_BYTES_MAX)?;
        let name = self.id.as_ref().map_or("document".to_owned(), |id| format!("document {id:?}"));
        let text = self.text.as_deref().unwrap_or_default();
        limit(&format!("text of {name} in bytes"), text.len(), TEXT_BYTES_MAX)?;
        limit(&format!("number of parts of {name}"), self.parts.len(), PARTS_MAX)?;
        if self.text.as_deref() == Some("") && self.parts.iter().all(|part| part.vector.is_none()) {
            return Err(Error::invalid(name, "its text is empty"));
        }
        let is_missing = |part: &Part| part.vector.is_none();
        if self.text.is_none() && (self.parts.is_empty() || self.parts.iter().any(is_missing)) {
            return Err(Error::invalid(name, "it has neither a text nor a vector"));
        }
        for (number, Part { span, .. }) in self.parts.iter().enumerate() {
            // `get` refuses a reversed span, one past the end and one inside a character.
            if text.get(span.clone()).is_none() {
                let what = format!("span {}..{} of part {number} of {name}", span.start, span.end);
                let reason = format!("it is no range of whole characters in a text of {} bytes", text.len());
                return Err(Error::invalid(what, reason));
            }
        }
        Ok(())
    }

    /// About the bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let vectors =
            self.parts.iter().map(|part| 4 * part.vector.as_ref().map_or(0, Vec::len) + size_of::<Part>());
        let words = [self.id.as_deref(), self.text.as_deref(), Some(self.metadata.as_json())];
        vectors.sum::<usize>() + words.into_iter().flatten().map(str::len).sum::<usize>() + size_of::<Self>()
    }

    /// Puts a document together from what a store keeps, which was checked when it was added.
    pub(crate) fn stored(id: String, text: Option<String>, metadata: Metadata, parts: Vec<Part>) -> Self {
        Document { id: Some(id), text, metadata, parts }
    }
}

fn limit(what: &str, found: usize, max: usize) -> Result<()> {
    if found <= max {
        return Ok(());
    }
    let (found, max) = (u64::try_from(found).unwrap_or(u64::MAX), u64::try_from(max).unwrap_or(u64::MAX));
    Err(Error::Limit { what: what.into(), found, max })
}
