#!/usr/bin/env bash
# Installs the peers of the engine's benchmark, at the versions its files name, into a directory.
#
#   bench/peers/engine/install.sh DIRECTORY
#
# Afterwards DIRECTORY/bin has a program for each. What is there already is left as it is. Needs node
# and npm, and python3 with venv: see scripts/install.sh. Linux on x86-64 or ARM.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
mkdir -p "$1"
into=$(cd "$1" && pwd)
cd "$(dirname "$0")"
# shellcheck source=../parts.sh
. ../parts.sh

install_node() {
  cp package.json package-lock.json .npmrc "$into/engine/"
  (cd "$into/engine" && npm ci --loglevel=error >&2)
}

# absurd's client comes without the SQL that it calls. A package of Python has that, as a string; its
# own program would hand it to psql.
install_sql() {
  python3 -m venv --clear "$into/engine/venv"
  "$into/engine/venv/bin/pip" install --quiet --no-deps --no-input --disable-pip-version-check \
    -r requirements.txt >&2
  "$into/engine/venv/bin/python" -c 'import absurdctl; print(absurdctl.BUNDLED_SCHEMA_SQL)' \
    >"$into/engine/absurd.sql"
}

mkdir -p "$into/bin" "$into/engine"
once engine-node "$(node --version)" package.json package-lock.json .npmrc -- install_node
once engine-sql "$(python3 --version)" requirements.txt -- install_sql
cp ./*.mjs "$into/engine/"

# One of the packages is Node itself, newer than what distributions have: pg-boss asks for 22.12.
# shellcheck disable=SC2016 # the launchers expand $here
{
  node='"$here/engine/node_modules/.bin/node"'
  launcher restate "$node" '"$here/engine/restate.mjs"'
  launcher dbos "$node" '"$here/engine/dbos.mjs"'
  launcher absurd "$node" '"$here/engine/absurd.mjs"'
  launcher pg-boss "$node" '"$here/engine/pg_boss.mjs"'
  # The server itself, without the script of Node that starts it; npm has installed one for this machine.
  launcher restate-server '"$here"/engine/node_modules/@restatedev/restate-server-linux-*/bin/restate-server'
}
