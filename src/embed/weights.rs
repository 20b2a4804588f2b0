//! The header of a safetensors file: where each tensor lies.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::onnx::{self, Entry, Tensor};
use crate::codec::to_u64;
use crate::error::{Error, Result};

/// The bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;
/// The longest header that is read.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// The tensors of a safetensors file, all of them inside the file.
#[derive(Debug)]
pub(super) struct Weights {
    path: PathBuf,
    /// Where the first tensor begins.
    start: u64,
    metadata: Metadata,
    /// What stands before every name: `bert.` in models that were saved with a head.
    prefix: &'static str,
}

/// A matrix of the file: its name, its rows and columns, and the place of its bytes.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub(super) name: String,
    pub(super) shape: [usize; 2],
    pub(super) place: Range<u64>,
}

impl Matrix {
    /// Whether its values can be read where they are.
    pub(super) fn is_aligned(&self) -> bool {
        self.place.start.is_multiple_of(to_u64(align_of::<f32>()))
    }
}

impl Weights {
    /// Reads the header, and checks that the file is exactly as long as its tensors are.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let io = |op: &'static str| move |source| Error::Io { op, path: path.into(), source };
        let invalid = |reason: String| Error::invalid(path.display().to_string(), reason);
        let mut file = File::open(path).map_err(io("open"))?;
        let len = file.metadata().map_err(io("read"))?.len();
        let mut length = [0; 8];
        let truncated = || invalid(format!("it is no safetensors file: it has only {len} bytes"));
        if len < LENGTH_BYTES {
            return Err(truncated());
        }
        file.read_exact(&mut length).map_err(io("read"))?;
        let header = u64::from_le_bytes(length);
        if header > HEADER_BYTES_MAX {
            return Err(invalid(format!(
                "it is no safetensors file: its header would be {header} bytes long"
            )));
        }
        if LENGTH_BYTES + header > len {
            return Err(truncated());
        }
        let mut bytes = Vec::new();
        file.take(header).read_to_end(&mut bytes).map_err(io("read"))?;
        let metadata: Metadata = serde_json::from_slice(&bytes)
            .map_err(|error| invalid(format!("its safetensors header cannot be read: {error}")))?;
        let start = LENGTH_BYTES + header;
        let expected = start.saturating_add(to_u64(metadata.data_len()));
        if expected != len {
            return Err(invalid(format!("it has {len} bytes, its safetensors header asks for {expected}")));
        }
        let prefixed = metadata.info("bert.embeddings.word_embeddings.weight").is_some();
        Ok(Weights { path: path.into(), start, metadata, prefix: if prefixed { "bert." } else { "" } })
    }

    /// A matrix and where its bytes are.
    ///
    /// # Errors
    /// Those of [`Weights::tensor`].
    pub(super) fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Matrix> {
        Ok(Matrix { name: name.into(), shape, place: self.find(name, &shape)? })
    }

    /// The tensor as an initializer whose bytes stay in the file.
    ///
    /// # Errors
    /// `Invalid` if it is missing, of another type or of another shape.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let place = self.find(name, shape)?;
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        let entry = |key: &str, value: String| Entry { key: key.into(), value };
        let signed = |n: &usize| i64::try_from(*n).unwrap_or(i64::MAX);
        Ok(Tensor {
            dims: shape.iter().map(signed).collect(),
            data_type: onnx::FLOAT,
            name: name.into(),
            external_data: vec![
                entry("location", file.into_owned()),
                entry("offset", place.start.to_string()),
                entry("length", (place.end - place.start).to_string()),
            ],
            data_location: onnx::EXTERNAL,
            ..Tensor::default()
        })
    }

    /// Where the bytes of a tensor are in the file.
    fn find(&self, name: &str, shape: &[usize]) -> Result<Range<u64>> {
        let what = || format!("{} in {}", name, self.path.display());
        let full = format!("{}{name}", self.prefix);
        let Some(TensorInfo { dtype, shape: found, data_offsets: (start, end) }) = self.metadata.info(&full)
        else {
            return Err(Error::invalid(what(), "there is no such tensor"));
        };
        if *dtype != Dtype::F32 {
            return Err(Error::invalid(what(), format!("its values are {dtype:?}, expected F32")));
        }
        if found != shape {
            let reason = format!("its shape is {found:?}, config.json asks for {shape:?}");
            return Err(Error::invalid(what(), reason));
        }
        Ok(self.start + to_u64(*start)..self.start + to_u64(*end))
    }
}
