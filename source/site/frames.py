"""Live figures without a kernel: each drawn beforehand at a grid of the values of its controls.

A lesson runs as far as its last live figure; what its cells display is the LiveFigure that a
notebook shows too.  The frames are kept in build/frames until something they come from changes.
"""

import ast
import base64
import contextlib
import hashlib
import io
import itertools
import json
import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Iterator

import ipywidgets
import jupytext
import matplotlib
import numpy as np
from PIL import Image

from chapter_utils import plotting
from chapter_utils.widgets import LiveFigure

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
KEPT = ROOT / "build" / "frames"
PAGE = 4_000_000  # bytes of the frames of a lesson, so that its page stays below 5 MB
MOST = 200  # frames of a figure
FEWEST = 5  # values of a slider that moves
COLOURS = 48  # of a frame


def code_cells(stem: str) -> list:
    """The cells of a lesson that run, without its set-up."""
    cells = jupytext.read(ROOT / "source" / "lessons" / f"{stem}.py", fmt="py:percent").cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    return [cell for cell in code if "setup" not in cell.metadata.get("tags", [])]


def running(stem: str) -> Iterator[tuple[str, dict]]:
    """Run a lesson in this process: after each of its cells, the cell and all names."""
    matplotlib.use("Agg", force=True)
    os.chdir(NOTEBOOKS)  # where its kernel would run, and finds the package of its figures
    sys.path.insert(0, str(NOTEBOOKS))
    names: dict = {"__name__": "lesson"}
    for cell in code_cells(stem):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(cell.source, stem, "exec"), names)
        yield cell.source, names


def displayed(source: str) -> str:
    """The name that a cell ends with: what a notebook displays; "" if it ends otherwise."""
    body = ast.parse(source).body
    last = body[-1] if body else None
    is_name = isinstance(last, ast.Expr) and isinstance(last.value, ast.Name)
    return last.value.id if is_name else ""


def all_values(control: ipywidgets.Widget) -> list:
    """What the control can be set to, in the order of its list or along its slider."""
    if isinstance(control, ipywidgets.Dropdown):
        return [value for _, value in control._options_full]
    if isinstance(control, ipywidgets.Checkbox):
        return [False, True]
    steps = round((control.max - control.min) / control.step)
    exact = [control.min + k * control.step for k in range(steps + 1)]
    return sorted({control.value, *(type(control.value)(round(value, 10)) for value in exact)})


def thinned(values: list, number: int, kept) -> list:
    """At most `number` >= 3 of the values, evenly spread; both ends and `kept` are among them."""
    places = np.linspace(0, len(values) - 1, min(number, len(values))).round().astype(int).tolist()
    place = values.index(kept)
    if place not in places:
        inner = range(1, len(places) - 1)
        places[min(inner, key=lambda k: abs(places[k] - place))] = place
    return [values[k] for k in places]


def grid(controls: dict[str, ipywidgets.Widget], most: int) -> dict[str, list]:
    """The values of each control, with at most `most` combinations; one alone: it does not move.

    All sliders get equally few values; if these were fewer than FEWEST, a list stays, the longest
    first, and then a slider, the last first.
    """
    choices = {name: all_values(control) for name, control in controls.items()}
    sliders = [name for name, control in controls.items() if hasattr(control, "step")]
    lists = sorted(set(controls) - set(sliders), key=lambda name: (-len(choices[name]), name))
    staying = [*lists, *reversed(sliders)]
    for number_staying in range(len(staying)):
        for number in range(max(FEWEST, *map(len, choices.values())), FEWEST - 1, -1):
            values = {}
            for name, control in controls.items():
                if name in staying[:number_staying]:
                    values[name] = [control.value]
                elif name in sliders:
                    values[name] = thinned(choices[name], number, control.value)
                else:
                    values[name] = choices[name]
            if math.prod(map(len, values.values())) <= most:
                return values
    return {name: [control.value] for name, control in controls.items()}


def encoded(live: LiveFigure, values: dict) -> tuple[str, str]:
    """The frame for these values, as a data URL, and its sentence."""
    sentence = live.update(**values)
    picture = Image.open(io.BytesIO(plotting.png(live.figure, compression=0)))
    few = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS)
    buffer = io.BytesIO()
    few.convert("RGB").save(buffer, "webp", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(), sentence


def exported(live: LiveFigure, size: int) -> dict:
    """All that a page needs of a live figure, in at most about `size` bytes (live.js reads it)."""
    default = {name: control.value for name, control in live.controls.items()}
    values = grid(live.controls, min(MOST, size // len(encoded(live, default)[0])))
    # The last two children of the box are view and errors; a slider stands behind its number field.
    named = [getattr(row, "children", [row])[0] for row in live.box.children[:-2]]
    labels = {name: row.description for name, row in zip(live.controls, named, strict=True)}
    fixed = [f"{labels[name]} = {default[name]}" for name, v in values.items() if len(v) == 1]
    combinations = [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]
    frames = [encoded(live, chosen) for chosen in combinations]
    width, height = live.figure.canvas.get_width_height()
    return {
        "width": width,
        "height": height,
        "controls": [
            {
                "label": labels[name],
                "values": [shown(value) for value in v],
                "start": v.index(default[name]),
                "slider": hasattr(live.controls[name], "step"),
            }
            for name, v in values.items()
        ],
        "note": f"Here {' and '.join(fixed)}: to change it, run the lesson." if fixed else "",
        "frames": frames,
    }


def shown(value) -> str:
    """A value as the page writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def name_of(stem: str) -> str:
    """A name for all that the frames of a lesson come from."""
    package = sorted((ROOT / "chapter_utils").rglob("*.py"))
    figures = sorted((NOTEBOOKS / "figures").glob("*.py"))
    lesson = ROOT / "source" / "lessons" / f"{stem}.py"
    contents = b"".join(path.read_bytes() for path in [Path(__file__), lesson, *package, *figures])
    return f"{stem}.{hashlib.sha256(contents).hexdigest()[:12]}.json"


def made(stem: str) -> dict[str, dict]:
    """The live figures of a lesson by name, from build/frames or by running the lesson."""
    path = KEPT / name_of(stem)
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    cells = [cell.source for cell in code_cells(stem)]
    waiting = sum(displayed(source).startswith("live_") for source in cells)
    size = PAGE // max(waiting, 1)
    found = {}
    for source, names in running(stem):
        name = displayed(source)
        if isinstance(names.get(name), LiveFigure):
            found[name] = exported(names[name], size)
        if len(found) == waiting:
            break
    KEPT.mkdir(parents=True, exist_ok=True)
    for old in KEPT.glob(f"{stem}.*"):
        old.unlink()
    path.write_text(json.dumps(found), "utf-8")
    return found


def of_lessons(stems: list[str]) -> dict[str, dict[str, dict]]:
    """The live figures of these lessons, each lesson in a process of its own."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        return dict(zip(stems, pool.map(made, stems), strict=True))
