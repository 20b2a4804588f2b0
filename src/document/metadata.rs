//! Metadata: one JSON object per document, kept as written.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{limit, patch};
use crate::error::{Error, Result};
use crate::json;
use crate::limits::METADATA_BYTES_MAX;

/// A JSON object in compact form: number tokens, key order and escapes are those of the text it was made from; only
/// insignificant white space is gone. At most `METADATA_BYTES_MAX` bytes and `DEPTH_MAX` levels.
///
/// Two values are equal when their texts are. Of a key given twice in one object both stay, and the last one counts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Metadata(Cow<'static, str>);

impl Metadata {
    /// The empty object.
    pub fn new() -> Self {
        Metadata(Cow::Borrowed("{}"))
    }

    /// Takes a JSON object. Cost: two passes over `json`.
    ///
    /// # Errors
    /// `Invalid` if `json` is no JSON object, with the byte; `Limit` past `METADATA_BYTES_MAX`.
    pub fn from_json(json: &str) -> Result<Self> {
        let text = json::compact(json).map_err(|fault| fault.invalid("metadata"))?;
        if !text.starts_with('{') {
            return Err(Error::invalid("metadata", format!("expected a JSON object, found {text:.40}")));
        }
        limit("metadata in bytes of compact JSON", text.len(), METADATA_BYTES_MAX)?;
        Ok(Metadata(text.into()))
    }

    /// Takes what `value` serializes to, which must be an object: a struct or a map with string keys.
    ///
    /// JSON has no infinities and no NaN: `serde_json` writes such floats as `null`.
    ///
    /// # Errors
    /// `Invalid` if `value` cannot be written as JSON or is no object; `Limit` past `METADATA_BYTES_MAX`.
    pub fn from_serialize(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        let text =
            serde_json::to_string(value).map_err(|error| Error::invalid("metadata", error.to_string()))?;
        Metadata::from_json(&text)
    }

    /// The object as compact JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The metadata as a type of the caller.
    ///
    /// # Errors
    /// `Invalid` if the object does not fit `T`, with the reason that `serde_json` gives.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|error| Error::invalid("metadata", error.to_string()))
    }

    /// Whether the object has no members.
    pub fn is_empty(&self) -> bool {
        self.0 == "{}"
    }

    /// Applies `patch` as RFC 7396 says: a null removes a key, an object patches an object, anything else replaces.
    ///
    /// What is untouched keeps its place and its number tokens, a changed key keeps its place, new keys come last.
    ///
    /// # Errors
    /// `Limit` if the result is past `METADATA_BYTES_MAX`.
    /// # Examples
    /// ```
    /// # fn main() -> vdb::Result<()> {
    /// use vdb::Metadata;
    ///
    /// let old = Metadata::from_json(r#"{"a": 1.50, "b": {"c": 1, "d": 2}}"#)?;
    /// let new = old.patch(&Metadata::from_json(r#"{"b": {"c": null}, "e": true}"#)?)?;
    /// assert_eq!(new.as_json(), r#"{"a":1.50,"b":{"d":2},"e":true}"#);
    /// # Ok(())
    /// # }
    /// ```
    pub fn patch(&self, patch: &Metadata) -> Result<Metadata> {
        let text = patch::merge(&self.0, &patch.0).map_err(|fault| fault.invalid("metadata"))?;
        limit("metadata in bytes of compact JSON", text.len(), METADATA_BYTES_MAX)?;
        Ok(Metadata(text.into()))
    }

    /// Takes compact JSON that a store keeps, which was checked when it was added.
    pub(crate) fn stored(json: String) -> Self {
        Metadata(json.into())
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Metadata::new()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes the object itself: verbatim with `serde_json`.
impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(S::Error::custom)?.serialize(serializer)
    }
}
