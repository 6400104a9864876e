"""Live figures without a kernel: each drawn beforehand at a grid of the values of its controls.

python source/site/frames.py 05_nonexpansive_layers build/frames

The lesson runs as far as its last live figure; what its cells display is the LiveFigure that a
notebook shows too. Each becomes a script, which live.js understands.
"""

import base64
import functools
import io
import itertools
import json
import math
import sys
from pathlib import Path

import ipywidgets
import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

import running  # noqa: E402
from chapter_utils import plotting  # noqa: E402
from chapter_utils.widgets import LiveFigure  # noqa: E402

LESSON = 3_500_000  # bytes of the frames of a lesson: its page stays below 5 MB (conf.py)
MOST = 200  # frames of a figure
FEWEST = 5  # values of a slider that moves
COLOURS = 48  # of a frame


def displayed(source: str) -> str:
    """The live figure that a cell ends with, which a notebook displays; "" if there is none."""
    last = source.rpartition("\n")[2]
    return last if last.startswith("live_") and last.isidentifier() else ""


def values_of(control: ipywidgets.Widget, number: int) -> list:
    """All entries of a list; `number` values of a slider, its ends and its own value among them."""
    if number == 1:
        return [control.value]
    if not hasattr(control, "step"):
        return list(getattr(control, "options", (False, True)))
    steps = np.arange(control.min, control.max + control.step / 2, control.step).round(10)
    values = np.unique([*steps, control.value]).astype(type(control.value)).tolist()
    places = np.linspace(0, len(values) - 1, min(number, len(values))).round().astype(int)
    own = values.index(control.value)
    if own not in places:
        places[1 + abs(places[1:-1] - own).argmin()] = own
    return [values[place] for place in places]


def grid(controls: dict[str, ipywidgets.Widget], most: int) -> dict[str, list]:
    """The values of each control, with at most `most` combinations; one alone: it does not move.

    All sliders get equally few values; if these were fewer than FEWEST, a list stays, the first
    one first, and then a slider, the last one first.
    """
    sliders = [name for name, control in controls.items() if hasattr(control, "step")]
    staying = [name for name in controls if name not in sliders] + sliders[::-1]
    for still, number in itertools.product(
        range(len(staying) + 1), range(max(most, FEWEST), FEWEST - 1, -1)
    ):
        values = {
            name: values_of(control, 1 if name in staying[:still] else number)
            for name, control in controls.items()
        }
        if math.prod(map(len, values.values())) <= most:
            return values
    raise ValueError(f"a live figure needs room for one frame at least, not for {most}")


def encoded(live: LiveFigure, values: dict) -> tuple[str, str]:
    """The frame for these values, as a data URL, and its sentence."""
    sentence = live.update(**values)
    picture = Image.open(io.BytesIO(plotting.png(live.figure, compression=0)))
    few = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS)
    buffer = io.BytesIO()
    few.convert("RGB").save(buffer, "webp", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(), sentence


def fitting(live: LiveFigure, size: int) -> tuple[dict[str, list], list[tuple[str, str]]]:
    """A grid whose frames take at most `size` characters, and these frames."""

    @functools.cache
    def frame(*chosen):
        return encoded(live, dict(zip(live.controls, chosen, strict=True)))

    most = MOST
    values = grid(live.controls, FEWEST + 1)  # a few frames tell how many there may be
    while True:
        frames = [frame(*chosen) for chosen in itertools.product(*values.values())]
        total = sum(len(picture) + len(sentence) for picture, sentence in frames)
        if most < MOST and total <= size:
            return values, frames
        most = min(most - 1, len(frames) * size // total)
        values = grid(live.controls, most)


def exported(live: LiveFigure, size: int) -> dict:
    """All that a page needs of a live figure, in at most about `size` bytes (live.js reads it)."""
    values, frames = fitting(live, size)
    controls = [
        {
            "label": getattr(row, "children", [row])[0].description,  # of a slider's number field
            "values": [f"{v:g}" if isinstance(v, float) else str(v) for v in values[name]],
            "start": values[name].index(control.value),
            "slider": hasattr(control, "step"),
        }
        for row, (name, control) in zip(live.box.children, live.controls.items(), strict=False)
    ]
    fixed = [f"{c['label']} = {c['values'][0]}" for c in controls if len(c["values"]) == 1]
    note = f"Here {' and '.join(fixed)}: to change it, run the lesson." if fixed else ""
    width, height = live.figure.canvas.get_width_height()
    return {"width": width, "height": height, "controls": controls, "note": note, "frames": frames}


def main(stem: str, folder: Path) -> None:
    waiting = [name for source in running.code_cells(stem) if (name := displayed(source))]
    size = LESSON // len(waiting)
    folder.mkdir(parents=True, exist_ok=True)
    for source, names in running.running(stem):
        if name := displayed(source):
            data = json.dumps(exported(names[name], size))
            place = f"{stem[:2]}_{name}"
            (folder / f"{place}.js").write_text(f'liveFigure("{place}", {data});', "utf-8")
            waiting.remove(name)
        if not waiting:
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
