#!/bin/sh
# rustdoc writes JSON only with unstable options. The variable is set for rustdoc alone: for all of cargo, it would
# rebuild dependencies.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
