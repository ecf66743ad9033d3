# NCAL Serve. `make serve` and `make test` need git, make and Python 3.11 to 3.14;
# they make .venv from the locks in deploy/setup/locks and are safe to repeat.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

PYTHON      ?=
ACCELERATOR ?= cpu
ENGINE      ?= auto
HOST        ?= 127.0.0.1
PORT        ?= 8000
CHECKPOINT  ?=
PYTEST_ARGS ?=
FILE        ?=
LABEL_ARGS  ?=
EXTRA       ?=
BODIES      ?= 100000

VENV  := $(if $(filter cpu,$(ACCELERATOR)),.venv,.venv-$(ACCELERATOR))
RUN   := $(VENV)/bin/python
# Unless one is given the programs choose: the bundled one, or what an option or NCAL_CHECKPOINT says.
SERVED = $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)")
SETUP  = python=$$(PYTHON="$(PYTHON)" deploy/setup/find-python) \
         && "$$python" deploy/setup/environment.py $(VENV) $(ACCELERATOR)
PARTS := contract engine tables labelling bulk training service ncal ncal_client benchmarks deploy docs tests
# Two processes of pytest: one imports torch and vLLM, and runs what needs them (tests/conftest.py).
SHARED_OUT := --tx "2*popen" --dist each --override-ini console_output_style=classic

export PYTHONPATH := $(CURDIR)

.PHONY: help setup serve label test test-fast test-cluster test-benchmarks lint typecheck pytest format lock checkpoint benchmark \
        benchmark-training pictures screenshots fuzz soak chaos audit sbom clean environment dev-environment

help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Only the environment; EXTRA=training (or test, dev) adds training and tests, EXTRA=vllm vLLM, EXTRA=bulk Ray.
	@$(SETUP) --extra "$(EXTRA)"

serve: environment ## Serve on HOST:PORT (127.0.0.1:8000) with CHECKPOINT; ACCELERATOR=cpu or gpu; ENGINE.
	@exec $(RUN) -m service --host "$(HOST)" --port "$(PORT)" $(SERVED) --engine $(ENGINE)

label: environment ## Label the rows of FILE, a table of problems or turns; LABEL_ARGS passes options.
	@test -n "$(FILE)" || { echo "say which: make label FILE=problems.csv" >&2; exit 2; }
	@exec $(RUN) -m labelling "$(FILE)" $(SERVED) $(LABEL_ARGS)

test: lint typecheck pytest ## Everything that must hold: lint, types, tests with coverage.

lint: dev-environment ## Check style and formatting.
	@$(RUN) -m ruff check $(PARTS)
	@$(RUN) -m ruff format --check $(PARTS)

typecheck: dev-environment ## Check types.
	@$(RUN) -m mypy

test-fast: lint ## Before each commit: lint, and what starts no real service and trains nothing.
	@$(RUN) -m pytest $(SHARED_OUT) -m "not slow and not cluster and not benchmark" $(PYTEST_ARGS) < /dev/null

test-cluster: dev-environment ## Label on a cluster of Ray with several nodes: workers, nodes and drivers die.
	@$(RUN) -m pytest -m cluster tests/bulk $(PYTEST_ARGS) < /dev/null

test-benchmarks: dev-environment ## Run the programs of benchmarks/ from end to end, in short.
	@$(RUN) -m pytest -m benchmark tests/benchmarks $(PYTEST_ARGS) < /dev/null

pytest: dev-environment ## Run the tests and report coverage; PYTEST_ARGS="-k prompts" narrows them.
	@rm -rf build/coverage
	@$(RUN) -m coverage run -m pytest $(SHARED_OUT) $(PYTEST_ARGS) < /dev/null
	@$(RUN) -m coverage combine --quiet && $(RUN) -m coverage report

format: dev-environment ## Put the code into the style that lint checks.
	@$(RUN) -m ruff check --fix $(PARTS)
	@$(RUN) -m ruff format $(PARTS)

lock: dev-environment ## Write deploy/setup/locks; LOCK_ARGS=--upgrade takes the newest versions.
	@$(RUN) deploy/setup/lock.py $(LOCK_ARGS)

checkpoint: dev-environment ## Rebuild the bundled checkpoint from ../shared/data.
	@$(RUN) -m training pretrain --recipe training/recipes/pretrain-mini.yaml
	@$(RUN) -m training train --recipe training/recipes/bundled.yaml

benchmark: dev-environment ## Measure the service beside its peers; BENCHMARK_ARGS=--quick shortens it.
	@$(RUN) -m benchmarks.serving $(BENCHMARK_ARGS)

benchmark-training: dev-environment ## Measure the trainer beside the reference method.
	@$(RUN) -m benchmarks.training $(BENCHMARK_ARGS)

pictures: dev-environment ## Make the pictures of docs/ anew.
	@$(RUN) -m docs.pictures

fuzz: dev-environment ## Send the service BODIES (100,000) wrong and hostile bodies.
	@$(RUN) -m pytest tests/e2e/test_malformed.py tests/e2e/test_fuzz.py tests/e2e/test_harm.py \
	  --bodies $(BODIES)

screenshots: dev-environment ## Take the pictures of the page anew, with a Chromium of the system.
	@$(RUN) -m docs.pictures.page_views

soak: dev-environment ## Load the service for long and look for leaks; SOAK_ARGS passes options.
	@$(RUN) -m benchmarks.soak $(SOAK_ARGS)

chaos: dev-environment ## Break things under mixed traffic at random; CHAOS_ARGS passes options.
	@$(RUN) -m benchmarks.chaos $(CHAOS_ARGS)

audit: dev-environment ## Look the locked versions up in the advisory database; AUDIT_ARGS names another.
	@$(RUN) deploy/setup/audit.py $(AUDIT_ARGS)

sbom: dev-environment ## Write what images and environments are made of, as CycloneDX, to build/sbom.
	@mkdir -p build/sbom
	@for lock in cpu gpu vllm torch-cpu bulk dev; do \
	  $(RUN) -W ignore -m cyclonedx_py requirements deploy/setup/locks/$$lock.txt \
	    --pyproject pyproject.toml --mc-type application --output-format JSON \
	    --output-reproducible --output-file build/sbom/$$lock.cdx.json || exit 1; \
	done

clean: ## Remove environments and everything that was built.
	@rm -rf .venv .venv-gpu build ncal_serve.egg-info ncal_client/*.egg-info .pytest_cache .ruff_cache .mypy_cache
	@find $(PARTS) -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@$(SETUP) $(if $(filter vllm,$(ENGINE)),--extra vllm)

dev-environment:
	@$(SETUP) --extra dev
