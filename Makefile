# What people type. Each line's comment is its help.
.DEFAULT_GOAL := help
.PHONY: help demo dev test check audit bench bench-log bench-engine torture

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: ## run a real AI workflow on real GitHub webhooks, and check what came of it (MODEL=local|sandbox, KEEP=1, CHAOS=everstep|postgres)
	@scripts/demo.sh

dev: ## start Everstep with a private Postgres (ARGS="--port 8080")
	@scripts/install.sh compiler postgres
	@cargo run --quiet --release -p cli --bin everstep -- dev $(ARGS)

test: ## run all tests on a throw-away Postgres
	@scripts/install.sh compiler postgres rabbitmq disks clocks
	@scripts/with-postgres.sh scripts/run-tests.sh

check: ## formatting, lints, layers, OpenAPI, and cargo-deny where it is installed
	@scripts/install.sh compiler
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/run-tests.sh -p tests layers openapi
	@if cargo deny --version >/dev/null 2>&1; then \
	  echo cargo deny check bans licenses sources; cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed, so licences and sources were not checked (make audit)"; fi

audit: ## licences, sources and known vulnerabilities of what we depend on (installs cargo-deny: minutes)
	@scripts/install.sh compiler
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check

bench: ## how fast small workflows run here, on a private Postgres
	@scripts/bench.sh

bench-log: ## how fast the log is, beside the same Postgres without it and beside other event stores (PEERS=no)
	@scripts/bench-log.sh

bench-engine: ## what a workflow takes, and what it takes other engines: three steps, a slow call, a backlog, timers, a kill (PEERS=no)
	@scripts/bench-engine.sh

RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
# The binary that is tortured; each half would otherwise look for one of its own.
torture: export EVERSTEP_BIN = $(abspath $(RELEASE)/everstep)
torture: ## kill, cut and freeze everything around the log, and hold its promises against it (20 minutes; MINUTES for each part)
	@scripts/install.sh compiler postgres disks clocks
	@cargo build --quiet --release -p torture -p cli
	@$(RELEASE)/torture run --minutes $(or $(MINUTES),7)
	@$(RELEASE)/torture platform --minutes $(or $(MINUTES),4)
	@$(RELEASE)/torture fleet --minutes $(or $(MINUTES),4)
	@$(RELEASE)/torture crashes
	@$(RELEASE)/torture bugs
