#!/usr/bin/env bash
# Deploys the templates with this build's functions on an emulator of AWS, and uses what it deployed. Argument: the Python
# of a virtual environment that has the emulator.
set -euo pipefail
cd "$(dirname "$0")/.."
chromium="$(command -v chromium || command -v chromium-browser || command -v google-chrome)" ||
  { echo "there is no Chromium on this machine: apt-get install chromium"; exit 1; }
# All binaries, with the features of the tests: those build them anyhow.
cargo build --quiet --locked --workspace --bins --test all
"$1" .ci/deploy.py "${CARGO_TARGET_DIR:-target}/debug" "$chromium"
