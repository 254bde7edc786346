#!/usr/bin/env bash
# Verifies signatures of webhooks with the independent implementations of Standard Webhooks on PyPI and npm.
# Argument: the Python of a virtual environment that has `standardwebhooks`.
set -euo pipefail
cd "$(dirname "$0")/.."
npm="${CARGO_TARGET_DIR:-target}/ci-npm"
mkdir -p "$npm"
cp .ci/clients/package.json "$npm/"
(cd "$npm" && npm install --no-package-lock --no-audit --no-fund --silent)
message="$(cargo run --quiet -p webhooks --example signed_message "$(date +%s)")"
"$1" .ci/webhooks/verify.py <<<"$message"
verify="$PWD/.ci/webhooks/verify.mjs"
(cd "$npm" && node "$verify" <<<"$message")
