#!/usr/bin/env bash
# Uses the console in Chromium as a person would, against whole systems, and measures it with many files and conflicts.
# Argument: the Python of a virtual environment that has Playwright. Screenshots of all pages are in `target/console`
# afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
python="$(realpath "$(dirname "$1")")/$(basename "$1")"
target="$(realpath "${CARGO_TARGET_DIR:-target}")"
chromium="$(command -v chromium || command -v chromium-browser || command -v google-chrome)" ||
  { echo "there is no Chromium on this machine: apt-get install chromium"; exit 1; }
npm="$target/ci-npm"
mkdir -p "$npm" "$target/console"
cp .ci/clients/package.json "$npm/"
(cd "$npm" && npm install --no-package-lock --no-audit --no-fund --silent)
cargo build --quiet -p local -p drive-simulator
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"$python" .ci/console.py "$target/debug" "$chromium" "$npm/node_modules/axe-core/axe.min.js" "$target/console" "$work"
mkdir "$work/size"
"$python" .ci/console_size.py "$target/debug" "$chromium" "$work/size"
