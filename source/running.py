"""A lesson run outside Jupyter, cell by cell: for pictures and live figures."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Iterator

import jupytext
import matplotlib

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"


def code_cells(stem: str) -> list[str]:
    """The cells of a lesson that run, without its set-up."""
    cells = jupytext.read(ROOT / "source" / "lessons" / f"{stem}.py", fmt="py:percent").cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    return [cell.source for cell in code if "setup" not in cell.metadata.get("tags", [])]


def running(stem: str) -> Iterator[tuple[str, dict]]:
    """Run a lesson in this process: after each of its cells, the cell and all names."""
    matplotlib.use("Agg", force=True)
    os.chdir(NOTEBOOKS)  # where its kernel would run, and finds the package of its figures
    sys.path.insert(0, str(NOTEBOOKS))
    names: dict = {"__name__": "lesson"}
    for source in code_cells(stem):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(source, stem, "exec"), names)
        yield source, names
