#!/bin/sh
# Makes .local/peers, a Python environment with the libraries that benches/peers compares with. Each is installed by
# itself: one that cannot be is named, and the comparison fails for want of it. Run again, it does nothing.
set -eu
cd "$(dirname "$0")/.."

wanted=benches/python/requirements-peers.txt

say() { printf 'peers: %s\n' "$*" >&2; }

. scripts/machine.sh
venv=.local/peers

cmp -s "$wanted" "$venv/installed.txt" && "$venv/bin/python" -c 'import numpy' 2>/dev/null && exit 0
make_venv
missing=0
# numpy first: all need it, and they are to agree on one.
for package in "$(grep '^numpy==' tests/python/requirements.txt)" $(grep -v '^#' "$wanted"); do
    say "installing $package"
    pip install --quiet --constraint tests/python/requirements.txt "$package" || {
        say "$package cannot be installed, and is left out"
        missing=1
    }
done
# The list is copied last, and only where all are there, so that the next run tries again.
[ "$missing" -ne 0 ] || cp "$wanted" "$venv/installed.txt"
