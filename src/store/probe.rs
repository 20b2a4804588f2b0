//! What a test of a filter asks of the values in the index.

use std::cmp::Ordering;

use crate::filter::value::{self, Type, Wanted};
use crate::filter::{Bound, Literal, Set, Test};

/// Sets of more operands are looked up by a walk over all values of the field.
const STARTS_MAX: usize = 64;

/// What a value says about its documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They satisfy the test by it.
    Yes,
    /// They do not by it.
    No,
    /// Only the documents themselves tell.
    Maybe,
    /// They do not, nor does any later value.
    Past,
}

/// Decides from where a walk began and the key of a value.
type Decide<'a> = dyn Fn(&[u8], &[u8]) -> Verdict + 'a;

/// Where to look, and what to make of what is there.
pub(super) struct Probe<'a> {
    /// Keys from which on to walk, until the verdict is `Past`. No value is met twice.
    pub(super) starts: Vec<Vec<u8>>,
    pub(super) decide: Box<Decide<'a>>,
    /// Whether documents without the field satisfy the test.
    pub(super) matches_missing: bool,
    /// Whether at most one value answers `Yes`.
    pub(super) is_point: bool,
}

impl<'a> Probe<'a> {
    fn new(start: Vec<u8>, decide: impl Fn(&[u8]) -> Verdict + 'a) -> Self {
        Probe {
            starts: vec![start],
            decide: Box::new(move |_, key| decide(key)),
            matches_missing: false,
            is_point: false,
        }
    }

    /// What `test` asks; none for `$all`, which asks several things.
    pub(super) fn of(test: &'a Test) -> Option<Self> {
        Some(match test {
            Test::Eq(literal) => {
                Probe { matches_missing: *literal == Literal::Null, ..Probe::of_literal(literal) }
            }
            Test::Range(..) => return Probe::of_ranges([test]),
            Test::In(set) => Probe { matches_missing: set.has_null(), ..Probe::of_set(set) },
            Test::Exists => Probe::of_all(),
            Test::Contains(Literal::String(part)) => {
                Probe::of_strings(move |text| text.contains(part.as_str()), Verdict::Maybe)
            }
            Test::Contains(literal) => {
                let inner = Probe::of_literal(literal);
                let decide = inner.decide;
                let decide = Box::new(move |from: &[u8], key: &[u8]| match decide(from, key) {
                    Verdict::Yes => Verdict::Maybe,
                    other => other,
                });
                Probe { decide, ..inner }
            }
            Test::All(_) => return None,
            Test::Prefix(prefix) => {
                let start = value::prefix_key(prefix);
                let begin = start.clone();
                Probe::new(start, move |key| {
                    if !key.starts_with(&begin) {
                        return Verdict::Past;
                    }
                    string(key, |text| text.starts_with(prefix.as_str()), Verdict::Yes)
                })
            }
            Test::Regex(pattern) => Probe::of_strings(move |text| pattern.is_found_in(text), Verdict::Yes),
        })
    }

    /// All values.
    pub(super) fn of_all() -> Self {
        Probe::new(Vec::new(), |_| Verdict::Yes)
    }

    /// The values that equal `literal`; a missing field does not.
    pub(super) fn of_literal(literal: &'a Literal) -> Self {
        let wanted = Wanted::new(literal);
        let (from, to) = value::type_range(literal);
        let (start, is_point) = match wanted.key() {
            Some(key) => (key.to_vec(), true),
            None => (from.to_vec(), false),
        };
        let probe = Probe::new(start, move |key| match wanted.compare(key) {
            _ if key >= &to[..] => Verdict::Past,
            Ok(Some(Ordering::Equal)) => Verdict::Yes,
            Ok(_) if wanted.key().is_some() => Verdict::Past,
            Ok(_) => Verdict::No,
            Err(()) => Verdict::Maybe,
        });
        Probe { is_point, ..probe }
    }

    fn of_set(set: &'a Set) -> Self {
        let keys: Option<Vec<Vec<u8>>> =
            set.literals().iter().map(|literal| Wanted::new(literal).key().map(<[u8]>::to_vec)).collect();
        let keys = keys.map(|mut keys| {
            // Long operands may share a key.
            keys.sort();
            keys.dedup();
            keys
        });
        match keys.filter(|keys| keys.len() <= STARTS_MAX) {
            Some(starts) => Probe {
                starts,
                decide: Box::new(move |from, key| if key == from { is_in(key, set) } else { Verdict::Past }),
                matches_missing: false,
                is_point: set.literals().len() == 1,
            },
            None => Probe::new(Vec::new(), move |key| is_in(key, set)),
        }
    }

    /// The values for which all of `tests` hold, which are ranges; none if they are of different types.
    pub(super) fn of_ranges(tests: impl IntoIterator<Item = &'a Test>) -> Option<Self> {
        let ranges: Vec<(Bound, Wanted<'_>)> = tests
            .into_iter()
            .map(|test| {
                if let Test::Range(bound, literal) = test {
                    Some((*bound, Wanted::new(literal)))
                } else {
                    None
                }
            })
            .collect::<Option<_>>()?;
        let (from, to) = value::type_range(ranges.first()?.1.literal());
        if ranges.iter().any(|(_, wanted)| value::type_range(wanted.literal()).0 != from) {
            return None;
        }
        let is_lower = |bound: Bound| matches!(bound, Bound::Greater | Bound::GreaterOrEqual);
        let lower = ranges.iter().filter(|(bound, _)| is_lower(*bound));
        let start = lower.filter_map(|(_, wanted)| wanted.key()).max().map(<[u8]>::to_vec);
        Some(Probe::new(start.unwrap_or(from.to_vec()), move |key| {
            if key >= &to[..] {
                return Verdict::Past;
            }
            let mut verdict = Verdict::Yes;
            for (bound, wanted) in &ranges {
                match wanted.compare(key) {
                    Ok(Some(order)) if bound.admits(order) => {}
                    Ok(Some(Ordering::Greater)) if wanted.key().is_some() => {
                        return Verdict::Past;
                    }
                    Ok(_) => verdict = Verdict::No,
                    Err(()) if verdict == Verdict::Yes => verdict = Verdict::Maybe,
                    Err(()) => {}
                }
            }
            verdict
        }))
    }

    fn of_strings(accepts: impl Fn(&str) -> bool + 'a, verdict: Verdict) -> Self {
        let start = value::prefix_key("");
        Probe::new(start, move |key| match value::type_of(key) {
            Type::String => string(key, &accepts, verdict),
            _ => Verdict::Past,
        })
    }
}

fn string(key: &[u8], accepts: impl Fn(&str) -> bool, accepted: Verdict) -> Verdict {
    match value::text(key) {
        Ok(Some(text)) if accepts(&text) => accepted,
        Ok(_) => Verdict::No,
        Err(()) => Verdict::Maybe,
    }
}

fn is_in(key: &[u8], set: &Set) -> Verdict {
    match value::is_in(key, set) {
        Ok(true) => Verdict::Yes,
        Ok(false) => Verdict::No,
        Err(()) => Verdict::Maybe,
    }
}
