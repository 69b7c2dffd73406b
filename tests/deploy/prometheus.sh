#!/usr/bin/env bash
# Finds Prometheus and promtool, or unpacks Debian's package into .cache/ (nothing is installed or started), and
# prints the variable that names their folder:
#
#   eval "$(tests/deploy/prometheus.sh)"
#   go test ./tests/deploy
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/prometheus
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

if path=$(command -v promtool) && command -v prometheus >/dev/null; then
  dir=${path%/*}
else
  dir=$cache/usr/bin
  if [ ! -x "$dir/promtool" ] || [ ! -x "$dir/prometheus" ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    chmod 755 "$scratch" # apt downloads as the user _apt
    echo "deploy: fetching Prometheus" >&2
    root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    (cd "$scratch" && apt-get download -qq prometheus >&2)
    rm -rf "$cache" && mkdir -p "$cache"
    dpkg-deb -x "$scratch"/prometheus_*.deb "$cache"
  fi
fi
printf 'export WEIR_TEST_PROMETHEUS=%q\n' "$dir"
