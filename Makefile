# dlink. `make demo` runs the whole way once; `make test` passes the tests. Both set up first.
VENV ?= .venv
BIN := $(VENV)/bin
# A command that works in a plain shell and in make alike: no activation needed.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1
# Two test files at a time: many wait for processes that they have started.
PARALLEL ?= -n 2 --dist loadfile

.PHONY: help setup demo rehearsal test quick lint format clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## virtual environment, cross compiler, emulator (a second run is quick)
	@VENV=$(VENV) bash scripts/setup.sh

demo: setup ## simulated EEG -> teacher -> student -> artefact -> host and Cortex-M4 -> verdict
	@cmp -s examples/demo.toml runs/demo/recipe.toml || rm -rf runs/demo  # a run of an older recipe
	dlink-distill examples/demo.toml -o runs/demo --resume
	dlink-export runs/demo -o artefacts/demo --with-teacher
	dlink-bench artefacts/demo -t host -t nucleo-l4r5zi -o runs/demo-bench/results.json
	dlink-gate runs/demo-bench/results.json --budgets examples/budgets.toml

rehearsal: setup ## an emulated Raspberry Pi: about 370 MB in build/rehearsal (DLINK_REHEARSAL_DIR)
	@VENV=$(VENV) bash scripts/rehearsal.sh

test: setup ## every test
	python -m pytest -q $(PARALLEL)

quick: setup ## the tests that take seconds
	python -m pytest -q -m "not slow" $(PARALLEL)

lint: setup ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

format: setup ## ruff's formatter
	ruff check --fix .
	ruff format .

clean: ## remove what was built here, but not the virtual environment
	rm -rf runs artefacts build .pytest_cache .mypy_cache .ruff_cache .hypothesis
