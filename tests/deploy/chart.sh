#!/usr/bin/env bash
# Builds what tests the Helm chart and the workflows, in .cache/tools, and prints
# the variable that names its folder. It comes from a module of its own,
# tests/tools, so that weir's stays short:
#
#   eval "$(tests/deploy/chart.sh)"
#   go test ./tests/deploy
#   go test ./tests/deploy -run Chart -update     # writes the golden files anew
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/.cache/tools
mkdir -p "$out"
# For this machine, without what only debuggers read
(cd "$root/tests/tools" && env -u GOOS -u GOARCH CGO_ENABLED=0 GOFLAGS="-buildvcs=false -gcflags=all=-dwarf=false -ldflags=-s" \
  go build -o "$out/" ./chart github.com/rhysd/actionlint/cmd/actionlint >&2)
"$out/chart" schemas "$out/schemas" >&2
printf 'export WEIR_TEST_TOOLS=%q\n' "$out"
