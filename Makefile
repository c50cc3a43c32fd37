# One .venv behind two stamps: what the demo needs, and what the tests need besides. Either target
# alone is enough on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
DEMO := .venv/.demo
TEST := .venv/.test
# One more than processors: tests of links and processes wait a fifth of their time.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')

# The demo and the tests start some hundred processes. Where the environment forbids Python to write
# bytecode, as images of containers do, each of them would compile the package anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test check lint types layers coverage bench soak models lowest docs plugins page clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "secagg needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

# uv takes a tenth of pip's processor time. It reads nothing of pip's configuration: where that names
# the only index, or where uv has no wheel, pip does it.
install = $(BIN)/python -m pip install --quiet uv \
	&& $(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[$(1)]' \
	|| $(BIN)/python -m pip install --quiet --editable '.[$(1)]'

$(DEMO): pyproject.toml | $(BIN)/python
	$(call install,demo)
	touch $@

# The uvicorn that Flower pins, in a folder beside the newest one: the door runs on both.
OLDER := .venv/uvicorn-0.49
$(TEST): pyproject.toml | $(BIN)/python
	$(call install,test)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(OLDER) 'uvicorn==0.49.*' || true
	touch $(DEMO) $@

demo: $(DEMO)
	$(BIN)/secagg demo

# A module's tests stay together unless one of them runs dry.
test: $(TEST)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# Its three parts may run beside each other: `make --jobs 3 check`.
check: lint types layers

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TEST)
	$(BIN)/mypy

# All are collected: a name that is missing shows here, and test modules are compiled while mypy runs.
layers: $(TEST)
	$(BIN)/python -m pytest -k "test_layering.py or test_exports.py"

# Lines and branches, also of child processes, and of the kernels in their run without the JIT. What
# decides, in secagg/rounds, is run line by line by its own tests alone.
coverage: $(TEST)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses $(WORKERS) --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage run --rcfile=/dev/null --data-file=.coverage.rounds --source=secagg/rounds \
		-m pytest tests/rounds
	$(BIN)/coverage report --rcfile=/dev/null --data-file=.coverage.rounds --fail-under=100

# Every benchmark but what a service must show; one that fails does not keep the others from running,
# but fails the target.
bench: $(TEST)
	@failed=; for file in $$(grep -l '^NAME = "[^-]*"' bench/*.py); do \
		$(BIN)/secagg bench $$(basename $$file .py) || failed="$$failed $$file"; \
	done; $(BIN)/python -m bench.figures; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

# All tests, with 45 times the schedules, a minute of fuzz a target, and what is too long to
# gate: run and reported. It names each test as it ends and the slowest at the end; what hangs for
# an hour shows where.
soak: $(TEST)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group wycheproof
	SECAGG_SOAK=1 SECAGG_FUZZ_SECONDS=60 $(BIN)/python -m pytest \
		--numprocesses $(WORKERS) --dist worksteal --verbose --verbose --durations 30 \
		--override-ini faulthandler_timeout=3600

# The models of active mode (specs/15-active-proof.md): Spin's, which are skipped aloud where there is
# no spin (Debian's package), and two searches and the lemmas that run anywhere. Under a minute.
models: $(TEST)
	$(BIN)/python -m specs.models.spin
	$(BIN)/python -m specs.models.explore n3 n3-a1 n4 n4-a1 n5-a2
	$(BIN)/python -m specs.models.views 6
	$(BIN)/python -m specs.models.lemmas

# The tests with the oldest releases that pyproject.toml admits, in a .venv of their own.
lowest:
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) .ci/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet \
		--constraint .venv-lowest/constraints.txt --editable '.[test]'
	.venv-lowest/bin/python -m pip check
	NUMBA_CACHE_DIR=.venv-lowest/kernels \
		.venv-lowest/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# The site, into build/site, in a .venv of its own; a link that leads nowhere fails.
docs:
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet uv
	.venv-docs/bin/uv pip install --quiet --python .venv-docs/bin/python --group docs
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet

# The adapters with their frameworks themselves, in a .venv of their own; elsewhere their tests run
# with what is recorded of these.
plugins:
	$(PYTHON) -m venv .venv-plugins
	.venv-plugins/bin/python -m pip install --quiet uv
	.venv-plugins/bin/uv pip install --quiet --python .venv-plugins/bin/python \
		--editable '.[flower,nvflare,test]'
	.venv-plugins/bin/python -m pip check
	SECAGG_SOAK=1 .venv-plugins/bin/python -m pytest --durations 10 tests/integrations

# The page of a service in Debian's Chromium, which it installs where there is none, with Playwright
# and axe in a .venv of their own; elsewhere its tests with a browser are skipped, and say so. What it
# looks like is in build/page.
page:
	command -v chromium > /dev/null || { apt-get update --quiet && apt-get install --quiet --yes chromium; }
	$(PYTHON) -m venv .venv-page
	.venv-page/bin/python -m pip install --quiet uv
	.venv-page/bin/uv pip install --quiet --python .venv-page/bin/python --editable '.[test]' --group page
	SECAGG_PAGE=build/page .venv-page/bin/python -m pytest --durations 10 tests/service/test_page*.py

clean:
	rm -rf .venv .venv-lowest .venv-docs .venv-plugins .venv-page dist build
