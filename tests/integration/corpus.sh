#!/usr/bin/env bash
# Downloads the labelled texts of presidio-research (MIT licence) from its PyPI package into .cache/presidio, once,
# and prints the path of the file.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(cd "$here/../.." && pwd)/.cache/presidio
version=0.3.2
mkdir -p "$dir"
exec 9>"$dir/.lock" # tests run in parallel
flock 9
file=$dir/synth_dataset_v2-$version.json
if [ ! -s "$file" ]; then
  python=$("$here/venv.sh")
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$dir" \
    "presidio-evaluator==$version" >&2
  tar -xzOf "$dir/presidio_evaluator-$version.tar.gz" "presidio_evaluator-$version/data/synth_dataset_v2.json" >"$file.new"
  mv "$file.new" "$file"
fi
echo "$file"
