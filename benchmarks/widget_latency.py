"""How long a live figure takes to follow a slider, in milliseconds, against plotting it anew.

    python benchmarks/widget_latency.py                lessons 1 to 8, without those that train for long (7)
    python benchmarks/widget_latency.py 03 05          only these lessons
    python benchmarks/widget_latency.py 07 --moves 10  a slow one, with fewer moves of the slider

Runs the cells of each lesson up to its last live figure, then moves every control through its range. "update" is the time from
a changed value to the new picture in the page's message: `update`, drawing, PNG. "re-plot" computes the same and builds
an equal pyplot figure (axes, lines, images, bars, arrows, texts, legends) from nothing, as a function under `interact` would.
"CPU" is the median of the processor time: far below the elapsed time, the machine was busy with other things.
Only the kernel's side is measured; the browser adds its own. Aim: a median of at most 100 ms.
"""

import argparse
import contextlib
import io
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

import jupytext
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.image import AxesImage
from matplotlib.quiver import Quiver

from chapter_utils import plotting, widgets

SOURCE = Path(__file__).resolve().parent.parent / "notebooks" / "source"
SLOW = ("07",)
AIM = 100.0


class WithControls(widgets.LiveFigure):
    """A live figure that remembers its controls by name."""

    def __init__(self, figure, update, **controls):
        self.controls = controls
        super().__init__(figure, update, **controls)


def live_figures(path: Path) -> dict[str, WithControls]:
    """The live figures of a lesson by name, after running its code cells up to the last one that makes one."""
    cells = [
        cell.source
        for cell in jupytext.read(path, fmt="py:percent").cells
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
    ]
    last = max(
        (number for number, source in enumerate(cells) if "LiveFigure(" in source), default=-1
    )
    names: dict = {"__name__": "lesson"}
    for source in cells[: last + 1]:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(source, str(path), "exec"), names)
    plt.close("all")
    return {name: thing for name, thing in names.items() if isinstance(thing, WithControls)}


def positions(control, moves: int) -> list:
    """Values of one control from end to end."""
    if hasattr(control, "options"):
        return [option[1] if isinstance(option, tuple) else option for option in control.options]
    if isinstance(control.value, bool):
        return [False, True]
    values = np.linspace(control.min, control.max, moves)
    return [round(v) for v in values] if isinstance(control.value, int) else values.tolist()


def settings(live: WithControls, moves: int) -> list[dict]:
    """What the figure is asked to show: each control moved in turn while the others rest."""
    rest = {name: control.value for name, control in live.controls.items()}
    return [
        {**rest, name: value}
        for name, control in live.controls.items()
        for value in positions(control, moves)
    ]


def plot_anew(figure) -> bytes:
    """An equal figure, built from nothing with pyplot, as a PNG."""
    new = plt.figure(figsize=figure.get_size_inches(), dpi=figure.dpi)
    for old in figure.axes:
        spec = old.get_subplotspec()
        if spec is None:
            axis = new.add_axes(old.get_position())
        else:
            rows, columns, first, _ = spec.get_geometry()
            axis = new.add_subplot(rows, columns, first + 1)
        for line in old.lines:
            axis.plot(*line.get_data(), color=line.get_color(), linestyle=line.get_linestyle(), marker=line.get_marker(),
                      label=line.get_label(), transform=axis.transData if line.get_transform() == old.transData else None)  # fmt: skip
        for image in old.images:
            if isinstance(image, AxesImage):
                axis.imshow(
                    image.get_array(),
                    cmap=image.get_cmap(),
                    extent=image.get_extent(),
                    aspect=old.get_aspect(),
                )
        for patch in old.patches:
            if hasattr(patch, "get_height"):
                axis.bar(
                    patch.get_x(),
                    patch.get_height(),
                    width=patch.get_width(),
                    color=patch.get_facecolor(),
                )
        for group in old.collections:
            if isinstance(group, Quiver):
                axis.quiver(group.X, group.Y, group.U, group.V)
            elif isinstance(group, PathCollection) and len(group.get_offsets()):
                axis.scatter(*np.asarray(group.get_offsets()).T)
            else:
                axis.add_collection(
                    PathCollection(group.get_paths(), transform=axis.transData), autolim=False
                )
        for text in old.texts:
            axis.text(*text.get_position(), text.get_text(), fontsize=text.get_fontsize())
        axis.set(xscale=old.get_xscale(), yscale=old.get_yscale(), xlim=old.get_xlim(), ylim=old.get_ylim(),
                 xlabel=old.get_xlabel(), ylabel=old.get_ylabel(), title=old.get_title(loc="left") or old.get_title())  # fmt: skip
        if not old.axison:
            axis.axis("off")
        if old.get_legend() is not None and axis.get_legend_handles_labels()[0]:
            axis.legend()
    picture = plotting.png(new)
    plt.close(new)
    return picture


def milliseconds(actions: list, values: list[dict]) -> list[tuple[list[float], list[float]]]:
    """Elapsed and processor times of each action for each setting; the actions take turns, so that other load meets all alike."""
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in actions]
    for number, chosen in enumerate(
        [values[0], *values]
    ):  # the first round warms caches and is not counted
        for action, (elapsed, worked) in zip(actions, times, strict=True):
            start, work = time.perf_counter(), time.process_time()
            action(**chosen)
            if number:
                elapsed.append(1000 * (time.perf_counter() - start))
                worked.append(1000 * (time.process_time() - work))
    return times


def median_and_p90(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=10, method="inclusive")[-1]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "lessons", nargs="*", help="two-digit numbers; without any: all but the slow ones"
    )
    parser.add_argument(
        "--moves", type=int, default=20, help="positions of each slider (default 20)"
    )
    options = parser.parse_args()
    matplotlib.use("Agg", force=True)
    warnings.filterwarnings("ignore")
    widgets.LiveFigure = WithControls  # what the lessons will use
    os.environ.setdefault("TQDM_DISABLE", "1")
    paths = sorted(SOURCE.glob("[0-9][0-9]_*.py"))
    wanted = options.lessons or [path.name[:2] for path in paths if path.name[:2] not in SLOW]
    print(f"{'':32s}{'update (ms)':^24s}  {'re-plot (ms)':^15s}")
    print(
        f"{'live figure':26s}{'moves':>6s}{'median':>8s}{'p90':>7s}{'CPU':>7s}  {'median':>10s}{'p90':>7s}   median <= {AIM:.0f}"
    )
    missed = 0
    for path in paths:
        if path.name[:2] not in wanted:
            continue
        try:
            found = live_figures(path)
        except Exception as error:
            print(f"{path.name[:2]} does not run: {type(error).__name__}: {error}")
            missed += 1
            continue
        for name, live in found.items():
            values = settings(live, options.moves)

            def replot(live=live, **chosen):
                live.update(**chosen)
                plot_anew(live.figure)

            (updates, work), (replots, _) = milliseconds([live._redraw, replot], values)
            (median, p90), (again, again_p90) = median_and_p90(updates), median_and_p90(replots)
            missed += median > AIM
            met = "yes" if median <= AIM else "NO"
            print(
                f"{path.name[:2]} {name:23s}{len(values):6d}{median:8.0f}{p90:7.0f}{statistics.median(work):7.0f}  {again:10.0f}{again_p90:7.0f}   {met}",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
