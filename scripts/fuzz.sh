#!/bin/sh
# Builds the fuzz targets with the stable compiler, the C++ shim under AddressSanitizer, and runs each for FUZZ_SECONDS
# (60). What they find is kept in fuzz/corpus, what crashes them in fuzz/artifacts. The coverage flags reach only the
# target's crates, not build scripts, because a target is named; FAISS is that of the usual build, without them.
set -eu
cd "$(dirname "$0")/.."

# The newest FAISS of the usual build.
faiss_dir() {
    find "$PWD/target/release/build" -path '*/faiss-sys-*/out/lib/libfaiss.a' -printf '%T@ %h\n' 2>/dev/null |
        sort -n | sed -n '$s|^[^ ]* \(.*\)/lib$|\1|p'
}

[ -n "$(faiss_dir)" ] || cargo build --release --locked
VDB_FAISS_DIR=$(faiss_dir)
export VDB_FAISS_DIR VDB_SANITIZE=address

seconds=${FUZZ_SECONDS:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=fuzz/target
export RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares'
# The whole of AddressSanitizer, so that memory of Rust and of FAISS is its own, too; and what a static FAISS needs, after it.
libraries="-Clink-arg=-Wl,--whole-archive -Clink-arg=$(cc -print-file-name=libasan.a) -Clink-arg=-Wl,--no-whole-archive
    -Clink-arg=-lgomp -Clink-arg=-llapack -Clink-arg=-lblas"
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16

for name in superblock catalog_rows codes index file; do
    # shellcheck disable=SC2086 # a list of words
    cargo rustc --release --locked --manifest-path fuzz/Cargo.toml --target "$host" --bin "$name" -- $libraries
    mkdir -p "fuzz/corpus/$name" "fuzz/artifacts/$name"
    "$CARGO_TARGET_DIR/$host/release/$name" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$name/" "fuzz/corpus/$name" "fuzz/seeds/$name"
done
