//! Random filters on random documents, against the naive evaluator.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::super::*;
use super::oracle;

const STRINGS: [&str; 8] =
    ["", "x", "xy", "Xy", "가", "2026-11-23", "2026-11-23T04:00:00+09:00", "2026-11-22T19:00:00.5Z"];
const DATES: [&str; 4] =
    ["2026-11-23", "2026-11-23T00:00:00Z", "2026-11-23T04:00:00+09:00", "2026-11-22T19:00:00.5Z"];

fn string() -> impl Strategy<Value = Value> {
    select(&STRINGS).prop_map(Value::from)
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![(-2..3).prop_map(Value::from), (-4..5).prop_map(|n| json!(f64::from(n) / 2.0))]
}

fn date() -> impl Strategy<Value = Value> {
    select(&DATES).prop_map(|date| json!({ "$date": date }))
}

fn plain() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 1 => any::<bool>().prop_map(Value::from), 3 => number(), 3 => string()]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![6 => plain(), 1 => date()]
}

fn list(least: usize) -> impl Strategy<Value = Value> {
    prop::collection::vec(scalar(), least..4).prop_map(Value::from)
}

/// An operator on a field of the metadata; `$not` holds another one.
fn operator() -> impl Strategy<Value = Value> {
    let one = |names: &'static [&'static str], operand: BoxedStrategy<Value>| {
        (select(names), operand).prop_map(|(name, operand)| json!({ name: operand })).boxed()
    };
    let leaf = prop_oneof![
        3 => one(&["$eq", "$ne", "$neq", "$contains", "$not_contains"], scalar().boxed()),
        3 => one(&["$gt", "$gte", "$lt", "$lte"], prop_oneof![number(), string(), date()].boxed()),
        2 => one(&["$in", "$all"], list(1).boxed()),
        1 => one(&["$nin"], list(0).boxed()),
        1 => one(&["$exists"], any::<bool>().prop_map(Value::from).boxed()),
        1 => one(&["$prefix"], string().boxed()),
        1 => pattern(),
    ];
    leaf.prop_recursive(2, 4, 1, |inner| inner.prop_map(|operator| json!({ "$not": operator })))
}

fn pattern() -> impl Strategy<Value = Value> {
    (select(&["x", "^X", "y$", "^$", "[가-나]"]), select(&["", "i"]))
        .prop_map(|(regex, options)| json!({ "$regex": regex, "$options": options }))
}

/// What stands under a field: a value, a list, or operators that are joined.
fn condition() -> impl Strategy<Value = Value> {
    let joined = prop::collection::vec(operator(), 1..3).prop_map(|operators| {
        let members = operators.into_iter().flat_map(|operator| match operator {
            Value::Object(members) => members,
            _ => Map::new(),
        });
        // `$options` comes only with a `$regex`, and a later pair replaces both.
        Value::Object(members.collect())
    });
    prop_oneof![2 => scalar(), 1 => list(1), 5 => joined]
}

/// A condition on a pseudo-field, whose operands are strings.
fn text_condition() -> impl Strategy<Value = Value> {
    let names = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains", "$not_contains", "$prefix"];
    prop_oneof![
        string(),
        string().prop_map(|text| json!([text, "x"])),
        (select(names.to_vec()), string()).prop_map(|(name, text)| json!({ name: text })),
        any::<bool>().prop_map(|exists| json!({ "$exists": exists })),
        pattern(),
    ]
}

/// Filters over fields of a few names.
pub(crate) fn filter() -> impl Strategy<Value = Value> {
    let name = select(&["a", "b", "a.b", "b.a", "a.b.a"]);
    let leaf = prop_oneof![
        6 => prop::collection::btree_map(name, condition(), 0..3).prop_map(|fields| json!(fields)),
        1 => (select(&["$id", "$text"]), text_condition()).prop_map(|(name, value)| json!({ name: value })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (select(&["$and", "$or", "$nor"]), prop::collection::vec(inner.clone(), 0..3), condition())
                .prop_map(|(name, filters, beside)| json!({ name: filters, "a": beside })),
            (select(&["$and", "$or", "$nor"]), prop::collection::vec(inner.clone(), 0..3))
                .prop_map(|(name, filters)| json!({ name: filters })),
            inner.prop_map(|filter| json!({ "$not": filter })),
        ]
    })
}

/// Metadata with fields of the same names.
pub(crate) fn metadata() -> impl Strategy<Value = Value> {
    let value = plain().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(select(&["a", "b", "a.b"]), inner, 0..3)
                .prop_map(|members| json!(members)),
        ]
    });
    prop::collection::btree_map(select(&["a", "b", "a.b", "c"]), value, 0..4)
        .prop_map(|members| json!(members))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_evaluator_agrees_with_the_naive_one(
        filter in filter(), metadata in metadata(), id in select(&STRINGS[1..]), text in prop::option::of(select(&STRINGS)),
    ) {
        let parsed = Filter::from_json(&filter.to_string()).unwrap();
        let subject = oracle::Subject { id, text, metadata: &metadata };
        let metadata = metadata.to_string();
        let candidate = Candidate { id, text, metadata: &metadata };
        prop_assert_eq!(parsed.matches(&candidate).unwrap(), oracle::holds(&filter, &subject));
        prop_assert_eq!((!parsed.clone()).matches(&candidate).unwrap(), !oracle::holds(&filter, &subject));
        let written = parsed.to_json();
        prop_assert_eq!(Filter::from_json(&written).unwrap(), parsed, "{}", written);
    }

    #[test]
    fn combined_filters_are_combined_results(left in filter(), right in filter(), metadata in metadata()) {
        let metadata = metadata.to_string();
        let candidate = Candidate { id: "x", text: None, metadata: &metadata };
        let [a, b] = [left, right].map(|filter| Filter::from_json(&filter.to_string()).unwrap());
        let holds = |filter: &Filter| filter.matches(&candidate).unwrap();
        prop_assert_eq!(holds(&(a.clone() & b.clone())), holds(&a) && holds(&b));
        prop_assert_eq!(holds(&(a.clone() | b.clone())), holds(&a) || holds(&b));
        let printed = (a.clone() | b.clone()) & !a.clone();
        prop_assert_eq!(Filter::from_json(&printed.to_json()).unwrap(), printed);
    }

    #[test]
    fn a_set_is_its_equalities(values in prop::collection::vec(scalar(), 1..8), metadata in metadata()) {
        let metadata = metadata.to_string();
        let set = Filter::from_json(&json!({ "a": { "$in": values.clone() } }).to_string()).unwrap();
        let one_by_one = values.iter().any(|value| {
            super::holds(&Filter::from_json(&json!({ "a": { "$eq": value } }).to_string()).unwrap(), &metadata)
        });
        prop_assert_eq!(super::holds(&set, &metadata), one_by_one);
    }

    #[test]
    fn no_text_panics(text: String, pieces in prop::collection::vec(
        select(&["{", "}", "[", "]", ":", ",", "\"a\"", "\"$in\"", "\"$not\"", "\"$or\"", "\"$date\"", "1", "null", "\"\\u00e9\""]), 0..12,
    )) {
        for text in [text, pieces.concat()] {
            match Filter::from_json(&text) {
                Ok(filter) => drop(super::holds(&filter, "{\"a\":[1,{}]}")),
                Err(error) => {
                    prop_assert!(error.caret().is_some());
                    let _ = super::fault(&error);
                }
            }
            let _ = Filter::field(text.as_str()).regex(&text).matches(&Candidate { id: "d", text: None, metadata: &text });
        }
    }
}
