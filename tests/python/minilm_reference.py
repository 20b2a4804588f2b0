"""Writes tests/fixtures/embed/reference.json: vectors of all-MiniLM-L6-v2 computed with NumPy from the weights alone.

minilm_reference.py MODEL_FOLDER >reference.json; needs numpy and tokenizers. The model as in Devlin et al. 2019, in 64-bit
floats, so that the fixture is an independent answer and not that of another runtime.
"""

import json
import math
import pathlib
import struct
import sys

import numpy as np
from tokenizers import Tokenizer

LAYERS, HEADS, TOKENS = 6, 12, 256
TEXTS = [
    "This is an example sentence",
    "The quick brown fox jumps over the lazy dog.",
    "딥러닝과 머신러닝의 차이점",
    "한국어 문장은 이 모델에서 자모로 쪼개진다.",
    "",
    "\t  Ａ wide letter, naïve café, 1,234.5 and 東京 \n",
    "a package of tools for the network " * 60,
]

folder = pathlib.Path(sys.argv[1])
raw = (folder / "model.safetensors").read_bytes()
(length,) = struct.unpack("<Q", raw[:8])
header = json.loads(raw[8 : 8 + length])
erf = np.vectorize(math.erf)


def weight(name):
    start, end = header[name]["data_offsets"]
    data = np.frombuffer(raw[8 + length + start : 8 + length + end], "<f4").astype(np.float64)
    return data.reshape(header[name]["shape"])


def linear(name, x):
    return x @ weight(name + ".weight").T + weight(name + ".bias")


def norm(name, x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * weight(name + ".weight") + weight(name + ".bias")


def split(x):
    return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def embed(ids):
    name = "embeddings.%s_embeddings.weight"
    x = weight(name % "word")[ids] + weight(name % "position")[: len(ids)] + weight(name % "token_type")[0]
    x = norm("embeddings.LayerNorm", x)
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}."
        q, k, v = (split(linear(layer + "attention.self." + part, x)) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(layer + "attention.output.LayerNorm", linear(layer + "attention.output.dense", mixed) + x)
        inner = linear(layer + "intermediate.dense", x)
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        x = norm(layer + "output.LayerNorm", linear(layer + "output.dense", inner) + x)
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(TOKENS)
cases = []
for text in TEXTS:
    ids = tokenizer.encode(text).ids
    cases.append({"text": text, "tokens": len(ids), "vector": [round(float(x), 8) for x in embed(ids)]})
json.dump({"texts": cases}, sys.stdout, ensure_ascii=False)
print()
