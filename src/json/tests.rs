//! Tests of the lossless view against `serde_json`.

use proptest::prelude::*;

use super::*;

const GOOD: [&str; 8] = [
    "{}",
    " [ 1 , 2.50 , -0 , 1E+9 ] ",
    r#"{"z": 1e999999999, "a": "\u00e9\ud83d\ude00\/", "": {"b": [true, false, null]}}"#,
    "\"한국어 \u{1F600}\"",
    "\t\r\n0",
    r#"{"a":1,"a":2}"#,
    r#""\"\\\b\f\n\r\t""#,
    "123456789012345678901234567890.10",
];

#[test]
fn compact_changes_white_space_only() {
    let text = "{ \"b\" : [ 1.00 , 2E+05 ],\n\t\"a \\\" \\\\\" : \" x \" , \"a\": \"\\u0041\" }";
    let wanted = "{\"b\":[1.00,2E+05],\"a \\\" \\\\\":\" x \",\"a\":\"\\u0041\"}";
    assert_eq!(compact(text).unwrap(), wanted);
    assert_eq!(compact(wanted).unwrap(), wanted);
    for text in GOOD {
        assert_eq!(parse(text).unwrap().raw, text.trim());
    }
}

#[test]
fn faults_name_the_place() {
    let deep = "[".repeat(65);
    for (text, span, reason) in [
        ("", 0..0, "expected a JSON value, found the end of the text"),
        ("{\"a\":1} x", 8..9, "expected the end of the text, found 'x'"),
        ("[1,]", 3..4, "expected a JSON value, found ']'"),
        ("[1 2]", 3..4, "expected `,` or `]`, found '2'"),
        ("{\"a\":1,}", 7..8, "expected a key in double quotes, found '}'"),
        ("{,}", 1..2, "expected a key in double quotes, found ','"),
        ("{\"a\" 1}", 5..6, "expected `:`, found '1'"),
        ("01", 1..2, "expected the end of the text, found '1'"),
        ("1.", 2..2, "expected a digit, found the end of the text"),
        ("-x", 1..2, "expected a digit, found 'x'"),
        ("1e+", 3..3, "expected a digit, found the end of the text"),
        ("NaN", 0..1, "expected a JSON value, found 'N'"),
        ("tru", 0..1, "expected a JSON value, found 't'"),
        ("\"ab", 0..3, "string without an end"),
        ("\"a\nb\"", 2..3, "expected no bare control character in a string, found '\\n'"),
        (r#""\x""#, 1..2, "invalid escape"),
        (r#""\u12g4""#, 1..3, "`\\u` without four hexadecimal digits"),
        (r#""\u+123""#, 1..3, "`\\u` without four hexadecimal digits"),
        (r#""\ud800""#, 1..7, "lone surrogate"),
        (r#""\udc00\ud800""#, 1..7, "lone surrogate"),
        (r#""\ud800\ud800""#, 1..7, "lone surrogate"),
        ("\"\\", 1..2, "invalid escape"),
        (&deep, 64..65, "nesting deeper than 64"),
    ] {
        let wanted = Fault { span, reason: reason.into() };
        assert_eq!(parse(text), Err(wanted.clone()), "{text}");
        assert_eq!(compact(text), Err(wanted), "{text}");
    }
    let allowed = format!("{}{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(compact(&allowed).unwrap(), allowed);
}

#[test]
fn the_last_of_equal_keys_is_found() {
    let object = r#" {"a":1, "b":{"a":7}, "\u0061" : [2] , "c\\":3, "c\\\\":4} "#;
    assert_eq!(find(object, "a").unwrap(), Some("[2]"));
    assert_eq!(find(object, "b").unwrap(), Some("{\"a\":7}"));
    assert_eq!(find(object, "c\\").unwrap(), Some("3"));
    assert_eq!(find(object, "c\\\\").unwrap(), Some("4"));
    assert_eq!(find(object, "x").unwrap(), None);
    assert!(find("[1]", "a").is_err());
    assert!(find("{\"a\":1", "a").is_err());
    assert!(find("{\"a\":1}}", "a").is_err());
}

#[test]
fn iteration_ends_after_a_fault() {
    let read: Vec<_> = elements("[1,2,x,3]").unwrap().map(|element| element.is_ok()).collect();
    assert_eq!(read, [true, true, false]);
    assert_eq!(members("{} ").unwrap().count(), 0);
    assert_eq!(members("{} x").unwrap().count(), 1);
}

/// The same value as `serde_json` has it, which keeps the last of equal keys.
fn value_of(value: &Value<'_>) -> serde_json::Value {
    match &value.kind {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool(value) => (*value).into(),
        Kind::Number(token) => serde_json::from_str(token).unwrap(),
        Kind::String(text) => text.as_ref().into(),
        Kind::Array(elements) => elements.iter().map(value_of).collect(),
        Kind::Object(members) => members.iter().map(|m| (m.name.clone(), value_of(&m.value))).collect(),
    }
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        (-1e9_f64..1e9).prop_map(|x| format!("{x:?}")),
        any::<String>().prop_map(|s| quote(&s)),
        Just(r#""\u0041\ud83d\ude00\/""#.to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let space = prop_oneof![Just(""), Just(" "), Just("\n\t")];
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space.clone())
                .prop_map(|(values, space)| format!("[{space}{}{space}]", values.join(&format!("{space},")))),
            (prop::collection::vec((any::<String>(), inner), 0..4), space).prop_map(|(members, space)| {
                let members: Vec<_> =
                    members.iter().map(|(k, v)| format!("{}{space}:{space}{v}", quote(k))).collect();
                format!("{space}{{{}{space}}}{space}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_json_reads(text in json_text()) {
        let ours = parse(&text).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(value_of(&ours), theirs.clone());
        let compacted = compact(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&compacted).unwrap(), theirs);
        prop_assert_eq!(compact(&compacted).unwrap(), compacted);
    }

    #[test]
    fn accepts_no_other_text_than_serde_json(
        text in json_text(), at: prop::sample::Index, with in "[\\[\\]{},:\"\\\\0-9eE.+\\-a-z \\u{0}\\u{e9}]{0,2}",
    ) {
        let mut at = at.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        let broken = format!("{}{with}{}", &text[..at], &text[end..]);
        // `Value` turns numbers out of range away, a tree of raw texts does not.
        let theirs = serde_json::from_str::<serde_json::Value>(&broken);
        let ours = parse(&broken);
        match &theirs {
            Ok(value) => prop_assert_eq!(&value_of(&ours.unwrap()), value, "{}", broken),
            Err(error) if error.to_string().contains("number out of range") => {}
            Err(_) => prop_assert!(ours.is_err(), "{}", broken),
        }
    }

    #[test]
    fn no_text_panics(text: String) {
        prop_assert_eq!(parse(&text).is_ok(), compact(&text).is_ok());
        let _ = find(&text, "a");
    }

    #[test]
    fn finding_agrees_with_the_tree(text in json_text(), key: String) {
        if let Kind::Object(members) = &parse(&text).unwrap().kind {
            for name in members.iter().map(|member| member.name.as_ref()).chain([key.as_str()]) {
                let wanted = members.iter().rfind(|member| member.name == name).map(|member| member.value.raw);
                prop_assert_eq!(find(&text, name).unwrap(), wanted);
            }
        }
    }
}
