//! Sessions of the ONNX Runtime, each for one thread, that share the weights of their model.

use std::fs::File;
use std::sync::Arc;

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights};
use ort::value::{DynValue, Tensor, TensorRef};
use tokenizers::Encoding;

use super::folder::{Folder, Network, Pooling};
use super::models::Models;
use super::onnx;
use super::runtime;
use super::weights::Matrix;
use crate::codec::to_usize;
use crate::error::{Error, Result};
use crate::storage::map_for_good;

/// What is added to the length of a vector before it is divided by it.
const EPSILON: f32 = 1e-12;

/// What the sessions of a model have in common.
pub(super) struct Sessions {
    environment: Environment,
    /// The weights as the processor wants them, made by the first session.
    packed: PrepackedWeights,
    /// The weights that are packed, as they are in the file.
    matrices: Vec<(String, Arc<DynValue>)>,
}

impl Sessions {
    /// # Errors
    /// `Unavailable` if the ONNX Runtime is not on this machine; `Io` if the weights cannot be mapped; `Embed`.
    pub(super) fn new(folder: &Folder, models: &Models) -> Result<Self> {
        let environment = runtime::environment(models)?;
        let matrices = matrices(&environment, folder)?;
        Ok(Sessions { environment, packed: PrepackedWeights::new(), matrices })
    }

    /// Another session.
    ///
    /// # Errors
    /// `Io`; `Embed` with the runtime's own error.
    pub(super) fn make(&self, folder: &Folder) -> Result<Worker> {
        let graph = folder.graph()?;
        let session = self.commit(folder, &graph).map_err(embed_error)?;
        let inputs = session.inputs().iter().map(|input| input.name().to_owned()).collect();
        let output = match &folder.network {
            Network::Bert(_) => 0,
            Network::Onnx(output) => output.position,
        };
        Ok(Worker { session, inputs, output, pooling: folder.pooling, dim: folder.dim })
    }

    fn commit(&self, folder: &Folder, graph: &[u8]) -> ort::Result<Session> {
        let mut builder = Session::builder(&self.environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(1)?
            .with_prepacked_weights(&self.packed)?
            // The runtime maps the weights from there, so that their pages are shared and can be dropped.
            .with_config_entry(
                "session.model_external_initializers_file_folder_path",
                folder.path.to_string_lossy(),
            )?;
        for (name, matrix) in &self.matrices {
            builder = builder.with_initializer(name, Arc::clone(matrix))?;
        }
        builder.commit_from_memory(graph)
    }
}

/// The matrices of a model as values of the runtime, whose bytes stay in the file.
///
/// The runtime shares what it makes of a weight if it is given the weight as a value that others own, but a value that only
/// looks at bytes cannot be made with these bindings. A graph returns what it is given, so that nothing is copied.
fn matrices(environment: &Environment, folder: &Folder) -> Result<Vec<(String, Arc<DynValue>)>> {
    if folder.matrices.is_empty() {
        return Ok(Vec::new());
    }
    let path = folder.path.join(folder.weights());
    let io = |op: &'static str| {
        let path = path.clone();
        move |source| Error::Io { op, path, source }
    };
    let bytes = map_for_good(&File::open(&path).map_err(io("open"))?).map_err(io("map"))?;
    let mut echo = Session::builder(environment)
        .and_then(|mut builder| builder.commit_from_memory(&onnx::echo()))
        .map_err(embed_error)?;
    let mut values = Vec::new();
    for Matrix { name, shape, place } in &folder.matrices {
        let shortened =
            || Error::invalid(path.display().to_string(), format!("{name} is not in it any more"));
        let bytes = bytes.get(to_usize(place.start)..to_usize(place.end)).ok_or_else(shortened)?;
        let floats: &'static [f32] = bytemuck::try_cast_slice(bytes).map_err(|_| shortened())?;
        let value = echoed(&mut echo, *shape, floats).map_err(embed_error)?;
        values.push((name.clone(), Arc::new(value)));
    }
    Ok(values)
}

fn echoed(echo: &mut Session, shape: [usize; 2], floats: &'static [f32]) -> ort::Result<DynValue> {
    let given = TensorRef::from_array_view((shape, floats))?;
    let mut outputs = echo.run(ort::inputs![onnx::ECHO => given])?;
    let value = outputs.remove(onnx::ECHO).ok_or_else(|| ort::Error::new("the graph returned nothing"))?;
    Ok(value)
}

/// A session that embeds one text at a time.
pub(super) struct Worker {
    session: Session,
    inputs: Vec<String>,
    /// The place of the output among the outputs.
    output: usize,
    pooling: Pooling,
    dim: usize,
}

impl Worker {
    /// The vector of a text, one long.
    ///
    /// Cost: one run of the model.
    /// # Errors
    /// `Embed` with the runtime's own error; `Shape` if the model gives other vectors than it says. `name` is the model's.
    pub(super) fn embed(&mut self, name: &str, text: &Encoding) -> Result<Vec<f32>> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let values = match input.as_str() {
                "input_ids" => text.get_ids(),
                "attention_mask" => text.get_attention_mask(),
                _ => text.get_type_ids(),
            };
            let values: Vec<i64> = values.iter().copied().map(i64::from).collect();
            inputs.push((
                input.as_str(),
                Tensor::from_array(([1, values.len()], values)).map_err(embed_error)?,
            ));
        }
        let outputs = self.session.run(inputs).map_err(embed_error)?;
        let (_, values) = outputs[self.output].try_extract_tensor::<f32>().map_err(embed_error)?;
        let rows = if self.pooling == Pooling::Built { 1 } else { text.len() };
        if values.len() != rows * self.dim || rows == 0 {
            let what = format!("vectors of {rows} tokens that {name} gave");
            return Err(Error::Shape { what, expected: rows * self.dim, found: values.len() });
        }
        let mut vector = values[..self.dim].to_vec();
        if self.pooling == Pooling::Mean {
            mean(&mut vector, &values[self.dim..], rows);
        }
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt() + EPSILON;
        for x in &mut vector {
            *x /= length;
        }
        Ok(vector)
    }
}

/// Adds the other rows to the first, and divides by their number.
#[expect(clippy::cast_precision_loss, reason = "the tokens of a text are far below 2^24")]
fn mean(first: &mut [f32], others: &[f32], rows: usize) {
    for row in others.chunks_exact(first.len()) {
        for (sum, x) in first.iter_mut().zip(row) {
            *sum += x;
        }
    }
    for sum in first {
        *sum /= rows as f32;
    }
}

fn embed_error(error: ort::Error) -> Error {
    Error::Embed { source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::super::models::DEFAULT_MODEL;
    use super::*;

    #[test]
    fn matrices_stay_in_the_file() {
        let models = Models::of_user().unwrap();
        let folder = Folder::read(&models.path(DEFAULT_MODEL).unwrap()).unwrap();
        let sessions = Sessions::new(&folder, &models).unwrap();
        assert_eq!(sessions.matrices.len(), 6 * 6);
        let map = map_for_good(&File::open(folder.path.join(folder.weights())).unwrap()).unwrap();
        for (name, matrix) in &sessions.matrices {
            let (_, values) = matrix.try_extract_tensor::<f32>().unwrap();
            assert!(map.as_ptr_range().contains(&values.as_ptr().cast()), "{name}");
        }
    }
}
