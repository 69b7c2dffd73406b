#!/usr/bin/env bash
# Runs the config tests (every processor chain of the streams) with the engine's test runner, and lints the templates.
# usage: tests/configs.sh WEIR
set -euo pipefail
cd "$(dirname "$0")/.."
weir=$1
cases=(tests/configs/*.yaml)
[ -e "${cases[0]}" ] || { echo "no config tests found"; exit 1; }
"$weir" test "${cases[@]}"
env -i PATH="$PATH" "$weir" template lint configs/templates/*.yaml
