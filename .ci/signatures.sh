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
# Before the time is taken: a signature is valid for five minutes.
cargo build --quiet --workspace --example signed_message --example signed_link
message="$("$target/debug/examples/signed_message" "$(date +%s)")"
"$1" .ci/signatures/webhooks.py <<<"$message"
verify="$PWD/.ci/signatures/webhooks.mjs"
(cd "$npm" && node "$verify" <<<"$message")
"$1" .ci/signatures/links.py "$target/debug/examples/signed_link"
