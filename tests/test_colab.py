"""The setup cell on Google Colab, tried here.

With a pretended google.colab, a local repository, a pip that only writes down its orders.

The lessons themselves run on Colab's versions if COLAB_PYTHON names a Python that has them (as of
November 2026: Python 3.13, ipython 7.34.0, ipykernel 6.17.1, ipywidgets 7.7.1, matplotlib 3.10.0,
numpy 2.1.3, torch 2.11.0; also mlxtend and torchdiffeq).
"""

import ast
import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

import build
from lesson import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("0[1-9]_*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
# What only ipywidgets 8 knows, of what a lesson might want; Colab has 7.7.
ONLY_IN_8 = {
    "Stack",
    "TagsInput",
    "ColorsInput",
    "FloatsInput",
    "IntsInput",
    "TimePicker",
    "DatetimePicker",
    "tooltip",
    "tabbable",
    "titles",
}


def setup_cell(path) -> str:
    return next(
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if "setup" in cell.metadata.get("tags", [])
    )


@pytest.fixture
def colab(tmp_path):
    """Runs code after the setup cell, in a folder of its own.

    Returns what it prints and the orders given to pip.
    """
    repository = tmp_path / "repository"
    (repository / "notebooks").mkdir(parents=True)
    (repository / "chapter_utils").mkdir()
    (repository / "chapter_utils" / "__init__.py").write_text("where = __file__\n")
    (repository / "notebooks" / "01.ipynb").write_text("{}")
    (repository / "notebooks" / "figures").mkdir()
    (repository / "notebooks" / "figures" / "__init__.py").write_text("where = __file__\n")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "course"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    fake = tmp_path / "fake"
    for package in ("google", "google/colab", "pip"):
        (fake / package).mkdir(parents=True)
        (fake / package / "__init__.py").write_text("")
    orders = tmp_path / "orders.txt"
    (fake / "pip" / "__main__.py").write_text(
        f"import sys\nprint(*sys.argv[1:], file=open({str(orders)!r}, 'a'))\n"
    )
    (tmp_path / "elsewhere").mkdir()

    def run(cell: str, before: str = "", after: str = ""):
        code = f"{before}\n{cell}\n{after}"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(
                [str(fake), os.environ["PYTHONPATH"]]
            ),  # the second part shuts off the network
            "COURSE_HOME": str(tmp_path),
            "COURSE_REPOSITORY": repository.as_uri(),
        }
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.split(), orders.read_text().splitlines() if orders.exists() else []

    run.home = tmp_path / "course"
    return run


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_every_lesson_begins_with_the_same_setup_cell(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells[0].source == setup_cell(NOTEBOOKS[0]) and "chapter_utils" not in cells[0].source
    assert cells[0].source.count(build.REPOSITORY) == 1
    metadata = nbformat.read(path, as_version=4).metadata
    assert "accelerator" not in metadata, "no lesson needs a GPU, and Colab's are scarce"


def test_on_colab_twice_and_in_a_second_session(colab):
    cell = setup_cell(NOTEBOOKS[0])
    look = (
        "import chapter_utils\n"
        "print(chapter_utils.where, os.getcwd(), sys.path.count(home))\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    expected = [
        str(colab.home / "chapter_utils" / "__init__.py"),
        str(colab.home / "notebooks"),
        "1",
        "False",
        "False",
    ]
    printed, orders = colab(f"{cell}\n{cell}", before="import google.colab", after=look)
    assert printed == expected and orders == [], (
        "everything that the lessons need is here: nothing to install"
    )
    (colab.home / "notebooks" / "mine.txt").write_text("a student's own file")
    printed, orders = colab(cell, before="import google.colab", after=look)
    assert printed == expected and orders == []
    assert (colab.home / "notebooks" / "mine.txt").exists()


def test_the_figures_are_found_even_without_the_working_directory(colab):
    """The cell of the sources: what a lesson has after the next build."""
    cell = (build.SOURCE / "setup_cell.py").read_text()
    look = "\n".join(
        (
            "sys.path.remove('')",
            "os.chdir('/')",
            "import chapter_utils, figures",
            "print(figures.where, chapter_utils.where)",
            "print(sys.path.index(home), sys.path.index(notebooks), sys.path.count(notebooks))",
        )
    )
    printed, _ = colab(f"{cell}\n{cell}", before="import google.colab", after=look)
    figures = colab.home / "notebooks" / "figures" / "__init__.py"
    helper = colab.home / "chapter_utils" / "__init__.py"
    assert printed == [str(figures), str(helper), "0", "1", "1"]


def test_a_missing_package_is_fetched_alone(colab):
    pretend = "import google.colab, sys\nsys.modules['torchdiffeq'] = None"
    _, orders = colab(setup_cell(NOTEBOOKS[0]), before=pretend)
    assert orders == ["install -q --no-deps torchdiffeq"]


def test_anywhere_else_it_is_silent_and_does_nothing(colab):
    look = "print(os.getcwd() == here, sys.path == path)"
    printed, orders = colab(
        setup_cell(NOTEBOOKS[0]),
        before="import os, sys\nhere, path = os.getcwd(), list(sys.path)",
        after=look,
    )
    assert printed == ["True", "True"] and orders == [] and not colab.home.exists()


USERS_OF_WIDGETS = [
    *sorted((build.NOTEBOOKS / "figures").glob("lesson_*.py")),
    *build.lessons(),
    ROOT / "chapter_utils" / "widgets.py",
]


@pytest.mark.parametrize("path", USERS_OF_WIDGETS, ids=lambda path: path.stem)
def test_colabs_ipywidgets_knows_what_is_used(path):
    text = path.read_text()
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and "ipywidgets." in ast.unparse(node.func)
    ]
    used = {node.func.attr for node in calls}
    used |= {keyword.arg for node in calls for keyword in node.keywords}
    assert bool(calls) == bool(re.search(r"\bipywidgets\.", text)), "a call was overlooked"
    assert not used & ONLY_IN_8
    if path.parent.name == "figures":
        assert calls, "every lesson has live figures"


@pytest.mark.slow
@pytest.mark.skipif(
    "COLAB_PYTHON" not in os.environ,
    reason="COLAB_PYTHON names no Python with Colab's versions (see this file's docstring)",
)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_lesson_on_colabs_versions(path, tmp_path, monkeypatch):
    kernel = tmp_path / "kernels" / "colab"
    kernel.mkdir(parents=True)
    command = [os.environ["COLAB_PYTHON"], "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])}
    (kernel / "kernel.json").write_text(
        json.dumps(
            {"argv": command, "display_name": "colab", "language": "python", "env": environment}
        )
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(
        0, nbformat.v4.new_code_cell("import ipywidgets\nprint(ipywidgets.__version__)")
    )
    NotebookClient(notebook, kernel_name="colab", timeout=300).execute(cwd=str(ROOT / "notebooks"))
    assert notebook.cells[0].outputs[0].text.startswith("7.")
    assert not [
        out
        for cell in notebook.cells
        for out in cell.get("outputs", [])
        if out.get("name") == "stderr"
    ]
