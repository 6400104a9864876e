# make lab: open the lessons.  make test: prove that everything works.  Both set up .venv on their first run.
EXTRAS := [dev]
# The targets lab, venv and grade, which students have too: the file below is their Makefile.
include source/student/Makefile

NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with=tests/sanitize.cfg \
         -p chapter_checks.grading.nbval_plugin --coursework-judge

# Two processes, each with one thread: they share two cores.  What belongs together stays together
# and the longest starts first (tests/conftest.py).
WORKERS := 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

.PHONY: test check mutate notebooks execute site links versions lint release

# SEEDS=20 asks every check of the coursework 20 times, not 5 (tests/coursework/test_zoo.py).
test: export SEEDS ?= 5
test: lint
	$(PYTEST) tests notebooks $(NBVAL)

# The quick part of the tests, in two minutes: no notebook is executed, no network trained for longer
# than a second, fewer random cases.
check: export SEEDS ?= 1
check: lint
	$(BIN)/python source/build.py --check
	$(BIN)/python source/build_coursework.py --check
	$(PYTEST) tests -m "not slow" --hypothesis-profile=quick

# Do the tests notice? MODULES="norms attacks" tries these only; some minutes a module (tests/mutation.py).
mutate: export OMP_NUM_THREADS := 1
mutate: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -e ".[mutate]"
	$(BIN)/python tests/mutation.py $(MODULES)

notebooks: $(READY)
	$(BIN)/python source/build.py
	$(BIN)/python source/build_coursework.py

execute: $(READY)
	$(BIN)/python source/build.py --execute

# For reading without Python or a network: build/site/index.html.  LIVE=no runs no lesson: live figures do not move.
site: $(READY)
	$(BIN)/python source/site/publish.py $(if $(filter no,$(LIVE)),--live)

# Do the addresses that the pages link to still exist?
links: $(READY)
	$(BIN)/python source/site/publish.py --live --output build/linked
	$(BIN)/python -m sphinx -q -b linkcheck -c source/site build/linked-source build/links

# The versions that make venv installs: the newest that fit together, for every system and Python.  Then make test.
versions: $(READY)
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.10 --no-header --no-annotate --extra dev pyproject.toml -o versions.txt

# What students receive (chapter_checks/README.md): build/student.zip.
release: $(READY)
	$(BIN)/python source/build_coursework.py --release build/student.zip

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
