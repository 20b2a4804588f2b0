//! Leaves of postings: groups of a value's key and the rows of documents.

use std::borrow::Cow;

use roaring::RoaringTreemap;

use crate::codec::{to_u64, to_usize};
use crate::error::{Error, Result};

/// The version of a leaf.
const VERSION: u8 = 1;
/// A group of so many rows lists them; one of more has a bitmap.
const LISTED_MAX: u64 = 8;
/// The bytes of a leaf when it is written. Four fit a page of the catalog.
const LEAF_BYTES: usize = 960;

/// A value and documents that have it; borrowed from the leaf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<'a> {
    /// The key of the value.
    pub(crate) key: &'a [u8],
    /// The number of documents.
    pub(crate) count: u64,
    rows: &'a [u8],
    /// All of it as stored.
    bytes: &'a [u8],
}

/// A group that can change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OwnGroup {
    pub(crate) key: Vec<u8>,
    pub(crate) rows: RoaringTreemap,
}

/// A group on its way into a leaf: as it was stored, or changed.
#[derive(Clone, Debug)]
pub(super) enum NewGroup<'a> {
    Stored(Group<'a>),
    Changed(OwnGroup),
}

fn corrupt(detail: &str) -> Error {
    Error::corrupt("leaf of postings", 0, detail)
}

impl Group<'_> {
    /// Adds the first rows of the documents to `all`.
    pub(crate) fn add_to(&self, all: &mut RoaringTreemap) -> Result<()> {
        if self.count <= LISTED_MAX {
            let (mut rest, mut row) = (self.rows, 0_u64);
            for place in 0..self.count {
                let step = varint(&mut rest).ok_or_else(|| corrupt("a row is missing"))?;
                let next = row.checked_add(step).filter(|_| place == 0 || step > 0);
                row = next.ok_or_else(|| corrupt("the rows do not rise"))?;
                all.insert(row);
            }
            return if rest.is_empty() { Ok(()) } else { Err(corrupt("bytes after the last row")) };
        }
        let rows = RoaringTreemap::deserialize_from(self.rows).map_err(|e| corrupt(&e.to_string()))?;
        if rows.len() != self.count {
            return Err(corrupt(&format!("{} rows expected, {} found", self.count, rows.len())));
        }
        if all.is_empty() {
            *all = rows;
        } else {
            *all |= rows;
        }
        Ok(())
    }

    /// The first rows of the documents.
    pub(crate) fn rows(&self) -> Result<RoaringTreemap> {
        let mut rows = RoaringTreemap::new();
        self.add_to(&mut rows).map(|()| rows)
    }
}

/// The groups of a leaf, in order. A fault ends the iteration.
pub(super) fn groups(leaf: &[u8]) -> Groups<'_> {
    let rest = match leaf.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((other, _)) => Err(corrupt(&format!("version {other} is not known"))),
        None => Err(corrupt("it is empty")),
    };
    Groups { rest: Some(rest) }
}

/// Iterator of [`groups`].
pub(super) struct Groups<'a> {
    rest: Option<Result<&'a [u8]>>,
}

impl<'a> Iterator for Groups<'a> {
    type Item = Result<Group<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = match self.rest.take()? {
            Ok([]) => return None,
            Ok(rest) => rest,
            Err(error) => return Some(Err(error)),
        };
        let Some(group) = read_group(&mut rest) else { return Some(Err(corrupt("a group is cut short"))) };
        self.rest = Some(Ok(rest));
        Some(Ok(group))
    }
}

fn read_group<'a>(rest: &mut &'a [u8]) -> Option<Group<'a>> {
    let start = *rest;
    let key = take(rest)?;
    let count = varint(rest).filter(|&count| count > 0)?;
    let rows = take(rest)?;
    let bytes = start.get(..start.len() - rest.len())?;
    Some(Group { key, count, rows, bytes })
}

/// Bytes behind their number.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = to_usize(varint(rest)?);
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let low = u64::from(byte & 127);
        if shift > 0 && low >> (u64::BITS - shift) != 0 {
            return None;
        }
        value |= low << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(u8::try_from(value & 127).unwrap_or(0) | 128);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

/// The groups of a leaf, whose keys rise. Their rows are not looked at.
pub(super) fn rising(leaf: &[u8]) -> Result<Vec<Group<'_>>> {
    let mut all: Vec<Group<'_>> = Vec::new();
    for group in groups(leaf) {
        let group = group?;
        if all.last().is_some_and(|last| last.key >= group.key) {
            return Err(corrupt("the keys do not rise"));
        }
        all.push(group);
    }
    Ok(all)
}

/// Reads a whole leaf, checking everything.
pub(crate) fn decode(leaf: &[u8]) -> Result<Vec<OwnGroup>> {
    rising(leaf)?.into_iter().map(OwnGroup::stored).collect()
}

impl<'a> NewGroup<'a> {
    pub(super) fn key(&self) -> &[u8] {
        match self {
            NewGroup::Stored(group) => group.key,
            NewGroup::Changed(group) => &group.key,
        }
    }

    fn first_row(&self) -> Result<u64> {
        let first = match self {
            NewGroup::Stored(group) => group.rows()?.min(),
            NewGroup::Changed(group) => group.rows.min(),
        };
        Ok(first.unwrap_or(0))
    }

    fn bytes(&self) -> Result<Cow<'a, [u8]>> {
        Ok(match self {
            NewGroup::Stored(group) => Cow::Borrowed(group.bytes),
            NewGroup::Changed(group) => Cow::Owned(group.bytes()?),
        })
    }

    fn into_own(self) -> Result<OwnGroup> {
        match self {
            NewGroup::Stored(group) => OwnGroup::stored(group),
            NewGroup::Changed(group) => Ok(group),
        }
    }
}

impl OwnGroup {
    fn stored(group: Group<'_>) -> Result<Self> {
        Ok(OwnGroup { key: group.key.to_vec(), rows: group.rows()? })
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.key.len() + self.rows.serialized_size());
        self.write(&mut out)?;
        Ok(out)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        put_varint(out, to_u64(self.key.len()));
        out.extend_from_slice(&self.key);
        let count = self.rows.len();
        put_varint(out, count);
        let mut rows = Vec::new();
        if count <= LISTED_MAX {
            let mut last = 0;
            for row in &self.rows {
                put_varint(&mut rows, row - last);
                last = row;
            }
        } else {
            let mut set = self.rows.clone();
            set.optimize();
            set.serialize_into(&mut rows).map_err(|e| Error::invalid("bitmap", e.to_string()))?;
        }
        put_varint(out, to_u64(rows.len()));
        out.extend_from_slice(&rows);
        Ok(())
    }

    /// The group in parts that rise and have about the same number of rows.
    fn parts(self, parts: usize) -> Vec<OwnGroup> {
        let each = self.rows.len().div_ceil(to_u64(parts).max(1)).max(1);
        let mut all: Vec<OwnGroup> = Vec::new();
        for (n, row) in self.rows.iter().enumerate() {
            if to_u64(n).is_multiple_of(each) {
                all.push(OwnGroup { key: self.key.clone(), rows: RoaringTreemap::new() });
            }
            if let Some(last) = all.last_mut() {
                last.rows.insert(row);
            }
        }
        all
    }
}

/// A leaf to be written, and its first posting.
#[derive(Debug)]
pub(super) struct NewLeaf {
    pub(super) key: Vec<u8>,
    pub(super) row: u64,
    pub(super) bytes: Vec<u8>,
}

/// Writes groups whose keys rise into as many leaves as they need, filled evenly.
pub(super) fn encode(groups: Vec<NewGroup<'_>>) -> Result<Vec<NewLeaf>> {
    let mut written = Vec::with_capacity(groups.len());
    for group in groups {
        let bytes = group.bytes()?;
        let parts = bytes.len().div_ceil(LEAF_BYTES);
        if parts == 1 {
            written.push((group, bytes));
            continue;
        }
        for part in group.into_own()?.parts(parts) {
            let bytes = Cow::Owned(part.bytes()?);
            written.push((NewGroup::Changed(part), bytes));
        }
    }
    let total: usize = written.iter().map(|(_, bytes)| bytes.len()).sum();
    let target = total.div_ceil(total.div_ceil(LEAF_BYTES).max(1));
    let mut leaves: Vec<NewLeaf> = Vec::new();
    let mut last: Option<&NewGroup<'_>> = None;
    for (group, bytes) in &written {
        // A key is in a leaf once; a leaf takes a group that passes its size by less than half.
        let fits = |leaf: &NewLeaf| {
            let len = leaf.bytes.len();
            let is_other = last.is_none_or(|last| last.key() != group.key());
            is_other && len < target && len + bytes.len() <= target + target / 2
        };
        match leaves.last_mut() {
            Some(leaf) if fits(leaf) => leaf.bytes.extend_from_slice(bytes),
            _ => {
                let (key, row) = (group.key().to_vec(), group.first_row()?);
                let mut leaf = NewLeaf { key, row, bytes: Vec::with_capacity(2 * LEAF_BYTES) };
                leaf.bytes.push(VERSION);
                leaf.bytes.extend_from_slice(bytes);
                leaves.push(leaf);
            }
        }
        last = Some(group);
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_groups() -> impl Strategy<Value = Vec<OwnGroup>> {
        let rows = prop_oneof![
            prop::collection::btree_set(0_u64..100, 1..12),
            prop::collection::btree_set(any::<u64>(), 1..12),
            prop::collection::btree_set(0_u64..200_000, 1..3000),
        ];
        let key = prop::collection::vec(any::<u8>(), 0..20);
        prop::collection::btree_map(key, rows, 0..30).prop_map(|groups| {
            let own = |(key, rows): (Vec<u8>, std::collections::BTreeSet<u64>)| OwnGroup {
                key,
                rows: rows.into_iter().collect(),
            };
            groups.into_iter().map(own).collect()
        })
    }

    fn changed(groups: &[OwnGroup]) -> Vec<NewGroup<'static>> {
        groups.iter().cloned().map(NewGroup::Changed).collect()
    }

    proptest! {
        /// What is copied is what would be written.
        #[test]
        fn groups_that_stay_are_written_as_if_they_had_changed(groups in all_groups()) {
            let lists = |leaves: Vec<NewLeaf>| -> Vec<_> {
                leaves.into_iter().map(|leaf| (leaf.key, leaf.row, leaf.bytes)).collect()
            };
            for leaf in encode(changed(&groups)).unwrap() {
                let stored = rising(&leaf.bytes).unwrap().into_iter().map(NewGroup::Stored).collect();
                let anew = changed(&decode(&leaf.bytes).unwrap());
                prop_assert_eq!(lists(encode(stored).unwrap()), lists(encode(anew).unwrap()));
            }
        }

        #[test]
        fn leaves_hold_what_was_written(groups in all_groups()) {
            let leaves = encode(changed(&groups)).unwrap();
            let mut again: Vec<OwnGroup> = Vec::new();
            for leaf in &leaves {
                let found = decode(&leaf.bytes).unwrap();
                prop_assert_eq!((&leaf.key, leaf.row), (&found[0].key, found[0].rows.min().unwrap()));
                prop_assert!(leaf.bytes.len() <= 2 * LEAF_BYTES + 64, "{}", leaf.bytes.len());
                for group in found {
                    match again.last_mut() {
                        Some(last) if last.key == group.key => {
                            prop_assert!(last.rows.max() < group.rows.min());
                            last.rows |= group.rows;
                        }
                        _ => again.push(group),
                    }
                }
            }
            prop_assert_eq!(again, groups);
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode(&[&[VERSION], &bytes[..]].concat());
        }

        #[test]
        fn damage_is_an_error_or_another_leaf(groups in all_groups(), at: prop::sample::Index, flip in 1_u8..) {
            if let Some(leaf) = encode(changed(&groups)).unwrap().first_mut() {
                let at = at.index(leaf.bytes.len());
                leaf.bytes[at] ^= flip;
                let _ = decode(&leaf.bytes);
            }
        }
    }
}
