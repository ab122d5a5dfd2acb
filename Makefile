SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
HOST ?= 127.0.0.1
PORT ?= 8080
CONFIG ?= training/configs/secateur-nano-en.yaml
MODEL ?= runs/secateur-nano-en-8/model
DATA ?= ../shared/data
SHIPPED := models/pretrained/secateur-nano-en
PYTEST_ARGS ?=

BIN := $(VENV)/bin
# Infinity's pins conflict with ours.
INFINITY := .venv-infinity
# The lowest versions that pyproject.toml declares, without torch.
LOWEST := .venv-lowest
LOWEST_TESTS := tests/models/test_requests.py tests/models/test_selection.py tests/models/test_segmentation.py \
  tests/models/test_pruner.py tests/models/test_merging.py tests/models/test_encoding.py tests/models/test_checkpoint.py \
  tests/models/test_registry.py tests/models/test_calibration.py tests/service/test_prune.py tests/service/test_openapi.py \
  tests/service/test_bad_input.py tests/service/test_dialects.py tests/service/test_settings.py tests/service/test_logs.py \
  tests/service/middleware tests/secateur/client/test_wire.py tests/secateur/client/test_client.py tests/secateur/test_cli.py
# Modules are compiled when they are first imported; most of what is installed never is. Without stored byte code every
# process would compile all that it imports, which takes up to 20 seconds.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# One environment, two installs: serving needs no torch, so it does not wait for one.
SERVE_STAMP := $(VENV)/.serve.stamp
TEST_STAMP := $(VENV)/.test.stamp

.PHONY: help serve check test unit lowest lint format format-check typecheck docs wheel release audit lock pin pinned train export eval example tables screenshot \
  bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "error: '$(PYTHON)' is missing or older than Python 3.11; name another: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(SERVE_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[cpu,serve]'
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[cpu,train,eval,data,test,docs,dev]'
	@touch $(SERVE_STAMP) $@

serve: $(SERVE_STAMP) ## run the REST service with the shipped model (HOST, PORT)
	$(BIN)/secateur serve --host $(HOST) --port $(PORT)

test: export HF_HUB_OFFLINE = 1
test: lint format-check typecheck docs ## lint, check the format and the types, build the docs, run the tests (PYTEST_ARGS)
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: lint format-check typecheck unit ## run before each commit: lint, format, types, unit tests

unit: export HF_HUB_OFFLINE = 1
unit: $(TEST_STAMP) ## run the tests that are neither slow nor end to end (PYTEST_ARGS)
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile -m 'not slow and not e2e' $(PYTEST_ARGS)

lowest: export HF_HUB_OFFLINE = 1
lowest: ## test library, command line and service with the lowest declared versions (needs the network)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(LOWEST) $(LOWEST)/bin/uv pip install --quiet --resolution lowest-direct --only-binary :all: \
	  --no-binary secateur -e '.[cpu,serve,client,redis]' 'hypothesis>=6.100' 'packaging>=24.0' 'psutil>=6.0' 'pytest>=8.2'
	$(LOWEST)/bin/python -m pytest -m 'not slow and not e2e' $(LOWEST_TESTS)

lint: $(TEST_STAMP) ## run ruff check
	$(BIN)/ruff check .

format: $(TEST_STAMP) ## format the code and apply the safe lint fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

format-check: $(TEST_STAMP) ## fail when `make format` would change something
	$(BIN)/ruff format --check .

# mypy cannot follow the package-dir mapping of pyproject.toml, so it reads the wheel's sources; started there, since
# it looks in the current directory first.
typecheck: wheel ## run mypy on the wheel's sources (strict), the tests and the benchmarks
	rm -rf build/typecheck
	$(BIN)/python -m zipfile -e dist/*.whl build/typecheck
	cd build/typecheck && MYPYPATH=.:../..:../../tests/support ../../$(BIN)/mypy --num-workers 2 --config-file ../../pyproject.toml \
	  --cache-dir ../../.mypy_cache secateur ../../benchmarks ../../tests

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(TEST_STAMP) ## build the documentation into build/site; a broken link fails it
	$(BIN)/mkdocs build --quiet --strict

wheel release: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
wheel: $(TEST_STAMP) ## build sdist and wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --quiet --no-isolation --outdir dist .
	$(BIN)/twine check --strict dist/*

release: wheel ## write the release to dist/: sdist and wheel, tried in a clean environment, SBOM, checksums
	$(BIN)/python deploy/release/check.py dist build/image
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/$$(basename dist/*.whl -py3-none-any.whl).cdx.json build/image/venv/bin/python
	cd dist && sha256sum secateur-* >SHA256SUMS

audit: $(TEST_STAMP) ## report known vulnerabilities of the pinned versions, without failing (needs the network)
	@$(BIN)/python deploy/release/audit.py

lock: $(TEST_STAMP) ## write deploy/requirements-*.txt, the packages of the images, with hashes (needs the network)
	$(BIN)/python deploy/release/lock.py

pin: ## pin third-party images by their digests (needs docker and the network)
	$(PYTHON) deploy/release/images.py pin

pinned: ## fail when a third-party image has no digest, which a release needs
	$(PYTHON) deploy/release/images.py check

train: $(TEST_STAMP) ## train a model (CONFIG)
	$(BIN)/secateur train $(CONFIG)

export: $(TEST_STAMP) ## write a trained model's ONNX files (MODEL, DATA)
	$(BIN)/secateur export $(MODEL) --data $(DATA)/dev

eval: $(TEST_STAMP) ## measure the shipped model and all baselines, and rewrite the tables and the plot (DATA)
	$(BIN)/secateur eval --data $(DATA)/test --out runs/eval --system secateur-int8 --system all --needle --robustness \
	  --update docs/evaluation.md --update $(SHIPPED)/README.md
	$(BIN)/secateur eval --no-titles --data $(DATA)/test --out runs/eval-untitled --system secateur-int8 --system bm25 \
	  --system embedding --update docs/evaluation.md
	$(BIN)/secateur eval --data $(DATA)/dev --limit 20 --out runs/retention --system secateur-int8 --system embedding \
	  --system bm25 --system rank-head
	cp runs/retention/retention.svg docs/retention.svg
	$(BIN)/python docs/generate.py

example: $(TEST_STAMP) ## rewrite README's before-and-after example
	$(BIN)/python -m benchmarks.example examples/passages.jsonl README.md

tables: $(TEST_STAMP) ## rewrite the docs' tables that derive from the code, and README's, which derive from the docs
	$(BIN)/python docs/generate.py

screenshot: $(TEST_STAMP) ## take a picture of the playground (needs chromium and chromedriver)
	$(BIN)/python docs/screenshot.py docs/playground.png

$(INFINITY)/bin/infinity_emb: constraints.txt
	$(PYTHON) -m venv $(INFINITY)
	$(INFINITY)/bin/pip install --quiet --disable-pip-version-check 'infinity-emb[server,torch]' 'transformers<5' \
	  $$(grep '^torch==' constraints.txt)
	@touch $@

bench: $(TEST_STAMP) $(INFINITY)/bin/infinity_emb ## measure speed and memory and rewrite docs/benchmarks.md (DATA)
	for what in overhead speed footprint; do \
	  $(BIN)/python -m benchmarks $$what --data $(DATA)/test --update docs/benchmarks.md; done
	$(BIN)/python -m benchmarks segmenters --data $(DATA)/dev --update docs/benchmarks.md
	$(BIN)/python -m benchmarks peers --data $(DATA)/test --rounds 3 --budget-s 20 --update docs/benchmarks.md
	$(BIN)/python -m benchmarks peers --data $(DATA)/test --contestant open-provence-base provence --rounds 3 \
	  --budget-s 120 --update docs/benchmarks.md --block bench-large
	$(BIN)/python -m benchmarks http --data $(DATA)/test --rounds 3 --infinity-python $(INFINITY)/bin/python \
	  --update docs/benchmarks.md
	$(BIN)/python -m benchmarks load --data $(DATA)/test --rounds 3 --requests 20 --update docs/benchmarks.md
	$(BIN)/python docs/generate.py

clean: ## remove what was built; keeps the environment and the runs
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
