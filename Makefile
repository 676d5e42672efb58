# Everything is made in .venv of this checkout, from the locked and hashed packages.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint bench lock wheel clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# pip reads the lock without resolving; --no-deps holds it to exactly what is listed.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: .venv/installed  ## train, evaluate and predict with every family on embedded data (minutes)
	$(BIN)/vision-tasks demo

# A test a core at a time: several processes of one thread are faster here than one of several.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test: .venv/installed  ## all tests
	$(PYTEST)

test-fast: .venv/installed  ## the tests that take seconds
	$(PYTEST) -m "not slow"

lint: .venv/installed  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed  ## speed beside the peers', into benchmarks/reports (two hours, on an idle machine)
	$(BIN)/python -m benchmarks.loader
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.detection_metrics
	$(BIN)/python -m benchmarks.mask_metrics
	$(BIN)/python -m benchmarks.large_images
	$(BIN)/python -m benchmarks.data_layer --images 768
	$(BIN)/python -m benchmarks.bootstrap
	$(BIN)/python -m benchmarks.data_check
	$(BIN)/python -m benchmarks.folder_memory
	$(BIN)/python -m benchmarks.report_page

# A torchvision is built for one torch: the pair is held together here.
lock: .venv/installed  ## renew requirements.lock (needs uv)
	printf 'torch==2.14.0\ntorchvision==0.29.2\n' | uv pip compile pyproject.toml --all-extras --universal \
	  --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --constraint - --output-file requirements.lock --upgrade

wheel: .venv/installed  ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

clean:  ## remove what make has made
	rm -rf .venv dist
