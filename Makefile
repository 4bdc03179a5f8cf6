# The README's two lines, and what a contributor runs. PYTHON chooses the interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv

.PHONY: demo test check

demo: ## install and show a detector on the bundled scan
	@echo "installing into $(VENV)/ (torch alone is 200 MB on a CPU, some GB with CUDA)"
	$(PYTHON) -m venv $(VENV)
	@start=$$(date +%s); $(VENV)/bin/pip install . -c constraints.txt --disable-pip-version-check && \
	  echo "installed in $$(( $$(date +%s) - start )) s, $$(du -sh $(VENV) | cut -f1)"
	$(VENV)/bin/perception demo

test: ## install what the tests need and run them
	@echo "installing into $(VENV)/ with the extras of the tests"
	$(PYTHON) -m venv $(VENV)
	@start=$$(date +%s); $(VENV)/bin/pip install '.[dev]' -c constraints.txt --disable-pip-version-check && \
	  echo "installed in $$(( $$(date +%s) - start )) s, $$(du -sh $(VENV) | cut -f1)"
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy perception
	$(VENV)/bin/python -m pytest -m "not slow" --durations=10

check: ## everything, slow tests and all golden files included
	$(VENV)/bin/python tools/check_all.py
