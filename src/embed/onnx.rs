//! The few messages of the ONNX format that we write and read.

use prost::Message;

use crate::error::{Error, Result};

/// `TensorProto.DataType` of 32-bit floats.
pub(super) const FLOAT: i32 = 1;
/// `TensorProto.DataType` of 64-bit integers.
pub(super) const INT64: i32 = 7;
/// `TensorProto.DataLocation` of tensors whose bytes are in another file.
pub(super) const EXTERNAL: i32 = 1;

/// `AttributeProto.AttributeType`, as far as we use it.
#[derive(Clone, Copy, Debug)]
pub(super) enum AttributeKind {
    Float = 1,
    Int = 2,
    String = 3,
    Ints = 7,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub f: f32,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

impl Attribute {
    fn new(name: &str, kind: AttributeKind) -> Self {
        Attribute { name: name.into(), kind: kind as i32, ..Attribute::default() }
    }

    pub(super) fn float(name: &str, f: f32) -> Self {
        Attribute { f, ..Attribute::new(name, AttributeKind::Float) }
    }

    pub(super) fn int(name: &str, i: i64) -> Self {
        Attribute { i, ..Attribute::new(name, AttributeKind::Int) }
    }

    pub(super) fn string(name: &str, s: &str) -> Self {
        Attribute { s: s.into(), ..Attribute::new(name, AttributeKind::String) }
    }

    pub(super) fn ints(name: &str, ints: &[i64]) -> Self {
        Attribute { ints: ints.into(), ..Attribute::new(name, AttributeKind::Ints) }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    #[prost(int32, tag = "1")]
    pub element: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dim>,
}

/// A dimension: a number, or a name where it is free.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Dim {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub parameter: Option<String>,
}

impl Value {
    /// A tensor of the dimensions `batch`, `sequence`, and `last` if there is one.
    pub(super) fn sequence(name: &str, element: i32, last: Option<i64>) -> Self {
        let free = |name: &str| Dim { value: None, parameter: Some(name.into()) };
        let mut dims = vec![free("batch"), free("sequence")];
        dims.extend(last.map(|last| Dim { value: Some(last), parameter: None }));
        let tensor = TensorType { element, shape: Some(Shape { dims }) };
        Value { name: name.into(), kind: Some(Type { tensor: Some(tensor) }) }
    }
}

/// The version of the format, and of its operators.
const IR_VERSION: i64 = 9;
const OPSET: i64 = 20;
/// The operators that the ONNX Runtime has beside those of the standard, and their version.
pub(super) const RUNTIME_DOMAIN: &str = "com.microsoft";
const RUNTIME_OPSET: i64 = 1;

/// A graph as an ONNX file.
pub(super) fn encode(graph: Graph) -> Vec<u8> {
    let opset_import = [("", OPSET), (RUNTIME_DOMAIN, RUNTIME_OPSET)]
        .map(|(domain, version)| OperatorSet { domain: domain.into(), version })
        .into();
    Model { ir_version: IR_VERSION, producer_name: "vdb".into(), graph: Some(graph), opset_import }
        .encode_to_vec()
}

/// The input and the output of [`echo`].
pub(super) const ECHO: &str = "matrix";

/// A graph that returns the matrix that it is given.
pub(super) fn echo() -> Vec<u8> {
    let matrix = || vec![Value::sequence(ECHO, FLOAT, None)];
    encode(Graph { name: "echo".into(), inputs: matrix(), outputs: matrix(), ..Graph::default() })
}

/// What a model says of itself: all but the weights and the nodes, which are skipped without being copied.
#[derive(Clone, PartialEq, Message)]
struct Signature {
    #[prost(message, optional, tag = "7")]
    graph: Option<SignatureGraph>,
}

#[derive(Clone, PartialEq, Message)]
struct SignatureGraph {
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<Value>,
}

/// The output of a model that vectors are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// Its place among the outputs.
    pub position: usize,
    /// The number of values of a vector, if the model says so.
    pub dim: Option<usize>,
    /// Whether it is one vector a token, not one a text.
    pub per_token: bool,
}

/// Finds the output that vectors are made from: the vectors of the tokens where there are any, which we pool, else the
/// vector of the text.
///
/// # Errors
/// `Invalid` if the bytes are no ONNX model, if the model wants other inputs than tokens, or has no such output.
pub(super) fn output(what: &str, bytes: &[u8]) -> Result<Output> {
    let signature = Signature::decode(bytes)
        .map_err(|error| Error::invalid(what, format!("it is no ONNX model: {error}")))?;
    let graph =
        signature.graph.ok_or_else(|| Error::invalid(what, "it is no ONNX model: it has no graph"))?;
    let known = ["input_ids", "attention_mask", "token_type_ids"];
    if let Some(input) = graph.inputs.iter().find(|input| !known.contains(&input.name.as_str())) {
        let reason = format!("it has the input {:?}, expected only {}", input.name, known.join(", "));
        return Err(Error::invalid(what, reason));
    }
    let shaped = |rank: usize| {
        graph.outputs.iter().enumerate().find_map(|(position, value)| {
            let tensor = value.kind.as_ref()?.tensor.as_ref()?;
            let dims = &tensor.shape.as_ref()?.dims;
            let last = dims.last().and_then(|dim| usize::try_from(dim.value?).ok());
            (tensor.element == FLOAT && dims.len() == rank).then_some(Output {
                position,
                dim: last,
                per_token: rank == 3,
            })
        })
    };
    shaped(3)
        .or_else(|| shaped(2))
        .ok_or_else(|| Error::invalid(what, "it has no output of 32-bit floats for each token or each text"))
}
