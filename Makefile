# The README's two lines, and what a contributor runs. PYTHON chooses the interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
VENV_ROS ?= .venv-ros
VENV_MMDET3D ?= .venv-mmdet3d
# Which of the nodes' tests run: ROS_TESTS= for all, ten minutes without growth of memory among them.
ROS_TESTS ?= -m "not slow"

.PHONY: demo test test-ros test-mmdet3d check

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
	$(MAKE) --no-print-directory test-ros

test-ros: ## the nodes against real rclpy, in an environment of its own that borrows everything else from the tests'
	@if [ "$$(uname -sm)" != "Linux x86_64" ]; then echo "no wheels of rclpy for $$(uname -sm): nodes are not tested"; exit 0; fi; \
	set -e; $(PYTHON) -m venv $(VENV_ROS); \
	$(VENV_ROS)/bin/pip install -q -r ros_nodes/requirements-test.txt -c constraints.txt --disable-pip-version-check; \
	site=$$($(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
	own=$$($(VENV_ROS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
	echo "import site; site.addsitedir('$$site')" > "$$own/tests_environment.pth"; \
	$(VENV_ROS)/bin/python -m pytest tests/ros/live $(ROS_TESTS) --durations=10

test-mmdet3d: ## our operators in the real mmdet3d, in an environment of its own; spconv is its side of the comparison
	@if [ "$$(uname -sm)" != "Linux x86_64" ]; then echo "no wheels of spconv for $$(uname -sm): not compared"; exit 0; fi; \
	set -e; $(PYTHON) -m venv $(VENV_MMDET3D); \
	$(VENV_MMDET3D)/bin/pip install -q '.[mmdet3d]' pytest hypothesis shapely spconv -c constraints.txt --disable-pip-version-check; \
	$(VENV_MMDET3D)/bin/pip install -q --no-deps mmdet3d nuscenes-devkit lyft-dataset-sdk -c constraints.txt --disable-pip-version-check; \
	OMP_NUM_THREADS=1 $(VENV_MMDET3D)/bin/python -m pytest tests/interop/with_mmdet3d --durations=10

check: ## everything, slow tests and all golden files included
	$(VENV)/bin/python tools/check_all.py
