//! The flags that decide what a new store is like.

use std::num::NonZero;
use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};
use vdb::embed::{DEFAULT_MODEL, Models};
use vdb::{Error, IndexKind, Language, Metric, ModelIdentity, OpenOptions, Precision, Stats};

use crate::args::Globals;
use crate::failure::{Failure, Result};
use crate::open;

/// What a new store is like.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A new store")]
pub(crate) struct Making {
    /// The model that embeds texts; or `none`, or `external:LABEL` for one outside vdb [default: all-MiniLM-L6-v2, with
    /// --dim alone external:unnamed]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The number of values of a vector [default: that of the model, else of the first vector]
    #[arg(long, value_name = "N")]
    dim: Option<NonZero<usize>>,
    /// How nearness is measured: `cosine`, `l2` or `ip` [default: cosine]
    #[arg(long)]
    metric: Option<Metric>,
    /// The index of each segment. `exact`: none. From 1,000 vectors on: `sq8`, `sq4`: a scan of codes of eight or four bits
    /// a value; `hnsw`, `hnsw-sq8`, `hnsw-f32`: a graph of neighbours over values of 16, 8 or 32 bits. `auto`: in a
    /// store of 10,000 vectors or more, from 5,000 in a segment on `hnsw-sq8`, or `sq4` where the memory budget does not allow a graph
    #[arg(long, default_value = "auto", value_name = "KIND", value_parser = index())]
    index: IndexKind,
    /// How the values of vectors are stored: `f32`, as given; `f16`, in half the space, rounded to three digits
    #[arg(long, default_value = "f32", value_name = "TYPE", value_parser = vectors())]
    vectors: Precision,
    /// Whether texts are indexed, so that they can be searched for their words: `on` or `off` [default: on]
    #[arg(long, value_name = "SWITCH", value_parser = switch())]
    text: Option<bool>,
    /// The language of the texts, as `english` or `en`: words are found by their stems, too [default: none]
    #[arg(long, value_name = "LANG")]
    stem: Option<Language>,
    /// The permission bits of the file, in octal
    #[arg(long, default_value = "0600", value_name = "MODE", value_parser = octal)]
    file_mode: u32,
}

/// What is said of a store that was made.
pub(crate) struct Made {
    pub(crate) data: Value,
    pub(crate) text: String,
}

fn index() -> impl TypedValueParser<Value = IndexKind> {
    PossibleValuesParser::new(IndexKind::ALL.map(IndexKind::name)).try_map(|name| name.parse::<IndexKind>())
}

fn vectors() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(["f32", "f16"]).try_map(|name| name.parse::<Precision>())
}

fn switch() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["on", "off"]).map(|name| name == "on")
}

fn octal(text: &str) -> std::result::Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected octal permission bits such as 0600".to_owned()),
    }
}

impl Making {
    /// The model that was asked for, or the default; a dimension alone means vectors of a model without a name.
    ///
    /// # Errors
    /// `Unavailable` when it is not on this machine, with the command that gets it.
    pub(crate) fn model(&self) -> Result<Option<ModelIdentity>> {
        let name = match (self.model.as_deref(), self.dim) {
            (Some("none"), _) => return Ok(None),
            (None, None) => DEFAULT_MODEL,
            (None, Some(_)) => "external:unnamed",
            (Some(name), _) => name,
        };
        match name.strip_prefix("external:") {
            None => Ok(Some(Models::of_user()?.identity(name)?)),
            Some("") => Err(Failure::usage("the model `external:` needs a label, such as external:mine")),
            Some(_) => {
                let dim =
                    self.dim.ok_or_else(|| Failure::usage(format!("the model `{name}` needs `--dim N`")))?;
                Ok(Some(ModelIdentity {
                    name: name.to_owned(),
                    dim: dim.get(),
                    pooling: String::new(),
                    normalised: false,
                    weights_sha256: String::new(),
                    tokenizer_sha256: String::new(),
                }))
            }
        }
    }

    /// The options to make a store of this model with.
    pub(crate) fn options(&self, model: Option<ModelIdentity>, globals: &Globals) -> OpenOptions {
        let metric = self.metric.unwrap_or_default();
        let mut options = open::options(globals).metric(metric).index(self.index);
        options = options.vectors(self.vectors).file_mode(self.file_mode);
        if let Some(dim) = self.dim {
            options = options.dim(dim.get());
        }
        options = options.text(self.text.unwrap_or(true));
        if let Some(language) = self.stem {
            options = options.stem(language);
        }
        model.into_iter().fold(options, OpenOptions::model)
    }

    /// Checks that a store that was there already is as asked for.
    pub(crate) fn fits(&self, stats: &Stats) -> Result<()> {
        let differs = |flag: &str, asked: &str, found: &str| {
            let reason = format!("the store is there already and has {found}, not {asked}");
            Err(Error::Invalid { what: flag.into(), reason }.into())
        };
        if let Some(metric) = self.metric.filter(|&metric| metric != stats.metric) {
            return differs("--metric", metric.name(), stats.metric.name());
        }
        if let (Some(asked), Some(found)) = (self.dim.map(NonZero::get), stats.dim)
            && asked != found
        {
            return differs("--dim", &asked.to_string(), &found.to_string());
        }
        let shown = |on: bool| if on { "on" } else { "off" };
        if let Some(asked) = self.text.filter(|&asked| asked != stats.text.is_some()) {
            return differs("--text", shown(asked), shown(!asked));
        }
        if let Some(asked) = self.stem {
            let found = stats.text.as_ref().and_then(|text| text.stem);
            if found != Some(asked) {
                return differs("--stem", asked.name(), found.map_or("none", Language::name));
            }
        }
        let found = stats.model.as_ref().map_or("none", |model| &model.name);
        match self.model.as_deref() {
            Some(asked) if asked != found => {
                Err(Error::Model { expected: found.to_owned(), found: asked.to_owned() }.into())
            }
            _ => Ok(()),
        }
    }

    /// What to say of a store of this model that was made at `path`.
    pub(crate) fn made(&self, path: &Path, model: Option<&ModelIdentity>) -> Made {
        let dim = model.map(|model| model.dim).or(self.dim.map(NonZero::get));
        let (name, metric) = (model.map(|model| &model.name), self.metric.unwrap_or_default());
        let data =
            json!({"path": path.to_string_lossy(), "model": name, "dim": dim, "metric": metric.name()});
        let shown = dim.map_or_else(|| "any".to_owned(), |dim| dim.to_string());
        let name = name.map_or("none", String::as_str);
        let text = format!("created {} (model {name}, dimension {shown}, metric {metric})", path.display());
        Made { data, text }
    }
}
