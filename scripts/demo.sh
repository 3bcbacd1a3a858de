#!/usr/bin/env bash
# `make demo`: installs what is missing, builds, and runs crates/testkit/examples/demo.
#
#   MODEL=local|sandbox|openai        which model answers; chosen and explained if not set
#   KEEP=1                            leaves everything up at the end, until Ctrl-C
#   CHAOS=everstep|postgres           kills that with -9 in the middle
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh compiler postgres node
payloads=$(scripts/payloads.sh)

model=${MODEL:-}
python=none
case "$model" in
  local | sandbox) why="MODEL=$model says so" ;;
  openai)
    why="MODEL=$model says so"
    [ -n "${OPENAI_API_KEY:-}" ] || { echo "MODEL=openai needs OPENAI_API_KEY" >&2; exit 2; }
    ;;
  '')
    if [ -n "${OPENAI_API_KEY:-}" ]; then
      model=openai why='OPENAI_API_KEY is in the environment'
    else
      model=local why='no OPENAI_API_KEY is in the environment'
    fi
    ;;
  *) echo "MODEL is '$model'; it may be local, sandbox or openai" >&2; exit 2 ;;
esac
if [ "$model" = local ] && ! python=$(scripts/local-model.sh); then
  [ -z "${MODEL:-}" ] || exit 1
  model=sandbox why="$why, and the local model could not be installed" python=none
fi

cargo build --release -p cli -p testkit --bin everstep --example demo
target=${CARGO_TARGET_DIR:-target}/release
export EVERSTEP_BIN=$target/everstep
export DEMO_MODEL=$model DEMO_MODEL_WHY=$why DEMO_PYTHON=$python DEMO_PAYLOADS=$payloads
exec "$target/examples/demo"
