# What the installers of peers share; they set `into`, the directory into which they install.
# shellcheck shell=bash

# Does a step unless it was done before with the same files and by the same tool.
#   once NAME TOOL-VERSION FILE... -- COMMAND...
once() {
  local name=$1 tool=$2 files=() mark
  shift 2
  while [ "$1" != -- ]; do files+=("$1"); shift; done
  shift
  # shellcheck disable=SC2154 # set by whoever includes this
  mark="$tool $(cat "${files[@]}" | cksum)"
  [ "$(cat "$into/$name.done" 2>/dev/null)" != "$mark" ] || return 0
  rm -f "$into/$name.done"
  "$@"
  printf '%s\n' "$mark" >"$into/$name.done"
}

# Writes a program that runs another with the same arguments; paths are relative to DIRECTORY.
launcher() {
  local name=$1
  shift
  # shellcheck disable=SC2016 # the launcher expands these
  printf '#!/bin/sh\nhere=$(cd "$(dirname "$0")/.." && pwd)\nexec %s "$@"\n' "$*" >"$into/bin/$name"
  chmod +x "$into/bin/$name"
}
