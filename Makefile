# Everything on a fresh machine: Python 3.11 to 3.13 and make.
PYTHON ?= python3
# For PyTorch's CPU-only builds: make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
VENV = .venv
BIN = $(VENV)/bin
# One more than there are cores: some tests wait for processes of their own.
WORKERS = $$($(BIN)/python -c "import os; print(os.cpu_count() + 1)")

.PHONY: demo test tests-without-ray tests-on-ray reference comparison clean

demo: $(VENV)/.ready  ## Train the quickstart on Ray actors and write its report
	$(BIN)/simbench run scenarios/quickstart.yaml --cache .memo

test: $(VENV)/.ready  ## Pass all checks and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(MAKE) --jobs 2 tests-without-ray tests-on-ray

tests-without-ray: $(VENV)/.ready
	nice $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not ray"

# Beside the rest, which is nice to them: they have little to compute, and wait for processes to start.
tests-on-ray: $(VENV)/.ready
	$(BIN)/pytest -m ray

reference: $(VENV)/.ready  ## Make the committed run and report of the quickstart anew
	$(BIN)/python scripts/reference.py

comparison: $(VENV)/.ready  ## Make the committed run and report of the strategies anew: half an hour
	$(BIN)/python scripts/reference.py strategies

clean:  ## Remove the environment and the cache of make demo
	rm -rf $(VENV) .memo

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt --editable ".[dev]"
	touch $@
