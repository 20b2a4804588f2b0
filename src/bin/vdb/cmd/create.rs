//! `vdb create`: a new, empty store.

use std::num::NonZero;
use std::path::PathBuf;

use serde_json::json;
use vdb::{Error, Metric, ModelIdentity};

use crate::args::Globals;
use crate::failure::{Exit, Failure, Result};
use crate::output::Output;

/// Make a new, empty store; an existing file is refused
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to make
    file: PathBuf,
    /// The model of the vectors: `none`, or `external:LABEL` for one outside vdb [default: none]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The number of values of a vector [default: that of the first vector]
    #[arg(long, value_name = "N")]
    dim: Option<NonZero<usize>>,
    /// How nearness is measured: `cosine`, `l2` or `ip`
    #[arg(long, default_value = "cosine")]
    metric: Metric,
    /// The index: `auto` and `exact`, which search exactly
    #[arg(long, default_value = "auto", value_name = "KIND", value_parser = |v: &str| now(v, &["auto", "exact"]))]
    index: String,
    /// How vectors are stored
    #[arg(long, default_value = "f32", value_name = "TYPE", value_parser = |v: &str| now(v, &["f32"]))]
    vectors: String,
    /// Whether texts are indexed for full-text search
    #[arg(long, default_value = "off", value_name = "SWITCH", value_parser = |v: &str| now(v, &["off"]))]
    text: String,
    /// The permission bits of the file, in octal
    #[arg(long, default_value = "0600", value_name = "MODE", value_parser = octal)]
    file_mode: u32,
}

/// Accepts what this version can do.
fn now(value: &str, known: &[&str]) -> std::result::Result<String, String> {
    if known.contains(&value) {
        return Ok(value.to_owned());
    }
    Err(format!("not in this version, which has {}", known.join(", ")))
}

fn octal(text: &str) -> std::result::Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected octal permission bits such as 0600".to_owned()),
    }
}

/// The model that was asked for; a dimension alone means vectors of a model without a name.
fn model(args: &Args) -> Result<Option<ModelIdentity>> {
    let name = match (args.model.as_deref(), args.dim) {
        (None, None) | (Some("none"), _) => return Ok(None),
        (None, Some(_)) => "external:unnamed",
        (Some(name), _) => name,
    };
    match name.strip_prefix("external:") {
        None => Err(Error::Unavailable {
            feature: "the model",
            reason: format!("there is no model {name:?} on this machine; use `external:LABEL` or `none`"),
        }
        .into()),
        Some("") => Err(Failure::usage("the model `external:` needs a label, such as external:mine")),
        Some(_) => {
            let dim =
                args.dim.ok_or_else(|| Failure::usage(format!("the model `{name}` needs `--dim N`")))?;
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

/// Makes the store.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let model = model(args)?;
    let name = model.as_ref().map(|model| model.name.clone());
    let mut options = super::options(globals).metric(args.metric).file_mode(args.file_mode);
    if let Some(dim) = args.dim {
        options = options.dim(dim.get());
    }
    if let Some(model) = model {
        options = options.model(model);
    }
    options.create(&args.file)?.close()?;
    let dim = args.dim.map(NonZero::get);
    let data = json!({
        "path": args.file.to_string_lossy(), "model": name, "dim": dim, "metric": args.metric.name(),
    });
    let shown = dim.map_or_else(|| "any".to_owned(), |dim| dim.to_string());
    let text = format!(
        "created {} (model {}, dimension {shown}, metric {})",
        args.file.display(),
        name.as_deref().unwrap_or("none"),
        args.metric
    );
    output.result("created", &data, text)?;
    Ok(Exit::Done)
}
