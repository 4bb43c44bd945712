#!/usr/bin/env bash
# The main job from load to deployment; arguments go to scripts/quickstart.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

# What TensorFlow logs on the way is no part of the job; errors are raised in Python.
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
exec python "$ROOT/scripts/quickstart.py" "$@"
