# Every target makes its own environment first, in .venv, from constraints.txt.
# `make` alone says what there is.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench rtl papers

help:
	@echo "make demo    run the quickstart study and say where its page is"
	@echo "make test    formatting, lint, types and every test"
	@echo "make check   formatting, lint and types only"
	@echo "make format  rewrite the code as the checks want it"
	@echo "make bench   speed, as ratios measured in one run, into docs/performance.md (ARGS=--quick)"
	@echo "make rtl     compare the models of chips with their RTL (VECTORS=FOLDER, CONTROL=late)"
	@echo "make papers  run every study that reproduces a published result"
	@echo "make setup   only make the environment"

setup: $(READY)

# Made again when what it is made of changes; the kernel is compiled here too.
$(READY): pyproject.toml setup.py constraints.txt $(wildcard codesign/engine/*.cpp codesign/engine/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12"; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { rm -rf .venv && $(PYTHON) -m venv .venv; } || \
		{ echo "$(PYTHON) cannot make environments; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing into .venv; the first time takes about a minute."
	$(BIN)/python -m pip install -qq --disable-pip-version-check \
		-c constraints.txt -e ".[search,nir,frame,dev]"
	@touch $@

demo: $(READY)
	@test -f configs/studies/quickstart.yaml || { echo "There is no quickstart study yet."; exit 1; }
	$(BIN)/codesign run configs/studies/quickstart.yaml

check: $(READY)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

test: check
	$(BIN)/pytest

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# In an environment of its own, with the tools compared against: one of them installs a package
# called `test`. Running again goes on where a run stopped. ARGS="--quick", for instance.
BENCH := .venv-bench
ARGS ?=
bench: $(BENCH)/.ready
	$(BENCH)/bin/python benchmarks/run.py $(ARGS)

$(BENCH)/.ready: pyproject.toml setup.py constraints.txt $(wildcard codesign/engine/*.cpp codesign/engine/*.h)
	@$(BENCH)/bin/python -c '' 2>/dev/null || { rm -rf $(BENCH) && $(PYTHON) -m venv $(BENCH); }
	@echo "Installing into $(BENCH); the first time takes about a minute."
	$(BENCH)/bin/python -m pip install -qq --disable-pip-version-check \
		-c constraints.txt -e ".[bench]"
	@touch $@

# Recorded faults are not part of the project; say where theirs are. CONTROL=late, for instance,
# makes a fault wrong on purpose.
VECTORS ?= ../shared/oracles/rtl
CONTROL ?=
rtl: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.rtl $(VECTORS) $(if $(CONTROL),--control $(CONTROL))

papers: $(READY)
	@ls configs/papers/*.yaml >/dev/null 2>&1 || { echo "No published result is reproduced yet."; exit 1; }
	@set -e; for study in configs/papers/*.yaml; do $(BIN)/codesign run $$study; done
