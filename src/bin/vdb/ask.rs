//! What to search for: one text, vector or document, or a file of queries.

use vdb::{Document, Error, Query};

use crate::failure::{Failure, Result};
use crate::given;
use crate::lines::{Lines, Numbered};
use crate::source::BATCH_BYTES;

/// The queries that are embedded together, or fewer if their lines are long.
const BATCH_QUERIES: usize = 64;

/// What to search for.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Ask {
    /// The text to search for: words, "phrases", prefixes*, +required and -excluded words
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

/// One search to make.
pub(crate) struct Question {
    /// Its id in the file of queries.
    pub(crate) name: Option<String>,
    pub(crate) query: Query,
    /// Whether it is a text without a vector.
    pub(crate) is_text: bool,
}

/// The searches to make, read as they are needed.
pub(crate) enum Questions {
    One(Option<Box<Question>>),
    Lines(Lines),
}

impl Ask {
    /// Whether texts may be asked for, so that the mode of search matters.
    pub(crate) fn is_open(&self) -> bool {
        self.query.is_some() || self.queries.is_some()
    }

    /// The searches that were asked for.
    pub(crate) fn questions(&self) -> Result<Questions> {
        let query = match (&self.query, &self.vector, &self.like, &self.queries) {
            (Some(text), ..) if text.trim().is_empty() => return Err(Failure::usage("the query is empty")),
            (Some(text), ..) => Query::text(text),
            (_, Some(vector), ..) => Query::vector(given::vector(vector)?),
            (_, _, Some(id), _) => Query::like(id),
            (.., queries) => return Ok(Questions::Lines(Lines::open(queries.as_deref().unwrap_or("-"))?)),
        };
        Ok(Questions::One(Some(Box::new(Question { name: None, query, is_text: self.query.is_some() }))))
    }
}

impl Questions {
    /// Keeps the lines that are read within a memory budget of so many bytes.
    pub(crate) fn within(&mut self, budget: u64) {
        if let Questions::Lines(lines) = self {
            lines.within(budget);
        }
    }

    /// The next few searches; none at the end.
    pub(crate) fn batch(&mut self) -> Result<Vec<Question>> {
        let mut batch = Vec::new();
        match self {
            Questions::One(question) => batch.extend(question.take().map(|question| *question)),
            Questions::Lines(lines) => {
                let mut bytes = 0;
                while batch.len() < BATCH_QUERIES && bytes < BATCH_BYTES {
                    let read = |line: &str| Ok((question(line)?, line.len()));
                    let Some(Numbered { line, value: (value, len) }) = lines.next_parsed(read)? else {
                        break;
                    };
                    bytes += len;
                    let name = value.name.or_else(|| Some(line.to_string()));
                    batch.push(Question { name, ..value });
                }
            }
        }
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
    let text = document.text().filter(|text| !text.trim().is_empty());
    let (query, is_text) = match (given::vector_of(&document), text) {
        (Some(vector), Some(text)) => (Query::text(text).with_vector(vector), false),
        (Some(vector), None) => (Query::vector(vector), false),
        (None, Some(text)) => (Query::text(text), true),
        (None, None) => return Err(fault("its text is empty")),
    };
    Ok(Question { name: document.id_ref().map(str::to_owned), query, is_text })
}
