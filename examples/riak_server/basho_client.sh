#!/usr/bin/env bash
# Runs the tests of Basho's own Python client (PyPI riak 2.7.0, of 2016) against riak_server, and prints the tally.
#
#   bash examples/riak_server/basho_client.sh [--chaos SECONDS] [--rounds ROUNDS] [MODULE...]
#
# Modules are those of the client's tests, test_kv by default. Needs Python 3 (tried with 3.11) and PyPI; everything is
# put below target/. The client is of another age: a few names that Python has dropped since are given back to it
# (sitecustomize.py). The client and its tests stay as they are.
set -euo pipefail
cd "$(dirname "$0")/../.."

chaos=() rounds=1 modules=()
while (($#)); do
    case $1 in
        --chaos) chaos=(--chaos "$2"); shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        *) modules+=("$1"); shift ;;
    esac
done
((${#modules[@]})) || modules=(test_kv)

target=${CARGO_TARGET_DIR:-target}
cargo build --release --example riak_server
mkdir -p "$target"
home=$(cd "$target" && pwd)/basho_client
if [[ ! -e $home/ready ]]; then
    rm -rf "$home"
    python3 -m venv "$home"
    "$home/bin/python" -m pip install --quiet setuptools wheel six basho-erlastic python3-protobuf==2.5.0
    # The tests are in the source archive, and it is used from there.
    "$home/bin/python" -m pip download --quiet --no-deps --no-binary :all: --no-build-isolation --dest "$home" riak==2.7.0
    tar -xzf "$home/riak-2.7.0.tar.gz" -C "$home"
    cp examples/riak_server/sitecustomize.py "$("$home/bin/python" -c 'import site; print(site.getsitepackages()[0])')"
    touch "$home/ready"
fi

log=$home/server.log
: >"$log"
"$target/release/examples/riak_server" --port 0 "${chaos[@]}" >"$log" &
server=$!
trap 'kill "$server"' EXIT
until port=$(sed -n 's/^riak_server: .* on 127\.0\.0\.1://p' "$log") && [[ $port ]]; do
    kill -0 "$server" || exit 1
    read -r -t 0.1 <> <(:) || true
done

export RIAK_TEST_PB_PORT=$port RIAK_TEST_PROTOCOL=pbc
export RUN_KV=1 RUN_RESOLVE=1 RUN_CLIENT=1 RUN_POOL=1 RUN_BTYPES=1
cd "$home/riak-2.7.0"
status=0
for ((round = 1; round <= rounds; round++)); do
    for module in "${modules[@]}"; do
        output=$home/$module.$round.log
        "$home/bin/python" -W ignore -m unittest -v "riak.tests.$module" >"$output" 2>&1 || status=1
        awk -v module="$module" -v round="$round" '
            / \.\.\. ok$|^ok$/ { passed++ }
            / \.\.\. skipped|^skipped / { skipped++ }
            /^(FAIL|ERROR): / { failed = failed "\n    " $0 }
            /^Ran / { ran = $2 }
            END { printf "%s, round %d: %d of %d passed, %d skipped%s\n", module, round, passed, ran, skipped, failed }
        ' "$output"
    done
done
grep '^chaos' "$log" | tail -1 || true
echo "What the tests say: $home/*.log"
exit "$status"
