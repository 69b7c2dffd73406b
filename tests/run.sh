#!/usr/bin/env bash
# Everything that must hold. On a fresh machine it installs and starts what it
# needs; without CI=true it uses the servers that are already named in the
# environment (see tests/integration/servers.sh) and skips, with a printed
# reason, what needs one that is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOFLAGS="${GOFLAGS:--buildvcs=false}"

step() { printf '\n== %s\n' "$*"; }

install_strace() { # proves what is synced, and when
  command -v strace >/dev/null && return
  local root=""
  [ "$(id -u)" = 0 ] || root="sudo -n"
  $root apt-get update -qq && $root apt-get install -y -qq strace
}

# install_all fetches what the steps below need. What fails they try again, and say.
install_all() {
  tests/integration/servers.sh install || true
  install_strace || true
  tests/browser/tools.sh || true
  tests/deploy/prometheus.sh || true
  tests/integration/venv.sh || true
}

if [ "${CI:-}" ]; then # downloads wait for others: beside the compiler
  install_all >/dev/null 2>&1 </dev/null &
  installing=$!
  trap 'wait "$installing"' EXIT
fi

step "build, vet, lint"
make --no-print-directory lint

step "configs"
tests/configs.sh bin/weir

if [ "${CI:-}" ]; then
  step "known vulnerabilities"
  tests/vuln.sh

  step "servers"
  wait "$installing" || true
  WEIR_TEST_DIR=$(mktemp -d) # of this run: what an earlier one left behind is none of its business
  chmod 755 "$WEIR_TEST_DIR" # PostgreSQL runs as a user of its own
  export WEIR_TEST_DIR
  trap 'tests/integration/servers.sh stop; rm -rf "$WEIR_TEST_DIR"' EXIT
  tests/integration/servers.sh start
  eval "$(tests/integration/servers.sh env)"

  step "tools"
  install_strace
  browser=$(tests/browser/tools.sh)
  eval "$browser"
  prometheus=$(tests/deploy/prometheus.sh)
  eval "$prometheus"
  tools=$(tests/deploy/chart.sh)
  eval "$tools"
  python=$(tests/integration/venv.sh)
  tests/deploy.sh "${python%/*}"
  export WEIR_TEST_CONFLUENT_PYTHON="$python" WEIR_TEST_SCHEMATHESIS="${python%/*}/schemathesis"
fi

step "tests, with the race detector"
# SQLite is C that was translated: nothing in it is weir's, and watching each of its
# accesses takes twenty times as long as what it does. What calls it is watched.
race=(-race '-gcflags=modernc.org/...=-race=false -dwarf=false' -ldflags=-s)
# These measure: one at a time. The others, two abreast: what takes longest begins first.
scenarios=$(go list ./tests/scenarios)
alone=$(go list ./internal/platform/exporter ./plugins/ingest/gate ./tests/bench)
others=$(go list ./... | grep -vxF -e "$alone" -e "$scenarios" | sort -r)
export WEIR_BINARY="$PWD/bin/weir"
GOGC=off GOMEMLIMIT=1GiB go build "${race[@]}" ./...
failed=
# The laws read code and start nothing: the race detector would only make them slow.
CGO_ENABLED=0 go test -run '^TestLaws_' ./plugins || failed=1
go test "${race[@]}" -skip '^TestLaws_' -p 2 -timeout 30m $others || failed=1
go test "${race[@]}" -p 1 -timeout 20m $alone || failed=1
go test "${race[@]}" -parallel 3 -timeout 60m $scenarios || failed=1 # they wait more than they compute
for module in collation gojson zstd; do # each takes another's name
  (cd "internal/$module" && go test ./...) || failed=1
done
[ -z "$failed" ]
