# `make demo` and `make test` are all a fresh machine needs: python3 (3.11 to 3.13) and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test check deploy bench soak chaos fuzz clean

demo: $(READY) ## The whole way on this machine, without a key
	$(BIN)/packshot demo $(DEMO)

test: $(READY) ## Everything but the long ones, in two processes: most of it waits
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

check: $(READY) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

deploy: $(READY) ## Work pool and all deployments, on the Prefect server of PREFECT_API_URL or prefect.toml
	PATH="$(CURDIR)/$(BIN):$$PATH" sh deployments/deploy.sh

bench: $(READY) ## Every benchmark in its short form, and a table: under ten minutes
	$(BIN)/python -m benchmarks

soak: $(READY) ## Half an hour of 200 calls at once, three in ten of them bad: does anything grow?
	$(BIN)/python -m benchmarks.soak $(SOAK)

chaos: $(READY) ## 200 times kill -9 at every point, then outages: what was lost, and what was bought twice?
	$(BIN)/python -m tests.chaos --kills 200 $(CHAOS)

fuzz: $(READY) ## A minute of broken catalogs for every reader; FUZZ="--seconds 3600" goes on
	$(BIN)/python -m tests.catalog.fuzz $(FUZZ)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit(f"packshot needs Python 3.11, 3.12 or 3.13; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

clean: ## Remove the environment, caches and the demo; the ledger and what was paid for, in .packshot, stay
	rm -rf $(VENV) .packshot/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
