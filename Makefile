# make lab: open the lessons.  make test: prove that everything works.  Both set up .venv on their first run.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# As root JupyterLab wants to be allowed; without a display it prints its address instead of opening a browser.
LAB_FLAGS := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root) \
             $(shell [ "$$(uname)" = Darwin ] || [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || echo --no-browser)
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with=tests/sanitize.cfg \
         -p chapter_utils.coursework.nbval_plugin --coursework-judge

.PHONY: lab test check venv notebooks execute html lint grade release

lab: $(READY)
	cd notebooks && ../$(BIN)/jupyter lab $(LAB_FLAGS)

test: lint
	$(BIN)/python -m pytest tests notebooks $(NBVAL)

# The quick part of the tests: no notebook is executed, no network trained for longer than a few seconds.
check: lint
	$(BIN)/python notebooks/build.py --check
	$(BIN)/python notebooks/build_coursework.py --check
	$(BIN)/python -m pytest tests -m "not slow"

venv: $(READY)

notebooks: $(READY)
	$(BIN)/python notebooks/build.py
	$(BIN)/python notebooks/build_coursework.py

execute: $(READY)
	$(BIN)/python notebooks/build.py --execute

# For reading and printing, without a network: build/html/index.html.
html: $(READY)
	$(BIN)/python notebooks/build.py --html build/html

# Instructors (notebooks/coursework/README.md): make grade SUBMISSIONS=folder, and what students receive.
grade: $(READY)
	@[ -n "$(SUBMISSIONS)" ] || { echo "Say where the submissions are: make grade SUBMISSIONS=folder"; exit 1; }
	$(BIN)/python -m chapter_utils.coursework.grade "$(SUBMISSIONS)"

release: $(READY)
	$(BIN)/python notebooks/build_coursework.py --release build/student.zip

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# TORCH_INDEX=URL takes torch and torchvision from that index (smaller CPU-only builds, see README.md); on the first run only.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed; say which with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "The venv module is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --disable-pip-version-check torch torchvision --index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt -e ".[dev]"
	@$(BIN)/python -c 'import torch, torchvision' || { \
	  echo "torch and torchvision do not fit together. Delete .venv and run make again, without TORCH_INDEX."; exit 1; }
	@touch $@
