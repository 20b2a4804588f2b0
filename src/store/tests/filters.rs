//! Filters answered with the index, against the evaluation on each document.

use proptest::prelude::*;
use proptest::sample::select;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::catalog::{Rows, Table};
use crate::filter::tests::random;
use crate::filter::value::{Type, type_of};
use crate::filter::{Filter, Literal, all_entries, values};
use crate::store::selection;
use crate::store::snapshot::{candidate, document_row};

/// Ids that there are.
const IDS: u32 = 25;

/// What is done to a store.
#[derive(Clone, Debug)]
enum Step {
    Put(u32, String, usize),
    Delete(u32),
    Patch(u32, String),
    DeleteWhere(String),
    Commit,
    Abort,
    Compact,
}

/// Values that a key does not hold whole.
fn long() -> impl Strategy<Value = String> {
    let text = (select(vec![256_usize, 257, 300]), 0..3_u8)
        .prop_map(|(len, end)| format!("{{\"a\":\"{}{end}\",\"b\":\"x\"}}", "x".repeat(len)));
    let number =
        (select(vec![255_usize, 256, 400]), 0..3_u8, select(vec!["", "e99999999999999999999", "e-3"]))
            .prop_map(|(len, end, power)| {
                format!("{{\"a\":[{}{end}{power},1],\"b\":{{\"a\":2}}}}", "3".repeat(len))
            });
    prop_oneof![text, number]
}

/// Metadata that do not go into the index.
fn left_out() -> impl Strategy<Value = String> {
    (0..3_u32).prop_map(|n| {
        let many: Vec<String> = (n..1030 + n).map(|n: u32| n.to_string()).collect();
        format!("{{\"a\":[{}],\"b\":\"x\"}}", many.join(","))
    })
}

fn metadata() -> impl Strategy<Value = String> {
    prop_oneof![12 => random::metadata().prop_map(|m| m.to_string()), 3 => long(), 1 => left_out()]
}

fn filter() -> impl Strategy<Value = String> {
    let long = (long(), select(vec!["$eq", "$gt", "$gte", "$lt", "$lte", "$ne"])).prop_map(
        |(metadata, operator)| {
            let value = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&metadata);
            let operand = match value {
                Ok(object) => match &object["a"] {
                    serde_json::Value::Array(elements) => elements[0].to_string(),
                    other => other.to_string(),
                },
                // A number past what a float holds.
                Err(_) => "3e99999999999999999999".to_owned(),
            };
            format!("{{\"a\":{{\"{operator}\":{operand}}}}}")
        },
    );
    let ranges = (-3..3_i8, -3..3_i8, select(vec!["a", "b", "a.b"])).prop_map(|(from, to, field)| {
        format!("{{\"{field}\":{{\"$gt\":{from},\"$lte\":{to}}},\"c\":{{\"$gte\":0}}}}")
    });
    prop_oneof![6 => random::filter().prop_map(|f| f.to_string()), 2 => long, 2 => ranges]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..IDS, metadata(), 1..4_usize).prop_map(|(id, metadata, parts)| Step::Put(id, metadata, parts)),
        2 => (0..IDS).prop_map(Step::Delete),
        3 => (0..IDS, metadata()).prop_map(|(id, metadata)| Step::Patch(id, metadata)),
        1 => filter().prop_map(Step::DeleteWhere),
        3 => Just(Step::Commit),
        1 => Just(Step::Abort),
        1 => Just(Step::Compact),
    ]
}

fn put(id: u32, metadata: &str, parts: usize) -> Document {
    let mut document = Document::new("xyz").id(id.to_string()).metadata_json(metadata).unwrap();
    for part in 0..parts {
        document = document.part(part..part + 1, Some(vec![1.0, 2.0]));
    }
    document
}

/// Does the steps in transactions; `DeleteWhere` must delete what matches.
fn run(store: &Store, steps: &[Step]) {
    let mut steps = steps.iter().peekable();
    while steps.peek().is_some() {
        let mut txn = store.write().unwrap();
        let mut commits = true;
        for step in steps.by_ref() {
            match step {
                Step::Put(id, metadata, parts) => drop(txn.add([put(*id, metadata, *parts)]).unwrap()),
                Step::Delete(id) => drop(txn.delete([id.to_string()]).unwrap()),
                Step::Patch(id, metadata) => {
                    let metadata = Metadata::from_json(metadata).unwrap();
                    let result = txn.replace_metadata(&id.to_string(), &metadata).map(drop);
                    assert!(matches!(result, Ok(()) | Err(Error::NotFound { .. })), "{result:?}");
                }
                Step::DeleteWhere(filter) => {
                    let filter = Filter::from_json(filter).unwrap();
                    let before = txn.change(|tables, _| naive(tables, &filter)).unwrap();
                    assert_eq!(txn.delete_where(&filter).unwrap().deleted, before.len() as u64);
                    assert_eq!(txn.change(|tables, _| naive(tables, &filter)).unwrap(), Vec::<String>::new());
                }
                Step::Commit => break,
                Step::Abort => {
                    commits = false;
                    break;
                }
                Step::Compact => {
                    txn.commit().unwrap();
                    store.compact(&Control::new()).unwrap();
                    txn = store.write().unwrap();
                }
            }
        }
        if commits {
            txn.commit().unwrap();
        }
    }
}

/// The ids of the documents that match, by reading each.
fn naive(rows: &dyn Rows, filter: &Filter) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    rows.scan(Table::Documents, &[], &mut |row, value| {
        let (_, record) = document_row(row, value)?;
        if filter.matches(&candidate(&record))? {
            ids.push(record.id);
        }
        Ok(true)
    })?;
    Ok(ids)
}

/// Every way to ask gives what reading each document gives. Returns whether the index alone answered a count.
fn agrees(store: &Store, json: &str) -> bool {
    let filter = Filter::from_json(json).unwrap();
    let snapshot = store.snapshot().unwrap();
    let expected = naive(snapshot.txn(), &filter).unwrap();
    let found: Vec<String> = snapshot
        .documents()
        .filter(&filter)
        .map(|document| document.map(|d| d.id_ref().unwrap().to_owned()))
        .collect::<Result<_>>()
        .unwrap();
    assert_eq!(found, expected, "{json}");
    assert_eq!(snapshot.count_where(&filter).unwrap(), expected.len() as u64, "{json}");
    let mut hits: Vec<String> = snapshot
        .search(&Query::vector(vec![1.0, 1.0]).k(10_000).filter(filter.clone()))
        .unwrap()
        .into_iter()
        .map(|hit| hit.id)
        .collect();
    let mut sorted = expected.clone();
    hits.sort();
    sorted.sort();
    assert_eq!(hits, sorted, "{json}");
    let parts: u64 = expected.iter().map(|id| snapshot.get(id).unwrap().unwrap().parts().len() as u64).sum();
    assert_eq!(snapshot.matching_rows(&filter).unwrap().0.len(), parts, "{json}");
    selection::count(snapshot.txn(), &filter).unwrap().is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn filters_agree_with_reading_every_document(
        steps in prop::collection::vec(step(), 1..60), filters in prop::collection::vec(filter(), 1..30),
    ) {
        let store = Store::in_memory().unwrap();
        run(&store, &steps);
        for filter in &filters {
            agrees(&store, filter);
        }
        for (field, filter) in ["a", "b", "a.b", "none"].iter().zip(["{}"].into_iter().chain(filters.iter().map(String::as_str))) {
            lists_agree(&store, field, filter);
            lists_agree(&store, field, "{}");
        }
        fields_agree(&store);
        prop_assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    }
}

/// Lists by a field give what reading each document gives.
fn lists_agree(store: &Store, field: &str, json: &str) {
    let filter = Filter::from_json(json).unwrap();
    let snapshot = store.snapshot().unwrap();
    let ids = naive(snapshot.txn(), &filter).unwrap();
    let mut groups: BTreeMap<Literal, u64> = BTreeMap::new();
    let mut documents: Vec<(String, BTreeSet<Literal>)> = Vec::new();
    for id in &ids {
        let document = snapshot.get(id).unwrap().unwrap();
        let found = values(document.metadata_ref().as_json(), field).unwrap();
        let literals: BTreeSet<Literal> = found.into_iter().filter_map(Literal::read).collect();
        for literal in &literals {
            *groups.entry(literal.clone()).or_default() += 1;
        }
        documents.push((id.clone(), literals));
    }
    let counts = snapshot.count_by(field, &filter).unwrap();
    assert!(counts.is_sorted_by_key(|value| std::cmp::Reverse(value.count)));
    let counts: BTreeMap<Literal, u64> =
        counts.iter().map(|value| (Literal::read(&value.value).unwrap(), value.count)).collect();
    assert_eq!(counts, groups, "{field} {json}");
    for order in [SortOrder::Ascending, SortOrder::Descending] {
        // Stable, as the order of documents is.
        documents.sort_by_key(|(id, _)| ids.iter().position(|other| other == id));
        documents.sort_by(|(_, a), (_, b)| match order {
            SortOrder::Ascending => (a.is_empty(), a.first()).cmp(&(b.is_empty(), b.first())),
            SortOrder::Descending => b.last().cmp(&a.last()),
        });
        let expected: Vec<&str> = documents.iter().map(|(id, _)| id.as_str()).collect();
        let all: Vec<Document> =
            snapshot.documents().filter(&filter).sort(field, order).collect::<Result<_>>().unwrap();
        let found: Vec<&str> = all.iter().map(|document| document.id_ref().unwrap()).collect();
        assert_eq!(found, expected, "{field} {order:?} {json}");
        let rest = snapshot.documents().filter(&filter).sort(field, order).after(2);
        assert_eq!(rest.count(), expected.len().saturating_sub(2));
    }
}

/// The fields are those of the documents, and how often each type is there.
fn fields_agree(store: &Store) {
    let snapshot = store.snapshot().unwrap();
    let mut expected: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    let mut distinct: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for document in snapshot.documents() {
        let document = document.unwrap();
        let entries = all_entries(document.metadata_ref().as_json()).unwrap();
        let mut names: Vec<&String> = entries.iter().map(|entry| &entry.field).collect();
        names.dedup();
        for name in names {
            let is = |kind| entries.iter().any(|e| e.field == *name && type_of(&e.key) == kind);
            let scalar = entries.iter().any(|e| e.field == *name && type_of(&e.key) != Type::Other);
            let counts = expected.entry(name.clone()).or_default();
            let found = [true, is(Type::Number), !scalar];
            for (count, found) in counts.iter_mut().zip(found) {
                *count += u64::from(found);
            }
        }
        for entry in entries.into_iter().filter(|entry| type_of(&entry.key) != Type::Other) {
            distinct.entry(entry.field).or_default().insert(entry.key);
        }
    }
    let values = |name: &String| distinct.get(name).map_or(0, |keys| keys.len() as u64);
    let expected: Vec<_> = expected.into_iter().map(|(name, counts)| (values(&name), name, counts)).collect();
    let found: Vec<_> = snapshot
        .fields()
        .unwrap()
        .into_iter()
        .map(|field| (field.values, field.name, [field.documents, field.numbers, field.others]))
        .collect();
    assert_eq!(found, expected);
}

/// Documents of which each has many values in common with others.
fn shelves(store: &Store, range: std::ops::Range<u32>) {
    let documents = range.map(|n| {
        let metadata = format!(
            "{{\"n\":{n},\"year\":{},\"source\":\"shelf-{}\",\"tags\":[\"t{}\",\"t{}\"],\"same\":true}}",
            1990 + n % 35,
            n % 1000,
            n % 7,
            n % 5,
        );
        Document::new("xyz").id(n.to_string()).metadata_json(&metadata).unwrap().vector(vec![1.0, 2.0])
    });
    store.add(documents).unwrap();
}

#[test]
fn many_documents_and_values() {
    let store = Store::in_memory().unwrap();
    shelves(&store, 0..6000);
    for n in (6000..9000).step_by(300) {
        shelves(&store, n..n + 300);
    }
    store.delete((0..9000).step_by(7).map(|n| n.to_string())).unwrap();
    shelves(&store, 100..160);
    for n in (0..2000).step_by(3) {
        let patch = Metadata::from_json(&format!("{{\"year\":{},\"same\":null}}", 2100 - n)).unwrap();
        drop(store.update_metadata(&n.to_string(), &patch));
    }
    for filter in [
        r#"{"year":2000}"#,
        r#"{"year":{"$gte":2000,"$lt":2010}}"#,
        r#"{"n":{"$gt":1234.5,"$lte":7000}}"#,
        r#"{"n":4321}"#,
        r#"{"source":"shelf-77"}"#,
        r#"{"source":{"$prefix":"shelf-7"}}"#,
        r#"{"source":["shelf-1","shelf-2","no"]}"#,
        r#"{"same":true}"#,
        r#"{"same":{"$exists":true}}"#,
        r#"{"tags":"t3"}"#,
        r#"{"none":1}"#,
    ] {
        assert!(agrees(&store, filter), "{filter}");
    }
    for filter in [
        r#"{"same":null,"year":{"$gte":2000}}"#,
        r#"{"tags":{"$all":["t3","t4"]},"n":{"$lt":5000}}"#,
        r#"{"$or":[{"tags":{"$nin":["t3","t4"]}},{"source":{"$regex":"9$"}}]}"#,
        r#"{"$not":{"$and":[{"year":{"$lt":2005}},{"$id":{"$prefix":"8"}}]}}"#,
    ] {
        agrees(&store, filter);
    }
    for field in ["year", "tags", "source"] {
        lists_agree(&store, field, r#"{"n":{"$lt":3000}}"#);
    }
    fields_agree(&store);
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
}

/// Makes every document unreadable, so that whoever reads one fails.
fn spoil(store: &Store) {
    let mut txn = store.write().unwrap();
    txn.change(|tables, state| {
        state.changed = true;
        for row in super::keys(tables, Table::Documents)? {
            tables.put(Table::Documents, &row, vec![0])?;
        }
        Ok(())
    })
    .unwrap();
    txn.commit().unwrap();
}

#[test]
fn counts_of_values_and_ranges_read_no_document() {
    let store = Store::in_memory().unwrap();
    shelves(&store, 0..3000);
    spoil(&store);
    let snapshot = store.snapshot().unwrap();
    for (filter, expected) in [
        (r#"{"year":2000}"#, 86),
        (r#"{"source":{"$gte":"shelf-1","$lt":"shelf-2"}}"#, 333),
        (r#"{"n":{"$gt":10,"$lte":1010}}"#, 1000),
        (r#"{"tags":["t0","t6"]}"#, 1285),
        (r#"{"tags":{"$nin":["t0","t6"]},"same":{"$ne":null}}"#, 1715),
        (r#"{"none":null,"same":true}"#, 3000),
        (r#"{"$not":{"$or":[{"n":{"$lt":2990}},{"$id":"2999"}]}}"#, 9),
    ] {
        assert_eq!(snapshot.count_where(&Filter::from_json(filter).unwrap()).unwrap(), expected, "{filter}");
    }
    assert_eq!(snapshot.count_by("year", &Filter::all()).unwrap().len(), 35);
    assert_eq!(snapshot.fields().unwrap().len(), 5);
    for filter in [r#"{"$text":"xyz"}"#, r#"{"tags":{"$contains":"t0"}}"#] {
        assert!(snapshot.count_where(&Filter::from_json(filter).unwrap()).is_err(), "{filter}");
    }
}

#[test]
fn a_store_without_index_reads_documents_until_it_is_compacted() {
    let store = Store::in_memory().unwrap();
    shelves(&store, 0..1500);
    let mut txn = store.write().unwrap();
    txn.change(|tables, state| {
        state.changed = true;
        for table in [Table::Fields, Table::Postings] {
            for key in super::keys(tables, table)? {
                tables.remove(table, &key)?;
            }
        }
        tables.remove(Table::Meta, b"index").map(drop)
    })
    .unwrap();
    txn.commit().unwrap();
    let filters = [r#"{"year":2000}"#, r#"{"n":{"$lt":700}}"#, r#"{"tags":"t3"}"#];
    for is_indexed in [false, true] {
        shelves(&store, 1490..1510);
        store.delete(["7", "8"]).unwrap();
        for filter in filters {
            assert_eq!(agrees(&store, filter), is_indexed, "{filter}");
        }
        lists_agree(&store, "year", filters[1]);
        fields_agree(&store);
        assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
        store.compact(&Control::new()).unwrap();
    }
}

#[test]
fn fields_past_the_last_are_read() {
    let store = Store::in_memory().unwrap();
    let document = |n: u32| {
        let metadata = format!("{{\"f{n}\":{n},\"a\":1}}");
        Document::new("xyz").id(n.to_string()).metadata_json(&metadata).unwrap().vector(vec![1.0, 2.0])
    };
    store.add((0..crate::limits::FIELDS_MAX + 5).map(document)).unwrap();
    for filter in
        [r#"{"f3":3}"#, r#"{"f1027":1027}"#, r#"{"f1027":null}"#, r#"{"a":1}"#, r#"{"f1027":{"$ne":1027}}"#]
    {
        assert!(!agrees(&store, filter), "{filter}");
    }
    lists_agree(&store, "f1028", "{}");
    fields_agree(&store);
    store.delete((1020..1029).map(|n| n.to_string())).unwrap();
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    assert_eq!(store.snapshot().unwrap().select(&Filter::all()).unwrap().take_sure().unwrap().len(), 1020);
}

#[test]
fn an_index_that_disagrees_is_damage() {
    for change in 0..3 {
        let store = Store::in_memory().unwrap();
        shelves(&store, 0..100);
        let mut txn = store.write().unwrap();
        txn.change(|tables, state| {
            state.changed = true;
            match change {
                0 => state.index.remove(tables, 5, "{\"same\":true}"),
                1 => state.index.add(tables, 5, "{\"n\":77}"),
                _ => {
                    let key = super::keys(tables, Table::Postings)?.remove(1);
                    tables.put(Table::Postings, &key, vec![1, 3, 0])
                }
            }
        })
        .unwrap();
        txn.commit().unwrap();
        let damage = store.check(CheckLevel::Deep, &Control::new()).unwrap().damage;
        let name = ["\"same\"", "\"n\"", "postings"][change];
        assert!(damage.iter().any(|damage| damage.what.contains(name)), "{damage:?}");
    }
}
