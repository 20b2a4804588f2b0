//! Which documents a filter selects, as far as the index over metadata tells without reading them.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use roaring::RoaringTreemap;

use super::probe::{Probe, Verdict};
use crate::catalog::{self, BLOCK_BYTES, BLOCK_ROWS, FieldRecord, Rows, index};
use crate::error::Result;
use crate::filter::{Filter, Literal, Node, Subject, Test};

/// The sets of rows that a filter, or a query text, needs at once.
const ROW_SETS: u64 = 4;

/// The most memory that these take in a store with so many rows, in bytes.
pub(super) fn bytes(next_row: u64) -> u64 {
    (ROW_SETS * BLOCK_BYTES).saturating_mul(next_row / BLOCK_ROWS + 1)
}

/// The documents that a filter selects, by their first rows.
#[derive(Clone, Debug)]
pub(super) enum Selection {
    /// Nothing is known: each document is to be read.
    Scan,
    /// Those that satisfy the filter for certain, and others that have to be read.
    Rows { sure: RoaringTreemap, unsure: RoaringTreemap },
}

impl Selection {
    /// By which way documents are found: see [`super::Plan::filter_path`].
    pub(super) fn path(&self) -> &'static str {
        match self {
            Selection::Scan => "documents",
            Selection::Rows { unsure, .. } if unsure.is_empty() => "index",
            Selection::Rows { .. } => "index and documents",
        }
    }

    /// Takes the certain ones out; none if nothing is known.
    pub(super) fn take_sure(&mut self) -> Option<RoaringTreemap> {
        match self {
            Selection::Scan => None,
            Selection::Rows { sure, .. } => Some(std::mem::take(sure)),
        }
    }
}

/// What the first rows of all documents are.
pub(super) type Universe<'u> = dyn Fn() -> Result<RoaringTreemap> + 'u;

/// Finds what the index tells of `filter`. Cost: the postings of the values that it names; no document is read.
pub(super) fn select(rows: &dyn Rows, universe: &Universe<'_>, filter: &Filter) -> Result<Selection> {
    let node = filter.node()?;
    let Some(record) = index::index(rows)? else { return Ok(Selection::Scan) };
    let planner = Planner { rows, universe, all: OnceCell::new() };
    let Bounds { least, most } = planner.bounds(node)?;
    let left_out = if record.leaves_out { index::left_out(rows)? } else { RoaringTreemap::new() };
    let (sure, most) = match (least, most) {
        (Set::All, _) => (planner.all()?.clone(), None),
        (_, Set::All) => return Ok(Selection::Scan),
        (Set::Rows(least), Set::Rows(most)) => (least, Some(most)),
    };
    let unsure = most.map_or_else(RoaringTreemap::new, |most| most - &sure) | &left_out;
    Ok(Selection::Rows { sure: sure - left_out, unsure })
}

/// Counts the documents that satisfy `filter` if that can be told from the number of postings alone: one field is
/// looked at, and no document can be counted twice. Cost: the leaves of the values; no set of rows is made.
pub(super) fn count(rows: &dyn Rows, filter: &Filter) -> Result<Option<u64>> {
    let tests = match filter.node()? {
        Node::Field(Subject::Metadata(name), test) => vec![(name, test)],
        Node::And(nodes) => {
            let of_field = |node| match node {
                &Node::Field(Subject::Metadata(ref name), ref test @ Test::Range(..)) => Some((name, test)),
                _ => None,
            };
            match nodes.iter().map(of_field).collect::<Option<Vec<_>>>() {
                Some(tests) => tests,
                None => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    let Some((&(name, first), others)) = tests.split_first() else { return Ok(None) };
    let probe = if others.is_empty() {
        Probe::of(first)
    } else {
        Probe::of_ranges(tests.iter().map(|(_, test)| *test))
    };
    let Some(probe) =
        probe.filter(|probe| !probe.matches_missing && others.iter().all(|(other, _)| *other == name))
    else {
        return Ok(None);
    };
    if index::index(rows)?.is_none_or(|index| index.leaves_out) {
        return Ok(None);
    }
    let Some(field) = index::field(rows, name)? else { return Ok(Some(0)) };
    if !probe.is_point && field.is_multiple {
        return Ok(None);
    }
    let (mut count, mut is_exact) = (0, true);
    scan(rows, &field, &probe, &mut |verdict, group| {
        is_exact &= verdict == Verdict::Yes;
        count += group.count;
        Ok(())
    })?;
    Ok(is_exact.then_some(count))
}

/// Calls `visit` with the groups of which the probe says `Yes` or `Maybe`.
pub(super) fn scan(
    rows: &dyn Rows,
    field: &FieldRecord,
    probe: &Probe<'_>,
    visit: &mut dyn FnMut(Verdict, &index::Group<'_>) -> Result<()>,
) -> Result<()> {
    for from in &probe.starts {
        // A value of many documents comes as many groups.
        let (mut last, mut verdict) = (Vec::new(), None);
        index::for_each_group(rows, field.number, from, &mut |group| {
            let verdict = match verdict {
                Some(verdict) if last == group.key => verdict,
                _ => {
                    last.clear();
                    last.extend_from_slice(group.key);
                    *verdict.insert((probe.decide)(from, group.key))
                }
            };
            match verdict {
                Verdict::Past => return Ok(ControlFlow::Break(())),
                Verdict::No => {}
                Verdict::Yes | Verdict::Maybe => visit(verdict, &group)?,
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}

/// Some documents or all of them.
#[derive(Clone, Debug)]
enum Set {
    All,
    Rows(RoaringTreemap),
}

/// What is known of the documents that satisfy a condition: at least these do, and at most those.
struct Bounds {
    least: Set,
    most: Set,
}

impl Set {
    fn none() -> Self {
        Set::Rows(RoaringTreemap::new())
    }

    fn is_none(&self) -> bool {
        matches!(self, Set::Rows(rows) if rows.is_empty())
    }

    fn and(self, other: Set) -> Set {
        match (self, other) {
            (Set::All, set) | (set, Set::All) => set,
            (Set::Rows(a), Set::Rows(b)) => Set::Rows(a & b),
        }
    }

    fn or(self, other: Set) -> Set {
        match (self, other) {
            (Set::All, _) | (_, Set::All) => Set::All,
            (Set::Rows(a), Set::Rows(b)) => Set::Rows(a | b),
        }
    }
}

struct Planner<'a> {
    rows: &'a dyn Rows,
    universe: &'a Universe<'a>,
    all: OnceCell<RoaringTreemap>,
}

impl Planner<'_> {
    fn all(&self) -> Result<&RoaringTreemap> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let all = (self.universe)()?;
        Ok(self.all.get_or_init(|| all))
    }

    fn bounds(&self, node: &Node) -> Result<Bounds> {
        match node {
            Node::And(nodes) => self.all_of(nodes),
            Node::Or(nodes) => {
                let mut any = Bounds { least: Set::none(), most: Set::none() };
                for node in nodes {
                    let one = self.bounds(node)?;
                    any = Bounds { least: any.least.or(one.least), most: any.most.or(one.most) };
                }
                Ok(any)
            }
            Node::Not(node) => {
                let Bounds { least, most } = self.bounds(node)?;
                Ok(Bounds { least: self.without(most)?, most: self.without(least)? })
            }
            Node::Field(subject, test) => self.field(subject, test),
        }
    }

    fn without(&self, set: Set) -> Result<Set> {
        Ok(match set {
            Set::All => Set::none(),
            Set::Rows(rows) if rows.is_empty() => Set::All,
            Set::Rows(rows) => Set::Rows(self.all()? - rows),
        })
    }

    fn all_of(&self, nodes: &[Node]) -> Result<Bounds> {
        let mut all = Bounds { least: Set::All, most: Set::All };
        let mut done = BTreeSet::new();
        for (place, node) in nodes.iter().enumerate() {
            if done.contains(&place) {
                continue;
            }
            let one = match self.joined(nodes, place, &mut done)? {
                Some(joined) => joined,
                None => self.bounds(node)?,
            };
            all = Bounds { least: all.least.and(one.least), most: all.most.and(one.most) };
            if all.most.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// Of a field of which each document has one value, ranges that all have to hold are one stretch of values.
    fn joined(&self, nodes: &[Node], place: usize, done: &mut BTreeSet<usize>) -> Result<Option<Bounds>> {
        let range = |node| match node {
            &Node::Field(Subject::Metadata(ref name), ref test @ Test::Range(..)) => Some((name, test)),
            _ => None,
        };
        let Some((name, _)) = nodes.get(place).and_then(range) else { return Ok(None) };
        let same: Vec<(usize, &Test)> = nodes
            .iter()
            .enumerate()
            .filter_map(|(place, node)| {
                range(node).filter(|(other, _)| *other == name).map(|(_, test)| (place, test))
            })
            .collect();
        let Some(probe) = Some(&same)
            .filter(|same| same.len() > 1)
            .and_then(|same| Probe::of_ranges(same.iter().map(|(_, test)| *test)))
        else {
            return Ok(None);
        };
        match index::field(self.rows, name)? {
            Some(field) if !field.is_multiple => {
                done.extend(same.iter().map(|(place, _)| *place));
                self.probed(&field, &probe).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn field(&self, subject: &Subject, test: &Test) -> Result<Bounds> {
        let unknown = Bounds { least: Set::none(), most: Set::All };
        let name = match subject {
            Subject::Id => return Ok(self.ids(test)?.unwrap_or(unknown)),
            Subject::Text => return Ok(unknown),
            Subject::Metadata(name) => name,
        };
        let field = index::field(self.rows, name)?;
        if let Test::All(literals) = test {
            let Some(field) = field else { return Ok(Bounds { least: Set::none(), most: Set::none() }) };
            let mut all = Bounds { least: Set::All, most: Set::All };
            for literal in literals {
                let one = self.probed(&field, &Probe::of_literal(literal))?;
                all = Bounds { least: all.least.and(one.least), most: all.most.and(one.most) };
            }
            return Ok(all);
        }
        let Some(probe) = Probe::of(test) else { return Ok(unknown) };
        let Some(field) = field else {
            let set = if probe.matches_missing { Set::All } else { Set::none() };
            return Ok(Bounds { least: set.clone(), most: set });
        };
        let found = self.probed(&field, &probe)?;
        if !probe.matches_missing {
            return Ok(found);
        }
        let present = self.probed(&field, &Probe::of_all())?;
        let missing = self.without(present.most)?;
        Ok(Bounds { least: found.least.or(missing.clone()), most: found.most.or(missing) })
    }

    fn probed(&self, field: &FieldRecord, probe: &Probe<'_>) -> Result<Bounds> {
        let (mut least, mut maybe) = (RoaringTreemap::new(), RoaringTreemap::new());
        scan(self.rows, field, probe, &mut |verdict, group| {
            group.add_to(if verdict == Verdict::Yes { &mut least } else { &mut maybe })
        })?;
        Ok(Bounds { most: Set::Rows(maybe | &least), least: Set::Rows(least) })
    }

    /// The documents of ids that are named.
    fn ids(&self, test: &Test) -> Result<Option<Bounds>> {
        let literals = match test {
            Test::Eq(literal) => std::slice::from_ref(literal),
            Test::In(set) => set.literals(),
            _ => return Ok(None),
        };
        let mut found = RoaringTreemap::new();
        for literal in literals {
            let Literal::String(id) = literal else { return Ok(None) };
            found.extend(catalog::id_row(self.rows, id)?);
        }
        Ok(Some(Bounds { least: Set::Rows(found.clone()), most: Set::Rows(found) }))
    }
}
