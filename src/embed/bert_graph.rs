//! Turns the configuration of a BERT model into an ONNX graph whose weights stay in their safetensors file.

use std::path::Path;

use serde::Deserialize;

use super::onnx::{self, Attribute, Graph, Node, Tensor, Value};
use super::weights::{Matrix, Weights};
use crate::codec::to_u64;
use crate::error::{Error, Result};

/// What hidden positions get before the softmax: e to this power is zero.
const MASKED: f32 = -1e30;
/// The most layers, and the largest of the other sizes, that a configuration may ask for.
const LAYERS_MAX: usize = 1024;
const SIZE_MAX: usize = 1 << 24;

/// The product with a matrix that is not transposed first: a transposed one would be a copy, and not shared among sessions.
const PRODUCT: &str = "FusedMatMul";

/// The part of `config.json` that decides the graph.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct BertConfig {
    model_type: String,
    pub(super) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
    pub(super) max_position_embeddings: usize,
    pub(super) vocab_size: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

impl BertConfig {
    /// The bytes of the weights of all layers, without those of the words.
    pub(super) fn layer_bytes(&self) -> u64 {
        let (hidden, inner) = (to_u64(self.hidden_size), to_u64(self.intermediate_size));
        let layer = hidden.saturating_mul(4 * hidden + 2 * inner);
        layer.saturating_mul(4).saturating_mul(to_u64(self.num_hidden_layers))
    }

    /// The bytes of what a layer computes from so many tokens: its inputs, several times, and how each looks at each.
    pub(super) fn computed_bytes(&self, tokens: u64) -> u64 {
        let values = tokens.saturating_mul(8 * to_u64(self.hidden_size) + 2 * to_u64(self.intermediate_size));
        let looks = tokens.saturating_mul(tokens).saturating_mul(to_u64(self.num_attention_heads));
        values.saturating_add(looks.saturating_mul(2)).saturating_mul(4)
    }
}

fn gelu() -> String {
    "gelu".into()
}

fn epsilon() -> f32 {
    1e-12
}

fn two() -> usize {
    2
}

impl BertConfig {
    /// Reads and checks a configuration. `what` names the file.
    ///
    /// # Errors
    /// `Invalid` if it is not understood, or asks for something that is not supported, by name.
    pub(super) fn parse(what: &str, json: &[u8]) -> Result<Self> {
        let invalid = |reason: String| Error::invalid(what, reason);
        let kind: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| invalid(format!("it cannot be read: {error}")))?;
        let model_type = kind.get("model_type").and_then(|kind| kind.as_str()).unwrap_or_default();
        if model_type != "bert" {
            return Err(invalid(format!("model_type {model_type:?} is not supported, only \"bert\" is")));
        }
        let config: BertConfig =
            serde_json::from_value(kind).map_err(|error| invalid(format!("it cannot be read: {error}")))?;
        debug_assert_eq!(config.model_type, "bert");
        let position = config.position_embedding_type.as_deref().unwrap_or("absolute");
        if position != "absolute" {
            return Err(invalid(format!("position_embedding_type {position:?} is not supported")));
        }
        if config.is_decoder {
            return Err(invalid("is_decoder is not supported".into()));
        }
        config.activation().map_err(invalid)?;
        for (name, size, max) in [
            ("hidden_size", config.hidden_size, SIZE_MAX),
            ("num_hidden_layers", config.num_hidden_layers, LAYERS_MAX),
            ("num_attention_heads", config.num_attention_heads, SIZE_MAX),
            ("intermediate_size", config.intermediate_size, SIZE_MAX),
            ("max_position_embeddings", config.max_position_embeddings, SIZE_MAX),
            ("vocab_size", config.vocab_size, SIZE_MAX),
            ("type_vocab_size", config.type_vocab_size, SIZE_MAX),
        ] {
            if !(1..=max).contains(&size) {
                return Err(invalid(format!("{name} is {size}, expected 1 to {max}")));
            }
        }
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
            return Err(invalid(format!(
                "hidden_size {hidden} is no multiple of num_attention_heads {heads}"
            )));
        }
        Ok(config)
    }

    /// The operator of the activation, and its `approximate` attribute if it has one.
    fn activation(&self) -> Result<(&'static str, Option<&'static str>), String> {
        match self.hidden_act.as_str() {
            "gelu" | "gelu_python" => Ok(("Gelu", Some("none"))),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(("Gelu", Some("tanh"))),
            "relu" => Ok(("Relu", None)),
            other => Err(format!("hidden_act {other:?} is not supported")),
        }
    }
}

/// The graph of a model, and the matrices that tokens are multiplied by: nearly all of its weights but those of the words.
pub(super) struct Built {
    pub(super) onnx: Vec<u8>,
    pub(super) matrices: Vec<Matrix>,
}

/// Builds the graph: token ids, mask and types in, `last_hidden_state` out. Its bytes are the ONNX file; the weights are
/// named by place in `weights`, relative to its directory.
///
/// Source: Devlin et al. 2019, BERT; the names of the tensors are those of the Hugging Face `BertModel`.
/// # Errors
/// `Invalid` with the first tensor that is missing or has the wrong shape or type; `Io`.
pub(super) fn build(config: &BertConfig, weights: &Path) -> Result<Built> {
    let weights = Weights::open(weights)?;
    let mut builder = Builder { config, weights: &weights, graph: Graph::default(), matrices: Vec::new() };
    builder.constants();
    let mut hidden = builder.embeddings()?;
    let mask = builder.mask();
    for layer in 0..config.num_hidden_layers {
        hidden = builder.layer(layer, &hidden, &mask)?;
    }
    builder.node_to("Identity", &[&hidden], "last_hidden_state", vec![]);
    let Builder { mut graph, matrices, .. } = builder;
    graph.name = "bert".into();
    graph.inputs = ["input_ids", "attention_mask", "token_type_ids"]
        .map(|name| Value::sequence(name, onnx::INT64, None))
        .into();
    graph.outputs = vec![Value::sequence("last_hidden_state", onnx::FLOAT, Some(signed(config.hidden_size)))];
    Ok(Built { onnx: onnx::encode(graph), matrices })
}

/// A size that was checked against `SIZE_MAX`.
fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A graph that grows. Every method returns the name of the value it makes.
struct Builder<'a> {
    config: &'a BertConfig,
    weights: &'a Weights,
    graph: Graph,
    matrices: Vec<Matrix>,
}

impl Builder<'_> {
    fn node(&mut self, op_type: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let output = format!("{op_type}_{}", self.graph.nodes.len());
        self.node_to(op_type, inputs, &output, attributes);
        output
    }

    fn node_to(&mut self, op_type: &str, inputs: &[&str], output: &str, attributes: Vec<Attribute>) {
        self.graph.nodes.push(Node {
            inputs: inputs.iter().map(|&input| input.into()).collect(),
            outputs: vec![output.into()],
            name: format!("node_{output}"),
            op_type: op_type.into(),
            attributes,
            domain: if op_type == PRODUCT { onnx::RUNTIME_DOMAIN.into() } else { String::new() },
        });
    }

    fn ints(&mut self, name: &str, values: &[i64]) {
        self.graph.initializers.push(Tensor {
            dims: vec![signed(values.len())],
            data_type: onnx::INT64,
            int64_data: values.into(),
            name: name.into(),
            ..Tensor::default()
        });
    }

    fn float(&mut self, name: &str, value: f32) {
        self.graph.initializers.push(Tensor {
            data_type: onnx::FLOAT,
            float_data: vec![value],
            name: name.into(),
            ..Tensor::default()
        });
    }

    #[expect(clippy::cast_precision_loss, reason = "the size of a head is far below 2^24")]
    fn constants(&mut self) {
        let head = self.config.hidden_size / self.config.num_attention_heads;
        self.ints("zero", &[0]);
        self.ints("one_two", &[1, 2]);
        // 0 keeps the dimension of the input.
        self.ints("heads", &[0, 0, signed(self.config.num_attention_heads), signed(head)]);
        self.ints("joined", &[0, 0, signed(self.config.hidden_size)]);
        self.float("one", 1.0);
        self.float("masked", MASKED);
        self.float("scale", 1.0 / (head as f32).sqrt());
    }

    fn weight(&mut self, name: &str, shape: &[usize]) -> Result<()> {
        self.graph.initializers.push(self.weights.tensor(name, shape)?);
        Ok(())
    }

    /// `x W^T + b`, as the layer `Linear` of the model stores its weights: one row for each output.
    fn linear(&mut self, name: &str, input: &str, from: usize, to: usize) -> Result<String> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.weight(&weight, &[to, from])?;
        self.matrices.push(self.weights.matrix(&weight, [to, from])?);
        self.weight(&bias, &[to])?;
        let product = self.node(PRODUCT, &[input, &weight], vec![Attribute::int("transB", 1)]);
        Ok(self.node("Add", &[&product, &bias], vec![]))
    }

    fn normalise(&mut self, name: &str, input: &str) -> Result<String> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.weight(&weight, &[self.config.hidden_size])?;
        self.weight(&bias, &[self.config.hidden_size])?;
        let attributes =
            vec![Attribute::int("axis", -1), Attribute::float("epsilon", self.config.layer_norm_eps)];
        Ok(self.node("LayerNormalization", &[input, &weight, &bias], attributes))
    }

    fn embeddings(&mut self) -> Result<String> {
        let hidden = self.config.hidden_size;
        let name = |of: &str| format!("embeddings.{of}_embeddings.weight");
        let (words, positions, types) = (name("word"), name("position"), name("token_type"));
        self.weight(&words, &[self.config.vocab_size, hidden])?;
        self.weight(&positions, &[self.config.max_position_embeddings, hidden])?;
        self.weight(&types, &[self.config.type_vocab_size, hidden])?;
        let word = self.node("Gather", &[&words, "input_ids"], vec![]);
        let kind = self.node("Gather", &[&types, "token_type_ids"], vec![]);
        let bounds = vec![Attribute::int("start", 1), Attribute::int("end", 2)];
        let length = self.node("Shape", &["input_ids"], bounds);
        let position = self.node("Slice", &[&positions, "zero", &length, "zero"], vec![]);
        let sum = self.node("Add", &[&word, &kind], vec![]);
        let sum = self.node("Add", &[&sum, &position], vec![]);
        self.normalise("embeddings.LayerNorm", &sum)
    }

    /// What is added to the attention: zero, or next to minus infinity for positions that are hidden.
    fn mask(&mut self) -> String {
        let wide = self.node("Unsqueeze", &["attention_mask", "one_two"], vec![]);
        let float = self.node("Cast", &[&wide], vec![Attribute::int("to", i64::from(onnx::FLOAT))]);
        let hidden = self.node("Sub", &["one", &float], vec![]);
        self.node("Mul", &[&hidden, "masked"], vec![])
    }

    /// Splits the last dimension into heads, and orders dimensions by `order`.
    fn heads(&mut self, input: &str, order: [i64; 4]) -> String {
        let split = self.node("Reshape", &[input, "heads"], vec![]);
        self.node("Transpose", &[&split], vec![Attribute::ints("perm", &order)])
    }

    fn attention(&mut self, name: &str, hidden: &str, mask: &str) -> Result<String> {
        let size = self.config.hidden_size;
        let query = self.linear(&format!("{name}.self.query"), hidden, size, size)?;
        let keys = self.linear(&format!("{name}.self.key"), hidden, size, size)?;
        let values = self.linear(&format!("{name}.self.value"), hidden, size, size)?;
        let query = self.heads(&query, [0, 2, 1, 3]);
        let keys = self.heads(&keys, [0, 2, 3, 1]);
        let values = self.heads(&values, [0, 2, 1, 3]);
        let scores = self.node("MatMul", &[&query, &keys], vec![]);
        let scores = self.node("Mul", &[&scores, "scale"], vec![]);
        let scores = self.node("Add", &[&scores, mask], vec![]);
        let shares = self.node("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
        let mixed = self.node("MatMul", &[&shares, &values], vec![]);
        let mixed = self.node("Transpose", &[&mixed], vec![Attribute::ints("perm", &[0, 2, 1, 3])]);
        let joined = self.node("Reshape", &[&mixed, "joined"], vec![]);
        let output = self.linear(&format!("{name}.output.dense"), &joined, size, size)?;
        let sum = self.node("Add", &[&output, hidden], vec![]);
        self.normalise(&format!("{name}.output.LayerNorm"), &sum)
    }

    fn layer(&mut self, n: usize, hidden: &str, mask: &str) -> Result<String> {
        let name = format!("encoder.layer.{n}");
        let (size, wide) = (self.config.hidden_size, self.config.intermediate_size);
        let attended = self.attention(&format!("{name}.attention"), hidden, mask)?;
        let inner = self.linear(&format!("{name}.intermediate.dense"), &attended, size, wide)?;
        let what = || Error::invalid("hidden_act", "it is not supported");
        let (activation, approximate) = self.config.activation().map_err(|_| what())?;
        let attributes = approximate.map(|how| Attribute::string("approximate", how)).into_iter().collect();
        let inner = self.node(activation, &[&inner], attributes);
        let output = self.linear(&format!("{name}.output.dense"), &inner, wide, size)?;
        let sum = self.node("Add", &[&output, &attended], vec![]);
        self.normalise(&format!("{name}.output.LayerNorm"), &sum)
    }
}
