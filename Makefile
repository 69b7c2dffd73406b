# The targets a person types. Each is a few lines; longer ones are scripts.
GO ?= go
export GOFLAGS ?= -buildvcs=false

.PHONY: run build test quick lint vuln bench torture

run: ## everything on this machine, on ./data
	$(GO) run . up

build: ## the binary
	$(GO) build -o bin/weir .

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

bench: build ## measure this machine; the results go to tests/bench/README.md
	tests/bench/bench.sh

torture: build ## kill it fifty times and count every event
	WEIR_TORTURE_KILLS=50 $(GO) test -count=1 -timeout 60m -run Torture ./tests/scenarios
