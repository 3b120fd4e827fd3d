# Each target works in one command from a fresh clone, on Debian with Python 3.11 and make.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test mutants stories soak bench bench-soak bench-pure check fix lock image clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
WORKERS ?= 2

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

run: $(READY)  ## show the whole story in a minute: a shop breaks, the mail arrives, the shop is repaired
	@$(BIN)/heartbeat demo

test: $(READY)  ## run the tests; ARGS="tests/test_line.py -k name" runs some of them
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

mutants: $(READY)  ## make mistakes in the rules, one at a time in copies of the tree: tests must notice each; ARGS="flapping" tries some
	@$(BIN)/python -m heartbeat.testing.mutants --workers $(WORKERS) $(ARGS)

stories: $(READY)  ## write anew what simulations show in tests/stories; read what changed before it is committed
	@$(BIN)/python -m heartbeat.testing.stories

soak: $(READY)  ## kill the daemon 200 times while receivers misbehave, about 5 minutes; KILLS, DAEMONS, SEED change it
	@$(BIN)/python -m heartbeat.testing.soak

BENCH_VENV := .venv-bench
bench:  ## measure us beside blackbox_exporter, Prometheus and SimpleMonitor, 13 minutes; ARGS="--only cpu --quick" less, README=1 shows the table there
	@sh .ci/packages nginx-light prometheus prometheus-blackbox-exporter
	@$(MAKE) --no-print-directory $(READY) $(BENCH_VENV)/.ready
	@$(BIN)/python -m bench $(if $(README),--readme) $(ARGS)

bench-soak:  ## ten minutes at 500 checks/s: do memory, descriptors and threads stay; SECONDS changes it
	@sh .ci/packages nginx-light
	@$(MAKE) --no-print-directory $(READY)
	@$(BIN)/python -m bench soak $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

bench-pure: $(READY)  ## how many microseconds the pure parts take
	@$(BIN)/pytest tests/benchmarks --benchmark-enable --benchmark-columns=min,median,max,rounds --benchmark-sort=name $(ARGS)

check: $(READY)  ## lint, format, types, layers, structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/test_structure.py

fix: $(READY)  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Pins stay where they are unless pyproject.toml moves them; `make lock UPGRADE=--upgrade` takes the newest.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $(UPGRADE)
lock: $(READY)  ## write the lock files anew from pyproject.toml
	@[ -x $(BIN)/uv ] || { echo "Installing uv, which only this target needs"; $(PIP) install uv; }
	$(LOCK) --extra all --group dev pyproject.toml -o requirements/dev.txt
	$(LOCK) --extra dns --extra sql --constraints requirements/dev.txt pyproject.toml -o requirements/run.txt
	$(LOCK) --group build --constraints requirements/dev.txt -o requirements/build.txt
	$(LOCK) --group bench -o requirements/bench.txt

# docker only where its engine answers: its client alone builds nothing. BASE=NAME takes another base image.
IMAGE ?= heartbeat
BUILDER ?= $(shell docker info >/dev/null 2>&1 && echo docker || basename "$$(command -v podman || command -v buildah)")
image:  ## build the container with docker, podman or buildah, whichever is there
	@builder="$(BUILDER)"; case "$$builder" in \
	"") echo "No docker engine, podman or buildah here. On Debian: apt-get install buildah"; exit 1;; \
	docker) format="";; \
	*) format="--format docker";; \
	esac; \
	echo "Building the image $(IMAGE) with $$builder"; \
	$$builder build $$format $(if $(BASE),--build-arg BASE=$(BASE)) $(BUILD_FLAGS) --tag $(IMAGE) .

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(BENCH_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt pyproject.toml
	@sh .ci/venv "$(PYTHON)" $(VENV)
	@echo "Installing $$(grep -c == requirements/dev.txt) locked packages into $(VENV) (once per change of requirements/dev.txt)"
	@$(PIP) install --only-binary :all: --require-hashes --requirement requirements/dev.txt
	@$(PIP) install --no-deps --no-index --no-build-isolation --editable .
	@touch $@

# SimpleMonitor brings its own versions of much that we need too, so it lives apart. Two of the libraries that it
# needs are published as source only; setuptools, which builds these, comes from the lock as well.
BENCH_PIP = $(BENCH_VENV)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes
$(BENCH_VENV)/.ready: requirements/bench.txt
	@sh .ci/venv "$(PYTHON)" $(BENCH_VENV)
	@echo "Installing SimpleMonitor and what it needs, $$(grep -c == requirements/bench.txt) locked packages, into $(BENCH_VENV)"
	@awk '/^[^ ]/ {on = /^setuptools==/} on' requirements/bench.txt > $(BENCH_VENV)/setuptools.txt
	@$(BENCH_PIP) --only-binary :all: --requirement $(BENCH_VENV)/setuptools.txt
	@$(BENCH_PIP) --only-binary :all: --no-binary http-ece,paho-mqtt --no-build-isolation --use-pep517 --requirement requirements/bench.txt
	@touch $@
