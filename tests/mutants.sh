#!/usr/bin/env bash
# Which lines does no test hold? One module at a time, against that module's own tests:
#
#   tests/mutants.sh dots [--list, --shard 0/4, -F REGEX or anything else that cargo-mutants takes]
#   tests/mutants.sh              all of them, one after the other
#
# The whole crate takes too long to be built for each of a thousand mutants: a module is built with the floors below it
# alone, as a crate of its own in target/mutants. What came out is in target/mutants/MODULE/mutants.out. A run that was
# stopped goes on where it was, and tries again what no test caught; remove the directory to start anew.
set -euo pipefail
cd "$(dirname "$0")/.."

words="bytes ids mutant wire dots"
causality="$words config error hash time names causality"
declare -A floors=(
    [wire]="mutant wire"
    [dots]="$words"
    [verdict]="verdict"
    [causality]="$causality"
    [ring]="ids mutant wire hash ring"
    [message]="$causality key merkle message"
    [codec]="$causality key merkle message codec"
    [hint]="$causality key storage hint"
    [coordinate]="$causality key merkle message ring time detector verdict coordinate"
)
# Tests that take more time than all others of their module: only what those miss is shown to these. They are optimized
# for it, which the others would not repay.
declare -A slow=(
    [causality]="laws:: controls:: model:: a_cut_that_keeps"
    [ring]="small_clusters the_largest_numbers golden_plans from_owners_checks what_a_forged"
    [coordinate]="definition_says that_count"
)
out=${CARGO_TARGET_DIR:-target}/mutants
mkdir -p "$out"
out=$(cd "$out" && pwd)

make_crate() {
    local module=$1 crate=$2 level=$3
    rm -rf "$crate"
    mkdir -p "$crate/src"
    # What the floors above use is dead here.
    echo '#![allow(dead_code, unused_imports)]' > "$crate/src/lib.rs"
    for floor in ${floors[$module]}; do
        if [ -d "src/$floor" ]; then cp -r "src/$floor" "$crate/src"; else cp "src/$floor.rs" "$crate/src"; fi
        echo "pub mod $floor;" >> "$crate/src/lib.rs"
    done
    {
        printf '[package]\nname = "floors-of-%s"\nversion = "0.0.0"\nedition = "2024"\n' "$module"
        printf '\n[lib]\ndoctest = false\n\n[workspace]\n\n[features]\nmutants = []\n\n[dependencies]\n'
        sed -n '/^\[dependencies\]/,/^\[/p' Cargo.toml | grep -E '^[a-z]' | grep -v 'optional = true'
        printf '\n[dev-dependencies]\n'
        grep -E '^proptest ' Cargo.toml
        printf '\n[profile.test]\nopt-level = %s\ndebug = 0\nincremental = true\n' $level
        printf '\n[profile.test.package."*"]\nopt-level = 3\n'
    } > "$crate/Cargo.toml"
    cp Cargo.lock "$crate"
    # What runs in circles is ended after so many seconds of its own, not of a machine that may be busy; what takes ever
    # more memory too.
    mkdir "$crate/.cargo"
    printf '[target."cfg(all())"]\nrunner = ["bash", "-c", "ulimit -t 30 -v 4000000; exec \\"$0\\" \\"$@\\""]\n' \
        > "$crate/.cargo/config.toml"
}

run() {
    local module=$1 files=src/$1.rs skipped=()
    shift
    if [ -d "src/$module" ]; then files="src/$module/**/*.rs"; fi
    if [ -n "${slow[$module]-}" ]; then
        for test in ${slow[$module]}; do skipped+=(--skip "$test"); done
        make_crate "$module" "$out/$module/crate" 0
        mutate "$module" -f "$files" "$@" -- --lib "$module::" -- "${skipped[@]}" || true
    fi
    make_crate "$module" "$out/$module/crate" $((${#skipped[@]} > 0))
    mutate "$module" -f "$files" "$@" -- --lib "$module::"
}

mutate() {
    local module=$1
    shift
    # The deliberate faults of `src/mutant.rs` are switched off here: what they would do, no test sees.
    # A failure that proptest would make smaller is a failure. A mutant that runs in circles is ended, and counts.
    (cd "$out/$module/crate" && CARGO_TARGET_DIR=$out/build PROPTEST_MAX_SHRINK_ITERS=0 \
        PROPTEST_FAILURE_PERSISTENCE=off cargo mutants --in-place --baseline skip --build-timeout 3000 --no-shuffle \
        --colors never --iterate --timeout 1800 -E 'mutant::is|drop_another' -o "$out/$module" "$@")
}

if [ $# -gt 0 ]; then
    run "$@"
else
    # It ends with an error where a mutant was missed.
    for module in wire dots verdict causality ring message codec hint coordinate; do run "$module" || true; done
fi
