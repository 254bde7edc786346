#!/usr/bin/env bash
# Runs nine invocations of ten in the functions of an earlier release, and the tenth in those of this checkout, over one
# table, while people and programs edit and Drive misbehaves. The soak's judge says what was lost. Takes the time that is
# asked for and two unoptimised builds. Arguments: a revision (the newest tag, else the commit below), and the seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_INCREMENTAL=0

revision="${1:-$(git describe --tags --abbrev=0 2>/dev/null || echo bb0a622)}"
seconds="${2:-600}"
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
old="$target/mixed-versions"

# Its sources, its libraries and its environments are its own.
rm -rf "$old/source" "$old/functions"
mkdir -p "$old/source" "$old/functions"
git archive "$revision" | tar -x -C "$old/source"
packages=()
for manifest in "$old"/source/functions/*/Cargo.toml; do
  packages+=(-p "$(basename "$(dirname "$manifest")")")
done
cargo build --quiet --locked --manifest-path "$old/source/Cargo.toml" --target-dir "$old/target" --bins "${packages[@]}"
for manifest in "$old"/source/functions/*/Cargo.toml; do
  cp "$old/target/debug/$(basename "$(dirname "$manifest")")" "$old/functions/"
done
cp "$old/source/events/env.json" "$old/functions/"

echo "This build and $(git log -1 --format='%h of %cs' "$revision"), for $seconds s:"
cargo bench --quiet --locked --workspace --bench system --profile dev -- --only soak --no-kills --files 2000 --soak-seconds "$seconds" \
  --canary "$old/functions:0.9:7"
