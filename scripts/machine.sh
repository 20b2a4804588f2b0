# shellcheck shell=sh
# What this machine has and what it lacks: functions for the scripts beside this one, which read it in the directory of
# the sources.

venv=.local/venv

PATH="$PWD/.local/bin:$PATH:${HOME:-/root}/.cargo/bin"
export PATH

has() { command -v "$1" >/dev/null 2>&1; }

# Whether the compiler can link a program with these libraries.
links() {
    dir=$(mktemp -d)
    printf 'int main() { return 0; }\n' >"$dir/main.cpp"
    status=0
    c++ "$dir/main.cpp" -o "$dir/main" "$@" 2>"$dir/errors" || status=1
    rm -r "$dir"
    return "$status"
}

# at_least MAJOR MINOR: whether the text on standard input begins, after its first words, with this version or a newer one.
at_least() {
    found=$(sed -n '1s/^[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ -n "$found" ] || return 1
    [ "${found% *}" -gt "$1" ] || { [ "${found% *}" -eq "$1" ] && [ "${found#* }" -ge "$2" ]; }
}

rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

rust_is_new_enough() {
    wanted=$(rust_wanted)
    has cargo && rustc --version 2>/dev/null | at_least "${wanted%.*}" "${wanted#*.}"
}

cmake_is_new_enough() { has cmake && cmake --version 2>/dev/null | at_least 3 24; }

python_is_new_enough() { has python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

# Debian splits venv in two: the module comes with Python, what puts pip into a new environment does not.
python_has_ensurepip() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

python_has_pip() { python3 -c 'import pip, venv' 2>/dev/null; }

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

# Makes the Python environment, empty, unless it is there.
make_venv() {
    if "$venv/bin/python" -c '' 2>/dev/null && { [ -x "$venv/bin/pip" ] || python_has_pip; }; then
        return 0
    fi
    say "making $venv"
    rm -rf "$venv"
    mkdir -p .local
    if python_has_ensurepip; then
        python3 -m venv "$venv"
    else
        python3 -m venv --without-pip "$venv"
    fi
}

# Runs pip for the environment: its own, or the system's.
pip() {
    if [ -x "$venv/bin/pip" ]; then
        "$venv/bin/python" -m pip --disable-pip-version-check "$@" >&2
    else
        python3 -m pip --python "$venv/bin/python" --disable-pip-version-check "$@" >&2
    fi
}
