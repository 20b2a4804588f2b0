//! The JSON of documents: `{"id", "text", "metadata", "vector"}`.

use super::span::Ruler;
use super::{Document, Metadata, Part};
use crate::error::{Error, Result};
use crate::json::{self, Fault};
use crate::limits::DEPTH_MAX;

const KEYS: &str = "id, text, metadata, vector, parts";

/// What becomes of keys of a JSON document that mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExtraKeys {
    /// They are an error that names them. The default.
    #[default]
    Refuse,
    /// They are kept as metadata, after those given.
    Metadata,
}

/// Which keys of a JSON document mean what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonFields {
    /// The key of the id. Default: `id`.
    pub id: String,
    /// The key of the text. Default: `text`.
    pub text: String,
    /// What becomes of other keys.
    pub extra: ExtraKeys,
}

impl Default for JsonFields {
    fn default() -> Self {
        JsonFields { id: "id".into(), text: "text".into(), extra: ExtraKeys::default() }
    }
}

impl Document {
    /// Reads a document in JSON: `{"id": "a", "text": "...", "metadata": {...}, "vector": [...]}`.
    ///
    /// A text, a vector or parts are required; null is the same as absent. A numeric id becomes a string of its
    /// token. `"parts": [{"span": [0, 120], "vector": [...]}]` instead of `vector` gives several parts, with spans in
    /// code points, half-open.
    ///
    /// # Errors
    /// `Invalid` with the byte if `json` is no JSON, or naming the key at fault; `Limit` as in [`Metadata`].
    pub fn from_json(json: &str) -> Result<Self> {
        Document::from_json_with(json, &JsonFields::default())
    }

    /// Reads a document in JSON whose keys have other names; see [`Document::from_json`].
    ///
    /// # Errors
    /// As [`Document::from_json`].
    pub fn from_json_with(json: &str, fields: &JsonFields) -> Result<Self> {
        let document = Document::from_json_beside(json, fields)?;
        if document.text.is_none() && document.parts.is_empty() {
            return Err(invalid("it has neither a text nor a vector".into()));
        }
        Ok(document)
    }

    /// Reads a document in JSON that may have neither a text nor a vector, because its vector comes from elsewhere.
    pub(crate) fn from_json_beside(json: &str, fields: &JsonFields) -> Result<Self> {
        let (mut id, mut text, mut metadata, mut vector, mut parts) = (None, None, None, None, None);
        let mut extra = Vec::new();
        for member in json::members_within(json, DEPTH_MAX + 1).map_err(damaged)? {
            let (key, value) = member.map_err(|fault| damaged_value(json, fault))?;
            let slot = match key.name().as_ref() {
                name if name == fields.id => &mut id,
                name if name == fields.text => &mut text,
                "metadata" => &mut metadata,
                "vector" => &mut vector,
                "parts" => &mut parts,
                _ if fields.extra == ExtraKeys::Metadata => {
                    extra.push(format!("{}:{value}", key.raw));
                    continue;
                }
                _ => return Err(invalid(format!("unknown key {}, expected one of {KEYS}", key.raw))),
            };
            if slot.replace(value).is_some() {
                return Err(invalid(format!("key {} is given twice", key.raw)));
            }
        }
        let (id, text, metadata) = (given(id), given(text), given(metadata));
        let (vector, parts) = (given(vector), given(parts));
        if vector.is_some() && parts.is_some() {
            return Err(invalid("it has both a vector and parts".into()));
        }
        let mut document = Document {
            id: id.map(read_id).transpose()?,
            text: text.map(|text| read_string("text", text)).transpose()?,
            metadata: read_metadata(metadata, &extra)?,
            parts: Vec::new(),
        };
        if let Some(vector) = vector {
            document = document.vector(read_vector(vector)?);
        }
        if let Some(parts) = parts {
            document.parts = read_parts(parts, document.text().unwrap_or_default())?;
        }
        Ok(document)
    }

    /// Writes the document as JSON that [`Document::from_json`] reads: `id`, `text`, `metadata` and, if
    /// `with_vector`, `vector`; what is absent is null.
    ///
    /// The metadata is verbatim. A document whose parts are anything but one that spans the text has `parts` instead
    /// of `vector`, so that no vector is lost. Floats are the shortest decimals that read back; NaN is null.
    pub fn to_json(&self, with_vector: bool) -> String {
        let quoted = |value: Option<&str>| value.map_or("null".to_owned(), json::quote);
        let (id, text, metadata) = (quoted(self.id_ref()), quoted(self.text()), self.metadata.as_json());
        let mut out = format!("{{\"id\":{id},\"text\":{text},\"metadata\":{metadata}");
        let text = self.text().unwrap_or_default();
        match self.parts() {
            _ if !with_vector => {}
            [] => out.push_str(",\"vector\":null"),
            [part] if part.span == (0..text.len()) => {
                out.push_str(",\"vector\":");
                write_vector(&mut out, part.vector.as_deref());
            }
            parts => {
                out.push_str(",\"parts\":");
                write_parts(&mut out, parts, text);
            }
        }
        out.push('}');
        out
    }
}

fn write_vector(out: &mut String, vector: Option<&[f32]>) {
    let Some(vector) = vector else { return out.push_str("null") };
    out.push('[');
    for (at, number) in vector.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        // Debug writes the shortest decimal, with an exponent where Display would write zeros.
        let number = if number.is_finite() { format!("{number:?}") } else { "null".into() };
        out.push_str(&number);
    }
    out.push(']');
}

fn write_parts(out: &mut String, parts: &[Part], text: &str) {
    let mut ruler = Ruler::new(text);
    out.push('[');
    for (at, Part { span, vector }) in parts.iter().enumerate() {
        let (start, end) = (ruler.points_at(span.start), ruler.points_at(span.end));
        out.push_str(if at > 0 { "," } else { "" });
        let head = format!("{{\"span\":[{start},{end}],\"vector\":");
        out.push_str(&head);
        write_vector(out, vector.as_deref());
        out.push('}');
    }
    out.push(']');
}

/// The value of a key that is there and not null.
fn given(value: Option<&str>) -> Option<&str> {
    value.filter(|&value| value != "null")
}

fn invalid(reason: String) -> Error {
    Error::invalid("document", reason)
}

fn damaged(fault: Fault) -> Error {
    fault.invalid("document")
}

/// A fault of the JSON of a document. Where it is a word in a vector, such as NaN, that value is named.
fn damaged_value(json: &str, fault: Fault) -> Error {
    word_in_vector(json, fault.span.start).map_or_else(|| damaged(fault), invalid)
}

fn word_in_vector(json: &str, at: usize) -> Option<String> {
    let (before, after) = (json.get(..at)?, json.get(at..)?);
    let bracket = before.rfind('[')?;
    before[..bracket].trim_end().strip_suffix(':')?.trim_end().strip_suffix("\"vector\"")?;
    let end = after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len());
    let sign = if before.ends_with('-') { "-" } else { "" };
    let column = json::elements(&json[bracket..]).ok()?.take_while(Result::is_ok).count();
    let is_word = after.starts_with(char::is_alphabetic);
    is_word.then(|| not_a_value(column, &format!("{sign}{}", &after[..end])))
}

fn not_a_value(column: usize, token: &str) -> String {
    format!("vector[{column}] is {token:.40}, expected a number that an f32 holds")
}

fn read_id(value: &str) -> Result<String> {
    if value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Ok(value.to_owned());
    }
    read_string("id", value)
}

/// The metadata given, followed by the extra members.
fn read_metadata(given: Option<&str>, extra: &[String]) -> Result<Metadata> {
    let given = given.map(Metadata::from_json).transpose()?.unwrap_or_default();
    if extra.is_empty() {
        return Ok(given);
    }
    let (comma, open) = (if given.is_empty() { "" } else { "," }, given.as_json().len() - 1);
    Metadata::from_json(&format!("{}{comma}{}}}", &given.as_json()[..open], extra.join(",")))
}

fn read_string(key: &str, value: &str) -> Result<String> {
    if !value.starts_with('"') {
        return Err(invalid(format!("{key} is {value:.40}, expected a string")));
    }
    Ok(json::unquote(value).into_owned())
}

fn read_vector(value: &str) -> Result<Vec<f32>> {
    if !value.starts_with('[') {
        return Err(invalid(format!("vector is {value:.40}, expected a list of numbers")));
    }
    let mut vector = Vec::new();
    for element in json::elements(value).map_err(damaged)? {
        let token = element.map_err(damaged)?;
        match token.parse::<f32>() {
            Ok(number) if number.is_finite() => vector.push(number),
            _ => return Err(invalid(not_a_value(vector.len(), token))),
        }
    }
    Ok(vector)
}

fn read_parts(value: &str, text: &str) -> Result<Vec<Part>> {
    if !value.starts_with('[') {
        return Err(invalid(format!("parts is {value:.40}, expected a list of objects")));
    }
    let mut ruler = Ruler::new(text);
    let mut parts = Vec::new();
    for element in json::elements(value).map_err(damaged)? {
        let (mut span, mut vector) = (None, None);
        for member in json::members(element.map_err(damaged)?).map_err(damaged)? {
            let (key, value) = member.map_err(damaged)?;
            match key.name().as_ref() {
                "span" => span = Some(value),
                "vector" => vector = Some(value).filter(|&value| value != "null"),
                _ => return Err(invalid(format!("unknown key {} in parts, expected span, vector", key.raw))),
            }
        }
        let [start, end] = span.and_then(read_span).ok_or_else(|| {
            invalid(format!("parts[{}] has no span of two positions such as [0, 120]", parts.len()))
        })?;
        let span = ruler.bytes_at(start)?..ruler.bytes_at(end)?;
        parts.push(Part { span, vector: vector.map(read_vector).transpose()? });
    }
    Ok(parts)
}

/// Reads `[start, end]` with start not past end.
fn read_span(value: &str) -> Option<[usize; 2]> {
    let positions = json::elements(value).ok()?.map(|token| token.ok()?.parse().ok());
    match positions.collect::<Option<Vec<usize>>>()?[..] {
        [start, end] if start <= end => Some([start, end]),
        _ => None,
    }
}
