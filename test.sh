#!/usr/bin/env bash
# Runs all tests: formatting, lints, documentation, the public API and Rust tests; and against the servers of this
# repository the official JavaScript clients in Node and in a browser, a TypeScript frontend and a Python client, and
# clusters with servers of Node.js. Beside those, it counts the instructions of messages and of hostile input. Installs
# missing packages: of npm and PyPI, and Chromium, valgrind, nginx, HAProxy, nftables, Redis, NATS, Postgres and Prometheus where apt-get
# exists.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }

need() {
  command -v "$1" >/dev/null || { echo "test.sh: $1 is missing: $2" >&2; exit 1; }
}
need cargo "install Rust, https://rustup.rs"
need npm "install Node.js 20 or newer, npm comes with it"
need python3 "install Python 3.10 or newer, with its module venv"

for program in chromium valgrind nginx haproxy redis-server nats-server nftables postgresql prometheus; do
  # Postgres is installed in a folder of its version, and nftables has another name.
  [ "$program" != postgresql ] || ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || continue
  [ "$program" != nftables ] || [ ! -x /usr/sbin/nft ] || continue
  [ ! -x "/usr/bin/$program" ] && [ ! -x "/usr/sbin/$program" ] || continue
  step "installing $program"
  need apt-get "install $program as /usr/bin/$program by hand"
  as_root=$([ "$(id -u)" -eq 0 ] || echo sudo)
  $as_root apt-get update -qq
  $as_root apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$program" >/dev/null
done

log=$(mktemp -d)
jobs=()
trap 'kill "${jobs[@]}" 2>/dev/null || true; rm -rf "$log"' EXIT

# Runs a function beside the steps that follow, until `finish` waits for it and prints its output.
beside() {
  "$1" >"$log/$1" 2>&1 &
  jobs+=($!)
}
finish() {
  local status=0
  wait "$2" || status=$?
  cat "$log/$1"
  return "$status"
}

packages() {
  for folder in examples/client-files examples/typed-chat interop-tests; do
    (cd "$folder" && npm ci --no-audit --no-fund --ignore-scripts --silent)
  done
  cd interop-tests/python
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
}

# The tests of the engine again, with hyper serving every request.
without_short_path() {
  local tests
  tests=$(cargo test --workspace --test it --no-run --quiet --message-format=json |
    sed -n '/#engineio@/s/.*"executable":"\([^"]*\)".*/\1/p')
  (cd engine && SHORT_PATH=off "$tests")
}

# Soak tests mostly wait. They measure the buffers of the kernel, so there are no other sockets meanwhile.
soak() {
  cargo test --workspace --test soak --quiet -- --ignored --test-threads=1
}

# Other processes do not change the counts, so this runs beside tests that mostly wait.
instructions() {
  # The lints are done.
  unset RUSTC_WORKSPACE_WRAPPER
  nice cargo build --profile counted --package instruction-counts --bins --quiet
  nice target/counted/hot-paths check
  nice target/counted/attack-costs check
}

beside packages
packages=$!

# As `cargo clippy` does, but the lints come from the build of the tests, so that dependencies are built once.
export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__

# A compilation from nothing takes a fifth less without files for the next one, and a tenth less without lines for backtraces.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0

step "formatting, lints, and building the tests"
cargo fmt --all --check
cargo test --workspace --no-run --quiet
# The other servers that the clients below use are built with the tests of their packages. A test is selected here so that
# dependencies have the same features as above and are not built again.
cargo build --workspace --bin chat --bin graceful-restart --bin live-room --bin metrics-example --bin public-api-list --test soak --quiet

step "Rust tests"
# Many tests wait for real time, and a thread that waits costs nothing.
export RUST_TEST_THREADS=4
beside without_short_path
without_short_path=$!
beside instructions
instructions=$!
cargo test --workspace --quiet
finish without_short_path "$without_short_path"

# Not beside the clients, whose tests have deadlines.
step "a server under load; the engine without features, documentation, the public API, and the packages"
beside soak
soak=$!
# Features of one package are on for the whole workspace, so the engine is tested without them separately.
nice -n 19 cargo test --package engineio --lib --quiet
nice -n 19 target/debug/public-api-list check
nice -n 19 cargo publish --workspace --dry-run --no-verify --quiet
finish soak "$soak"

finish packages "$packages"

step "official clients and clusters"
export PROFILE=debug
(cd interop-tests && npm test)

step "an independent client, python-socketio"
(cd interop-tests/python && .venv/bin/python -m unittest)

step "the instructions of messages and of hostile input"
finish instructions "$instructions"

step "done"
