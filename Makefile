# Targets for people; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
WORKERS ?= 2

export DO_NOT_TRACK := 1
export DAGSTER_DISABLE_TELEMETRY := yes
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check up bench docs histories

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 16

$(READY): requirements.lock pyproject.toml
	command -v $(PYTHON) >/dev/null && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

install: $(READY) ## Make the virtual environment from the hashed lock file

demo: $(READY) ## Run the business days of June 2020 on real closing prices
	$(BIN)/acme demo $(ARGS)

test: $(READY) ## Run every test; TEAM=x or PROCESS=x/y: those that a change there can affect
ifeq ($(TEAM)$(PROCESS),)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)
else
	tests=$$($(BIN)/python -m orchestration.affected $(if $(PROCESS),--process $(PROCESS),--team $(TEAM))) \
	  && $(BIN)/pytest $$tests $(ARGS)
endif

check: $(READY) ## Lint, types, import contracts, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m orchestration.declared_check
	$(BIN)/python -m orchestration.contract_check --check
	$(BIN)/python -m orchestration.catalogue --check
	$(BIN)/python -m orchestration.code_owners --check
	$(BIN)/python -m acme.lakehouse.contract_docs --check
	$(BIN)/python -m acme.operations.state_pictures --check
	$(BIN)/python -m acme.operations.dbt_sources --check
	$(BIN)/python -m orchestration.workspace --check
	$(BIN)/python -m orchestration.scenario_check
	$(BIN)/python -m acme.operations.marts.reference --check

histories: $(READY) ## Hold 10,000 random day-histories against the reference
	$(BIN)/python -m tests.histories --days 10000 $(ARGS)

up: $(READY) ## Serve the Dagster UI and daemon on http://127.0.0.1:3000
	$(BIN)/acme up $(ARGS)

bench: $(READY) ## Run the benchmarks and print their ratios
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## Write what is derived from contracts, states, models and folders anew
	$(BIN)/python -m acme.lakehouse.contract_docs
	$(BIN)/python -m acme.operations.state_pictures
	$(BIN)/python -m acme.operations.dbt_sources
	$(BIN)/python -m orchestration.workspace
	$(BIN)/python -m orchestration.catalogue
	$(BIN)/python -m orchestration.code_owners
	$(BIN)/python -m orchestration.contract_check
	$(BIN)/python -m acme.operations.marts.reference
