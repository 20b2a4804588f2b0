//! Which way a search of a segment goes, by its facts alone.

use super::*;
use crate::vector::hnsw::{Params, Point};

fn curve() -> Curve {
    let point = |(effort, recall, computed)| Point { effort, recall, error: 0.0, computed };
    let points = [(16, 0.9, 400.0), (32, 0.96, 700.0), (64, 0.98, 1200.0), (512, 0.99, 8000.0)];
    Curve { queries: 200, points: points.map(point).to_vec() }
}

fn facts(curve: &Curve, rows: u64, allowed: u64) -> Facts<'_> {
    Facts {
        rows,
        allowed,
        seen: None,
        dim: 384,
        bytes: 4 * 384,
        wanted: 10,
        recall: 0.95,
        index: Some(Known { recipe: Recipe::Graph(Params::new(Codes::F16)), curve, sketches: None }),
        forced: None,
    }
}

fn codes(curve: &Curve, rows: u64, allowed: u64) -> Facts<'_> {
    let index = Some(Known { recipe: Recipe::Codes(Width::Eight), curve, sketches: None });
    Facts { index, ..facts(curve, rows, allowed) }
}

/// The recall of scans of sketches at 16 and at 64 rows scored exactly.
fn sketched(least: f32, most: f32) -> Curve {
    let point = |(effort, recall)| Point { effort, recall, error: 0.0, computed: 0.0 };
    Curve { queries: 200, points: [(16, least), (64, most)].map(point).to_vec() }
}

/// A graph with sketches.
fn both<'a>(curve: &'a Curve, sketched: &'a Curve) -> Known<'a> {
    let recipe = Recipe::Graph(Params::new(Codes::Sq8));
    Known { recipe, curve, sketches: Some((64, sketched)) }
}

fn effort(way: Way) -> Option<usize> {
    match way {
        Way::Exact | Way::Codes { .. } => None,
        Way::Graph { wanted, .. } => Some(wanted.effort),
    }
}

#[test]
fn many_rows_go_by_the_graph_and_few_do_not() {
    let curve = curve();
    for (rows, graph) in [(100, false), (300, false), (100_000, true), (10_000_000, true)] {
        assert_eq!(effort(way(&facts(&curve, rows, rows))).is_some(), graph, "{rows}");
    }
}

#[test]
fn a_filter_asks_for_a_look_and_then_for_a_scan() {
    let curve = curve();
    let least = effort(way(&facts(&curve, 1_000_000, 1_000_000))).unwrap();
    let efforts: Vec<_> = [1_000_000, 500_000, 200_000, 100_000, 50_000, 10_000, 4_000, 1_000, 100, 1, 0]
        .map(|allowed| effort(way(&facts(&curve, 1_000_000, allowed))))
        .to_vec();
    let by_graph = efforts.iter().take_while(|effort| effort.is_some()).count();
    assert!((4..9).contains(&by_graph), "{efforts:?}");
    assert!(efforts[by_graph..].iter().all(Option::is_none), "{efforts:?}");
    assert!(efforts[..by_graph].iter().all(|&effort| effort == Some(least)), "{efforts:?}");
}

#[test]
fn what_a_search_has_seen_decides_on_the_next() {
    let curve = curve();
    let wanted = Wanted { candidates: 40, effort: 40 };
    let seen = |nearest, allowed| Some(Seen { wanted, nearest, allowed });
    let after = |found| way(&Facts { seen: seen(40, found), ..facts(&curve, 1_000_000, 20_000) });
    assert!(effort(after(10)).unwrap() >= 2 * 13 * 4, "a quarter is allowed");
    assert_eq!(effort(after(0)), None, "what is near is not allowed");
    let forced =
        Facts { seen: seen(40, 0), forced: Some(SearchPath::Graph), ..facts(&curve, 1_000_000, 20_000) };
    assert!(effort(way(&forced)).is_some());
    assert_eq!(effort(way(&Facts { seen: seen(39, 39), ..forced })), None, "the graph leads to no more");
}

/// A graph that lies: it gives more or fewer rows than it was asked for, and more or fewer of them are allowed.
#[test]
fn no_step_is_offered_twice_whatever_a_graph_gives() {
    let curve = curve();
    let mut random = 7_u64;
    let mut below = |end: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        to_usize((random >> 33) % to_u64(end))
    };
    for round in 0..2000 {
        let (allowed, k) = (1 + to_u64(below(1_000_000)), 1 + below(40));
        let forced = if round % 2 == 0 { Some(SearchPath::Graph) } else { None };
        let mut facts = Facts { forced, wanted: k, ..facts(&curve, 1_000_000, allowed) };
        let mut ways = Vec::new();
        while let Way::Graph { wanted, rescored, .. } = way(&facts) {
            assert!(ways.iter().all(|&before| before != wanted), "{ways:?}, {wanted:?}");
            ways.push(wanted);
            assert!(ways.len() < 40, "{ways:?}");
            let nearest = if below(8) == 0 { below(wanted.candidates) } else { wanted.candidates + below(2) };
            let allowed = below(rescored + 1);
            facts.seen = Some(Seen { wanted, nearest, allowed });
            if allowed == rescored {
                // They belong to too few documents.
                facts.wanted = facts.wanted.saturating_mul(4);
            }
        }
    }
}

#[test]
fn codes_are_scanned_where_that_reads_less() {
    let curve = curve();
    let rescored = |way| if let Way::Codes { rescored } = way { Some(rescored) } else { None };
    assert_eq!(rescored(way(&codes(&curve, 100_000, 100_000))), Some(30));
    assert_eq!(rescored(way(&codes(&curve, 100_000, 20_000))), Some(30));
    assert_eq!(way(&codes(&curve, 100_000, 50)), Way::Exact);
    let some = codes(&curve, 100_000, 100_000);
    assert_eq!(rescored(way(&Facts { wanted: 1000, ..some })), Some(3000));
    assert_eq!(way(&Facts { forced: Some(SearchPath::Exact), ..some }), Way::Exact);
}

#[test]
fn sketches_are_scanned_where_rows_are_neither_few_nor_near() {
    let (curve, sketched) = (curve(), sketched(0.9, 0.98));
    let index = Some(both(&curve, &sketched));
    let some = |allowed| Facts { index, ..facts(&curve, 100_000, allowed) };
    let wanted = Wanted { candidates: 40, effort: 40 };
    let seen = Some(Seen { wanted, nearest: 40, allowed: 0 });
    for (allowed, by_sketches) in [(50_000, true), (10_000, true), (2_000, true), (100, false)] {
        let way = way(&Facts { seen, ..some(allowed) });
        assert_eq!(way == Way::Codes { rescored: 46 }, by_sketches, "{allowed}: {way:?}");
    }
    let forced = Facts { forced: Some(SearchPath::Codes), ..some(50_000) };
    assert_eq!(way(&Facts { wanted: 100, ..forced }), Way::Codes { rescored: 460 });
    assert_eq!(way(&Facts { recall: 0.99, ..forced }), Way::Exact, "it is not promised");
    let without = Some(Known { sketches: None, ..both(&curve, &sketched) });
    assert_eq!(way(&Facts { index: without, ..forced }), Way::Exact);
}

#[test]
fn a_first_look_turns_back_where_that_is_hardly_chance() {
    let (curve, sketched) = (curve(), sketched(0.9, 0.98));
    let turns = |facts| if let Way::Graph { turns_back, .. } = way(&facts) { Some(turns_back) } else { None };
    let many = |allowed| facts(&curve, 10_000_000, allowed);
    assert_eq!(turns(many(10_000_000)), Some(false), "without a filter");
    assert_eq!(turns(many(9_000_000)), Some(true));
    assert_eq!(turns(many(4_400_000)), Some(false), "a scan for nothing takes long");
    let point = |(effort, recall, computed)| Point { effort, recall, error: 0.0, computed };
    let quick = Curve { queries: 200, points: [(16, 0.97, 300.0), (512, 0.99, 900.0)].map(point).to_vec() };
    let some = |curve, allowed| {
        turns(Facts { index: Some(both(curve, &sketched)), ..facts(curve, 100_000, allowed) })
    };
    assert_eq!(some(&quick, 44_000), Some(true), "of sketches it does not");
    assert_eq!(some(&quick, 43_000), Some(false), "of eight rows none is allowed now and then");
    assert_eq!(some(&curve, 43_000), Some(true), "the graph would take no less time than the scan");
    assert_eq!(turns(Facts { forced: Some(SearchPath::Graph), ..many(9_000_000) }), Some(false));
}

#[test]
fn what_the_graph_does_not_promise_the_sketches_may() {
    let (curve, sketched) = (curve(), sketched(0.9, 0.998));
    let index = Some(both(&curve, &sketched));
    let at = |recall| way(&Facts { recall, index, ..facts(&curve, 1_000_000, 1_000_000) });
    assert!(effort(at(0.98)).is_some());
    assert_eq!(at(0.998), Way::Codes { rescored: 64 });
    assert_eq!(at(0.999), Way::Exact);
}

#[test]
fn what_the_curve_does_not_promise_is_scanned() {
    let curve = curve();
    for some in [facts(&curve, 1_000_000, 1_000_000), codes(&curve, 1_000_000, 1_000_000)] {
        let with = |recall| way(&Facts { recall, ..some });
        assert_eq!(with(1.0), Way::Exact);
        assert_eq!(with(0.995), Way::Exact);
        assert!([0.5, 0.9, 0.95, 0.98, 0.99].iter().all(|&recall| with(recall) != Way::Exact));
        assert_eq!(way(&Facts { index: None, ..some }), Way::Exact);
        let (recipe, unmeasured) = (some.index.unwrap().recipe, Curve::default());
        let index = Some(Known { recipe, curve: &unmeasured, sketches: None });
        assert_eq!(way(&Facts { index, ..some }), Way::Exact);
    }
    let efforts = [0.5, 0.9, 0.95, 0.98, 0.99]
        .map(|recall| effort(way(&Facts { recall, ..facts(&curve, 1_000_000, 1_000_000) })).unwrap());
    assert!(efforts.is_sorted(), "{efforts:?}");
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

#[test]
fn what_is_scored_again_is_not_more_than_a_search_follows() {
    let points = [(10, 0.94, 300.0), (12, 0.96, 330.0), (16, 0.98, 400.0)];
    let point = |(effort, recall, computed)| Point { effort, recall, error: 0.0, computed };
    let curve = Curve { queries: 200, points: points.map(point).to_vec() };
    let index = Some(Known { recipe: Recipe::Graph(Params::new(Codes::Sq8)), curve: &curve, sketches: None });
    let with = |recall, wanted, allowed| match way(&Facts {
        wanted,
        recall,
        index,
        ..facts(&curve, 10_000_000, allowed)
    }) {
        Way::Graph { wanted, rescored, .. } => (wanted.effort, wanted.candidates, rescored),
        other => panic!("{other:?}"),
    };
    assert_eq!(with(0.9, 10, 10_000_000), (10, 10, 10));
    assert_eq!(with(0.96, 10, 10_000_000), (12, 12, 12));
    assert_eq!(with(0.98, 10, 10_000_000), (16, 15, 15));
    assert_eq!(with(0.9, 40, 10_000_000), (40, 40, 40), "four times as many are wanted");
    assert_eq!(with(0.9, 12, 10_000_000), (12, 12, 12));
    assert_eq!(with(0.9, 10, 9_000_000), (23, 23, 23), "with a filter");
}
