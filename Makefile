# Everything runs in .venv, which the first target that needs it makes from the pins in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# One thread a process unless a case says otherwise: small models on many threads mostly wait for each other.
export OMP_NUM_THREADS ?= 1

.PHONY: demo docs test services ray fuzz faults nights error-lines bench bench-check audit wheel e2e screenshots check lint format types imports constraints

demo: $(INSTALLED)  ## Repair a model of handwritten digits, end to end, in the folder demo
	@$(BIN)/repair demo

test: $(INSTALLED)  ## Run the tests
	@$(BIN)/pytest --numprocesses logical --dist loadscope

services: $(INSTALLED)  ## Run the tests that start the team's servers on loopback: MLflow, and Debian's Postgres
	@$(BIN)/pytest -m services repair_pipeline_tests/services

ray: $(INSTALLED)  ## Run the tests that start a Ray cluster of three nodes on this machine: some minutes
	@$(BIN)/pytest -m ray repair_pipeline_tests/compute

fuzz: $(INSTALLED)  ## Try 10,000 damaged case files, tables, lists and images each: half an hour and more
	@REPAIR_FUZZ=$(or $(REPAIR_FUZZ),10000) $(BIN)/pytest --numprocesses logical repair_pipeline_tests/test_fuzz.py

faults: $(INSTALLED)  ## Kill, race and starve runs in some 150 ways, and say what is lost: 20 minutes on two cores
	@$(BIN)/python -m repair_pipeline_tests.faults

nights: $(INSTALLED)  ## Run four weeks of nights on a driven clock, and print what the home holds: ten minutes
	@$(BIN)/python -m repair_pipeline_tests.faults.nights

error-lines: $(INSTALLED)  ## Run the tests, and list the error lines that none of them provokes: 20 minutes on two cores
	@$(BIN)/python -m repair_pipeline_tests.error_lines --numprocesses logical --dist loadscope

bench: $(INSTALLED)  ## Measure the heavy parts against bare PyTorch work, for docs/performance.md: minutes, on an idle machine
	@$(BIN)/python -m repair_pipeline_tests.performance

bench-check: $(INSTALLED)  ## Measure those that take seconds, and compare them with docs/performance.md
	@$(BIN)/python -m repair_pipeline_tests.performance --check

audit: $(INSTALLED)  ## Look up the pinned packages in the database of known vulnerabilities: needs the network
	@$(BIN)/uv tool run pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off || \
		{ echo "make audit: a package has a known vulnerability, or the database cannot be reached from here: see above"; exit 1; }

docs: $(INSTALLED)  ## Build the documentation strictly into docs/_build, and run every snippet and notebook in it
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky --fresh-env docs docs/_build
	@$(BIN)/pytest --numprocesses 2 --dist loadgroup repair_pipeline_tests/docs/snippets.py repair_pipeline_tests/docs/site.py \
		repair_pipeline_tests/docs/notebooks.py

wheel: $(INSTALLED)  ## Build a wheel, install it into an environment of its own, and run the commands in an empty folder
	@$(BIN)/pytest repair_pipeline_tests/wheel.py

e2e: $(INSTALLED)  ## Open the pages in a browser and click through them: needs Debian's chromium
	@$(BIN)/pytest -m e2e repair_pipeline_tests/e2e

screenshots: $(INSTALLED)  ## The same on whole cases, with pictures for docs/img
	@REPAIR_SCREENSHOTS=docs/img $(BIN)/pytest -m e2e repair_pipeline_tests/e2e

check: lint types imports test  ## Lint, format, types, import contracts, tests

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(INSTALLED)
	@$(BIN)/mypy

imports: $(INSTALLED)
	@$(BIN)/lint-imports

format: $(INSTALLED)  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

constraints: $(INSTALLED)  ## Pin anew: names and versions only
	@$(BIN)/uv pip compile --quiet --no-emit-index-url --no-annotate --no-header --all-extras --python-version 3.11 \
		pyproject.toml -o constraints.txt --upgrade

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is older: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing into $(VENV): a minute or two"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev,docs,notices,peers,postgres,ray,transformers]'
	@touch $@
