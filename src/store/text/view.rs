//! The text index as one committed state has it, and searching it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use roaring::RoaringTreemap;

use super::{analyzer, layout, parts};
use crate::catalog::{self, Counters, DocumentRecord, ReadTxn, Rows, Table, TextRecord};
use crate::codec::{key, to_u64, to_usize};
use crate::error::{Error, Result};
use crate::storage::hold;
use crate::store::memory::{Accountant, Component, Grant};
use crate::store::snapshot::{Snapshot, document_row};
use crate::store::view::View;
use crate::text::analyzer::Analyzer;
use crate::text::query::TextQuery;
use crate::text::search::{Allowed, Clauses, Corpus, bytes, matching, search};
use crate::text::segment::Segment;
use crate::text::tail::Tail;
use crate::vector::topk::{Best, TopK};

/// So many rows of the tail in memory may be dead whatever their share.
const TAIL_ROWS_STALE: u64 = 1024;

/// The tail of an earlier commit, and the row up to which it reads documents.
type Before = (HeldTail, u64);

/// A tail, and the memory that was granted for its postings: like these, shared by the states that have them.
#[derive(Clone, Debug)]
struct HeldTail {
    tail: Tail,
    grant: Arc<Mutex<Grant>>,
}

impl HeldTail {
    fn empty(accountant: &Arc<Accountant>) -> Self {
        let grant = Arc::new(Mutex::new(accountant.nothing(Component::Text)));
        HeldTail { tail: Tail::default(), grant }
    }

    /// As [`Tail::extended`].
    fn extended(
        self,
        analyzer: &Analyzer,
        rows: impl IntoIterator<Item = (u64, String)>,
        dead: &RoaringTreemap,
    ) -> Result<Option<Self>> {
        let mut room = |bytes: u64| {
            let more = bytes + bytes / 4;
            hold(&self.grant).ensure("searching the texts that are in no segment yet", more)?;
            Ok(more)
        };
        let tail = self.tail.extended(analyzer, rows, dead, &mut room)?;
        Ok(tail.map(|tail| HeldTail { tail, grant: self.grant }))
    }
}

/// The text index of one committed state.
#[derive(Debug)]
pub(in crate::store) struct TextView {
    pub(in crate::store) record: TextRecord,
    /// In the order of their rows.
    pub(in crate::store) segments: Arc<Vec<Arc<Segment>>>,
    /// `None` where this version cuts texts in another way.
    analyzer: Option<Analyzer>,
    /// Read when it is first asked for.
    tail: OnceLock<HeldTail>,
    tail_before: Option<Before>,
    next_row: u64,
    /// What is wrong with the rows of the catalog that say where everything is: then nothing is searched.
    damage: Option<String>,
}

impl TextView {
    /// Reads the state that `txn` sees, from `known` as far as that is the same; `None` in a store without a text index.
    pub(in crate::store) fn refresh(
        txn: &ReadTxn,
        counters: &Counters,
        known: Option<&View>,
    ) -> Result<Option<Self>> {
        let record = match catalog::text(txn) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(error) => return broken(TextRecord::default(), counters, error).map(Some),
        };
        let known = known.and_then(|known| Some((known.counters.commit, known.text.as_ref()?)));
        let known = known.filter(|(_, known)| known.damage.is_none());
        let same = known.filter(|(since, _)| record.changed.max(counters.segments_changed) <= *since);
        let segments = match same {
            Some((_, known)) => Arc::clone(&known.segments),
            None => match open_segments(txn, known.map(|(_, known)| known)) {
                Ok(segments) => Arc::new(segments),
                Err(error) => return broken(record, counters, error).map(Some),
            },
        };
        // A merge leaves the tail as it is.
        let tail_before = known.filter(|(_, known)| known.record.tail_from == record.tail_from);
        let tail_before = tail_before.and_then(|(_, known)| {
            let before = known.tail.get().map(|tail| (tail.clone(), known.next_row));
            before.or_else(|| known.tail_before.clone())
        });
        let analyzer = analyzer(&record);
        Ok(Some(TextView {
            record,
            segments,
            analyzer,
            tail: OnceLock::new(),
            tail_before,
            next_row: counters.next_row,
            damage: None,
        }))
    }

    /// What is wrong with the rows of the catalog.
    pub(in crate::store) fn damage(&self) -> Result<()> {
        match &self.damage {
            Some(damage) => Err(Error::corrupt("text index", 0, &**damage)),
            None => Ok(()),
        }
    }

    /// Whether this version cuts texts as the index has them.
    pub(in crate::store) fn is_current(&self) -> bool {
        self.analyzer.is_some()
    }

    /// The way in which texts are cut.
    ///
    /// # Errors
    /// `Unavailable` if this version cuts them in another way than the index has them.
    pub(in crate::store) fn analyzer(&self) -> Result<&Analyzer> {
        self.analyzer.as_ref().ok_or_else(|| Error::Unavailable {
            feature: "searching for words",
            reason: "another version of vdb made the text index; a repair of the store builds it anew".into(),
        })
    }

    /// Memory that the tail takes, in bytes.
    pub(in crate::store) fn tail_bytes(&self) -> u64 {
        let before = self.tail_before.as_ref().map(|(tail, _)| tail);
        self.tail.get().or(before).map_or(0, |held| held.tail.bytes())
    }

    /// The tail; `txn` must see this state. Cost: at the first call, the documents that were added since the state before
    /// was asked.
    fn tail(&self, txn: &ReadTxn, dead: &RoaringTreemap, accountant: &Arc<Accountant>) -> Result<&Tail> {
        if let Some(held) = self.tail.get() {
            return Ok(&held.tail);
        }
        let held = self.load_tail(txn, dead, accountant)?;
        Ok(&self.tail.get_or_init(|| held).tail)
    }

    fn load_tail(
        &self,
        txn: &ReadTxn,
        dead: &RoaringTreemap,
        accountant: &Arc<Accountant>,
    ) -> Result<HeldTail> {
        let (analyzer, anew) = (self.analyzer()?, HeldTail::empty(accountant));
        if self.record.tail_bytes == 0 {
            return Ok(anew);
        }
        let mut texts = accountant.nothing(Component::Text);
        if let Some((before, from)) = &self.tail_before {
            let rows = read_rows(txn, *from, &mut texts)?;
            let tail = before.clone().extended(analyzer, rows, dead)?;
            let is_fresh =
                |held: &HeldTail| to_u64(held.tail.len()) <= 2 * held.tail.live() + TAIL_ROWS_STALE;
            // Somebody with a later state may have added to it: then ours is made anew.
            if let Some(tail) = tail.filter(is_fresh) {
                return Ok(tail);
            }
        }
        let rows = read_rows(txn, self.record.tail_from, &mut texts)?;
        Ok(anew.clone().extended(analyzer, rows, dead)?.unwrap_or(anew))
    }
}

/// A text index that is damaged in the catalog; other errors go on to the caller.
fn broken(record: TextRecord, counters: &Counters, error: Error) -> Result<TextView> {
    let (Error::Corrupt { .. } | Error::Version { .. }) = error else { return Err(error) };
    Ok(TextView {
        record,
        segments: Arc::default(),
        analyzer: None,
        tail: OnceLock::new(),
        tail_before: None,
        next_row: counters.next_row,
        damage: Some(error.to_string()),
    })
}

/// The texts of the documents whose first rows are `from` or later, with these rows, in memory that `grant` grows by.
fn read_rows(txn: &ReadTxn, from: u64, grant: &mut Grant) -> Result<Vec<(u64, String)>> {
    let mut rows = Vec::new();
    txn.scan(Table::Documents, &key(from), &mut |row, value| {
        let (row, record) = document_row(row, value)?;
        if let Some(text) = record.text {
            // The list may be copied once it is full.
            let entry = 3 * size_of::<(u64, String)>();
            grant.grow("reading the texts that are in no segment yet", to_u64(text.len() + entry))?;
            rows.push((row, text));
        }
        Ok(true)
    })?;
    Ok(rows)
}

/// Opens the segments; those of `known` are shared.
fn open_segments(txn: &ReadTxn, known: Option<&TextView>) -> Result<Vec<Arc<Segment>>> {
    let known: BTreeMap<u64, &Arc<Segment>> = known.map_or_else(BTreeMap::new, |known| {
        known.segments.iter().map(|segment| (segment.id(), segment)).collect()
    });
    let mut segments = Vec::new();
    for (number, record) in catalog::text_segments(txn)? {
        let place = catalog::blob(txn, record.blob)?;
        segments.push(match known.get(&number) {
            // Compaction may have moved it, a repair written it anew.
            Some(same) if same.blob_id() == record.blob && same.is_at(&place) => Arc::clone(same),
            _ => Arc::new(Segment::new(txn.container(), number, layout(&record), (record.blob, place))),
        });
    }
    segments.sort_by_key(|segment| segment.layout().first_row);
    Ok(segments)
}

/// Chooses the parts of documents that are shown.
pub(in crate::store) struct TellingParts<'a> {
    analyzer: &'a Analyzer,
    clauses: Clauses,
    accountant: Arc<Accountant>,
    /// For the clauses.
    _grant: Grant,
}

impl TellingParts<'_> {
    /// The place of the part of a document that scores best by itself, the first of equals. Cost: analyzes the text.
    ///
    /// # Errors
    /// `Memory`.
    pub(in crate::store) fn best(&self, document: &DocumentRecord) -> Result<u64> {
        let held = HeldTail::empty(&self.accountant);
        let held = held.extended(self.analyzer, parts(document), &RoaringTreemap::new())?;
        Ok(held.and_then(|held| self.clauses.best(&held.tail)).unwrap_or(0))
    }
}

impl Snapshot {
    /// The text index.
    ///
    /// # Errors
    /// `Unavailable` in a store that was made without one.
    pub(in crate::store) fn text(&self) -> Result<&TextView> {
        let text = self.view().text.as_ref().ok_or_else(|| Error::Unavailable {
            feature: "searching for words",
            reason: "it has no text index; make a store with one, and import the documents into that".into(),
        })?;
        text.damage()?;
        Ok(text)
    }

    /// The best `k` documents for a query text: BM25 with the statistics of the whole store.
    ///
    /// `allowed` are rows of documents that may be found, with all their rows; `None` is all. What the query requires and excludes
    /// is not looked at: see [`Snapshot::text_conditions`]. Equal scores are in the order of rows.
    /// There are never fewer than `k`, unless fewer match.
    /// # Errors
    /// `Unavailable` without a text index; `Corrupt` when a segment is damaged; `Memory`; `Io`.
    pub(in crate::store) fn text_search(
        &self,
        query: &TextQuery,
        allowed: Option<&RoaringTreemap>,
        k: usize,
    ) -> Result<Vec<Best>> {
        let list = TopK::bytes(k.min(to_usize(self.view().counters.documents)));
        let needs = to_u64(list.saturating_add(bytes(query.scored.len())));
        let allowed = allowed.map_or(Allowed::Live, Allowed::Only);
        let mut top = TopK::new(k);
        self.with_corpus(|corpus| {
            (corpus.room)(needs)?;
            if k == 0 || query.is_empty() {
                return Ok(());
            }
            search(corpus, &query.scored, allowed, &mut |row, score| {
                top.offer(score, row, Some);
                top.floor()
            })
        })?;
        Ok(top.into_sorted())
    }

    /// What `use_it` makes of all texts, as this snapshot sees them, with the memory that it asked for.
    fn with_corpus<T>(&self, use_it: impl FnOnce(&Corpus<'_>) -> Result<T>) -> Result<(T, Grant)> {
        let (view, text, accountant) = (self.view(), self.text()?, self.store().accountant());
        let grant = RefCell::new(accountant.nothing(Component::Queries));
        let tail = text.tail(self.txn(), &view.dead, accountant)?;
        let room = |bytes| grant.borrow_mut().grow("a search for words", bytes);
        let made =
            use_it(&Corpus { segments: &text.segments, tail: Some(tail), dead: &view.dead, room: &room })?;
        Ok((made, grant.into_inner()))
    }

    /// Tells which parts of documents have most of what the query asks for.
    ///
    /// # Errors
    /// As [`Snapshot::text_search`].
    pub(in crate::store) fn telling_parts(&self, query: &TextQuery) -> Result<TellingParts<'_>> {
        let (clauses, grant) = self.with_corpus(|corpus| Clauses::new(corpus, &query.scored))?;
        let (analyzer, accountant) = (self.text()?.analyzer()?, Arc::clone(self.store().accountant()));
        Ok(TellingParts { analyzer, clauses, accountant, _grant: grant })
    }

    /// The rows of the documents that have what the query requires, and nothing that it excludes.
    ///
    /// # Errors
    /// As [`Snapshot::text_search`].
    pub(in crate::store) fn text_conditions(&self, query: &TextQuery) -> Result<RoaringTreemap> {
        let view = self.view();
        let mut first_rows = view.first_rows();
        self.with_corpus(|corpus| {
            let documents = |clause| Ok::<_, Error>(matching(corpus, clause)? - &**view.dead);
            for clause in &query.required {
                first_rows &= documents(clause)?;
            }
            for clause in &query.excluded {
                first_rows -= documents(clause)?;
            }
            Ok(())
        })?;
        view.add_parts(&mut first_rows);
        Ok(first_rows)
    }
}
