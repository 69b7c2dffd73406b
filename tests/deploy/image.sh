#!/usr/bin/env bash
# Builds the Dockerfile without a daemon and without downloading its base images, and runs the image as it specifies:
# its command, as user 65532, on a read-only root. The first build compiles all of weir and takes minutes;
# tests/run.sh does not run this.
#
#   make image        # as root, on Debian or Ubuntu: installs buildah and busybox
#
# The base images are made here under the names in the Dockerfile: the first from this machine's Go, the second like
# "distroless static", with users, certificates and time zones and without a shell.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "image: buildah's chroot isolation needs root" >&2; exit 1; }
if ! { command -v buildah && command -v busybox; } >/dev/null; then
  apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends buildah busybox-static ca-certificates >&2
fi
work=$(mktemp -d)
buildah() { command buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" "$@"; }
weir_pid=
finish() {
  [ -z "$weir_pid" ] || kill "$weir_pid" 2>/dev/null || true
  buildah rm --all >/dev/null 2>&1 || true
  umount -R "$work"/root 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
fail() { echo "image: $*" >&2; exit 1; }

mapfile -t bases < <(sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile)
[ ${#bases[@]} = 2 ] || fail "the Dockerfile has ${#bases[@]} stages, and this script knows 2: ${bases[*]}"

# base NAME CONFIG…: makes an image with the contents of $work/base, and empties that folder.
base() {
  local name=$1 c; shift
  c=$(buildah from scratch)
  buildah copy -q "$c" "$work/base" / >/dev/null
  buildah config "$@" "$c"
  buildah commit -q "$c" "$name" >/dev/null
  buildah rm "$c" >/dev/null
  rm -rf "$work/base"
}

mkdir -p "$work"/base/{bin,etc,tmp,root,usr/local,etc/ssl/certs}
chmod 1777 "$work/base/tmp"
cp "$(command -v busybox)" "$work/base/bin/busybox"
for applet in sh mkdir ls cat git; do ln -s busybox "$work/base/bin/$applet"; done
cp -rL "$(go env GOROOT)" "$work/base/usr/local/go"
cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
cp /etc/passwd /etc/group "$work/base/etc/"
base "${bases[0]}" --env PATH=/usr/local/go/bin:/bin --env GOPATH=/go --env GOTOOLCHAIN=local \
  --env "GOPROXY=$(go env GOPROXY)" --env "GOSUMDB=$(go env GOSUMDB)"

mkdir -p "$work"/base/{etc/ssl/certs,tmp,home/nonroot}
chmod 1777 "$work/base/tmp"
cp /etc/ssl/certs/ca-certificates.crt "$work/base/etc/ssl/certs/"
echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$work/base/etc/passwd"
echo 'nonroot:x:65532:' >"$work/base/etc/group"
chown 65532:65532 "$work/base/home/nonroot"
base "${bases[1]}" --user 65532 --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

began=$SECONDS
version=image-$(date +%s)
# The module cache and the build cache of this machine are mounted.
mkdir -p "$(go env GOMODCACHE)" "$(go env GOCACHE)"
buildah bud -q --format docker --isolation chroot --network host --pull-never \
  --volume "$(go env GOMODCACHE):/go/pkg/mod" --volume "$(go env GOCACHE):/root/.cache/go-build" \
  --build-arg "VERSION=$version" --tag weir:test . >&2
echo "image: built in $((SECONDS - began)) s"

# The settings of the image; below it is run with them.
inspect() { buildah inspect --type image --format "$1" weir:test; }
user=$(inspect '{{.OCIv1.Config.User}}')
[ "$user" = 65532:65532 ] || fail "the image runs as $user"
[ "$(inspect '{{index .OCIv1.Config.Entrypoint 0}}')" = weir ] || fail "the image runs another program than weir"
[ "$(inspect '{{index .OCIv1.Config.Labels "org.opencontainers.image.version"}}')" = "$version" ] ||
  fail "the label of the version is not that of the build"

# A read-only root except for the volume and /tmp, in a network namespace of its own, so that the default ports are
# free.
c=$(buildah from --pull-never weir:test)
root=$(buildah mount "$c")
data=$work/data
cp -a "$root/var/lib/weir" "$data" # as the first use of a volume copies it
[ "$(stat -c %u:%g "$data")" = 65532:65532 ] || fail "a new volume belongs to $(stat -c %u:%g "$data")"
[ ! -e "$root/bin/sh" ] || fail "there is a shell in the image"
mkdir -p "$root"/{proc,dev}
mapfile -t env < <(inspect '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' | grep .)
mapfile -t command < <(
  inspect '{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}{{range .OCIv1.Config.Cmd}}{{println .}}{{end}}' | grep .)
as_image=(env -i "${env[@]}" "$(command -v setpriv)" --no-new-privs
  "$(command -v chroot)" --userspec="$user" --groups= "$root")
chmod 711 "$work" "$work/root" # the user must reach the root by this path
# shellcheck disable=SC2016 # expanded by the inner shell
unshare --mount --net --propagation private bash -c '
  root=$1 data=$2; shift 2
  ip link set lo up
  mount --bind "$root" "$root" && mount -o remount,ro,bind "$root"
  mount --bind "$data" "$root/var/lib/weir" && mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mount --rbind /proc "$root/proc" && mount --bind -o ro /dev "$root/dev"
  exec "$@"' - "$root" "$data" "${as_image[@]}" "${command[@]}" >"$work/log" 2>&1 &
weir_pid=$!
within() { nsenter --target "$weir_pid" --mount --net "$@"; }
weir() { within "${as_image[@]}" weir "$@"; }
mapfile -t check < <(inspect '{{range .Docker.Config.Healthcheck.Test}}{{println .}}{{end}}' | grep .)
[ "${check[*]:0:2}" = "CMD weir" ] || fail "the image has the health check ${check[*]}"
for ((i = 0; ; i++)); do
  within "${as_image[@]}" "${check[@]:1}" >/dev/null 2>&1 && weir health --ready --data /var/lib/weir >/dev/null 2>&1 && break
  kill -0 "$weir_pid" 2>/dev/null && [ $i -lt 240 ] || { cat "$work/log" >&2; fail "it does not become ready"; }
  sleep 0.5
done
[ "$(stat -c %u "/proc/$weir_pid")" = 65532 ] || fail "it does not run as user 65532"
grep -q '^CapEff:[[:space:]]*0*$' "/proc/$weir_pid/status" || fail "it has capabilities: $(grep Cap "/proc/$weir_pid/status")"
if within touch "$root/usr/local/bin/weir" 2>/dev/null; then fail "its root can be written"; fi
weir --version | grep -q "$version" || fail "it is not of version $version: $(weir --version)"
[ "$(weir role | wc -l)" -gt 10 ] || fail "the roles are not in the binary"

event='{"event_id": "0197b2f4-5d0e-7c3a-9f1e-3b5a7c9d1e2f", "device_id": "pump-1", "device_firmware_version": "2.1.0",
  "timestamp": "2026-11-21T09:15:00Z", "metrics": {"cpu_temp": 61.5, "battery_voltage": 3.7, "vibration": 0.2}}'
status=$(within curl -sS -o "$work/answer" -w '%{http_code}' -H "X-API-Key: $(cat "$data/first-fleet.key")" \
  -H "Content-Type: application/json" -d "$event" http://127.0.0.1:8080/v1/events)
[ "$status" = 202 ] || fail "an event was answered $status: $(cat "$work/answer")"
weir reconcile --data /var/lib/weir --wait 60s >"$work/proof" || { cat "$work/proof" >&2; fail "the proof finds something"; }
kill -TERM "$weir_pid"
wait "$weir_pid" || fail "it ended with $? after SIGTERM"
weir_pid=
if grep -E 'level=(warning|error)|level=WARN' "$work/log" >&2; then fail "a clean run complains"; fi
echo "image: it runs as user 65532 on a read-only root, takes an event, proves it and stops"
