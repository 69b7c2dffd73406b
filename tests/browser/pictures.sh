#!/usr/bin/env bash
# Takes the screenshots of docs/console.md from a real run: a weir, a simulated fleet and a browser.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$(tests/browser/tools.sh)
eval "$tools"
WEIR_PICTURES=$PWD/docs/pictures go test -count=1 -tags pictures -run Pictures ./tests/browser
