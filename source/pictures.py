"""The two pictures of README.md, from the lessons: a live figure in motion, robustness curves.

python source/pictures.py     writes docs/live_figure.gif and docs/robustness_curves.png
"""

import base64
import io
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image

import running
from chapter_utils import plotting

DOCS = running.ROOT / "docs"


def live_figure(lesson: str, name: str):
    """The LiveFigure called `name`, after running the cells of the lesson up to it."""
    for _, names in running.running(lesson):
        if name in names:
            return names[name]
    raise KeyError(f"{lesson} never defines {name}")


def animate(live, control: str, values, target: Path) -> None:
    """Move one control of a live figure through these values and back, as a GIF."""
    frames = []
    for value in [*values, *values[-2:0:-1]]:
        live.update(**{control: float(value)})
        picture = Image.open(io.BytesIO(plotting.png(live.figure)))
        frames.append(picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=32))
    first, *others = frames
    first.save(target, save_all=True, append_images=others, duration=250, loop=0, optimize=True)


def figure_of(lesson: str, code: str) -> bytes:
    """The stored picture of the cell of the executed lesson whose source contains `code`."""
    for cell in nbformat.read(running.NOTEBOOKS / f"{lesson}.ipynb", as_version=4).cells:
        if cell.cell_type == "code" and code in cell.source:
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output.data["image/png"])
    raise KeyError(f"no figure in {lesson} is made by a cell with {code!r}")


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    live = live_figure("05_nonexpansive_layers", "live_step")
    animate(live, "c", np.arange(0, 3.01, 0.2), DOCS / "live_figure.gif")
    curves = figure_of("07_adversarial_robustness", "figures.race(")
    (DOCS / "robustness_curves.png").write_bytes(curves)
    for path in sorted(DOCS.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
