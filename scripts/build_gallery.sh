#!/usr/bin/env bash
# Builds the site of the gallery, export/gallery/dist, and its comparison for Node; needs Node 20.19
# and xz.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../export/gallery"
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number);
    process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null; then
    echo "build_gallery: Node 20.19 or newer, with npm, is needed; found" \
        "$(node --version 2>/dev/null || echo none)." >&2
    exit 1
fi
npm ci --no-audit --no-fund --loglevel=error
npm run --silent build
# Of its 14 MB the repository and the package keep 2; writing a gallery unpacks it.
xz -9e --force dist/assets/*.wasm
