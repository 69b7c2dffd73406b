#!/usr/bin/env bash
# Lints every config, the streams with both profiles, and every recipe. usage: tests/lint.sh WEIR
set -euo pipefail
cd "$(dirname "$0")/.."
weir=$1
streams=(configs/streams/*.yaml)
[ -e "${streams[0]}" ] || { echo "no stream configs found"; exit 1; }
for profile in standalone cluster; do
  "$weir" lint -e "configs/$profile.env" "${streams[@]}"
  echo "lint: ${#streams[@]} streams, $profile profile: clean"
done
WEIR_PRIVACY_KEYS=k1:only-a-test-knows-this "$weir" lint configs/user_events.yaml
WEIR_PRIVACY_KEYS=k1:only-a-test-knows-this "$weir" lint configs/people/*.yaml
"$weir" lint configs/service.yaml
for recipe in recipes/*.json; do
  "$weir" etl lint "$recipe"
done
