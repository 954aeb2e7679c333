# torchpair: Docker images in which torch and torchaudio are a proven pair.
#
# `make images` and `make test` need Python 3.10 or newer and make, nothing else: what is missing is set up first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MATRIX ?= matrix.yaml
BASE ?= auto
GPU ?= auto
ROWS ?=
MIRROR ?=
BUNDLE ?=
OFFLINE ?=
FAULTS ?=
export BASE GPU MIRROR BUNDLE OFFLINE

# Without a network pip has what a bundle has, and asks nobody.
ifeq ($(OFFLINE),1)
ifeq ($(BUNDLE),)
$(error OFFLINE=1 builds from a folder: BUNDLE=DIR, made by `torchpair bundle ROW...` where there is a network)
endif
export PIP_NO_INDEX := 1
export PIP_FIND_LINKS := $(abspath $(BUNDLE))/torchpair
endif

.DEFAULT_GOAL := help
.PHONY: help images test sabotage faults bench lint format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  MATRIX=FILE  BASE=auto|nvidia|local  GPU=auto|require|off  ROWS="row row"  MIRROR=cn  PYTHON=python3.12'
	@echo '  BUNDLE=DIR OFFLINE=1: images without a network, from what `torchpair bundle ROW...` put into DIR'

images: $(VENV)/.ready ## Build and prove the default images (or ROWS)
	@$(BIN)/torchpair images --matrix $(MATRIX) $(ROWS)

test: $(VENV)/.ready-test ## Run every test: units, then real images in real containers
	@$(BIN)/torchpair engine start
	@$(BIN)/python -m pytest $(TESTS)

sabotage: $(VENV)/.ready-test ## Broken environments: is each caught, its cause named? (after make images)
	@$(BIN)/torchpair engine start
	@$(BIN)/python -m tests.sabotage

faults: $(VENV)/.ready-test ## Kills and other faults, on this machine only: is anything lost, or wrong? (or FAULTS="images")
	@$(BIN)/torchpair engine start
	@$(BIN)/python -m tests.faults $(FAULTS)

bench: $(VENV)/.ready-test ## Measure speed and size against what one would do otherwise
	@$(BIN)/torchpair engine start
	@$(BIN)/python bench/run.py

.PHONY: figures
figures: $(VENV)/.ready ## Draw docs/compatibility.svg anew from the facts
	@$(BIN)/python docs/figures.py compatibility

.PHONY: upstream-tests
upstream-tests: $(VENV)/.ready-test ## torchaudio's own unit tests: the same passes in the images as beside plain pip?
	@$(BIN)/torchpair engine start
	@$(BIN)/python -m tests.upstream

lint: $(VENV)/.ready-test ## Check style, types, Dockerfiles and that rendered files are up to date
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint dockerfiles/*/*Dockerfile examples/*/Dockerfile
	@$(BIN)/torchpair render --check
	@$(BIN)/torchpair lock --check

format: $(VENV)/.ready-test ## Put the source into its form
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

clean: ## Remove what make made here (images stay: docker image rm, torchpair engine stop)
	rm -rf $(VENV) build reports .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'torchpair needs Python 3.10 or newer; name one with make PYTHON=python3.12' >&2; exit 2; }
	@# Debian and Ubuntu keep what a virtual environment needs in a package of its own.
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo 'Installing python3-venv (apt-get).' && \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null; } || \
	  { echo 'Python has no ensurepip here; install it, on Debian and Ubuntu with: apt-get install python3-venv' >&2; exit 2; }
	@echo 'Setting up $(VENV).'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: $(VENV)/bin/python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@
