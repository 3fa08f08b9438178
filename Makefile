# `make repro` runs the pipeline, `make test` passes the tests; both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# dvc runs `python`, and must find the one of the environment first.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Experiments that run in a copy of the repository share what is computed already.
export FISHSEG_STORE ?= $(CURDIR)/data/.store

.PHONY: help setup repro test test-fast lint type format studies pretrained cnn3 baseline compare report leak refresh clean-store verify benchmarks real rehearsal

help:  ## what there is to make
	@grep -hE '^[a-z0-9-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "fishseg needs Python 3.11 or newer, and $(PYTHON) is older: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
# The page of `dvc plots` would load its scripts from the network.
	$(BIN)/python -m fishseg.plots.dvc_page $(VENV)/plots.html
# From .dvc on: a path with letters that are no ASCII breaks DVC's configuration.
	$(BIN)/dvc config --local plots.html_template ../$(VENV)/plots.html
	touch $@

setup: $(BIN)/.installed  ## make .venv with the locked versions

repro: setup  ## run the pipeline: data to metrics/ and plots/
	dvc repro
	@fishseg committed

# A process a core, of one thread: processes that share cores wait for one another.
test: setup  ## all tests, the end-to-end run included
	OMP_NUM_THREADS=1 python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-fast: setup  ## the tests that take seconds
	python -m pytest -m "not slow"

lint: setup  ## style
	ruff check .
	ruff format --check .

type: setup  ## types
	mypy

format: setup  ## put the code into shape
	ruff format .
	ruff check --fix .

BASELINE := -S features.fit=stretch -S features.image_size=448 -S 'features.layers=[-1]' \
  -S train.decoder=cnn3 -S train.loss=bce -S train.batch_size=8 -S train.learning_rate=1e-3 \
  -S train.weight_decay=0.01 -S train.schedule=constant -S train.warmup_fraction=0 -S train.epochs=20 -S train.ema_decay=0 -S train.guided_radius=0 \
  -S split.strategy=random -S split.val_fraction=0.2 -S split.test_fraction=0 -S split.folds=0

cnn3: setup  ## the defaults with the baseline's decoder, as an experiment
	@dvc exp remove --quiet cnn3 2>/dev/null || true
	dvc exp run --temp --name cnn3 -S train.decoder=cnn3 -S train.learning_rate=1e-3 -S 'features.layers=[-1]'

baseline: setup  ## the starting project's own recipe, as an experiment
	@dvc exp remove --quiet baseline 2>/dev/null || true
	dvc exp run --temp --name baseline $(BASELINE)

compare: setup  ## REF=… and perhaps OTHER=…: the numbers of two revisions, side by side
	@fishseg compare $(or $(REF),HEAD) $(OTHER)

report: setup  ## one page with all numbers and pictures, to open in a browser
	dvc repro report
	@echo "file://$(CURDIR)/data/report/index.html"

studies: setup  ## every study of experiments/studies.yaml, and docs/results.md (hours)
	python -m experiments

pretrained: setup  ## draw pictures and train the decoder that ships (up to two hours)
	dvc repro train
	python -m experiments.pretrained

leak: setup  ## what a random split hides: siblings of val images in train, val IoU of both splits
	python -m benchmarks.leak

# PEER is another model to compare with; benchmarks/peer.py says how it is fed.
real: setup  ## FISHSEG_REAL=…: real pictures never trained on, scored; PEER=….onnx beside them
	python -m benchmarks.real --write README.md docs/real-pictures.md $(if $(PEER),--peer $(PEER))

verify: setup  ## run the pipeline in two clean clones and compare every byte of what it tells
	python -m benchmarks.verify

benchmarks: setup  ## speed, side by side with the plain way; in tmp/benchmarks
	for name in baseline_loop features train shards scale; do python -m benchmarks.$$name --out tmp/benchmarks || exit 1; done

rehearsal: setup  ## as many copies as the Kaggle set has, through every stage (hours, 100 GB)
	python -m benchmarks.rehearsal

refresh: setup  ## run again after files in data.path changed
	dvc repro --force --single-item download
	dvc repro

clean-store:  ## drop kept downloads, shards and checkpoints; costs time, loses nothing
	rm -rf "$(FISHSEG_STORE)"
