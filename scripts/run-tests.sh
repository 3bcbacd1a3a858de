#!/usr/bin/env bash
# Runs the tests of the workspace and ends with the runner's counts.
#
#   scripts/run-tests.sh                 all tests
#   scripts/run-tests.sh -p tests NAME   those of a crate whose names contain NAME
#
# With cargo-nextest where it is installed. Where it is not, plain `cargo test` does: building
# cargo-nextest itself would take longer than the tests. Its counts, one line a test binary, are
# added up in the last line. No tests at all count as failure, so that a misspelt name is noticed.
set -euo pipefail
cd "$(dirname "$0")/.."

scope=(--workspace)
if [ "${1:-}" = -p ]; then
  scope=(-p "$2")
  shift 2
fi

if [ ! -d ../shared ]; then
  echo "SKIPPED, NOT TESTED: ../shared is not there, and so is nothing that needs it:" >&2
  echo "  the conformance kit of the workflow language and its schema" >&2
fi

if [ "$(id -u)" -ne 0 ] || ! PATH="$PATH:/usr/sbin:/sbin" command -v mkfs.xfs >/dev/null; then
  echo "SKIPPED, NOT TESTED: power cuts and full disks need root and xfsprogs" >&2
fi

# The binary that tests start. Built before them, because tests have a time limit and a cold build
# has not; and put aside, because building the tests writes another one in its place.
if [ -z "${EVERSTEP_BIN:-}" ]; then
  target=${CARGO_TARGET_DIR:-$PWD/target}
  cargo build -p cli --bin everstep
  cp "$target/debug/everstep" "$target/everstep-under-test"
  export EVERSTEP_BIN=$target/everstep-under-test
fi

if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run "${scope[@]}" "$@"
  exit
fi

counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
status=0
cargo test "${scope[@]}" --lib --bins --tests --no-fail-fast -- "$@" | tee "$counts" || status=$?
awk '
  /^test result:/ { binaries++; passed += $4; failed += $6; ignored += $8 }
  END {
    printf "Summary: %d tests run: %d passed, %d failed, %d ignored (%d test binaries)\n",
      passed + failed, passed, failed, ignored, binaries
    exit passed + failed == 0
  }' "$counts" || status=1
exit "$status"
