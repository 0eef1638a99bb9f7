# The words people type. `make serve` and `make test` are all a newcomer needs.
#   make serve                         install, and start the service at http://127.0.0.1:8000
#   make serve TORCH_INDEX=<index>     the same with PyTorch from another package index (a CPU-only build is 15 times smaller)
#   make test                          everything that must hold: lint, types, imports, tests, the wheel
#   make demo                          a recording classified in the terminal, no camera needed
#   make lint, make bench, make docs, make clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve test demo lint types imports unit wheel bench docs clean

serve: $(VENV)/.installed
	$(BIN)/spikesight serve

demo: $(VENV)/.installed
	$(BIN)/spikesight webcam --source digit-3 --no-window

test: lint types imports unit wheel

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/pyright

imports: $(VENV)/.dev
	$(BIN)/lint-imports

# Sockets and browsers have their own timing: what failed is run once more, alone; a fault fails again.
unit: $(VENV)/.dev
	$(BIN)/pytest || $(BIN)/pytest --last-failed --last-failed-no-failures none

wheel: $(VENV)/.dev
	$(BIN)/python .ci/check_wheel.py

bench: $(VENV)/.dev
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

docs: $(VENV)/.installed
	$(BIN)/python .ci/make_docs.py

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# A virtual environment with pip; where Debian's python3-venv is missing, pip of the system fills it, or apt brings it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Spikesight needs Python 3.11 to 3.13: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { rm -rf $(VENV); $(PYTHON) -m pip --version >/dev/null 2>&1 && $(PYTHON) -m venv --without-pip $(VENV); } \
	  || { [ "$$(id -u)" = 0 ] && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv $(VENV); } \
	  || { echo "Python has no venv and no pip here: apt install python3-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(if $(TORCH_INDEX),@$(INSTALL) torch --index-url $(TORCH_INDEX))
	@echo "Installing (PyTorch is large; the first time takes minutes)"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@$(INSTALL) -e '.[dev,export]'
	@touch $@

# The environment's own pip where it has one, else the system's pip working on it.
INSTALL = $$(if $(BIN)/python -m pip --version >/dev/null 2>&1; \
  then echo "$(BIN)/python -m pip"; else echo "$(PYTHON) -m pip --python $(BIN)/python"; fi) \
  --disable-pip-version-check install --quiet
