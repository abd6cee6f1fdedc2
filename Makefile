# One target a task; each first installs what the machine lacks for it (scripts/needs). `make help` lists them.

# The only place that names the build tags, the linter's version and how the binary is linked.
TAGS        := seccomp osusergo netgo runc_nocriu urfave_cli_no_docs
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# scripts/ensure-go puts Go there, if it must.
export PATH        := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hdjail/go/bin:$(PATH):/usr/local/go/bin
export CGO_ENABLED := 1
export HDJAIL_BIN  := $(CURDIR)/bin/hdjail

GOFLAGS_BUILD := -trimpath -buildvcs=false -tags '$(TAGS)'
FUZZTIME      := 20s

# How many cases every property test tries, and where there are some.
CASES         := 200
SOAK          := 10000
PROPERTIES     = $(sort $(dir $(shell grep -rl --include='*_test.go' pgregory.net/rapid .)))

.PHONY: help build demo test soak bench lint fuzz clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

build: ## make bin/hdjail, a static binary
	@scripts/ensure build
	go build $(GOFLAGS_BUILD) -ldflags '-s -w -X main.version=$(VERSION)' -o bin/hdjail ./cmd/hdjail

demo: build ## build a small real stack in jails and link it into a profile
	@scripts/ensure demo
	@scripts/demo

# Go caches a passed test, not seeing that bin/hdjail has changed, which some of them run: hence -count=1.
test: build ## vet and test everything
	@scripts/ensure test
	go vet -tags '$(TAGS)' ./...
	RAPID_CHECKS=$(CASES) go test -buildvcs=false -tags '$(TAGS)' -count=1 -timeout 9m ./...

soak: build ## every property test with SOAK (10000) cases, and a thousand kills of a store; takes hours
	@scripts/ensure test
	RAPID_CHECKS=$(SOAK) go test -buildvcs=false -tags '$(TAGS)' -count=1 -timeout 0 $(PROPERTIES)
	HDJAIL_SOAK=1 go test -buildvcs=false -tags '$(TAGS)' -count=1 -timeout 3h -v ./integration/crash

bench: build ## measure hdjail beside bubblewrap, runc, nix and stow
	@scripts/ensure bench
	go run -buildvcs=false ./integration/bench -hdjail $(HDJAIL_BIN) $(BENCHFLAGS)
	go test -buildvcs=false -tags '$(TAGS)' -run '^$$' -bench Jail -benchtime 100x ./jail/container
	go test -buildvcs=false -tags '$(TAGS)' -run '^$$' -bench 'Preview|Check' -benchtime 3x ./artifact/gc ./artifact/verify

lint: ## gofmt, go vet and staticcheck
	@scripts/ensure build
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt these: $$unformatted" >&2; exit 1; }
	go vet -tags '$(TAGS)' ./...
	go run $(STATICCHECK) -checks all -tags '$(TAGS)' ./...

fuzz: ## run each fuzz test for FUZZTIME (20s)
	@scripts/ensure build
	@scripts/fuzz '$(TAGS)' $(FUZZTIME)

clean: ## remove what make built
	rm -rf bin .cache
