#!/usr/bin/env bash
# Makes the virtual environment from requirements/lock.txt, or finds that there is nothing to do.
#   requirements/install.sh <python> <folder>
#
# The folder is done when it holds .stamp-<hash of the lock>. While packages are being installed it
# holds .unfinished (the pid of who does it); whoever finds that of a dead process starts afresh,
# so an interrupted set-up heals by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2 lock=requirements/lock.txt uv_version=0.13.8

case $PWD in *[[:space:]]*)
    echo "Étude cannot live in a folder with a space in its path." >&2
    printf '  %s\n' "where: $PWD" "why:   neither make nor Snakemake's jobs find their programs there" \
        "do:    move or clone it to a path without one; your music may be anywhere" >&2
    exit 1 ;;
esac

# The environment cannot be made by its own Python: it may be deleted on the way.
PATH=$(tr ':' '\n' <<<"$PATH" | grep -vxF "$PWD/$venv/bin" | paste -sd: -)

fail() { # what, then rows of where/why/do
    { echo "$1" && shift && printf '  %s\n' "$@"; } >&2
    exit 1
}

hash=$( (sha256sum "$lock" 2>/dev/null || shasum -a 256 "$lock") | cut -c1-16)
stamp="$venv/.stamp-$hash"

# Unusable: its Python is gone (an upgrade of the system), or the folder was copied or moved, which
# leaves scripts that call the Python of the old place.
usable() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
        { [ ! -e "$venv/.home" ] || [ "$(cat "$venv/.home")" = "$PWD" ]; }
}

[ -e "$stamp" ] && [ ! -e "$venv/.unfinished" ] && [ "$(cat "$venv/.home")" = "$PWD" ] &&
    "$venv/bin/python" -c '' 2>/dev/null && exit 0

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Étude needs Python 3.11 or newer." \
        "where: $python is $("$python" -V 2>/dev/null || echo not there)" \
        "do:    install a newer one, then name it, for example: make setup PYTHON=python3.12"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "This Python cannot make virtual environments." \
        "where: $python" \
        "why:   its venv module is packaged apart" \
        "do:    Debian, Ubuntu: sudo apt-get install python3-venv"
# Asked before the long download, by any Python; installs it or says what to type.
"$python" -m etude.setup --library

if [ -e "$venv/.unfinished" ]; then
    other=$(cat "$venv/.unfinished")
    [ -n "$other" ] && [ "$other" != "$$" ] && kill -0 "$other" 2>/dev/null &&
        fail "Another set-up is at work here (pid $other)." \
            "where: $venv" \
            "do:    wait for it; if pid $other is something else, delete $venv/.unfinished"
    echo "the last set-up was interrupted; starting afresh"
    rm -rf "$venv"
fi
usable || rm -rf "$venv"
mkdir -p "$venv"
echo "$$" >"$venv/.unfinished"
usable || "$python" -m venv "$venv"

no_packages() {
    # Fetching comes before installing, so mostly nothing was touched, and a working environment of
    # an older lock stays one; where packages no longer fit together the next call starts afresh.
    "$venv/bin/python" -m pip check >/dev/null 2>&1 && rm -f "$venv/.unfinished"
    fail "The packages could not be installed." \
        "where: $lock" \
        "why:   see the message above; mostly there is no network, or a proxy or mirror is needed" \
        "do:    with a proxy: set HTTPS_PROXY; with a mirror: set PIP_INDEX_URL and UV_DEFAULT_INDEX;" \
        "       without network: on a machine like this, pip download -d wheels uv==$uv_version -r $lock," \
        "       bring the folder here and set PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels;" \
        "       then run make again, it goes on from here"
}

echo "installing $(wc -l <"$lock" | tr -d ' ') packages into $venv (the first time takes minutes)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version" ||
    no_packages
# uv does not read pip's settings: the two that matter are handed over, and where that is not
# enough (a mirror named in pip.conf), pip itself does it, slower.
quiet=--quiet
[ -t 2 ] && quiet= # somebody is looking: uv shows how far it is
UV_FIND_LINKS="${PIP_FIND_LINKS:-}" "$venv/bin/uv" pip install $quiet --compile-bytecode \
    --python "$venv/bin/python" ${PIP_NO_INDEX:+--no-index} -r "$lock" ||
    { echo "uv could not; trying pip, which knows your pip settings" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$lock"; } ||
    no_packages

rm -f "$venv"/.stamp-*
echo "$PWD" >"$venv/.home"
touch "$stamp"
rm "$venv/.unfinished"
