#!/bin/sh
# Prepares this machine for `make test`: checks every tool first and names all that are missing at once, installs the
# system packages if it may, then makes .local/venv with FAISS for Python. Run again, it does nothing.
set -eu
cd "$(dirname "$0")/.."

venv=.local/venv
wanted=tests/python/requirements.txt
cmake_wanted='cmake>=3.24,<4'

say() { printf 'setup: %s\n' "$*" >&2; }

# Whether the compiler can link a program with these libraries.
links() {
    dir=$(mktemp -d)
    printf 'int main() { return 0; }\n' >"$dir/main.cpp"
    status=0
    c++ "$dir/main.cpp" -o "$dir/main" "$@" 2>"$dir/errors" || status=1
    rm -r "$dir"
    return "$status"
}

has() { command -v "$1" >/dev/null 2>&1; }

python_is_new_enough() { has python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

# Debian splits venv in two: the module comes with Python, what puts pip into a new environment does not.
python_has_ensurepip() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

python_has_pip() { python3 -c 'import pip, venv' 2>/dev/null; }

cmake_is_new_enough() {
    has cmake || return 1
    found=$(cmake --version | sed -n '1s/^cmake version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    # shellcheck disable=SC2086 # two numbers
    set -- $found
    [ "$#" -eq 2 ] || return 1
    [ "$1" -gt 3 ] || { [ "$1" -eq 3 ] && [ "$2" -ge 24 ]; }
}

# The Debian packages of everything that is missing.
missing_packages() {
    has c++ || echo g++
    has make || echo make
    # Any BLAS with LAPACK will do. The one proposed starts no threads of its own.
    if ! has c++ || ! links -lblas -llapack; then
        echo libopenblas-serial-dev
    fi
    python_is_new_enough || echo python3
    if ! has python3 || { ! python_has_ensurepip && ! python_has_pip; }; then
        echo python3-venv
    fi
}

# Prints the command prefix with which packages can be installed without asking, or fails.
installer() {
    has apt-get || return 1
    if [ "$(id -u)" -eq 0 ]; then
        echo env
    elif has sudo && sudo -n true 2>/dev/null; then
        echo 'sudo env'
    else
        return 1
    fi
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

# Installs Python packages into the environment, through its own pip or the system's.
pip_install() {
    if [ -x "$venv/bin/pip" ]; then
        "$venv/bin/pip" install --quiet --disable-pip-version-check "$@" >&2
    else
        python3 -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check "$@" >&2
    fi
}

make_venv() {
    # The list of packages is copied last, so that an interrupted installation is started again.
    cmp -s "$wanted" "$venv/installed.txt" && "$venv/bin/python" -c '' 2>/dev/null && return 0
    say "making $venv"
    rm -rf "$venv"
    mkdir -p .local
    if python_has_ensurepip; then
        python3 -m venv "$venv"
    else
        python3 -m venv --without-pip "$venv"
    fi
    pip_install --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
}

# A CMake that is missing or too old comes from PyPI; .local/bin precedes the system's directories in the Makefile.
provide_cmake() {
    cmake_is_new_enough && return 0
    say "installing $cmake_wanted into $venv"
    pip_install "$cmake_wanted"
    mkdir -p .local/bin
    ln -sf ../venv/bin/cmake .local/bin/cmake
    cmake_is_new_enough || { say 'cmake 3.24 or newer is still missing'; return 1; }
}

PATH="$PWD/.local/bin:$PATH:${HOME:-/root}/.cargo/bin"
export PATH

if ! has cargo; then
    say 'missing, please install: Rust with cargo, rustfmt and clippy, see https://rustup.rs'
    packages=$(missing_packages | tr '\n' ' ')
    [ -z "$packages" ] || say "missing too: $packages"
    exit 1
fi
install_packages
make_venv
provide_cmake
