#!/bin/sh
# Shows vdb at work on the samples, in .local/demo: prints each command as one would type it, and what it answers.
# `vdb` is in the PATH. Run again, it goes on with the stores that are there.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .local/demo
cd .local/demo
ln -sfn ../../samples samples

if [ -t 1 ]; then bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m'); else bold='' dim='' plain=''; fi

# A command as one would type it. No word has both kinds of quotes.
typed() {
    line=
    for word; do
        case $word in
        *\"*) word="'$word'" ;;
        *[!A-Za-z0-9._/=-]*) word="\"$word\"" ;;
        esac
        line="$line $word"
    done
    printf '%s' "${line# }"
}

# show WHY COMMAND...: says why, then prints the command and runs it.
show() {
    printf '\n%s# %s%s\n' "$dim" "$1" "$plain"
    shift
    printf '%s$ %s%s\n' "$bold" "$(typed "$@")" "$plain"
    "$@" 2>&1 || {
        printf '\nThat failed. If %s is of another version, remove it and run this again.\n' "$PWD" >&2
        exit 1
    }
}

printf '\nThe stores are in %s. Each command opens its file anew, answers, and closes it.\n' "$PWD"

corpus=samples/debian.jsonl

# Kills an import when a part of it is committed.
kill_import() {
    printf '\n%s# Read 1,000 descriptions of Debian packages into one file, by a model on this machine. In the middle, kill it.%s\n' \
        "$dim" "$plain"
    printf '%s$ vdb import debian.vdb %s &\n$ kill -9 $!%s\n' "$bold" "$corpus" "$plain"
    vdb import debian.vdb "$corpus" &
    importer=$!
    while kill -0 "$importer" 2>/dev/null && [ "$(vdb count debian.vdb 2>/dev/null || echo 0)" -lt 256 ]; do sleep 1; done
    kill -9 "$importer" 2>/dev/null || true
    wait "$importer" 2>/dev/null || true
    show 'What was committed is there, and whole.' vdb count debian.vdb
    show 'Nothing is damaged.' vdb check debian.vdb
}

[ -e debian.vdb ] || kill_import
show 'Import: what is there already is skipped.' \
    vdb import debian.vdb "$corpus"
show 'Search by meaning: the question and the answer need share no word.' \
    vdb search debian.vdb 'make my holiday pictures look nicer' -k 3 --mode vector
show 'The same, among the small ones.' \
    vdb search debian.vdb 'make my holiday pictures look nicer' -k 2 --mode vector --where 'installed_size<1000'
# shellcheck disable=SC2016 # $lt is an operator of the filter
show 'A filter in JSON: games that need less than 2,000 KiB.' \
    vdb search debian.vdb 'something to play with a child' -k 2 \
    --filter '{"tags": "role::program", "section": "games", "installed_size": {"$lt": 2000}}'
show 'Add a note of your own.' \
    vdb add debian.vdb 'The bicycle has a flat tyre; the pump hangs in the cellar.' --id bicycle --meta '{"section": "mine"}'
show 'Another process finds it at once.' \
    vdb search debian.vdb 'how do I inflate a wheel' -k 1 --mode vector
show 'Delete it.' \
    vdb delete debian.vdb bicycle
show 'It is gone.' \
    vdb get debian.vdb bicycle

show 'Five sentences in Korean, in a second store.' \
    vdb import korean.vdb samples/korean.jsonl
show 'How does deep learning differ from machine learning?' \
    vdb search korean.vdb '딥러닝과 머신러닝의 차이점' -k 2 --mode vector
show 'Only what a source says.' \
    vdb search korean.vdb '딥러닝과 머신러닝의 차이점' --where source=doc_1

show 'Read every byte of the file again and verify its checksum.' \
    vdb check debian.vdb --deep
show 'What the file holds.' \
    vdb stats debian.vdb
show 'And that is all there is: nothing lies beside it.' \
    ls -lh debian.vdb korean.vdb

cat <<END

Your own texts, a directory of .txt and .md files:

  make install                                  # puts vdb and its model where they are found
  vdb import notes.vdb DIRECTORY
  vdb search notes.vdb "a question"
END
