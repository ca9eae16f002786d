# The one way to run things. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EDGE_VENV := build/venv-edge
# So many processes for tests, of which half wait; a file of tests in one of them, in the order of tests/conftest.py.
JOBS := 4
# the tests start hundreds of programs, each of which would compile its modules anew
export PYTHONDONTWRITEBYTECODE :=
ABREAST = -n $(JOBS) --dist loadfile --no-loadscope-reorder

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): edge/pyproject.toml host/pyproject.toml requirements-dev.txt requirements-docs.txt \
  requirements-test.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "epithermal needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "Python cannot make environments here: apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e './edge[export,parquet]' -e './host[cluster,demo,hydrus,xlsx]' -r requirements-dev.txt
	@touch $@

dev: $(READY) ## environment in .venv with both distributions, editable

demo: $(READY) ## the whole chain on a laptop: simulate, train, release, station, broker, picture
	$(BIN)/epithermal-host demo --out build/demo

check: $(READY) ## format, lint, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(READY) ## the whole suite (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow and not hydrus" $(ABREAST)

test-edge: ## the station's tests in a fresh environment without host
	rm -rf $(EDGE_VENV)
	$(PYTHON) -m venv $(EDGE_VENV)
	$(EDGE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt ./edge -r requirements-test.txt
	$(EDGE_VENV)/bin/python -m pytest tests/edge -m "not slow"

slowest: $(READY) ## the suite with the processor time and the waiting time of each test, in build/costs.md
	mkdir -p build && rm -f build/costs.jsonl
	COSTS=build/costs.jsonl $(BIN)/python -m pytest -p tests.support.costs -m "not slow and not hydrus" $(ABREAST)
	$(BIN)/python -m tests.support.costs build/costs.jsonl | tee build/costs.md

test-slow: $(READY) ## what is too long for `make test`
	$(BIN)/python -m pytest -m slow
	EPITHERMAL_FAULTS=full $(BIN)/python -m pytest tests/contract/test_real_input.py

faults: $(READY) ## every fault of docs/faults.md in full size, hours; report in build/faults.json
	EPITHERMAL_FAULTS=full EPITHERMAL_FAULTS_REPORT=build/faults.json \
	  $(BIN)/python -m pytest tests/faults $(ABREAST)

faults-short: $(READY) ## the same in short form, under a minute (part of `make test`)
	EPITHERMAL_FAULTS_REPORT=build/faults-short.json $(BIN)/python -m pytest tests/faults $(ABREAST)

SEED := 1
NUMBER := 200

mutants: JOBS := 2

mutants: $(READY) ## change lines one at a time and list the changes that no test notices; hours
	$(BIN)/python -m tests.mutation --seed $(SEED) --number $(NUMBER) --jobs $(JOBS)

DASHBOARDS := build/dashboards
NPM_PACKAGES := node-red@4.1.8 @flowfuse/node-red-dashboard@1.31.0 mqtt@5.16.0
PYTHON_HA ?= python3.13

# what Debian has no package for; the tests skip what could not be had, and say so
$(DASHBOARDS)/.ready:
	mkdir -p $(DASHBOARDS)
	-npm install --no-audit --no-fund --prefix $(DASHBOARDS) $(NPM_PACKAGES)
	-$(PYTHON_HA) -m venv $(DASHBOARDS)/home-assistant && \
	  $(DASHBOARDS)/home-assistant/bin/python -m pip install --quiet 'homeassistant==2025.4.*'
	touch $@

test-dashboards: $(READY) $(DASHBOARDS)/.ready ## the real dashboards and databases beside a station; minutes
	$(BIN)/python -m pytest tests/dashboards -m slow

MUTATIONS := 2000
SEED := 1

fuzz-tables: $(READY) ## change the tables of three real sites in 2000 ways; half an hour
	$(BIN)/python -m tests.field.fuzz_tables --mutations $(MUTATIONS) --seed $(SEED)

bench-stations: $(READY) ## 200 stations at one broker and one database, 30 days of hours each
	$(BIN)/python -m tests.bench.bench_stations --report build/stations.json

bench: bench-station bench-page bench-journal bench-field bench-cosmic bench-columns bench-campaign bench-growth bench-training ## speed and memory, ratios side by side

bench-station: $(READY) ## import time, memory, step, `status`, idling and replay speed of the station
	@$(BIN)/python tests/bench/bench_station.py

bench-page: $(READY) ## what the station's page costs: import, memory under load, time of an answer
	@$(BIN)/python tests/bench/bench_page.py

bench-journal: $(READY) ## page, export and status on journals of one and of ten years of hours
	@$(BIN)/python tests/bench/bench_journal.py

bench-field: $(READY) ## calibrate and evaluate a site-year of hours
	@$(BIN)/python tests/bench/bench_field.py

bench-cosmic: $(READY) ## COSMIC's fast path beside the 1 mm x 180 angle sum
	@$(BIN)/python tests/bench/bench_cosmic.py

bench-columns: $(READY) ## the Richards solver beside HYDRUS-1D
	@$(BIN)/python tests/bench/bench_columns.py

bench-campaign: $(READY) ## a campaign part by part, as a whole, and how it grows
	@$(BIN)/python tests/bench/bench_campaign.py

bench-growth: $(READY) ## how cost grows with years, nodes, soils, stations and records
	@$(BIN)/python tests/bench/bench_growth.py

bench-training: $(READY) ## an epoch of training, and its memory for two sizes of data set
	@$(BIN)/python tests/bench/bench_training.py

docs: $(READY) ## reference pages made from the code
	$(BIN)/python docs/make_reference.py

site: $(READY) ## the documentation site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

deb: $(READY) ## Debian packages of the station for arm64 and amd64, in build/deb
	$(BIN)/python deploy/debian/build.py

test-deb: deb ## install, upgrade and purge the package in a Debian that has booted; arm64 by emulation
	$(BIN)/python -m pytest tests/deploy/test_deb.py -s

test-docs: $(READY) ## every command of README and docs as it stands, the long ones too
	$(BIN)/python -m pytest tests/contract/test_docs_run.py

clean: ## remove what the targets made, but not .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: help dev demo check test slowest mutants test-edge test-slow test-dashboards test-deb test-docs faults \
  faults-short bench bench-station bench-page bench-journal bench-field bench-stations fuzz-tables bench-cosmic \
  bench-columns bench-campaign bench-growth bench-training docs site deb clean
