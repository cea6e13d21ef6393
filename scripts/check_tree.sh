#!/usr/bin/env bash
# Nothing that looks like a token, and no path of a developer's machine, is ever committed.
set -euo pipefail
cd "$(dirname "$0")/.."
if git grep -nIE 'hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9]{32,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY' -- .; then
  echo "check_tree: looks like a secret (above)" >&2
  exit 1
fi
if git grep -nIE '(^|[^A-Za-z0-9_.~])/(home|Users|root|work)/[A-Za-z0-9_.]' -- . ':!scripts/check_tree.sh'; then
  echo "check_tree: a path of one machine (above)" >&2
  exit 1
fi
