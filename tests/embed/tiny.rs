//! A model folder of a few kilobytes.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;
use vdb::embed::Models;

pub(crate) const HIDDEN: usize = 8;
const INNER: usize = 12;
const WORDS: usize = 12;
const POSITIONS: usize = 16;
const LAYERS: usize = 2;

/// A directory of models with the ONNX Runtime in it and nothing else.
pub(crate) fn models() -> (TempDir, Models) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = super::models().root().join("onnxruntime");
    std::os::unix::fs::symlink(runtime, directory.path().join("onnxruntime")).unwrap();
    let models = Models::at(directory.path());
    (directory, models)
}

/// Writes a model of two layers into a new folder `name`.
pub(crate) fn write(root: &Path, name: &str) -> PathBuf {
    let folder = root.join(name);
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    put(&folder, "config.json", &config());
    put(&folder, "tokenizer.json", &tokenizer());
    put(&folder, "1_Pooling/config.json", &pooling());
    put(&folder, "sentence_bert_config.json", &json!({"max_seq_length": POSITIONS}));
    weights(&folder, "", HIDDEN, Dtype::F32);
    folder
}

pub(crate) fn put(folder: &Path, file: &str, json: &Value) {
    fs::write(folder.join(file), json.to_string()).unwrap();
}

pub(crate) fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
        "intermediate_size": INNER, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS, "vocab_size": WORDS, "type_vocab_size": 2,
        "position_embedding_type": "absolute",
    })
}

pub(crate) fn pooling() -> Value {
    json!({
        "word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true,
        "pooling_mode_max_tokens": false,
    })
}

/// A tokenizer that knows the letters from `a` on, as words.
fn tokenizer() -> Value {
    let mut vocabulary = json!({"[PAD]": 0, "[UNK]": 1});
    for (n, letter) in ('a'..='j').enumerate() {
        vocabulary[letter.to_string()] = json!(n + 2);
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary},
    })
}

/// The names and shapes of all tensors.
fn shapes(hidden: usize) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![WORDS, hidden]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, hidden]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, hidden]),
    ];
    let mut pair = |name: &str, weight: Vec<usize>| {
        shapes.push((format!("{name}.bias"), vec![weight[0]]));
        shapes.push((format!("{name}.weight"), weight));
    };
    pair("embeddings.LayerNorm", vec![hidden]);
    for n in 0..LAYERS {
        let layer = format!("encoder.layer.{n}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            pair(&format!("{layer}.attention.{part}"), vec![hidden, hidden]);
        }
        pair(&format!("{layer}.attention.output.LayerNorm"), vec![hidden]);
        pair(&format!("{layer}.intermediate.dense"), vec![INNER, hidden]);
        pair(&format!("{layer}.output.dense"), vec![hidden, INNER]);
        pair(&format!("{layer}.output.LayerNorm"), vec![hidden]);
    }
    shapes
}

/// Writes `model.safetensors`, every value from a simple sequence.
pub(crate) fn weights(folder: &Path, prefix: &str, hidden: usize, dtype: Dtype) {
    let mut state = 7_u32;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 32768.0 - 1.0
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes(hidden)
        .into_iter()
        .map(|(name, shape)| {
            let count: usize = shape.iter().product();
            let bytes = (0..count).flat_map(|_| value().to_le_bytes()).collect();
            (format!("{prefix}{name}"), shape, bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}
