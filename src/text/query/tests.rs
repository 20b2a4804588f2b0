//! What query texts mean.

use proptest::prelude::*;

use super::*;
use crate::text::language::Language;

fn parse(text: &str) -> TextQuery {
    TextQuery::parse(text, &Analyzer::new(None))
}

/// A query in short: `a "b c" d*`, with `+` and `-`.
fn shown(query: &TextQuery) -> String {
    let clause = |clause: &Clause| match clause {
        Clause::Term(term) => term.clone(),
        Clause::Prefix(term) => format!("{term}*"),
        Clause::Phrase(terms) => {
            let terms: Vec<String> = terms.iter().map(|(at, term)| format!("{term}@{at}")).collect();
            format!("\"{}\"", terms.join(" "))
        }
    };
    let required = query.required.iter().map(|one| format!("+{}", clause(one)));
    let excluded = query.excluded.iter().map(|one| format!("-{}", clause(one)));
    query.scored.iter().map(clause).chain(required).chain(excluded).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_texts_mean() {
    for (text, meaning) in [
        ("red Blue red", "red blue"),
        ("검색팀", "검색 색팀"),
        ("\"red blue\" green", "\"red@0 blue@1\" green"),
        ("“red blue”", "\"red@0 blue@1\""),
        ("\"red\"", "red"),
        ("\"검색 팀 이름\"", "\"검색@0 팀@2 이름@3\""),
        ("dat* 검색* foo-ba*", "dat* 검색 foo ba*"),
        ("+red blue", "red blue +red"),
        ("+검색팀 이름", "검색 색팀 이름 +\"검색@0 색팀@1\""),
        ("red -blue -\"light green\" -off-white", "red -blue -\"light@0 green@1\" -\"off@0 white@1\""),
        ("red -bl*", "red -bl*"),
        ("+dat*", "dat* +dat*"),
        // What cannot be understood is searched for as words.
        ("-v", "v"),
        ("-rf -v", "rf v"),
        ("--help", "help"),
        ("\"red blue", "red blue"),
        ("red\" blue", "red blue"),
        ("title:\"red blue\"", "title \"red@0 blue@1\""),
        ("a AND (b OR NOT c)", "a and b or not c"),
        ("C++ - + * \"\" +\"\" -* \\ [1 TO 2] x^2~", "c 1 to 2 x"),
        ("\"a\"\"b c\"", "a \"b@0 c@1\""),
        ("fo*bar *bar", "fo bar"),
        ("", ""),
        ("?! ... \u{0}\u{7f}", ""),
    ] {
        assert_eq!(shown(&parse(text)), meaning, "{text}");
    }
}

#[test]
fn stems_but_not_of_prefixes() {
    let english = Analyzer::new(Some(Language::English));
    let query = TextQuery::parse("Connections connecti* \"the teams\"", &english);
    assert_eq!(shown(&query), "connect connecti* \"the@0 team@1\"");
}

#[test]
fn what_is_embedded() {
    assert_eq!(parse("red  blue, green?").plain, None);
    assert_eq!(parse("-v").plain, None);
    assert_eq!(parse("+red -blue \"light green\" dat*").plain.as_deref(), Some("red light green dat"));
}

#[test]
fn no_more_terms_than_allowed() {
    let words = |n: usize| (0..n).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
    let at_most = parse(&words(QUERY_TERMS_MAX));
    assert!(at_most.scored.len() == QUERY_TERMS_MAX && !at_most.cut);
    let more = parse(&words(20_000));
    assert!(more.scored == at_most.scored && more.cut);
    // A phrase is found whole or not looked for.
    let phrase = parse(&format!("red \"{}\"", words(QUERY_TERMS_MAX)));
    assert!(shown(&phrase) == "red" && phrase.cut);
    let excluded = parse(&format!("red -\"{}\"", words(9_000)));
    assert!(shown(&excluded) == "red" && excluded.cut);
    let syllables: String = ('가'..).take(9_000).collect();
    assert!(parse(&syllables).scored.len() == QUERY_TERMS_MAX && parse(&syllables).cut);
    assert!(parse(&"\"".repeat(100_000)).is_empty());
    assert!(parse(&"-".repeat(100_000)).is_empty());
}

#[test]
fn highlights_are_of_the_original() {
    let marked = |query: &str, text: &str| {
        let ranges = parse(query).highlights(text, &Analyzer::new(None));
        ranges.into_iter().map(|range| text[range].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(marked("검색팀", "새 검색팀을 찾는 검색"), ["검색팀", "검색"]);
    assert_eq!(marked("full dat* \"b c\"", "ＦＵＬＬ data, date and b"), ["ＦＵＬＬ", "data", "date", "b"]);
    assert_eq!(marked("+red -blue", "red blue"), ["red"]);
    assert!(marked("", "red").is_empty());
}

proptest! {
    #[test]
    fn every_text_means_something(text in "[a-z가-힣0-9 \"“”+*'(){}:^~\\\\\u{0}-\u{1f}-]{0,60}", any in any::<String>()) {
        for text in [&text, &any] {
            let query = parse(text);
            let (mut terms, analyzer) = (0, Analyzer::new(None));
            analyzer.analyze(text, Purpose::Query, &mut |_| terms += 1);
            prop_assert_eq!(query.is_empty(), terms == 0);
            prop_assert!(query.scored.len() <= QUERY_TERMS_MAX);
            let mut end = 0;
            for range in query.highlights(text, &analyzer) {
                prop_assert!(range.start >= end && text.get(range.clone()).is_some_and(|part| !part.is_empty()));
                end = range.end;
            }
        }
    }
}
