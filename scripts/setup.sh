#!/usr/bin/env bash
# Make or reuse a virtual environment with xllms in it. Usage: scripts/setup.sh EXTRA (quickstart or dev).
#   VENV    where it is (.venv)
#   PYTHON  which Python makes it (python3)
#   TORCH   cpu (default) or cuda
set -euo pipefail
cd "$(dirname "$0")/.."
extra=${1:?usage: scripts/setup.sh EXTRA}
venv=${VENV:-.venv}
python=${PYTHON:-python3}
torch=${TORCH:-cpu}
stamp="$venv/.xllms-$extra-$torch"

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then  # not there, or half made
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "xllms needs Python 3.11 or newer; $python is $("$python" --version). Set PYTHON=python3.12, say." >&2
    exit 2
  }
  echo "making $venv" >&2
  "$python" -m venv "$venv"
fi
if [ -e "$stamp" ] && [ ! scripts/setup.sh -nt "$stamp" ] && [ ! pyproject.toml -nt "$stamp" ] && [ ! constraints/cpu.txt -nt "$stamp" ]; then
  exit 0
fi

pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
has=$("$venv/bin/python" -W ignore -c 'import torch; print("cuda" if torch.version.cuda else "cpu")' 2>/dev/null || true)
if [ "$has" != "$torch" ]; then
  echo "installing torch ($torch), then the rest: some minutes" >&2
  [ -z "$has" ] || "$venv/bin/python" -m pip uninstall --quiet --yes torch
  if [ "$torch" = cuda ]; then
    "${pip[@]}" torch==2.13.0
  else
    # From an index that has the CPU build; else from PyTorch's own.
    "${pip[@]}" -c constraints/cpu.txt torch 2>/dev/null ||
      "${pip[@]}" -c constraints/cpu.txt torch --index-url https://download.pytorch.org/whl/cpu
  fi
fi
# Torch is there now, and held: nothing that is installed next may bring another.
held=$(mktemp)
trap 'rm -f "$held"' EXIT
"$venv/bin/python" -c 'import warnings; warnings.simplefilter("ignore"); import torch; print(f"torch=={torch.__version__}")' >"$held"
"${pip[@]}" -c "$held" -e ".[$extra]"
touch "$stamp"
