"""How long a live figure takes to follow a slider, in milliseconds, against plotting it anew.

    python benchmarks/widget_latency.py                lessons 1 to 8, without the slow one (7)
    python benchmarks/widget_latency.py 03 05          only these lessons
    python benchmarks/widget_latency.py 07 --moves 10  a slow one, with fewer moves of the slider

Runs the cells of each lesson up to its last live figure, then moves every control through its
range. "update" is the time from a changed value to the new picture in the page's message: `update`,
drawing, PNG. "re-plot" computes the same and builds an equal pyplot figure (axes, lines, images,
bars, arrows, texts, legends) from nothing, as a function under `interact` would. "CPU" is the
median of the processor time: far below the elapsed time, the machine was busy with other things.
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
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jupytext
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.quiver import Quiver

from chapter_utils import plotting
from chapter_utils.widgets import LiveFigure

ROOT = Path(__file__).resolve().parent.parent
LESSONS = ROOT / "source" / "lessons"
NOTEBOOKS = ROOT / "notebooks"
SLOW = ("07",)
AIM = 100.0


# ---- the live figures of a lesson ----------------------------------------------------------------


def live_figures(path: Path) -> dict[str, LiveFigure]:
    """By name, after running the code cells up to the last one that shows a live figure."""
    cells = [
        cell.source
        for cell in jupytext.read(path, fmt="py:percent").cells
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", [])
    ]
    showing = [number for number, source in enumerate(cells, start=1) if ".still(" in source]
    names: dict = {"__name__": "lesson"}
    for source in cells[: max(showing, default=0)]:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(source, str(path), "exec"), names)
    plt.close("all")
    return {name: thing for name, thing in names.items() if isinstance(thing, LiveFigure)}


def positions(control, moves: int) -> list:
    """Values of one control from end to end."""
    if hasattr(control, "options"):
        return [option[1] if isinstance(option, tuple) else option for option in control.options]
    if isinstance(control.value, bool):
        return [False, True]
    values = np.linspace(control.min, control.max, moves).tolist()
    return [round(v) for v in values] if isinstance(control.value, int) else values


def settings(live: LiveFigure, moves: int) -> list[dict]:
    """What the figure is asked to show: each control moved in turn while the others rest."""
    rest = {name: control.value for name, control in live.controls.items()}
    return [
        {**rest, name: value}
        for name, control in live.controls.items()
        for value in positions(control, moves)
    ]


# ---- an equal figure, built from nothing ---------------------------------------------------------


def plot_anew(figure: Figure) -> bytes:
    """An equal figure, built from nothing with pyplot, as a PNG."""
    new = plt.figure(figsize=figure.get_size_inches(), dpi=figure.dpi)
    for old in figure.axes:
        axes = add_axes(new, old)
        plot_lines(axes, old)
        plot_images(axes, old)
        plot_bars(axes, old)
        plot_collections(axes, old)
        for text in old.texts:
            axes.text(*text.get_position(), text.get_text(), fontsize=text.get_fontsize())
        label(axes, old)
    picture = plotting.png(new)
    plt.close(new)
    return picture


def add_axes(figure: Figure, old: Axes) -> Axes:
    place = old.get_subplotspec()
    if place is None:
        return figure.add_axes(old.get_position())
    rows, columns, first, _ = place.get_geometry()
    return figure.add_subplot(rows, columns, first + 1)


def plot_lines(axes: Axes, old: Axes) -> None:
    for line in old.lines:
        in_data = line.get_transform() == old.transData
        axes.plot(
            *line.get_data(),
            color=line.get_color(),
            linestyle=line.get_linestyle(),
            marker=line.get_marker(),
            label=line.get_label(),
            transform=axes.transData if in_data else None,
        )


def plot_images(axes: Axes, old: Axes) -> None:
    for image in old.images:
        if isinstance(image, AxesImage):
            axes.imshow(
                image.get_array(),
                cmap=image.get_cmap(),
                extent=image.get_extent(),
                aspect=old.get_aspect(),
            )


def plot_bars(axes: Axes, old: Axes) -> None:
    for patch in old.patches:
        if hasattr(patch, "get_height"):
            axes.bar(
                patch.get_x(),
                patch.get_height(),
                width=patch.get_width(),
                color=patch.get_facecolor(),
            )


def plot_collections(axes: Axes, old: Axes) -> None:
    for group in old.collections:
        if isinstance(group, Quiver):
            axes.quiver(group.X, group.Y, group.U, group.V)
        elif isinstance(group, PathCollection) and len(group.get_offsets()):
            axes.scatter(*np.asarray(group.get_offsets()).T)
        else:
            copy = PathCollection(group.get_paths(), transform=axes.transData)
            axes.add_collection(copy, autolim=False)


def label(axes: Axes, old: Axes) -> None:
    axes.set(
        xscale=old.get_xscale(),
        yscale=old.get_yscale(),
        xlim=old.get_xlim(),
        ylim=old.get_ylim(),
        xlabel=old.get_xlabel(),
        ylabel=old.get_ylabel(),
        title=old.get_title(loc="left") or old.get_title(),
    )
    if not old.axison:
        axes.axis("off")
    if old.get_legend() is not None and axes.get_legend_handles_labels()[0]:
        axes.legend()


# ---- the clock -----------------------------------------------------------------------------------


class Times(NamedTuple):
    elapsed: list[float]  # ms
    worked: list[float]  # ms of the processor


def milliseconds(actions: list[Callable], values: list[dict]) -> list[Times]:
    """Of each action, for each setting; they take turns, so that other load meets all alike."""
    times = [Times([], []) for _ in actions]
    for action in actions:
        action(**values[0])  # warms caches and is not counted
    for chosen in values:
        for action, (elapsed, worked) in zip(actions, times, strict=True):
            start = time.perf_counter()
            work = time.process_time()
            action(**chosen)
            elapsed.append(1000 * (time.perf_counter() - start))
            worked.append(1000 * (time.process_time() - work))
    return times


def median_and_p90(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=10, method="inclusive")[-1]


def measured(live: LiveFigure, name: str, moves: int) -> bool:
    """Measure a live figure and print its row; whether it meets the aim."""

    def replot(**chosen):
        live.update(**chosen)
        plot_anew(live.figure)

    values = settings(live, moves)
    update, anew = milliseconds([live.redraw, replot], values)
    median, p90 = median_and_p90(update.elapsed)
    again, again_p90 = median_and_p90(anew.elapsed)
    row = (
        f"{name:26s}{len(values):6d}{median:8.0f}{p90:7.0f}{statistics.median(update.worked):7.0f}"
    )
    row += f"  {again:10.0f}{again_p90:7.0f}   {'yes' if median <= AIM else 'NO'}"
    print(row, flush=True)
    return median <= AIM


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = "two-digit numbers; without any: all but the slow ones"
    parser.add_argument("lessons", nargs="*", help=which)
    several = "positions of each slider (default 20)"
    parser.add_argument("--moves", type=int, default=20, help=several)
    return parser.parse_args()


def main() -> int:
    options = options_of()
    matplotlib.use("Agg", force=True)
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.chdir(NOTEBOOKS)  # where a lesson's kernel runs, and finds the package of its figures
    sys.path.insert(0, str(NOTEBOOKS))
    print(f"{'':32s}{'update (ms)':^24s}  {'re-plot (ms)':^15s}")
    heads = f"{'live figure':26s}{'moves':>6s}{'median':>8s}{'p90':>7s}{'CPU':>7s}"
    print(heads + f"  {'median':>10s}{'p90':>7s}   median <= {AIM:.0f}")
    missed = 0
    for path in sorted(LESSONS.glob("[0-9][0-9]_*.py")):
        number = path.name[:2]
        wanted = number in options.lessons if options.lessons else number not in SLOW
        if not wanted:
            continue
        try:
            found = live_figures(path)
        except Exception as error:
            print(f"{number} does not run: {type(error).__name__}: {error}")
            missed += 1
            continue
        for name, live in found.items():
            missed += not measured(live, f"{number} {name}", options.moves)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
