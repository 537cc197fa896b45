# make run    the whole story: install, find data, check it, train, test, stage a night
# make test   all tests        make test-quick   those of seconds, without servers and trained models
# make check  style, types, who imports whom, containers
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# What the example in JavaScript needs, where npm and a registry are; its tests are skipped elsewhere.
EXAMPLE := $(if $(shell command -v npm 2>/dev/null),examples/javascript/node_modules/.package-lock.json)

.PHONY: run test test-quick test-lowest check data docs site results models bench clean
.DEFAULT_GOAL := run

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

examples/javascript/node_modules/.package-lock.json: examples/javascript/package-lock.json
	-npm ci --silent --prefix examples/javascript && touch $@

run: $(READY)
	$(BIN)/sleepstage run

# Compiled once, not anew by each of the many processes that the tests start.
test test-quick: export PYTHONDONTWRITEBYTECODE :=

PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal
SLOW   := slow or browser or redis

# Coverage is of the quick tests: it would cost the others, which start servers and train models, a
# third of their time.
test: $(READY) $(EXAMPLE)
	$(PYTEST) -m "not ($(SLOW))" --cov --cov-report=term:skip-covered
	$(PYTEST) -m "$(SLOW)"

test-quick: $(READY)
	$(PYTEST) -m "not ($(SLOW))"

# The oldest versions that pyproject.toml promises, on the Python at hand. What is old warns about
# what is new: no fault of ours.
LOWEST := .venv-lowest
OLDEST := tests/core tests/engine tests/io tests/cli tests/ml/test_export.py tests/research/test_quantise.py
test-lowest: $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable '.[dev]'
	$(LOWEST)/bin/python -m pytest -p no:cacheprovider -W ignore::DeprecationWarning $(OLDEST)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml

# The official files; raw motion is dropped once it is summarised (2 GB become 20 MB).
data: $(READY) data/sleep-accel/.complete

data/sleep-accel/.complete:
	$(BIN)/sleepstage data fetch data/sleep-accel
	$(BIN)/sleepstage data prepare data/sleep-accel
	rm -r data/sleep-accel/motion
	touch $@

# Files in docs/ that are written by a command and by nothing else.
docs: $(READY)
	$(BIN)/python -m research.make_features
	$(BIN)/python -m research.make_service
	$(BIN)/python -m research.make_expected_table

# All documents and the API as a site, in site/.
site: $(READY)
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

results: $(READY)
	$(BIN)/python -m research.make_results
	$(BIN)/python -m research.make_realtime
	$(BIN)/python -m research.make_expected

# The models in the package, docs/models.md (by what `results` measured), and docs/golden.
models: $(READY)
	$(BIN)/python -m research.make_models
	$(BIN)/python -m research.make_golden

bench: $(READY)
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/realtime.py --install --write

clean:
	rm -rf $(VENV) $(LOWEST) runs site data/simulated .coverage .mypy_cache .pytest_cache .ruff_cache
