#!/usr/bin/env bash
# Builds our promises server and those of the other implementations, and prints which of them keeps which promise.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../target}

cargo build --release --quiet --package interop-tests --bin promises
cargo build --release --quiet --locked --manifest-path socketioxide/Cargo.toml --target-dir "$target/socketioxide"
(cd .. && npm ci --no-audit --no-fund --ignore-scripts --silent)
(cd node && npm ci --no-audit --no-fund --ignore-scripts --silent)

socketioxide=$(cargo pkgid --manifest-path socketioxide/Cargo.toml socketioxide)
node=$(node --print 'require("./node/node_modules/socket.io/package.json").version')
date --utc +%F
node compare.mjs \
  "here=$target/release/promises" \
  "socketioxide ${socketioxide##*[#@]}=$target/socketioxide/release/socketioxide-promises" \
  "socket.io $node=node node/server.mjs"
