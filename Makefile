# Two commands: `make demo` and `make test`.  Both need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
MODELS := .venv-models
PYTEST_WORKERS ?= 2

.PHONY: demo test drills models permissions mutants lint lock browser docs benchmarks clean
.DEFAULT_GOAL := demo

# uv takes a fraction of pip's time; pip knows what people have set for it, such as an index of their own.
# Compiled now, or every process would where PYTHONDONTWRITEBYTECODE is set.
# The second argument is the environment, if it is another.
install = @$(BIN)/uv pip install --quiet --compile-bytecode --python $(or $(2),$(VENV))/bin/python $(1) \
  || $(or $(2),$(VENV))/bin/python -m pip install $(quiet) $(1)
pip     = $(BIN)/python -m pip install $(quiet)
quiet   = --quiet --disable-pip-version-check

$(READY): requirements.txt tools/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Defectory needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing Defectory into $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(pip) --require-hashes -r tools/requirements.txt
	$(call install,--require-hashes -r requirements.txt)
	$(call install,--no-deps --no-build-isolation --editable .)
	@touch $@

demo: $(READY)
	@$(BIN)/defectory demo

# Workers share the cores already; threads of their libraries would only wait for each other.
test: export OMP_NUM_THREADS := 1
# Hundreds of processes import the library: it is compiled once, whatever the environment says.
test: export PYTHONDONTWRITEBYTECODE :=
test: lint
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup

# What `make test` does in small, and the whole catalogue: bursts, kills, full disks, odd folders, interruptions,
# deployments that fail or change, servers under load; about two hours.
drills: export OMP_NUM_THREADS := 1
drills: $(READY)
	$(BIN)/python -m pytest tests/drills

# What has torch in it: the trainers of detection transformers, and GLIGEN. An environment of its own, a gigabyte, whose
# torch is that for processors alone (uv knows where it is; pip asks the index that it is set to).
models: export OMP_NUM_THREADS := 1
models: $(MODELS)/.ready
	$(MODELS)/bin/python -m pytest tests/models

$(MODELS)/.ready: $(READY) requirements-models.txt requirements-torch.txt
	@echo "Installing torch and what needs it into $(MODELS) (once, some minutes) ..."
	@$(PYTHON) -m venv $(MODELS)
	$(call install,--require-hashes -r requirements.txt -r requirements-models.txt,$(MODELS))
	@$(BIN)/uv pip install --quiet --torch-backend cpu --no-deps --python $(MODELS)/bin/python -r requirements-torch.txt \
	  || $(MODELS)/bin/python -m pip install $(quiet) --no-deps -r requirements-torch.txt
	@$(MODELS)/bin/python -c 'import torch' \
	  || { echo "This torch needs more than the processor: set pip to an index that has torch for processors alone"; exit 1; }
	@touch $@

# Records anew which permissions the application's roles use, some ten minutes, and holds the templates against it.
permissions: export OMP_NUM_THREADS := 1
permissions: $(READY)
	rm -f tests/infrastructure/permissions/used.json
	DEFECTORY_RECORD_PERMISSIONS=1 $(BIN)/python -m pytest tests/local_cloud/test_application.py \
	  tests/local_cloud/test_inspection_line.py tests/local_cloud/test_image_synthesis.py tests/local_cloud/test_sensor_data.py \
	  tests/local_cloud/test_scenes.py tests/local_cloud/test_safety_line.py tests/local_cloud/test_roles.py \
	  tests/local_cloud/test_walkthrough.py tests/local_cloud/exercises.py \
	  tests/drills/test_detector_training.py tests/drills/test_detection_notebook.py
	$(BIN)/python -m pytest tests/infrastructure/test_needed_permissions.py

# Changes the modules that decide, one place at a time; the nearest tests have to fail.  A sample of each module's
# changes, or with ALL=1 all of them; MODULES=thresholds tries one module's.
mutants: export OMP_NUM_THREADS := 1
mutants: $(READY)
	$(BIN)/python tools/mutants.py --workers $(PYTEST_WORKERS) $(if $(ALL),--all) $(MODULES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Versions that are there stay; `make lock UPGRADE=--upgrade` takes the newest that pyproject.toml allows.
lock: $(READY)
	@$(BIN)/python -m tools.lock $(UPGRADE)

# Tests that drive a browser are reported as not run where there is none.
browser:
	@tools/install_browser.sh

# The site, in build/site/index.html; a link within it that leads nowhere is an error.
docs: $(READY)
	@$(BIN)/python -m sphinx -b html -q -W --keep-going docs build/site

benchmarks: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf build cdk.out demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
