# Everything runs inside .venv; nothing here needs root, a GPU or a display.
PYTHON ?= python3
# Some machines switch Python's bytecode cache off; here it saves seconds at every start.
export PYTHONDONTWRITEBYTECODE :=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo
EXPERIMENT := experiment_training/dagger/peg_insert_side/exp1

.PHONY: install demo test test-all lint format bench clean-demo

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[sim,cluster,dev]'
	touch $(STAMP)

demo: install  ## ten demonstrations, then two DAgger rounds; the report is runs/demo/report.html
	$(BIN)/python data_collection/dagger_runner.py --dagger_config $(EXPERIMENT)/dagger.yaml --set save_dir=$(DEMO)

clean-demo:
	rm -rf $(DEMO)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadgroup --cov --cov-report=term

test-all: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term

bench: install
	$(BIN)/python benchmarks/loop_overhead.py --json benchmarks/results/loop_overhead.json
