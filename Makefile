# What to type. Everything is installed into .venv/ and nothing outside this directory is touched
# (pip's, uv's and Maven's own caches excepted).

PYTHON  ?= python3
WORKERS ?= 2
DATA    ?= ../shared/data
VENV    := .venv
BIN     := $(VENV)/bin
UV      := $(BIN)/uv
# The reference implementation that our metrics are tested against. It declares TensorFlow and a dozen
# others as requirements; the two modules we use import only what the extra `dev` lists.
VUS     := vus==0.0.6
INSTALL := $(UV) pip install --python $(BIN)/python --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test operations faults fuzz lint format bench quality dist dist-check constraints clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/installed-dev  ## everything to work on Streamgauge, into .venv/

demo: $(VENV)/installed-demo  ## install what the demo needs, then run it
	$(BIN)/streamgauge demo $(DEMO_FLAGS)

faults: setup  ## 100 schedules of kills and broken brokers: nothing lost, nothing doubled (FAULTS_FLAGS=)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.run $(FAULTS_FLAGS)

# One thread a worker: two workers with two threads each would fight over two cores.
test: setup  ## all tests but those of `make dist-check` and `make operations`
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not package and not operations" $(PYTEST_FLAGS)

operations: setup  ## faults in front of Prometheus, Alertmanager and a pager, timed; OPERATIONS_FLAGS="-k 'not lag'"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/operations -s -m operations $(OPERATIONS_FLAGS)

fuzz: setup  ## a million damaged inputs; FUZZ_FLAGS="--inputs 100000 --minutes 5 --seed 7"
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run $(FUZZ_FLAGS)

lint: setup  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## speed and memory as ratios: a table, and build/bench.json
	$(BIN)/python -m benchmarks.run $(BENCH_FLAGS)

quality: setup  ## detection quality on labelled series (DATA=dir): the tables of docs/quality.md
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quality --data $(DATA) --write $(QUALITY_FLAGS)

dist: setup  ## wheel and source archive into dist/
	rm -rf build/lib dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

dist-check: setup  ## build the wheel, install it elsewhere, use it there
	$(BIN)/python -m pytest -m package $(PYTEST_FLAGS)

constraints: setup  ## resolve all dependencies anew (torch stays where constraints.txt has it)
	mkdir -p build
	grep '^torch==' constraints.txt > build/pins.txt
	$(UV) pip compile --quiet pyproject.toml --all-extras --upgrade --constraint build/pins.txt \
		--universal --fork-strategy fewest --python-version 3.11 --no-header --no-annotate \
		| sed 's/ *;.*//' > build/constraints.txt
	mv build/constraints.txt constraints.txt

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist *.egg-info .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV): | constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Streamgauge needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/installed-demo: pyproject.toml constraints.txt $(UV)
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt $(UV)
	$(INSTALL) --editable '.[demo,dev]'
	$(INSTALL) --no-deps $(VUS)
	touch $(VENV)/installed-demo $@
