# Étude. `make` alone lists what it can do. Needed: Python 3.11 or newer with venv, and git.
#
#   make demo CORES=4 ARGS="--configfile my.yaml"    more arguments for Snakemake
#   make demo VERBOSE=1                               Snakemake's own log on the terminal

PYTHON  ?= python3
CORES   ?= all
ARGS    ?=
TESTERS ?= 2
VERBOSE ?=

SHELL     := bash
VENV      := .venv
PY        := $(VENV)/bin/python
SNAKEMAKE := $(VENV)/bin/snakemake
LOCK      := requirements/lock.txt
VERSION   := $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' etude/__init__.py)
FAD       := results/fad.txt
PAGE      := results/report/index.html
# Tests run on two processes of one thread each; those that share a run stay together
# (tests/conftest.py has the groups and their order).
PYTEST    := $(PY) -m pytest --numprocesses=$(TESTERS) --dist=loadscope --no-loadscope-reorder

# The first python on the way is ours, for Snakemake's script: rules and all they start.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

# A line of progress instead of Snakemake's log, which goes to .snakemake/log; a dry run shows its plan.
DRY    := $(filter -n --dry-run --dryrun,$(ARGS))
LOGGER := $(if $(VERBOSE)$(DRY),,--logger etude)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo studio resume show quick test lint docs format proof proof-gpu graph ledger lock distclean

help: ## this list
	@echo "Étude: from a folder of MIDI or audio to trained music generators and a table of results"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Options: CORES=4  ARGS="arguments for snakemake"  VERBOSE=1  PYTHON=python3.12  TESTERS=2'

# ---------------------------------------------------------------------------------------- to use

setup: ## the virtual environment, libfluidsynth, the SoundFont; nothing where all is there
	@requirements/install.sh $(PYTHON) $(VENV)
	@ls $(VENV)/lib/*/site-packages/__editable__.etude-$(VERSION).pth > /dev/null 2>&1 || \
	  $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --config-settings editable_mode=compat --editable .
	@$(PY) -m etude.setup

demo: setup ## from real music to results/fad.txt and the report page; fails when the gate fails
	$(SNAKEMAKE) --cores $(CORES) $(LOGGER) $(ARGS)
	@$(MAKE) --no-print-directory show

studio: setup ## play with the models of models/ in a browser: make studio ARGS="--from to-go"
	$(PY) -m etude studio $(ARGS)

resume: setup ## after a crash of Snakemake: end its orphans, unlock, go on with the same command
	@$(PY) -m etude resume $(ARGS)
	@$(MAKE) --no-print-directory show

# The verdict; a dry run has none, `gate: n/a` (a tiny corpus) is none, and `gate: undecided` says
# how many clips it would need.
show:
ifneq ($(DRY),)
	@echo "dry run: nothing was made"
else
	@if [ -e $(FAD) ]; then sed -n '/^verdicts/,/^$$/p' $(FAD); tail -n 1 $(FAD); \
	  echo "the whole table: $(FAD)"; else echo "no $(FAD): this run was for something else"; fi
	@if [ -e $(PAGE) ]; then echo "listen and read: $(CURDIR)/$(PAGE)"; fi
	@if [ -e $(FAD) ]; then \
	  gate=$$(tail -n 1 $(FAD)); why=$$(sed -nE 's/^gate: [a-z]+ \((.*)\)$$/\1/p' <<< "$$gate"); \
	  case "$$gate" in \
	    "gate: holds"* | "gate: n/a"*) ;; \
	    "gate: undecided"*) echo "The run is complete; its gate is undecided: $$why." ;; \
	    *) echo "The run is complete, and its gate fails: $$why."; \
	       echo "Mostly: train longer, or on more music."; exit 1 ;; \
	  esac; fi
endif

# ------------------------------------------------------------------------------------ to develop

quick: setup ## the inner loop: unit tests, under two minutes
	$(PYTEST) tests/unit -m "not slow and not workflow and not proof"

test: lint ## all checks and all tests but the long proofs
	$(PYTEST) -m "not proof"

lint: setup ## ruff, mypy, spelling, and Snakemake's own checks
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/snakefmt --check Snakefile rules workflow
	$(VENV)/bin/codespell README.md CONTRIBUTING.md docs config models etude scripts rules
	$(SNAKEMAKE) --lint

docs: setup ## the documentation as a site, in site/: offline, every link checked
	$(VENV)/bin/sphinx-build --fail-on-warning --keep-going --quiet -c docs . site
	@echo "read: $(CURDIR)/site/index.html"

format: setup ## write the code in the house's form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/snakefmt Snakefile rules workflow

proof: setup ## the long proofs and the benchmarks (marked `proof`)
	$(PY) -m pytest -m proof tests $(wildcard benchmarks)

proof-gpu: setup ## what a GPU does: tokens/s, MFU, sampling; without one nothing is measured
	$(PY) -m pytest -m proof -rs benchmarks/bench_gpu.py

# Code that decides results changed and no VERSION did? Then REASON says why none had to.
REASON ?=
ledger: setup ## docs/ledger.csv as the code is: make ledger REASON="names only"
	@$(PY) -m etude.workflow.ledger --reason "$(REASON)"

graph: setup ## the picture of the flow, docs/flow.svg
	$(PY) -m etude graph

# One lock for every machine: torch's local version (+cpu) and the CUDA packages are what the index
# at hand gave, so they are taken out. Pins stay unless LOCK_ARGS="--upgrade" says otherwise.
lock: setup ## compile requirements/*.in into requirements/lock.txt
	cp $(LOCK) $(VENV)/lock.txt
	UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(VENV)/bin/uv pip compile --quiet --python-version 3.11 \
	  --no-header --no-annotate $(LOCK_ARGS) -o $(VENV)/lock.txt requirements/main.in requirements/dev.in
	sed -E -e 's/\+cpu//' -e '/^(nvidia-|triton|cuda-)/d' $(VENV)/lock.txt > $(LOCK).new
	mv $(LOCK).new $(LOCK)

distclean: ## delete .venv and the tools' caches; results stay
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find etude scripts tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
