# The targets a person types. Each is a few lines; longer ones are scripts.
GO ?= go
# Without what only debuggers read: a sixth less to compile, a third less binary.
# For a debugger: make GOFLAGS=-buildvcs=false build
export GOFLAGS ?= -buildvcs=false -gcflags=all=-dwarf=false -ldflags=-s
# The compiler may use memory instead of collecting it: a quarter less to compute.
# Without C nothing of it is compiled, and the binary needs no libraries.
COMPILE = CGO_ENABLED=0 GOGC=400 $(GO)

.PHONY: up run build install test quick lint vuln bench torture

up: ## everything on this machine, on ./data; ARGS="--data DIR …" for flags of weir up
	@[ -x bin/weir ] || echo "Compiling weir and its libraries: minutes the first time, seconds from then on."
	@$(COMPILE) build -o bin/weir .
	@exec bin/weir up $(ARGS)

run: up

build: ## the binary
	$(COMPILE) build -o bin/weir .

install: ## the binary, as weir, into $(go env GOPATH)/bin
	$(COMPILE) install .
	@command -v weir >/dev/null || echo "weir is in $$($(GO) env GOPATH)/bin: add that to your PATH"

test: ## everything that must hold: formatting, vet, lint, race, configs, scenarios, real servers
	tests/run.sh

quick: ## what is worth running after every edit
	$(GO) vet ./... && $(GO) test ./plugins/... ./internal/...

lint: build ## Go and YAML
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.7.0 ./...
	tests/lint.sh bin/weir

vuln: ## known vulnerabilities that weir calls
	tests/vuln.sh

bench: ## measure this machine; the results go to tests/bench/README.md
	$(COMPILE) build -tags extended -o bin/weir . # peers/ use upstream's larger components
	tests/bench/bench.sh

torture: build ## kill it fifty times and count every event
	WEIR_TORTURE_KILLS=50 $(GO) test -count=1 -timeout 60m -run Torture ./tests/scenarios
