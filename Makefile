# Two commands for a fresh machine: `make demo` and `make test`. The rest is for people who change the code.

TORCH := torch==2.13.0
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint benchmark fuzz mutate constraints audit clean
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

# Damaged and made-up files of every kind; findings lie in fuzz-findings.
fuzz: .venv/installed-test
	FUZZ_MINUTES=$(or $(FUZZ_MINUTES),10) $(BIN)/python tests/fuzz/fuzz.py

# Small faults planted one by one in a copy of the tree: do the tests notice?
mutate: .venv/installed-test
	$(BIN)/python tests/mutate.py $(MUTATE)

# The newest versions that pyproject.toml allows; run the tests before you commit them.
constraints: $(BIN)/python
	$(BIN)/python .ci/constraints.py

# Known vulnerabilities of what is installed; asks an advisory service on the network.
audit: .venv/installed-audit
	$(BIN)/python .ci/audit.py

clean:
	rm -rf .venv demo build dist

.venv/installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet -e . -c constraints.txt
	@touch $@

.venv/installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet -e '.[dev]' $(TORCH) -c constraints.txt
	@touch $@

# In an environment of its own, so that the audited one does not change.
.venv/installed-audit: | $(BIN)/python
	$(BIN)/python -m venv .venv/audit
	.venv/audit/bin/pip install --quiet 'pip-audit>=2.7,<3'
	@touch $@

# The first of these that is found and really runs; a name on the path may be an empty shim.
$(BIN)/python:
	@for name in $(PYTHON) python3.12 python3.11 python3.10 python3; do \
		"$$name" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
			>/dev/null 2>&1 || continue; \
		echo "Making .venv with $$name; installing takes a few minutes, once."; \
		exec "$$name" -m venv .venv; \
	done; \
	if command -v uv >/dev/null; then \
		echo "Making .venv with uv's Python 3.12; installing takes a few minutes, once."; \
		exec uv venv --quiet --python 3.12 --seed .venv; \
	fi; \
	echo "Python 3.10, 3.11 or 3.12 with its venv module is needed and none was found; name one" \
		"(make demo PYTHON=/path/to/python3.12), or get uv, which brings one:" \
		"pipx install uv, or pip install --user uv" >&2; exit 1
