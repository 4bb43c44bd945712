#!/usr/bin/env bash
# Builds the documentation site into outputs/site, strictly, and serves it on this machine only.
# The argument is the port, 8000 by default.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

cd "$ROOT"
python -m mkdocs build --strict
exec python -m http.server --bind 127.0.0.1 --directory outputs/site "${1:-8000}"
