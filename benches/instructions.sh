#!/bin/sh
# Instructions per operation, counted by valgrind: the same on every machine and under any load.
#
#     benches/instructions.sh             every side, values of 100 bytes and 1 KiB
#     benches/instructions.sh put 100     only puts of 100 bytes
#     benches/instructions.sh put 100 "floor quorate quorate-64 quorate-1024"
#
# Each side runs twice, with FEW and with MANY operations; the difference leaves out the start and the warm-up.
# Each is compared with the floor before it: `quorate` and `nodes` with the floor by direct calls, `nodes-messages`
# with the floor by encoded messages.
set -eu

FEW=${FEW:-2000}
MANY=${MANY:-10000}
operations=${1:-put get}
values=${2:-100 1024}
sides=${3:-floor quorate nodes floor-messages nodes-messages}

if ! command -v valgrind > /dev/null; then
    echo "valgrind is not installed: nothing was counted"
    exit 0
fi
cd "$(dirname "$0")/.."
program=$(cargo bench --bench floor --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\)).*/\1/p')
if [ -z "$program" ]; then
    echo "the benchmark was not built: try cargo bench --bench floor --no-run" >&2
    exit 1
fi

# count SIDE OPERATION TIMES VALUE
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" --count "$@" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

printf '%-5s %6s  %-15s %14s %8s\n' '' value side instructions 'x floor'
for operation in $operations; do
    for value in $values; do
        floor=0
        for side in $sides; do
            few=$(count "$side" "$operation" "$FEW" "$value")
            many=$(count "$side" "$operation" "$MANY" "$value")
            each=$(((many - few) / (MANY - FEW)))
            case $side in floor*) floor=$each ;; esac
            ratio=$(awk "BEGIN { if ($floor) printf \"%.2f\", $each / $floor; else print \"-\" }")
            printf '%-5s %6s  %-15s %14s %8s\n' "$operation" "$value" "$side" "$each" "$ratio"
        done
    done
done
