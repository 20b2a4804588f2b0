//! The documents of `vdb add`: where they come from, and their way into a transaction.

use vdb::{Document, Error, WriteTxn};

use crate::failure::{Failure, Result};
use crate::given;
use crate::lines::{Lines, Numbered};
use crate::model::Model;

/// The documents that are added together.
const BATCH_DOCUMENTS: usize = 512;
/// Documents are read and added together until their lines have so many bytes.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// Where documents come from.
pub(crate) enum Source {
    /// The command line.
    Typed(Vec<Document>),
    /// JSON Lines.
    Lines(Lines),
}

impl Source {
    /// The texts of the command line with their ids, or standard input when `-` is the only text.
    pub(crate) fn new(texts: &[String], ids: &[String], metadata: Option<&str>) -> Result<Self> {
        if texts.iter().any(|text| text == "-") {
            if texts.len() > 1 || !ids.is_empty() || metadata.is_some() {
                return Err(Failure::usage(
                    "`-` reads whole documents: it goes without texts, --id and --meta",
                ));
            }
            return Ok(Source::Lines(Lines::open("-")?));
        }
        if !ids.is_empty() && ids.len() != texts.len() {
            let message = format!("{} texts with {} ids: give one for each, or none", texts.len(), ids.len());
            return Err(Failure::usage(message));
        }
        let metadata = metadata.map(given::metadata).transpose()?.unwrap_or_default();
        let mut documents = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            let document = Document::new(text).with_metadata(metadata.clone());
            let document = ids.get(n).map_or(document.clone(), |id| document.id(id));
            document.validate()?;
            documents.push(document);
        }
        Ok(Source::Typed(documents))
    }

    /// The lines, where it is them.
    pub(crate) fn lines(&mut self) -> Option<&mut Lines> {
        match self {
            Source::Typed(_) => None,
            Source::Lines(lines) => Some(lines),
        }
    }

    /// The next documents; none at the end.
    pub(crate) fn batch(&mut self) -> Result<Vec<Numbered<Document>>> {
        match self {
            Source::Typed(documents) => {
                Ok(documents.drain(..).map(|value| Numbered { line: 0, value }).collect())
            }
            Source::Lines(lines) => {
                let (mut batch, mut bytes) = (Vec::new(), 0);
                while batch.len() < BATCH_DOCUMENTS && bytes < BATCH_BYTES {
                    let read = |line: &str| {
                        let document = Document::from_json(line)?;
                        document.validate()?;
                        Ok((document, line.len()))
                    };
                    let Some(Numbered { line, value }) = lines.next_parsed(read)? else { break };
                    bytes += value.1;
                    batch.push(Numbered { line, value: value.0 });
                }
                Ok(batch)
            }
        }
    }

    /// An error in the document of a line.
    fn fault(&self, line: u64, error: Error) -> Failure {
        match self {
            Source::Typed(_) => error.into(),
            Source::Lines(lines) => lines.fault(line, error),
        }
    }
}

/// Whether a vector of the document has to come from a model.
fn is_bare(document: &Document) -> bool {
    document.parts().is_empty() || document.parts().iter().any(|part| part.vector.is_none())
}

/// Adds a batch; an error names the line at fault. Returns how many documents stay without a vector.
pub(crate) fn add(
    txn: &mut WriteTxn,
    batch: &[Numbered<Document>],
    model: &Model,
    source: &Source,
) -> Result<u64> {
    let bare = batch.iter().filter(|numbered| is_bare(&numbered.value)).count();
    if bare > 0 {
        model.require()?;
    }
    if let Err(error) = txn.add(batch.iter().map(|numbered| numbered.value.clone())) {
        // Nothing of the batch is in the transaction, which is given up: one by one the documents tell which it is.
        for Numbered { line, value } in batch {
            txn.add([value.clone()]).map_err(|error| source.fault(*line, error))?;
        }
        return Err(error.into());
    }
    Ok(if model.embedder().is_some() { 0 } else { u64::try_from(bare).unwrap_or(u64::MAX) })
}
