# Everything a newcomer needs: `make demo`, `make test`. Each sets up .venv by itself.
PYTHON ?= python3.11
# The one thing a GPU user changes: see README.md, "With a GPU".
TORCH ?= torch==2.13.0
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-long test-fast test-browser check format docs bench faults stories node-stories fuzz audit clean

setup: $(VENV)/.installed

# torch first and pinned, so that no other package can pull another build of it in.
$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the PATH; give another with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) "$(TORCH)"
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable . --group dev
	@touch $@

demo: setup
	$(BIN)/avtune search demo
	$(BIN)/avtune verify demo

# The files of tests are spread over the cores, those that take longest first (tests/conftest.py puts them there).
SPREAD := -n auto --dist loadfile --no-loadscope-reorder

test: setup
	$(BIN)/python -m pytest -m "not long" $(SPREAD)

# What takes half a minute or more and shows in large what other tests show in small: quick runs of heavy benchmarks, kills
# under the second runner, planted bugs that the stories must find, ...
test-long: setup
	$(BIN)/python -m pytest -m long $(SPREAD)

test-fast: setup
	$(BIN)/python -m pytest -m "not ray and not slow and not long" $(SPREAD)

# Pages in a real browser: a Chromium on the PATH, e.g. from `apt-get install chromium`.
$(VENV)/.browser-installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --group browser
	@touch $@

test-browser: $(VENV)/.browser-installed
	$(BIN)/python -m pytest -m browser tests/browser

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site of docs/, in build/docs: pages that need neither network nor server. In an environment of its own, without torch.
DOCS := $(VENV)-docs
docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict
	@echo "built: build/docs/index.html"

$(DOCS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(DOCS)/bin/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --group docs
	@touch $@

# `make bench-map` runs one claim, `make bench` all, but for what needs a GPU, finished studies or hours; BENCH_ARGS goes to each, e.g.
# make bench-map BENCH_ARGS=--quick
BENCH_ARGS ?=
CLAIMS := $(filter-out _% gpu gpu_search finals_race peers portfolio psd_examined record_curves reshuffle wide,$(basename $(notdir $(wildcard benchmarks/*.py))))

$(VENV)/.bench-installed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --group bench
	@touch $@

bench: $(CLAIMS:%=bench-%)

bench-%: benchmarks/%.py $(VENV)/.bench-installed
	$(BIN)/python -m benchmarks.$* $(BENCH_ARGS)

# Hours: other tools, whole commands. In the environment of the benchmarks, with these tools beside.
bench-peers: $(VENV)/.bench-installed
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --constraint constraints.txt --group peers
	$(BIN)/python -m benchmarks.peers $(BENCH_ARGS)

# Searches killed at random moments, 100 times: half an hour. FAULTS_ARGS="--seed 7" tells one story again.
FAULTS_ARGS ?=
faults: setup
	$(BIN)/python -m tests.faults $(FAULTS_ARGS)

# 200 stories of studies, about 4,000 commands: half an hour. STORIES_ARGS="--seed 7" tells one again, every command printed.
STORIES_ARGS ?=
stories: setup
	$(BIN)/python -m tests.stories --jobs 2 $(STORIES_ARGS)

# 30 searches on machines made of namespaces, each with Ray: two to ten minutes a story.
NODE_STORIES_ARGS ?=
node-stories: setup
	$(BIN)/python -m tests.node_stories $(NODE_STORIES_ARGS)

# 5,000 damaged inputs: minutes. FUZZ_ARGS="--inputs 1 --seed 7" tries one again.
FUZZ_ARGS ?=
fuzz: setup
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

# Known weaknesses of the versions in constraints.txt. Needs the network; no part of CI.
AUDIT := $(VENV)-audit
audit: constraints.txt
	@test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet $(PIP_ARGS) pip-audit; }
	$(AUDIT)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

clean:
	rm -rf $(VENV) $(AUDIT) $(DOCS) build/docs .pytest_cache .hypothesis .mypy_cache .ruff_cache
