#!/usr/bin/env bash
# Builds the tools that test the Helm chart and the workflows into .cache/tools, and prints the variable that names
# this folder. They are a module of their own, tests/tools, so that weir's list of dependencies stays short:
#
#   eval "$(tests/deploy/chart.sh)"
#   go test ./tests/deploy
#   go test ./tests/deploy -run Chart -update     # rewrites the golden files
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/.cache/tools
mkdir -p "$out"
# For this machine, without debug information.
(cd "$root/tests/tools" && env -u GOOS -u GOARCH CGO_ENABLED=0 GOFLAGS="-buildvcs=false -gcflags=all=-dwarf=false -ldflags=-s" \
  go build -o "$out/" ./chart github.com/rhysd/actionlint/cmd/actionlint >&2)
"$out/chart" schemas "$out/schemas" >&2
printf 'export WEIR_TEST_TOOLS=%q\n' "$out"
