//! Postings in memory: which rows have which terms, and where.

use std::collections::HashMap;

use tantivy::fieldnorm::FieldNormReader;

use super::analyzer::{Analyzer, Purpose};
use crate::codec::{to_u64, to_usize};
use crate::error::Result;

/// Bytes that a term takes beside its own and its postings: an entry of the map, a list, two allocations.
const TERM_BYTES: usize = 112;

/// The rows of a term and its places in them.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Rows that have it.
    pub(super) count: u32,
    last_doc: u32,
    last_position: u32,
    /// A varint for each occurrence. An odd one begins a row: half of it is its distance from the row before, and another
    /// varint, the position, follows. Half of an even one is the distance from the position before.
    bytes: Vec<u8>,
}

/// Postings of rows in ascending order. A *doc* is the place of a row among them.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    terms: HashMap<Box<str>, u32>,
    lists: Vec<List>,
    rows: Vec<u64>,
    norms: Vec<u8>,
    bytes: usize,
}

/// The length of a text as it is stored, in one byte: exact up to forty positions, and rounded down beyond.
pub(super) fn norm(positions: u32) -> u8 {
    FieldNormReader::fieldnorm_to_id(positions)
}

/// The length that a stored byte stands for.
pub(super) fn length(norm: u8) -> u64 {
    u64::from(FieldNormReader::id_to_fieldnorm(norm))
}

fn place(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Postings {
    /// Adds a row, which is greater than those before, with memory for `allowed` bytes of postings; `room` is told when they take more, and answers what is
    /// allowed from there on.
    ///
    /// # Errors
    /// That of `room`; then there is only a part of the row, and the postings are of no use any more.
    pub(crate) fn add_within(
        &mut self,
        analyzer: &Analyzer,
        row: u64,
        text: &str,
        mut allowed: u64,
        room: &mut dyn FnMut(u64) -> Result<u64>,
    ) -> Result<()> {
        let mut refused = None;
        self.fill(analyzer, row, text, &mut |bytes| {
            if bytes > allowed {
                match room(bytes) {
                    Ok(more) => allowed = more,
                    Err(error) => refused = Some(error),
                }
            }
            refused.is_none()
        });
        refused.map_or(Ok(()), Err)
    }

    /// Adds a row; `go_on` is told after each term what the postings take, and answers whether to take more terms.
    fn fill(&mut self, analyzer: &Analyzer, row: u64, text: &str, go_on: &mut dyn FnMut(u64) -> bool) {
        let doc = place(self.rows.len());
        let mut goes_on = true;
        let positions = analyzer.analyze(text, Purpose::Index, &mut |token| {
            if goes_on {
                self.push(doc, token.term, token.position);
                goes_on = go_on(to_u64(self.bytes()));
            }
        });
        self.rows.push(row);
        self.norms.push(norm(positions));
    }

    fn push(&mut self, doc: u32, term: &str, position: u32) {
        let list = if let Some(&list) = self.terms.get(term) {
            list
        } else {
            let list = place(self.lists.len());
            self.terms.insert(term.into(), list);
            self.lists.push(List::default());
            self.bytes += TERM_BYTES + term.len();
            list
        };
        let Some(list) = self.lists.get_mut(to_usize(list.into())) else { return };
        let before = list.bytes.capacity();
        list.push(doc, position);
        self.bytes += list.bytes.capacity() - before;
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        // A map that grows holds its old entries beside the new; rows and norms likewise.
        self.bytes + 18 * self.rows.len()
    }

    pub(super) fn rows(&self) -> &[u64] {
        &self.rows
    }

    pub(super) fn norms(&self) -> &[u8] {
        &self.norms
    }

    pub(super) fn list(&self, term: &str) -> Option<&List> {
        self.lists.get(to_usize(u64::from(*self.terms.get(term)?)))
    }

    /// The lists of the terms that begin with `prefix`. Cost: a look at every term.
    pub(super) fn lists_of(&self, prefix: &str) -> impl Iterator<Item = &List> {
        let begin = self.terms.iter().filter(move |(term, _)| term.starts_with(prefix));
        begin.filter_map(|(_, &list)| self.lists.get(to_usize(list.into())))
    }

    /// The terms in the order of their bytes.
    pub(super) fn sorted(&self) -> Vec<(&str, &List)> {
        let named = self.terms.iter();
        let mut sorted: Vec<(&str, &List)> = named
            .filter_map(|(term, &list)| Some((&**term, self.lists.get(to_usize(list.into()))?)))
            .collect();
        sorted.sort_unstable_by_key(|(term, _)| *term);
        sorted
    }
}

impl List {
    fn push(&mut self, doc: u32, position: u32) {
        if self.count == 0 || doc != self.last_doc {
            varint(&mut self.bytes, u64::from(doc - self.last_doc) << 1 | 1);
            varint(&mut self.bytes, position.into());
            self.count += 1;
        } else if position == self.last_position {
            // Of `a.a` the parts are one at this position.
        } else {
            varint(&mut self.bytes, u64::from(position - self.last_position) << 1);
        }
        (self.last_doc, self.last_position) = (doc, position);
    }

    /// From its first row on.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        let mut cursor = Cursor { bytes: &self.bytes, next: None, doc: 0 };
        cursor.step();
        cursor
    }
}

/// A way through a list.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The number that was read ahead.
    next: Option<u64>,
    doc: u32,
}

impl Cursor<'_> {
    fn step(&mut self) {
        self.next = read(&mut self.bytes);
    }

    /// The next row that has the term, with the distances of its places, the first from zero, in `places`.
    pub(super) fn advance(&mut self, places: &mut Vec<u32>) -> Option<u32> {
        places.clear();
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        self.doc += narrow(self.next? >> 1);
        places.push(narrow(read(&mut self.bytes)?));
        self.step();
        while let Some(number) = self.next.filter(|number| number & 1 == 0) {
            places.push(narrow(number >> 1));
            self.step();
        }
        Some(self.doc)
    }
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_give_back_what_they_were_given() {
        let mut postings = Postings::default();
        let analyzer = Analyzer::new(None);
        let texts = ["red blue red", "", "blue blue red", "green"];
        for (row, text) in (0..).step_by(300).zip(texts) {
            postings.add_within(&analyzer, row, text, u64::MAX, &mut Ok).unwrap();
        }
        let all = |term: &str| {
            let (mut found, mut places) = (Vec::new(), Vec::new());
            let mut cursor = postings.list(term).unwrap().cursor();
            while let Some(doc) = cursor.advance(&mut places) {
                found.push((doc, places.clone()));
            }
            assert_eq!(u32::try_from(found.len()).unwrap(), postings.list(term).unwrap().count);
            found
        };
        assert_eq!(all("red"), [(0, vec![0, 2]), (2, vec![2])]);
        assert_eq!(all("blue"), [(0, vec![1]), (2, vec![0, 1])]);
        assert_eq!(postings.rows(), [0, 300, 600, 900]);
        assert_eq!(postings.norms(), [3, 0, 3, 1]);
        assert!(postings.list("yellow").is_none());
        let sorted: Vec<&str> = postings.sorted().into_iter().map(|(term, _)| term).collect();
        assert_eq!(sorted, ["blue", "green", "red"]);
        assert_eq!(postings.lists_of("gr").count(), 1);
    }

    #[test]
    fn long_numbers_survive() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX) << 1 | 1] {
            let mut bytes = Vec::new();
            varint(&mut bytes, number);
            assert_eq!(read(&mut bytes.as_slice()), Some(number));
        }
        assert_eq!(read(&mut [0x80].as_slice()), None);
    }
}
