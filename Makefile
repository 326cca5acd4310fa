# One word for everything that is done with this project; `make` alone lists the words.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Another environment that happens to be active must not decide what is used here.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH CONDA_PREFIX PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
UV_VERSION := 0.12.24
BIN := .venv/bin
READY := .venv/.complete
# One more than there are processors: some tests wait.
WORKERS := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 2 ? 2 : n > 3 ? 4 : n + 1)))
# -v takes back the -q of pyproject.toml: a run of the whole suite says which files it is in.
PYTEST := $(BIN)/python -m pytest -v

.PHONY: help run test lint simulate soak bench-rounds bench-accuracy bench-strategies bench-dashboard bench-patients bench-predict bench-import lock clean

help: ## list these words
	@echo "make run  starts the demonstration; PORT=8600, DATA=patients.csv, FLOWER_RUNTIME=stock are options"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  %-16s %s\n", $$1, $$2 }'

run: $(READY) ## start Fedcost on http://127.0.0.1:8501, with invented hospitals; Ctrl-C stops it
	@exec $(BIN)/python -m app.launch

test: $(READY) ## all tests: unit and integration, then federation, then browser
	@$(call suite,unit and integration,tests/unit tests/integration -n $(WORKERS) --dist worksteal)
	@$(call suite,federation,tests/federation -n 2 --dist loadfile)
	@$(call suite,browser,tests/browser)

lint: $(READY) ## style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: security
security: $(READY) ## bandit over the code, and published advisories against every pinned release
	@exec $(BIN)/python .ci/security.py

.PHONY: pictures
pictures: $(READY) ## take the pictures of the user guide anew, from the running app
	@exec $(BIN)/python -m tests.browser.pictures

.PHONY: verify-run
verify-run: $(READY) ## prove the receipts of a run and the version that it made: make verify-run RUN=5
	@exec $(BIN)/python -m app.verify_run $(RUN)

.PHONY: verify-audit
verify-audit: $(READY) ## prove the audit trails; HEAD=position:hash (and TRAIL=code of a hospital) compares with an earlier head
	@exec $(BIN)/python -m app.verify_audit

.PHONY: backup restore
backup: $(READY) ## dump every database into a new folder of the data folder's backups (BACKUP_DIR, BACKUP_KEEP=7)
	@exec $(BIN)/python -m app.backup

restore: $(READY) ## restore a backup into fresh databases: make restore FROM=folder; OVERWRITE=yes renames what is there
	@exec env FROM="$(FROM)" OVERWRITE="$(OVERWRITE)" $(BIN)/python -m app.restore

bench-rounds: $(READY) ## seconds a Round, ours and unmodified Flower
	@exec $(BIN)/python -m bench.rounds

simulate: $(READY) ## the real apps for up to N=1000 institutions on this machine: seconds, memory, R2
	@exec $(BIN)/python -m bench.simulate $(or $(N),1000)

soak: $(READY) ## 200 rounds with 10 sites, one killed every 10: what is lost, whose memory grows
	@exec $(BIN)/python -m bench.soak

bench-accuracy: $(READY) ## R2 of the federation beside central training and least squares
	@exec $(BIN)/python -m bench.accuracy

bench-strategies: $(READY) ## R2 by round of every strategy, on sites alike and on sites that differ strongly
	@exec $(BIN)/python -m bench.strategies

bench-patients: $(READY) ## milliseconds of lists of a million patients, in the database and in the page
	@exec $(BIN)/python -m bench.patients

bench-dashboard: $(READY) ## milliseconds of the training page with 1,000 rounds of 50 hospitals, first and redrawn
	@exec $(BIN)/python -m bench.dashboard

bench-import: $(READY) ## seconds to import 100,000 patients, as CSV, the same again, and as Excel
	@exec $(BIN)/python -m bench.imports

.PHONY: bench-load
bench-load: $(READY) ## 200 predictions a second and 50 open pages, while a run goes on and PostgreSQL restarts
	@exec $(BIN)/python -m bench.load

.PHONY: abuse-requests
abuse-requests: $(READY) ## 10,000 malformed requests to the application as it is served; none may be answered 5xx
	@exec $(BIN)/python -m bench.malformed

.PHONY: bench-audit
bench-audit: $(READY) ## seconds to seal and verify a million events, milliseconds of the audit page's questions
	@exec $(BIN)/python -m bench.audit

bench-predict: $(READY) ## milliseconds of a prediction in the service and over HTTP, and of keras.predict
	@exec $(BIN)/python -m bench.predict

lock: $(READY) ## write constraints.txt from requirements.txt and requirements-dev.txt
	@sed '/^-[cr] /d' requirements.txt requirements-dev.txt \
	  | $(BIN)/uv pip compile - --python $(BIN)/python --universal --python-version 3.11 \
	      --no-header --no-annotate --quiet --output-file .venv/constraints.txt > /dev/null
	@{ echo "# Everything that requirements.txt and requirements-dev.txt resolve to, on every platform; written by 'make lock'."; \
	   cat .venv/constraints.txt; } > constraints.txt
	@rm .venv/constraints.txt
	@echo "constraints.txt has $$(grep -c == constraints.txt) packages."

clean: ## delete the demonstration's data, logs, caches and test artifacts; the .venv stays
	@if [ -e $(READY) ]; then $(BIN)/python -m app.launch --erase; else rm -rf .data; fi
	@rm -rf artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis *.fab
	@find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: exact pins, made anew when they change. Compiled bytecode halves the start of TensorFlow.
$(READY): requirements.txt requirements-dev.txt constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "Fedcost needs Python 3.11 or newer, and there is no $(PYTHON) here." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Fedcost needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "If a newer one is installed, name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "$(PYTHON) comes without its venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Making the environment in .venv; the first time this downloads about 900 MB."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode -r requirements-dev.txt 2>&1 \
	  | { grep --line-buffered -v '^ [+~-] ' || true; }
	@touch $(READY)

# $(call suite,name,arguments of pytest): run a suite and say how long it took.
define suite
echo; echo "--- $(1)"; SECONDS=0; $(PYTEST) $(2); echo "--- $(1): $$SECONDS s"
endef
