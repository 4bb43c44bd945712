#!/usr/bin/env bash
# The main job from load to deployment; arguments go to scripts/quickstart.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec python "$ROOT/scripts/quickstart.py" "$@"
