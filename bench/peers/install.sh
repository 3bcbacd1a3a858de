#!/usr/bin/env bash
# Installs the peers of the log's benchmark, at the versions their lock files name, into a directory.
#
#   bench/peers/install.sh DIRECTORY
#
# Afterwards DIRECTORY/bin has a program for each. What is there already is left as it is. Needs node
# and npm, python3 with venv, and cargo: see scripts/install.sh.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
mkdir -p "$1"
into=$(cd "$1" && pwd)
cd "$(dirname "$0")"

# shellcheck source=parts.sh
. ./parts.sh

install_node() {
  cp node/package.json node/package-lock.json node/.npmrc "$into/node/"
  (cd "$into/node" && npm ci --loglevel=error >&2)
}

install_python() {
  python3 -m venv --clear "$into/venv"
  "$into/venv/bin/pip" install --quiet --no-deps --no-input --disable-pip-version-check \
    -r python/requirements.txt >&2
}

mkdir -p "$into/bin" "$into/node" "$into/python"
once node "$(node --version)" node/package.json node/package-lock.json node/.npmrc -- install_node
cp node/*.mjs "$into/node/"
once python "$(python3 --version)" python/requirements.txt -- install_python
cp python/*.py "$into/python/"
# Cargo knows by itself what is done.
CARGO_TARGET_DIR="$into/target" cargo build --release --locked --quiet --manifest-path rust/Cargo.toml

# shellcheck disable=SC2016 # the launchers expand $here
{
  launcher emmett node '"$here/node/emmett.mjs"'
  launcher message-db node '"$here/node/message_db.mjs"'
  launcher eventsourcing '"$here/venv/bin/python"' '"$here/python/eventsourcing_peer.py"'
  launcher postgres-es '"$here/target/release/postgres_es"'
  launcher disintegrate '"$here/target/release/disintegrate"'
}
