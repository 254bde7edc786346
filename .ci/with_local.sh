# Sourced: starts a whole system on free ports with `shared` as its library, AWS's services included, and waits until it
# is synced. `$work` is a folder of its own, `$work/out` what it prints, `$system` its process. It ends with the shell.
cargo build --quiet -p local
work="$(mktemp -d)"
"${CARGO_TARGET_DIR:-target}/debug/local" --json --no-content --serve-aws --api-addr 127.0.0.1:0 --drive-addr 127.0.0.1:0 \
  --limits requests_per_second=100000,reads_per_minute=100000000 --library shared --data-dir "$work/data" >"$work/out" 2>"$work/err" &
system=$!
trap 'kill "$system" 2>/dev/null || true; wait "$system" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 1 600); do
  grep -q '"event":"synced"' "$work/out" && break
  kill -0 "$system" 2>/dev/null || { cat "$work/err"; exit 1; }
  sleep 0.1
done
grep -q '"event":"synced"' "$work/out" || { echo "the system did not start:"; cat "$work/out" "$work/err"; exit 1; }
