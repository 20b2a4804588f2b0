//! Which terms texts have, and where.

use std::collections::HashSet;

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

/// `term@position`, in order.
fn tokens(text: &str, purpose: Purpose, analyzer: &Analyzer) -> Vec<String> {
    let mut tokens = Vec::new();
    analyzer.analyze(text, purpose, &mut |token| tokens.push(format!("{}@{}", token.term, token.position)));
    tokens
}

fn indexed(text: &str) -> String {
    tokens(text, Purpose::Index, &Analyzer::new(None)).join(" ")
}

fn asked(text: &str) -> String {
    tokens(text, Purpose::Query, &Analyzer::new(None)).join(" ")
}

/// Whether a text has every term of a query.
fn finds(query: &str, text: &str) -> bool {
    let analyzer = Analyzer::new(None);
    let mut terms = HashSet::new();
    analyzer.analyze(text, Purpose::Index, &mut |token| {
        terms.insert(token.term.to_owned());
    });
    let (mut count, mut missing) = (0, 0);
    analyzer.analyze(query, Purpose::Query, &mut |token| {
        count += 1;
        missing += usize::from(!terms.contains(token.term));
    });
    count > 0 && missing == 0
}

#[test]
fn grams_share_a_position() {
    assert_eq!(indexed("검색팀을"), "검@0 검색@0 색@1 색팀@1 팀@2 팀을@2 을@3");
    assert_eq!(asked("검색팀을"), "검색@0 색팀@1 팀을@2");
    assert_eq!(asked("팀"), "팀@0");
    // The last character of a run has its position, so that phrases fit.
    assert_eq!(asked("검색 팀 이름"), "검색@0 팀@2 이름@3");
    let count = |text| Analyzer::new(None).analyze(text, Purpose::Index, &mut |_| ());
    assert_eq!((count("검색팀을"), count("the search team"), count("")), (4, 3, 0));
    assert_eq!(Analyzer::new(None).analyze("검색팀을", Purpose::Query, &mut |_| ()), 4);
}

#[test]
fn words_are_found_with_what_is_joined_to_them() {
    for text in [
        "검색팀을",
        "검색팀의",
        "우리검색팀",
        "새 검색팀입니다.",
        "\u{1100}\u{1165}\u{11b7}\u{1109}\u{1162}\u{11a8}팀",
    ] {
        assert!(finds("검색팀", text), "{text}");
    }
    assert!(!finds("검색팀", "색검팀"));
    assert!(finds("東京", "東京都庁") && finds("タワー", "東京タワーへ") && finds("パピコ", "ﾊﾟﾋﾟｺ"));
    assert!(finds("ภาษา", "ภาษาไทย") && finds("မြန်မာ", "မြန်မာဘာသာ") && finds("ខ្មែរ", "ភាសាខ្មែរ"));
}

#[test]
fn scripts_end_runs() {
    assert_eq!(indexed("Rust로 쓴 API서버"), "rust@0 로@1 쓴@2 api@3 서@4 서버@4 버@5");
    assert_eq!(asked("GPT모델2개"), "gpt@0 모델@1 2@3 개@4");
    assert_eq!(asked("東京タワー"), "東京@0 タワ@2 ワー@3");
    assert_eq!(asked("人々"), "人々@0");
    assert_eq!(asked("abcабв"), "abc@0 абв@1");
}

#[test]
fn words_codes_numbers_addresses() {
    for (text, terms) in [
        ("State-of-the-art: don’t!", "state@0 of@1 the@2 art@3 don't@4"),
        ("get_user_name(__init__)", "get_user_name@0 init@1"),
        ("std::vec::Vec<u8>", "std@0 vec@1 vec@2 u8@3"),
        ("libfoo-2.0.1 v1.2.3 1,024", "libfoo@0 2.0.1@1 v1.2.3@2 1,024@3"),
        ("mail kim@example.com", "mail@0 kim@1 example.com@2"),
        ("ＦＵＬＬ　Ｗidth", "full@0 width@1"),
        ("e\u{301}tude Étude", "étude@0 étude@1"),
        ("CVE-2024-3094/KB5034441", "cve@0 2024@1 3094@2 kb5034441@3"),
        ("... !? 👩\u{200d}🚀 \u{0}\u{7}", ""),
    ] {
        assert_eq!(asked(text), terms, "{text}");
        let indexed = indexed(text);
        assert!(terms.split(' ').all(|term| indexed.split(' ').any(|one| one == term)), "{indexed}");
    }
}

#[test]
fn joined_words_are_found_by_their_parts() {
    assert_eq!(
        indexed("get_user_name l’homme 2.0.1"),
        "get_user_name@0 get@0 user@0 name@0 l'homme@1 homme@1 2.0.1@2"
    );
    assert_eq!(
        indexed("www.example.com v1.2b.x _"),
        "www.example.com@0 www@0 example@0 com@0 v1.2b.x@1 v1@1 2b@1"
    );
    assert!(
        finds("systemd", "systemd.service")
            && finds("user_name", "user_name")
            && !finds("user.name", "user_name")
    );
}

#[test]
fn stems_stand_beside_their_words() {
    let english = Analyzer::new(Some(Language::English));
    assert_eq!(
        tokens("Connected teams", Purpose::Index, &english),
        ["connected@0", "connect@0", "teams@1", "team@1"]
    );
    assert_eq!(tokens("connections 검색팀", Purpose::Query, &english), ["connect@0", "검색@1", "색팀@2"]);
    assert_eq!(tokens("connected", Purpose::Prefix, &english), ["connected@0"]);
}

#[test]
fn offsets_name_the_original() {
    let text = "새 ＡＢＣ검\u{1109}\u{1162}\u{11a8} ㈜x";
    let mut places = Vec::new();
    Analyzer::new(None).analyze(text, Purpose::Query, &mut |token| {
        places.push((token.term.to_owned(), text[token.offset].to_owned()));
    });
    let expected =
        [("새", "새"), ("abc", "ＡＢＣ"), ("검색", "검\u{1109}\u{1162}\u{11a8}"), ("주", "㈜"), ("x", "x")];
    let expected = expected.map(|(term, place)| (term.to_owned(), place.to_owned()));
    assert_eq!(places, expected);
}

#[test]
fn long_texts_and_long_words() {
    let text = "검색 team ".repeat(10_000);
    let mut last = 0;
    let positions = Analyzer::new(None).analyze(&text, Purpose::Index, &mut |token| {
        assert!(["검", "색", "검색", "team"].contains(&token.term), "{}", token.term);
        let whole = if token.term == "team" { "team" } else { "검색" };
        assert!(whole.contains(&text[token.offset.clone()]));
        last = token.offset.end;
    });
    assert_eq!((positions, last), (30_000, text.len() - 1));
    let mut lengths = Vec::new();
    Analyzer::new(None)
        .analyze(&"é".repeat(9_000), Purpose::Index, &mut |token| lengths.push(token.term.len()));
    assert_eq!(lengths.iter().max(), Some(&254));
    let zalgo = format!("ก{}", "\u{e48}".repeat(5_000));
    Analyzer::new(None)
        .analyze(&zalgo, Purpose::Index, &mut |token| assert!(token.term.len() <= TERM_BYTES_MAX));
}

/// Terms of the characters of all scripts, alone and between others. When this changes, texts that were indexed before have other
/// terms than queries: raise [`ANALYZER_VERSION`], then write the new number here.
#[test]
fn terms_are_those_of_this_version() {
    let analyzer = Analyzer::new(None);
    let mut sum = crc32fast::Hasher::new();
    for c in ('\0'..='\u{2ffff}').chain('\u{e0000}'..='\u{e01ff}') {
        analyzer.analyze(&format!("{c} a{c}b 가{c}나"), Purpose::Index, &mut |token| {
            sum.update(token.term.as_bytes());
            sum.update(&[u8::try_from(token.position).unwrap()]);
        });
    }
    assert_eq!((ANALYZER_VERSION, sum.finalize()), (2, 3_982_107_505));
}

fn check(text: &str, analyzer: &Analyzer) -> Result<(), TestCaseError> {
    let borders: HashSet<usize> = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
    let mut all = HashSet::new();
    let (mut position, mut start) = (0, 0);
    let positions = analyzer.analyze(text, Purpose::Index, &mut |token| {
        assert!(!token.term.is_empty() && token.term.len() <= TERM_BYTES_MAX);
        assert!(token.offset.start < token.offset.end && token.offset.start >= start);
        assert!(borders.contains(&token.offset.start) && borders.contains(&token.offset.end), "{token:?}");
        assert!(token.position >= position);
        (position, start) = (token.position, token.offset.start);
        all.insert((token.term.to_owned(), token.position));
    });
    prop_assert!(all.is_empty() || position < positions);
    let asked = analyzer.analyze(text, Purpose::Query, &mut |token| {
        assert!(all.contains(&(token.term.to_owned(), token.position)), "{token:?} is not indexed");
    });
    prop_assert_eq!(asked, positions);
    Ok(())
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in any::<String>(), language in 0..19_usize) {
        check(&text, &Analyzer::new(Language::all().nth(language)))?;
    }

    #[test]
    fn nor_are_texts_of_these(
        text in "[a-z0-9 _.'\u{2019}가-힣ᄀ-ᇿㄱ-ㆎ漢字々ぁ-ヿｱ-ﾟก-๛ກ-ໟក-៹က-႟а-яά-ώ\u{300}-\u{303}\u{3099}\u{200b}-\u{200f}\u{fe0f}①-⑳㈀-㏿ﬀ-ﬆ]{0,40}",
        language in 0..19_usize,
    ) {
        check(&text, &Analyzer::new(Language::all().nth(language)))?;
    }
}
