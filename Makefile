# Thin targets: each line is what you would type yourself.
GO  ?= go
BIN := bin

.PHONY: run test build lint client bench bench-site fuzz soak dist dist-check clean

run: ## the demo, on a fresh machine too
	./.ci/install mariadb
	$(GO) run ./cmd/holdline demo

test: ## everything that must hold; installs what it needs
	./.ci/install all
	$(GO) vet ./...
	$(GO) test -race -timeout 20m ./...
	./.ci/browser

build: ## bin/holdline and bin/holdbench
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $(BIN)/ ./cmd/holdline ./cmd/holdbench

lint:
	test -z "$$($(GO) tool gofumpt -l .)"
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

bench: build ## beside nginx's nchan in the same run
	./.ci/install all
	$(BIN)/holdbench --holdline $(BIN)/holdline --peer nchan --rounds 3 --json $(BIN)/bench.json

bench-site: build ## PHP's held loops beside Holdline, on a real WordPress
	./.ci/install all
	$(BIN)/holdbench --scenario site --holdline $(BIN)/holdline --json $(BIN)/bench-site.json

client: ## the scripts for browsers from their sources, and what they weigh
	cd wordpress/client && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build
	cd wordpress/jquery && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build
	@cd wordpress && for f in client/holdline.js jquery/jquery.holdline.js jquery/wplc.js; do \
	  printf '%s: %s bytes, %s compressed\n' $${f#*/} $$(wc -c < $$f) $$(gzip -9c $$f | wc -c); done

fuzz: ## every parser of foreign bytes, FUZZTIME each (default 60s)
	./.ci/fuzz

SOAK         ?= 20m
SOAK_CLIENTS ?= 2000
soak: ## a bad day: 2,000 clients, and everything is killed now and then (SOAK, SOAK_CLIENTS); as root
	./.ci/install all
	dir=$$(mktemp -d /tmp/hs.XXXX) && chmod 755 $$dir && trap "rm -rf $$dir" EXIT && \
	  TMPDIR=$$dir $(GO) test -tags e2e -count=1 -v -timeout 3h ./e2e/soak -soak.for=$(SOAK) -soak.clients=$(SOAK_CLIENTS) $(SOAK_FLAGS)

dist: ## dist/ for release: programs, .deb, .rpm, bills of materials, checksums, of the commit
	./.ci/dist

dist-check: ## that dist/ comes out the same twice, and the .deb works in a clean Debian; needs root
	./.ci/dist-check

clean:
	rm -rf $(BIN) dist
