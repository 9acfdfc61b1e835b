#!/bin/sh
# Runs each fuzz target for some seconds, one after the other on one core: `fuzz/run.sh 120`, or 60 seconds each.
# Stops at the first finding; the input that shows it is then in `fuzz/artifacts`.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
command -v cargo-fuzz > /dev/null || cargo install --locked cargo-fuzz
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    # What is new goes into the first folder; the corpus in git stays small.
    mkdir -p "found/$name"
    echo "== $name"
    cargo +nightly fuzz run --fuzz-dir . "$name" "found/$name" "corpus/$name" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=15 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0
done
