#!/usr/bin/env bash
# The documentation site in Chromium: installs what it needs, builds the site, and uses it as a
# visitor would. Screenshots go to outputs/site_screenshots: look at them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
source "$ROOT/scripts/chromium.sh"

cd "$ROOT"
npm ci --prefix export/gallery --no-audit --no-fund --loglevel=error
python -m mkdocs build --strict --quiet
SITE="$ROOT/outputs/site" exec node --test scripts/site/site.test.js
