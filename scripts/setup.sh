#!/bin/sh
# Prepares this machine for `make test`: checks every tool first and names all that are missing at once, installs the
# system packages if it may, then makes .local/venv with FAISS for Python. Run again, it does nothing.
# `setup.sh packages` and `setup.sh cmake` do that part alone, which is all that a build needs.
set -eu
cd "$(dirname "$0")/.."

cmake_wanted='cmake>=3.24,<4'

say() { printf 'setup: %s\n' "$*" >&2; }

. scripts/machine.sh

require_rust() {
    rust_is_new_enough && return 0
    say "missing, please install: Rust $(rust_wanted) or newer with cargo, rustfmt and clippy, see https://rustup.rs"
    packages=$(missing_packages | tr '\n' ' ')
    [ -z "$packages" ] || say "missing too: $packages"
    return 1
}

install_packages() {
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "$packages" ] || return 0
    if ! prefix=$(installer); then
        say "missing, please install: sudo apt-get install -y $packages"
        return 1
    fi
    say "installing $packages"
    # shellcheck disable=SC2086 # lists of words
    $prefix DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    # shellcheck disable=SC2086
    $prefix DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2
    left=$(missing_packages | tr '\n' ' ')
    [ -z "$left" ] || { say "still missing after the installation: $left"; return 1; }
}

# The Python packages that the tests need.
provide_python() {
    wanted=tests/python/requirements.txt
    # The list of packages is copied last, so that an interrupted installation is started again.
    cmp -s "$wanted" "$venv/installed.txt" && "$venv/bin/python" -c '' 2>/dev/null && return 0
    make_venv
    say "installing $(grep -v '^#' "$wanted" | tr '\n' ' ')into $venv"
    pip install --quiet --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
}

# A CMake that is missing or too old comes from PyPI; .local/bin precedes the system's directories in the PATH.
provide_cmake() {
    cmake_is_new_enough && return 0
    make_venv
    say "installing $cmake_wanted into $venv"
    pip install --quiet "$cmake_wanted"
    mkdir -p .local/bin
    ln -sf ../venv/bin/cmake .local/bin/cmake
    cmake_is_new_enough || { say 'cmake 3.24 or newer is still missing'; return 1; }
}

case ${1-all} in
packages) install_packages ;;
cmake) provide_cmake ;;
all)
    require_rust
    install_packages
    provide_python
    provide_cmake
    ;;
*) say "unknown part: $1"; exit 2 ;;
esac
