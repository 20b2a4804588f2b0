//! The planner: for each segment, from numbers alone, a scan of the rows, a scan of codes, or a search of the graph.

use crate::codec::{to_u64, to_usize};
use crate::vector::codes::Width;
use crate::vector::hnsw::{Codes, Curve, WAYS, Wanted};
use crate::vector::index::Recipe;
use crate::vector::sketch;

/// Nanoseconds that a scan takes for a row, and for each byte of it.
const SCAN_ROW: f64 = 8.0;
const SCAN_BYTE: f64 = 0.065;
/// A row that is picked, not read in order, costs so many times as much; its code, which is shorter, more.
const PICKED: f64 = 1.4;
const PICKED_CODE: f64 = 4.0;
/// Nanoseconds of a scan of codes that do not depend on the rows, and what it takes for each byte of a code.
const CODES_START: f64 = 20_000.0;
const CODES_BYTE: f64 = 0.045;
/// The same of a scan of sketches, and what it takes for each row to see whether it is wanted, for each byte of a group that is
/// read, for a group that is not read after the one before, and for a row that is kept.
const SKETCHES_START: f64 = 8_000.0;
const SKETCHES_ROW: f64 = 0.15;
const SKETCHES_BYTE: f64 = 0.04;
const SKETCHES_LEAP: f64 = 35.0;
const SKETCHES_KEPT: f64 = 50.0;
/// Nanoseconds that a distance takes in the graph, and for each value.
const GRAPH_ROW: f64 = 60.0;
const GRAPH_VALUE: f64 = 0.06;
/// Nanoseconds that each candidate takes whose neighbours are looked at, and, as each has its place in the order of all that
/// wait, for each of those.
const GRAPH_STEP: f64 = 100.0;
const GRAPH_WAITING: f64 = 0.2;
/// Nanoseconds of a search of the graph that do not depend on what it computes.
const GRAPH_START: f64 = 5_000.0;
/// A search of the graph after another may find too few again: it should cost so many times less than a scan.
const AGAIN: f64 = 1.25;
/// What was seen is more than chance if it is so many standard deviations below the part of all rows that is allowed, or above it.
/// Luck is rarely worth a search that may find too few: with the part of all rows the next goes further than it must, no more.
const CHANCE: [f64; 2] = [2.5, 8.0];
/// What happens by chance in so many searches may be left to it.
const SELDOM: f64 = 0.01;
/// Of the nearest rows at least so many times those wanted should be allowed, on average, so that chance seldom leaves
/// too few.
const SPARE: f64 = 2.0;

/// The ways through a segment, to choose one by force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchPath {
    /// A scan of the vectors.
    Exact,
    /// A scan of the codes of an index.
    Codes,
    /// A search of the graph, with more and more effort until it finds enough.
    Graph,
}

/// What is known of an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) recipe: Recipe,
    pub(super) curve: &'a Curve,
    /// The dimensions of the sketches of a graph, and the recall of their scans.
    pub(super) sketches: Option<(usize, &'a Curve)>,
}

/// What is known of a segment and of what is wanted of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) rows: u64,
    /// How many of them may be found, or somewhat more.
    pub(super) allowed: u64,
    /// What the last search of the graph has shown.
    pub(super) seen: Option<Seen>,
    pub(super) dim: u64,
    /// The bytes of a vector.
    pub(super) bytes: u64,
    /// The rows that are wanted: enough for `k` documents.
    pub(super) wanted: usize,
    /// The part of the nearest that should be found.
    pub(super) recall: f32,
    pub(super) index: Option<Known<'a>>,
    /// The only way to go, if it can be gone.
    pub(super) forced: Option<SearchPath>,
}

/// What a search of the graph has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What was asked of it.
    pub(super) wanted: Wanted,
    /// How many of the nearest rows it gave.
    pub(super) nearest: usize,
    /// How many of these are allowed, or at least as many as were to be scored.
    pub(super) allowed: usize,
}

/// How to search a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Every allowed row.
    Exact,
    /// The codes of every allowed row, then so many of them exactly.
    Codes {
        /// How many.
        rescored: usize,
    },
    /// The graph, for so many of the nearest rows, allowed or not.
    Graph {
        /// What to ask of the index.
        wanted: Wanted,
        /// How many of the rows that it gives, the nearest that are allowed, are scored exactly. With fewer the nearest
        /// rows are hardly allowed, and the graph says nothing of those that are.
        rescored: usize,
        /// Whether to turn back above the lowest level if none of the rows there that are nearest is allowed.
        turns_back: bool,
    },
}

/// Chooses the cheapest way that keeps the promise.
///
/// A graph is searched without regard to what is allowed, and so far that enough of the nearest rows should be: what
/// it gives has then the recall of any search, wherever the allowed rows are. How many of the nearest are allowed is not
/// known before: where the least search costs less than the scan that it may save, it is made first, and tells. Each search
/// after another goes at least twice as far, and none follows one that gave less than it was asked for: a graph leads to no
/// more rows than that. So whatever a graph gives, there is an end.
pub(super) fn way(facts: &Facts<'_>) -> Way {
    let Some(known) = facts.index.filter(|_| facts.recall < 1.0 && facts.allowed > 0) else {
        return Way::Exact;
    };
    let effort = known.curve.effort_for(facts.recall);
    let scans = match (known.recipe, effort) {
        // What no effort in the graph finds may be among the nearest by their sketches.
        (Recipe::Graph(_), _) => by_sketches(facts, known.sketches),
        (Recipe::Codes(width), Some(effort)) => {
            let rescored = proportional(effort, facts.wanted);
            scans(facts, Width::bytes(width, to_usize(facts.dim)), rescored)
        }
        (Recipe::Codes(_), None) => return Way::Exact,
    };
    let by_codes = match facts.forced {
        Some(SearchPath::Exact) => false,
        Some(SearchPath::Codes) => scans.codes.is_finite(),
        Some(SearchPath::Graph) | None => scans.codes < scans.exact,
    };
    let scan = if by_codes {
        (scans.codes, Way::Codes { rescored: scans.rescored })
    } else {
        (scans.exact, Way::Exact)
    };
    match (known.recipe, effort) {
        (Recipe::Graph(params), Some(effort)) if matches!(facts.forced, None | Some(SearchPath::Graph)) => {
            graph(facts, params.codes, known.curve, effort, scan)
        }
        _ => scan.1,
    }
}

/// As f64: the nearest rows of which recall was measured.
const NEAREST: f64 = 10.0;

/// What scans cost.
#[derive(Clone, Copy, Debug)]
struct Scans {
    exact: f64,
    codes: f64,
    rescored: usize,
}

/// So many rows, where `effort` of them are scored exactly for the ten nearest.
fn proportional(effort: usize, wanted: usize) -> usize {
    count(float(to_u64(effort)) * float(to_u64(wanted)) / NEAREST).max(wanted)
}

/// What scans of the rows and of their sketches cost; without sketches, or where nothing is promised of them, the latter are
/// out of the question.
fn by_sketches(facts: &Facts<'_>, sketches: Option<(usize, &Curve)>) -> Scans {
    let promised = sketches.and_then(|(dims, curve)| Some((dims, curve.effort_for(facts.recall)?)));
    let Some((dims, effort)) = promised else {
        return Scans { exact: exact(facts), codes: f64::INFINITY, rescored: facts.wanted };
    };
    let rescored = proportional(effort, facts.wanted);
    let rows = float(facts.rows);
    // A group is left out if none of its rows is allowed.
    let read = 1.0 - (1.0 - share(facts)).powf(float(to_u64(sketch::GROUP)));
    let groups = rows / float(to_u64(sketch::GROUP)) * read;
    let group = float(to_u64(sketch::GROUP * dims / 2));
    let kept = SKETCHES_KEPT + picked(facts);
    let codes = SKETCHES_START
        + SKETCHES_ROW * rows
        + (SKETCHES_BYTE * group + SKETCHES_LEAP * (1.0 - read)) * groups
        + kept * float(to_u64(rescored));
    Scans { exact: exact(facts), codes, rescored }
}

/// What scans cost where a code has so many bytes and so many rows are scored exactly after a scan of codes.
fn scans(facts: &Facts<'_>, code_bytes: usize, rescored: usize) -> Scans {
    let code = SCAN_ROW + CODES_BYTE * float(to_u64(code_bytes));
    // Where a vector is hardly longer than its code, or nearly all allowed rows are scored in the end, nothing is saved.
    let codes = CODES_START + code * read(facts, PICKED_CODE) + picked(facts) * float(to_u64(rescored));
    Scans { exact: exact(facts), codes, rescored }
}

/// What a scan of the allowed rows costs.
fn exact(facts: &Facts<'_>) -> f64 {
    (SCAN_ROW + SCAN_BYTE * float(facts.bytes)) * read(facts, PICKED)
}

/// What it costs to score a row that is picked.
fn picked(facts: &Facts<'_>) -> f64 {
    PICKED * (SCAN_ROW + SCAN_BYTE * float(facts.bytes))
}

/// How many rows are read in order at the price of picking those that are allowed, or all where that is less.
fn read(facts: &Facts<'_>, picked: f64) -> f64 {
    float(facts.rows).min(float(facts.allowed.min(facts.rows)) * picked)
}

/// A search of the graph where that is cheaper than `scan`, a cost and a way.
fn graph(facts: &Facts<'_>, codes: Codes, curve: &Curve, least: usize, scan: (f64, Way)) -> Way {
    let rows = float(facts.rows);
    let is_forced = facts.forced == Some(SearchPath::Graph);
    let is_filtered = facts.allowed < facts.rows;
    let rescored = codes.candidates(facts.wanted);
    // The last of the rows that a search gives are the least certain. More than are wanted should be among them, so that those
    // which are have before them as large a part as in a search without a filter.
    let rescored = if is_filtered { rescored.saturating_mul(3).div_ceil(2) } else { rescored };
    let (least, again) = (float(to_u64(least)), float(to_u64(rescored)));
    // Where an effort is less than are scored in general, its recall was measured with fewer.
    let fewest = if is_filtered { again } else { float(to_u64(facts.wanted)) };
    // The recall was measured for so many of the nearest; for more of them the effort grows with their number.
    let least = (least * float(to_u64(facts.wanted)) / NEAREST).max(least).max(fewest).ceil();
    let cost = |effort: f64| {
        GRAPH_START
            + (GRAPH_ROW + GRAPH_VALUE * float(facts.dim)) * computed(curve, effort)
            + (GRAPH_STEP + GRAPH_WAITING * effort) * effort
            + picked(facts) * again
    };
    let effort = match facts.seen {
        None => least,
        Some(seen) if seen.nearest < seen.wanted.candidates => return scan.1,
        Some(seen) => {
            (SPARE * again / likely(facts, seen)).max(2.0 * float(to_u64(seen.wanted.effort))).ceil()
        }
    };
    let risk = if facts.seen.is_some() { AGAIN } else { 1.0 };
    if effort >= rows || (risk * cost(effort) >= scan.0 && !is_forced) {
        return scan.1;
    }
    // Nothing near is allowed, then, unless it is by chance: the more rows are allowed, the less likely that is. By chance
    // nothing is lost where the next search would take no less time than the scan.
    let chance = (1.0 - share(facts)).powi(WAYS);
    let is_first = facts.seen.is_none() && is_filtered && !is_forced;
    let is_seldom = chance < SELDOM && chance * scan.0 < cost(effort);
    let next = (SPARE * again / share(facts)).max(effort);
    let turns_back = is_first && (is_seldom || scan.0 <= cost(next));
    let effort = count(effort);
    let rescored = rescored.min(effort);
    let candidates = if is_filtered { effort } else { rescored };
    Way::Graph { wanted: Wanted { candidates, effort }, rescored, turns_back }
}

/// The part of the nearest rows that is likely to be allowed: that of all rows, unless those seen tell of another.
fn likely(facts: &Facts<'_>, seen: Seen) -> f64 {
    let of_all = share(facts);
    let (found, count) = (float(to_u64(seen.allowed)), float(to_u64(seen.nearest.max(1))));
    let deviation = (count * of_all * (1.0 - of_all)).sqrt();
    let [below, above] = CHANCE.map(|times| times * deviation);
    let is_chance = (-below..=above).contains(&(found - count * of_all));
    if is_chance { of_all } else { found / count }.max(0.5 / count)
}

/// The part of all rows that is allowed.
fn share(facts: &Facts<'_>) -> f64 {
    (float(facts.allowed) / float(facts.rows.max(1))).min(1.0)
}

/// How many distances a search of an effort computes: in proportion between what was measured, and beyond it.
fn computed(curve: &Curve, effort: f64) -> f64 {
    let points = curve.points.iter().map(|point| (f64::from(point.effort), f64::from(point.computed)));
    let (mut low, mut high) = ((0.0, 0.0), (1.0, 1.0));
    for (n, point) in points.enumerate() {
        (low, high) = (if n == 0 { (0.0, 0.0) } else { high }, point);
        if effort <= point.0 {
            break;
        }
    }
    let slope = (high.1 - low.1) / (high.0 - low.0);
    (high.1 + slope * (effort - high.0)).max(effort)
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

/// At least `count`, which is not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn count(count: f64) -> usize {
    to_usize(count.ceil() as u64)
}

#[cfg(test)]
mod tests;
