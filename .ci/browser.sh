#!/usr/bin/env bash
# Opens pages in Chromium that try to reach a whole system on the same machine. Argument: the Python to use.
# Where there is no Chromium it says so, and does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
chromium="$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)"
[ -n "$chromium" ] || { echo "left out: there is no Chromium on this machine"; exit 0; }
python="$(realpath "$(dirname "$1")")/$(basename "$1")"
. .ci/with_local.sh
"$python" .ci/browser.py "$work/out" "$chromium" "$work"
kill -0 "$system" || { echo "the system has ended:"; cat "$work/err"; exit 1; }
