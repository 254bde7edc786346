#!/usr/bin/env bash
# Runs Google's Python client against a simulated Drive on a free port. Argument: the Python to use.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet -p drive-simulator
log="$(mktemp)"
"${CARGO_TARGET_DIR:-target}/debug/drive-simulator" --addr 127.0.0.1:0 --library shared >"$log" 2>&1 &
simulator=$!
trap 'kill "$simulator" 2>/dev/null || true; rm -f "$log"' EXIT
url=""
for _ in $(seq 1 300); do
  url="$(sed -n 's/.*listens on \(http:[^ ]*\).*/\1/p' "$log")"
  [ -n "$url" ] && break
  kill -0 "$simulator" 2>/dev/null || { cat "$log"; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "the simulated Drive did not start:"; cat "$log"; exit 1; }
control="$(sed -n 's/.*X-Drive-Control: \([^) ]*\).*/\1/p' "$log")"
"$1" .ci/google_client_test.py "$url" owner "$control"
