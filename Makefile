# Every module of the workspace: patterns for the go command, which reads go.work.
MODULES := $(shell go list -m -f '{{.Dir}}/...' | grep -v /tools/)
FUZZTIME ?= 30s

.PHONY: run test lint fuzz bench faults govulncheck deps

run: ## the example on 127.0.0.1:8080
	go run ./example

test: deps lint ## everything: format, vet, staticcheck, tests with the race detector, fuzz seeds
	go test -race -timeout 20m $(MODULES)
	go test -run Allocates .

deps:
	@./scripts/install-test-deps.sh

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w these: $$unformatted"; exit 1; fi
	go vet $(MODULES)
	go tool staticcheck $(MODULES)

fuzz: ## each fuzz target for FUZZTIME
	@set -e; for package in . ./internal/strictjson ./keys ./session; do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

BENCHTIME ?= 300ms
ROUNDS ?= 5

bench: deps ## every peer, in ROUNDS rounds; writes bench/RESULTS.md and bench/results.svg. Then the stores.
	@set -e; run=$$(mktemp); trap 'rm -f '$$run EXIT; cd bench; \
		for round in $$(seq $(ROUNDS)); do go test -run '^$$' -bench . -benchtime $(BENCHTIME) -timeout 60m . | tee -a $$run; done; \
		go run ./report -in $$run -md RESULTS.md -svg results.svg
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) ./session/ ./integration/

faults: deps ## what a crash of a process, a database or Redis costs, as a table
	go test -count=1 -v -run '^TestFaults' ./integration/

govulncheck: ## known vulnerabilities; its database needs the internet
	go tool govulncheck $(MODULES)
