# Every target installs what it needs, on a fresh machine with Python 3.11 or newer.
.DEFAULT_GOAL := help
.PHONY: help demo test check serve bench soak docs lock clean

# The first of these that runs and is new enough; `make PYTHON=/path/to/python3 …` chooses another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv/.docs-ready
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check
ARGS ?=

help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*## "} {printf "  make %-8s %s\n", $$1, $$2}'

demo: $(READY) ## Show two tenants on one platform; ARGS=--no-serve ends after the show
	@$(BIN)/tenantry demo $(ARGS)

# In the order of the folders: the long files of tests/acceptance first, the many short ones of
# tests/unit last. Files with few tests would else come last, and the longest have the fewest.
test: $(READY) ## Run the tests, in parallel and offline
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not soak" $(ARGS)

check: $(READY) ## Format, lint, types, layers, style gates, generated documents
	@$(BIN)/python tools/check.py $(ARGS)

serve: $(READY) ## Run the server
	@$(BIN)/tenantry serve $(ARGS)

bench: $(READY) ## Measure; prints ratios of one run
	@$(BIN)/python -m bench $(ARGS)

soak: $(READY) ## Run the slow soak and load tests
	@$(BIN)/python -m pytest -m soak $(ARGS)

docs: $(DOCS_READY) ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

lock: $(READY) ## Resolve the dependencies anew and write requirements/*.lock
	@$(BIN)/python tools/lock.py

clean: ## Remove the virtual environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache site

$(READY): requirements/dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Tenantry needs Python 3.11 or newer, and found none; say: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Installing into .venv (once, about a minute) …"
	@"$(PYTHON)" -m venv .venv
	@$(INSTALL) --require-hashes -r requirements/dev.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $(READY)

$(DOCS_READY): $(READY) requirements/docs.lock
	@$(INSTALL) --require-hashes -r requirements/docs.lock
	@touch $(DOCS_READY)
