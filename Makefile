# make lab: open the lessons.  make test: prove that everything works.  Both set up .venv on their first run.
EXTRAS := [dev]
# The targets lab, venv and grade, which students have too: the file below is their Makefile.
include notebooks/source/student/Makefile

NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with=tests/sanitize.cfg \
         -p chapter_utils.coursework.nbval_plugin --coursework-judge

.PHONY: test check notebooks execute html lint release

test: lint
	$(BIN)/python -m pytest tests notebooks $(NBVAL)

# The quick part of the tests: no notebook is executed, no network trained for longer than a few seconds.
check: lint
	$(BIN)/python notebooks/build.py --check
	$(BIN)/python notebooks/build_coursework.py --check
	$(BIN)/python -m pytest tests -m "not slow"

notebooks: $(READY)
	$(BIN)/python notebooks/build.py
	$(BIN)/python notebooks/build_coursework.py

execute: $(READY)
	$(BIN)/python notebooks/build.py --execute

# For reading and printing, without a network: build/html/index.html.
html: $(READY)
	$(BIN)/python notebooks/build.py --html build/html

# What students receive (notebooks/coursework/README.md): build/student.zip.
release: $(READY)
	$(BIN)/python notebooks/build_coursework.py --release build/student.zip

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
