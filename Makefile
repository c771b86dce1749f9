# Two commands matter: `make run` starts the proxy on the model that comes with it, `make test` runs every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --quiet --no-header --annotation-style line pyproject.toml
PLATFORMS := aarch64-apple-darwin x86_64-apple-darwin x86_64-manylinux_2_35 aarch64-manylinux_2_35 x86_64-pc-windows-msvc

.PHONY: run test lint types clients bench gate replay e2e fuzz soak audit notebooks docs lock clean

run: $(VENV)/installed
	$(BIN)/python -m anyclaude_lab.proxy --proxy-only $(ARGS)

test: lint types clients
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo

types: $(VENV)/installed-dev
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/windows anyclaude_lab

# The releases of Claude Code that the tests drive, installed once and outside of any test's clock.
clients: $(VENV)/installed-dev
	$(BIN)/python -m tests.requirements

e2e: clients
	$(BIN)/python -m pytest -m "e2e or engine" $(ARGS)

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks $(ARGS)

# The proxy's CPU beside a bare relay's, against limits.
gate: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks gate $(ARGS)

# Prompts must not grow, and must not lose their prefix. After a change that is meant to move them, rewrite the baseline:
# rm -r .ci/replay-baseline; anyclaude-bench replay traces/ --grid .ci/replay.toml --turns 6 --out .ci/replay-baseline
replay: $(VENV)/installed-dev
	$(BIN)/anyclaude-bench replay traces/ --grid .ci/replay.toml --turns 6 --baseline .ci/replay-baseline \
	  --fail-over prompt_tokens_ratio=1.01 --fail-under expected_hit_rate_difference=-0.01 --fail-under fidelity=1 $(ARGS)

# Minutes of damaged input for all that reads what others wrote.
MINUTES ?= 10
fuzz: $(VENV)/installed-dev
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(ARGS)
	for target in "openai stream" "anthropic stream" request "error body" "http answer"; do \
	  $(BIN)/python -m tests.fuzz.guided "$$target" --keep || exit 1; done

# Hours of the real proxy and client under faults; each part leaves its figures in benchmarks/soak/results.
soak: clients
	for part in streams cluster sessions "sessions --real-timers"; do $(BIN)/python -m benchmarks.soak $$part || exit 1; done

# Known weaknesses of the locked dependencies; without a network it says so and passes.
audit: $(VENV)/installed-dev
	$(BIN)/python .ci/audit.py requirements.lock requirements-dev.lock

notebooks: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 tests/notebooks $(ARGS)

docs: $(VENV)/installed-dev
	$(BIN)/python -m anyclaude_lab.settings > docs/configuration.md

# Every platform must find a wheel of everything.
lock: $(VENV)/installed-dev
	$(LOCK) -o requirements.lock
	$(LOCK) --extra dev -c requirements.lock -o requirements-dev.lock
	for platform in $(PLATFORMS); do MACOSX_DEPLOYMENT_TARGET=14.0 $(BIN)/uv pip install --dry-run --quiet --no-build \
	  --python-platform $$platform --target build/nowhere -r requirements.lock || exit 1; done

# Each marker is made last, so that an interrupted installation is continued by the next command.
$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) .ci/venv.py $(VENV) $(MAKECMDGOALS)
	$(PIP) -r requirements.lock
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	$(PIP) -r requirements-dev.lock
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
