#!/usr/bin/env bash
# Starts the real servers that integration tests run against - PostgreSQL,
# MariaDB, Redis, Apache Kafka (KRaft) and an S3 server - natively, on loopback, on
# free ports, with their data under one temporary directory.
#
#   eval "$(tests/integration/servers.sh start)"    # all, or: start postgres mariadb redis kafka s3
#   go test ./...
#   tests/integration/servers.sh stop                # all, or some by name
#
# PostgreSQL, MariaDB and Redis are installed by apt if they are missing, Kafka from Maven Central (needs Java 17 and
# mvn), versitygw by go install; the last two are kept in .cache/. "install" does only that. "start" prints export
# lines on stdout and everything else on stderr; it leaves a running server alone. "stop" stops servers and deletes
# their data. WEIR_TEST_DIR sets another directory.
#
# For tests of faults: "pause NAME" stops a server with SIGSTOP, so that its connections stay open, and "resume NAME"
# continues it; "crash NAME" kills it, and "revive NAME" starts it again with its data and its port.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache
state=${WEIR_TEST_DIR:-${TMPDIR:-/tmp}/weir-servers}
versitygw_version=v1.8.0
bucket=weir-test
# The S3 server reads its keys from the environment, because any user can see a command line.
export ROOT_ACCESS_KEY_ID=${WEIR_TEST_S3_ACCESS:-weir-test} ROOT_SECRET_ACCESS_KEY=${WEIR_TEST_S3_SECRET:-weir-test-secret}

say() { echo "servers: $*" >&2; }
die() { say "$*"; exit 1; }

# unused_ports COUNT prints distinct free ports, each on a line. They are below the ephemeral range: the system assigns
# none of them to an outgoing connection while its server is down.
unused_ports() {
  python3 - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(20000, 32000)))
    except OSError:
        continue
    held.append(s)
    print(s.getsockname()[1])
PYTHON
}

# root runs a command as root, by sudo if needed.
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# unprivileged runs a command as a user other than root, as which PostgreSQL refuses to run.
unprivileged() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

running() { [ -f "$state/$1.pid" ] && kill -0 "$(cat "$state/$1.pid")" 2>/dev/null; }

# await NAME SECONDS COMMAND…: waits until the command succeeds. If it never does, prints the server's log and fails.
await() {
  local name=$1 tries=$(($2 * 5)); shift 2
  for ((i = 0; i < tries; i++)); do
    if "$@" >/dev/null 2>&1; then say "$name is ready"; return; fi
    if ! running "$name"; then break; fi
    sleep 0.2
  done
  tail -n 40 "$state/$name.log" >&2 || true
  die "$name did not become ready; its log is $state/$name.log"
}

# apt_install PACKAGE…: installs packages without starting their services.
apt_install() {
  say "installing $*"
  root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@" >&2
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

pg_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }

install_postgres() { [ -n "$(pg_bin)" ] || apt_install postgresql; }
install_mariadb() {
  command -v openssl >/dev/null || apt_install openssl
  { command -v mariadb-install-db && command -v my_print_defaults; } >/dev/null ||
    apt_install mariadb-server-core mariadb-client-core
}

install_redis() { command -v redis-server >/dev/null || apt_install redis-server; }

install_kafka() {
  local libs=$cache/kafka/libs
  if [ -f "$cache/kafka/complete" ] && [ ! "$here/pom.xml" -nt "$cache/kafka/complete" ]; then return; fi
  say "fetching Apache Kafka from Maven Central"
  rm -rf "$libs" && mkdir -p "$libs"
  mvn -B -q -f "$here/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory="$libs" -DincludeScope=runtime >&2
  touch "$cache/kafka/complete"
}

# The flags of the Makefile, so that the standard library is in the build cache already.
install_s3() {
  [ ! -x "$cache/bin/versitygw" ] || return 0
  say "building versitygw $versitygw_version"
  CGO_ENABLED=0 GOFLAGS="-gcflags=all=-dwarf=false -ldflags=-s" GOBIN=$cache/bin \
    go install "github.com/versity/versitygw/cmd/versitygw@$versitygw_version" >&2
}

# wal_level=logical and the slots are needed by tests that follow the changes of tables.
start_postgres() {
  local bin data=$state/postgres port
  bin=$(pg_bin)
  port=$(unused_ports 1)
  mkdir -p "$data"
  [ "$(id -u)" != 0 ] || chown postgres "$data"
  chmod 700 "$data"
  unprivileged "$bin/initdb" -D "$data" -U weir -A trust -E UTF8 --no-instructions >"$state/postgres.log" 2>&1 || die "initdb failed: $(tail -n 5 "$state/postgres.log")"
  launch postgres unprivileged "$bin/postgres" -D "$data" -p "$port" -h 127.0.0.1 -k "$data" -c max_connections=200 -c timezone=UTC \
    -c wal_level=logical -c max_replication_slots=20 -c max_wal_senders=20
  await postgres 30 "$bin/pg_isready" -h 127.0.0.1 -p "$port" -U weir
  "$bin/psql" -q -h 127.0.0.1 -p "$port" -U weir -d postgres -c "CREATE DATABASE weir_test" >&2
  export_line postgres WEIR_TEST_POSTGRES_URL "postgres://weir@127.0.0.1:$port/weir_test?sslmode=disable"
}

# MariaDB runs as the current user; first.sql creates the user of the tests. The binary log is needed by tests that
# follow the changes of tables.
start_mariadb() {
  local data=$state/mariadb port
  port=$(unused_ports 1)
  mkdir -p "$data"
  mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$data" --auth-root-authentication-method=normal --skip-test-db \
    >"$state/mariadb.log" 2>&1 || die "mariadb-install-db failed: $(tail -n 5 "$state/mariadb.log")"
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$data/key.pem" -out "$data/cert.pem" >>"$state/mariadb.log" 2>&1 || die "making a certificate failed"
  cat >"$data/first.sql" <<'EOF'
CREATE DATABASE IF NOT EXISTS weir_test CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS weir@'127.0.0.1' IDENTIFIED BY 'weir-test';
GRANT ALL ON *.* TO weir@'127.0.0.1' WITH GRANT OPTION;
EOF
  launch mariadb mariadbd --no-defaults --user="$(id -un)" --datadir="$data" --port="$port" --bind-address=127.0.0.1 \
    --skip-name-resolve --socket="$data/s.sock" --pid-file="$data/pid" --init-file="$data/first.sql" \
    --ssl-cert="$data/cert.pem" --ssl-key="$data/key.pem" --innodb-buffer-pool-size=64M --max-allowed-packet=16M \
    --log-bin=binlog --server-id=1 --binlog-format=ROW --binlog-row-metadata=FULL
  await mariadb 60 mariadb_ready "$port"
  export_line mariadb WEIR_TEST_MYSQL_URL "mysql://weir:weir-test@127.0.0.1:$port/weir_test"
  export_line mariadb WEIR_TEST_MYSQL_CA "$data/cert.pem"
}

mariadb_ready() { port_open "$1" && grep -q "ready for connections" "$state/mariadb.log"; }

start_redis() {
  local port
  port=$(unused_ports 1)
  mkdir -p "$state/redis"
  launch redis redis-server --port "$port" --bind 127.0.0.1 --dir "$state/redis" --save "" --appendonly no --maxmemory 256mb \
    --maxmemory-policy noeviction
  await redis 10 redis-cli -p "$port" ping
  export_line redis WEIR_TEST_REDIS_URL "redis://127.0.0.1:$port/0"
}

start_kafka() {
  local libs=$cache/kafka/libs ports
  mapfile -t ports < <(unused_ports 4)
  # A second listener advertises another address than its own. A test that wants to cut clients off puts a proxy
  # there.
  local port=${ports[0]} controller=${ports[1]} behind=${ports[2]} front=${ports[3]}
  mkdir -p "$state/kafka"
  cat >"$state/kafka.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,PROXIED://127.0.0.1:$behind,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,PROXIED://127.0.0.1:$front
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$state/kafka
num.partitions=4
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.check.interval.ms=1000
EOF
  local java=(java -Xms256m -Xmx512m -XX:+UseG1GC "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$libs/*")
  local cluster=d2Vpci1pbnRlZ3JhdGlvbg # any 16 bytes; a random one may begin with "-", which is taken for an option
  "${java[@]}" kafka.tools.StorageTool format -t "$cluster" \
    -c "$state/kafka.properties" >"$state/kafka.log" 2>&1 || die "formatting Kafka's storage failed: $(tail -n 5 "$state/kafka.log")"
  launch kafka "${java[@]}" kafka.Kafka "$state/kafka.properties"
  await kafka 60 kafka_ready "$port"
  export_line kafka WEIR_TEST_KAFKA_BROKERS "127.0.0.1:$port"
  export_line kafka WEIR_TEST_KAFKA_PROXY "127.0.0.1:$front"   # a proxy listens here
  export_line kafka WEIR_TEST_KAFKA_BEHIND "127.0.0.1:$behind" # and forwards to here
}

kafka_ready() { port_open "$1" && grep -q "Kafka Server started" "$state/kafka.log"; }

start_s3() {
  local bin=$cache/bin/versitygw port status
  port=$(unused_ports 1)
  mkdir -p "$state/s3/objects" "$state/s3/meta"
  # The sidecar folder replaces extended attributes, which not every file system has.
  launch s3 "$bin" --port "127.0.0.1:$port" --region us-east-1 --quiet posix \
    --sidecar "$state/s3/meta" "$state/s3/objects"
  await s3 20 port_open "$port"
  status=$(curl -sS -o /dev/null -w '%{http_code}' -X PUT -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" --aws-sigv4 "aws:amz:us-east-1:s3" \
    --config - "http://127.0.0.1:$port/$bucket" <<<"user = \"$ROOT_ACCESS_KEY_ID:$ROOT_SECRET_ACCESS_KEY\"")
  case $status in
    200 | 409) ;; # created, or left by an earlier start
    *) die "creating the bucket failed with HTTP $status; the log is $state/s3.log" ;;
  esac
  export_line s3 WEIR_TEST_S3_URL "s3://$bucket?endpoint=http://127.0.0.1:$port&region=us-east-1&use_path_style=true"
  export_line s3 AWS_ACCESS_KEY_ID "$ROOT_ACCESS_KEY_ID"
  export_line s3 AWS_SECRET_ACCESS_KEY "$ROOT_SECRET_ACCESS_KEY"
}

# launch NAME COMMAND…: runs a server in the background with its output in NAME.log, and keeps the command for revive.
launch() {
  local name=$1; shift
  printf '%q ' "$@" >"$state/$name.cmd"
  "$@" >>"$state/$name.log" 2>&1 </dev/null &
  echo $! >"$state/$name.pid"
}

# family PID: prints the process and all its descendants.
family() { local child; echo "$1"; for child in $(pgrep -P "$1" || true); do family "$child"; done; }

# signal NAME SIGNAL: sends a signal to the server and its descendants.
signal() {
  [ -f "$state/$1.pid" ] || die "$1 was not started here, in $state"
  # shellcheck disable=SC2046 # one argument for each process
  kill "-$2" $(family "$(cat "$state/$1.pid")") 2>/dev/null || true
}

crash() {
  signal "$1" KILL
  for ((i = 0; i < 50; i++)); do
    if ! running "$1"; then
      rm "$state/$1.pid" # the system may give its number to another process at once
      return
    fi
    sleep 0.1
  done
  die "$1 is still there after SIGKILL"
}

revive() {
  running "$1" && die "$1 runs: nothing to revive"
  case $1 in kafka | mariadb) : >"$state/$1.log" ;; esac # readiness is read from the log
  eval "launch $1 $(cat "$state/$1.cmd")"
  await "$1" 60 "ready_$1"
}

ready_postgres() { "$(pg_bin)/pg_isready" -d "$(value WEIR_TEST_POSTGRES_URL postgres)"; }
ready_mariadb() { mariadb_ready "$(value WEIR_TEST_MYSQL_URL mariadb | sed 's#.*:\([0-9]*\)/.*#\1#')"; }
ready_redis() { redis-cli -u "$(value WEIR_TEST_REDIS_URL redis)" ping; }
ready_kafka() { kafka_ready "$(value WEIR_TEST_KAFKA_BROKERS kafka | cut -d: -f2)"; }
ready_s3() { port_open "$(value WEIR_TEST_S3_URL s3 | sed 's#.*http://[^:]*:\([0-9]*\).*#\1#')"; }

# value VARIABLE NAME: prints a variable that the server NAME exported.
value() { (. "$state/$2.env" && printf '%s' "${!1}"); }

export_line() { printf 'export %s=%q\n' "$2" "$3" >>"$state/$1.env"; }

known() {
  case $1 in
  postgres | mariadb | redis | kafka | s3) ;;
  *) die "no server is called $1: expected postgres, mariadb, redis, kafka or s3" ;;
  esac
}

install() {
  [ $# -gt 0 ] || set -- postgres mariadb redis kafka s3
  for name in "$@"; do
    known "$name"
    "install_$name"
  done
}

start() {
  mkdir -p "$state"
  chmod 755 "$state"
  [ $# -gt 0 ] || set -- postgres mariadb redis kafka s3
  for name in "$@"; do
    known "$name"
    if running "$name" && [ -f "$state/$name.env" ]; then
      say "$name runs already"
      continue
    fi
    stop_one "$name"
    "install_$name"
    "start_$name"
  done
  env_lines
}

env_lines() { printf 'export WEIR_TEST_DIR=%q\n' "$state" && cat "$state"/*.env 2>/dev/null || die "nothing runs: $0 start"; }

# stop_one stops a server, after 5 s with SIGKILL, and deletes its data.
stop_one() {
  local name=$1
  if running "$name"; then
    local pid
    pid=$(cat "$state/$name.pid")
    signal "$name" CONT # a test that was interrupted may have left it paused
    # The server may be a child of runuser.
    pkill -TERM -P "$pid" 2>/dev/null || true
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < 50; i++)); do running "$name" || break; sleep 0.1; done
    if running "$name"; then
      pkill -KILL -P "$pid" 2>/dev/null || true
      kill -KILL "$pid" 2>/dev/null || true
    fi
    say "$name stopped"
  fi
  rm -rf "${state:?}/$name" "$state/$name".{pid,env,log,properties,cmd}
}

case ${1:-} in
install) shift; install "$@" ;;
start) shift; start "$@" ;;
env) env_lines ;;
pause) signal "$2" STOP ;;
resume) signal "$2" CONT ;;
crash) crash "$2" ;;
revive) revive "$2" ;;
stop)
  shift
  [ $# -gt 0 ] || set -- postgres mariadb redis kafka s3
  for name in "$@"; do stop_one "$name"; done
  rmdir "$state" 2>/dev/null || true
  ;;
*) die "usage: $0 install|start [postgres|mariadb|redis|kafka|s3]… | env | stop [NAME]… | pause|resume|crash|revive NAME" ;;
esac
