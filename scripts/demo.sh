#!/bin/sh
# From a fresh clone to a search: says what this machine lacks, installs it, builds vdb, and shows it at work. A second
# run downloads nothing and builds nothing.
set -eu
cd "$(dirname "$0")/.."

logs=.local/logs
export CARGO_TERM_COLOR=never

say() { printf '%s\n' "$*"; }

. scripts/machine.sh

step_count=7
number=0
ticker=

# What is to come, summed up over the things that are missing.
seconds=0 download_mb=0 disk_mb=0 blocked=

# lacks SECONDS DOWNLOAD_MB DISK_MB TEXT: notes what will be made good. The seconds are those of one core.
lacks() {
    seconds=$((seconds + $1)) download_mb=$((download_mb + $2)) disk_mb=$((disk_mb + $3))
    say "  to do    $4"
}

# stops TEXT: notes what only a person can make good.
stops() {
    blocked=yes
    say "  MISSING  $*"
}

check_packages() {
    packages=$(missing_packages | tr '\n' ' ')
    packages=${packages% }
    [ -n "$packages" ] || return 0
    # Ask for the password now and not in the middle of the steps.
    if [ -t 0 ] && [ -t 1 ] && ! installer >/dev/null && has apt-get && has sudo; then
        say "  sudo is needed to install $packages"
        sudo -v || true
    fi
    if how=$(installer); then
        case $how in sudo*) how='through sudo' ;; *) how='as root' ;; esac
        lacks 60 100 400 "install Debian packages $how: $packages"
    else
        stops "please install: sudo apt-get install -y $packages"
    fi
}

check_processor() {
    [ "$(uname -sm)" = 'Linux x86_64' ] || { stops "Linux on an x86-64 processor; this is $(uname -sm)"; return; }
    for feature in avx2 fma f16c popcnt; do
        grep -qw "$feature" /proc/cpuinfo || stops "a processor with the instructions $feature"
    done
}

# Without Rust, what it built is supposed to be where it usually is.
check_rust() {
    host='' target=$PWD/target
    rust_is_new_enough || { stops "Rust $(rust_wanted) or newer, with cargo: see https://rustup.rs"; return; }
    host=$(rustc -vV | sed -n 's/^host: //p')
    target=$(cargo metadata --quiet --no-deps --offline --format-version 1 |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
}

check_build() {
    cargo fetch --quiet --locked --offline --target "$host" 2>/dev/null ||
        lacks 30 40 250 'download the Rust crates that vdb uses'
    set -- "$target"/release/build/faiss-sys-*/out/lib/libfaiss.a
    [ -e "$1" ] || lacks 320 0 250 'build FAISS'
    [ -x "$target/release/vdb" ] || lacks 480 0 900 'build vdb'
}

check_models() {
    [ -d "$models/onnxruntime" ] || lacks 10 28 25 'download the ONNX Runtime'
    [ -d "$models/all-MiniLM-L6-v2" ] || lacks 10 84 90 'download the embedding model all-MiniLM-L6-v2'
}

check_disk() {
    free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
    [ "$free_mb" -gt "$disk_mb" ] || stops "disk space: $disk_mb MB are needed here, $free_mb MB are free"
}

# Says what the things that are missing take.
sum_up() {
    if [ "$seconds" -eq 0 ]; then
        [ -n "$blocked" ] || say '  nothing: this run downloads nothing and builds nothing but what you changed'
        return
    fi
    cores=$(nproc)
    minutes=$(((seconds / cores + download_mb / 4 + 59) / 60))
    unit=minutes
    [ "$minutes" -gt 1 ] || unit=minute
    say "In all about $minutes $unit on $cores cores, $download_mb MB of downloads, $disk_mb MB of disk ($free_mb MB are free)."
}

# Lists everything that is missing, and what it will take.
preflight() {
    say 'What this machine lacks:'
    check_processor
    check_rust
    check_packages
    cmake_is_new_enough || lacks 10 30 100 'download CMake from PyPI, into .local'
    check_build
    check_models
    check_disk
    sum_up
    [ -z "$blocked" ] || { say 'Nothing was changed. Run this again when what is MISSING is there.'; exit 1; }
}

# The time since `began`, such as 2m51s.
took() {
    past=$(($(date +%s) - began))
    if [ "$past" -lt 60 ]; then printf '%ss' "$past"; else printf '%dm%02ds' $((past / 60)) $((past % 60)); fi
}

# Counts the seconds on a terminal until it is stopped.
start_ticker() {
    printf '%s ' "$1"
    [ -t 1 ] || return 0
    while sleep 1; do printf '\r%s %s' "$1" "$(took)"; done &
    ticker=$!
}

stop_ticker() {
    [ -n "$ticker" ] || return 0
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ticker=
    printf '\r%s ' "$title"
}

# step NAME COMMAND...: runs one step, its output in a log, and says how long it took.
step() {
    number=$((number + 1)) began=$(date +%s)
    title="[$number/$step_count] $1 ..."
    log=$logs/$number-$(printf '%s' "$1" | tr -c 'A-Za-z0-9' '-').log
    shift
    start_ticker "$title"
    status=0
    "$@" >"$log" 2>&1 || status=$?
    stop_ticker
    if [ "$status" -ne 0 ]; then
        say "failed after $(took). The end of $log:"
        tail -n 15 "$log" | sed 's/^/  | /'
        exit 1
    elif grep -qE '^(setup|models): |^ *(Compiling|Downloaded) ' "$log"; then
        took
        echo
    else
        say 'there already'
    fi
}

install_and_build() {
    mkdir -p "$logs"
    step 'install system packages' scripts/setup.sh packages
    step 'install CMake' scripts/setup.sh cmake
    step 'download crates' cargo fetch --locked --target "$host"
    # FAISS is built by the build script of this crate, with the features that the whole has: once.
    step 'build FAISS' cargo build --release --locked -p faiss-sys
    step 'build vdb' cargo build --release --locked
    step 'download the ONNX Runtime' scripts/models.sh onnxruntime
    step 'download all-MiniLM-L6-v2' scripts/models.sh all-MiniLM-L6-v2
}

trap stop_ticker EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

models=${VDB_MODELS:-$PWD/.local/models}
preflight
say
install_and_build
VDB_MODELS=$models PATH="$target/release:$PATH" scripts/tour.sh
