#!/usr/bin/env bash
# The gallery in Chromium: installs what it needs, checks that the built site is that of its sources,
# writes a gallery of the entries that are named (some of the zoo without any), and uses every panel
# as a visitor would. The gallery is in outputs/gallery, where scripts/site.sh takes it from, and
# screenshots go to outputs/gallery_screenshots: look at them.
#
#     scripts/test_gallery.sh [ENTRY... | --all]
#
# GALLERY names a gallery that is there already, to be tested as it is; FIRST_SECONDS how soon the
# first numbers must be there (2), PATIENCE how many milliseconds a step may take (60000), a
# comparison with Python three times as long.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
source "$ROOT/scripts/chromium.sh"
cd "$ROOT"

built="$(mktemp -d)"
trap 'rm -rf "$built"' EXIT
cp -r export/gallery/dist export/gallery/compare "$built"
scripts/build_gallery.sh
for part in dist compare; do
    diff -r "$built/$part" "export/gallery/$part" || {
        echo "test_gallery: export/gallery/$part was not that of its sources; it is now." >&2
        exit 1
    }
done

if [ -z "${GALLERY:-}" ]; then
    GALLERY="$ROOT/outputs/gallery"
    rm -rf "$GALLERY"
    keras-flows gallery "$@" "$GALLERY"
    export SHOTS="$ROOT/outputs/gallery_screenshots"
fi
export GALLERY
cd export/gallery
exec node --test tests/gallery.test.js
