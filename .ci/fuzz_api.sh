#!/usr/bin/env bash
# Runs schemathesis against the HTTP API of a whole system on free ports, with the description that it serves, and
# reads the system's metrics.
# Argument: the Python of a virtual environment that has it.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="$(cd "$(dirname "$1")" && pwd)"
. .ci/with_local.sh
"$tools/python" .ci/metrics.py "$work/out"

# What the calls are about: a file in conflict, a refused push, an operation with findings. Ids that are made up
# would get no further than 404.
"$tools/python" .ci/fuzz_api.py "$work/out" "$work/schemathesis.toml" "$work/token"

# The checks are those that hold the answers to the description, whatever was asked. The others judge what
# schemathesis thinks is good or bad input: a description can't say that a name must be free of control
# characters, or that an If-Match must be of this file, so they would complain of right answers.
# tests/tests/all/http_api/route_authorization.rs checks the tokens. `stateful` needs links, of which there are none.
# It keeps notes in the folder that it runs in.
(cd "$work" && "$tools/schemathesis" --config-file schemathesis.toml run "$(cat api)/openapi.json" \
  --header "Authorization: Bearer $(cat token)" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
  --phases examples,coverage,fuzzing --mode all --max-examples 25 --seed 20261121 --generation-database none \
  --request-timeout 30 --continue-on-failure --warnings off --no-color)
kill -0 "$system" || { echo "the system has ended:"; cat "$work/err"; exit 1; }
