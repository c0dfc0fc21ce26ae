#!/bin/bash
# The loops of `cluster --bench` against Redis with one replica and etcd with three members, on this machine, in one run
# with quorate's. Takes Debian's redis-server and etcd-server, and quorate's examples node and cluster, built before:
#
#     cargo build --release --features redb,tls --example node --example cluster
#     examples/cluster/peers.sh [SECONDS]
#
# "synced" waits for the disk before each acknowledgement, as etcd always does; "a second late" syncs once a second (Redis'
# everysec).
set -euo pipefail
seconds=${1:-5}
program=${CARGO_TARGET_DIR:-target}/release/examples/cluster
work=$(mktemp -d -p "${DIRECTORY:-target}")
trap 'kill $(jobs -p) 2> /dev/null; wait 2> /dev/null; rm -rf "$work"' EXIT

redis() {
    mkdir "$work/redis-$1"
    for port in 17001 17002; do
        mkdir "$work/redis-$1/$port"
        replica=()
        if [ $port = 17002 ]; then replica=(--replicaof 127.0.0.1 17001); fi
        redis-server --port $port --bind 127.0.0.1 --save '' --appendonly yes --appendfsync "$1" \
            --dir "$work/redis-$1/$port" "${replica[@]}" > /dev/null &
        pids[$port]=$!
    done
    until redis-cli -p 17001 info replication 2> /dev/null | grep -q state=online; do sleep 0.2; done
    echo "== Redis, appendfsync $1, each write waits for the replica"
    "$program" --redis 127.0.0.1:17001 --processes "${pids[17001]},${pids[17002]}" --seconds "$seconds"
    kill "${pids[17001]}" "${pids[17002]}"
    wait "${pids[17001]}" "${pids[17002]}" 2> /dev/null || true
}

etcd_three() {
    peers=a=http://127.0.0.1:17101,b=http://127.0.0.1:17102,c=http://127.0.0.1:17103
    members=()
    for at in 1 2 3; do
        name=$(printf 'abc' | cut -c$at)
        etcd --name "$name" --data-dir "$work/etcd/$name" --initial-cluster $peers --initial-cluster-state new \
            --listen-peer-urls http://127.0.0.1:1710$at --initial-advertise-peer-urls http://127.0.0.1:1710$at \
            --listen-client-urls http://127.0.0.1:1720$at --advertise-client-urls http://127.0.0.1:1720$at \
            --log-level error > "$work/etcd-$name.log" 2>&1 &
        members+=($!)
    done
    until curl -sf http://127.0.0.1:17201/health > /dev/null; do sleep 0.2; done
    echo "== etcd, three members, synced, by its JSON gateway"
    "$program" --etcd 127.0.0.1:17201,127.0.0.1:17202,127.0.0.1:17203 \
        --processes "$(IFS=,; echo "${members[*]}")" --seconds "$seconds"
    kill "${members[@]}"
    wait "${members[@]}" 2> /dev/null || true
}

echo "== quorate, synced"
"$program" --bench --seconds "$seconds" --directory "$work/quorate"
echo "== quorate, a second late"
"$program" --bench --durability memory --seconds "$seconds" --directory "$work/quorate"
redis always
redis everysec
etcd_three
