# Installs Chromium where there is none and this user may: sourced by what drives a browser.
if [ -z "${CHROMIUM:-}" ] && ! command -v chromium chromium-browser google-chrome >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "$(basename "$0"): no Chromium: install it (apt install chromium), or set CHROMIUM." >&2
        exit 1
    fi
    apt-get update -qq && apt-get install -y -qq chromium >/dev/null
fi
