# Everything happens in .venv; each target installs what it needs and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check

demo: .venv/base
	$(BIN)/vmdepth-run demo -o demo.mp4
	@echo "Open $(CURDIR)/demo.mp4 in a browser: colour on the left, depth on the right."

test: .venv/test
	$(BIN)/python -m pytest

check: .venv/check
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/base: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/%: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[$*]'
	@touch $@
