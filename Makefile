# Each target makes or reuses the virtual environment it needs: VENV (.venv), TORCH=cuda for a GPU build of torch.
# ARGS go to `xllms run`, such as ARGS='--set output=runs/mine'.
VENV ?= .venv
export VENV
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: quickstart test test-slow lint format languages clean

quickstart:  ## the whole pipeline on a real model, about a quarter of an hour on two cores
	@scripts/setup.sh quickstart
	$(VENV)/bin/xllms run recipes/quickstart.yaml $(ARGS)

test:  ## the tests
	@scripts/setup.sh dev
	$(VENV)/bin/python -m pytest

test-slow:  ## minutes: the real model
	@scripts/setup.sh dev
	@scripts/setup.sh quickstart
	$(VENV)/bin/python -m pytest -m slow

lint:  ## ruff and mypy
	@scripts/setup.sh dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format:
	@scripts/setup.sh dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

languages:  ## make languages.csv again
	@scripts/setup.sh dev
	$(VENV)/bin/python scripts/build_languages.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
