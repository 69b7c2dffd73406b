#!/usr/bin/env bash
# Creates the Python environment of the tests in .cache/venv, again whenever requirements.txt has changed, and prints
# the path of its interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$(cd "$here/../.." && pwd)/.cache/venv
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock" # tests run in parallel
flock 9
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  python3 -m venv --clear "$venv" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi
echo "$venv/bin/python"
