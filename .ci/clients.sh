#!/usr/bin/env bash
# Generates clients from the description that a running system serves, in Python and in TypeScript, checks the types of
# both and of what uses them, and drives the main calls through the Python one.
# Argument: the Python of a virtual environment that has the generator and mypy.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="$(cd "$(dirname "$1")" && pwd)"
here="$PWD/.ci/clients"
. .ci/with_local.sh
api="$("$tools/python" -c 'import json, sys; print(json.loads(sys.stdin.readline())["api"])' <"$work/out")"
"$tools/python" -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' \
  "$api/openapi.json" >"$work/openapi.json"

# A warning means that something is missing in the client.
"$tools/openapi-python-client" generate --path "$work/openapi.json" --output-path "$work/python" --meta none \
  --config "$here/generator.yaml" --fail-on-warning
cp "$here/drive_client.py" .ci/fuzz_api.py "$work/"
mv "$work/python" "$work/drivesync_client"
(cd "$work" && "$tools/mypy" --strict --no-error-summary --cache-dir "$work/mypy" drivesync_client)
(cd "$work" && "$tools/mypy" --no-error-summary --cache-dir "$work/mypy" drive_client.py)

npm="${CARGO_TARGET_DIR:-target}/ci-npm"
mkdir -p "$npm"
cp "$here/package.json" "$here/uses.ts" "$npm/"
(cd "$npm" && npm install --no-package-lock --no-audit --no-fund --silent)
"$npm/node_modules/.bin/openapi-typescript" "$work/openapi.json" --output "$npm/api.ts" >"$work/typescript" ||
  { cat "$work/typescript"; exit 1; }
"$npm/node_modules/.bin/tsc" --noEmit --strict --skipLibCheck "$npm/api.ts" "$npm/uses.ts"
# The console's scripts use the same types.
console="$PWD/functions/console"
"$tools/python" - "$console" "$(realpath "$npm/api.ts")" >"$npm/console.json" <<'END'
import json, sys
console, api = sys.argv[1:]
print(json.dumps({
    "extends": f"{console}/jsconfig.json",
    "compilerOptions": {"paths": {"drivesync-api": [api]}},
    "include": [f"{console}/types.d.ts", f"{console}/assets/*.js", f"{console}/assets/pages/*.js"],
}))
END
"$npm/node_modules/.bin/tsc" --project "$npm/console.json"
"$npm/node_modules/.bin/prettier" --check --log-level warn --print-width 100 "$console/types.d.ts" \
  "$console/assets/app.css" "$console/assets/*.js" "$console/assets/pages/*.js"

. "$work/data/aws.env"
(cd "$work" && "$tools/python" drive_client.py out)
kill -0 "$system" || { echo "the system has ended:"; cat "$work/err"; exit 1; }
