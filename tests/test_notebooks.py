"""The lessons as documents: up to date, described, numbered, free of traces of a machine."""

import ast
import itertools
import re

import jupytext
import nbformat
import pytest

import answers
import build
import reading_time
from lesson import ROOT

SOURCES = build.lessons()
PAGES = build.sources()  # with the page of symbols
NAMES = [path.stem for path in SOURCES]
FIGURES = sorted((build.NOTEBOOKS / "figures").glob("*.py"))


def notebook(path):
    return nbformat.read(build.NOTEBOOKS / f"{path.stem}.ipynb", as_version=4)


def test_there_are_lessons():
    assert {"05_nonexpansive_layers", "07_adversarial_robustness"} <= set(NAMES)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_notebook_is_what_its_source_describes(path):
    assert build.is_current(path), "run make notebooks"
    assert build.without_outputs(build.generate(path)) == build.without_outputs(
        build.generate(path)
    )


STORED = [
    path
    for name in ("", "coursework", "solutions")
    for path in (build.NOTEBOOKS / name).glob("*.ipynb")
]


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_front_end_left_its_traces(path):
    """With the state of widgets among them, GitHub shows no notebook at all."""
    stored = nbformat.read(path, as_version=4)
    assert stored.metadata == build.METADATA, f"{path}: run make notebooks"
    allowed = {"tags", "jupyter", "cellView", "deletable", "editable"}
    for number, cell in enumerate(stored.cells):
        extra = set(cell.metadata) - allowed
        assert not extra, f"{path}, cell {number}, has {extra}: run make notebooks"


def test_what_colab_leaves_is_cleaned(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    path = tmp_path / "99_x.py"
    path.write_text("# %% [markdown]\n# # 99. T\n\n# %%\nx = 1\n")
    stored = build.generate(path)
    stored.cells[1].execution_count = 1
    target = tmp_path / "99_x.ipynb"
    nbformat.write(stored, target)
    before = target.read_text()
    assert build.is_current(path)
    for spoil in (
        lambda notebook: notebook.metadata.update(widgets={"state": {}}),
        lambda notebook: notebook.metadata.update(colab={"provenance": []}),
        lambda notebook: notebook.cells[1].metadata.update(id="x", outputId="y"),
        lambda notebook: notebook.cells[1].update(id="other"),
    ):
        spoilt = nbformat.reads(before, as_version=4)
        spoil(spoilt)
        nbformat.write(spoilt, target)
        assert not build.is_current(path)
        build.clean(path)
        assert target.read_text() == before
    path.write_text("# %% [markdown]\n# # 99. Other words\n\n# %%\nx = 1\n")
    assert not build.is_current(path)
    build.clean(path)
    assert build.is_current(path) and "Other words" in target.read_text()
    other = nbformat.reads(before, as_version=4)
    other.cells[1].source = "x = 2"
    nbformat.write(other, target)
    build.clean(path)
    assert "x = 2" in target.read_text() and not build.is_current(path)


def test_a_changed_source_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    path = tmp_path / "99_x.py"
    path.write_text("# %% [markdown]\n# # Title\n\n# %%\nx = 1\n")
    assert not build.is_current(path)
    written = build.generate(path)
    nbformat.write(written, tmp_path / "99_x.ipynb")
    assert not build.is_current(path), "not executed yet"
    for cell in written.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
    nbformat.write(written, tmp_path / "99_x.ipynb")
    assert build.is_current(path)
    path.write_text(path.read_text().replace("x = 1", "x = 2"))
    assert not build.is_current(path)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_document_is_clean(path):
    made = notebook(path)
    assert made.metadata == build.METADATA
    text = (build.NOTEBOOKS / f"{path.stem}.ipynb").read_text()
    assert len(text) < 1_500_000
    for trace in ("/home/", "/root", "/work/", "/tmp/", "site-packages", "Traceback"):
        assert trace not in re.sub(r'"image/png": "[^"]*"', "", text), trace
    for cell in made.cells:
        for out in cell.get("outputs", []):
            assert out.output_type != "error" and out.get("name") != "stderr", cell.id


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_every_figure_is_described(path):
    figures = 0
    for cell in notebook(path).cells:
        for out in cell.get("outputs", []):
            if "image/png" in out.get("data", {}):
                figures += 1
                description = out.metadata["image/png"]["alt"]
                assert len(description) > 30 and description.endswith("."), description
    assert figures >= 3


def live_figures(number):
    """Names of the functions in notebooks/figures/lesson_NN.py that make a LiveFigure."""
    path = build.NOTEBOOKS / "figures" / f"lesson_{number}.py"
    if not path.exists():
        return []
    functions = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)]
    return [node.name for node in functions if "LiveFigure(" in ast.unparse(node)]


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_rhythm_of_a_lesson(path):
    cells = jupytext.read(path, fmt="py:percent").cells
    first = cells[0].source
    assert (
        first.startswith(f"# {int(path.stem[:2])}. ")
        and "**You will learn**" in first
        and "**Time:**" in first
    )
    assert "setup" in cells[1].metadata["tags"]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for part in (
        "## Recap",
        "## What can go wrong in practice",
        "## References",
        "**Predict first.**",
    ):
        assert part in text, part
    assert ".still(" in path.read_text()
    assert "LiveFigure(" in path.read_text() or live_figures(path.stem[:2])
    for name in live_figures(path.stem[:2]):
        assert f"figures.{name}(" in path.read_text(), f"figures.{name} is not used"
    levels = [len(line.split()[0]) for line in text.splitlines() if re.match(r"#+ ", line)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_lesson_is_done_and_not_only_read(path):
    """At least three cells to write in, on the core path; guesses before answers; in an hour."""
    cells = jupytext.read(path, fmt="py:percent").cells
    counts = reading_time.counts(cells)
    assert counts["your turn"] >= 3 and counts["prediction"] >= 2 and counts["live figure"] >= 1
    assert reading_time.words(cells) <= 3200
    assert reading_time.code_lines(build.generate(path).cells) <= 300
    short = path.stem[:2] in ("04", "06", "08")
    assert reading_time.minutes(cells) <= (60 if short else 75)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_prediction_has_a_cell_and_its_answer_is_closed(path):
    cells = jupytext.read(path, fmt="py:percent").cells
    asked = 0
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            asked += cell.source.count("**Predict first.**")
            assert cell.source.rstrip().count("**Predict first.**") <= 1
        elif re.match(r"my_guess\w* = \.\.\.", cell.source):
            assert "**Predict first.**" in cells[place - 1].source, cell.source
            behind = next(c for c in cells[place + 1 :] if c.cell_type == "code")
            assert "reveal" in behind.metadata.get("tags", []) and "reply(" in behind.source
            asked -= 1
    assert asked == 0, "each prediction has a cell of its own, right below it"
    for cell in notebook(path).cells:
        for out in cell.get("outputs", []):
            assert not re.search(r"\bNone\b", out.get("text", "")), cell.id


def turns(path):
    """(number, name that its cell defines first, place) of each *your turn* cell."""
    found = []
    for place, cell in enumerate(jupytext.read(path, fmt="py:percent").cells):
        if match := re.search(r'^your_turn\("(.+)"\)', cell.source, re.MULTILINE):
            first = ast.parse(cell.source).body[0]
            name = first.name if isinstance(first, ast.FunctionDef) else first.targets[0].id
            found.append((match[1], name, place))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_your_turn_starts_calm_and_its_solution_is_folded_below(path):
    lesson = int(path.stem[:2])
    found = turns(path)
    assert [number for number, _, _ in found] == [f"{lesson}.{k}" for k in "ABCDEFG"[: len(found)]]
    zoo = answers.read(f"turns_{path.stem[:2]}")[1]
    assert {answer.number for answer in zoo} == {number for number, _, _ in found}
    cells = notebook(path).cells
    for number, name, _ in found:
        (place,) = (k for k, c in enumerate(cells) if f'your_turn("{number}")' in c.source)
        said = cells[place].outputs[0].text
        assert said.startswith(f"Your turn {number}: not started. ") and f"`{name}`" in said
        assert cells[place + 1].source.startswith("<details><summary>One solution")


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_claims_in_the_lesson_are_the_claims_in_the_tests(path):
    number = int(path.stem[:2])
    stated = re.findall(rf"\*\*Claim {number}\.(\d+) \(", path.read_text())
    assert stated == [str(k) for k in range(1, len(stated) + 1)], "claims are numbered in order"
    tree = ast.parse((ROOT / "tests" / f"test_claims_{path.stem[:2]}.py").read_text())
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    tested = {
        match[1] for name in functions if (match := re.match(rf"test_claim_{number}_(\d+)_", name))
    }
    assert set(stated) == tested


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_lesson_imports_only_the_package(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and not re.match(r"\d|notebooks|build|tests", node.module or "")


def assigned_names(tree):
    """Module-level names that a cell binds, comprehensions and function bodies left out."""
    names, queue = set(), list(tree.body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(
            node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
        ):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        queue.extend(ast.iter_child_nodes(node))
    return names


def functions_held(node, functions, values):
    """Functions of a lesson that an argument hands over: by name, as a lambda, in a container
    or a partial.

    `functions` and `values` are the definitions and the assigned expressions by name. What a call
    other than `partial` returns is computed when the figure is made; it needs no name later.
    """
    if isinstance(node, ast.Lambda):
        return [node]
    if isinstance(node, ast.Name):
        if node.id in functions:
            return [functions[node.id]]
        others = {name: value for name, value in values.items() if name != node.id}
        return functions_held(values.get(node.id), functions, others)
    parts = []
    if isinstance(node, ast.Dict):
        parts = node.values
    elif isinstance(node, ast.Tuple | ast.List):
        parts = node.elts
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("partial"):
        parts = [*node.args, *(keyword.value for keyword in node.keywords)]
    return [found for part in parts for found in functions_held(part, functions, values)]


def names_needed(body, functions):
    """Names that a function looks up when called, and those of all functions that it reaches."""
    needed, queue = set(), [body]
    while queue:
        inside = list(ast.walk(queue.pop()))
        own = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        own |= {n.arg for n in inside if isinstance(n, ast.arg)}
        new = {n.id for n in inside if isinstance(n, ast.Name)} - own - needed
        needed |= new
        queue += [functions[name] for name in new if name in functions]
    return needed


def names_overwritten_under_live_figures(path):
    """(function, name it uses, cell that assigns it later), for each function a live figure calls.

    These are the update function of a LiveFigure made in the lesson, and all functions of the
    lesson given to `figures.NAME(...)`. Such a function itself is bound when the figure is made;
    the names inside it are looked up at each move of a slider.
    """
    cells = [
        (k, ast.parse(cell.source))
        for k, cell in enumerate(jupytext.read(path, fmt="py:percent").cells)
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
    ]
    functions, values, problems = {}, {}, []
    for k, tree in cells:
        functions |= {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                values[node.targets[0].id] = node.value
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if call.func.attr == "LiveFigure":
                arguments = [call.args[1]]
            elif ast.unparse(call.func.value) == "figures":
                arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
            else:
                continue
            for body in functions_held(ast.Tuple(arguments), functions, values):
                needed = names_needed(body, functions)
                name = getattr(body, "name", "lambda")
                later = [(number, t) for number, t in cells if number > k]
                problems += [
                    (name, lost, number)
                    for number, t in later
                    for lost in needed & assigned_names(t)
                ]
    return problems


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_live_figures_survive_run_all(path):
    """After "Run all" the sliders still work: no later cell reuses a name that they need."""
    assert names_overwritten_under_live_figures(path) == []


def test_a_reused_name_is_noticed(tmp_path):
    path = tmp_path / "99_x.py"
    live = (
        "# %%\ndef draw(c):\n    line.set_data([c], [c])\n\n\n"
        "live = widgets.LiveFigure(figure, draw, c=slider)\n"
    )
    path.write_text(live + "\n# %%\nx = [line for line in (1, 2)]\n")
    assert names_overwritten_under_live_figures(path) == []
    path.write_text(live + "\n# %%\nfor line in (1, 2):\n    print(line)\n")
    assert names_overwritten_under_live_figures(path) == [("draw", "line", 1)]


@pytest.mark.parametrize(
    "argument, function",
    [
        ("growth", "growth"),
        ("f=growth", "growth"),
        ("partial(growth, 2)", "growth"),
        ("{'a': (growth, 1)}", "growth"),
        ("table", "growth"),
        ("lambda x: growth(x)", "lambda"),
        ("outer", "outer"),
    ],
)
def test_a_reused_name_is_noticed_in_functions_given_to_figures(tmp_path, argument, function):
    path = tmp_path / "99_x.py"
    definitions = (
        "# %%\ndef growth(x):\n    local = rate * x\n    return local\n\n\n"
        "def outer(x):\n    return growth(x)\n\n\n"
        "table = {'a': growth}\ntimes = 3\n"
    )
    live = definitions + f"live = figures.portrait(times, {argument})\n\n# %%\n"
    path.write_text(live + "local, times, table, live = 1, 2, 3, 4\n")
    assert names_overwritten_under_live_figures(path) == []  # arguments are bound
    path.write_text(live + "for rate in (1, 2):\n    print(rate)\n")
    assert names_overwritten_under_live_figures(path) == [(function, "rate", 1)]


def test_what_a_call_returns_needs_no_name_later(tmp_path):
    path = tmp_path / "99_x.py"
    made = "# %%\ndef growth(x):\n    return rate * x\n\n\nfigures.show(growth(2), measured)\n"
    path.write_text(made + "\n# %%\nrate = 2\n")
    assert names_overwritten_under_live_figures(path) == []


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_code_of_a_lesson_fits_on_the_page(path):
    for cell in jupytext.read(path, fmt="py:percent").cells:
        if cell.cell_type == "code":
            assert [line for line in cell.source.splitlines() if len(line) > 100] == []


DRAWING = {"torch", "matplotlib", "numpy", "ipywidgets", "math", "itertools", "figures"}
HELPERS = {"chapter_utils.plotting", "chapter_utils.widgets"}


@pytest.mark.parametrize("path", FIGURES, ids=[path.stem for path in FIGURES])
def test_figures_only_draw(path):
    """What a lesson teaches is computed in the lesson: figures import no mathematics of ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports, as in the lessons"
            modules = [node.module]
            if node.module == "chapter_utils":
                modules = [f"chapter_utils.{alias.name}" for alias in node.names]
        for module in modules:
            assert module in HELPERS or module.split(".")[0] in DRAWING, module
