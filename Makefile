# Canary: `make` lists what can be done. Everything is installed into .venv in this folder and nowhere else.
.DEFAULT_GOAL := help
.PHONY: help run test lint bench storm soak wheel promtool pictures clean check-python
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help: ## list the targets
	@echo "make TARGET, one of:"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  \1|\2/' | \
	  while IFS='|' read -r name what; do printf '%-12s %s\n' "$$name" "$$what"; done
	@echo "Another Python: make PYTHON=python3.12 run"

# On a terminal the daemon gets it for itself (bash -m), so that Ctrl-C stops the daemon, which ends well, and not make.
run: $(VENV)/.installed ## install into .venv and start watching; Ctrl-C stops
	@if [ -t 0 ] && command -v bash >/dev/null; then \
	  exec bash -m -c '"$$0" run; exit $$?' $(BIN)/canary; \
	else exec $(BIN)/canary run; fi

test: lint ## everything that must pass: ruff, mypy, import contract, tests
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev ## ruff, mypy and the import contract only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev ## benchmarks, each a ratio against a named baseline
	@set -e; for file in bench/*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

storm: $(VENV)/.installed-dev ## 1,000 alerts, a failing Bot API, a sender killed 1,000 times: what is lost (some minutes)
	$(BIN)/python tests/storm/storm.py

soak: $(VENV)/.installed-dev ## 10,000 evaluations on a virtual clock: what grows, what is lost (some 20 minutes)
	PYTHONPATH=. $(BIN)/python tests/soak.py 10000

wheel: $(VENV)/.installed-dev ## build the wheel into dist/, install it elsewhere, and run it there
	sh tests/wheel.sh $(BIN)/python

promtool: $(VENV)/.installed-dev ## alert states beside Prometheus' own, case by case (needs promtool)
	$(BIN)/python tests/promtool/compare.py

pictures: $(VENV)/.installed-dev ## draw the pictures of the manual again (some minutes: the evidence is lived through)
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python bench/replay.py --out docs

clean: ## remove .venv and every cache (never the database, config, rules or book)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

check-python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) was not found. Install Python 3.11 or newer, for example: sudo apt install python3 python3-venv"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$($(PYTHON) --version) is too old: Canary needs 3.11 or newer. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. Fix: sudo apt install python3-venv"; exit 2; }

$(BIN)/python: | check-python
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing Canary into $(VENV) (once; about a minute)"
	$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing Canary and its test tools into $(VENV) (once; about a minute)"
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed
