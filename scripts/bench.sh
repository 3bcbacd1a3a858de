#!/usr/bin/env bash
# `make bench`: builds, and runs crates/testkit/examples/bench.rs.
#
#   EXECUTIONS=2000 CALLERS=16        how many, and how many at once
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh compiler postgres
cargo build --release -p cli -p testkit --bin everstep --example bench
target=${CARGO_TARGET_DIR:-target}/release
EVERSTEP_BIN=$target/everstep exec "$target/examples/bench"
