#!/usr/bin/env bash
# `make bench-engine`: builds, starts a private Postgres, and runs workflows on it.
#
#   SECONDS_EACH=20 ROUNDS=1 ONLY=TEXT     how long, how often, and only what has this in its name
#   LONG=yes                              also with a million executions in the log (minutes, 6 GB)
#   PEERS=no                               without the other engines (half a minute to install once)
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh compiler postgres
cargo build --release -p cli -p bench --bin everstep --bin bench-engine
if [ "${PEERS:-yes}" = no ]; then
  unset PEERS
else
  scripts/install.sh node python
  export PEERS=$PWD/.cache/peers
  bench/peers/engine/install.sh "$PEERS"
fi
# Room for a run between two checkpoints; nothing that makes it less durable.
export POSTGRES_OPTIONS="-c shared_buffers=1GB -c max_wal_size=8GB -c min_wal_size=4GB -c checkpoint_timeout=15min -c jit=off ${POSTGRES_OPTIONS:-}"
target=${CARGO_TARGET_DIR:-target}/release
EVERSTEP_BIN=$target/everstep exec scripts/with-postgres.sh "$target/bench-engine"
