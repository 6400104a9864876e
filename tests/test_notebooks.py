"""The lessons as documents: up to date, described, numbered, and free of traces of the machine that made them."""

import ast
import itertools
import re

import jupytext
import nbformat
import pytest

import build
from lesson import ROOT

SOURCES = sorted(build.LESSONS.glob("[0-9][0-9]_*.py"))
NAMES = [path.stem for path in SOURCES]


def notebook(path):
    return nbformat.read(build.NOTEBOOKS / f"{path.stem}.ipynb", as_version=4)


def test_there_are_lessons():
    assert {"05_nonexpansive_layers", "07_adversarial_robustness"} <= set(NAMES)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_notebook_is_what_its_source_describes(path):
    assert build.is_current(path), "run make notebooks"
    assert build.without_outputs(build.generate(path)) == build.without_outputs(
        build.generate(path)
    )


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


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
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
        "*Coursework",
    ):
        assert part in text, part
    assert "LiveFigure(" in path.read_text() and ".still(" in path.read_text()
    levels = [len(line.split()[0]) for line in text.splitlines() if re.match(r"#+ ", line)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


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
    """Module-level names that the statements of a cell bind, comprehensions and function bodies left out."""
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


def names_overwritten_under_live_figures(path):
    """(update function, name it uses, cell that assigns it later), for each live figure."""
    cells = [
        (k, ast.parse(cell.source))
        for k, cell in enumerate(jupytext.read(path, fmt="py:percent").cells)
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
    ]
    functions, problems = {}, []
    for k, tree in cells:
        functions |= {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for call in ast.walk(tree):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "LiveFigure"
            ):
                used, queue = set(), [call.args[1].id]
                while (
                    queue
                ):  # the update function, and every function of the lesson that it reaches
                    name = queue.pop()
                    if name in used:
                        continue
                    used.add(name)
                    if name in functions:
                        body = functions[name]
                        inner = {
                            n.id
                            for n in ast.walk(body)
                            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                        }
                        inner |= {a.arg for a in ast.walk(body) if isinstance(a, ast.arg)}
                        queue += [
                            n.id
                            for n in ast.walk(body)
                            if isinstance(n, ast.Name) and n.id not in inner
                        ]
                problems += [
                    (call.args[1].id, name, later)
                    for later, t in cells
                    if later > k
                    for name in used & assigned_names(t)
                ]
    return problems


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_live_figures_survive_run_all(path):
    """After "Run all" the sliders still work: no later cell reuses a name that an update function needs."""
    assert names_overwritten_under_live_figures(path) == []


def test_a_reused_name_is_noticed(tmp_path):
    path = tmp_path / "99_x.py"
    live = "# %%\ndef draw(c):\n    line.set_data([c], [c])\n\n\nlive = widgets.LiveFigure(figure, draw, c=slider)\n"
    path.write_text(live + "\n# %%\nx = [line for line in (1, 2)]\n")
    assert names_overwritten_under_live_figures(path) == []
    path.write_text(live + "\n# %%\nfor line in (1, 2):\n    print(line)\n")
    assert names_overwritten_under_live_figures(path) == [("draw", "line", 1)]
