# Every target sets up .venv if needed, which takes Python 3.11 and a package registry.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# One thread per test process, because parallel workers share the cores.
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
TEST_WORKERS ?= 2
# Other environments: the lowest versions that setup.py allows, and the newest. Which torch the newest one has is
# a choice, because its default build brings CUDA.
LOW := .venv-low
NEW := .venv-new
TORCH ?= torch
# All but documentation, examples, pages, pictures, sweeps and the demo.
CORE := $(addprefix tests/,attack certificate counterfactual evaluation hub lexicon metrics perturbations trainer \
  test_callbacks.py test_canonicalize.py test_collator.py test_data.py test_environments.py test_loading.py \
  test_losses.py test_methods.py test_objective.py test_pooling.py)
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-low test-new check format docs dist bench clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## create .venv with the package, the demo's model and the developer tools

# The stamp is written last, so that an interrupted setup is repeated. A change of setup.py or of the
# constraints installs again.
$(VENV)/.installed: setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null 2>&1 || [ -x $(BIN)/python ] || { \
	  echo "make: $(PYTHON) not found: install Python 3.11, or choose another: make PYTHON=python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "creating $(VENV) with $(PYTHON)"; \
	  $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "make: '$(PYTHON) -m venv' failed: its venv module is missing (Debian: apt install python3.11-venv)" >&2; exit 1; }; }
	@echo "installing hf_bat and its dependencies into $(VENV) (a few minutes the first time)"
	@$(PIP) -e '.[demo,dev]' || { \
	  echo "make: the installation failed; pip's message is above. Is the package registry reachable?" >&2; exit 1; }
	@touch $@

demo: $(VENV)/.installed ## train normal and counterfactual on the shipped data and compare them (14 minutes on two slow cores)
	@HF_HUB_OFFLINE=1 $(BIN)/hf-bat demo

test: $(VENV)/.installed ## run the tests and the examples in docstrings, without slow ones (6 minutes)
	@$(TEST_ENV) $(BIN)/python -m pytest -n $(TEST_WORKERS) -m "not slow" $(PYTEST_ARGS)

test-all: $(VENV)/.installed ## run all tests
	@$(TEST_ENV) $(BIN)/python -m pytest -n $(TEST_WORKERS) $(PYTEST_ARGS)

$(LOW)/.installed: setup.py constraints-low.txt
	@echo "installing hf_bat with its lowest versions into $(LOW)"
	@$(PYTHON) -m venv --clear $(LOW)
	@$(LOW)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-low.txt -e '.[test]'
	@touch $@

test-low: $(LOW)/.installed ## run the core of the tests with the lowest versions allowed, without slow ones
	@$(TEST_ENV) $(LOW)/bin/python -m pytest -n $(TEST_WORKERS) -m "not slow" $(CORE) $(PYTEST_ARGS)

test-new: ## run them with the newest versions; TORCH=torch==2.13.0 chooses a build
	@echo "installing hf_bat with its newest versions into $(NEW)"
	@$(PYTHON) -m venv $(NEW)
	@$(NEW)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager \
	  '$(TORCH)' -e '.[test]'
	@$(TEST_ENV) $(NEW)/bin/python -m pytest -n $(TEST_WORKERS) -m "not slow" $(CORE) $(PYTEST_ARGS)

check: $(VENV)/.installed ## check lint, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.installed ## format the code and sort its imports
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.installed ## build the documentation into site/; warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "documentation: site/index.html"

dist: $(VENV)/.installed ## build a wheel and a source distribution into dist/
	@$(BIN)/python -m build --no-isolation --outdir dist .

bench: $(VENV)/.installed ## run the benchmarks in a short form into bench.json; fails if a ratio is 20 % below its record
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/run_all.py --json bench.json

clean: ## remove .venv, builds and caches
	rm -rf $(VENV) $(LOW) $(NEW) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
