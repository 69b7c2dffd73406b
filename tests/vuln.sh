#!/usr/bin/env bash
# Searches for known vulnerabilities in the code that weir calls: its dependencies, and the standard library of the Go
# version in the Dockerfile. It fails for vulnerabilities that tests/vuln_allowed.txt does not list with a reason. If
# the tool or the database cannot be downloaded, it says that it has not searched, and succeeds. The database is the
# module golang.org/x/vulndb, or what WEIR_VULN_DB names (file:///… of a folder with OSV files, or
# https://vuln.go.dev).
set -euo pipefail
cd "$(dirname "$0")/.."
tool=golang.org/x/vuln/cmd/govulncheck@v1.9.0
allowed=tests/vuln_allowed.txt

skip() { echo "vulnerabilities: NOT LOOKED FOR: $*"; exit 0; }

release=go$(sed -n 's/^FROM golang:\([0-9.]*\)-.* AS build$/\1/p' Dockerfile)
[ "$release" != go ] || { echo "vulnerabilities: Dockerfile does not say which Go it builds with"; exit 1; }
GOTOOLCHAIN=$release go version >/dev/null 2>&1 || skip "$release, which Dockerfile builds with, cannot be had"
export GOTOOLCHAIN=$release
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
CGO_ENABLED=0 GOBIN="$scratch" go install "$tool" 2>"$scratch/errors" || skip "$tool cannot be had: $(tail -1 "$scratch/errors")"

db=${WEIR_VULN_DB:-}
if [ -z "$db" ]; then
  dir=$(cd "$scratch" && go mod download -json golang.org/x/vulndb@latest 2>/dev/null | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p') || true
  if [ ! -d "${dir:-}/data/osv" ]; then # an older database from the module cache
    dir=$(ls -d "$(go env GOMODCACHE)"/golang.org/x/vulndb@* 2>/dev/null | sort | tail -1 || true)
  fi
  [ -d "${dir:-}/data/osv" ] || skip "no database: golang.org/x/vulndb cannot be had; name one in WEIR_VULN_DB"
  db="file://$dir/data/osv"
fi
echo "vulnerabilities: $release, database $db"

code=0
"$scratch/govulncheck" -db "$db" . >"$scratch/found" 2>"$scratch/errors" || code=$?
if [ "$code" != 0 ] && [ "$code" != 3 ]; then # 3: vulnerabilities were found
  case $db in http*) skip "$db cannot be read: $(tail -1 "$scratch/errors")" ;; esac
  cat "$scratch/found" "$scratch/errors"
  exit 1
fi
found=$(sed -n 's/^Vulnerability #[0-9]*: //p' "$scratch/found" | sort -u)
listed=$(sed -n 's/^\(GO-[0-9-]*\)[[:space:]].*$/\1/p' "$allowed" | sort -u)
new=$(comm -23 <(echo "$found") <(echo "$listed") | sed '/^$/d')
gone=$(comm -13 <(echo "$found") <(echo "$listed") | sed '/^$/d')
[ -z "$gone" ] || echo "vulnerabilities: listed in $allowed and not found any more, take them out: $(echo $gone)"
if [ -n "$new" ]; then
  for id in $new; do awk -v id="$id" '$1 == "Vulnerability" && $3 == id {n = 12} n-- > 0' "$scratch/found"; done
  echo "vulnerabilities: upgrade what they are in, or list them in $allowed with a reason: $(echo $new)"
  exit 1
fi
echo "vulnerabilities: none that $allowed does not explain ($(echo "$found" | sed '/^$/d' | wc -l) listed)"
