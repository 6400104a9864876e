"""The lessons as documents: up to date, described, numbered, and free of traces of the machine that made them."""

import ast
import itertools
import re

import jupytext
import nbformat
import pytest

import build
from lesson import ROOT

SOURCES = sorted(build.SOURCE.glob("[0-9][0-9]_*.py"))
NAMES = [path.stem for path in SOURCES]


def notebook(path):
    return nbformat.read(build.HERE / f"{path.stem}.ipynb", as_version=4)


def test_there_are_lessons():
    assert {"05_nonexpansive_layers", "07_adversarial_robustness"} <= set(NAMES)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_notebook_is_what_its_source_describes(path):
    assert build.is_current(path), "run make notebooks"
    assert build.without_outputs(build.generate(path)) == build.without_outputs(build.generate(path))


def test_a_changed_source_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "HERE", tmp_path)
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
    text = (build.HERE / f"{path.stem}.ipynb").read_text()
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
    assert first.startswith(f"# {int(path.stem[:2])}. ") and "**You will learn**" in first and "**Time:**" in first
    assert "setup" in cells[1].metadata["tags"]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for part in ("## Recap", "## What can go wrong in practice", "## References", "**Predict first.**", "*Coursework"):
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
    tested = {match[1] for name in functions if (match := re.match(rf"test_claim_{number}_(\d+)_", name))}
    assert set(stated) == tested


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_lesson_imports_only_the_package(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and not re.match(r"\d|notebooks|build|tests", node.module or "")
