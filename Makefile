# Everything in a fresh clone: make demo, make test, make test-all, make check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all check install clean

$(VENV)/made: pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] < (3, 14); \
	  sys.exit(0 if ok else f"expected Python 3.11, 3.12 or 3.13 (make PYTHON=python3.12 ...), found {sys.version.split()[0]}")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/made-test: $(VENV)/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/made-check: $(VENV)/made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[check]'
	@touch $@

install: $(VENV)/made

demo: $(VENV)/made
	$(BIN)/bdl run configs/lesson04_batch_norm.yaml

test: $(VENV)/made-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow'

test-all: $(VENV)/made-test
	$(BIN)/python -m pytest

check: $(VENV)/made-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
