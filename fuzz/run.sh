#!/bin/sh
# Runs the fuzz targets one after the other on one core, each for 60 seconds or for the given number of seconds:
# `fuzz/run.sh 120`. Stops at the first finding and leaves its input in `fuzz/artifacts`.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
command -v cargo-fuzz > /dev/null || cargo install --locked cargo-fuzz
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    # New inputs are written to the first folder, which keeps the corpus in git small.
    mkdir -p "found/$name"
    echo "== $name"
    cargo +nightly fuzz run --fuzz-dir . "$name" "found/$name" "corpus/$name" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=15 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0
done
