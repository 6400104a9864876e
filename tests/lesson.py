"""Run the cells of a lesson inside a test, to get at the figures it makes."""

import os
from pathlib import Path

import jupytext
import matplotlib

ROOT = Path(__file__).resolve().parent.parent


def run_until(number: str, name: str) -> dict:
    """Names defined by lesson `number` ("05") after running its code cells, the first that defines `name` included."""
    matplotlib.use("Agg", force=True)
    (path,) = (ROOT / "source" / "lessons").glob(f"{number}_*.py")
    names: dict = {"__name__": "lesson"}
    before = Path.cwd()
    os.chdir(ROOT / "notebooks")  # where its kernel would run
    try:
        for cell in jupytext.read(path, fmt="py:percent").cells:
            if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", []):
                exec(compile(cell.source, str(path), "exec"), names)
                if name in names:
                    return names
    finally:
        os.chdir(before)
    raise KeyError(f"lesson {number} never defines {name}")


def artists(live, name):
    """Those artists of a live figure that its function marked with this name."""
    return live.figure.findobj(lambda artist: artist.get_gid() == name)
