#!/usr/bin/env bash
# make bench: measures weir on this machine and writes the results into tests/bench/README.md. Arguments are passed
# on: -only latency,peers -scale 0.2
set -euo pipefail
cd "$(dirname "$0")/../.."
exec go run ./tests/bench --binary bin/weir "$@"
