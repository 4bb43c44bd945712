# Sourced, not run: gives the calling script $ROOT (the repository) and a ready environment.
#
# Makes .venv in the repository where there is none, installs keras-flows with its development
# extras into it when pyproject.toml has changed since the last time, and puts it first on PATH.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$ROOT/.venv"
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

if [ ! -x "$venv/bin/python" ]; then
    python=""
    for candidate in python3.13 python3.12 python3.11 python3; do
        # ensurepip is what a Python without its venv package lacks.
        if "$candidate" -c "import ensurepip, venv; $supported" >/dev/null 2>&1; then
            python="$candidate"
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "setup: no usable Python: tried python3.13, python3.12, python3.11 and python3." >&2
        echo "setup: keras-flows needs Python 3.11, 3.12 or 3.13 with its venv module" \
            "(on Debian and Ubuntu: apt install python3-venv)." >&2
        exit 1
    fi
    echo "setup: making $venv with $("$python" --version)" >&2
    "$python" -m venv "$venv"
fi

if ! "$venv/bin/python" -c "$supported"; then
    echo "setup: $venv holds $("$venv/bin/python" --version), but keras-flows needs Python 3.11," \
        "3.12 or 3.13. Remove that folder and run this again." >&2
    exit 1
fi

stamp="$venv/keras-flows-installed"
if [ ! -e "$stamp" ] || [ "$ROOT/pyproject.toml" -nt "$stamp" ]; then
    echo "setup: installing keras-flows and its dependencies (2.5 GB: minutes the first time)" >&2
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$ROOT[dev]"
    touch "$stamp"
fi

export PATH="$venv/bin:$PATH"
