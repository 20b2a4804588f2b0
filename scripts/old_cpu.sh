#!/bin/sh
# Runs the program on emulated processors: on those that lack an instruction set it must say which and touch nothing; on the
# oldest that has them all it must answer as here. Needs qemu-user-static, which is installed if that is permitted.
set -eu
cd "$(dirname "$0")/.."

qemu=qemu-x86_64-static
say() { printf 'old-cpu: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

. scripts/machine.sh

[ "$(uname -m)" = x86_64 ] || { say "this is no x86-64: there is nothing to test"; exit 0; }
if ! command -v $qemu >/dev/null; then
    prefix=$(installer) || fail "missing, please install: sudo apt-get install -y qemu-user-static"
    $prefix DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    $prefix DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-user-static >&2
fi
cargo build --release --locked --bin vdb
vdb=$PWD/target/release/vdb
scene=$(mktemp -d)
trap 'rm -rf "$scene"' EXIT
cd "$scene"

# qemu warns of what it cannot emulate, none of which is asked for.
on() {
    processor=$1
    shift
    "$qemu" -cpu "$processor" "$vdb" "$@" 2>stderr.all && status=0 || status=$?
    grep -v '^qemu-x86_64-static: warning: ' stderr.all >stderr || true
    return $status
}

# Clusters, so that there are near and far ones: enough for a graph with sketches, and a tail.
awk 'BEGIN {
    srand(7)
    for (n = 0; n < 2000; n++) {
        printf "{\"id\": %d, \"text\": \"word%d text\", \"metadata\": {\"n\": %d}, \"vector\": [", n, n % 97, n
        for (d = 0; d < 128; d++) printf "%s%.4f", d ? "," : "", (n % 60 == d * 2 ? 3 : 0) + rand()
        print "]}"
    }
}' >all.jsonl
head -n 1600 all.jsonl >most.jsonl
tail -n 400 all.jsonl >rest.jsonl
awk 'NR % 200 == 1' all.jsonl | sed 's/.*"vector": /{"vector": /' >queries.jsonl
"$vdb" import here.vdb most.jsonl --model none --index hnsw-sq8 --quiet >/dev/null
"$vdb" search here.vdb --queries queries.jsonl --recall 0.9 --json --explain | grep -q '"path":"hnsw"' ||
    fail "the graph is not searched"
"$vdb" search here.vdb --queries queries.jsonl --recall 0.5 --json --explain | grep -q '"path":"codes"' ||
    fail "the sketches are not scanned"
cp here.vdb before.vdb

expect_refusal() {
    processor=$1 lacks=$2
    for words in "--version" "create new.vdb --dim 2" "add here.vdb text" "import here.vdb rest.jsonl" \
        "search here.vdb word1" "check here.vdb"; do
        status=0
        # shellcheck disable=SC2086 # a list of words
        on "$processor" $words >stdout || status=$?
        wanted="error: vector search is not available: this processor lacks $lacks, which FAISS was compiled to use"
        [ "$status" = 1 ] || fail "$processor, $words: exit $status"
        [ "$(cat stderr)" = "$wanted" ] || fail "$processor, $words: $(cat stderr)"
        [ ! -s stdout ] || fail "$processor, $words: $(cat stdout)"
    done
    [ ! -e new.vdb ] || fail "$processor: a store was made"
    cmp here.vdb before.vdb || fail "$processor: the store was changed"
    echo "$processor: refused, lacks $lacks"
}

expect_refusal Nehalem "avx2, fma, f16c"
expect_refusal SandyBridge "avx2, fma, f16c"
expect_refusal IvyBridge "avx2, fma"
expect_refusal Haswell,-avx2 avx2
expect_refusal Haswell,-fma fma
expect_refusal Haswell,-f16c f16c
expect_refusal Haswell,-popcnt popcnt

# A store made here and one made there, each searched here and there.
on Haswell import there.vdb most.jsonl --model none --index hnsw-sq8 --quiet >/dev/null || fail "Haswell: $(cat stderr)"
for store in here there; do
    on Haswell add $store.vdb - --quiet <rest.jsonl >/dev/null || fail "Haswell: $(cat stderr)"
    on Haswell check $store.vdb --deep >/dev/null || fail "Haswell: $(cat stderr)"
    "$vdb" check $store.vdb --deep >/dev/null
    for flags in "--recall 0.5" "--recall 0.8" "--recall 0.9" "--exact" "--exact --where n<200"; do
        # shellcheck disable=SC2086
        "$vdb" search $store.vdb --queries queries.jsonl --json $flags >native
        # shellcheck disable=SC2086
        on Haswell search $store.vdb --queries queries.jsonl --json $flags >emulated || fail "Haswell: $(cat stderr)"
        cmp native emulated || fail "Haswell, $store.vdb, $flags: the answers differ"
        [ -e "first$flags" ] || cp native "first$flags"
        [ "${flags#--recall}" != "$flags" ] || cmp native "first$flags" || fail "the stores answer differently"
    done
    [ "$(wc -l <native)" = "$((10 * $(wc -l <queries.jsonl)))" ] || fail "$(wc -l <native) hits"
done
echo "Haswell: answers as this processor does"
