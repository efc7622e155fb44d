# Every target makes its own .venv from a bare Python 3.11 or newer; nothing has to be set up by hand.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
LOWEST := .venv-lowest/bin
NEWEST := .venv-newest/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check # the lock is whole: nothing is left to resolve
PYTEST := -m pytest -n 4 --no-loadscope-reorder # on two cores: half of the time is waiting
export PYTHONDONTWRITEBYTECODE := # else each process that a test starts compiles the project anew
CODE := plugin benchmark evaluation tests deploy docs

.PHONY: help demo test test-slow test-lowest test-newest check format lint types imports bench lock clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/.ready ## the whole loop from nothing: endpoints, proxy, benchmark, routed requests (KEEP=1, REAL=1, ENDPOINTS=file.yaml)
	@$(BIN)/python -m evaluation.demo $(if $(KEEP),--keep) $(if $(REAL),--real) $(if $(ENDPOINTS),--endpoints $(ENDPOINTS)) $(SAVE)

test: .venv/.ready ## the test suite, end to end on the real proxy included
	$(BIN)/python $(PYTEST) $(ARGS)

test-slow: .venv/.ready ## the tests that take a minute or more each
	$(BIN)/python -m pytest -m slow $(ARGS)

test-lowest: .venv-lowest/.ready ## the end-to-end tests on the lowest supported LiteLLM, and what is used of it
	$(LOWEST)/python $(PYTEST) tests/e2e tests/gateway/test_litellm_adapter.py tests/gateway/rescue $(ARGS)

test-newest: .venv-newest/.ready ## the end-to-end tests and the gateway's on the newest LiteLLM
	$(NEWEST)/python $(PYTEST) tests/e2e tests/gateway $(ARGS)

check: lint types imports test ## format, lint, types, import contracts, tests

format: .venv/.ready ## rewrite the code in the project's format
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

lint: .venv/.ready
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

types: .venv/.ready
	$(BIN)/mypy

imports: .venv/.ready
	$(BIN)/lint-imports

bench: .venv/.ready ## the measurements behind docs/evidence.md (SAVE=--save keeps them, for evaluation.evidence)
	$(BIN)/python -m evaluation.overhead.pick_time $(SAVE)
	$(BIN)/python -m evaluation.overhead.proxy_overhead $(SAVE)
	$(BIN)/python -m evaluation.overhead.proxy_overhead --rounds 4 --requests 16 --stream --chunks 500 $(SAVE)
	$(BIN)/python -m evaluation.routing.first_token $(SAVE)
	$(BIN)/python -m evaluation.overhead.metrics_cost $(SAVE)
	LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -m evaluation.overhead.telling_time $(SAVE)
	$(BIN)/python -m evaluation.routing.categorizer $(SAVE)
	LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -m evaluation.routing.price_map $(SAVE)
	LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -m evaluation.routing.lengths
	$(BIN)/python -m evaluation.routing.room --rate 5
	$(BIN)/python -m evaluation.robustness.fuzz $(SAVE)
	$(BIN)/python -m evaluation.overhead.loop_hold $(SAVE)
	$(BIN)/python -m evaluation.simulator --seeds 20 $(SAVE)
	$(BIN)/python -m evaluation.face_off --repeats 4 --victims 2 $(SAVE)
	$(BIN)/python -m evaluation.agent.sample_bias $(SAVE)
	$(BIN)/python -m evaluation.agent.interval_coverage $(SAVE)
	$(BIN)/python -m evaluation.overhead.commands_speed $(SAVE)
	$(BIN)/python -m evaluation.routing.replay_ab $(SAVE)
	$(BIN)/python -m evaluation.routing.conversations $(SAVE)
	$(BIN)/python -m evaluation.routing.conversations --no-marks $(SAVE)
	$(BIN)/python -m evaluation.robustness.soak --minutes 10 $(SAVE)
	$(BIN)/python -m evaluation.agent.bench_peers agreement $(SAVE)
	$(BIN)/python -m evaluation.agent.bench_peers speed $(SAVE)
	$(BIN)/python -m evaluation.gate.gate_power --runs 2000 $(SAVE)
	$(BIN)/python -m evaluation.gate.gate_real $(SAVE)
	$(BIN)/python -m evaluation.agent.nightly_plan $(SAVE)
	LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -m evaluation.quality.floor_coverage $(SAVE)
	LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -m evaluation.quality.router_value $(SAVE)
	LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -m evaluation.quality.value_target $(SAVE)
	LITELLM_LOCAL_MODEL_COST_MAP=True $(BIN)/python -m evaluation.quality.task_value $(SAVE)
	$(BIN)/python -m evaluation.headline $(SAVE)
	$(BIN)/python -m evaluation.robustness.stalls --repeats 3 --requests 200 --rate 8 --fuzzed 5000 $(SAVE)

.venv/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found on the PATH" >&2; exit 1; }
	@echo "setting up .venv ($(PYTHON)); this takes a minute or two the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv-lowest/.ready: requirements-lowest.lock pyproject.toml
	@echo "setting up .venv-lowest ($(PYTHON))"
	@test -x $(LOWEST)/python || $(PYTHON) -m venv .venv-lowest
	@$(LOWEST)/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements-lowest.lock
	@$(LOWEST)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv-newest/.ready: requirements.lock requirements-newest.lock pyproject.toml
	@echo "setting up .venv-newest ($(PYTHON))"
	@test -x $(NEWEST)/python || $(PYTHON) -m venv .venv-newest
	@$(NEWEST)/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock
	@$(NEWEST)/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements-newest.lock
	@$(NEWEST)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

LOCK := compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --no-header --no-emit-package litellm-slo-router --extra dev pyproject.toml

# What 1.110's `proxy` extra pins is not to be had on every mirror; its tests run on the extras of 1.108 and its own `semver`.
NEWEST_LOCK := compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --no-header --no-deps

lock: ## resolve the dependencies anew (needs uv)
	echo 'litellm==1.108.7' > .pin && uv pip $(LOCK) -c .pin -o requirements.lock
	echo 'litellm==1.100.5' > .pin && uv pip $(LOCK) -c .pin -o requirements-lowest.lock
	rm .pin
	printf 'litellm==1.110.2\nsemver>=3.0.4,<4\n' | uv pip $(NEWEST_LOCK) - -o requirements-newest.lock

clean: ## remove the environments and caches
	rm -rf .venv .venv-lowest .venv-newest .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
