# Everything happens in .venv, made from the first Python 3.11 or newer that is found;
# `make PYTHON=/path/to/python` names another one.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# Scipion has an interpreter of its own: its pins are older than ours, and it needs Tk.
SCIPION := .venv-scipion
SCIPION_PYTHON ?=
SCIPION_CANDIDATES := $(SCIPION_PYTHON) python3.11 python3.10 python3.9 python3.8 python3
IS_FOR_SCIPION := import sys, tkinter; sys.exit(not (3, 8) <= sys.version_info < (3, 12))

.PHONY: help setup scipion demo test endurance dist lint format docs site clean

help:
	@echo "make demo    align a simulated movie and compare with its known motion"
	@echo "make test    lint, then all tests and doctests, also those in Scipion"
	@echo "make scipion the environment with Scipion that the tests of the plugin run in"
	@echo "make endurance   the tests of long runs and of damaged files at full length"
	@echo "make dist    build wheel and source archive, check them, and try the wheel in a clean environment"
	@echo "make lint    format, style, types and layers, without changing a file"
	@echo "make format  put the code in the common format"
	@echo "make docs    write the generated pages of docs/reference"
	@echo "make site    the documentation as a site that needs no network: site/index.html"
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

scipion: $(SCIPION)/installed

$(SCIPION)/bin/python:
	@for name in $(SCIPION_CANDIDATES); do \
	    if "$$name" -c '$(IS_FOR_SCIPION)' 2>/dev/null; then exec "$$name" -m venv $(SCIPION); fi; \
	done; \
	echo "error: expected Python 3.8 to 3.11 with tkinter, for Scipion; found none of:" >&2; \
	echo "$(SCIPION_CANDIDATES). Name it: make SCIPION_PYTHON=/path/to/python3.11 ..." >&2; \
	exit 1

$(SCIPION)/installed: scipion-em-flexalign/pyproject.toml scipion-em-flexalign/tests/requirements.txt \
        | $(SCIPION)/bin/python
	$(SCIPION)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --requirement scipion-em-flexalign/tests/requirements.txt --editable scipion-em-flexalign
	# The FlexAlign protocol for tilt series starts with no later release; see its test.
	$(SCIPION)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	    --target $(SCIPION)/xmipp-24.6 scipion-em-xmipp==24.6.0.0
	@touch $@

demo: setup
	$(BIN)/flexalign demo --out demo

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint scipion
	$(BIN)/pytest -n 2 --dist loadfile --doctest-modules src/flexalign tests
	$(SCIPION)/bin/python -m pytest -n 2 --dist loadfile scipion-em-flexalign/tests

dist: setup
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	tar --list --gzip --file dist/*.tar.gz | grep --quiet 'tests/unit/test_motion.py'
	$(BIN)/python -m venv --clear dist/try
	dist/try/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd dist && try/bin/flexalign demo --out demo
	rm -rf dist/try dist/demo

endurance: setup
	FLEXALIGN_FULL_TESTS=1 $(BIN)/pytest tests/batch tests/fuzz

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup
	$(BIN)/python docs/generate.py

site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:
	rm -rf $(VENV) $(SCIPION) demo dist build site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
