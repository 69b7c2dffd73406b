#!/usr/bin/env bash
# Checks docker-compose.yml with docker-compose and the Dockerfile with hadolint. usage: tests/deploy.sh DIR, the
# folder of both programs.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
for profile in "" "--profile cluster" "--profile etl"; do
  "$bin/docker-compose" --env-file .env.example $profile config --quiet
done
running=$("$bin/docker-compose" --env-file /dev/null config --services)
[ "$running" = weir ] || { echo "deploy: without a profile, compose runs: $running"; exit 1; }
"$bin/hadolint" Dockerfile
echo "deploy: docker-compose.yml and Dockerfile are right"
