# metermend. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK := .ci/requirements-dev.lock
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# What Python compiles is kept, whatever the environment says: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo stripe-cli test format bench lock siege sbom audit licences clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the metermend command in it

# uv installs in a tenth of pip's time, and knows no index of pip's own settings: where it finds none, pip does it.
$(READY): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "metermend needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^[^ ]/ {uv = /^uv==/} uv' $(LOCK) >$(VENV)/uv.lock
	@$(PIP) --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --require-hashes -r $(LOCK) 2>/dev/null \
	  || $(PIP) --require-hashes -r $(LOCK)
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## play a company's bad day through the whole loop (KEEP=1 leaves it running)
	@$(BIN)/metermend demo $(if $(KEEP),--keep)

stripe-cli: setup by-npm ## type what the Stripe CLI can trigger, against a demo, and say what became of each
	@$(BIN)/metermend demo --stripe-cli

test: ## the whole gate: format, lint, types, import rules, all tests
	@$(MAKE) --no-print-directory -j 3 lint types tests by-npm

.PHONY: lint types tests by-npm
lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory audit

types: lint
	$(BIN)/mypy

# Files in memory where there is room: the ledgers of the tests wait for the disk at every commit. What a fresh clone
# has yet to compile is compiled once, and not by each of pytest's workers.
tests: lint
	@avail=$$(df -k --output=avail /dev/shm 2>/dev/null | tail -1); \
	  test "$${avail:-0}" -lt 4000000 || export TMPDIR=/dev/shm; \
	  $(BIN)/pytest --collect-only -q >/dev/null; $(BIN)/pytest -n 3 --dist loadgroup -q

# What only npm has, without the scripts of packages. A slow download keeps no test but those that need it, which wait
# while the mark is there, and is broken off after two minutes.
NPM := $(VENV)/npm
by-npm:
	@command -v npm >/dev/null || { echo "npm is not here: the tests of the Stripe CLI, of axe, of Azure and of the Dockerfile's form will be skipped"; exit 0; }; \
	  mkdir -p $(NPM); touch $(NPM)/.in-work; trap 'rm -f $(NPM)/.in-work' EXIT; \
	  timeout 120 npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts --fetch-retries=1 --fetch-timeout=30000 --prefix $(NPM) \
	    @stripe/cli@1.52.0 axe-core@4.14.1 dockerfile-utils@0.16.3 azurite@3.35.0 \
	  || echo "npm could not install: the tests of the Stripe CLI, of axe, of Azure and of the Dockerfile's form will be skipped"

format: setup ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## measure: ratios, growth, memory (ARGS="records --full")
	$(BIN)/python -m bench $(ARGS)

lock: setup ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --extra embedded --extra excel -o .ci/requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --extra embedded --extra excel --extra dev -o .ci/requirements-dev.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --group tools -o .ci/requirements-tools.lock

TOOLS := $(VENV)/tools

# Tools that read what is installed; they need not stand beside it.
$(TOOLS)/.ready: .ci/requirements-tools.lock | setup
	@$(PYTHON) -m venv $(TOOLS)
	@$(BIN)/uv pip install --quiet --system-certs --python $(TOOLS)/bin/python --require-hashes -r $< 2>/dev/null \
	  || $(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

siege: setup ## fire 100,000 odd requests at the web and hold it with crowds (ARGS="--requests 2000 --no-crowds")
	$(BIN)/python -m bench.siege $(ARGS)

sbom: $(TOOLS)/.ready ## list what a deployment consists of, as CycloneDX: build/metermend.cdx.json
	@rm -rf build/deployed && mkdir -p build && $(PYTHON) -m venv --without-pip build/deployed
	@$(BIN)/uv pip install --quiet --system-certs --python build/deployed/bin/python --require-hashes -r .ci/requirements.lock 2>/dev/null \
	  || $(BIN)/python -m pip --python build/deployed/bin/python install --quiet --disable-pip-version-check --require-hashes -r .ci/requirements.lock
	@$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o build/metermend.cdx.json build/deployed/bin/python
	@rm -r build/deployed
	@echo build/metermend.cdx.json

licences: setup ## print the licence of each package of a deployment; the gate holds them to those that are allowed
	@$(BIN)/python -m tests.architecture.licences

ADVISORIES := api.osv.dev
audit: setup ## look for known vulnerabilities of what is pinned, where their list can be reached
	@if $(BIN)/python -c 'import socket; socket.create_connection(("$(ADVISORIES)", 443), 3)' 2>/dev/null; then \
	  $(MAKE) --no-print-directory $(TOOLS)/.ready && $(TOOLS)/bin/pip-audit --vulnerability-service osv --disable-pip \
	    --require-hashes --progress-spinner off -r .ci/requirements.lock; \
	else echo "audit: $(ADVISORIES) cannot be reached from here, so known vulnerabilities were not looked for"; fi

clean: ## remove what was built and the local state
	rm -rf $(VENV) .metermend build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
