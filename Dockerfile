# tests/vuln.sh looks at this Go: follow its patch releases.
FROM golang:1.26.10-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 GOGC=400 go build -trimpath -gcflags=all=-dwarf=false -ldflags="-s -X main.version=$VERSION" -o /weir .

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /weir /usr/local/bin/weir
WORKDIR /var/lib/weir
VOLUME /var/lib/weir
EXPOSE 8080 8090 4195
ENTRYPOINT ["weir"]
# Inside a container the listeners must face outwards to be reached at all. They
# are plain HTTP: publish them on loopback or behind what ends TLS, or replace
# --allow-plain-http by --tls-cert and --tls-key.
CMD ["up", "--data", "/var/lib/weir", "--ingest", "0.0.0.0:8080", "--api", "0.0.0.0:8090", "--ops", "0.0.0.0:4195", "--allow-plain-http"]
