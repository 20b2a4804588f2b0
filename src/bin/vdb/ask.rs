//! What to search for: one text, vector or document, or a file of queries.

use vdb::{Document, Error, Query, Snapshot};

use crate::failure::{Failure, Result};
use crate::given;
use crate::lines::{Lines, Numbered};
use crate::model::Model;

/// The queries that are embedded together.
const BATCH_QUERIES: usize = 64;

/// What to search for.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Ask {
    /// The text to search for
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    /// Search for a vector: a JSON list of numbers, or `@FILE`
    #[arg(long, value_name = "JSON")]
    vector: Option<String>,
    /// Search for documents like this one, which is left out
    #[arg(long, value_name = "ID")]
    like: Option<String>,
    /// Search for each line of a file, or of standard input (`-`): JSON Lines {id, text or vector}
    #[arg(long, value_name = "FILE")]
    queries: Option<String>,
}

/// One thing to search for.
pub(crate) enum Target {
    Text(String),
    Vector(Vec<f32>),
    Like(String),
}

/// One search to make.
pub(crate) struct Question {
    /// Its id in the file of queries.
    pub(crate) name: Option<String>,
    pub(crate) target: Target,
}

/// The searches to make, read as they are needed.
pub(crate) enum Questions {
    One(Option<Question>),
    Lines(Lines),
}

impl Ask {
    /// Whether texts may be asked for, so that the mode of search matters.
    pub(crate) fn is_open(&self) -> bool {
        self.query.is_some() || self.queries.is_some()
    }

    /// The searches that were asked for.
    pub(crate) fn questions(&self) -> Result<Questions> {
        let target = match (&self.query, &self.vector, &self.like, &self.queries) {
            (Some(text), ..) if text.trim().is_empty() => return Err(Failure::usage("the query is empty")),
            (Some(text), ..) => Target::Text(text.clone()),
            (_, Some(vector), ..) => Target::Vector(given::vector(vector)?),
            (_, _, Some(id), _) => Target::Like(id.clone()),
            (.., queries) => return Ok(Questions::Lines(Lines::open(queries.as_deref().unwrap_or("-"))?)),
        };
        Ok(Questions::One(Some(Question { name: None, target })))
    }
}

impl Questions {
    /// The next few searches, texts made into vectors by `model`; none at the end.
    pub(crate) fn batch(&mut self, model: &mut dyn FnMut() -> Result<Model>) -> Result<Vec<Question>> {
        let mut batch = Vec::new();
        match self {
            Questions::One(question) => batch.extend(question.take()),
            Questions::Lines(lines) => {
                while batch.len() < BATCH_QUERIES {
                    let Some(Numbered { line, value }) = lines.next_parsed(question)? else { break };
                    let name = value.name.or_else(|| Some(line.to_string()));
                    batch.push(Question { name, ..value });
                }
            }
        }
        embed(&mut batch, model)?;
        Ok(batch)
    }
}

/// Reads a line of a file of queries, which is a document without metadata and with one vector at most.
fn question(line: &str) -> vdb::Result<Question> {
    let fault = |reason: &str| Error::Invalid { what: "query".into(), reason: reason.into() };
    let document = Document::from_json(line).map_err(|error| match error {
        Error::Invalid { reason, .. } => fault(&reason),
        other => other,
    })?;
    if !document.metadata_ref().is_empty() || document.parts().len() > 1 {
        return Err(fault("expected the keys id, text, vector alone"));
    }
    let target = match (given::vector_of(&document), document.text()) {
        (Some(vector), _) => Target::Vector(vector),
        (None, Some(text)) if !text.trim().is_empty() => Target::Text(text.to_owned()),
        (None, _) => return Err(fault("its text is empty")),
    };
    Ok(Question { name: document.id_ref().map(str::to_owned), target })
}

/// Makes vectors of texts.
fn embed(batch: &mut [Question], model: &mut dyn FnMut() -> Result<Model>) -> Result<()> {
    let text = |question: &Question| match &question.target {
        Target::Text(text) => Some(text.clone()),
        _ => None,
    };
    let texts: Vec<String> = batch.iter().filter_map(text).collect();
    if texts.is_empty() {
        return Ok(());
    }
    let model = model()?;
    model.require()?;
    let Some(embedder) = model.embedder() else {
        let reason = "the store has no embedding model; give --vector or --like".into();
        return Err(Error::Unavailable { feature: "searching by text", reason }.into());
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (vectors, dim) = (embedder.embed(&texts)?.vectors, embedder.identity().dim);
    let mut vectors = vectors.chunks_exact(dim.max(1)).map(<[f32]>::to_vec);
    for question in batch.iter_mut().filter(|question| matches!(question.target, Target::Text(_))) {
        question.target = Target::Vector(vectors.next().unwrap_or_default());
    }
    Ok(())
}

impl Target {
    /// The queries for some stores, searched as one: a document is sought in the store that has it, its vector in the
    /// others; where it has none, there is nothing to search for.
    pub(crate) fn queries(&self, snapshots: &[Snapshot]) -> Result<Option<Vec<Query>>> {
        let id = match self {
            Target::Vector(vector) => {
                return Ok(Some(snapshots.iter().map(|_| Query::vector(vector.clone())).collect()));
            }
            Target::Text(text) => {
                return Ok(Some(snapshots.iter().map(|_| Query::text(text.clone())).collect()));
            }
            Target::Like(id) => id,
        };
        for (home, snapshot) in snapshots.iter().enumerate() {
            let Some(document) = snapshot.get_with_vectors(id)? else { continue };
            let Some(vector) = given::vector_of(&document) else { return Ok(None) };
            let query = |n| if n == home { Query::like(id) } else { Query::vector(vector.clone()) };
            return Ok(Some((0..snapshots.len()).map(query).collect()));
        }
        Err(Error::NotFound { what: "document", name: id.clone() }.into())
    }
}
