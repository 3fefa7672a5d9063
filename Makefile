.DEFAULT_GOAL := help
# The first supported Python on this machine; to choose another:
# `make install PYTHON=/path/to/python3.12`.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
# What training runs on: cpu, gpu or tpu. By default what was installed before, or what this machine
# has.
TRAINING ?= $(shell cat .venv/.training 2>/dev/null || \
	$(PYTHON) -c 'from trainer.backends.hardware import found; print(found().kind)')
INSTALLED := .venv/.installed-$(TRAINING)
LOCKS := $(strip requirements.lock $(if $(filter-out cpu,$(TRAINING)),infra/$(TRAINING).lock))
# What images and wheels are for: other machines than this one.
KIND ?= cpu
TESTS ?= 2

.PHONY: help install demo test acceptance bench lint format compile docs reference images wheels container-test lock picture clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv and install the versions of the lock files (TRAINING=cpu, gpu or tpu)

$(INSTALLED): $(LOCKS) pyproject.toml infra/uv.lock
	@test -n "$(PYTHON)" || { echo "Foldline requires Python 3.11, 3.12 or 3.13, because TensorFlow has no wheels for others: install one, or name it with make install PYTHON=/path/to/python3.13"; exit 1; }
	@echo "Installing into .venv with $$($(PYTHON) --version), for training on a $(TRAINING) (to choose: make install TRAINING=cpu, gpu or tpu); this takes up to a few minutes"
	@$(PYTHON) -m venv --clear .venv
	@infra/install.sh .venv $(LOCKS)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo $(TRAINING) >.venv/.training
	@touch $@
	@echo "Installed. To use the command foldline: source .venv/bin/activate"

demo: install ## Turn real digits into a checked submission in runs/digits
	@$(BIN)/python -m pipelines.competitions.digits data/digits
	@$(BIN)/foldline run pipelines/competitions/digits.toml

test: install ## Run the fast tests, two files in parallel (TESTS=4 for four)
	@$(BIN)/python -m pytest --numprocesses $(TESTS) --dist loadfile --no-loadscope-reorder \
		--durations=25 --durations-min=5

acceptance: install ## Run the slow tests: recipes, kills, several devices
	@$(BIN)/python -m pytest -m acceptance --numprocesses $(TESTS) --dist loadgroup --maxschedchunk 1 \
		--durations=25 --durations-min=5

bench: install ## Compare with named baselines; writes benchmarks/results.md
	@{ for part in data/folds data/near data/records data/scanning data/pooled augmenting training defaults memory stacking reporting adversarial; do $(BIN)/python -W ignore benchmarks/$$part.py || exit 1; done; } \
		| grep -v '^\[' | tee benchmarks/results.md

lint: install ## Check style, types, imports, words, shell scripts, Dockerfile, YAML and Terraform
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/python infra/plain_words.py
	@$(BIN)/shellcheck .ci/run infra/*.sh infra/images/*.sh infra/terraform/*.sh
	@$(BIN)/hadolint --config infra/images/hadolint.yaml infra/images/Dockerfile
	@$(BIN)/yamllint --strict --config-file infra/yamllint.yaml infra
	@infra/terraform/check.sh

format: install ## Format the code and apply automatic fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

compile: install ## Compile the pipelines to YAML in build/
	@$(BIN)/python pipelines/compile.py

reference: install ## Write docs/configuration.md and the editors' schemas again
	@$(BIN)/python -m pipelines.reference.write

docs: install ## Build the documentation as a site in build/site; checks links
	@NO_COLOR=1 $(BIN)/zensical build --clean --strict --config-file mkdocs.yml
	@echo "build/site/index.html; to search, serve it: python3 -m http.server --directory build/site"

images: install ## Build the container images (KIND=cpu, gpu or tpu)
	@infra/images/build.sh light
	@infra/images/build.sh $(KIND)

wheels: install ## Write build/wheels, to install without internet (KIND=cpu, gpu, tpu or none; FOR=a Python)
	@infra/wheels.sh build/wheels $(KIND) $(FOR)

container-test: install ## Run a complete pipeline in containers (needs a Docker engine)
	@infra/images/container_test.sh

lock: install ## Resolve all dependencies again and write the lock files (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(foreach extra,cpu efficientnet leaderboard vertex cluster docker demo docs dev,--extra $(extra)) \
		--no-emit-index-url --no-emit-find-links --upgrade --output-file requirements.lock pyproject.toml
	for kind in gpu tpu; do \
		uv pip compile --python-version 3.11 --python-platform x86_64-manylinux_2_31 --generate-hashes --no-header \
			--no-annotate --no-emit-index-url --no-emit-find-links --constraints requirements.lock \
			--output-file infra/$$kind.lock infra/images/$$kind.in || exit 1; \
	done
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --upgrade --output-file infra/uv.lock infra/uv.in
	infra/images/lock.sh
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --upgrade --output-file infra/terraform/checkov.lock infra/terraform/checkov.in

picture: ## Take the README's picture of the demo's report (needs Chromium)
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --force-device-scale-factor=1 \
		--window-size=1100,3350 --screenshot=docs/report.png file://$(CURDIR)/runs/digits/report.html

clean: ## Remove .venv, build/ and caches; data/ and runs/ stay
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis
