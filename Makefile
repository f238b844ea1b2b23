# Everything a person or CI needs. `make demo` and `make test` set up what they need on a fresh Debian machine.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
BUF_VERSION := 1.75.0
LAB ?= ../shared/siplab

.PHONY: help setup tshark databases demo test check lint typecheck protolint quick bench accuracy simulate nightly clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "hopback needs Python 3.11 to 3.13; set PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install -q --disable-pip-version-check uv

$(STAMP): pyproject.toml protos/build_stubs.py $(wildcard protos/hopback/v1/*.proto) | $(BIN)/uv
	@$(BIN)/uv pip install -q -p $(BIN)/python -e '.[dev]'
	@touch $@

setup: $(STAMP)  ## create .venv with everything for development

tshark:
	@command -v tshark >/dev/null || deploy/apt-install tshark

databases:
	@deploy/have-databases || deploy/apt-install postgresql mariadb-server clickhouse-server

demo: $(STAMP)  ## trace robocalls through a lab of agents, from files to origin; KEEP=dir leaves the lab there
	@$(BIN)/python -m deploy.lab demo $(if $(KEEP),--keep $(KEEP))

test: $(STAMP) tshark databases  ## run the tests
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

typecheck: $(STAMP)
	@$(BIN)/mypy protos cdr_adapters agent coordinator deploy benchmarks tests

protolint: .tools/buf
	@cd protos && ../.tools/buf lint

.tools/buf:
	@deploy/fetch-buf $(BUF_VERSION) $@

check: lint typecheck protolint test  ## lint, strict types, protos, tests: what CI runs

bench: $(STAMP) databases  ## ratios against named peers in the same run; OUT=file.json ONLY=name,name
	@$(BIN)/python -m benchmarks $(if $(OUT),--out $(OUT)) $(if $(ONLY),--only $(ONLY))

accuracy: $(STAMP) tshark  ## trace every call of a lab with known truth; LAB=dir CONFIG=dir OUT=file.json
	@$(BIN)/python -m deploy.lab.accuracy --lab $(LAB) $(if $(CONFIG),--config $(CONFIG)) $(if $(OUT),--out $(OUT)) $(if $(JSON),--json)

simulate: $(STAMP)  ## the coordinator against a whole industry; PROVIDERS=7000 CALLS=100000 SEED=1 SEEDS=1
	@$(BIN)/python -m tests.simulator $(if $(PROVIDERS),--providers $(PROVIDERS)) $(if $(CALLS),--calls $(CALLS)) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS))

nightly: $(STAMP) tshark databases  ## the long sweeps
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m nightly

clean:
	rm -rf $(VENV) .tools .demo .accuracy dist
