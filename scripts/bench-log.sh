#!/usr/bin/env bash
# `make bench-log`: builds, starts a private Postgres, and runs the benchmark of the log on it.
#
#   SECONDS_EACH=4 ROUNDS=1 ONLY=TEXT     how long, how often, and only what has this in its name
#   LONG=yes                              also on a log of 30 million events (a quarter of an hour, 25 GB)
#   PEERS=no                              without the other event stores (minutes to install once)
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh compiler postgres
cargo build --release -p cli -p bench --bin everstep --bin bench-log
if [ "${PEERS:-yes}" = no ]; then
  unset PEERS
else
  scripts/install.sh node python
  export PEERS=$PWD/.cache/peers
  bench/peers/install.sh "$PEERS"
fi
# Room for a run between two checkpoints, as a server for such a load would have; nothing that
# makes it less durable.
export POSTGRES_OPTIONS='-c shared_buffers=1GB -c max_wal_size=8GB -c min_wal_size=4GB -c checkpoint_timeout=15min -c jit=off'
target=${CARGO_TARGET_DIR:-target}/release
EVERSTEP_BIN=$target/everstep exec scripts/with-postgres.sh "$target/bench-log"
