# `make demo` and `make test` install what they need on a machine with python3 (3.11+) and make.
SHELL := /bin/bash
.SHELLFLAGS := -eo pipefail -c
PYTHON ?= python3
VENV := .venv
SAM_VENV := .venv-sam
C7N_VENV := .venv-c7n
DOWNLOADED := .wheels/downloaded
DOCS_VENV := .venv-docs
SAM := $(SAM_VENV)/bin/sam
HOST ?= 127.0.0.1
PORT ?= 5000
PIP_FLAGS := --disable-pip-version-check --no-color
# `make check` lints the translated template for one region of each partition, and for one that is not IAM's home region.
REGIONS := us-east-1 eu-west-1 us-gov-west-1 cn-north-1 eusc-de-east-1
export SAM_CLI_TELEMETRY := 0
# Python must write bytecode, because many processes load the same modules and each would compile them again.
unexport PYTHONDONTWRITEBYTECODE
# The environments are installed in parallel.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=3
endif

.PHONY: install new-python demo wheel bom release test quick check check-templates check-replay soak local stage lint types
.PHONY: docs bench bench-report
.PHONY: report-picture pages mutants clean

install: $(VENV)/installed $(SAM_VENV)/installed $(DOWNLOADED)

# Each environment waits for it, so that the line is printed once.
new-python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Rolewarden needs Python 3.11 or later, and $(PYTHON) is older: run `make PYTHON=python3.13 $(or $(MAKECMDGOALS),install)`")'

# Make the virtual environment $(1). Each has a heading, because they are installed at the same time.
new_environment = \
	echo "setting up $(1) (only the first time; about a minute, or some minutes on a slow network)"; \
	$(PYTHON) -m venv $(1)

# Show the progress of pip for $(1): one line for every 15 packages instead of several for each.
progress = awk '\
	/^Collecting / { n += 1; sub(/[^A-Za-z0-9_.-].*/, "", $$2); if (n % 15 == 1) print "  $(1): package " n ", " $$2 } \
	/^Installing collected packages/ { print "  $(1): unpacking " NF - 3 " packages" } \
	{ fflush() }'

# The environment for the code, the local AWS and the tests.
$(VENV)/installed: pyproject.toml constraints.txt | new-python
	@$(call new_environment,$(VENV))
	@$(VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt hatchling editables | $(call progress,$(VENV))
	@$(VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt --no-build-isolation -e '.[dev]' | $(call progress,$(VENV))
	@touch $@

# SAM CLI has its own environment, because it needs another botocore than MiniStack.
$(SAM_VENV)/installed: constraints-sam.txt | new-python
	@$(call new_environment,$(SAM_VENV))
	@$(SAM_VENV)/bin/pip install $(PIP_FLAGS) -c constraints-sam.txt aws-sam-cli | $(call progress,$(SAM_VENV))
	@touch $@

# Cloud Custodian, which `make bench` compares with Rolewarden.
$(C7N_VENV)/installed: constraints-c7n.txt | new-python
	@$(call new_environment,$(C7N_VENV))
	@$(C7N_VENV)/bin/pip install $(PIP_FLAGS) -c constraints-c7n.txt c7n | $(call progress,$(C7N_VENV))
	@touch $@

# mkdocs and its theme, which only `make docs` needs.
$(DOCS_VENV)/installed: constraints-docs.txt | new-python
	@$(call new_environment,$(DOCS_VENV))
	@$(DOCS_VENV)/bin/pip install $(PIP_FLAGS) -c constraints-docs.txt mkdocs-material | $(call progress,$(DOCS_VENV))
	@touch $@

# The packages of the layer, so that `sam build` needs no network.
$(DOWNLOADED): layers/rolewarden/requirements.txt | new-python
	@$(PYTHON) -B layers/rolewarden/packages.py download $(@D)
	@touch $@

# Show a day of a deployed stack on the local AWS.
demo: install
	@$(VENV)/bin/python -m rolewarden_local demo

# Start the local AWS on port $(PORT), with the stack deployed and a sample account. Ctrl-C ends it.
# With HOST=0.0.0.0, the containers of `sam local invoke` can connect, and so can everyone else on the network.
local: install
	@$(VENV)/bin/python -m rolewarden_local local --host $(HOST) --port $(PORT)

# Start the same account before the stack is deployed. The guardrails are published, but they are attached to no role.
stage: install
	@$(VENV)/bin/python -m rolewarden_local serve --stage --host $(HOST) --port $(PORT)

# Build the wheel, which works outside the checkout: `pip install 'dist/rolewarden-1.0.0rc1-py3-none-any.whl[local]'`.
wheel: install
	@$(VENV)/bin/python -m hatchling build --target wheel --directory dist

# Write the bill of materials of the layer that `sam build` made, see docs/how-to/deploy.md.
bom: $(VENV)/installed
	@$(VENV)/bin/python -B layers/rolewarden/bom.py .aws-sam/build/RolewardenLayer/python dist/rolewarden-layer.cdx.json
	@echo "dist/rolewarden-layer.cdx.json is written"

# Build everything that a release has, in dist/: the wheel, the files of the stack with the templates, the bills of
# materials of both, the site, and the hash of each file. CONTRIBUTING.md has the checklist.
release: install $(DOCS_VENV)/installed
	@rm -rf dist
	@$(MAKE) --no-print-directory wheel
	@$(VENV)/bin/python cli/wheel_bom.py dist/rolewarden-*.whl dist/rolewarden-wheel.cdx.json
	@$(SAM) build
	@$(MAKE) --no-print-directory bom
	@cp template.yaml forwarder.yaml dist/
	@mkdir -p dist/stack
	@cd dist/stack && ../../$(VENV)/bin/rolewarden init --without-account --yes --with-stack
	@tar -C dist/stack -czf dist/rolewarden-stack.tar.gz . && rm -r dist/stack
	@$(MAKE) --no-print-directory docs
	@tar -C site -czf dist/rolewarden-site.tar.gz .
	@cd dist && sha256sum * > SHA256SUMS
	@echo "dist/ has the release: go on with the checklist in CONTRIBUTING.md"

# Run all tests, including those of the deployed stack.
test: install
	@$(VENV)/bin/python -m pytest

# Run this after each change: lint, types, and the tests that need neither a deployed stack nor much time.
quick: lint types
	@$(VENV)/bin/python -m pytest -m "not deployed and not long"

# Run all checks that a change must pass, except the functions in a container. `.ci/run` does both. The tests use every
# processor, so the other checks run after them, and at the same time. GNU make 3 mixes the lines of their output.
check: install
	@echo "== make test" && $(MAKE) --no-print-directory test
	@echo "== lint, types, templates, rolewarden replay and documentation site" && \
	$(MAKE) --no-print-directory $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		lint types check-templates check-replay docs

# Run SAM's own checks, cfn-lint on both translated templates, and a build.
check-templates: install
	@AWS_DEFAULT_REGION=us-east-1 $(SAM) validate --lint
	@mkdir -p .aws-sam
	@printf '%s\n' $(REGIONS) | xargs -P 2 -I {} sh -ec '\
		$(VENV)/bin/python -m rolewarden_local translate --region {} > .aws-sam/translated-{}.json; \
		$(SAM_VENV)/bin/cfn-lint --regions {} -- .aws-sam/translated-{}.json forwarder.yaml; \
		echo "cfn-lint found no problem in the templates for {}"'
	@$(SAM) build
	@$(MAKE) --no-print-directory bom

# Replay every sample event on a staged account.
check-replay: install
	@$(VENV)/bin/rolewarden replay events/*.json > /dev/null

# Run thousands of random failures and ten thousands of malformed inputs, see docs/explanation/reliability.md, and print
# the figures. Before that, run the tests with larger volumes than `make test`: 10,000 roles, 10,000 events, more examples.
soak: install
	@ROLEWARDEN_SOAK=1 $(VENV)/bin/python -m pytest -n 0 -m volume
	@$(VENV)/bin/python -W ignore -m tests.soak

# Compare Rolewarden with Cloud Custodian and the floor in about half an hour. Print tables, and write
# bench/results.json, docs/explanation/benchmarks.md and docs/explanation/cost.md. PARTS="warm cold" measures only these.
bench: install $(C7N_VENV)/installed
	@$(VENV)/bin/python bench/run.py $(PARTS)

# Measure how long a browser needs for a report of 500 profiles and 100 models, in one account and in three. `make
# report-picture` makes the picture in docs/. Both need Chromium.
bench-report: install
	@$(VENV)/bin/python bench/report.py

# The documentation site, in site/. A broken link or anchor, or a file from another host, is an error. With `--quiet`,
# mkdocs does not count its warnings and never fails.
docs: install $(DOCS_VENV)/installed
	@$(VENV)/bin/python -m tests.reports docs/example-report.html
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict
	@echo "site/index.html is written: open it in a browser"

# Write the pages that are generated from code or earlier measurements, see CONTRIBUTING.md. A test fails if one is stale.
pages: install
	@$(VENV)/bin/python docs/generate.py
	@$(VENV)/bin/python bench/run.py --pages

report-picture: install
	@$(VENV)/bin/python bench/report.py docs/images/report.png

# Find changes to the compiler that no test detects; about two hours.
mutants: install
	@$(VENV)/bin/pip install --quiet $(PIP_FLAGS) -c constraints.txt mutmut
	@nice $(VENV)/bin/python bench/mutants.py policies
	@nice $(VENV)/bin/python bench/mutants.py guardrails
	@nice $(VENV)/bin/python bench/mutants.py families
	@nice $(VENV)/bin/python bench/mutants.py guardrails_file

lint: install
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: install
	@$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) $(SAM_VENV) $(C7N_VENV) $(DOCS_VENV) site dist .wheels .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis
