#!/usr/bin/env bash
# All checks. With CI set, it installs and starts everything it needs on a fresh machine. Without, it uses the servers
# that the environment names (see tests/integration/servers.sh) and skips tests that lack one, with a printed reason.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOFLAGS="${GOFLAGS:--buildvcs=false}"

step() { printf '\n== %s\n' "$*"; }

install_strace() { # for tests that check fsync calls
  command -v strace >/dev/null && return
  local root=""
  [ "$(id -u)" = 0 ] || root="sudo -n"
  $root apt-get update -qq && $root apt-get install -y -qq strace
}

# install_all downloads what the steps below need. A failure is ignored here: the steps try again, and report it.
install_all() {
  tests/integration/servers.sh install || true
  install_strace || true
  tests/browser/tools.sh || true
  tests/deploy/prometheus.sh || true
  tests/integration/venv.sh || true
}

if [ "${CI:-}" ]; then # downloads mostly wait for the network: in parallel with the compiler
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
  WEIR_TEST_DIR=$(mktemp -d) # a new folder, without the servers of an earlier run
  chmod 755 "$WEIR_TEST_DIR" # PostgreSQL runs as another user
  export WEIR_TEST_DIR
  beside= # the process group of what runs beside, with its servers
  stop_all() {
    [ -z "$beside" ] || kill -- "-$beside" 2>/dev/null || true
    WEIR_TEST_DIR=$WEIR_TEST_DIR/lone tests/integration/servers.sh stop
    tests/integration/servers.sh stop
    rm -rf "$WEIR_TEST_DIR"
  }
  trap stop_all EXIT
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
# SQLite is translated from C. Its code is not instrumented, which would make it twenty times slower; its callers are.
race=(-race '-gcflags=modernc.org/...=-race=false -dwarf=false' -ldflags=-s)
# The packages in alone measure, so they run one at a time. Of the others two run at a time; reverse order starts the
# longest first.
scenarios=$(go list ./tests/scenarios)
alone=$(go list ./internal/platform/exporter ./plugins/ingest/gate ./tests/bench)
others=$(go list ./... | grep -vxF -e "$alone" -e "$scenarios" | sort -r)
export WEIR_BINARY="$PWD/bin/weir"
GOGC=off GOMEMLIMIT=1GiB go build "${race[@]}" ./...
failed=
# The laws only read code: the race detector would slow them down for nothing.
CGO_ENABLED=0 go test -run '^TestLaws_' ./plugins || failed=1
go test "${race[@]}" -skip '^TestLaws_' -p 2 -timeout 30m $others || failed=1
go test "${race[@]}" -p 1 -timeout 20m $alone || failed=1
# Scenarios mostly wait, so three run at a time. Those that stop the servers run beside the others, one after another,
# on servers of their own; without CI there is but one set of servers, and nothing runs beside.
lone='^Test(Cluster|Faults)_'
run_scenarios() { go test "${race[@]}" -parallel 3 -timeout 60m "$@" $scenarios; }
if [ "${CI:-}" ]; then
  set -m # a process group for what runs beside: what it leaves is stopped by it
  (
    export WEIR_TEST_DIR=$WEIR_TEST_DIR/lone
    tests/integration/servers.sh start postgres redis kafka s3 >/dev/null
    eval "$(tests/integration/servers.sh env)"
    run_scenarios -run "$lone"
  ) </dev/null &
  beside=$!
  set +m
  run_scenarios -skip "$lone" || failed=1
  wait "$beside" || failed=1
else
  run_scenarios || failed=1
fi
for module in collation gojson zstd; do # modules that replace others
  (cd "internal/$module" && go test ./...) || failed=1
done
[ -z "$failed" ]
