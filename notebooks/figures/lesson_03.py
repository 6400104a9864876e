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
    BLUE_DASHES,
    BLUE_LINE,
    ORANGE_LINE,
    dot,
    empty_line,
)

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
    for name in ("relu", "sigmoid", "gelu", "silu", "mish"):
        axis.plot(t, derivative[name], label=name)
    axis.axhline(1, color=BLACK, linewidth=0.8, linestyle="-")
    axis.set(xlim=(-5, 5), ylim=(-0.2, 1.2), xlabel="$t$", ylabel=r"$\sigma'(t)$")
    axis.set_title("derivatives of activations")
    axis.legend(**BESIDE)
    plotting.show(
        figure,
        "The derivatives of gelu, silu and mish rise above 1, by 9 to 13 percent, and dip below 0; "
        "that of relu jumps from 0 to 1, that of the sigmoid never exceeds one quarter.",
    )


def slopes_over_depth(measured, bounds, h) -> widgets.LiveFigure:
    """The product bound over the depth, and the slopes measured in networks that share it."""
    deepest = len(bounds) - 1
    depth = torch.arange(deepest + 1)
    figure = Figure(figsize=(6.8, 4.0))
    axis = figure.subplots()
    axis.semilogy(depth, (h * depth).exp(), **BLACK_DASHES, linewidth=1.2, label=r"$e^{LT}$")
    axis.semilogy(depth, bounds, **BLUE_LINE, label="product bound $(1+hL)^N$")
    line = empty_line(axis, color=ORANGE, linestyle="-.", label="measured slope")
    bound_dot = dot(axis, BLUE, marker="s", size=8)
    measured_dot = dot(axis, ORANGE, size=8)
    axis.set(xlim=(0, deepest), ylim=(0.3, 5000), xlabel="depth $N$", ylabel="slope")
    axis.set_title("$x+h\\,g(x)$, $N$ layers, $h=0.1$, $L=1$")
    axis.legend(loc="upper left")

    def draw(layers_are, N):
        found = measured[layers_are]
        line.set_data(depth[: N + 1], found[: N + 1])
        bound_dot.set_data([N], [bounds[N]])
        measured_dot.set_data([N], [found[N]])
        return (
            f"Depth {N}, so T = {h * N:.1f}: measured slope {found[N]:.2f}, "
            f"product bound {bounds[N]:.2f}, e to the LT {math.exp(h * N):.2f}. "
            f"Layers {layers_are}."
        )

    return widgets.LiveFigure(
        figure,
        draw,
        layers_are=ipywidgets.Dropdown(
            options=list(measured),
            value="random: tanh(Wx + b)",
            description="layers",
        ),
        N=ipywidgets.IntSlider(min=0, max=deepest, value=50, description="depth N"),
    )


def from_below(random, spoilt, second) -> None:
    """Estimates by power iteration from two starts, as fractions of the truth, over the steps."""
    figure, axis = plt.subplots(figsize=(6.8, 3.6))
    axis.plot(random, "o-", label="random start")
    axis.plot(spoilt, "s--", label="start without the best direction")
    axis.axhline(1, color=BLACK, linewidth=1, linestyle="-")
    name = r"second singular value $\sigma_2/\sigma_1$"
    axis.axhline(second, **BLACK_DOTS, linewidth=1, label=name)
    axis.set(xlabel="steps", ylabel="estimate / truth", ylim=(0.45, 1.05))
    axis.set_title("power iteration comes from below")
    axis.legend(loc="lower right")
    plotting.show(
        figure,
        "Both estimates rise with every step and stay below the truth. The random start comes "
        "close to 1; the start without the best direction stays below the second singular value.",
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
    axis.plot(*path[0], color=ORANGE, marker="o", markersize=8, markeredgecolor="white")
    axis.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    axis.set_title("local slope of a trained network, and a climb")
    axis.grid(False)
    figure.colorbar(picture, label=r"local slope $\|Df(x)\|$")
    plotting.show(
        figure,
        "The local slope is large in dark ridges near the black decision curve, where it passes "
        "between the classes, and small far from it. "
        "The orange climb starts at the data point with the largest slope, a dot, and ends in a "
        "darker place.",
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


def waves_on_a_ring(symbol, sizes, zero_norms, same_ring, larger_ring) -> None:
    """The symbol at the frequencies of two rings; norms on rings and with zero padding."""
    omega = torch.linspace(0, 2 * math.pi, 401)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
    left.plot(omega, symbol(omega), **BLUE_LINE, label=r"$|\hat K(\omega)|=|1-2\cos\omega|$")
    for side, colour, marker in ((5, ORANGE, "s"), (6, GREEN, "o")):
        at = 2 * math.pi * torch.arange(side) / side
        name = f"frequencies of a ring of {side}"
        left.plot(at, symbol(at), marker, color=colour, markersize=7, label=name)
    of_five = zero_norms[sizes.index(5)]
    left.axhline(of_five, **BLACK_DASHES, linewidth=1, label="zero-padded norm, $n=5$")
    left.set(xlabel=r"frequency $\omega$", title="which waves fit?")
    left.set_xticks([0, math.pi, 2 * math.pi], ["0", r"$\pi$", r"$2\pi$"])
    right.plot(sizes, same_ring, "s:", color=ORANGE, label="ring of $n$ (no bound)")
    right.plot(sizes, larger_ring, "o-.", color=GREEN, label="ring of $n+1$")
    right.plot(sizes, zero_norms, "d-", color=BLACK, label="zero-padded norm")
    right.axhline(3, **BLUE_DASHES, linewidth=1, label="largest over all frequencies")
    right.set(xlabel="length $n$", title="norms of (-1, 1, -1)", ylim=(1.9, 3.1))
    for axis in (left, right):
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8)
    plotting.show(
        figure,
        "Left: the frequencies of a ring of five miss the peak of the symbol at pi and stay below "
        "the dashed zero-padded norm; a ring of six hits the peak. "
        "Right: the norm on the ring of n falls below the zero-padded norm at every odd n; "
        "the ring of n + 1 never does.",
    )


BOUNDS = {  # as printed under a bar: in words
    "torus,\nsame side": "torus, same side",
    "best torus,\nside n+1": "best torus, side n+1",
    "$\\|R\\|$": "|R|",
    "$3\\,\\|R\\|$": "3 |R|",
    "sum of\ntaps": "sum of taps",
    "Gersh-\ngorin": "Gershgorin",
}


def bounds_of_a_kernel(table, highest, sides) -> widgets.LiveFigure:
    """Six bounds of a convolution as multiples of its exact norm; a bar below 1 is no bound.

    `table` by kernel and side: the exact norm and the six numbers; `highest`: largest symbols.
    """
    figure = Figure(figsize=(9.2, 4.0))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.9])
    exact_line = empty_line(
        left, color=BLACK, linestyle="-", marker="d", label="exact, zero-padded"
    )
    same_line = empty_line(
        left,
        color=ORANGE,
        linestyle=":",
        marker="s",
        markerfacecolor="white",
        label="torus, same side",
    )
    side_line = left.axvline(5, color=GREEN, linestyle="--", linewidth=1.2)
    left.set(xlim=(1.5, 10.5), ylim=(0, 1.1), xticks=list(sides))
    left.set(xlabel="image side $n$", title="fraction of the largest symbol")
    left.legend(loc="lower right")
    bars = right.bar(range(6), [1] * 6, width=0.7)
    numbers = [right.text(i, 0, "", ha="center", va="bottom", fontsize=9) for i in range(6)]
    right.axhline(1, color=BLACK, linewidth=1.5)
    right.set(ylim=(0, 4.4), xticks=range(6), xticklabels=BOUNDS)
    right.set_title("bounds, as multiples of the exact norm (line)")
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
            f"Not a bound: {'; '.join(wrong) or 'none of the six fails here'}."
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
