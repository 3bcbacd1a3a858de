#!/usr/bin/env bash
# Fetches real GitHub webhook payloads (MIT) with npm, once; prints the path of their index.
set -euo pipefail
cd "$(dirname "$0")/.."

package=@octokit/webhooks-examples
version=7.6.1
digest=09d8f0c617876ae9dad22e26fea5510bfcaad50ee7e602659f6db25b87b25815
home=.cache/payloads
index=$home/node_modules/$package/api.github.com/index.json

intact() { echo "$digest  $index" | sha256sum --check --status 2>/dev/null; }

if ! intact; then
  scripts/install.sh node
  mkdir -p "$home"
  npm install --prefix "$home" --no-save --no-audit --no-fund --no-update-notifier \
    --ignore-scripts --loglevel=error "$package@$version" >/dev/null
  intact || { echo "payloads: $index is not what it should be" >&2; exit 1; }
fi
echo "$index"
