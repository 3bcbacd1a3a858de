#!/usr/bin/env bash
# Installs what is missing on a Debian-like machine; says nothing where nothing is missing.
#
#   scripts/install.sh compiler postgres rabbitmq disks clocks node python
#
# Works as root or through sudo. Without either it names the packages and fails.
set -euo pipefail
# Also on a plain machine, whose shells keep administrators' programs out of PATH.
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '%s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

has_postgres() {
  has initdb && has postgres && return
  local dir
  for dir in /usr/lib/postgresql/*/bin; do
    [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && return
  done
  return 1
}

has_python() {
  has python3 && python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' \
    2>/dev/null
}

has_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || has rabbitmq-server; }

has_disks() { has mkfs.xfs && has mkfs.ext4; }

has_clocks() { compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null; }

has_openmp() { ldconfig -p 2>/dev/null | grep -q 'libgomp\.so\.1'; }

# Fills `packages` with what the wanted parts lack.
packages=()
lacking() {
  case "$1" in
    compiler) has cc || packages+=(gcc libc6-dev) ;;
    postgres) has_postgres || packages+=(postgresql) ;;
    rabbitmq) has_rabbitmq || packages+=(rabbitmq-server) ;;
    disks) has_disks || packages+=(xfsprogs e2fsprogs mount) ;;
    clocks) has_clocks || packages+=(libfaketime) ;;
    node) has npm || packages+=(nodejs npm ca-certificates) ;;
    python)
      has_python || packages+=(python3 python3-venv ca-certificates)
      has_openmp || packages+=(libgomp1)
      ;;
    *)
      say "install.sh: unknown part '$1'; known: compiler postgres rabbitmq disks clocks node python"
      exit 2
      ;;
  esac
}

# Runs a command as root.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}

may_be_root() {
  [ "$(id -u)" -eq 0 ] && return
  has sudo || return 1
  # Where somebody sits in front of it, sudo may ask for a password.
  sudo -n true 2>/dev/null || [ -t 2 ]
}

install_packages() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1
}

# Debian's package makes and starts a server of its own on port 5432. Nobody asked for that one.
own_cluster=/etc/postgresql-common/createcluster.d/everstep.conf
without_own_cluster() {
  as_root mkdir -p "${own_cluster%/*}"
  echo 'create_main_cluster = false' | as_root tee "$own_cluster" >/dev/null
}

# Debian's package starts a broker of its own, at once and on every boot, and Erlang's a daemon on port
# 4369. Nobody asked for those either.
policy=/usr/sbin/policy-rc.d
own_policy=
without_own_broker() {
  [ ! -e "$policy" ] || return 0
  own_policy=$policy
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}
not_on_boot() {
  local service
  for service in rabbitmq-server epmd; do
    as_root update-rc.d "$service" disable >/dev/null 2>&1 || true
  done
}

clean_up() {
  rm -f "$log"
  [ ! -e "$own_cluster" ] || as_root rm -f "$own_cluster"
  [ -z "$own_policy" ] || as_root rm -f "$own_policy"
}

for part in "$@"; do lacking "$part"; done
[ ${#packages[@]} -gt 0 ] || exit 0

if ! has apt-get || ! may_be_root; then
  say "These are missing: ${packages[*]} (names of Debian packages)."
  say "Install them, or run this as root or with sudo. On Debian:"
  say "    apt-get install ${packages[*]}"
  exit 1
fi

say "Installing ${packages[*]} ..."
log=$(mktemp)
trap clean_up EXIT
case " ${packages[*]} " in *' postgresql '*) without_own_cluster ;; esac
case " ${packages[*]} " in *' rabbitmq-server '*) without_own_broker ;; esac

# A fresh machine has no package lists, an old one has stale lists; then, and only then, fetch them.
if ! install_packages "${packages[@]}"; then
  say "Fetching package lists ..."
  as_root apt-get update -qq >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
  install_packages "${packages[@]}" || { cat "$log" >&2; exit 1; }
fi
case " ${packages[*]} " in *' rabbitmq-server '*) not_on_boot ;; esac
