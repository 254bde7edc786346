#!/usr/bin/env bash
# Verifies signatures with independent implementations: those of webhooks with Standard Webhooks on PyPI and npm, those
# of a distribution's links with botocore's signer.
# Argument: the Python of a virtual environment that has `standardwebhooks` and `botocore`.
set -euo pipefail
cd "$(dirname "$0")/.."
target="$(realpath "${CARGO_TARGET_DIR:-target}")"
npm="$target/ci-npm"
mkdir -p "$npm"
cp .ci/clients/package.json "$npm/"
(cd "$npm" && npm install --no-package-lock --no-audit --no-fund --silent)
message="$(cargo run --quiet -p webhooks --example signed_message "$(date +%s)")"
"$1" .ci/signatures/webhooks.py <<<"$message"
verify="$PWD/.ci/signatures/webhooks.mjs"
(cd "$npm" && node "$verify" <<<"$message")
cargo build --quiet -p objects --example signed_link
"$1" .ci/signatures/links.py "$target/debug/examples/signed_link"
