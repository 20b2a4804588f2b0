//! The text index against a naive BM25 over the live documents, whatever is added, changed, deleted, undone and reopened.

use roaring::RoaringTreemap;
use tantivy::fieldnorm::FieldNormReader;

use super::workload::Random;
use super::*;
use crate::filter::Filter;
use crate::text::analyzer::{Analyzer, Purpose};
use crate::text::query::{Clause, TextQuery};

/// Words of the texts; some are beginnings of others.
const WORDS: [&str; 16] = [
    "red",
    "redder",
    "blue",
    "bluebird",
    "green",
    "검색팀",
    "검색팀을",
    "개발팀의",
    "딥러닝",
    "v1.2.3",
    "東京都",
    "kim@example.com",
    "snow",
    "snowman",
    "alpha",
    "ω",
];
const QUERIES: [&str; 18] = [
    "red",
    "red blue",
    "red blue green snow alpha",
    "검색팀",
    "팀",
    "딥러닝 red",
    "\"red blue\"",
    "\"검색팀을 red\" green",
    "snow*",
    "re* blue",
    "+red blue",
    "+red +blue snow",
    "red -blue",
    "blue -\"red green\" -snow",
    "nothing",
    "red nothing",
    "東京 alpha ω",
    "kim@example.com v1.2.3",
];

/// A text as the oracle sees it.
struct Text {
    terms: Vec<(u32, String)>,
    length: f64,
}

impl Text {
    fn new(analyzer: &Analyzer, text: &str) -> Self {
        let mut terms = Vec::new();
        let positions = analyzer.analyze(text, Purpose::Index, &mut |token| {
            let term = (token.position, token.term.to_owned());
            if !terms.contains(&term) {
                terms.push(term);
            }
        });
        let stored = FieldNormReader::fieldnorm_to_id(positions);
        Text { terms, length: FieldNormReader::id_to_fieldnorm(stored).into() }
    }

    fn count(&self, clause: &Clause) -> f64 {
        let count = match clause {
            Clause::Term(term) => self.terms.iter().filter(|(_, other)| other == term).count(),
            Clause::Prefix(prefix) => {
                self.terms.iter().filter(|(_, other)| other.starts_with(prefix)).count()
            }
            Clause::Phrase(phrase) => {
                let begins = |start: u32| {
                    phrase.iter().all(|(at, term)| self.terms.contains(&(start + at, term.clone())))
                };
                (0..=self.terms.last().map_or(0, |(position, _)| *position)).filter(|&at| begins(at)).count()
            }
        };
        f64::from(u32::try_from(count).unwrap())
    }
}

/// The live documents, in the order of their rows.
#[derive(Clone, Default)]
struct Naive {
    documents: Vec<(String, Vec<String>)>,
}

impl Naive {
    fn remove(&mut self, id: &str) {
        self.documents.retain(|(other, _)| other != id);
    }

    fn add(&mut self, id: &str, parts: &[String]) {
        self.remove(id);
        self.documents.push((id.to_owned(), parts.to_vec()));
    }

    /// All documents that are found, the best first; by f64.
    fn search(&self, query: &TextQuery, analyzer: &Analyzer) -> Vec<(String, f64)> {
        let text = |(id, parts): &(String, Vec<String>)| (id.clone(), Text::new(analyzer, &parts.join("\n")));
        let documents: Vec<(String, Text)> = self.documents.iter().map(text).collect();
        let all = || documents.iter().map(|(_, text)| text);
        let rows = f64::from(u32::try_from(all().count()).unwrap());
        let average = all().map(|text| text.length).sum::<f64>() / rows;
        let idf = |clause: &Clause| {
            let having = all().filter(|text| text.count(clause) > 0.0).count();
            let having = f64::from(u32::try_from(having).unwrap());
            (1.0 + (rows - having + 0.5) / (having + 0.5)).ln()
        };
        let worth: Vec<(&Clause, f64)> = query
            .scored
            .iter()
            .map(|clause| match clause {
                Clause::Phrase(terms) => {
                    (clause, terms.iter().map(|(_, term)| idf(&Clause::Term(term.clone()))).sum())
                }
                _ => (clause, idf(clause)),
            })
            .collect();
        let score = |text: &Text| {
            let of = |&(clause, idf): &(&Clause, f64)| {
                let count = text.count(clause);
                2.2 * idf * count / (count + 1.2 * (0.25 + 0.75 * text.length / average))
            };
            worth.iter().map(of).sum::<f64>()
        };
        let has = |text: &Text, clause: &Clause| text.count(clause) > 0.0;
        let mut found: Vec<(String, f64)> = documents
            .iter()
            .filter(|(_, text)| {
                query.required.iter().all(|clause| has(text, clause))
                    && !query.excluded.iter().any(|clause| has(text, clause))
            })
            .map(|(id, text)| (id.clone(), score(text)))
            .filter(|(_, score)| *score > 0.0)
            .collect();
        // Stable: equal scores stay in the order of rows.
        found.sort_by(|a, b| (b.1 - 1e-9).total_cmp(&(a.1 - 1e-9)));
        found
    }
}

fn options() -> OpenOptions {
    OpenOptions::new().text(true).background(Background::None).text_tail_bytes_max(600)
}

fn parts(random: &mut Random) -> Vec<String> {
    let part = |random: &mut Random| {
        let words = random.below(14);
        (0..words).map(|_| WORDS[random.below(WORDS.len())]).collect::<Vec<_>>().join(" ")
    };
    (0..=random.below(3)).map(|n| format!("{}{}", part(random), if n == 0 { " alpha" } else { "" })).collect()
}

fn document(id: &str, parts: &[String]) -> Document {
    let text = parts.join("\n");
    let mut document = Document::new(text).id(id);
    let mut at = 0;
    if parts.len() > 1 {
        for part in parts {
            document = document.part(at..at + part.len(), None);
            at += part.len() + 1;
        }
    }
    document
}

/// Compares every query; if `dead` rows may still count in segments, only which documents are found.
fn compare(store: &Store, naive: &Naive, is_packed: bool) {
    let snapshot = store.snapshot().unwrap();
    let analyzer = Analyzer::new(None);
    for text in QUERIES {
        let query = TextQuery::parse(text, &analyzer);
        let expected = naive.search(&query, &analyzer);
        let conditions = query.has_conditions().then(|| snapshot.text_conditions(&query).unwrap());
        let hits = |allowed: Option<&RoaringTreemap>, k| {
            let both = conditions.as_ref().map(|rows| allowed.map_or_else(|| rows.clone(), |few| rows & few));
            let found = snapshot.text_search(&query, both.as_ref().or(allowed), k).unwrap();
            let id = |owner| snapshot.record(owner).unwrap().id;
            found.into_iter().map(|best| (id(best.owner), f64::from(best.score))).collect::<Vec<_>>()
        };
        let all = hits(None, 1000);
        let ids = |hits: &[(String, f64)]| {
            let mut ids: Vec<String> = hits.iter().map(|(id, _)| id.clone()).collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&all), ids(&expected), "{text}");
        assert!(all.is_sorted_by(|a, b| a.1 >= b.1), "{text}");
        for k in [0, 1, 3, 10] {
            assert_eq!(hits(None, k), all[..k.min(all.len())], "{k} of {text}");
        }
        if is_packed {
            for (found, expected) in all.iter().zip(&expected) {
                assert_eq!(found.0, expected.0, "{text}: {all:?}");
                assert!((found.1 - expected.1).abs() < 1e-4, "{text}: {found:?} {expected:?}");
            }
        }
        // A filter that leaves few, and one that leaves most.
        for divisor in [2, 40] {
            let mut chosen: RoaringTreemap =
                snapshot.view().first_rows().into_iter().filter(|row| row % divisor == 0).collect();
            let kept: Vec<String> = chosen.iter().map(|row| snapshot.record(row).unwrap().id).collect();
            snapshot.view().add_parts(&mut chosen);
            let filtered = hits(Some(&chosen), 1000);
            let wanted: Vec<(String, f64)> =
                all.iter().filter(|(id, _)| kept.contains(id)).cloned().collect();
            assert_eq!(filtered, wanted, "{text} of every {divisor}th");
        }
    }
}

/// One operation on both.
fn operate(store: Store, naive: &mut Naive, random: &mut Random, file: &RecordingFile) -> Store {
    let id = |random: &mut Random| format!("doc_{}", random.below(120));
    match random.below(100) {
        0..=49 => {
            let mut txn = store.write().unwrap();
            for _ in 0..=random.below(9) {
                let (id, parts) = (id(random), parts(random));
                txn.add([document(&id, &parts)]).unwrap();
                naive.add(&id, &parts);
            }
            txn.commit().unwrap();
        }
        50..=64 => {
            let ids: Vec<String> = (0..=random.below(6)).map(|_| id(random)).collect();
            store.delete(&ids).unwrap();
            for id in &ids {
                naive.remove(id);
            }
        }
        65..=69 => {
            let id = id(random);
            let text = parts(random).remove(0);
            let mut txn = store.write().unwrap();
            match txn.update_text(&id, text.clone()).map(drop) {
                Ok(()) => {
                    txn.commit().unwrap();
                    naive.add(&id, &[text]);
                }
                Err(Error::NotFound { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        70..=74 => {
            let patch = Metadata::from_json(r#"{"n": 1}"#).unwrap();
            drop(store.update_metadata(&id(random), &patch));
        }
        75..=84 => {
            let mut txn = store.write().unwrap();
            for _ in 0..40 {
                txn.add([document(&id(random), &parts(random))]).unwrap();
            }
            txn.delete([id(random)]).unwrap();
        }
        85..=91 => {
            store.close().unwrap();
            return open_on(file, options()).unwrap();
        }
        92..=96 => drop(store.merge(&MergeLimits::default(), &Control::new()).unwrap()),
        _ => {
            store.delete_where_all(naive, random);
        }
    }
    store
}

impl Store {
    /// Empties the store now and then, and compacts it otherwise.
    fn delete_where_all(&self, naive: &mut Naive, random: &mut Random) {
        if random.below(4) == 0 {
            let mut txn = self.write().unwrap();
            txn.delete_where(&Filter::all()).unwrap();
            txn.commit().unwrap();
            *naive = Naive::default();
        } else {
            self.compact(&Control::new()).unwrap();
        }
    }
}

#[test]
fn hits_are_those_of_a_naive_bm25() {
    let mut merged = 0;
    for seed in 0..6 {
        let file = RecordingFile::new(Vec::new());
        let mut store = create_on(&file, options());
        let mut naive = Naive::default();
        let mut random = Random(seed);
        for step in 0..60 {
            store = operate(store, &mut naive, &mut random, &file);
            if step % 6 == 0 {
                compare(&store, &naive, false);
                let report = store.check(CheckLevel::Deep, &Control::new()).unwrap();
                assert_eq!(report.damage, [], "seed {seed}, step {step}");
            }
        }
        merged += store.stats().unwrap().text.unwrap().segments;
        compare(&store, &naive, false);
        store.compact(&Control::new()).unwrap();
        let text = store.stats().unwrap().text.unwrap();
        assert!(text.segments <= 1 && text.dead == 0 && text.tail_bytes == 0, "{text:?}");
        compare(&store, &naive, true);
        // The same from a tail of few rows behind the segment.
        let parts = vec!["red blue".to_owned(), "snowman alpha".to_owned()];
        store.add([document("new", &parts)]).unwrap();
        naive.add("new", &parts);
        compare(&store, &naive, true);
        assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    }
    assert!(merged > 6, "there were only {merged} segments: nothing was tested");
}

#[test]
fn a_text_whose_postings_do_not_fit_is_refused_with_the_numbers() {
    let file = RecordingFile::new(Vec::new());
    let store = create_on(&file, OpenOptions::new().background(Background::None).memory_budget(32 << 20));
    store.add([Document::new("red").id("before")]).unwrap();
    // Every pair of these letters is a term of its own.
    let mut random = Random(7);
    let letter = |random: &mut Random| char::from_u32(0x4e00 + u32::try_from(random.below(20_000)).unwrap());
    let odd: String = (0..200_000).filter_map(|_| letter(&mut random)).collect();
    let mut txn = store.write().unwrap();
    txn.add([Document::new("green").id("lost")]).unwrap();
    let error = txn.add([Document::new(odd.as_str()).id("odd")]).unwrap_err();
    assert!(matches!(error, Error::Memory { needs, left, .. } if needs > left), "{error}");
    let error = txn.commit().unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    store.add([Document::new("blue").id("after")]).unwrap();
    assert_eq!(store.check(CheckLevel::Deep, &Control::new()).unwrap().damage, []);
    // As many letters in words that come again and again are no matter.
    let usual = "\u{ac80}\u{c0c9}\u{d300}\u{c744} ".repeat(50_000);
    store.add([Document::new(usual).id("usual")]).unwrap();
    let query = TextQuery::parse("\u{ac80}\u{c0c9}\u{d300} red", &Analyzer::new(None));
    assert_eq!(store.snapshot().unwrap().text_search(&query, None, 9).unwrap().len(), 2);
}

/// Rows that cannot be among the best are passed over, in many windows and several segments: the best are those of a look at all.
#[test]
fn the_best_of_many_are_those_of_a_look_at_all() {
    // Texts of different lengths, so that the averages of the segments differ.
    let mut random = Random(3);
    let mut text = |n: usize| {
        let words = 1 + random.below(if n < 9000 { 9 } else { 30 });
        let mut text = String::new();
        for _ in 0..words {
            // The n-th word is one of n * n.
            let part = 1 + random.below(3000);
            text.extend(["w", &(3000 / part).to_string(), " "]);
        }
        text
    };
    let options = OpenOptions::new().background(Background::None).text_tail_bytes_max(200 << 10);
    let store = create_on(&RecordingFile::new(Vec::new()), options);
    for from in [0, 9000, 14_000] {
        store.add((from..from + 9000).map(|n| Document::new(text(n)).id(format!("{n}")))).unwrap();
    }
    assert!(store.stats().unwrap().text.unwrap().segments > 1);
    let queries = [
        "w1",
        "w1 w2",
        "w1 w2 w3 w4 w5",
        "w1 w750",
        "w1 w2 w40 w600 w3000",
        "w1000 w1500 w3000",
        "w30 w31 w33 w35 w37 w40",
        "\"w1 w2\" w1 w50",
        "w20* w1 w2",
        "w1 nothing",
        "w2 w3 w1500",
    ];
    let analyzer = Analyzer::new(None);
    for round in 0..3 {
        match round {
            1 => drop(store.delete((0..23_000).step_by(7).map(|n| format!("{n}"))).unwrap()),
            2 => drop(store.compact(&Control::new()).unwrap()),
            _ => {}
        }
        let snapshot = store.snapshot().unwrap();
        for text in queries {
            let query = TextQuery::parse(text, &analyzer);
            let hits = |allowed: Option<&RoaringTreemap>, k| {
                let found = snapshot.text_search(&query, allowed, k).unwrap();
                found.into_iter().map(|best| (best.owner, best.score)).collect::<Vec<_>>()
            };
            let all = hits(None, usize::MAX);
            assert!(all.len() > 3, "{text}");
            for k in [1, 10, 100, 1000] {
                assert_eq!(hits(None, k), all[..k.min(all.len())], "{k} of {text}, round {round}");
            }
            let some: RoaringTreemap =
                snapshot.view().first_rows().into_iter().filter(|row| row % 5 == 0).collect();
            let wanted: Vec<(u64, f32)> =
                all.iter().filter(|(row, _)| some.contains(*row)).copied().take(20).collect();
            assert_eq!(hits(Some(&some), 20), wanted, "{text} of every fifth, round {round}");
        }
    }
}
