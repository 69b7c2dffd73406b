#!/usr/bin/env bash
# Finds Chromium and axe-core (which checks accessibility), installs what is missing, and prints the variables that
# name them:
#
#   eval "$(tests/browser/tools.sh)"
#   go test ./tests/browser
#
# Chromium is installed by apt, axe-core by npm into .cache/, checked against the checksum below.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache
axe_version=4.14.1
axe_sum=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c

say() { echo "browser: $*" >&2; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
apt_install() {
  say "installing $*"
  root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

chromium=${WEIR_TEST_CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$chromium" ]; then
  apt_install chromium
  chromium=$(command -v chromium)
fi

axe=$cache/axe-core-$axe_version/axe.min.js
right() { echo "$axe_sum  $1" | sha256sum --check --status 2>/dev/null; }
if ! right "$axe"; then
  command -v npm >/dev/null || apt_install npm
  say "fetching axe-core $axe_version"
  mkdir -p "${axe%/*}"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  for try in 1 2 3; do
    (cd "$scratch" && npm pack --silent "axe-core@$axe_version" >&2) && break
    [ "$try" != 3 ] || { say "axe-core $axe_version cannot be had"; exit 1; }
    sleep 2
  done
  tar -xzf "$scratch/axe-core-$axe_version.tgz" -C "$scratch" package/axe.min.js
  right "$scratch/package/axe.min.js" || { say "axe-core $axe_version is not what it was: its sum differs"; exit 1; }
  mv "$scratch/package/axe.min.js" "$axe"
fi

printf 'export WEIR_TEST_CHROMIUM=%q\n' "$chromium"
printf 'export WEIR_TEST_AXE=%q\n' "$axe"
