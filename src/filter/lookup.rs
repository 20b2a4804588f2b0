//! Finding the values of a field in metadata, without building a tree.

use crate::json::{self, Fault};

/// The values that `name` reaches in the object that `metadata` is, as JSON texts; none if the field is missing.
///
/// First `name` is a literal key of the object. If there is none, `a.b.c` is the path a, b, c through objects. Where
/// the path meets an array, it goes on in each element that is an object, so one name may reach several values; an
/// array at the end of the path is one value. Cost: one pass over `metadata`, and one over each value on the path.
pub(crate) fn reach<'a>(metadata: &'a str, name: &str) -> Result<Vec<&'a str>, Fault> {
    let (head, rest) = split(name);
    let (mut literal, mut first) = (None, None);
    for member in json::members(metadata)? {
        let (key, value) = member?;
        if key.is(name) {
            literal = Some(value);
        } else if rest.is_some() && key.is(head) {
            first = Some(value);
        }
    }
    let mut found = Vec::new();
    match (literal, first) {
        (Some(value), _) => found.push(value),
        (None, Some(value)) => walk(value, rest, &mut found)?,
        (None, None) => {}
    }
    Ok(found)
}

/// Follows `path` from `value`; no path is the end.
fn walk<'a>(value: &'a str, path: Option<&str>, found: &mut Vec<&'a str>) -> Result<(), Fault> {
    let Some(path) = path else {
        found.push(value);
        return Ok(());
    };
    if value.starts_with('{') {
        let (head, rest) = split(path);
        if let Some(child) = json::find(value, head)? {
            walk(child, rest, found)?;
        }
    } else if value.starts_with('[') {
        for element in json::elements(value)? {
            let element = element?;
            if element.starts_with('{') {
                walk(element, Some(path), found)?;
            }
        }
    }
    Ok(())
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    }
}
