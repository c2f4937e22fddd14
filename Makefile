# Every target installs what it needs, on a fresh machine with Python 3.11 or newer.
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=

.PHONY: help demo test check serve bench soak docs clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*## "} {printf "  make %-8s %s\n", $$1, $$2}'

demo: $(READY) ## Show two tenants on one platform; ARGS=--no-serve ends after the show
	@$(BIN)/tenantry demo $(ARGS)

test: $(READY) ## Run the tests, in parallel and offline
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not soak" $(ARGS)

check: $(READY) ## Format, lint, types, layers, style gates
	@$(BIN)/python tools/check.py

serve: $(READY) ## Run the server
	@$(BIN)/tenantry serve $(ARGS)

bench: $(READY) ## Measure; prints ratios of one run
	@$(BIN)/python -m bench $(ARGS)

soak: $(READY) ## Run the slow soak and load tests
	@$(BIN)/python -m pytest -m soak $(ARGS)

docs: $(READY) ## Build the documentation into site/
	@$(BIN)/python -m pip install -q -e '.[docs]' && $(BIN)/python -m mkdocs build --strict

clean: ## Remove the virtual environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache site

$(READY): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tenantry needs Python 3.11 or newer; set PYTHON=/path/to/it" >&2; exit 1; }
	@echo "Installing into .venv (once) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/dev.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
