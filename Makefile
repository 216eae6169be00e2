# make demo: everything, from a corpus on disk to a report and a checkpoint. make test: the tests.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
RUNS := runs
DATA := $(RUNS)/demo-data

# A file's tests stay together: they share what its fixtures made.
TWO_AT_ONCE := -n 2 --dist loadfile

# One thread a process: parallelism is processes, and waiting threads must not burn a core.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-slow test-lowest lint clean

demo: $(VENV)/.installed-demo
	HF_HUB_OFFLINE=1 $(BIN)/python scripts/write_procedural_corpus.py --output_dir $(DATA)/corpus
	HF_HUB_OFFLINE=1 $(BIN)/python scripts/prepare_dataset.py --corpus casme2 --name procedural \
		--data_dir $(DATA)/corpus --output_dir $(DATA)/pairs
	HF_HUB_OFFLINE=1 $(BIN)/python scripts/train_loso.py --recipe hub_configs/recipes/demo.yaml \
		--dataset $(DATA)/pairs --output_dir $(RUNS)/demo --measure_leak
	HF_HUB_OFFLINE=1 $(BIN)/python scripts/run_ablations.py --recipe hub_configs/recipes/demo.yaml \
		--dataset $(DATA)/pairs --output_dir $(RUNS)/demo

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -q $(TWO_AT_ONCE)

test-slow: $(VENV)/.installed-dev
	$(BIN)/pytest -q -m slow $(TWO_AT_ONCE)

# The lowest supported versions, in an environment of their own.
test-lowest:
	$(MAKE) VENV=$(VENV)-lowest CONSTRAINTS=constraints-lowest.txt pytest

.PHONY: pytest
pytest: $(VENV)/.installed-dev
	$(BIN)/pytest -q

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(RUNS)/demo $(DATA)

# The stamp of an extra is older than what it was installed from: then install again.
$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[$*]'
	@$(BIN)/python -c "import cv2" 2>/dev/null || { \
		echo "opencv-python needs libGL, which this machine lacks: taking the headless build"; \
		$(BIN)/pip uninstall --quiet --yes opencv-python && \
		$(BIN)/pip install --quiet --force-reinstall --no-deps --constraint $(CONSTRAINTS) \
			opencv-python-headless && \
		$(BIN)/python -c "import cv2"; }
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
		echo "hcp_mer needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
