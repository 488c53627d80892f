# make demo: the whole cycle on the shipped sample.  make test: all checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format clean

demo: $(VENV)/installed
	@echo "The whole cycle on sample data: about 5 minutes on two cores, less the second time."
	@$(BIN)/python recipes/demo.py demo

test: $(VENV)/installed lint
	@echo "Running the tests: about 5 minutes on two cores."
	@$(BIN)/python -m pytest

lint: $(VENV)/installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/installed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV), once: about 6 minutes, most of it compiling llama.cpp."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[train,smollm2,gemma,spacy,dev]'
	@touch $@

clean:
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
