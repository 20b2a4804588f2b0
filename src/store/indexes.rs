//! The indexes of the segments of a view.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::catalog::{self, ReadTxn};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::{Blob, BlobRecord};
use crate::vector::exact::Query;
use crate::vector::hnsw::{Index, Near, Wanted};
use crate::vector::segment::Segment;

/// Indexes by the number of their segment.
pub(crate) type Indexes = BTreeMap<u64, Arc<SegmentIndex>>;

/// The index of a segment, as far as it is sound. Search it only under a snapshot that names it.
#[derive(Debug)]
pub(crate) struct SegmentIndex {
    segment: u64,
    place: BlobRecord,
    /// Or what is wrong with it.
    opened: std::result::Result<Index, String>,
    /// What its first search has found wrong.
    damage: OnceLock<String>,
}

impl SegmentIndex {
    fn open(txn: &ReadTxn, segment: &Segment, metric: Metric, place: BlobRecord) -> Result<Self> {
        let opened = Blob::open(txn.container(), place.clone(), format!("index of segment {}", segment.id()))
            .and_then(|blob| Index::open(blob.into_bytes()))
            .and_then(|index| fits(&index, segment, metric).map(|()| index));
        let opened = match opened {
            Ok(index) => Ok(index),
            Err(error @ (Error::Corrupt { .. } | Error::Version { .. })) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        Ok(SegmentIndex { segment: segment.id(), place, opened, damage: OnceLock::new() })
    }

    /// The index, or what is known to be wrong with it.
    pub(crate) fn get(&self) -> std::result::Result<&Index, &str> {
        let index = self.opened.as_ref().map_err(String::as_str)?;
        self.damage.get().map_or(Ok(index), |damage| Err(damage))
    }

    /// The bytes of its blob.
    pub(crate) fn bytes(&self) -> u64 {
        self.place.len
    }

    /// Searches it as [`Index::near`] does; `None` when it turns out to be damaged, which is remembered.
    pub(crate) fn near(&self, query: &Query, wanted: Wanted) -> Result<Option<(Vec<Near>, u64)>> {
        let Ok(index) = self.get() else { return Ok(None) };
        match index.near(query, wanted) {
            Err(error @ Error::Corrupt { .. }) => {
                let _ = self.damage.set(error.to_string());
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Names damage: of the header, or, if `deep`, of any byte and any link.
    pub(crate) fn check(&self, txn: &ReadTxn, deep: bool) -> Result<()> {
        let what = format!("index of segment {}", self.segment);
        if deep {
            Blob::open(txn.container(), self.place.clone(), what.clone())?.check()?;
        }
        let index = self.get().map_err(|damage| Error::corrupt(what.clone(), 0, damage))?;
        let checked = if deep { index.check() } else { Ok(()) };
        checked.map_err(|error| Error::corrupt(what, 0, error.to_string()))
    }
}

fn fits(index: &Index, segment: &Segment, metric: Metric) -> Result<()> {
    let shape = index.shape();
    let found = (crate::codec::to_u64(shape.rows), crate::codec::to_u64(shape.dim), shape.metric);
    let expected = (segment.count(), segment.dim(), metric);
    if found == expected {
        return Ok(());
    }
    let detail = format!("rows, dimension and metric {expected:?} expected, {found:?} found");
    Err(Error::corrupt(format!("index of segment {}", segment.id()), 0, detail))
}

/// Opens the indexes of segments; those of `known` are shared.
pub(crate) fn open_indexes(
    txn: &ReadTxn,
    segments: &[Arc<Segment>],
    metric: Metric,
    known: Option<&Indexes>,
) -> Result<Indexes> {
    let mut indexes = Indexes::new();
    let records = catalog::indexes(txn)?;
    for segment in segments {
        let Some(record) = records.get(&segment.id()) else { continue };
        let place = catalog::blob(txn, record.blob)?;
        let index = match known.and_then(|known| known.get(&segment.id())) {
            // A damaged one may have been built anew, and moved to the same place.
            Some(same) if same.place == place && same.get().is_ok() => Arc::clone(same),
            _ => Arc::new(SegmentIndex::open(txn, segment, metric, place)?),
        };
        indexes.insert(segment.id(), index);
    }
    Ok(indexes)
}
