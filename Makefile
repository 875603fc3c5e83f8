# Everything starts here: `make demo` and `make test` set themselves up on a machine with python3 (3.11+) and make.
PYTHON ?= python3
VENV := .venv
SAM_VENV := .venv-sam
C7N_VENV := .venv-c7n
SAM := $(SAM_VENV)/bin/sam
HOST ?= 127.0.0.1
PORT ?= 5000
PIP_FLAGS := --quiet --disable-pip-version-check
# The environments are set up side by side.
MAKEFLAGS += --jobs=3

.PHONY: install demo test soak local stage lint types bench bench-report report-picture mutants clean

install: $(VENV)/installed $(SAM_VENV)/installed .wheels/downloaded

# The code, the local AWS and the tests.
$(VENV)/installed: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once, about two minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt hatchling editables
	@$(VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

# SAM CLI, apart: it needs another botocore than MiniStack does.
$(SAM_VENV)/installed: constraints-sam.txt
	@echo "setting up $(SAM_VENV) (once, about two minutes)"
	@$(PYTHON) -m venv $(SAM_VENV)
	@$(SAM_VENV)/bin/pip install $(PIP_FLAGS) -c constraints-sam.txt aws-sam-cli
	@touch $@

# Cloud Custodian, which `make bench` measures beside Rolewarden.
$(C7N_VENV)/installed: constraints-c7n.txt
	@echo "setting up $(C7N_VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(C7N_VENV)
	@$(C7N_VENV)/bin/pip install $(PIP_FLAGS) -c constraints-c7n.txt c7n
	@touch $@

# What the layer is built from, so that `sam build` needs no network.
.wheels/downloaded: layers/rolewarden/requirements.txt
	@$(PYTHON) -m pip download $(PIP_FLAGS) --no-deps --only-binary=:all: -d .wheels -r $<
	@touch $@

# A day in the life of a deployed stack, on the local AWS.
demo: install
	@$(VENV)/bin/python -m rolewarden_local demo

# The local AWS on port $(PORT), with the stack deployed and an account to play with; ends with Ctrl-C.
# HOST=0.0.0.0 lets the containers of `sam local invoke` in, and everybody else on the network.
local: install
	@$(VENV)/bin/python -m rolewarden_local local --host $(HOST) --port $(PORT)

# The same account as it is before anything is deployed: guardrails published, every role bare, nobody who mends it.
stage: install
	@$(VENV)/bin/python -m rolewarden_local serve --stage --host $(HOST) --port $(PORT)

test: install
	@$(VENV)/bin/python -m pytest

# Bad nights by the thousand and malformed input by the ten thousand, see docs/reliability.md; ends with the figures.
soak: install
	@$(VENV)/bin/python -W ignore -m tests.soak

# Rolewarden beside Cloud Custodian and the floor; takes about half an hour. Prints tables, writes bench/results.json,
# docs/benchmarks.md and docs/cost.md. PARTS="warm cold" measures only these.
bench: install $(C7N_VENV)/installed
	@$(VENV)/bin/python bench/run.py $(PARTS)

# What the report of 500 profiles and 100 models costs a browser, and the picture in docs/; both need a Chromium.
bench-report: install
	@$(VENV)/bin/python bench/report.py

report-picture: install
	@$(VENV)/bin/python bench/report.py docs/report.png

# Which changes to the compiler no test would notice; about two hours.
mutants: install
	@$(VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt mutmut
	@nice $(VENV)/bin/python bench/mutants.py policies
	@nice $(VENV)/bin/python bench/mutants.py guardrails

lint: install
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: install
	@$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) $(SAM_VENV) $(C7N_VENV) .wheels .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis
