# make lab: open the lessons.  make test: prove that everything works.  Both set up .venv on their first run.
EXTRAS := [dev]
# The targets lab, venv and grade, which students have too: the file below is their Makefile.
include source/student/Makefile

NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with=tests/sanitize.cfg \
         -p chapter_checks.grading.nbval_plugin --coursework-judge

.PHONY: test check notebooks execute html lint release

test: lint
	$(BIN)/python -m pytest tests notebooks $(NBVAL)

# The quick part of the tests: no notebook is executed, no network trained for longer than a few seconds.
check: lint
	$(BIN)/python source/build.py --check
	$(BIN)/python source/build_coursework.py --check
	$(BIN)/python -m pytest tests -m "not slow"

notebooks: $(READY)
	$(BIN)/python source/build.py
	$(BIN)/python source/build_coursework.py

execute: $(READY)
	$(BIN)/python source/build.py --execute

# For reading and printing, without a network: build/html/index.html.
html: $(READY)
	$(BIN)/python source/build.py --html build/html

# What students receive (chapter_checks/README.md): build/student.zip.
release: $(READY)
	$(BIN)/python source/build_coursework.py --release build/student.zip

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
