//! Tests of the filter language.

mod examples;
mod oracle;
pub(crate) mod random;

use super::*;
use crate::error::Error;

/// The span, path and reason of the fault in `filter`.
fn fault(error: &Error) -> (&str, &str, &str) {
    match error {
        Error::Filter { text, span, path, reason } => (&text[span.clone()], path, reason),
        other => panic!("{other}"),
    }
}

fn holds(filter: &Filter, metadata: &str) -> bool {
    filter.matches(&Candidate { id: "d", text: None, metadata }).unwrap()
}

#[test]
fn spans_cover_the_fault_and_nothing_else() {
    for (text, at_fault) in [
        (r#" { "a" : { "$gtr" : 1 } }"#, r#""$gtr""#),
        (r#"{"a":1,"b":{"$in":[ ]}}"#, "[ ]"),
        (r#"{"$and":[{"a":1},{"b":{"$in":[1, {"x":1} ]}}]}"#, r#"{"x":1}"#),
        (r#"{"한국어":{"$regex":"[가"}}"#, r#""[가""#),
        (r#"{"$or":[{"a":1}, 7 ]}"#, "7"),
        (r#"{"a":{"$date":"2026-11-31"}}"#, r#""2026-11-31""#),
        (r#"{"a":{"$regex":"x","$options":"i","$options":""}}"#, r#""$options""#),
        (r#"{"a":{"$date":"2026-11-23","$date":"2026-11-24"}}"#, r#""$date""#),
        (r#"{"\u0024nand":[]}"#, r#""\u0024nand""#),
        (r#"{"a":truth}"#, "t"),
        (r#"{"a":"\ud800"}"#, r"\ud800"),
        (r#"{"a":1} {"b":2}"#, "{"),
    ] {
        let error = Filter::from_json(text).unwrap_err();
        assert_eq!(fault(&error).0, at_fault, "{text}");
    }
    let text = r#"{"a":{"$options":"i","$regex":"x","$options":""}}"#;
    let Err(Error::Filter { span, .. }) = Filter::from_json(text) else { panic!("accepted") };
    assert_eq!(span.start, text.rfind("\"$options\"").unwrap());
}

#[test]
fn a_fault_is_shown_with_carets() {
    let error = Filter::from_json(r#"{"year": {"$gtr": 2020}}"#).unwrap_err();
    let wanted = "filter is not valid at $.year.$gtr: unknown operator \"$gtr\", did you mean $gt?";
    assert_eq!(error.to_string(), wanted);
    assert_eq!(error.caret().unwrap(), "{\"year\": {\"$gtr\": 2020}}\n          ^^^^^^");
    let reference = include_str!("../../../docs/filter.md");
    assert!(reference.contains(&format!("{wanted}\n{}\n", error.caret().unwrap())));
    assert_eq!(Error::Cancelled.caret(), None);
}

#[test]
fn nesting_ends_at_64() {
    let nested = |n: usize| format!("{}{{}}{}", "{\"$not\":".repeat(n), "}".repeat(n));
    assert!(Filter::from_json(&nested(63)).is_ok());
    let error = Filter::from_json(&nested(64)).unwrap_err();
    assert_eq!(fault(&error), ("{", "$", "nesting deeper than 64"));
    let flood = "{\"$and\":[".repeat(1_000_000);
    assert!(Filter::from_json(&flood).is_err());
}

#[test]
fn built_filters_equal_parsed_ones() {
    let field = Filter::field;
    for (built, parsed) in [
        (field("a").eq("x"), r#"{"a":"x"}"#),
        (field("a").eq(String::from("q\"")), r#"{"a":"q\""}"#),
        (field("a").eq(-1_i8) & field("b").ne(u64::MAX), r#"{"a":-1,"b":{"$ne":18446744073709551615}}"#),
        (field("a").eq(i128::MIN), r#"{"a":-170141183460469231731687303715884105728}"#),
        (field("a").gt(0.5) & field("a").lte(1e300), r#"{"a":{"$gt":0.5,"$lte":1e300}}"#),
        (field("a").gte(0.1_f32) & field("a").lt(2), r#"{"a":{"$gte":0.1,"$lt":2}}"#),
        (field("a").eq(true) | field("a").eq(None::<i64>), r#"{"$or":[{"a":true},{"a":null}]}"#),
        (field("a").eq(Some(1)), r#"{"a":1.0}"#),
        (field("a").one_of([3, 1, 2]), r#"{"a":[1,2,3]}"#),
        (field("a").one_of(vec!["x".to_owned()]), r#"{"a":{"$in":["x"]}}"#),
        (field("a").one_of([Some("x"), None]), r#"{"a":[null,"x"]}"#),
        (field("a").none_of(Vec::<i64>::new()), r#"{"a":{"$nin":[]}}"#),
        (field("a").none_of(["x"]), r#"{"a":{"$nin":["x"]}}"#),
        (field("a").exists(), r#"{"a":{"$exists":true}}"#),
        (!field("a").exists(), r#"{"a":{"$exists":false}}"#),
        (
            field("a").contains(1) & field("a").not_contains("x"),
            r#"{"a":{"$contains":1,"$not_contains":"x"}}"#,
        ),
        (field("a").all([1, 2]), r#"{"a":{"$all":[1,2]}}"#),
        (field("a.b").prefix("x"), r#"{"a.b":{"$prefix":"x"}}"#),
        (field("a").regex("^x"), r#"{"a":{"$regex":"^x"}}"#),
        (
            Filter::id().one_of(["d"]) & Filter::text().contains("t"),
            r#"{"$id":["d"],"$text":{"$contains":"t"}}"#,
        ),
        (field("a").lt(Operand::date("2026-11-23")), r#"{"a":{"$lt":{"$date":"2026-11-23T00:00:00Z"}}}"#),
        (!(field("a").eq(1) | field("b").eq(2)), r#"{"$nor":[{"a":1},{"b":2}]}"#),
        (!!field("a").eq(1), r#"{"a":1}"#),
        (Filter::all() & field("a").eq(1), r#"{"a":1}"#),
        (Filter::default(), "{}"),
    ] {
        built.check().unwrap();
        assert_eq!(built, parsed.parse().unwrap(), "{parsed}");
        assert_eq!(built.to_json().parse::<Filter>().unwrap(), built, "{built}");
    }
}

#[test]
fn what_is_built_wrongly_fails_at_first_use() {
    let field = Filter::field;
    for (filter, text, path) in [
        (field("a").eq(f64::NAN), "N", "$"),
        (field("a").gt(f32::INFINITY), "i", "$"),
        (field("a").regex("("), "\"(\"", "$.a.$regex"),
        (field("a").gte(true), "true", "$.a.$gte"),
        (field("a").one_of([0; 0]), "[]", "$.a.$in"),
        (field("a").eq(Operand::date("never")), "\"never\"", "$.a.$eq.$date"),
        (field("$where").eq(1), "\"$where\"", "$.$where"),
        (Filter::id().eq(1), "1", "$.$id.$eq"),
        (!(field("a").eq(1) & (field("b").eq(2) | field("b").regex("*"))), "\"*\"", "$.b.$regex"),
    ] {
        let error = filter.check().unwrap_err();
        assert_eq!((fault(&error).0, fault(&error).1), (text, path));
        assert!(filter.matches(&Candidate { id: "d", text: None, metadata: "{}" }).is_err());
        assert!(Filter::from_json(&filter.to_json()).is_err());
        assert!(!filter.is_empty() && error.caret().unwrap().contains('^'));
    }
    // Deeper than JSON may nest: an error, not an overflow of the stack.
    let deep = (0..100_000).fold(field("a").eq(1), |filter, _| !(filter & field("b").eq(1)));
    assert_eq!(fault(&deep.check().unwrap_err()).2, "nesting deeper than 64");
    // Long is not deep.
    let long = (0..1000).fold(Filter::all(), |filter, n| filter & field("a").ne(n));
    assert!(holds(&long, r#"{"a":1000}"#) && !holds(&long, r#"{"a":999}"#));
    assert_eq!(long.to_json().parse::<Filter>().unwrap(), long);
}

#[test]
fn filters_print_shortly() {
    for (given, wanted) in [
        ("{ }", "{}"),
        (r#"{"$and":[]}"#, "{}"),
        (r#"{"$and":[{"a":{"$eq":1.50}},{"b":{"$in":[2,1,2.0]}}]}"#, r#"{"a":1.50,"b":[1,2]}"#),
        (r#"{"a":{"$gt":1,"$not":{"$lt":3}}}"#, r#"{"a":{"$gt":1,"$not":{"$lt":3}}}"#),
        (
            r#"{"a":{"$gt":1},"b":2,"$or":[{"a":{"$lt":0}},{"b":3}]}"#,
            r#"{"a":{"$gt":1},"b":2,"$or":[{"a":{"$lt":0}},{"b":3}]}"#,
        ),
        (r#"{"$and":[{"a":1},{"a":2}]}"#, r#"{"$and":[{"a":1},{"a":2}]}"#),
        (
            r#"{"$not":{"$not":{"a":{"$regex":"x","$options":"i"}}}}"#,
            r#"{"a":{"$regex":"x","$options":"i"}}"#,
        ),
        (r#"{"$nor":[{"a":1,"b":2}]}"#, r#"{"$not":{"a":1,"b":2}}"#),
        (r#"{"$nor":[]}"#, r#"{"$nor":[]}"#),
        (r#"{"a":{"$date":"2026-11-23"}}"#, r#"{"a":{"$date":"2026-11-23"}}"#),
    ] {
        assert_eq!(Filter::from_json(given).unwrap().to_string(), wanted);
    }
}

#[test]
fn planners_see_operands_as_they_are_meant() {
    let filter = Filter::from_json(r#"{"a":{"$gte":1,"$ne":5}}"#).unwrap();
    let Node::And(nodes) = filter.node().unwrap() else { panic!("{filter:?}") };
    let wanted = Literal::Number(super::literal::Number::from_token("1"));
    let subject = Subject::Metadata("a".into());
    assert_eq!(nodes[0], Node::Field(subject, Test::Range(Bound::GreaterOrEqual, wanted)));
    assert!(matches!(&nodes[1], Node::Not(inner) if matches!(**inner, Node::Field(_, Test::Eq(_)))));
}

#[test]
fn damaged_metadata_is_an_error_where_it_is_read() {
    let filter = Filter::from_json(r#"{"$id":"d","a":1}"#).unwrap();
    let matched = |id, metadata| filter.matches(&Candidate { id, text: None, metadata });
    for (metadata, at) in
        [("", 0), ("[]", 0), ("{\"a\":1", 6), ("{\"a\":1}}", 7), ("{\"b\":tru}", 5), ("{\"a\":1,}", 7)]
    {
        match matched("d", metadata) {
            Err(Error::Corrupt { what, offset, .. }) => {
                assert_eq!((what.as_str(), offset), ("metadata of document \"d\"", at), "{metadata}");
            }
            other => panic!("{metadata}: {other:?}"),
        }
        assert!(!matched("e", metadata).unwrap());
    }
}

#[test]
fn large_sets_are_searched_quickly() {
    let filter = Filter::field("a").one_of((0..200_000).map(|n| n * 2));
    let hits = (0..20_000).filter(|n| holds(&filter, &format!("{{\"a\":{n}.0}}"))).count();
    assert_eq!(hits, 10_000);
}
