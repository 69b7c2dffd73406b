#!/usr/bin/env bash
# Makes a release of the commit that is checked out, in dist/: an archive for each
# platform, what is in each binary (CycloneDX), and the checksums of all of them.
#
#   deploy/release.sh 1.4.0
#   TARGETS=linux/arm64 deploy/release.sh 1.4.0
#
# The same commit and the same Go make the same archives, on any machine and in
# any folder: compare the checksums. The image is made by the Dockerfile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${1:?usage: deploy/release.sh VERSION}
case $version in *[!0-9A-Za-z.+-]*) echo "release: $version is no version" >&2; exit 2 ;; esac
if [ -n "$(git status --porcelain)" ]; then
  echo "release: there are changes that no commit has: commit or remove them" >&2
  exit 1
fi
# The tool reads what Go wrote into the binary: it is the binary's content, not go.mod's.
sbom=${SBOM:-go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0}
epoch=$(git log -1 --format=%ct)
unset GOFLAGS GOAMD64 GOARM64 GOEXPERIMENT # of this machine
rm -rf dist && mkdir dist
for target in ${TARGETS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}; do
  name=weir_${version}_${target/\//_}
  mkdir "dist/$name"
  CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -trimpath -buildvcs=false -gcflags=all=-dwarf=false \
    -ldflags="-s -X main.version=$version" -o "dist/$name/weir" .
  cp LICENSE README.md CHANGELOG.md "dist/$name/"
  $sbom bin -json -noserial -output "dist/$name.cdx.json" -version "v$version" "dist/$name/weir"
  tar --create --directory dist --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r,go-w \
    --format=ustar "$name" | gzip --no-name -9 >"dist/$name.tar.gz"
  rm -r "dist/${name:?}"
done
(cd dist && sha256sum -- *.tar.gz *.cdx.json >SHA256SUMS)
echo "release: dist/ holds $version"
