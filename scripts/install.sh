#!/bin/sh
# Installs the program with cargo, and the default model and the ONNX Runtime in the directory where the program looks for
# models. Builds what is not built yet.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'install: %s\n' "$*" >&2; }

. scripts/machine.sh

ours=$PWD/.local/models
VDB_MODELS=${VDB_MODELS:-$ours}
export VDB_MODELS

scripts/setup.sh packages
scripts/setup.sh cmake
scripts/models.sh onnxruntime all-MiniLM-L6-v2
cargo install --locked --path .

# One's own VDB_MODELS is where the program looks first.
[ "$VDB_MODELS" = "$ours" ] || exit 0
root=${XDG_DATA_HOME:-$HOME/.local/share}/vdb/models
mkdir -p "$root"
for name in onnxruntime all-MiniLM-L6-v2; do
    [ "$name" != onnxruntime ] || cmp -s "$ours/$name/libonnxruntime.so" "$root/$name/libonnxruntime.so" || rm -rf "${root:?}/$name"
    [ ! -d "$root/$name" ] || continue
    scratch=$(mktemp -d "$root/.adding-XXXXXX")
    cp -R "$ours/$name" "$scratch/$name"
    mv "$scratch/$name" "$root/$name"
    rmdir "$scratch"
done
say "the model is in $root"
