# Two commands do everything on a machine that has Python and make: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup tools image demo test test-versions e2e first-verdict memory bench unit simulate nightly lint format protos deploy dashboards docs release lock clean

help: ## Show what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Make .venv with the command .venv/bin/volumehealth

$(STAMP): requirements-dev.lock pyproject.toml
	@echo "==> Installing the pinned packages into $(VENV) (about a minute, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

tools: $(STAMP) ## Find or build etcd, kube-apiserver and kubectl (minutes when cold, once)
	@$(BIN)/volumehealth sandbox tools

image: $(STAMP) ## Build the image from the Dockerfile with no registry (root; Debian packages mmdebstrap, buildah)
	@$(BIN)/volumehealth sandbox image

demo: $(STAMP) ## See it work on a real local API server; ONCE=1 ends by itself
	@$(BIN)/volumehealth sandbox demo $(if $(ONCE),--once)

# Files of tests side by side, as many as there are cores; each side starts an API server, so 4 at most. ARGS="-n 0": one by one.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

test: $(STAMP) tools ## Run all tests, on the real API server
	@$(BIN)/volumehealth sandbox tools kube-controller-manager helm3 helm4
	@$(BIN)/python -m pytest -q -m "not e2e" $(PARALLEL) $(ARGS)

# What must be right on every Kubernetes that is promised (docs/versions.md): policies, view, telling, rights, removal,
# agents, admission, chart. The last of the versions is the one of `make test`.
VERSIONS ?= v1.30.14 v1.33.13 v1.35.4 v1.37.2
CORE     := $(addprefix tests/integration/test_,agent.py agent_deploy.py chart.py controller_agent.py crds.py deploy.py \
	examples.py operator_policies.py operator_rights.py operator_tells.py operator_uninstall.py report.py view.py)

test-versions: $(STAMP) ## Run the core of the tests on each Kubernetes of VERSIONS (each is built once, 10 minutes)
	@failed=; for version in $(VERSIONS); do \
		echo "==> Kubernetes $$version"; export VOLUMEHEALTH_KUBERNETES=$$version; \
		$(BIN)/volumehealth sandbox tools kube-apiserver kubectl kube-controller-manager && \
		$(BIN)/python -m pytest -q -m cluster $(PARALLEL) $(CORE) $(ARGS) || failed="$$failed $$version"; \
	done; test -z "$$failed" || { echo "failed on$$failed"; exit 1; }

e2e: $(STAMP) ## Run the deployed product on a real kubelet (root; the Debian packages that docs/e2e.md names)
	@$(BIN)/python -m pytest -q -m e2e tests/e2e $(ARGS)

first-verdict: $(STAMP) ## Show what an admin types and sees from `helm install` to a sick volume told, on a real kubelet; as two users
	@VOLUMEHEALTH_EACH_USER=yes $(BIN)/python -m pytest -q -m e2e tests/e2e/test_first_verdict.py $(ARGS)

memory: $(STAMP) ## Measure operator and agents in their Pods on a real kubelet, with CLAIMS=n (10,000) claims; needs what e2e needs
	@VOLUMEHEALTH_CLAIMS=$(or $(CLAIMS),10000) $(BIN)/python -m pytest -q -m e2e tests/e2e/test_memory.py $(ARGS)

bench: $(STAMP) tools ## Measure it beside its floors (15 minutes); QUICK=1: half of it in 2; SOAK=1: 25 more for a quiet cluster and for memory
	@PYTHONPATH=tests $(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(SOAK),--soak)

unit: $(STAMP) ## Run the tests that need no API server
	@$(BIN)/python -m pytest -q -m "not cluster and not e2e and not node" $(PARALLEL) $(ARGS)

simulate: $(STAMP) ## Simulate clusters from seeds: SEED=n the first, RUNS=n how many, STEPS=n minutes with faults
	@PYTHONPATH=tests $(BIN)/python -m simulation $(if $(SEED),--seed $(SEED)) --runs $(or $(RUNS),20) $(if $(STEPS),--minutes $(STEPS)) $(ARGS)

.PHONY: faults fuzz mutants
faults: $(STAMP) tools ## Kill, freeze, starve and mislead a real operator for an hour or two; the short form is in `make test`
	@VOLUMEHEALTH_LONG=1 $(BIN)/python -m pytest -q -m cluster tests/integration/test_faults_*.py $(ARGS)

fuzz: $(STAMP) ## Give all that reads what others write a million inputs (two hours): INPUTS=n for each of 20 tests
	@VOLUMEHEALTH_FUZZ=$(or $(INPUTS),52000) $(BIN)/python -m pytest -q --timeout=0 tests/fuzz $(ARGS)

mutants: $(STAMP) ## Test the simulator: put faults into the product and count the runs until it finds each
	@VIRTUAL_ENV=$(VENV) PYTHONPATH=tests nice -n 10 $(BIN)/uv run --quiet --no-project --active \
		--with cosmic-ray==8.7.0 --with coverage==7.17.5 python -m mutants $(ARGS)

nightly: $(STAMP) ## What takes too long for every change: all of these, then fresh simulated clusters for SECONDS=n (8 hours)
	@failed=; for part in test-versions faults fuzz mutants; do \
		echo "==> $$part"; $(MAKE) $$part || failed="$$failed $$part"; \
	done; \
	PYTHONPATH=tests $(BIN)/python -m simulation --runs 1000000 --seconds $(or $(SECONDS),28800) $(ARGS) \
		|| failed="$$failed simulation"; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

lint: $(STAMP) ## Check style, types, layers and generated code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p volumehealth -p volumehealth_sandbox
	@$(BIN)/mypy tests
	@$(BIN)/mypy charts
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/vulture

format: $(STAMP) ## Put the code in its form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

protos: $(STAMP) ## Generate the code for protos/
	@PYTHON=$(BIN)/python protos/generate.sh

deploy: $(STAMP) ## Generate the manifests of deploy/ from charts/volumehealth
	@$(BIN)/python charts/deploy.py

dashboards: $(STAMP) ## Generate the Grafana dashboards of the chart from charts/dashboards.py
	@$(BIN)/python charts/dashboards.py

docs: $(STAMP) ## Make the pages a site in dist/site, with every link checked; it fetches nothing
	@$(BIN)/python docs/pictures.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict   # with --quiet it counts no warning, and fails for none

lock: $(STAMP) ## Compile the lock files from pyproject.toml
	@$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
		--custom-compile-command "make lock" -o requirements.lock pyproject.toml > /dev/null
	@$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
		--custom-compile-command "make lock" --group dev --group docs -c requirements.lock -o requirements-dev.lock pyproject.toml > /dev/null

release: $(STAMP) ## Make a release's files in dist/, and publish nothing
	@$(BIN)/python charts/release.py

clean: ## Remove what was made here
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
