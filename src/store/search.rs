//! Searching snapshots: both rankings, one of the two, and the documents that it gives.

use std::time::Instant;

use roaring::RoaringTreemap;

use super::explain::{Explained, Plan, Side, Weighing};
use super::hit::{Hit, HitReader, ScoreParts, nearest_part, short_hit};
use super::memory::{Component, Grant};
use super::nearest::{Search, nearest};
use super::query::{Diversity, Query};
use super::request::Request;
use super::selection;
use super::snapshot::Snapshot;
use super::weight::weigh;
use crate::codec::to_u64;
use crate::error::{Error, Result};
use crate::fusion::{Fused, SCALE_DEPTH, Scale, fuse};
use crate::metric::Metric;
use crate::mmr::mmr;
use crate::text::query::TextQuery;
use crate::vector::exact::{Query as VectorQuery, Selection};
use crate::vector::topk::Best;

/// When too few documents have the cosine that is wanted, so many times as many are ranked.
const MORE: usize = 4;

/// What needs the memory of the documents that are found.
const HITS: &str = "a search with so many hits";

/// A document on one side: the place of its snapshot, and how good it is there.
type Placed = (usize, Best);

/// A document in the ranking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked {
    /// The place of its snapshot.
    pub(super) source: usize,
    /// Its first row.
    pub(super) owner: u64,
    /// The row of the part that answers best; none if it is the words that tell, of the whole document.
    pub(super) row: Option<u64>,
    /// The part with the best vector, if it was found by that.
    vector_row: Option<u64>,
    pub(super) score: f32,
    pub(super) parts: ScoreParts,
}

/// Finds the best documents of all snapshots, and notes how.
pub(super) fn search(snapshots: &[&Snapshot], query: &Query) -> Result<Explained> {
    query.check()?;
    let started = Instant::now();
    let request = Request::new(snapshots, query)?;
    let mut plan = Plan { mode: request.mode, fusion: query.fusion, ..Plan::default() };
    plan.target_time = started.elapsed();
    plan.notes.extend(request.note.clone());
    plan.terms = request.words.first().map(TextQuery::terms).unwrap_or_default();
    if request.words.iter().any(|words| words.cut) {
        let limit = crate::limits::QUERY_TERMS_MAX;
        plan.notes.push(format!("the query has more than {limit} terms: the first were searched for"));
    }
    let mut searcher =
        Searcher { snapshots, query, request: &request, allowed: Vec::new(), grants: Vec::new(), plan };
    searcher.allow()?;
    let ranked = searcher.ranked()?;
    let mut plan = searcher.plan;
    let started = Instant::now();
    let chosen = match query.diversity {
        Some(diversity) => diverse(snapshots, query, &request, diversity, ranked)?,
        None => ranked,
    };
    let count = chosen.len().min(query.k);
    let nothing = |snapshot: &&Snapshot| snapshot.store().accountant().nothing(Component::Queries);
    let mut grants: Vec<Grant> = snapshots.iter().map(nothing).collect();
    if let Some(grant) = grants.first_mut() {
        grant.grow(HITS, to_u64(count * size_of::<(Hit, usize, Ranked)>()))?;
    }
    let (mut hits, mut sources) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut reader = HitReader::new(&request.words);
    for one in chosen.into_iter().take(count) {
        if let (Some(snapshot), Some(grant)) = (snapshots.get(one.source), grants.get_mut(one.source)) {
            let hit = if query.ids_only { short_hit(snapshot, one)? } else { reader.hit(snapshot, one)? };
            grant.grow(HITS, to_u64(hit.bytes()))?;
            hits.push(hit);
            sources.push(one.source);
        }
    }
    plan.fetch_time = started.elapsed();
    Ok(Explained { hits, sources, plan })
}

/// Ranks the documents of some snapshots for one query.
struct Searcher<'a> {
    snapshots: &'a [&'a Snapshot],
    query: &'a Query,
    request: &'a Request,
    /// Of each snapshot the rows that filter and query text allow; nothing if they say nothing.
    allowed: Vec<Option<RoaringTreemap>>,
    /// The memory of these.
    grants: Vec<Grant>,
    plan: Plan,
}

impl Searcher<'_> {
    fn allow(&mut self) -> Result<()> {
        for (source, snapshot) in self.snapshots.iter().enumerate() {
            let started = Instant::now();
            let words = self.request.words.get(source).filter(|words| words.has_conditions());
            let asked = u64::from(self.query.filter.is_some()) + u64::from(words.is_some());
            let needs = asked.saturating_mul(selection::bytes(snapshot.view().counters.next_row));
            let accountant = snapshot.store().accountant();
            self.grants.push(accountant.grant(Component::Queries, "a search with a filter", needs)?);
            let mut allowed = None;
            if let Some(filter) = &self.query.filter {
                let (rows, path) = snapshot.matching_rows(filter)?;
                self.plan.filter_path = path;
                allowed = Some(rows);
            }
            self.plan.filter_time += started.elapsed();
            let started = Instant::now();
            if let Some(words) = words {
                let rows = snapshot.text_conditions(words)?;
                allowed = Some(match allowed {
                    Some(allowed) => allowed & rows,
                    None => rows,
                });
                self.plan.text_time += started.elapsed();
            }
            self.plan.allowed += allowed.as_ref().map_or(snapshot.view().counters.parts, RoaringTreemap::len);
            self.allowed.push(allowed);
        }
        Ok(())
    }

    /// The ranking, as far as it is wanted.
    fn ranked(&mut self) -> Result<Vec<Ranked>> {
        if self.query.k == 0 {
            return Ok(Vec::new());
        }
        let fetch = self.query.diversity.map_or(0, |diversity| diversity.fetch_k);
        let wanted = self.query.k.max(fetch);
        let mode = self.request.mode;
        let least = if mode.has_vectors() && mode.has_text() { SCALE_DEPTH } else { 0 };
        let mut depth = wanted.saturating_add(usize::from(self.request.excluded.is_some())).max(least);
        loop {
            let vector = self.side(depth, Searcher::by_vector)?;
            let text = self.side(depth, Searcher::by_text)?;
            let is_all = vector.len() < depth && text.len() < depth;
            let mut ranked = self.fused(&vector, &text);
            ranked.retain(|one| Some((one.source, one.owner)) != self.request.excluded);
            if let Some(min) = self.query.min_score {
                ranked.retain(|one| one.score >= min);
            }
            let found = ranked.len();
            if let Some(min) = self.query.min_cosine {
                ranked = self.near_enough(ranked, min)?;
            }
            if ranked.len() >= wanted || is_all || found == ranked.len() {
                ranked.truncate(wanted);
                return Ok(ranked);
            }
            depth = depth.saturating_mul(MORE);
        }
    }

    /// One side's best documents of all snapshots.
    fn side(
        &mut self,
        depth: usize,
        of_one: fn(&mut Self, usize, &Snapshot, usize) -> Result<Vec<Best>>,
    ) -> Result<Vec<Placed>> {
        let mut all = Vec::new();
        for (source, snapshot) in self.snapshots.iter().enumerate() {
            all.extend(of_one(self, source, snapshot, depth)?.into_iter().map(|best| (source, best)));
        }
        if self.snapshots.len() > 1 {
            // Stable: of equal ones those of the first come first.
            all.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
            all.truncate(depth);
        }
        Ok(all)
    }

    /// The documents of one snapshot with the nearest vectors.
    fn by_vector(&mut self, source: usize, snapshot: &Snapshot, depth: usize) -> Result<Vec<Best>> {
        let view = snapshot.view();
        let Some(vector) = self.request.vector.as_ref().filter(|_| self.request.mode.has_vectors()) else {
            return Ok(Vec::new());
        };
        let prepared = VectorQuery::new(view.metric, vector)?;
        let Some(dim) = view.dim() else { return Ok(Vec::new()) };
        prepared.check_dim(dim)?;
        let selection = match self.allowed.get(source) {
            Some(Some(rows)) => Selection::Only(rows),
            _ if view.dead.is_empty() => Selection::All,
            _ => Selection::Except(&view.dead),
        };
        let search = Search {
            query: &prepared,
            selection,
            k: depth,
            recall: self.query.recall,
            path: self.query.path,
        };
        Ok(nearest(snapshot, &search, &mut self.plan)?.into_sorted())
    }

    /// The documents of one snapshot with the most telling words.
    fn by_text(&mut self, source: usize, snapshot: &Snapshot, depth: usize) -> Result<Vec<Best>> {
        let Some(words) = self.request.words.get(source) else { return Ok(Vec::new()) };
        let started = Instant::now();
        let allowed = self.allowed.get(source).and_then(Option::as_ref);
        let found = snapshot.text_search(words, allowed, depth);
        self.plan.text_time += started.elapsed();
        found
    }

    /// One ranking of two, whose documents have their places in the rankings as keys.
    fn fused(&mut self, vector: &[Placed], text: &[Placed]) -> Vec<Ranked> {
        let mode = self.request.mode;
        let (vectors, texts) = keyed(vector, text);
        let (of_vectors, of_texts) = (Scale::of(&vectors), Scale::of(&texts));
        let side = |found: usize, Scale { best, least }: Scale| Side { found, best, least };
        self.plan.vector = mode.has_vectors().then(|| side(vectors.len(), of_vectors));
        self.plan.text = mode.has_text().then(|| side(texts.len(), of_texts));
        if !mode.has_vectors() {
            self.plan.path = "none";
            return text.iter().map(|one| single(one, false)).collect();
        }
        if !mode.has_text() {
            return vector.iter().map(|one| single(one, true)).collect();
        }
        let weighing = match self.query.text_weight {
            Some(text_weight) => Weighing { text_weight, reason: "as asked for".into() },
            None => weigh(self.query.fusion, self.request.fit, &vectors, &texts),
        };
        let fused = fuse(&vectors, &texts, self.query.fusion, weighing.text_weight);
        let shares = Shares { of_vectors, of_texts, text_weight: weighing.text_weight };
        self.plan.weighing = Some(weighing);
        fused.iter().filter_map(|one| shares.both(one, vector, text)).collect()
    }

    /// The documents with a part of at least this cosine.
    fn near_enough(&self, ranked: Vec<Ranked>, min: f32) -> Result<Vec<Ranked>> {
        let Some(vector) = &self.request.vector else { return Err(no_vector("least cosine")) };
        let mut near = Vec::with_capacity(ranked.len());
        for one in ranked {
            let Some(snapshot) = self.snapshots.get(one.source) else { continue };
            let is_cosine = snapshot.view().metric == Metric::Cosine;
            let cosine = match one.parts.vector.filter(|_| is_cosine) {
                Some(score) => Some(f64::from(score)),
                None => nearest_part(snapshot, one.owner, vector)?.map(|(cosine, _)| cosine),
            };
            if cosine.is_some_and(|cosine| cosine >= f64::from(min)) {
                near.push(one);
            }
        }
        Ok(near)
    }
}

/// Both rankings with a key for each document.
type Keyed = (Vec<(u64, f32)>, Vec<(u64, f32)>);

/// Documents of several snapshots may have the same row: the key has both.
fn keyed(vector: &[Placed], text: &[Placed]) -> Keyed {
    let places = vector.iter().chain(text);
    let several = places.map(|(source, _)| *source).max().unwrap_or(0) > 0;
    let mut known: Vec<(u64, usize)> = Vec::new();
    if several {
        known = vector.iter().chain(text).map(|(source, best)| (best.owner, *source)).collect();
        known.sort_unstable();
        known.dedup();
    }
    let key = |(source, best): &Placed| {
        let place = || known.binary_search(&(best.owner, *source)).map_or(u64::MAX, crate::codec::to_u64);
        let key = if several { place() } else { best.owner };
        (key, best.score)
    };
    (vector.iter().map(key).collect(), text.iter().map(key).collect())
}

/// A document that one side alone was asked for.
fn single(&(source, best): &Placed, by_vector: bool) -> Ranked {
    let given = |is_given: bool| is_given.then_some(best.score);
    Ranked {
        source,
        owner: best.owner,
        row: by_vector.then_some(best.row),
        vector_row: by_vector.then_some(best.row),
        score: best.score,
        parts: ScoreParts { vector: given(by_vector), text: given(!by_vector) },
    }
}

/// How much each side gives to a score.
struct Shares {
    of_vectors: Scale,
    of_texts: Scale,
    text_weight: f64,
}

impl Shares {
    /// A document that one side has found or both: it shows the part by which most of its score came.
    #[expect(clippy::cast_possible_truncation, reason = "a score, which users see as f32")]
    fn both(&self, one: &Fused, vector: &[Placed], text: &[Placed]) -> Option<Ranked> {
        let vector = one.vector.and_then(|place| vector.get(place));
        let text = one.text.and_then(|place| text.get(place));
        let share = |side: Option<&Placed>, scale: Scale, weight: f64| {
            side.map_or(-1.0, |(_, best)| weight * scale.normalised(best.score))
        };
        let by_vector = share(vector, self.of_vectors, 1.0 - self.text_weight);
        let by_text = share(text, self.of_texts, self.text_weight);
        let &(source, best) = vector.or(text)?;
        let vector_row = vector.map(|(_, best)| best.row);
        let score = |side: Option<&Placed>| side.map(|(_, best)| best.score);
        Some(Ranked {
            source,
            owner: best.owner,
            row: vector_row.filter(|_| by_text <= by_vector),
            vector_row,
            score: one.score as f32,
            parts: ScoreParts { vector: score(vector), text: score(text) },
        })
    }
}

fn no_vector(what: &str) -> Error {
    let reason = "it needs a vector of the query: an embedding model, or a vector given with the text";
    Error::invalid(what, reason)
}

/// The documents that are near the query and not near each other.
fn diverse(
    snapshots: &[&Snapshot],
    query: &Query,
    request: &Request,
    diversity: Diversity,
    ranked: Vec<Ranked>,
) -> Result<Vec<Ranked>> {
    let Some(vector) = &request.vector else { return Err(no_vector("diversity")) };
    let (mut candidates, mut vectors) = (Vec::new(), Vec::new());
    for one in ranked {
        let Some(snapshot) = snapshots.get(one.source) else { continue };
        let found = match one.vector_row {
            Some(row) => Some(snapshot.row_vector(row)?),
            None => nearest_part(snapshot, one.owner, vector)?.map(|(_, vector)| vector),
        };
        if let Some(found) = found {
            candidates.push(one);
            vectors.push(found);
        }
    }
    let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
    let chosen = mmr(vector, &vectors, query.k, diversity.lambda);
    Ok(chosen.into_iter().filter_map(|at| candidates.get(at).copied()).collect())
}
