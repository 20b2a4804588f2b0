//! Whether the index agrees with the documents.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::super::read::Rows;
use super::super::record::{DocumentRecord, Record as _};
use super::super::table::Table;
use super::{LEFT_OUT, damage, fields, for_each_group, index, leaf, left_out};
use crate::checksum::crc32;
use crate::codec::{key, key_number};
use crate::error::{Error, Result};
use crate::filter::{Entry, entries};

/// Documents between two calls of `step`.
const STEP_ROWS: u64 = 1024;

/// Checks a row of the table of postings by itself.
pub(crate) fn check_leaf(key: &[u8], value: &[u8]) -> Result<()> {
    leaf::decode(value).map(drop).map_err(|error| damage(key, &error))
}

/// What the postings of a field add up to, in whatever order they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    postings: u64,
    hashes: u64,
}

impl Sum {
    fn add(&mut self, value: &[u8], row: u64) {
        self.postings += 1;
        let hash = |salt: u8| u64::from(crc32(&[&[salt], value, &key(row)]));
        self.hashes = self.hashes.wrapping_add(hash(0) << u32::BITS | hash(1));
    }
}

/// Compares the postings with the documents. Cost: reads every document and every posting; memory for the fields alone.
pub(crate) fn check(rows: &dyn Rows, step: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
    let Some(state) = index(rows)? else { return Ok(()) };
    let fields: BTreeMap<String, _> = fields(rows)?.into_iter().collect();
    let (absent, mut expected) = (left_out(rows)?, BTreeMap::<u32, Sum>::new());
    if !absent.is_empty() && !state.leaves_out {
        return Err(Error::corrupt("index", 0, "it leaves out documents and does not say so"));
    }
    let mut done = 0;
    rows.scan(Table::Documents, &[], &mut |at, value| {
        done += 1;
        if done % STEP_ROWS == 0 {
            step(done)?;
        }
        let row = key_number(at).ok_or_else(|| Table::Documents.damage(at, "key is no number"))?;
        if absent.contains(row) {
            expected.entry(LEFT_OUT).or_default().add(&[], row);
            return Ok(true);
        }
        let record = DocumentRecord::decode(value)?;
        let fault = |reason: &str| Table::Documents.damage(at, reason);
        let found = entries(&record.metadata).map_err(|e| fault(&e.reason))?;
        let mut last: Option<&Entry> = None;
        for entry in
            &found.ok_or_else(|| fault("it has too many values, and the index does not leave it out"))?
        {
            let field = fields.get(&entry.field).ok_or_else(|| fault("the index lacks a field of it"))?;
            if last.is_some_and(|last| last.field == entry.field) && !field.is_multiple {
                return Err(fault("it has several values of a field that the index says has one"));
            }
            expected.entry(field.number).or_default().add(&entry.key, row);
            last = Some(entry);
        }
        Ok(true)
    })?;
    let names = fields.iter().map(|(name, field)| (field.number, format!("field {name:?}")));
    for (number, name) in names.chain([(LEFT_OUT, "documents left out".to_owned())]) {
        let mut sum = Sum::default();
        for_each_group(rows, number, &[], &mut |group| {
            for row in group.rows()? {
                sum.add(group.key, row);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let wanted = expected.remove(&number).unwrap_or_default();
        if sum != wanted {
            let what = format!("index of {name}");
            let detail =
                format!("{} postings of the documents expected, {} found", wanted.postings, sum.postings);
            return Err(Error::corrupt(what, 0, detail));
        }
    }
    Ok(())
}
