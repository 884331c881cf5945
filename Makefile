# Two commands for a fresh machine: `make demo` and `make test`. The rest is for people who change the code.

TORCH := torch==2.13.0
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint benchmark clean
.DELETE_ON_ERROR:

demo: .venv/installed-demo
	$(BIN)/ned demo demo

test: .venv/installed-test
	$(BIN)/python -m pytest -n 2

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

benchmark: .venv/installed-test
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf .venv demo build dist

.venv/installed-demo: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet -e .
	@touch $@

.venv/installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[dev]' $(TORCH)
	@touch $@

# The first of these that is found and really runs; a name on the path may be an empty shim.
$(BIN)/python:
	@for name in $(PYTHON) python3.12 python3.11 python3.10 python3; do \
		"$$name" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
			>/dev/null 2>&1 || continue; \
		echo "Making .venv with $$name; installing takes a few minutes, once."; \
		exec "$$name" -m venv .venv; \
	done; \
	echo "Python 3.10, 3.11 or 3.12 with its venv module is needed and none was found;" \
		"install one, or name it: make test PYTHON=/path/to/python3.11" >&2; exit 1
