#!/usr/bin/env bash
# Sets dlink up on a fresh Debian machine: compilers and emulator, a virtual environment, dlink.
# Says what it installs and why. A second run finds everything in place and returns at once.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

say() { printf '==> %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

# --- Debian packages: only those whose command is missing ---------------------------------------
packages=()
need() { # command, package, reason
  command -v "$1" >/dev/null || { packages+=("$2"); say "needs $2: $3"; }
}
need gcc gcc "compiles the generated C library for this machine, and the instruction counter"
need arm-none-eabi-gcc gcc-arm-none-eabi "cross compiler: the student as Cortex-M firmware"
need qemu-system-arm qemu-system-arm "emulator: runs and counts that firmware"
# Not needed to measure; taken where Debian has them. Checked once, by the stamp below.
want() { # command, package, reason
  command -v "$1" >/dev/null && return
  apt-cache show "$2" >/dev/null 2>&1 || return 0
  packages+=("$2"); say "takes $2: $3"
}
if [ ! -f "$venv/.dlink-setup" ]; then
  [ "$(id -u)" -ne 0 ] || [ -n "$(ls -A /var/lib/apt/lists 2>/dev/null | grep -v lock || true)" ] || apt-get update -qq
  want llvm-mca-19 llvm-19 "pipeline model for the cycles of a Cortex-M7 and M55; without it they have no estimate"
  want cppcheck cppcheck "a test lets it read the generated C"
fi
if command -v arm-none-eabi-gcc >/dev/null; then
  echo '#include <string.h>' | arm-none-eabi-gcc -E - >/dev/null 2>&1 || {
    packages+=(libnewlib-arm-none-eabi); say "needs libnewlib-arm-none-eabi: its C headers"; }
else
  packages+=(libnewlib-arm-none-eabi); say "needs libnewlib-arm-none-eabi: its C headers"
fi
echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1 || {
  packages+=(libc6-dev); say "needs libc6-dev: C headers of this machine"; }

python=${PYTHON:-}
for candidate in python3.11 python3.12 python3.13 python3; do
  [ -n "$python" ] || { command -v "$candidate" >/dev/null && python=$candidate; }
done
[ -n "$python" ] || { packages+=(python3 python3-venv); say "needs python3 and python3-venv"; }
if [ -n "$python" ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  packages+=("$(basename "$python")-venv"); say "needs $(basename "$python")-venv: virtual environments"
fi

if [ ${#packages[@]} -gt 0 ]; then
  root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "install these as root, then run again: apt-get install ${packages[*]}"
    root=(sudo)
  fi
  command -v apt-get >/dev/null || die "this is no Debian: install what stands above by hand, then run again"
  say "installing with apt-get: ${packages[*]}"
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
python=${python:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed; set PYTHON to one"

# --- tflite-runtime: an environment of its own, which dlink can do without ------------------------
tflite_environment() {
  local folder=.venv-tflite stamp=.venv-tflite/.dlink-setup wanted old=
  wanted=$(sha256sum constraints-tflite.txt | cut -d' ' -f1)
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  for candidate in "$venv/bin/python" python3.11 python3.10 python3.9; do # it has no wheels after 3.11
    [ -z "$old" ] || break
    "$candidate" -c 'import sys, ensurepip; sys.exit(sys.version_info >= (3, 12))' 2>/dev/null && old=$candidate
  done
  say "tflite-runtime in $folder, about 110 MB: parity is checked under it too"
  if [ -n "$old" ] && "$old" -m venv --clear "$folder" &&
     "$folder/bin/python" -m pip install -qq --disable-pip-version-check -r constraints-tflite.txt; then
    echo "$wanted" > "$stamp"
  else
    rm -rf "$folder"
    printf 'setup: warning: tflite-runtime could not be installed (it needs Python 3.9 to 3.11); dlink works without it, and checks TFLite under LiteRT alone\n' >&2
  fi
}

# --- Python packages ------------------------------------------------------------------------------
stamp=$venv/.dlink-setup
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | sha256sum | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$venv/bin/dlink-distill" ]; then
  tflite_environment
  say "everything is in place ($venv)"
  exit 0
fi
say "virtual environment in $venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
say "Python packages at the versions of constraints.txt, about 2 GB on disk:"
awk -F'|' '/^\|/ && $2 !~ /package|---/ { printf "      %s:%s\n", $2, $3 }' docs/dependencies.md
if ! "$venv/bin/python" -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"; then
  die "pip could not install the packages above. If it did not find torch: dlink takes CPU builds only (2.13.0+cpu). Add the CPU index of PyTorch's install page to pip (PIP_EXTRA_INDEX_URL) and run again"
fi
say "checking that no CUDA package came along"
"$venv/bin/python" - <<'PY'
import importlib.metadata, sys
import torch
names = sorted({(d.metadata["Name"] or "").lower() for d in importlib.metadata.distributions()})
cuda = [n for n in names if n.startswith(("nvidia-", "cuda-", "triton"))]
if cuda or torch.version.cuda:
    sys.exit(f"setup: error: CUDA packages were installed: {cuda or torch.__version__}")
PY
echo "$wanted" > "$stamp"
tflite_environment
say "done"
