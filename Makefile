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

# For reading without Python or a network: build/site/index.html.  LIVE=no runs no lesson: no live figure moves..
SITE := build/site
LIVE := $(patsubst source/lessons/%.py,%,$(filter-out %/00_symbols.py,$(wildcard source/lessons/*.py)))
site: $(READY)
	rm -rf $(SITE) $(SITE)-source
	mkdir -p $(SITE)-source/live
	cp -r source/site/*.md notebooks/*.ipynb notebooks/coursework $(SITE)-source
	cp chapter_checks/README.md $(SITE)-source/instructors.md
	$(BIN)/pyftsubset $(BIN)/../lib/python*/site-packages/ziamath/fonts/STIXTwoMath-Regular.ttf --flavor=woff \
	  --layout-features=ssty --unicodes=$(CHARACTERS) --output-file=$(SITE)-source/live/math.woff
	$(if $(FRAMES),$(MAKE) -j $(WORKERS) $(FRAMES))
	$(if $(FRAMES),cp $(FRAMES:%/drawn=%/*.js) $(SITE)-source/live)
	$(BIN)/python -m sphinx -q -W -c source/site -d $(SITE)-source/read $(SITE)-source $(SITE)

# Of the font of formulas: Latin, Greek, operators, and letters in italics, script and double strokes.
CHARACTERS := U+20-FF,U+2C6-2DD,U+370-3FF,U+2010-2064,U+2100-22FF,U+2308-230B,U+25A1,U+27E6-27EF,U+2AAF,U+2AB0,U+1D434-1D467,U+1D49C-1D4CF,U+1D6E2-1D71B,U+1D7D8-1D7E1

# A lesson runs as far as its last live figure, which is drawn for many values of its controls.
FRAMES := $(patsubst %,build/frames/%/drawn,$(filter-out no,$(LIVE)))
PACKAGE := $(wildcard chapter_utils/*.py chapter_utils/certificates/*.py notebooks/figures/*.py)
build/frames/%/drawn: export OMP_NUM_THREADS := 1
build/frames/%/drawn: source/lessons/%.py source/running.py source/site/frames.py $(PACKAGE) | $(READY)
	rm -rf $(@D)
	$(BIN)/python source/site/frames.py $* $(@D)
	touch $@

# Do the addresses that the pages link to still exist?
links: $(READY)
	$(MAKE) site LIVE=no SITE=build/linked
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
