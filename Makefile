# Every target sets up what it needs below this folder, in .venv or, for some, in .venv-NAME. Outside of it the demo keeps
# its candles in your data folder, and tests use temporary folders; run as root, the embedded PostgreSQL gets a user.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# many tests wait for a process or a clock, so twice the cores are kept busy; with thrice it took longer
PYTEST_WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1))
BENCH ?= --growth 10 --memory
FUZZ ?= --cases 100000
DRILL ?= --seeds 200 --outage 10 120 --day

.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench validate drill fuzz audit reference site docs lock test-ccxt test-qlib test-frames wheel-check clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# Dependencies are installed by hash. The project itself is linked, so that edits count at once.
$(VENV)/.run: requirements/run.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed, and none was found. Install it, or: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(VENV)/.run  ## Collect candles from the built-in exchange into an embedded PostgreSQL, and show them
	@$(BIN)/chandlery demo

test: $(VENV)/.dev  ## The whole test suite
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal

lint: $(VENV)/.dev  ## Style and common mistakes
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev  ## Static types, strictly
	$(BIN)/mypy

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

bench: $(VENV)/.bench  ## Compare the ways in and out of PostgreSQL, in one run; BENCH="--growth 50" grows further
	$(BIN)/python -m benchmarks $(BENCH)

validate: $(VENV)/.dev  ## The whole life of candles once, from the exchange to Qlib, compared with the source; about a minute
	@$(BIN)/python -m validation

drill: $(VENV)/.dev  ## Faults at random on database and exchange; about 25 minutes; DRILL="--seeds 5" is short
	PYTHONPATH=tests $(BIN)/python -m drill $(DRILL)

fuzz: $(VENV)/.dev  ## 100,000 hostile candles at every way in; a minute or two; FUZZ="--cases 5000 --seed 2" is short
	PYTHONPATH=tests $(BIN)/python -m fuzz $(FUZZ)

audit:  ## Ask the package index which of the locked dependencies have known weaknesses
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/audit/requirements.txt
	.venv-audit/bin/python tests/audit/check_audit.py requirements/run.txt requirements/dev.txt

$(VENV)/.docs: requirements/docs.txt $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

reference: $(VENV)/.run  ## Write docs/reference from the code: commands, Python, schema
	$(BIN)/python scripts/make_reference.py

site: $(VENV)/.docs  ## Build the documentation as a site in build/docs; a warning is an error
	$(BIN)/sphinx-build -q -W --keep-going -d build/doctrees docs build/docs

docs: site  ## The site, and that links, commands and examples of the documentation hold
	$(BIN)/python -m pytest -q -n $(PYTEST_WORKERS) --dist worksteal tests/docs

wheel-check: $(VENV)/.dev  ## Build the wheel, install it elsewhere, and collect with it
	$(BIN)/python tests/wheel/check_wheel.py

test-ccxt: $(VENV)/.run  ## Try the general exchange library ccxt on the simulator, in an environment of its own
	$(PYTHON) -m venv .venv-ccxt
	.venv-ccxt/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/ccxt/requirements.txt
	.venv-ccxt/bin/python tests/ccxt/check_ccxt.py $(BIN)/python

test-qlib:  ## Try the real Qlib on an export and on PostgreSQL, in an environment of its own: 1.4 GB, some minutes
	$(PYTHON) -m venv .venv-qlib
	.venv-qlib/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/qlib/requirements.txt
	.venv-qlib/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	.venv-qlib/bin/python tests/qlib/check_qlib.py

test-frames:  ## Try polars, DuckDB, backtesting.py, lightweight-charts and freqtrade on candles, in an environment of its own
	$(PYTHON) -m venv .venv-frames
	.venv-frames/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/frames/requirements.txt
	.venv-frames/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	PYTHONPATH=tests .venv-frames/bin/python tests/frames/check_frames.py

lock: $(VENV)/.dev  ## Renew the locked dependencies: versions and hashes, no addresses
	$(BIN)/uv pip compile $(LOCK) --group build pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile $(LOCK) --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile $(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt
	$(BIN)/uv pip compile $(LOCK) --group docs -c requirements/dev.txt -o requirements/docs.txt
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

clean:  ## Remove what was built here; stored candles stay
	rm -rf $(VENV) .venv-audit .venv-ccxt .venv-qlib .venv-frames build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
