#!/usr/bin/env bash
# Builds the servers, the load generator and the runner, then starts the runner. See bench/run.sh --help.
set -euo pipefail
cd "$(dirname "$0")"

need() { command -v "$1" >/dev/null || { echo "run.sh: $1 is missing: $2" >&2; exit 1; }; }
need cargo "install Rust, https://rustup.rs"
for tool in setsid setpriv taskset; do need "$tool" "it is part of util-linux, and this needs Linux"; done

# Both workspaces share one target directory. Everything is built with the release profile.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release --quiet --manifest-path ../Cargo.toml --package interop-tests --bin bench-server
cargo build --release --quiet --bins
for peer in node bun; do
  command -v npm >/dev/null && [ ! -d "$peer/node_modules" ] || continue
  (cd "$peer" && npm ci --no-audit --no-fund --ignore-scripts --silent)
done
exec "$CARGO_TARGET_DIR/release/run" "$@"
