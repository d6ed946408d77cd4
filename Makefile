# `make run` and `make test` are all that a fresh clone needs. Variables on the command line reach every process:
#   make run PROCESSORS=2 GATEWAYS=2 PORT=8080 KAFKA_PORT=9092 DATA=.local
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run demo bench test lint format schemas proto lock clean venv browser rabbitmq compiler

PYTHON ?= python3
# Python's own options, wherever it runs: no prompt, no check for a newer pip.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
py := .venv/bin/python
installed := .venv/.installed
# A fresh machine often installs its updates at the same time.
apt_waits := -o DPkg::Lock::Timeout=300

help:
	@echo 'make run     the whole service: broker, topics, processors, gateways, a chat page; Ctrl-C stops it'
	@echo 'make demo    replay a real chat log through the running service and prove that nothing was lost'
	@echo 'make bench   every benchmark beside its limit, one table, CSV and plots; BENCH="NAME..." some; on an idle machine'
	@echo 'make test    every test, on a real broker of its own'
	@echo 'make lint    style, types, import layers, dependencies, spelling'
	@echo 'make format  put the code in its form'
	@echo 'make schemas write docs/schemas anew from the types'
	@echo 'make proto   write the module of the gRPC messages anew from their proto'
	@echo 'make lock    pin every dependency anew, with hashes'
	@echo 'make clean   remove what was installed and cached here; chat data in DATA stays'

# `exec`: signals reach the service itself.
run: export AUERBACH_AUTH ?= dev
run: $(installed)
	@exec $(py) -m app up

demo: export AUERBACH_AUTH ?= dev
demo: $(installed)
	@exec $(py) -m benchmarks.demo

# BENCH="throughput --rounds 5": those that are named, with these options (python -m benchmarks --help).
bench: $(installed)
	@exec $(py) -m benchmarks $(BENCH)

# Two workers: most tests wait, for sessions to end and brokers to start. A file stays together; the longest come first.
JOBS ?= 2
test: $(installed) browser rabbitmq compiler
	@exec $(py) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(installed)
	$(py) -m ruff check .
	$(py) -m ruff format --check .
	$(py) -m mypy
	.venv/bin/lint-imports
	$(py) -m deptry .
	.venv/bin/codespell

format: $(installed)
	$(py) -m ruff check --fix .
	$(py) -m ruff format .

# Held by tests/unit/ops/test_schemas.py.
schemas: $(installed)
	@exec $(py) -m app schemas docs/schemas

# Held by tests/unit/web/test_rpc_proto.py.
proto: $(installed)
	@exec $(py) -m grpc_tools.protoc -Iweb/rpc --python_out=web/rpc --pyi_out=web/rpc chatservice.proto

venv: $(installed)

# Only what the lock names, byte for byte; the stamp comes last, so an interrupted install is made anew.
$(installed): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'error: Python 3.11 or newer is needed; $(PYTHON) is not that. Set PYTHON=/path/to/python3' >&2; exit 2; }
	@test -x $(py) && $(py) -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv || { \
	  echo 'error: $(PYTHON) cannot make a virtual environment (Debian: apt-get install python3-venv)' >&2; exit 2; }
	@echo 'installing the locked dependencies into .venv'
	@$(py) -m pip install --quiet --require-hashes -r requirements.lock
	@$(py) -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The page's tests drive a real browser. As root it is installed, else the tests that need it say what to install.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'installing chromium for the tests of the chat page'; \
	    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y $(apt_waits) --no-install-recommends chromium; } \
	      >.venv/chromium.log 2>&1 || { tail -n 5 .venv/chromium.log >&2; exit 1; }; \
	  else echo 'no Chromium: the tests of the chat page will fail (Debian: apt-get install chromium)'; fi

# The bridges' tests run RabbitMQs of their own. Debian would start a service of it, on the port where `make run` looks for
# one: it is kept from that by policy-rc.d (Debian Policy 9.3.3; one that is there already stays as it is).
RABBITMQ_SERVER ?= /usr/lib/rabbitmq/bin/rabbitmq-server
POLICY_RC_D ?= /usr/sbin/policy-rc.d
rabbitmq:
	@test -x '$(RABBITMQ_SERVER)' || command -v rabbitmq-server >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo 'installing rabbitmq-server for the tests of the bridges (with Erlang: about a minute)'; \
	    if [ ! -e '$(POLICY_RC_D)' ]; then \
	      trap "rm -f '$(POLICY_RC_D)'" EXIT; trap 'exit 1' HUP INT TERM; \
	      printf '#!/bin/sh\nexit 101\n' >'$(POLICY_RC_D)' && chmod 755 '$(POLICY_RC_D)'; \
	    fi; \
	    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y $(apt_waits) --no-install-recommends rabbitmq-server; } \
	      >.venv/rabbitmq.log 2>&1 || { tail -n 5 .venv/rabbitmq.log >&2; exit 1; }; \
	  else echo 'no RabbitMQ: the tests of the bridges will fail (Debian: apt-get install rabbitmq-server)'; fi

# TypeScript's compiler holds the JavaScript client's declarations against its use; of exactly the version that is named.
compiler:
	@test -d clients/js/node_modules/typescript || { command -v npm >/dev/null && cd clients/js && \
	  npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts; } || \
	  echo 'no TypeScript: the test of the JavaScript declarations will be skipped (npm install in clients/js)'

# uv resolves and hashes; pip-compile of pip-tools does the same: pip-compile --extra dev --generate-hashes.
lock:
	uv pip compile --quiet --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --extra dev --python-version 3.11 -o requirements.lock pyproject.toml
	uv pip compile --quiet --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --constraint requirements.lock --python-version 3.11 -o requirements-runtime.lock pyproject.toml

clean:
	rm -rf clients/js/node_modules .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
