#!/usr/bin/env bash
# Lint, formatting, types and tests; arguments go to pytest (paths are relative to the repository).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

cd "$ROOT"
ruff check --quiet .
ruff format --quiet --check .
mypy --no-error-summary
# By files: what a file makes once, such as flows and the built site, is made in one process only.
exec python -m pytest -n auto --maxprocesses 2 --dist loadfile "$@"
