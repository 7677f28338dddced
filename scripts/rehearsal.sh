#!/usr/bin/env bash
# Builds the emulated Raspberry Pi that rehearsals run on: tools from Debian, then the userlands.
# A second run finds everything in place and returns at once. Folder: DLINK_REHEARSAL_DIR, or
# build/rehearsal.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '==> %s\n' "$*"; }
die() { printf 'rehearsal: error: %s\n' "$*" >&2; exit 1; }

packages=()
need() { # command, package, reason
  command -v "$1" >/dev/null || { packages+=("$2"); say "needs $2: $3"; }
}
# Not qemu-user-static: it takes no plugins, and counting is done by one.
need qemu-aarch64 qemu-user "runs the board's programs, and counts their instructions"
need mmdebstrap mmdebstrap "unpacks the board's Debian"
need sshd openssh-server "the board answers to ssh on this machine alone"
need ssh openssh-client "the client's side of it"
need gcc gcc "compiles the counter"
if [ ${#packages[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || die "this is no Debian: install what stands above by hand, then run again"
  root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "install these as root, then run again: apt-get install ${packages[*]}"
    root=(sudo)
  fi
  say "installing with apt-get: ${packages[*]}"
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
exec "$venv/bin/python" -m firmware_bench.rehearsal.userland
