#!/bin/sh
# Builds the fuzz targets with the stable compiler and runs each for FUZZ_SECONDS (60). What they find is kept in
# fuzz/corpus, what crashes them in fuzz/artifacts. The coverage flags reach only the target's crates, not build scripts,
# because a target is named.
set -eu
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
target=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=fuzz/target
export RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares'
cargo build --release --locked --manifest-path fuzz/Cargo.toml --target "$target" --bins

for name in superblock catalog_rows; do
    mkdir -p "fuzz/corpus/$name" "fuzz/artifacts/$name"
    "$CARGO_TARGET_DIR/$target/release/$name" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=512 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$name/" "fuzz/corpus/$name" "fuzz/seeds/$name"
done
