#!/usr/bin/env bash
# Runs every test: formatting, lints, documentation, Rust tests, and against our servers the official JavaScript
# clients, in Node and in a browser, a frontend in TypeScript, and a client in Python; and counts what a message costs.
# Installs what is missing: packages of npm and PyPI, and Chromium and valgrind where apt-get is there.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }

need() {
  command -v "$1" >/dev/null || { echo "test.sh: $1 is missing: $2" >&2; exit 1; }
}
need cargo "install Rust, https://rustup.rs"
need npm "install Node.js 20 or newer, npm comes with it"
need python3 "install Python 3.10 or newer, with its module venv"

for program in chromium valgrind; do
  [ ! -x "/usr/bin/$program" ] || continue
  step "installing $program"
  need apt-get "install $program as /usr/bin/$program by hand"
  as_root=$([ "$(id -u)" -eq 0 ] || echo sudo)
  $as_root apt-get update -qq
  $as_root apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$program" >/dev/null
done

step "formatting and lints"
cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --features socketio/typescript --no-deps --quiet

# Among them the program of `examples/table-game`, which an official client drives below.
step "Rust tests"
cargo test --workspace --quiet
# The workspace turns the feature `compression` on for all.
cargo test --package engineio --quiet

step "the servers that are checked from outside"
cargo build --release --package interop-tests --package chat --bins --quiet

step "the instructions of the hot paths"
target/release/hot-paths check

step "what the bytes of a client cost"
target/release/attack-costs check

step "official clients"
(cd examples/chat && npm ci --no-audit --no-fund --ignore-scripts --silent)
(cd examples/typed-chat && npm ci --no-audit --no-fund --ignore-scripts --silent)
cd interop-tests
npm ci --no-audit --no-fund --ignore-scripts --silent
npm test

step "an independent client, python-socketio"
cd python
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
.venv/bin/python -m unittest
