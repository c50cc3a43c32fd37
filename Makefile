# One shared .venv behind a stamp file: `make demo` alone is enough on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test check soak clean

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "secagg needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

demo: $(STAMP)
	$(BIN)/secagg demo

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layering.py tests/test_exports.py

# Full-size tables, long fuzzing and thousands of schedules: run and reported, not gating.
soak: $(STAMP)
	SECAGG_SOAK=1 $(BIN)/python -m pytest -m 'soak or not soak'

clean:
	rm -rf .venv dist build
