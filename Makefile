# Every module of the workspace, as patterns for the go command. The go command reads go.work.
MODULES := $(shell go list -m -f '{{.Dir}}/...')
FUZZTIME ?= 30s

.PHONY: run test lint platforms fuzz bench bench-service faults figures-revocation figures-login load mutation pictures govulncheck deps

run: ## runs the example on 127.0.0.1:8080
	go run ./example

test: deps lint ## checks everything: format, vet, staticcheck, tests with the race detector, fuzz seeds
	@# ./integration/ takes the longest, so it begins first.
	go test -race -timeout 25m ./integration/ $(MODULES)
	go test -run Allocates .
	@echo "every benchmark, once"; out=$$(go test -run '^$$' -bench . -benchtime 1x ./bench/ ./session/ ./integration/ 2>&1) || { echo "$$out"; exit 1; }

deps:
	@./scripts/install-test-deps.sh

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w these: $$unformatted"; exit 1; fi
	go vet $(MODULES)
	go vet -tags figures ./integration/
	go tool staticcheck $(MODULES)
	go tool staticcheck -tags figures ./integration/

platforms: ## checks that everything compiles for 32 bits and for Windows, with its tests, and the packages for WebAssembly
	GOOS=windows GOARCH=386 go vet ./... ./redisstore/... ./totp/...
	GOOS=js GOARCH=wasm go build . ./feed ./keys ./client
	GOOS=wasip1 GOARCH=wasm go build . ./feed ./keys ./client

fuzz: ## runs each fuzz target for FUZZTIME
	@set -e; for package in . ./feed ./internal/clientip ./internal/gate ./internal/jws ./internal/rotation ./internal/strictjson ./keys \
			./password ./session ./throttle ./totp ./integration/interop/golangjwt; do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$package; \
		done; \
	done

MUTATED_ROOT := middleware.go refusals.go claims.go verifier.go
# Tests that build other programs, and one that a busy machine can fail.
NOT_FOR_MUTANTS := NestedModules|TheFirstProgram|Walls|Dependencies|TheSizeOfTheAPI|AStoreOutOfReach|^Example

mutation: ## changes the parser, the rules of rotation and the middleware, and counts what no test notices (docs/mutation.md)
	go tool mutate -timeout 10s -packages ./internal/strictjson $(filter-out %_test.go,$(wildcard internal/strictjson/*.go))
	go tool mutate -timeout 10s -packages ./internal/jws $(filter-out %_test.go,$(wildcard internal/jws/*.go))
	go tool mutate -timeout 30s -short -skip 'BrokenRules|EveryHistory' -packages ./internal/rotation $(filter-out %_test.go,$(wildcard internal/rotation/*.go))
	go tool mutate -timeout 60s -short -skip '$(NOT_FOR_MUTANTS)' -packages . $(MUTATED_ROOT)

BENCHTIME ?= 300ms
ROUNDS ?= 5

bench: deps ## measures every peer in ROUNDS rounds, writes bench/RESULTS.md and bench/results.svg, then measures the stores
	@set -e; run=$$(mktemp); trap 'rm -f '$$run EXIT; cd bench; \
		for round in $$(seq $(ROUNDS)); do go test -run '^$$' -bench . -benchtime $(BENCHTIME) -timeout 60m . | tee -a $$run; done; \
		go run ./report -in $$run -md RESULTS.md -svg results.svg
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) ./session/ ./integration/

SERVICETIME ?= 3s

bench-service: deps ## measures whole services in ROUNDS rounds (40 minutes), writes bench/SERVICE.md and bench/service.svg
	@set -e; run=$$(mktemp); cd bench; \
		go test -count=1 -v -timeout 3h -run '^TestService$$' . -service $$run -service-rounds $(ROUNDS) -service-time $(SERVICETIME); \
		go run ./report -service $$run -md SERVICE.md -svg service.svg; rm -f $$run

faults: deps ## prints a table of what a crash of a process, a database or Redis costs
	go test -count=1 -v -run '^TestFaults' ./integration/

figures-revocation: deps ## prints the figures of revocation beside their goals; needs a quiet machine, 3 GB of memory and ten minutes
	SIGNET_REQUIRE_SERVERS=1 go test -count=1 -v -tags figures -run '^TestFigures' -timeout 40m ./integration/

LOADTIME ?= 5m

load: deps ## puts a mixed load on the example with PostgreSQL for LOADTIME, writes docs/load.md and docs/load.svg; needs a quiet machine
	SIGNET_REQUIRE_SERVERS=1 go test -count=1 -v -timeout 1h -run '^TestLoad$$' ./integration/load/ -load $(LOADTIME) -md docs/load.md -svg docs/load.svg

figures-login: deps ## prints the figures of logins beside their goals (docs/login.md); needs a quiet machine and five minutes
	go test -count=1 -v -run '^TestADayOfAttack$$' ./throttle/
	SIGNET_REQUIRE_SERVERS=1 go test -count=1 -v -run '^TestHostile$$' ./integration/
	@# The clients get a higher priority if this user may give it.
	SIGNET_REQUIRE_SERVERS=1 $$([ "$$(nice -n -10 nice 2>/dev/null)" = -10 ] && echo nice -n -10) go test -count=1 -v -tags figures -run '^TestLoginFigures' -timeout 20m ./integration/

pictures: deps ## writes the pictures of the example's page into docs/pictures
	mkdir -p docs/pictures
	SIGNET_REQUIRE_SERVERS=1 go test -count=1 -run '^TestPictures$$' ./integration/browser/ -pictures $(CURDIR)/docs/pictures

govulncheck: ## looks for known vulnerabilities; needs the internet for their database
	go tool govulncheck $(MODULES)
