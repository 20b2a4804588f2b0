//! JSON merge patch (RFC 7396) on texts, which leaves untouched members as written.

use std::collections::HashMap;

use crate::json::{self, Fault, Kind, Member, Value};

/// Applies the object `patch` to the object `target`, both compact. Cost: linear in both for each level patched.
pub(super) fn merge(target: &str, patch: &str) -> Result<String, Fault> {
    let patch = json::parse(patch)?;
    let mut out = String::with_capacity(target.len() + patch.raw.len());
    match &patch.kind {
        Kind::Object(members) => write_merged(&mut out, Some(target), members)?,
        _ => out.push_str(patch.raw),
    }
    Ok(out)
}

/// Writes `target` with the members of a patch applied; no target is an empty object.
fn write_merged(out: &mut String, target: Option<&str>, patch: &[Member<'_>]) -> Result<(), Fault> {
    // Of equal keys in the patch the last one counts.
    let changes: HashMap<&str, &Value<'_>> = patch.iter().map(|m| (m.name.as_ref(), &m.value)).collect();
    // Where a changed key comes twice in the target, the last place and value are its own.
    let mut places = HashMap::new();
    let mut members = Vec::new();
    for member in target.map(json::members).transpose()?.into_iter().flatten() {
        let (key, value) = member?;
        if let Some((&name, _)) = changes.get_key_value(key.name().as_ref()) {
            places.insert(name, members.len());
        }
        members.push((key, value));
    }
    out.push('{');
    for (place, (key, value)) in members.into_iter().enumerate() {
        let name = key.name();
        match changes.get(name.as_ref()) {
            None => {
                write_key(out, key.raw);
                out.push_str(value);
            }
            Some(change) if change.kind != Kind::Null && places.get(name.as_ref()) == Some(&place) => {
                write_key(out, key.raw);
                write_change(out, Some(value), change)?;
            }
            Some(_) => {}
        }
    }
    for member in patch {
        let name = member.name.as_ref();
        let change = changes.get(name).copied().unwrap_or(&member.value);
        if change.kind != Kind::Null && !places.contains_key(name) {
            places.insert(name, usize::MAX);
            write_key(out, member.key);
            write_change(out, None, change)?;
        }
    }
    out.push('}');
    Ok(())
}

fn write_change(out: &mut String, old: Option<&str>, change: &Value<'_>) -> Result<(), Fault> {
    if let Kind::Object(members) = &change.kind {
        return write_merged(out, old.filter(|old| old.starts_with('{')), members);
    }
    out.push_str(change.raw);
    Ok(())
}

fn write_key(out: &mut String, token: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push_str(token);
    out.push(':');
}
