//! The planner: for each segment, from numbers alone, a scan of the rows or a search of the graph.

use crate::codec::{to_u64, to_usize};
use crate::vector::hnsw::{Codes, Curve, Wanted};

/// Nanoseconds that a scan takes for a row, and for each value of it.
const SCAN_ROW: f64 = 8.0;
const SCAN_VALUE: f64 = 0.15;
/// A row that is picked, not read in order, costs so many times as much.
const PICKED: f64 = 3.5;
/// Nanoseconds that a distance takes in the graph, and for each value.
const GRAPH_ROW: f64 = 60.0;
const GRAPH_VALUE: f64 = 0.2;
/// Nanoseconds that each candidate takes whose neighbours are looked at, and, as each is the least of all that wait, for
/// each of those.
const GRAPH_STEP: f64 = 1_000.0;
const GRAPH_WAITING: f64 = 5.0;
/// Nanoseconds of a search of the graph that do not depend on what it computes.
const GRAPH_START: f64 = 10_000.0;
/// Of the nearest rows at least so many times those wanted should be allowed, on average, so that chance seldom leaves
/// too few.
const SPARE: f64 = 2.0;

/// What is known of a segment and of what is wanted of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) rows: u64,
    /// How many of them may be found, or somewhat more.
    pub(super) allowed: u64,
    pub(super) dim: u64,
    /// The rows that are wanted: enough for `k` documents.
    pub(super) wanted: usize,
    /// The part of the nearest that should be found.
    pub(super) recall: f32,
    /// How the vectors are kept in the index, and what was measured of it; `None` without one.
    pub(super) index: Option<(Codes, &'a Curve)>,
}

/// How to search a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Every allowed row.
    Exact,
    /// The graph, for so many of the nearest rows, allowed or not.
    Graph {
        /// What to ask of the index.
        wanted: Wanted,
        /// How many of the rows that it gives, the nearest that are allowed, are scored exactly. With fewer the nearest
        /// rows are hardly allowed, and the graph says nothing of those that are.
        rescored: usize,
    },
}

/// Chooses the cheaper way that keeps the promise.
///
/// The graph is searched without regard to what is allowed, and so far that enough of the nearest rows should be: what
/// it gives has then the recall of any search, wherever the allowed rows are.
pub(super) fn way(facts: &Facts<'_>) -> Way {
    let Some((codes, curve)) = facts.index.filter(|_| facts.recall < 1.0 && facts.allowed > 0) else {
        return Way::Exact;
    };
    let Some(least) = curve.effort_for(facts.recall) else { return Way::Exact };
    let (rows, allowed) = (float(facts.rows), float(facts.allowed.min(facts.rows)));
    let rescored = codes.candidates(facts.wanted);
    let (least, again) = (float(to_u64(least)), float(to_u64(rescored)));
    // The recall was measured for so many of the nearest; for more of them the effort grows with their number.
    let measured = least * float(to_u64(facts.wanted)) / float(to_u64(Curve::NEAREST));
    let needed = if allowed < rows { measured.max(SPARE * again) * rows / allowed } else { measured };
    let effort = needed.max(least).ceil();
    if effort >= rows {
        return Way::Exact;
    }
    let (dim, computed) = (float(facts.dim), computed(curve, effort));
    let exact = (SCAN_ROW + SCAN_VALUE * dim) * rows.min(allowed * PICKED);
    let graph = GRAPH_START
        + (GRAPH_ROW + GRAPH_VALUE * dim) * computed
        + (GRAPH_STEP + GRAPH_WAITING * effort) * effort
        + PICKED * (SCAN_ROW + SCAN_VALUE * dim) * again;
    if graph >= exact {
        return Way::Exact;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1, below the rows")]
    let effort = to_usize(effort as u64);
    let candidates = if facts.allowed < facts.rows { effort } else { rescored };
    Way::Graph { wanted: Wanted { candidates, effort }, rescored }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::hnsw::Point;

    fn curve() -> Curve {
        let point = |(effort, recall, computed)| Point { effort, recall, error: 0.0, computed };
        let points = [(16, 0.9, 400.0), (32, 0.96, 700.0), (64, 0.98, 1200.0), (512, 0.99, 8000.0)];
        Curve { queries: 200, points: points.map(point).to_vec() }
    }

    fn facts(curve: &Curve, rows: u64, allowed: u64) -> Facts<'_> {
        Facts { rows, allowed, dim: 384, wanted: 10, recall: 0.95, index: Some((Codes::F16, curve)) }
    }

    fn effort(way: Way) -> Option<usize> {
        match way {
            Way::Exact => None,
            Way::Graph { wanted, .. } => Some(wanted.effort),
        }
    }

    #[test]
    fn many_rows_go_by_the_graph_and_few_do_not() {
        let curve = curve();
        for (rows, graph) in [(100, false), (1_000, false), (100_000, true), (10_000_000, true)] {
            assert_eq!(way(&facts(&curve, rows, rows)) != Way::Exact, graph, "{rows}");
        }
    }

    #[test]
    fn a_filter_asks_for_more_effort_until_the_scan_is_cheaper() {
        let curve = curve();
        let efforts: Vec<_> = [1_000_000, 500_000, 200_000, 100_000, 10_000, 1_000, 100, 1, 0]
            .map(|allowed| effort(way(&facts(&curve, 1_000_000, allowed))))
            .to_vec();
        let by_graph = efforts.iter().take_while(|effort| effort.is_some()).count();
        assert!((2..6).contains(&by_graph), "{efforts:?}");
        assert!(efforts[..by_graph].is_sorted_by(|a, b| a < b), "{efforts:?}");
        assert!(efforts[by_graph..].iter().all(Option::is_none), "{efforts:?}");
    }

    #[test]
    fn what_the_curve_does_not_promise_is_scanned() {
        let curve = curve();
        let with = |recall| way(&Facts { recall, ..facts(&curve, 1_000_000, 1_000_000) });
        assert_eq!(with(1.0), Way::Exact);
        assert_eq!(with(0.995), Way::Exact);
        let efforts = [0.5, 0.9, 0.95, 0.98, 0.99].map(|recall| effort(with(recall)).unwrap());
        assert!(efforts.is_sorted(), "{efforts:?}");
        assert_eq!(way(&Facts { index: None, ..facts(&curve, 1_000_000, 1_000_000) }), Way::Exact);
        let unmeasured = Curve::default();
        assert_eq!(way(&facts(&unmeasured, 1_000_000, 1_000_000)), Way::Exact);
    }

    #[test]
    fn more_wanted_rows_ask_for_more_effort() {
        let curve = curve();
        let with = |wanted| effort(way(&Facts { wanted, ..facts(&curve, 10_000_000, 10_000_000) }));
        assert!(with(10) < with(100) && with(100) < with(1000));
        assert_eq!(with(10_000_000), None);
        assert_eq!(with(usize::MAX), None);
    }

    #[test]
    fn distances_are_in_proportion() {
        let curve = curve();
        for (effort, expected) in [(16.0, 400.0), (24.0, 550.0), (64.0, 1200.0), (512.0, 8000.0)] {
            assert!((computed(&curve, effort) - expected).abs() < 1.0, "{effort}");
        }
        assert!(computed(&curve, 1024.0) > 14_000.0);
    }
}
