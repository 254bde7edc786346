#!/usr/bin/env bash
# The aliases of a deployed stack, by the AWS CLI:
#   aliases.sh save STACK FILE      writes which version of each function has the traffic
#   aliases.sh restore STACK FILE   gives the traffic back to those versions
#   aliases.sh check STACK          asks the deployed API, console and webhook for answers
set -euo pipefail
command="$1" stack="$2"

# The functions behind the aliases of the stack: an alias's physical id is its ARN.
aliases() {
  aws cloudformation describe-stack-resources --stack-name "$stack" \
    --query "StackResources[?ResourceType=='AWS::Lambda::Alias'].PhysicalResourceId" --output text | tr '\t' '\n'
}

output() {
  aws cloudformation describe-stacks --stack-name "$stack" --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue" \
    --output text
}

# Expects a status of a URL, which a new stack may take a moment to give.
answers() {
  for _ in 1 2 3 4 5 6; do
    status="$(curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}' "${@:2}")" || true
    [ "$status" = "$1" ] && return
    sleep 5
  done
  echo "$status, not $1: ${*:2}"
  return 1
}

case "$command" in
  save)
    : >"$3"
    # Nothing has traffic before the first deployment.
    aws cloudformation describe-stacks --stack-name "$stack" >/dev/null 2>&1 || exit 0
    for alias in $(aliases); do
      version="$(aws lambda get-alias --function-name "${alias%:*}" --name "${alias##*:}" --query FunctionVersion --output text)"
      echo "$alias $version" >>"$3"
    done
    ;;
  restore)
    while read -r alias version; do
      aws lambda update-alias --function-name "${alias%:*}" --name "${alias##*:}" --function-version "$version" \
        --routing-config '{"AdditionalVersionWeights":{}}' >/dev/null
      echo "$alias has version $version again"
    done <"$3"
    ;;
  check)
    api="$(output ApiUrl)"
    answers 200 "$api/health"
    answers 200 "$api/openapi.json"
    answers 200 "$api/console"
    answers 401 "$api/v1/connections"
    answers 204 --request POST "$api/webhooks/drive"
    ;;
  *)
    echo "unknown: $command"
    exit 2
    ;;
esac
