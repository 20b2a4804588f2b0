//! A small store that has something of everything, and all that can be asked of it.

use std::fmt::Write as _;
use std::path::Path;

use crate::util::Random;
use vdb::{
    Background, Control, Document, Durability, Error, FieldStats, Filter, Hit, Language, Metadata, Mode,
    OpenOptions, Query, Snapshot, SortOrder, Store,
};

/// Values of a vector.
pub(crate) const DIM: usize = 16;
/// Vectors that fill the tail.
const TAIL_ROWS: usize = 24;
/// Documents ever added.
const DOCUMENTS: usize = 90;

fn vector(random: &mut Random) -> Vec<f32> {
    (0..DIM).map(|_| f32::from(random.byte()) - 127.5).collect()
}

fn metadata(n: usize) -> Metadata {
    let json = match n % 5 {
        0 => "{}".to_owned(),
        1 => format!(r#"{{"n":{n},"lang":"ko"}}"#),
        2 => format!(
            r#"{{"큰 수":123456789012345678901234567890,"year":2020.0,"tiny":1e-7,"zero":-0.0,"n":{n}}}"#
        ),
        3 => format!(r#"{{"깊이":{{"a":[1,null,{{"b":[]}}],"c":true}},"빈":"","n":{n}}}"#),
        _ => format!(r#"{{"탭\t":"줄\n바꿈 \u0000 \ud83d\ude00","태그":["가","나"],"n":{n},"lang":"en"}}"#),
    };
    Metadata::from_json(&json).unwrap()
}

/// Document `n`: with text and vector, of several parts, without vector, or without text.
fn document(n: usize, random: &mut Random) -> Document {
    let text = format!("문서 {n}: {}", "동해물과 백두산이 ".repeat(1 + n % 9));
    let document = match n % 7 {
        0..=3 => Document::new(text).vector(vector(random)),
        4 => {
            let (first, second) = (text.find(':').unwrap(), text.len() - 1);
            Document::new(text)
                .part(0..first, Some(vector(random)))
                .part(first..second, None)
                .part(second..second + 1, Some(vector(random)))
        }
        5 => Document::new(text),
        _ => Document::from_vector(vector(random)),
    };
    document.id(id(n)).with_metadata(metadata(n))
}

fn id(n: usize) -> String {
    if n.is_multiple_of(11) { format!("문서/{n}") } else { format!("doc_{n:03}") }
}

/// Builds the store: three segments (one compacted, with a graph, two with gaps), a tail, dead rows in all of them; words
/// in segments of their own, and in a tail.
pub(crate) fn build(path: &Path) {
    build_of(path, [20, 50, 80, DOCUMENTS], &options().index_rows_min(1).text_tail_bytes_max(3000));
}

/// The same as a writer leaves it that is killed after one more commit.
pub(crate) fn build_killed(path: &Path) {
    let living = path.with_extension("living");
    build(&living);
    let store = OpenOptions::new().durability(Durability::Process).open(&living).unwrap();
    store.update_metadata(&id(33), &Metadata::from_json(r#"{"lang":"ko"}"#).unwrap()).unwrap();
    store.delete([id(41)]).unwrap();
    std::fs::copy(&living, path).unwrap();
}

/// The same with fewer documents, to be kept in the repository.
pub(crate) fn build_small(path: &Path) {
    build_of(path, [12, 38, 62, 66], &options());
}

/// The same as [`build_small`], with an index of the compacted segment.
pub(crate) fn build_indexed(path: &Path) {
    build_of(path, [12, 38, 62, 66], &options().index_rows_min(1));
}

/// The same as [`build_small`], with a text index of several segments and a tail, and stems.
pub(crate) fn build_words(path: &Path) {
    build_of(path, [12, 38, 62, 66], &options().stem(Language::English).text_tail_bytes_max(3000));
}

fn options() -> OpenOptions {
    OpenOptions::new()
        .tail_bytes_max(TAIL_ROWS * DIM * 4)
        .durability(Durability::Process)
        .background(Background::None)
}

/// `ends`: how many documents there are after each of four additions.
fn build_of(path: &Path, ends: [usize; 4], options: &OpenOptions) {
    let store = options.clone().create(path).unwrap();
    let mut random = Random(1);
    let mut add = |range: std::ops::Range<usize>| {
        let documents: Vec<Document> = range.map(|n| document(n, &mut random)).collect();
        store.add(documents).unwrap();
    };
    add(0..ends[0]);
    store.delete([id(0), id(7)]).unwrap();
    store.compact(&Control::new()).unwrap();
    add(ends[0]..ends[1]);
    add(ends[1]..ends[2]);
    add(ends[2]..ends[3]);
    store.delete([3, 22, 25, 60, ends[3] - 6].map(id)).unwrap();
    let mut random = Random(2);
    store.add([30, ends[3] - 23, ends[3] - 9].map(|n| document(n, &mut random))).unwrap();
    store.update_metadata(&id(31), &Metadata::from_json(r#"{"n":null,"새":[1.50]}"#).unwrap()).unwrap();
    store.update_metadata(&id(32), &Metadata::from_json(r#"{"lang":"ko"}"#).unwrap()).unwrap();
    store.close().unwrap();
}

/// What one call answered: rows of text, some of which may be missing when there was an error.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) call: String,
    pub(crate) rows: Vec<String>,
    pub(crate) error: Option<Error>,
}

impl Answer {
    fn one(call: impl Into<String>, result: vdb::Result<String>) -> Self {
        Answer::many(call, result.map(|row| vec![row]))
    }

    fn many(call: impl Into<String>, result: vdb::Result<Vec<String>>) -> Self {
        let (rows, error) = match result {
            Ok(rows) => (rows, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        Answer { call: call.into(), rows, error }
    }

    /// Rows up to the end, those left out whose error came in their place.
    fn stream(call: &str, rows: impl Iterator<Item = vdb::Result<String>>) -> Self {
        let mut answer = Answer::many(call, Ok(Vec::new()));
        for row in rows {
            match row {
                Ok(row) => answer.rows.push(row),
                Err(error) => answer.error = Some(error),
            }
        }
        answer
    }

    /// Whether this is what was expected, or an error beside some of it, in order.
    pub(crate) fn agrees(&self, expected: &[String]) -> bool {
        if self.error.is_none() {
            return self.rows == expected;
        }
        let mut left = expected.iter();
        self.rows.iter().all(|row| left.any(|expected| expected == row))
    }
}

/// A document with everything in it; vectors bit by bit.
pub(crate) fn describe(document: &Document) -> String {
    let mut out = format!(
        "{} | {} | {} |",
        document.id_ref().unwrap_or("no id"),
        document.text().unwrap_or("no text"),
        document.metadata_ref().as_json()
    );
    for part in document.parts() {
        let _ = write!(out, " {}..{}", part.span.start, part.span.end);
        for value in part.vector.iter().flatten() {
            let _ = write!(out, ",{:x}", value.to_bits());
        }
    }
    out
}

fn describe_hit(hit: &Hit) -> String {
    format!(
        "{} {} {} {:?} | {} | {}",
        hit.id,
        hit.score,
        hit.distance.unwrap_or_default(),
        hit.span,
        hit.text.as_deref().unwrap_or("no text"),
        hit.metadata.as_json()
    )
}

fn filters() -> [Filter; 3] {
    [
        Filter::field("n").gte(40),
        Filter::field("lang").eq("ko"),
        Filter::from_json(r#"{"$or":[{"year":2020},{"태그":{"$contains":"가"}}]}"#).unwrap(),
    ]
}

/// Everything that can be asked of the store. The fixtures of old versions know these answers: add, change nothing.
pub(crate) fn ask(store: &Store) -> Vec<Answer> {
    let snapshot = match store.snapshot() {
        Ok(snapshot) => snapshot,
        Err(error) => return vec![Answer::one("snapshot", Err(error))],
    };
    let mut answers = vec![
        Answer::one("count", Ok(snapshot.count().to_string())),
        Answer::one("commit", Ok(snapshot.commit().to_string())),
        Answer::stream("documents", snapshot.documents().with_vectors().map(|d| d.map(|d| describe(&d)))),
    ];
    for (n, filter) in filters().iter().enumerate() {
        let ids = snapshot.documents().filter(filter).map(|d| d.map(|d| describe(&d)));
        answers.push(Answer::stream(&format!("documents {n}"), ids));
        answers.push(Answer::one(
            format!("count where {n}"),
            snapshot.count_where(filter).map(|n| n.to_string()),
        ));
    }
    by_field(&snapshot, &mut answers);
    for n in 0..DOCUMENTS + 2 {
        let get = snapshot.get(&id(n)).map(|d| d.map_or("none".into(), |d| describe(&d)));
        answers.push(Answer::one(format!("get {n}"), get));
    }
    for n in [1, 4, 21, 30, 74, 85] {
        let get = snapshot.get_with_vectors(&id(n)).map(|d| d.map_or("none".into(), |d| describe(&d)));
        answers.push(Answer::one(format!("get with vectors {n}"), get));
    }
    searches(&snapshot, &mut answers);
    let stats = store.stats().map(|stats| {
        let rows: Vec<u64> = stats.segments.iter().map(|segment| segment.rows).collect();
        format!(
            "{} documents, {} parts, {} dead, segments of {rows:?}, {} in the tail, {:?} values, {}",
            stats.documents, stats.parts, stats.dead, stats.tail_rows, stats.dim, stats.metric
        )
    });
    answers.push(Answer::one("stats", stats));
    answers
}

/// What there is of fields; indexed fields and others answer the same.
fn by_field(snapshot: &Snapshot, answers: &mut Vec<Answer>) {
    let fields = snapshot.fields().map(|all| {
        let row = |field: &FieldStats| {
            format!(
                "{} {} {} {} {} {}",
                field.name, field.documents, field.values, field.numbers, field.strings, field.others
            )
        };
        all.iter().map(row).collect()
    });
    answers.push(Answer::many("fields", fields));
    for field in ["lang", "n"] {
        let counts = snapshot.count_by(field, &filters()[0]);
        let rows = counts.map(|all| all.iter().map(|of| format!("{} {}", of.value, of.count)).collect());
        answers.push(Answer::many(format!("count by {field}"), rows));
        let sorted = snapshot.documents().sort(field, SortOrder::Descending);
        let ids = sorted.map(|document| document.map(|d| d.id_ref().unwrap_or("no id").to_owned()));
        answers.push(Answer::stream(&format!("sorted by {field}"), ids));
    }
}

fn searches(snapshot: &Snapshot, answers: &mut Vec<Answer>) {
    let mut random = Random(3);
    let [late, korean, _] = filters();
    let queries = [
        Query::vector(vector(&mut random)).k(5),
        Query::vector(vector(&mut random)).k(1000),
        Query::vector(vector(&mut random)).k(7).filter(late),
        Query::vector(vector(&mut random)).k(7).filter(korean).min_score(0.1),
        Query::like(id(23)).k(4),
        Query::like(id(25)).k(4),
    ];
    for (n, query) in queries.iter().enumerate() {
        answers.push(Answer::many(format!("search {n}"), hits(snapshot, query)));
    }
    let words = ["백두산", "문서 31 동해", "\"동해물과 백두산이\" -8", "+3* 산", "없다"];
    for (n, text) in words.into_iter().enumerate() {
        let query = Query::text(text).mode(Mode::Text).k(6);
        let query = if n == 0 { query.filter(filters()[1].clone()) } else { query };
        answers.push(Answer::many(format!("search by words {n}"), hits(snapshot, &query)));
    }
    let both = Query::text("백두산이 12").with_vector(vector(&mut random)).k(6);
    answers.push(Answer::many("search by both", hits(snapshot, &both)));
}

fn hits(snapshot: &Snapshot, query: &Query) -> vdb::Result<Vec<String>> {
    match snapshot.search(query) {
        // What does not exist is an answer, too.
        Err(Error::NotFound { name, .. }) => Ok(vec![format!("no {name}")]),
        Err(Error::Unavailable { feature, .. }) => Ok(vec![format!("no {feature}")]),
        result => result.map(|hits| hits.iter().map(describe_hit).collect()),
    }
}
