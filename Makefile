# What to type. Everything is installed into .venv/ and nothing outside this directory is touched
# (pip's, uv's and Maven's own caches excepted).

PYTHON  ?= python3
WORKERS ?= 3
DATA    ?= ../shared/data
VENV    := .venv
BIN     := $(VENV)/bin
UV      := $(BIN)/uv
# The reference implementation that our metrics are tested against. It declares TensorFlow and a dozen
# others as requirements; the two modules we use import only what the extra `dev` lists.
VUS     := vus==0.0.6
# Tiers of their own: slow, or in need of tools that not every machine has.
FAST    := not package and not deployment and not dashboards and not operations and not silence and not scenario and not kafka_changes and not trust and not browser and not objects and not docs and not distributed and not cluster
INSTALL := $(UV) pip install --python $(BIN)/python --constraint constraints.txt
# PyTorch without CUDA, if its own index can be reached; TORCH_BACKEND=auto or cu128: with CUDA, TORCH_BACKEND=: from PyPI.
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH_BACKEND ?= $(shell $(PYTHON) -c "import urllib.request as u; u.urlopen('$(CPU_INDEX)/torch/', timeout=3); print('cpu')" 2>/dev/null)

# Without its bytecode torch takes seconds longer to import, in every process that the tests start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test deployment dashboards dashboards-json operations faults soak fuzz lint format
.PHONY: browser cluster distributed objects scenario silence trust operators kafka-changes bench quality board pictures screenshots docs dist dist-check constraints clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/installed-dev  ## everything to work on Streamgauge, into .venv/

demo: $(VENV)/installed-demo  ## install what the demo needs, then run it
	$(BIN)/streamgauge demo $(DEMO_FLAGS)

faults: setup  ## 100 schedules of kills and broken brokers: nothing lost, nothing doubled (FAULTS_FLAGS=)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.run $(FAULTS_FLAGS)

soak: setup  ## half an hour at half of the capacity with a kill every minute (SOAK_FLAGS=; --long: two hours, rare events)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.soak $(SOAK_FLAGS)

# One thread a worker: two workers with two threads each would fight over two cores. A file to a worker: what a
# module and its broker need is made once.
test: setup  ## all tests but those of the tiers that have a target of their own
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "$(FAST)" $(PYTEST_FLAGS)

# The image takes minutes and 4 GB; the slice, which CI runs, leaves it out, and Helm with it.
deployment: setup  ## deploy/ against the tools that use it, the image built and run; DEPLOYMENT=slice: less
	bash tests/deploy/tools.sh build/deployment $(DEPLOYMENT)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/deploy -s --durations=5 -m deployment \
		$(if $(DEPLOYMENT),-k "not image and not helm and not chart and not both and not confined and not right") $(PYTEST_FLAGS)

browser: setup  ## the explorer's pages in Chromium: rendering, keyboard, address, security policy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/browser -m browser $(PYTEST_FLAGS)

distributed: setup  ## training by torchrun: two processes against one, kills, hangs, two agents (3 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/trainer/fitting/parallel -m distributed $(PYTEST_FLAGS)

dashboards: setup  ## every query of deploy/grafana against a live Kafka, daemon and Prometheus (2 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/dashboards -s --durations=3 -m dashboards $(PYTEST_FLAGS)

dashboards-json: setup  ## write deploy/grafana/dashboards anew from its source
	$(BIN)/python -m deploy.grafana.generate

objects: setup  ## archive and models on servers of S3 and gs://, which Go builds once (minutes): kills, owners
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/detector/explore/storage tests/detector/lifecycle/stored tests/cluster -m objects $(PYTEST_FLAGS)

operations: setup  ## faults in front of Prometheus, Alertmanager and a pager, timed; OPERATIONS_FLAGS="-k 'not lag'"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/operations -s -m operations $(OPERATIONS_FLAGS)

kafka-changes: setup  ## rarer changes under the running daemon: rights, retention, ids, vanished series (5 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m kafka_changes $(PYTEST_FLAGS)

cluster: setup  ## evaluations, trainings and backtests on a real cluster of two workers (2 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster tests/detector/workers -m cluster $(PYTEST_FLAGS)

scenario: setup  ## 300 machines of five kinds over two topics and MQTT, from a recording to a rollback; SCENARIO=slice: 30
	OMP_NUM_THREADS=1 STREAMGAUGE_SCENARIO=$(SCENARIO) $(BIN)/python -m pytest tests/scenario -m scenario $(PYTEST_FLAGS)

silence: setup  ## 1,000 plants with corrupted data: each later fault is found, or reported before
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m silence $(PYTEST_FLAGS)

trust: setup  ## alarms to trust with more seeds, and their table for docs/trust.md; TRUST=1: that seed alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m trust $(if $(TRUST),-k seed$(TRUST)) $(PYTEST_FLAGS)
	$(if $(TRUST),,OMP_NUM_THREADS=1 $(BIN)/python -m tests.trust.table $(TRUST_FLAGS))

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

operators: setup  ## what an operator sees, on generated plants and labelled data: boards of docs/trust.md
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.operators --data $(DATA) --write $(OPERATORS_FLAGS)

board: setup  ## ours beside published methods, all causal, on labelled series: docs/board.md (BOARD_FLAGS=)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.board --data $(DATA) --write $(BOARD_FLAGS)

pictures: setup  ## the drawn pictures of the pages, from generated data (2 minutes of CPU)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.pictures $(PICTURES_FLAGS)

screenshots: pictures  ## every picture of pages, reports and demo, from generated data; needs Java (4 minutes of CPU)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.pictures.pages $(SHOTS_FLAGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.pictures.terminal

docs: setup  ## the pages as a site into build/site; links, anchors and the tutorial tested
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m docs $(PYTEST_FLAGS)
	@echo "open build/site/index.html"

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
	$(INSTALL) $(addprefix --torch-backend=,$(TORCH_BACKEND)) --editable '.[demo]'
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt $(UV)
	$(INSTALL) $(addprefix --torch-backend=,$(TORCH_BACKEND)) --editable '.[demo,explore,mqtt,docs,dev]'
	$(INSTALL) --no-deps $(VUS)
	touch $(VENV)/installed-demo $@
