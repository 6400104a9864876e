"""The figures of lesson 3: Lipschitz bounds."""

import itertools
import math

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from chapter_utils.plotting import BLACK, BLUE, GREEN, ORANGE, SKY, YELLOW
from figures.common import (
    BLACK_DASHES,
    BLACK_DOTS,
    BLUE_LINE,
    ORANGE_LINE,
    dot,
    empty_line,
)

MEASURED = {"color": ORANGE, "linestyle": "-."}
BESIDE = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}  # a legend beside its plot


def double_cones(f) -> None:
    """The graph of f with a double cone of slope 2.5 at 0, and with one of slope 1.5."""
    x = torch.linspace(-2.2, 2.2, 401)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True)
    for axis, L in zip(axes, (2.5, 1.5), strict=True):
        axis.fill_between(x, -L * x.abs(), L * x.abs(), color=SKY, alpha=0.3, linewidth=0)
        axis.plot(x, f(x), **BLUE_LINE)
        axis.plot(0, 0, color=ORANGE, marker="o", markersize=7)
        axis.set(xlim=(-2.2, 2.2), ylim=(-4, 4), xlabel="$x$")
        axis.set_title(f"double cone with slope L = {L}")
    axes[0].set_ylabel("$f(x)$")
    plotting.show(
        figure,
        "The curve x + sin(3x)/2 stays inside the shaded double cone of slope 2.5, whose tip lies "
        "on it. It leaves the cone of slope 1.5 at once.",
    )


def derivatives(t, derivative) -> None:
    """Derivatives of activations by name."""
    figure, axis = plt.subplots(figsize=(6.8, 3.6))
    marks = {"silu": "o", "mish": "^"}
    for name in ("relu", "sigmoid", "gelu", "silu", "mish"):
        mark = {"marker": marks.get(name), "markevery": 500, "markersize": 4}
        axis.plot(t, derivative[name], **mark, label=name)
    axis.axhline(1, color=BLACK, linewidth=0.8, linestyle="-")
    axis.set(xlim=(-5, 5), ylim=(-0.2, 1.2), xlabel="$t$", ylabel=r"$\sigma'(t)$")
    axis.set_title("derivatives of activations")
    axis.legend(**BESIDE)
    plotting.show(
        figure,
        "The derivatives of gelu, silu and mish rise above 1, by 9 to 13 percent, and dip below 0; "
        "that of relu jumps from 0 to 1, that of the sigmoid never exceeds one quarter.",
    )


PANELS = {  # titles by the name of the layers
    "identity": "identity: $x$",
    "random": r"random: $\tanh(Wx+b)$",
    "turning": "turning: $Sx$",
    "downhill": r"downhill: $-A^{\top}\tanh(Ax)$",
}


def slopes_over_depth(measured, bounds, h) -> widgets.LiveFigure:
    """For each kind of layers: the product bound over the depth, and the measured slopes."""
    deepest = len(bounds) - 1
    depth = torch.arange(deepest + 1)
    figure = Figure(figsize=(10.2, 3.7))
    panels = dict(zip(measured, figure.subplots(1, 4, sharey=True), strict=True))
    lines = {}
    bound_dots = {}
    measured_dots = {}
    for name, axis in panels.items():
        bound_label = "product bound $(1+hL)^N$"
        axis.plot(depth, (h * depth).exp(), **BLACK_DASHES, linewidth=1.2, label=r"$e^{LT}$")
        axis.plot(depth, bounds, **BLUE_LINE, label=bound_label)
        lines[name] = empty_line(axis, **MEASURED, label="measured slope")
        bound_dots[name] = dot(axis, BLUE, marker="s", size=8)
        bound_dots[name].set_markerfacecolor("white")
        measured_dots[name] = dot(axis, ORANGE, size=7)
        axis.set(xlim=(0, deepest), ylim=(0.1, 5000), yscale="log", xlabel="depth $N$")
        axis.set_title(PANELS[name], fontsize=10)
    first = next(iter(panels.values()))
    first.set_ylabel("slope")
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3)

    def draw(N):
        seen = []
        for name, found in measured.items():
            lines[name].set_data(depth[: N + 1], found[: N + 1])
            bound_dots[name].set_data([N], [bounds[N]])
            measured_dots[name].set_data([N], [found[N]])
            seen.append(f"{name} {found[N]:.2f}")
        return (
            f"Depth {N}, so T = {h * N:.1f}: product bound {bounds[N]:.2f} in all four panels, "
            f"e to the LT {math.exp(h * N):.2f}. Measured slopes: {', '.join(seen)}."
        )

    slider = ipywidgets.IntSlider(min=0, max=deepest, value=50, description="depth N")
    return widgets.LiveFigure(figure, draw, N=slider)


def from_below(counts, missing, missing_spoilt, second) -> None:
    """What estimates by power iteration lack, as fractions of the norm, over the steps."""
    figure, axis = plt.subplots(figsize=(6.8, 3.6))
    axis.semilogy(counts, missing, "o-", label="random start")
    spoilt = "start without the best direction"
    axis.semilogy(counts, missing_spoilt, "s--", markerfacecolor="white", label=spoilt)
    name = r"second singular value: $1-\sigma_2/\sigma_1$"
    axis.axhline(second, **BLACK_DOTS, linewidth=1.2, label=name)
    axis.set(xlabel="steps", ylabel="1 - estimate / norm")
    axis.set_title("power iteration: what is missing to the norm")
    axis.legend(loc="lower left")
    plotting.show(
        figure,
        "What is missing shrinks with every step for both starts, at first alike. For the random "
        "start it goes on shrinking; for the start without the best direction it levels off at "
        "the dotted line, where the estimate is the second singular value.",
    )


def local_slopes(columns, rows, surface, decision, points, labels, path) -> None:
    """The local slope of a classifier with its decision curve and data, and a climb."""
    figure, axis = plt.subplots(figsize=(7.2, 4.2))
    picture = axis.imshow(
        surface.numpy(),
        origin="lower",
        extent=(-1.6, 2.6, -1.3, 1.8),
        cmap="Blues",
        vmin=0,
        interpolation="bilinear",
    )
    axis.contour(columns, rows, decision.numpy(), levels=[0], colors=BLACK, linewidths=1.2)
    for label, colour, marker in ((0, SKY, "o"), (1, YELLOW, "^")):
        axis.plot(
            *points[labels == label].T,
            marker,
            color=colour,
            markeredgecolor=BLACK,
            markeredgewidth=0.4,
            markersize=4,
        )
    axis.plot(*path.T, **ORANGE_LINE, linewidth=2.5)
    ends = {"color": ORANGE, "markeredgecolor": ORANGE, "markersize": 8, "linestyle": ""}
    axis.plot(*path[0], **ends, marker="o", markerfacecolor="white", label="start of the climb")
    axis.plot(*path[-1], **ends, marker="s", label="end of the climb")
    axis.legend(loc="lower right", fontsize=8)
    axis.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    axis.set_title("local slope of a trained network, and a climb")
    axis.grid(False)
    figure.colorbar(picture, label=r"local slope $\|Df(x)\|$")
    plotting.show(
        figure,
        "The local slope is largest in two dark ridges beside the steep parts of the black "
        "decision curve, where it passes between the half moons; elsewhere along the curve it is "
        "smaller, far from it small. The orange climb starts at an open circle, the data point "
        "with the largest slope, and ends at a filled square in the right ridge, near the curve.",
    )


def two_matrices(zero, circular) -> None:
    """The 5 x 5 matrices of a convolution with zero and with circular padding."""
    figure, axes = plt.subplots(1, 2, figsize=(5.6, 2.9))
    named = (("zero padding", zero), ("circular padding", circular))
    for axis, (name, matrix) in zip(axes, named, strict=True):
        axis.imshow(matrix.numpy(), cmap="PuOr", vmin=-1.6, vmax=1.6)
        for i, j in itertools.product(range(5), range(5)):
            axis.text(j, i, f"{matrix[i, j]:.0f}", ha="center", va="center")
        axis.set(title=name, xticks=[], yticks=[])
        axis.grid(False)
    plotting.show(
        figure,
        "Both 5 x 5 matrices have 1 on the diagonal and -1 next to it. The circular one has -1 in "
        "the top right and bottom left corners as well.",
    )


def waves_on_a_ring(symbol, lengths, zero_norms, rings) -> None:
    """The symbol at the frequencies of two rings; norms on rings and with zero padding.

    `rings`: norms on the rings of all lengths, and of one more.
    """
    omega = torch.linspace(0, 2 * math.pi, 401)
    figure, (left, same, larger) = plt.subplots(1, 3, figsize=(10.4, 4.0))
    left.plot(omega, symbol(omega), **BLUE_LINE, label=r"$|\hat K(\omega)|$")
    for side, colour, marker, fill in ((5, ORANGE, "s", ORANGE), (6, GREEN, "o", "white")):
        at = 2 * math.pi * torch.arange(side) / side
        marks = {"color": colour, "markersize": 7, "markerfacecolor": fill}
        left.plot(at, symbol(at), marker, **marks, label=f"frequencies, ring of {side}")
    of_five = zero_norms[lengths.index(5)]
    left.axhline(of_five, **BLACK_DASHES, linewidth=1, label="zero-padded, $n=5$")
    left.set(xlabel=r"frequency $\omega$", ylabel=r"$|\hat K(\omega)|$", title="which waves fit?")
    left.set_xticks([0, math.pi, 2 * math.pi], ["0", r"$\pi$", r"$2\pi$"])
    ring_marks(same, lengths, zero_norms, rings[:-1], "s", ORANGE)
    ring_marks(larger, lengths, zero_norms, rings[1:], "o", GREEN)
    same.set(title="ring of $n$")
    larger.set(title="ring of $n+1$")
    for axis in (left, same, larger):
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)
    plotting.show(
        figure,
        "Left: the frequencies of a ring of five miss the peak of the symbol at pi and stay below "
        "the dashed zero-padded norm; a ring of six hits the peak. "
        "Middle: the norm on the ring of n lies below the zero-padded norm at every odd n, "
        "the filled squares. Right: the norm on the ring of n + 1 never does, all circles are open "
        "and on or above the line.",
    )


def ring_marks(axis, lengths, zero_norms, rings, marker, colour) -> None:
    """Zero-padded norms as a line, norms on rings as marks: filled where they are no bound."""
    axis.plot(lengths, zero_norms, "d-", color=BLACK, markersize=4, label="zero-padded norm")
    broken = [ring < norm - 1e-9 for ring, norm in zip(rings, zero_norms, strict=True)]
    for wrong, fill, name in ((False, "white", "a bound"), (True, colour, "no bound")):
        at = [n for n, b in zip(lengths, broken, strict=True) if b == wrong]
        values = [ring for ring, b in zip(rings, broken, strict=True) if b == wrong]
        if at:
            style = {"color": colour, "markerfacecolor": fill, "markersize": 7}
            axis.plot(at, values, marker, **style, label=f"ring: {name}")
    axis.set(xlabel="length $n$", ylabel="norm", ylim=(1.9, 3.1), xticks=range(3, 17, 2))


BOUNDS = {  # as printed under a bar: in words
    "torus,\nside n": "torus of side n",
    "torus,\nside n+1": "torus of side n+1",
    "$\\|R\\|$": "|R|",
    "$3\\,\\|R\\|$": "3 |R|",
}


def bounds_of_a_kernel(table, highest, sides) -> widgets.LiveFigure:
    """Four numbers for a convolution as multiples of its exact norm; a bar below 1 is no bound.

    `table` by kernel and side: the exact norm and the four numbers; `highest`: largest symbols.
    """
    figure = Figure(figsize=(9.2, 4.0))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.9])
    exact_line = empty_line(
        left, color=BLACK, linestyle="-", marker="d", label="exact, zero-padded"
    )
    same_line = empty_line(
        left,
        color=ORANGE,
        linestyle="",
        marker="s",
        markersize=7,
        markerfacecolor="none",
        label="torus of side $n$",
    )
    side_line = left.axvline(5, color=GREEN, linestyle="--", linewidth=1.2)
    left.set(xlim=(1.5, 10.5), ylim=(0, 1.1), xticks=list(sides))
    left.set(xlabel="image side $n$", title="fractions of the largest symbol")
    left.legend(loc="lower right")
    bars = right.bar(range(4), [1] * 4, width=0.6)
    numbers = [right.text(i, 0, "", ha="center", va="bottom", fontsize=9) for i in range(4)]
    right.axhline(1, color=BLACK, linewidth=1.5)
    right.set(ylim=(0, 3.4), xticks=range(4), xticklabels=BOUNDS)
    right.set_title("multiples of the exact norm (line)")
    right.grid(False, axis="x")

    def draw(kernel_name, n):
        exact, bounds = table[kernel_name, n]
        top = highest[kernel_name]
        exact_line.set_data(sides, [table[kernel_name, m][0] / top for m in sides])
        same_line.set_data(sides, [table[kernel_name, m][1][0] / top for m in sides])
        side_line.set_xdata([n, n])
        wrong = []
        for bar, number, name, bound in zip(bars, numbers, BOUNDS.values(), bounds, strict=True):
            ratio = bound / exact
            bar.set(height=ratio, facecolor=SKY, hatch="")
            if bound < exact * (1 - 1e-9):
                bar.set(facecolor=ORANGE, hatch="///")
                wrong.append(f"{name} ({bound:.2f})")
            across = 0.85 < ratio < 1  # the number would lie on the line
            number.set(text=f"{bound:.2f}", y=(1 if across else ratio) + 0.04)
        return (
            f"Kernel {kernel_name}, {n} x {n} images: exact norm {exact:.2f}, "
            f"largest symbol {top:.2f}. "
            f"Not a bound: {'; '.join(wrong) or 'none of the four fails here'}."
        )

    return widgets.LiveFigure(
        figure,
        draw,
        kernel_name=ipywidgets.Dropdown(
            options=list(highest),
            value="trap (-1, 1, -1)",
            description="kernel",
        ),
        n=ipywidgets.IntSlider(min=2, max=10, value=5, description="side n"),
    )
