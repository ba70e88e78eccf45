# Everything happens in .venv, made from the first Python 3.11 or newer that is found;
# `make PYTHON=/path/to/python` names another one.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

.PHONY: help setup demo test lint format docs clean

help:
	@echo "make demo    align a simulated movie and compare with its known motion"
	@echo "make test    lint, then all tests and doctests"
	@echo "make lint    format, style, types and layers, without changing a file"
	@echo "make format  put the code in the common format"
	@echo "make docs    write the generated pages of docs/reference"
	@echo "make clean   remove the environment, the caches and the demo"

setup: $(VENV)/installed

$(BIN)/python:
	@for name in $(CANDIDATES); do \
	    if "$$name" -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then exec "$$name" -m venv $(VENV); fi; \
	done; \
	echo "error: expected Python 3.11 or newer as one of: $(CANDIDATES); found none." >&2; \
	echo "Install it, or name it: make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 1

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup
	$(BIN)/flexalign demo --out demo

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 --dist loadfile --doctest-modules src/flexalign tests

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
