#!/usr/bin/env bash
# Runs a command with a Postgres of its own, and throws that away afterwards.
#
#   scripts/with-postgres.sh COMMAND [ARGUMENT...]
#
# The server listens on a Unix socket in a private temporary directory only; DATABASE_URL names it.
# It is as durable as any other: nothing is switched off. POSTGRES_OPTIONS are more of its settings. It is stopped and deleted whatever
# becomes of the command, whose exit status is passed on.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARGUMENT...]" >&2; exit 2; }

say() { printf 'with-postgres: %s\n' "$*" >&2; }

# The directory with the newest server binaries.
binaries() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
  if [ -n "$found" ] && [ -x "$found/initdb" ]; then
    echo "$found"
  elif command -v initdb >/dev/null; then
    dirname "$(readlink -f "$(command -v initdb)")"
  else
    say "no PostgreSQL server found; scripts/install.sh postgres installs one"
    return 1
  fi
}

# Postgres refuses to run as root, so root lends it another account.
as_owner() {
  if [ "$(id -u)" -eq 0 ]; then
    setpriv --reuid "$owner" --regid "$(id -g "$owner")" --clear-groups -- "$@"
  else
    "$@"
  fi
}

bin=$(binaries)
owner=$(id -un)
if [ "$(id -u)" -eq 0 ]; then
  owner=$(id -un postgres 2>/dev/null || echo nobody)
fi

# A socket's path may have 107 bytes, and $TMPDIR may be long.
home=$(mktemp -d /tmp/everstep-postgres.XXXXXX)
[ "$(id -u)" -ne 0 ] || chown "$owner" "$home"

command=
clean_up() {
  local status=$?
  trap '' INT TERM
  [ -z "$command" ] || kill -TERM -- "-$command" 2>/dev/null || true
  # What it holds is thrown away, so it need not shut down with care.
  as_owner "$bin/pg_ctl" stop -D "$home/data" -m immediate -s >/dev/null 2>&1 || true
  rm -rf "$home"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cd "$home"
as_owner "$bin/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --locale=C --no-sync \
  >"$home/initdb.log" 2>&1 || { cat "$home/initdb.log" >&2; exit 1; }
as_owner "$bin/pg_ctl" start -D "$home/data" -l "$home/data/server.log" -w -s -t 60 \
  -o "-k $home -c listen_addresses='' -c max_connections=300 ${POSTGRES_OPTIONS:-}" \
  || { cat "$home/data/server.log" >&2; exit 1; }
cd "$OLDPWD"

export DATABASE_URL="postgres://postgres@localhost/postgres?host=$home"
# In the background, so that a signal to this script is acted on at once and not after the command;
# in a process group of its own, so that nothing it started stays behind.
set -m
"$@" <&0 &
command=$!
set +m
status=0
wait "$command" || status=$?
command=
exit "$status"
