//! What a query asks of some snapshots: the mode, the vector, the words.

use super::query::{Mode, Query, Target};
use super::snapshot::Snapshot;
use crate::catalog;
use crate::codec::to_u64;
use crate::embed::{Embedder, Fit};
use crate::error::{Error, Result};
use crate::text::query::TextQuery;

/// A query as some snapshots answer it together.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// Never [`Mode::Auto`].
    pub(super) mode: Mode,
    /// The vector to compare with; there may be one without a ranking of vectors, for diversity and the like.
    pub(super) vector: Option<Vec<f32>>,
    /// The words, for each of the snapshots, which may cut them in different ways; none where no words are searched.
    pub(super) words: Vec<TextQuery>,
    /// How well the model knows the words of the query.
    pub(super) fit: Option<Fit>,
    /// The document to leave out: the place of its snapshot, and its first row.
    pub(super) excluded: Option<(usize, u64)>,
    /// What a user might want to know.
    pub(super) note: Option<String>,
}

impl Request {
    /// # Errors
    /// `Unavailable` where the mode needs a text index or a model that is not there; `Invalid` where it does not go with the
    /// query; `NotFound` for a document that is not there; the embedder's own.
    pub(super) fn new(snapshots: &[&Snapshot], query: &Query) -> Result<Self> {
        let request = match &query.target {
            Target::Vector(vector) => of_vector(query, vector)?,
            Target::Text { .. } => of_text(snapshots, query)?,
            Target::Like(id) => of_document(snapshots, query, id)?,
        };
        if request.mode == Mode::Hybrid && query.min_score.is_some() {
            let reason = "scores of the mode hybrid say how documents stand to each other; choose the mode vector or text, \
                          or a least cosine";
            return Err(Error::invalid("least score", reason));
        }
        Ok(request)
    }
}

fn of_vector(query: &Query, vector: &[f32]) -> Result<Request> {
    if query.mode.has_text() {
        let reason = format!("it is {}, and the query is a vector without a text", query.mode.name());
        return Err(Error::invalid("mode", reason));
    }
    Ok(Request { mode: Mode::Vector, vector: Some(vector.to_vec()), ..Request::default() })
}

fn of_text(snapshots: &[&Snapshot], query: &Query) -> Result<Request> {
    let Target::Text { text, vector, fit } = &query.target else { return Ok(Request::default()) };
    let mut stores = snapshots.iter().map(|snapshot| snapshot.store());
    let embedder = stores.find_map(|store| Some((store, store.embedder()?)));
    let (mode, note) = mode_of_text(snapshots, query, vector.is_some() || embedder.is_some());
    let words = words(snapshots, mode, |snapshot| Ok(TextQuery::parse(text, snapshot.text()?.analyzer()?)))?;
    let mut request = Request { mode, fit: *fit, note, words, ..Request::default() };
    if !needs_vector(query, mode) {
        return Ok(request);
    }
    request.vector = match (vector, embedder) {
        (Some(vector), _) => Some(vector.clone()),
        (None, Some((store, embedder))) => {
            let asked = to_embed(text, &request.words);
            request.fit = embedder.fit(asked);
            Some(store.embed(embedder, &[asked])?.vectors)
        }
        (None, None) => return Err(no_model(snapshots)),
    };
    Ok(request)
}

/// The mode of a text query.
fn mode_of_text(snapshots: &[&Snapshot], query: &Query, has_vector: bool) -> (Mode, Option<String>) {
    let has_text = snapshots.iter().all(|snapshot| snapshot.has_text_index());
    match (query.mode, has_text, has_vector) {
        (Mode::Auto, true, true) if query.diversity.is_none() => (Mode::Hybrid, None),
        (Mode::Auto, true, false) => {
            let model = snapshots.iter().find_map(|snapshot| snapshot.view().model());
            let note = |name| {
                format!("words alone were searched for: there is a model, {name}, and it was not given")
            };
            (Mode::Text, model.map(|model| note(model.name)))
        }
        (Mode::Auto, ..) => (Mode::Vector, None),
        (mode, ..) => (mode, None),
    }
}

/// The words for each snapshot, if they are to be searched.
fn words(
    snapshots: &[&Snapshot],
    mode: Mode,
    understand: impl Fn(&Snapshot) -> Result<TextQuery>,
) -> Result<Vec<TextQuery>> {
    let searched = if mode.has_text() { snapshots } else { &[] };
    searched.iter().map(|snapshot| understand(snapshot)).collect()
}

fn needs_vector(query: &Query, mode: Mode) -> bool {
    mode.has_vectors() || query.diversity.is_some() || query.min_cosine.is_some()
}

/// What to embed of a query text.
fn to_embed<'t>(text: &'t str, words: &'t [TextQuery]) -> &'t str {
    words.first().and_then(|words| words.plain.as_deref()).unwrap_or(text)
}

fn no_model(snapshots: &[&Snapshot]) -> Error {
    let has_text = snapshots.iter().all(|snapshot| snapshot.has_text_index());
    let instead = if has_text { ", or choose the mode text" } else { "" };
    let reason = format!("the store was opened without an embedding model; give one, or a vector{instead}");
    Error::Unavailable { feature: "searching by text", reason }
}

fn of_document(snapshots: &[&Snapshot], query: &Query, id: &str) -> Result<Request> {
    for (place, snapshot) in snapshots.iter().enumerate() {
        let Some(row) = catalog::id_row(snapshot.txn(), id)? else { continue };
        let record = snapshot.record(row)?;
        let part = record.parts.iter().position(|part| part.vector);
        let vector = part.map(|part| snapshot.row_vector(row + to_u64(part))).transpose()?;
        let has_text = snapshots.iter().all(|snapshot| snapshot.has_text_index());
        let mode = match (query.mode, &vector) {
            (Mode::Auto, None) if has_text && record.text.is_some() => Mode::Text,
            (Mode::Auto, _) => Mode::Vector,
            (mode, _) => mode,
        };
        let text = record.text.unwrap_or_default();
        let words =
            words(snapshots, mode, |snapshot| Ok(TextQuery::of_words(&text, snapshot.text()?.analyzer()?)))?;
        return Ok(Request { mode, vector, words, excluded: Some((place, row)), ..Request::default() });
    }
    Err(Error::NotFound { what: "document", name: id.to_owned() })
}

/// Gives text queries their vectors, as far as a search of these snapshots will need them.
pub(super) fn embed(snapshots: &[&Snapshot], queries: &mut [Query], embedder: &dyn Embedder) -> Result<()> {
    let mut asked: Vec<(usize, String)> = Vec::new();
    for (place, query) in queries.iter().enumerate() {
        let Target::Text { text, vector: None, .. } = &query.target else { continue };
        let (mode, _) = mode_of_text(snapshots, query, true);
        if needs_vector(query, mode) {
            let words =
                words(snapshots, mode, |snapshot| Ok(TextQuery::parse(text, snapshot.text()?.analyzer()?)))?;
            asked.push((place, to_embed(text, &words).to_owned()));
        }
    }
    let Some(first) = snapshots.first().filter(|_| !asked.is_empty()) else { return Ok(()) };
    let texts: Vec<&str> = asked.iter().map(|(_, text)| text.as_str()).collect();
    let vectors = first.store().embed(embedder, &texts)?.vectors;
    for ((place, asked), made) in asked.iter().zip(vectors.chunks_exact(embedder.identity().dim)) {
        if let Target::Text { vector, fit, .. } = &mut queries[*place].target {
            (*vector, *fit) = (Some(made.to_vec()), embedder.fit(asked));
        }
    }
    Ok(())
}
