#!/usr/bin/env bash
# Runs redis-benchmark against redis_server and against redis-server in turn, and prints both with their ratio.
#
#   bash examples/redis_server/redis_benchmark.sh [REQUESTS] [CLIENTS]
#
# Needs redis-server and redis-benchmark (Debian: redis-server and redis-tools). Keys are drawn from 100,000, values have
# 64 bytes. redis-server is one node in memory without a log; redis_server writes each key to three of five nodes and
# waits for two of them.
set -euo pipefail
cd "$(dirname "$0")/../.."

requests=${1:-100000} clients=${2:-50}
target=${CARGO_TARGET_DIR:-target}
cargo build --release --example redis_server
home=$(mktemp -d)

: >"$home/ours.log"
"$target/release/examples/redis_server" --port 0 >"$home/ours.log" &
ours=$!
trap 'kill "$ours" ${theirs:-}; rm -r "$home"' EXIT
until port=$(sed -n 's/^redis_server: .* on 127\.0\.0\.1://p' "$home/ours.log") && [[ $port ]]; do
    kill -0 "$ours" || exit 1
    read -r -t 0.1 <> <(:) || true
done
# A port that nobody uses: the next one, unless it is taken; then redis-server says so.
their_port=$((port + 1))
redis-server --port "$their_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$home" >"$home/theirs.log" &
theirs=$!
until redis-cli -p "$their_port" ping >/dev/null 2>&1; do
    kill -0 "$theirs" || { cat "$home/theirs.log"; exit 1; }
done

# Requests a second of a test, out of "test","rps",… lines.
bench() {
    redis-benchmark -h 127.0.0.1 -p "$1" -t "$2" -n "$requests" -c "$clients" -P "$3" -r 100000 -d 64 --csv 2>/dev/null |
        tail -n +2 | sed -E 's/^"([^"]*)","([^"]*)".*"([^"]*)","[^"]*","[^"]*"$/\1\t\2/'
}

printf '%-24s %4s %12s %12s %7s\n' test P redis_server redis-server ratio
for pipeline in 1 16; do
    for test in ping_mbulk set get incr mset; do
        # It stops at the first error that it is told.
        mine=$(bench "$port" "$test" "$pipeline" | cut -f 2) || mine=0
        name_and_rate=$(bench "$their_port" "$test" "$pipeline")
        yours=$(cut -f 2 <<<"$name_and_rate")
        awk -v name="$(cut -f 1 <<<"$name_and_rate")" -v p="$pipeline" -v mine="$mine" -v yours="$yours" \
            'BEGIN { printf "%-24s %4d %12d %12d %7.3f\n", name, p, mine, yours, mine / yours }'
    done
done
