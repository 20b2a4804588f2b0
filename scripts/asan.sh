#!/bin/sh
# Compiles the C++ shim and a test of it for AddressSanitizer and UndefinedBehaviorSanitizer, into target/asan, and runs it.
# FAISS is that of the usual build, not instrumented: what it allocates is watched all the same.
set -eu
cd "$(dirname "$0")/.."

# The newest FAISS of the usual build.
faiss_dir() {
    find target/release/build -path '*/faiss-sys-*/out/lib/libfaiss.a' -printf '%T@ %h\n' 2>/dev/null |
        sort -n | sed -n '$s|^[^ ]* \(.*\)/lib$|\1|p'
}

[ -n "$(faiss_dir)" ] || cargo build --release --locked
faiss=$(faiss_dir)
shim=src/vector/faiss
flags=$(sed -n 's/^CXXFLAGS_x86_64_unknown_linux_gnu = "\(.*\)"/\1/p' .cargo/config.toml)
[ "$(uname -m)" = x86_64 ] || flags=-O3
mkdir -p target/asan
# shellcheck disable=SC2086 # a list of words
c++ -std=c++17 $flags -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
    -D_GLIBCXX_ASSERTIONS -Wall -Wextra -isystem "$faiss/include" -I"$shim" \
    "$shim/hnsw.cpp" "$shim/shim.cpp" "$shim/sketch.cpp" tests/shim/stress.cpp -o target/asan/stress \
    "$faiss/lib/libfaiss.a" -lgomp -llapack -lblas -ldl
ASAN_OPTIONS=detect_stack_use_after_return=1 target/asan/stress
