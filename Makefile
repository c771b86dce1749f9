# Two commands matter: `make run` starts the proxy on the model that comes with it, `make test` runs every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint types bench e2e notebooks docs lock clean

run: $(VENV)/installed
	$(BIN)/python -m anyclaude_lab.proxy --proxy-only $(ARGS)

test: $(VENV)/installed-dev lint types
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo

types: $(VENV)/installed-dev
	$(BIN)/mypy

e2e: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "e2e or engine" $(ARGS)

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks $(ARGS)

notebooks: $(VENV)/installed-dev
	$(BIN)/python -m pytest --nbval notebooks $(ARGS)

docs: $(VENV)/installed-dev
	$(BIN)/python -m anyclaude_lab.settings > docs/configuration.md

lock: $(VENV)/installed-dev
	$(BIN)/uv pip compile --universal --python-version 3.11 --quiet --no-header --no-emit-index-url pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --quiet --no-header --no-emit-index-url --extra dev pyproject.toml -o requirements-dev.lock

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) .ci/venv.py $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
