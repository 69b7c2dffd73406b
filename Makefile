# The targets a person types. Each is a few lines; longer ones are scripts.
GO ?= go
# Without what only debuggers read: a sixth less to compile, a third less binary.
# For a debugger: make GOFLAGS=-buildvcs=false build
export GOFLAGS ?= -buildvcs=false -gcflags=all=-dwarf=false -ldflags=-s
# The compiler may use memory instead of collecting it, a gigabyte a package at
# most: a quarter less to compute.
# Without C nothing of it is compiled, and the binary needs no libraries. What
# looks at the code, vet and staticcheck, goes without it too: it then reads what
# the build has compiled, and not all of it compiled once more.
# What weir says of its version
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STAMP = -ldflags="-s -X main.version=$(VERSION)"
COMPILE = CGO_ENABLED=0 GOGC=off GOMEMLIMIT=1GiB $(GO)

.PHONY: up run build install test quick lint image vuln bench torture soak

up: ## everything on this machine, on ./data; ARGS="--data DIR …" for flags of weir up
	@[ -x bin/weir ] || echo "Compiling weir and its libraries: minutes the first time, seconds from then on."
	@$(COMPILE) build $(STAMP) -o bin/weir .
	@exec bin/weir up $(ARGS)

run: up

build: ## the binary
	$(COMPILE) build $(STAMP) -o bin/weir .

install: ## the binary, as weir, into $(go env GOPATH)/bin
	$(COMPILE) install $(STAMP) .
	@command -v weir >/dev/null || echo "weir is in $$($(GO) env GOPATH)/bin: add that to your PATH"

test: ## everything that must hold: formatting, vet, lint, race, configs, scenarios, real servers
	tests/run.sh

quick: ## what is worth running after every edit
	$(GO) vet ./... && $(GO) test ./plugins/... ./internal/...

lint: build ## Go and YAML
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	$(COMPILE) vet ./...
	CGO_ENABLED=0 $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.7.0 ./...
	tests/lint.sh bin/weir

image: ## build the Dockerfile without a daemon, and run it as its user on a read-only root; as root, minutes
	tests/deploy/image.sh

vuln: ## known vulnerabilities that weir calls
	tests/vuln.sh

bench: ## measure this machine; the results go to tests/bench/README.md
	$(COMPILE) build -tags extended -o bin/weir . # peers/ use upstream's larger components
	tests/bench/bench.sh

.env: ## passwords for the servers of docker-compose.yml, made up; one that is there is kept
	@umask 077; for name in POSTGRES_PASSWORD REDIS_PASSWORD S3_SECRET MARIADB_PASSWORD VAULT_TOKEN GRAFANA_PASSWORD; do \
	  echo "s/^$$name=$$/$$name=$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')/"; done | sed -f - .env.example >.env

torture: build ## kill it fifty times and count every event; rules over hundreds of histories and 5 million keys
	WEIR_TORTURE_KILLS=50 $(GO) test -count=1 -timeout 60m -run Torture ./tests/scenarios
	WEIR_TORTURE_HISTORIES=300 WEIR_TORTURE_KEYS=5000000 $(GO) test -count=1 -timeout 120m \
	  -run 'BatchesKills|Recompute|TooManyKeys|SinkIsAway' ./plugins/process/rule

soak: build ## look at a loaded weir for twenty minutes: what it costs, and nothing grows; needs Chromium (tests/browser/tools.sh)
	eval "$$(tests/browser/tools.sh)" && WEIR_BINARY=$(CURDIR)/bin/weir WEIR_SOAK=10m WEIR_SOAK_RATE=5000 \
	  $(GO) test -count=1 -timeout 60m -run NothingGrows -v ./tests/browser
