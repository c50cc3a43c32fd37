# One shared .venv behind a stamp file: `make demo` alone is enough on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test check bench soak clean

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

# Every benchmark; one that fails does not keep the others from running, but fails the target.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@failed=; for file in $$(grep -l '^NAME = "' bench/*.py); do \
		$(BIN)/secagg bench $$(basename $$file .py) || failed="$$failed $$file"; \
	done; $(BIN)/python -m bench.figures; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

# Full-size tables, long fuzzing and thousands of schedules: run and reported, not gating.
soak: $(STAMP)
	SECAGG_SOAK=1 $(BIN)/python -m pytest -m 'soak or not soak'

clean:
	rm -rf .venv dist build
