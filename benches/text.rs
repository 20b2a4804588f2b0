//! Measures searching by words and by both, indexing, and commits with text, on 60,000 short documents of English and of Korean.

#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod common;

use std::fs::File;
use std::io::Write;

use common::{Clusters, Outcome, Random, Report, directory, median, mib, percentile, time};
use vdb::{Control, Document, Mode, OpenOptions, Query, Store};

const DOCUMENTS: u64 = 60_000;
const WORDS_OF_A_TEXT: u64 = 24;
const VOCABULARY: u64 = 40_000;
const DIM: usize = 384;
const QUERIES: u64 = 300;
const PAIRS: u64 = 300;
const TEXT_MS_MAX: f64 = 0.5;
const HYBRID_RATIO_MAX: f64 = 2.0;
const INDEXED_PER_SECOND_MIN: f64 = 40_000.0;
const COMMIT_RATIO_MAX: f64 = 6.0;

/// A language of made-up words, the n-th of which occurs about one n-th as often as the first (Zipf).
#[derive(Clone, Copy, PartialEq)]
enum Language {
    English,
    Korean,
}

impl Language {
    /// The word of a rank.
    fn word(self, rank: u64) -> String {
        let mut random = Random::new(rank * 2 + 1);
        let mut pick = |from: &[&str]| from[random.bits() as usize % from.len()].to_owned();
        // Frequent words are short.
        let syllables = if rank < 60 { 1 } else { 2 + rank % 2 };
        match self {
            Language::English => {
                let onsets =
                    ["b", "c", "d", "f", "g", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr", "v"];
                let rimes =
                    ["a", "e", "er", "in", "o", "on", "or", "u", "al", "ent", "ing", "ate", "y", "is"];
                (0..syllables).map(|_| pick(&onsets) + &pick(&rimes)).collect()
            }
            Language::Korean => {
                let initials = [
                    "\u{ac80}", "\u{c0c9}", "\u{c790}", "\u{b8cc}", "\u{bb38}", "\u{c11c}", "\u{ae30}",
                    "\u{b85d}", "\u{b3c4}", "\u{ad6c}", "\u{d30c}", "\u{c77c}", "\u{c124}", "\u{c815}",
                    "\u{d654}", "\u{ba74}",
                ];
                let finals = [
                    "\u{ac00}", "\u{b098}", "\u{b2e4}", "\u{b77c}", "\u{b9c8}", "\u{bc14}", "\u{c0ac}",
                    "\u{c544}", "\u{c9c0}", "\u{cc28}", "\u{d558}", "\u{ace0}", "\u{b2c8}", "\u{b9ac}",
                ];
                (0..syllables).map(|_| pick(&initials) + &pick(&finals)).collect()
            }
        }
    }

    /// A rank, the small ones more often.
    fn rank(random: &mut Random) -> u64 {
        let part = f64::from(random.bits()) / f64::from(u32::MAX);
        let rank = (VOCABULARY as f64).powf(part);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 to the vocabulary"
        )]
        let rank = rank as u64;
        rank
    }

    fn text(self, words: &[String], random: &mut Random, count: u64) -> String {
        let ending = ["", "\u{c744}", "\u{c758}", "\u{c5d0}", "\u{c740}"];
        let mut text = String::new();
        for n in 0..count {
            if n > 0 {
                text.push(' ');
            }
            let rank = usize::try_from(Self::rank(random)).unwrap_or(0);
            text.push_str(words.get(rank).map_or("", String::as_str));
            if self == Language::Korean {
                text.push_str(ending[random.bits() as usize % ending.len()]);
            }
        }
        text
    }
}

/// A store of such texts, with vectors or without; the time that it took, and the size of the file.
fn filled(
    path: &std::path::Path,
    options: OpenOptions,
    texts: &[String],
    dim: usize,
) -> Result<(Store, f64, u64), Box<dyn std::error::Error>> {
    let store = options.create(path)?;
    let mut clusters = (dim > 0).then(|| Clusters::new(dim));
    let documents: Vec<Document> = (0..)
        .zip(texts)
        .map(|(n, text)| {
            let document = Document::new(text.as_str()).id(common::id(n));
            match &mut clusters {
                Some(clusters) => document.vector(clusters.next_vector()),
                None => document,
            }
        })
        .collect();
    let (seconds, _) = time(|| store.add(documents))?;
    let bytes = std::fs::metadata(path)?.len();
    Ok((store, seconds, bytes))
}

/// What is asked of each query: the ten best in each mode, and the halves of a hybrid search, which are the hundred best of each side.
const ASKED: [(&str, Mode, usize); 5] = [
    ("text", Mode::Text, 10),
    ("vector", Mode::Vector, 10),
    ("hybrid", Mode::Hybrid, 10),
    ("text half", Mode::Text, 100),
    ("vector half", Mode::Vector, 100),
];

/// Milliseconds of each query, asked in all these ways in turns.
fn times(store: &Store, queries: &[(String, Vec<f32>)]) -> Result<[Vec<f64>; ASKED.len()], vdb::Error> {
    let snapshot = store.snapshot()?;
    let mut times = [const { Vec::new() }; ASKED.len()];
    for (text, vector) in queries {
        for ((_, mode, k), times) in ASKED.into_iter().zip(&mut times) {
            let query = match mode {
                Mode::Vector => Query::vector(vector.clone()),
                _ => Query::text(text).with_vector(vector.clone()).mode(mode),
            };
            let query = if k == 10 { query } else { query.k(k).ids_only() };
            times.push(time(|| snapshot.search(&query))?.0 * 1e3);
        }
    }
    Ok(times)
}

struct Measured {
    per_second: f64,
    text_ms: f64,
    hybrid_ms: f64,
    /// Both to the slower of its halves, the hundred best of each side.
    of_halves: f64,
    /// Both to the slower of text alone and vector alone, ten documents each.
    of_alone: f64,
}

fn measure(report: &Report, name: &str, language: Language) -> Result<Measured, Box<dyn std::error::Error>> {
    let directory = directory()?;
    let words: Vec<String> = (0..=VOCABULARY).map(|rank| language.word(rank)).collect();
    let mut random = Random::new(1);
    let texts: Vec<String> =
        (0..DOCUMENTS).map(|_| language.text(&words, &mut random, WORDS_OF_A_TEXT)).collect();
    let characters: usize = texts.iter().map(|text| text.chars().count()).sum();
    let at = |name: &str| directory.path().join(name);
    let (_, without, bare) = filled(&at("bare.vdb"), OpenOptions::new().text(false), &texts, 0)?;
    let (_, with, indexed) = filled(&at("words.vdb"), OpenOptions::new(), &texts, 0)?;
    let per_second = DOCUMENTS as f64 / with;
    let payload: usize = texts.iter().map(String::len).sum();
    report.line(format!(
        "{name}: {DOCUMENTS} documents of {:.0} characters; {per_second:.0} documents/s with words, {:.0} without; the index takes \
         {:.1} MiB, {:.2} of the texts",
        characters as f64 / DOCUMENTS as f64,
        DOCUMENTS as f64 / without,
        mib(indexed.saturating_sub(bare)),
        indexed.saturating_sub(bare) as f64 / payload as f64,
    ))?;
    let (store, ..) = filled(&at("both.vdb"), OpenOptions::new(), &texts, DIM)?;
    // Builds what is built in the background else.
    store.compact(&Control::default())?;
    let (mut random, mut clusters) = (Random::new(2), Clusters::new(DIM));
    let mut query = |n| (language.text(&words, &mut random, 2 + n % 4), clusters.next_vector());
    let queries: Vec<(String, Vec<f32>)> = (0..QUERIES).map(&mut query).collect();
    times(&store, &queries)?;
    let times = times(&store, &queries)?;
    report.line(format!("{:<12}{:>10}{:>10}", "query, ms", "median", "p99"))?;
    for ((name, ..), times) in ASKED.iter().zip(&times) {
        let at = |part| percentile(times.iter().copied(), part);
        report.line(format!("{name:<12}{:>10.3}{:>10.3}", at(0.5), at(0.99)))?;
    }
    let [text, vector, hybrid, text_half, vector_half] = times.map(median);
    Ok(Measured {
        per_second,
        text_ms: text,
        hybrid_ms: hybrid,
        of_halves: hybrid / text_half.max(vector_half),
        of_alone: hybrid / text.max(vector),
    })
}

/// The ratio of a commit of one document with text and five fields to appending a page and syncing it.
fn commits(report: &Report) -> Result<f64, Box<dyn std::error::Error>> {
    let directory = directory()?;
    let store = Store::create(directory.path().join("commit.vdb"))?;
    let words: Vec<String> = (0..=VOCABULARY).map(|rank| Language::English.word(rank)).collect();
    let mut random = Random::new(5);
    let mut document = |n: u64| {
        let metadata = format!(
            r#"{{"year":{},"language":"en","rank":{},"page":{n},"source":"shelf-{}"}}"#,
            1990 + n % 35,
            n % 1000,
            n % 100
        );
        let text = Language::English.text(&words, &mut random, WORDS_OF_A_TEXT);
        Document::new(text).id(common::id(n)).metadata_json(&metadata)
    };
    store.add((0..10_000).map(&mut document).collect::<Result<Vec<_>, _>>()?)?;
    let mut log = File::create(directory.path().join("log"))?;
    let page = [7_u8; 4096];
    let (mut commits, mut appends) = (Vec::new(), Vec::new());
    for n in 0..PAIRS {
        let (append, ()) = time(|| log.write_all(&page).and_then(|()| log.sync_data()))?;
        let document = document(10_000 + n)?;
        let (commit, _) = time(|| store.add([document]))?;
        commits.push(commit * 1e6);
        appends.push(append * 1e6);
    }
    let (commit, append) = (median(commits), median(appends));
    report.line(format!(
        "one document a commit: {commit:.0} microseconds; append 4 KiB, fdatasync: {append:.0}"
    ))?;
    Ok(commit / append)
}

fn main() -> Outcome {
    let mut report = Report::default();
    let english = measure(&report, "English", Language::English)?;
    let korean = measure(&report, "Korean", Language::Korean)?;
    let ratio = commits(&report)?;
    for (name, measured) in [("English", &english), ("Korean", &korean)] {
        report.line(format!(
            "{name}: {:.0} documents/s; text {:.3} ms; both {:.3} ms, {:.2} times the slower half, {:.2} times the slower of text and \
             vector alone",
            measured.per_second,
            measured.text_ms,
            measured.hybrid_ms,
            measured.of_halves,
            measured.of_alone
        ))?;
    }
    report.at_most("English, text, median ms", english.text_ms, TEXT_MS_MAX);
    report.at_most("English, hybrid / slower half", english.of_halves, HYBRID_RATIO_MAX);
    report.at_least("English, documents indexed per second", english.per_second, INDEXED_PER_SECOND_MIN);
    report.at_most("commit with text and five fields / append and sync", ratio, COMMIT_RATIO_MAX);
    report.finish()
}
