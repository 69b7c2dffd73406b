# tests/vuln.sh looks at this Go: follow its patch releases.
FROM golang:1.26.10-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY internal/collation/go.mod internal/collation/
COPY internal/gojson/go.mod internal/gojson/
COPY internal/zstd/go.mod internal/zstd/
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 GOGC=off GOMEMLIMIT=1GiB go build -trimpath -gcflags=all=-dwarf=false -ldflags="-s -X main.version=$VERSION" -o /weir . \
    && mkdir /data

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=dev
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Events of devices and apps: stored, dead-lettered with their reason, or proven duplicates" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /weir /usr/local/bin/weir
# Owned by who runs it: a new volume takes it over.
COPY --from=build --chown=65532:65532 /data /var/lib/weir
USER 65532:65532
WORKDIR /var/lib/weir
VOLUME /var/lib/weir
EXPOSE 8080 8090 4195
# Of 'weir up' on this volume, else of what WEIR_OPS_ADDRESS names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["weir", "health", "--data", "/var/lib/weir"]
ENTRYPOINT ["weir"]
# Inside a container the listeners must face outwards to be reached at all. They
# are plain HTTP: publish them on loopback or behind what ends TLS, or replace
# --allow-plain-http by --tls-cert and --tls-key. For a part of a cluster:
# role NAME (docs/deploy.md).
CMD ["up", "--data", "/var/lib/weir", "--ingest", "0.0.0.0:8080", "--api", "0.0.0.0:8090", "--ops", "0.0.0.0:4195", "--allow-plain-http"]
