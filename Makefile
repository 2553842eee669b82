# `make` alone lists what there is to do. All of it needs only Go, gcc and make; a C++
# compiler and the headers for the real Ollama are seen to by ollama/ollamatest.

BINARY    := build/ollama-mcp
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
# 12 MB, for the stripped program on linux/amd64.
MAX_SIZE := 12000000

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
# Functions aligned to 16 bytes and not to 32 save 100 kB.
LDFLAGS := -s -w -funcalign=16 -X main.version=$(VERSION)
# What is inlined in packages in which no time is spent (they shake hands, read files and schemas) takes
# 350 kB. A plain go build does without this.
COLD := crypto/tls go.yaml.in/yaml/v4/internal/libyaml github.com/santhosh-tekuri/jsonschema/v6 \
	math/big github.com/yosida95/uritemplate/v3
# Version control is asked once, above: where it distrusts the folder's owner, go build would fail.
BUILD := CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags="$(LDFLAGS)" $(COLD:%=-gcflags=%=-l)

STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Long enough for a slow machine; a test that hangs ends by its own limit.
GOTEST := go test -count=1 -timeout=20m $(TESTFLAGS)
DRIFT  := ollama/drift
# Others' clients and suites against the program, in a module of its own.
INTEROP := interop
PROOF   := cd $(INTEROP) && $(GOTEST) -race -timeout=5m

.NOTPARALLEL:
.PHONY: help demo test bench build fmt cover \
	tools format tidy vet platforms size lint ollama unit drift \
	conformance clients browser

help:
	@echo 'make demo         run the main job on your Ollama, or on one built for it, and show what it took'
	@echo 'make test         run every check and test; TESTFLAGS=-v lists the tests'
	@echo 'make conformance  run the official conformance suite of MCP'
	@echo 'make clients      run the MCP Inspector and the official SDKs'
	@echo 'make browser      have Chromium try to reach the server from foreign pages'
	@echo 'make bench        run the benchmarks'
	@echo 'make build        write $(BINARY)'
	@echo 'make fmt          format the code and tidy the modules'
	@echo 'make cover        write build/cover.html'

demo: build
	@CGO_ENABLED=0 go build -buildvcs=false -o $(BINARY)-demo ./demo
	@$(BINARY)-demo $(BINARY)

build:
	@$(BUILD) -o $(BINARY) .

# Cheap steps first. Each can be run alone.
test: tools format tidy vet platforms size lint ollama unit drift
	@echo '== all passed'

tools:
	@echo '== tools: go, gcc'
	@command -v go >/dev/null || { echo 'Go is missing: install it from https://go.dev/dl'; exit 1; }
	@command -v gcc >/dev/null || { echo 'gcc is missing (the race detector needs it): apt-get install gcc libc6-dev'; exit 1; }

format:
	@echo '== format: gofmt'
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'These files are not formatted: run make fmt'; exit 1; }

tidy:
	@echo '== tidy: go.mod and go.sum of all modules'
	@go mod tidy -diff || { echo 'go.mod is not tidy: run make fmt'; exit 1; }
	@for m in $(DRIFT) $(INTEROP); do \
		(cd $$m && go mod tidy -diff) || { echo "$$m/go.mod is not tidy: run make fmt"; exit 1; }; \
	done

vet:
	@echo '== vet: linux, darwin, windows'
	@go vet ./...
	@GOOS=darwin go vet ./...
	@GOOS=windows go vet ./...
	@for m in $(DRIFT) $(INTEROP); do (cd $$m && go vet ./...) || exit 1; done

platforms:
	@echo '== platforms: $(PLATFORMS)'
	@for p in $(PLATFORMS); do \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go build ./... || { echo "It does not build for $$p"; exit 1; }; \
	done

size:
	@echo '== size: linux/amd64, stripped, at most $(MAX_SIZE) bytes'
	@GOOS=linux GOARCH=amd64 $(BUILD) -o $(BINARY)-linux-amd64 .
	@size=$$(wc -c <$(BINARY)-linux-amd64); echo "   $$size bytes"; test $$size -le $(MAX_SIZE) || \
		{ echo 'The program has grown too large: go tool nm -size -sort size shows by what'; exit 1; }

lint:
	@echo '== lint: staticcheck'
	@$(STATICCHECK) ./...
	@cd $(INTEROP) && $(STATICCHECK) ./...

ollama:
	@echo '== ollama: the real one for the tests, built once'
	@go test -count=1 -timeout=60m -run='^TestReal$$' ./ollama/ollamatest

unit:
	@echo '== unit: unit, transcript, import and end-to-end tests, fuzz seeds; race detector'
	@$(GOTEST) -race ./... || { echo 'To repeat one: go test -race -run NAME ./PACKAGE'; exit 1; }

drift:
	@echo '== drift: our JSON fields against those of Ollama'
	@cd $(DRIFT) && $(GOTEST) ./...

# Each of these installs what it needs when it runs for the first time: see interop/README.md.
conformance:
	@echo '== conformance: the official suite of MCP'
	@$(PROOF) ./conformance

clients:
	@echo '== clients: the MCP Inspector, the SDKs for TypeScript and Go'
	@$(PROOF) ./clients

browser:
	@echo '== browser: foreign pages in Chromium'
	@$(PROOF) ./browser

bench:
	@go test -run='^$$' -bench=. -skip=Figures -benchmem -timeout=20m ./...
	@go test -run='^$$' -bench=Figures -benchtime=1x -timeout=10m .

fmt:
	@gofmt -w .
	@go mod tidy
	@for m in $(DRIFT) $(INTEROP); do (cd $$m && go mod tidy) || exit 1; done

cover:
	@mkdir -p build
	@$(GOTEST) -coverpkg=./... -coverprofile=build/cover.out ./...
	@go tool cover -html=build/cover.out -o build/cover.html
	@go tool cover -func=build/cover.out | tail -n 1
