//! The fields of a document and their values, by the names under which filters reach them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::lookup::reach;
use super::value::{bare_key, key_of};
use crate::json::{self, Fault};
use crate::limits::{DOCUMENT_VALUES_MAX, FIELD_NAME_BYTES_MAX};

/// A field of a document and the key of one of its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) field: String,
    pub(crate) key: Vec<u8>,
}

/// Every field that a filter can name and that `metadata` has, with each scalar that is its value or an element of it;
/// a field without any has a bare key. Ascending, no two equal. `None` when there are more than a document may have in
/// an index, or a name is too long.
pub(crate) fn entries(metadata: &str) -> Result<Option<Vec<Entry>>, Fault> {
    entries_within(metadata, DOCUMENT_VALUES_MAX, FIELD_NAME_BYTES_MAX)
}

/// As [`entries`], however many there are.
pub(crate) fn all_entries(metadata: &str) -> Result<Vec<Entry>, Fault> {
    Ok(entries_within(metadata, usize::MAX, usize::MAX)?.unwrap_or_default())
}

/// The values of a field, those of arrays one by one, as JSON; objects and arrays in arrays included.
pub(crate) fn values<'m>(metadata: &'m str, field: &str) -> Result<Vec<&'m str>, Fault> {
    let mut all = Vec::new();
    for value in reach(metadata, field)? {
        if value.starts_with('[') {
            for element in json::elements(value)? {
                all.push(element?);
            }
        } else {
            all.push(value);
        }
    }
    Ok(all)
}

fn entries_within(metadata: &str, values_max: usize, name_max: usize) -> Result<Option<Vec<Entry>>, Fault> {
    if metadata == "{}" {
        return Ok(Some(Vec::new()));
    }
    let top = last_members(metadata)?;
    let mut found = Found { top: &top, entries: Vec::new(), fits: true, values_max, name_max };
    // A name that starts so is no field in a filter.
    for (name, value) in top.iter().filter(|(name, _)| !name.starts_with('$')) {
        found.add(name, value)?;
        if !name.contains('.') {
            found.descend(name, value)?;
        }
        if !found.fits {
            return Ok(None);
        }
    }
    let mut entries = found.entries;
    entries.sort_unstable();
    entries.dedup();
    Ok(Some(entries))
}

/// The members of an object, of a repeated key the last.
fn last_members(object: &str) -> Result<BTreeMap<Cow<'_, str>, &str>, Fault> {
    json::members(object)?.map(|member| member.map(|(key, value)| (key.name(), value))).collect()
}

struct Found<'a> {
    top: &'a BTreeMap<Cow<'a, str>, &'a str>,
    entries: Vec<Entry>,
    fits: bool,
    values_max: usize,
    name_max: usize,
}

impl Found<'_> {
    fn add(&mut self, field: &str, value: &str) -> Result<(), Fault> {
        let before = self.entries.len();
        let mut push = |key: Vec<u8>| {
            self.fits &= self.entries.len() < self.values_max && field.len() <= self.name_max;
            if self.fits {
                self.entries.push(Entry { field: field.to_owned(), key });
            }
        };
        if let Some(key) = key_of(value) {
            push(key);
        } else if value.starts_with('[') {
            for element in json::elements(value)? {
                if let Some(key) = key_of(element?) {
                    push(key);
                }
            }
        }
        if self.entries.len() == before && self.fits {
            self.fits &= field.len() <= self.name_max && before < self.values_max;
            self.entries.push(Entry { field: field.to_owned(), key: bare_key() });
        }
        Ok(())
    }

    /// Goes into the objects that `value` is or has as elements; only names without a dot are steps of a path.
    fn descend(&mut self, path: &str, value: &str) -> Result<(), Fault> {
        if !self.fits {
            return Ok(());
        }
        if value.starts_with('{') {
            for (name, child) in last_members(value)?.iter().filter(|(name, _)| !name.contains('.')) {
                let field = format!("{path}.{name}");
                if !self.top.contains_key(field.as_str()) {
                    self.add(&field, child)?;
                }
                self.descend(&field, child)?;
            }
        } else if value.starts_with('[') {
            for element in json::elements(value)? {
                let element = element?;
                if element.starts_with('{') {
                    self.descend(path, element)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::value::to_json;

    fn shown(metadata: &str) -> Option<Vec<(String, String)>> {
        let entries = entries(metadata).unwrap()?;
        Some(entries.into_iter().map(|e| (e.field, to_json(&e.key).unwrap_or("bare".into()))).collect())
    }

    #[test]
    fn fields_are_those_that_filters_reach() {
        for (metadata, expected) in [
            ("{}", &[][..]),
            (r#"{"a":1.0,"a":true}"#, &[("a", "true")]),
            (r#"{"a":[1,1.0,"x",[2],{"b":null}]}"#, &[("a", "1"), ("a", "\"x\""), ("a.b", "null")]),
            (r#"{"a":{"b":{"c":1}}}"#, &[("a", "bare"), ("a.b", "bare"), ("a.b.c", "1")]),
            (r#"{"a.b":1,"a":{"b":2,"b.c":3}}"#, &[("a", "bare"), ("a.b", "1")]),
            (r#"{"a.b":1,"a":{"b":{"c":2}}}"#, &[("a", "bare"), ("a.b", "1"), ("a.b.c", "2")]),
            (r#"{"a":[],"$x":{"y":1},"":0}"#, &[("", "0"), ("a", "bare")]),
        ] {
            let expected = expected.iter().map(|&(f, v)| (f.to_owned(), v.to_owned())).collect();
            assert_eq!(shown(metadata), Some(expected), "{metadata}");
        }
    }

    #[test]
    fn what_is_too_much_is_none() {
        let many =
            |n: usize| format!("{{\"a\":[{}]}}", (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        assert_eq!(shown(&many(DOCUMENT_VALUES_MAX)).map(|all| all.len()), Some(DOCUMENT_VALUES_MAX));
        assert_eq!(shown(&many(DOCUMENT_VALUES_MAX + 1)), None);
        let named = |n: usize| format!("{{\"{}\":[]}}", "x".repeat(n));
        assert!(shown(&named(FIELD_NAME_BYTES_MAX)).is_some());
        assert_eq!(shown(&named(FIELD_NAME_BYTES_MAX + 1)), None);
    }
}
