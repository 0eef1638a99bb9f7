# The words people type. `make serve` and `make test` are all a newcomer needs.
#   make serve                         install, and start the service at http://127.0.0.1:8000
#   make serve TORCH=cpu               the same with PyTorch's small build, for machines without a GPU
#   make test                          everything that must hold: lint, types, imports, tests, the wheel
#   make demo                          a recording classified in the terminal, no camera needed
#   make release                       the wheels of all systems into dist/, checked; nothing is published
#   make lock                          the image's Python packages anew, with versions and hashes (wants uv)
#   make pictures                      those of the documents anew, notebooks too (wants Chromium)
#   make lint, make bench, make docs, make clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve test demo lint types imports unit wheel release lock bench docs pictures clean

serve: $(VENV)/.installed
	$(BIN)/spikesight serve --save-to runs/taught

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

unit: $(VENV)/.dev
	$(BIN)/pytest -n 2 --dist loadfile -p no:schemathesis --ignore tests/contracts/test_openapi.py
	$(BIN)/pytest tests/contracts/test_openapi.py  # apart: its tests share one name, under which -n runs but one

wheel: $(VENV)/.dev
	$(BIN)/python .ci/check_wheel.py

release: $(VENV)/.dev
	$(BIN)/python .ci/release.py

lock:
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PYTHON) .ci/lock.py

bench: $(VENV)/.dev
	for name in $(notdir $(basename $(wildcard benchmarks/[a-z]*.py))); do \
		$(BIN)/python -m benchmarks.$$name || failed="$$failed $$name"; done; \
		test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

docs: $(VENV)/.installed
	$(BIN)/python docs/make/make_docs.py

pictures: $(VENV)/.dev
	$(BIN)/python docs/pictures/take.py
	$(BIN)/python docs/make/draw.py
	$(BIN)/python docs/make/notebook.py

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.installed: pyproject.toml .ci/install.py
	@$(PYTHON) .ci/install.py --torch "$(TORCH)"
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	@$(PYTHON) .ci/install.py --dev --torch "$(TORCH)"
	@touch $@
