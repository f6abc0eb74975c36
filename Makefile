# Every target sets up what it needs. PYTHON is any Python 3.11 or later. ARGS goes to the service or the command.
PYTHON ?= python3
SERVE  := .venv/serve
DEV    := .venv/dev
SCALE  := .venv/scale
# uv leaves compilation to the first import. Without bytecode files, each process would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# Two processes more than there are processors, because many tests wait for a server. Those of `make check` do not.
PROCESSORS := $(shell getconf _NPROCESSORS_ONLN)
PROCESSES ?= $(shell expr $(PROCESSORS) + 2)
PYTEST = $(DEV)/bin/python -m pytest --numprocesses $(PROCESSES) --dist loadgroup --no-loadscope-reorder

.PHONY: help serve check test lint javascript types tests tests-check test-nightly test-scale test-gpu fit fit-accelerated export table figures time-to-error corruptions page bench bench-deadlines bench-fleet bench-kernels bench-path bench-peers bench-swap gpu-check gpu-rehearsal gpu-wheels chaos audit observability docs docs-serve image clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*##[[:space:]]+(.*)$$/\1|\2/p' Makefile | awk -F'|' '{printf "make %-16s %s\n", $$1, $$2}'

serve: $(SERVE)/.installed  ## start the service, without torch, on http://127.0.0.1:8000 (ODENET_PORT sets another port)
	$(SERVE)/bin/python -m service $(ARGS)

check: $(DEV)/.installed  ## check format, lint and types, and run every test that starts no server, browser, fit or export; a minute and a half
	$(MAKE) --no-print-directory --jobs lint types tests-check

test: $(DEV)/.installed  ## run every check that needs no GPU and no container engine; CI runs this target
	$(MAKE) --no-print-directory --jobs lint types tests

tests-check: PROCESSES := $(PROCESSORS)
tests-check: $(DEV)/.compiled  ## run only the tests of `make check`
	$(PYTEST) -m 'not gpu and not nightly and not scale and not system'

tests: $(DEV)/.compiled  ## run only the tests of `make test`
	$(PYTEST)

lint: $(DEV)/.installed javascript
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .

# Node.js is a Python package in $(DEV), because a machine need not have more than Python.
javascript: export PATH := $(CURDIR)/node_modules/.bin:$(CURDIR)/$(DEV)/bin:$(PATH)
javascript: node_modules/.installed  ## the page's JavaScript: format, lint and types
	biome ci
	tsc --project .
	tsc --project tests/service/web

types: $(DEV)/.installed
	$(DEV)/bin/mypy

test-nightly: $(DEV)/.compiled  ## run the tests that take minutes each or install a client of their own, and try new random inputs; CI does not run them
	$(PYTEST) -m 'nightly or hypothesis' --hypothesis-profile nightly

test-scale: $(SCALE)/.installed  ## run the tests with several replicas; needs HAProxy (Debian: apt-get install haproxy); minutes; CI does not run them
	$(SCALE)/bin/python -m pytest -m scale --capture=no

test-gpu: $(DEV)/.installed  ## run the tests that need a CUDA device
	$(DEV)/bin/python -m pytest -m gpu

fit: $(DEV)/.installed  ## fit the network that ships, in two fits; takes hours, and the progress bar shows how long
	$(DEV)/bin/python -m training fit odenet-mnist
	$(DEV)/bin/python -m training fit odenet-mnist-refined

fit-accelerated: $(DEV)/.installed  ## on a CUDA device, fit teachers and then odenet-mnist and odenet-mnist-fast, several at a time
	$(DEV)/bin/python -m training.accelerated $(ARGS)

export: $(DEV)/.installed  ## export the last fit as the next version, with every method and measurement; half an hour
	$(DEV)/bin/python -m training export runs/odenet-mnist-refined --name odenet-mnist --full

table: $(DEV)/.installed  ## print the table of the fitted networks, and the ablations
	$(DEV)/bin/python -m training table
	$(DEV)/bin/python -m training table --models models/ablations
	$(DEV)/bin/python -m benchmarks.solvers

figures: $(DEV)/.installed  ## measure and draw the figures of memory against depth, and figure 3 of the paper
	$(DEV)/bin/python -m benchmarks.memory
	$(DEV)/bin/python -m benchmarks.figure3

corruptions: $(DEV)/.installed  ## measure the errors of every network on 26 kinds of corrupted digits; a quarter of an hour
	$(DEV)/bin/python -m benchmarks.corruptions --split test

time-to-error: $(DEV)/.installed  ## compare the time of a fit with torchdiffeq's example; more than half an hour
	$(DEV)/bin/python -m benchmarks.time_to_error

page: $(DEV)/.installed  ## make the digits that the page offers, and the picture of the page in docs/; needs Chromium
	$(DEV)/bin/python -m benchmarks.sprite
	$(DEV)/bin/python -m benchmarks.page

bench: $(DEV)/.installed  ## measure the service under load, and compare it with its kernels and simpler servers; a quarter of an hour
	$(DEV)/bin/python -m benchmarks.serving

bench-peers: $(DEV)/.installed  ## compare the service with Triton and other real servers; installs each of them; ten minutes
	$(DEV)/bin/python -m benchmarks.serving.peers

bench-deadlines: $(DEV)/.installed  ## measure deadlines under bursts: answers in time and their accuracy, against fixed settings, FastAPI and Triton; seventeen minutes
	$(DEV)/bin/python -m benchmarks.serving.deadlines --figure docs/figures/deadlines.svg

bench-fleet: $(SCALE)/.installed  ## measure the service behind HAProxy and on Ray Serve, beside a direct one; needs HAProxy; ten minutes
	$(SCALE)/bin/python -m benchmarks.serving.fleet

bench-kernels: $(DEV)/.installed  ## measure each ONNX graph of the default model by rows and by operator; a minute
	$(DEV)/bin/python -m benchmarks.kernels

bench-path: $(DEV)/.installed  ## print where the processor time of a request goes, by part and function; two minutes
	$(DEV)/bin/python -m benchmarks.serving.path

bench-swap: $(DEV)/.installed  ## measure the latency of requests while a model is swapped; a minute
	$(DEV)/bin/python -m benchmarks.serving.swap

# GPU_WHEELS is a folder of wheels for a machine that has torch and no network. A machine with the whole environment
# does not need it.
GPU_WHEELS := .wheels
LINUX := $(foreach version,2_28 2_27 2_17,--platform manylinux_$(version)_x86_64) --platform manylinux2014_x86_64

gpu-check:  ## check serving and fitting on a GPU, with the torch of PYTHON; eight minutes; writes into the folder OUT
	test ! -d $(GPU_WHEELS) || $(PYTHON) -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target $(GPU_WHEELS)/site $(GPU_WHEELS)/*.whl
	PYTHONPATH=$(GPU_WHEELS)/site $(PYTHON) -m benchmarks.gpu --out $(or $(OUT),runs/gpu) $(ARGS)

gpu-rehearsal: $(DEV)/.installed  ## run every part of gpu-check on the CPU, with small counts; some minutes
	$(DEV)/bin/python -m benchmarks.gpu --device cpu --scale small --minutes 40 --out $(or $(OUT),runs/gpu)

gpu-wheels: $(DEV)/.installed  ## download what gpu-check needs on a machine with Python 3.12, torch and no network
	rm -rf $(GPU_WHEELS)
	$(DEV)/bin/python -m pip download --quiet --no-deps --only-binary :all: --python-version 3.12 --implementation cp $(LINUX) \
	  --constraint constraints.txt --requirement benchmarks/gpu/requirements.txt --dest $(GPU_WHEELS)

chaos: $(DEV)/.installed  ## run the campaign of hostile callers, events, fuzzers and a soak of ten minutes; a quarter of an hour in all; CI does not run it
	$(DEV)/bin/python -m benchmarks.chaos $(ARGS)

audit: .venv/audit/.installed  ## look up known vulnerabilities of all pinned packages; needs the network; CI does not run it
	.venv/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

observability:  ## check and test the files of deploy/prometheus; needs promtool on PATH (Debian: apt-get install prometheus)
	promtool check config deploy/prometheus/prometheus.yml
	promtool check rules deploy/prometheus/alerts.yml
	promtool test rules deploy/prometheus/alerts_test.yml

docs: $(DEV)/.installed  ## build the site of docs/ into site/; a warning is an error
	$(DEV)/bin/python -m mkdocs build --strict

docs-serve: $(DEV)/.installed  ## serve the site on http://127.0.0.1:8001, and rebuild it when a page changes
	$(DEV)/bin/python -m mkdocs serve --dev-addr 127.0.0.1:8001

image:  ## build the container image of the service
	docker build --target service --tag odenet .

clean:
	rm -rf .venv node_modules build site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# We try uv first, because it installs in seconds and pip in minutes. uv does not read pip's configuration, so we try pip
# if uv fails. pip also installs a copy of the code. We remove it, because the code of the repository runs here.
# $(1) is the environment, $(2) says to uv what to install, and $(3) says it to pip.
define install
	@echo "setting up $(1); this takes a minute"
	$(PYTHON) -m venv --clear $(1)
	$(1)/bin/python -m pip install --quiet --constraint constraints.txt uv
	UV_FIND_LINKS="$$PIP_FIND_LINKS" $(1)/bin/uv pip install --python $(1)/bin/python --constraint constraints.txt $(2) \
	  || { $(1)/bin/python -m pip install --constraint constraints.txt $(3) \
	    && $(1)/bin/python -m pip uninstall --quiet --yes odenet; }
	touch $(1)/.installed
endef

$(SERVE)/.installed: pyproject.toml constraints.txt
	$(call install,$(SERVE),--requirement pyproject.toml,.)

$(DEV)/.installed: pyproject.toml constraints.txt
	$(call install,$(DEV),--requirement pyproject.toml --extra dev,'.[dev]')

# The test processes start together. In a new environment, each of them would compile the same modules, so we compile
# these modules once before. If a module cannot be imported, the tests say so.
$(DEV)/.compiled: $(DEV)/.installed
	-$(DEV)/bin/python -m pytest --collect-only --quiet > /dev/null
	touch $@

$(SCALE)/.installed: pyproject.toml constraints.txt
	$(call install,$(SCALE),--requirement pyproject.toml --extra dev --extra ray,'.[dev]' '.[ray]')

.venv/audit/.installed: constraints.txt
	$(call install,.venv/audit,pip-audit,pip-audit)

node_modules/.installed: package.json package-lock.json | $(DEV)/.installed
	PATH="$(CURDIR)/$(DEV)/bin:$$PATH" npm ci --loglevel=error
	touch $@
