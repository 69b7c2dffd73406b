#!/usr/bin/env bash
# Starts what the profile etl of docker-compose.yml has, without containers:
# PostgreSQL, MariaDB, Kafka, an S3 server and a Vault (OpenBao) on loopback, with
# data in them, and prints the commands that run a pipeline against them.
#
#   deploy/etl/native.sh start      # make build first; a few minutes the first time
#   deploy/etl/native.sh stop       # ends them, and deletes their data
#
# What is missing is installed, as tests/integration/servers.sh says. Passwords are
# those of .env (make .env); the Vault gets them by "weir vault load .env".
# WEIR_ETL_DIR chooses the folder, WEIR_ETL_SECRETS another .env, WEIR_BINARY the weir.
# The servers' own data are in the temporary folder, where the user that PostgreSQL
# runs as can reach them; a clone in somebody's home may be closed to it.
set -euo pipefail
umask 077 # what is written has secrets

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=${WEIR_ETL_DIR:-$root/data/etl-servers}
secrets=${WEIR_ETL_SECRETS:-$root/.env}
weir=${WEIR_BINARY:-$root/bin/weir}
servers=$root/tests/integration/servers.sh

say() { echo "etl: $*" >&2; }
die() { say "$*"; exit 1; }

# secret NAME: of .env, where it must be.
secret() {
  local value
  value=$(sed -n "s/^$1=//p" "$secrets" | tail -n 1)
  [ -n "$value" ] || die "$1 is not set in $secrets: run 'make .env', or add it there"
  case $value in *[!A-Za-z0-9]*) die "$1 in $secrets: expected letters and digits" ;; esac
  printf '%s' "$value"
}

part() { sed -n "s#^.*://[^/]*127\.0\.0\.1:\([0-9]*\)/.*#\1#p" <<<"$1"; } # the port of a URL

start() {
  [ -x "$weir" ] || die "$weir is missing: make build"
  [ -f "$secrets" ] || die "$secrets is missing: make .env"
  local postgres mariadb s3 token python
  postgres=$(secret POSTGRES_PASSWORD) mariadb=$(secret MARIADB_PASSWORD) s3=$(secret S3_SECRET) token=$(secret VAULT_TOKEN)
  if alive; then say "they run already"; tell; return; fi
  stop # what an earlier start has left
  python=$("$root/tests/integration/venv.sh")
  mkdir -p "$dir/pipelines"
  ln -s "$(mktemp -d "${TMPDIR:-/tmp}/weir-etl.XXXXXX")" "$dir/servers"
  WEIR_TEST_DIR=$(readlink "$dir/servers") WEIR_TEST_S3_ACCESS=weir WEIR_TEST_S3_SECRET=$s3 \
    "$servers" start postgres mariadb kafka s3 >"$dir/servers.env"
  # shellcheck disable=SC1091 # it is made above
  . "$dir/servers.env"
  fill_postgres "$postgres"
  fill_mariadb "$mariadb"
  "$root/deploy/etl/readings.sh" | "$python" "$root/deploy/etl/produce.py" "$WEIR_TEST_KAFKA_BROKERS" readings
  curl -fsS -o /dev/null -X PUT -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" --aws-sigv4 "aws:amz:us-east-1:s3" \
    --config - "$(endpoint)/weir-lake" <<<"user = \"weir:$s3\""
  start_vault "$token" "${python%/*}/bao"
  lay_out
  touch "$dir/ready"
  tell
}

# alive: all of them run, and have their data.
alive() {
  [ -f "$dir/ready" ] || return 1
  local name
  for name in postgres mariadb kafka s3; do kill -0 "$(cat "$dir/servers/$name.pid")" 2>/dev/null || return 1; done
  vault_runs
}

vault_runs() { [ "$(ps -o comm= -p "$(cat "$dir/vault.pid" 2>/dev/null)" 2>/dev/null)" = bao ]; }

# fill_postgres PASSWORD: with the data, and from then on with a password.
fill_postgres() {
  psql -q -v ON_ERROR_STOP=1 "$WEIR_TEST_POSTGRES_URL" -f "$root/deploy/etl/shop.postgres.sql" >&2
  psql -q -v ON_ERROR_STOP=1 "$WEIR_TEST_POSTGRES_URL" >&2 <<<"ALTER USER weir PASSWORD '$1';"
  local hba
  hba=$(psql -At "$WEIR_TEST_POSTGRES_URL" -c 'SHOW hba_file')
  echo "host all all 127.0.0.1/32 scram-sha-256" >"$hba"
  psql -q "$WEIR_TEST_POSTGRES_URL" -c 'SELECT pg_reload_conf()' >/dev/null
}

# fill_mariadb PASSWORD: the same; the way of the tests in is gone then.
fill_mariadb() {
  local port
  port=$(part "$WEIR_TEST_MYSQL_URL")
  {
    echo "CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4; USE shop;"
    cat "$root/deploy/etl/shop.mariadb.sql"
    echo "ALTER USER weir@'127.0.0.1' IDENTIFIED BY '$1'; ALTER USER root@localhost IDENTIFIED BY '$1';"
  } | MYSQL_PWD=weir-test mariadb --no-defaults --protocol=tcp --connect-timeout=60 -h 127.0.0.1 -P "$port" -u weir >&2
}

endpoint() { sed 's/.*endpoint=\([^&]*\).*/\1/' <<<"$WEIR_TEST_S3_URL"; }

# start_vault TOKEN PROGRAM: in memory; it has what .env has.
start_vault() {
  local port
  port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
  HOME=$dir BAO_DEV_ROOT_TOKEN_ID=$1 "$2" server -dev -dev-no-store-token -dev-listen-address="127.0.0.1:$port" \
    >"$dir/vault.log" 2>&1 </dev/null &
  echo $! >"$dir/vault.pid"
  cat >"$dir/env" <<VARIABLES
export VAULT_ADDR=http://127.0.0.1:$port VAULT_TOKEN=$1
export AWS_ACCESS_KEY_ID=weir AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY
VARIABLES
  # shellcheck disable=SC1091
  . "$dir/env"
  for ((i = 0; i < 300; i++)); do
    if "$weir" vault load "$secrets" secret/data/weir/local >&2 2>"$dir/vault.err"; then return; fi
    kill -0 $! 2>/dev/null || break
    sleep 0.2
  done
  cat "$dir/vault.err" >&2
  die "the Vault did not become ready; its log is $dir/vault.log"
}

# lay_out copies the pipelines, with these servers in the place of the containers.
lay_out() {
  cp "$root"/deploy/etl/*_to_lake.json "$dir/pipelines/"
  sed -e "s#\"host\": \"postgres\", \"port\": 5432, \"database\": \"weir\"#\"host\": \"127.0.0.1\", \"port\": $(part "$WEIR_TEST_POSTGRES_URL"), \"database\": \"weir_test\"#" \
    -e "s#\"host\": \"mariadb\", \"port\": 3306#\"host\": \"127.0.0.1\", \"port\": $(part "$WEIR_TEST_MYSQL_URL")#" \
    -e "s#kafka:9092#$WEIR_TEST_KAFKA_BROKERS#" -e "s#http://s3:7070#$(endpoint)#" \
    "$root/deploy/etl/servers.json" >"$dir/pipelines/servers.json"
}

tell() {
  local run name
  printf '. %q\n' "$dir/env"
  printf -v run '%q etl run %q' "$weir" "$dir/pipelines"
  for name in orders customers readings; do
    printf '%s/%s_to_lake.json --state %q%s\n' "$run" "$name" "$dir/state" "$([ $name != readings ] || echo ' --until-end')"
  done
  printf '%q etl audit %q --state %q\n' "$weir" "$dir/pipelines/orders_to_lake.json" "$dir/state"
}

stop() {
  if vault_runs; then kill "$(cat "$dir/vault.pid")"; fi
  if [ -L "$dir/servers" ]; then
    WEIR_TEST_DIR=$(readlink "$dir/servers") "$servers" stop postgres mariadb kafka s3
    rm "$dir/servers"
  fi
  rm -rf "$dir/pipelines" "$dir/state" "$dir"/{env,servers.env,ready,vault.pid,vault.log,vault.err}
  rmdir "$dir" 2>/dev/null || true
}

case ${1:-} in
start) start ;;
stop) stop ;;
*) die "usage: $0 start|stop" ;;
esac
