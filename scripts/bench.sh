#!/usr/bin/env bash
# `make bench`: builds, and runs bench/.
#
#   EXECUTIONS=2000 CALLERS=16        how many, and how many at once
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh compiler postgres
cargo build --release -p cli -p bench --bin everstep --bin bench
target=${CARGO_TARGET_DIR:-target}/release
EVERSTEP_BIN=$target/everstep exec "$target/bench"
