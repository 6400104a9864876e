"""The figures of lesson 4: networks as dynamical systems."""

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from chapter_utils.plotting import BLACK, BLUE, GREEN, ORANGE
from figures.common import (
    BLACK_DASHES,
    BLACK_DOTS,
    BLUE_LINE,
    ORANGE_DASHES,
    ORANGE_LINE,
    dot,
    empty_line,
    plane,
)

OPEN = {"color": BLACK, "linestyle": "", "marker": "o", "fillstyle": "none"}


def depth(flow_lines, layers_of, distance_and_bound) -> widgets.LiveFigure:
    """Layers (N + 1, B, 2) beside flow lines (K, B, 2), and their distance over the depth N."""
    counts = [1, 2, 4, 8, 16, 32, 64]
    measured = torch.tensor([distance_and_bound(count) for count in counts])
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    left.plot(*flow_lines.permute(2, 0, 1), color=BLACK, linestyle="-", linewidth=1)
    left.plot(*flow_lines[0].T, color=BLACK, linestyle="", marker="o")
    left.plot(*flow_lines[-1].T, **OPEN)
    walks = [empty_line(left, **ORANGE_DASHES, linewidth=1, marker=".") for _ in flow_lines[0]]
    last = dot(left, ORANGE, marker="s", size=6)
    left.set(
        xlabel="$x_1$",
        ylabel="$x_2$",
        aspect="equal",
        xlim=(-3.8, 3.8),
        ylim=(-3, 1.5),
    )
    left.set_title("flow and layers")
    right.plot(counts, measured[:, 1], **BLACK_DASHES, label="bound")
    right.plot(counts, measured[:, 0], **BLUE_LINE, label="distance")
    now = dot(right, ORANGE)
    right.set(
        xscale="log",
        yscale="log",
        ylim=(1e-3, 1e2),
        xlabel="number of layers $N$",
        title="largest distance at time $T$",
    )
    right.set_xticks(counts, counts)
    right.minorticks_off()
    right.legend(loc="lower left")

    def draw(depth):
        states = layers_of(depth)
        for line, walk in zip(walks, states.unbind(1), strict=True):
            line.set_data(*walk.T)
        last.set_data(*states[-1].T)
        distance, bound = distance_and_bound(depth)
        now.set_data([depth], [distance])
        return (
            f"With {depth} layers (orange, ends filled squares) the states end at most "
            f"{distance:.3f} from the flow (black, ends open circles); "
            f"the bound of the claim is {bound:.2f}."
        )

    slider = ipywidgets.IntSlider(min=1, max=64, value=4, description="layers N")
    return widgets.LiveFigure(figure, draw, depth=slider)


def reversal(circle_again, bound) -> widgets.LiveFigure:
    """Starts on a circle, true and recomputed (B, 2) for a rate, and the error over the rate."""
    rates = torch.linspace(0, 24, 97)
    pairs = [circle_again(rate) for rate in rates.tolist()]
    errors = [(again - true).norm(dim=1).max() for true, again in pairs]
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    true = empty_line(left, **OPEN, markersize=8)
    again = dot(left, ORANGE, marker="s", size=5)
    left.plot([1], [1], "+", color=BLUE, markersize=12)
    plane(left, "24 starts, true and recomputed", (-0.6, 2.6), (-0.6, 2.6))
    right.plot(rates, [bound(rate) for rate in rates.tolist()], **BLACK_DASHES, label="bound")
    right.plot(rates, errors, **BLUE_LINE, label="largest error")
    now = dot(right, ORANGE, marker="s")
    right.axhline(0.8, color=BLACK, linewidth=0.8)
    right.text(0.5, 1.3, "radius of the circle", fontsize=9)
    right.set(
        xlim=(0, 24),
        ylim=(1e-9, 1e4),
        yscale="log",
        xlabel=r"rate $\lambda$",
        title="error of the recomputed starts",
    )
    right.minorticks_off()
    right.legend(loc="lower right")

    def draw(rate):
        circle, recomputed = circle_again(rate)
        true.set_data(*circle.T)
        again.set_data(*recomputed.T)
        error = (recomputed - circle).norm(dim=1).max().item()
        now.set_data([rate], [error])
        places = len(torch.unique((1e6 * recomputed).round(), dim=0))
        return (
            f"At rate {rate:.1f} the 24 recomputed starts (filled squares) lie at {places} "
            f"different places, up to {error:.2g} from the true ones (open circles); "
            f"the bound is {bound(rate):.2g}."
        )

    slider = ipywidgets.FloatSlider(min=0, max=24, step=0.25, value=15.5, description="rate")
    return widgets.LiveFigure(figure, draw, rate=slider)


def crossing_or_not(times, flow, layers, half_turns) -> None:
    """A flow on the line, layers with long steps that cross, and half a turn in the plane."""
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.3))
    axes[0].plot(times, flow, **BLUE_LINE, linewidth=1.2)
    axes[0].set(
        title=r"flow of $-\tanh 2x$",
        xlabel="time $t$",
        ylabel="$x$",
    )
    axes[1].plot(range(4), layers, **ORANGE_LINE, marker="o", linewidth=1.2)
    axes[1].set(
        title="layers with $hL=2$",
        xlabel="layer",
        ylabel="$x$",
        xticks=range(4),
    )
    for x, added in half_turns[::2]:
        axes[2].plot(x, added, color=GREEN, linestyle="-", linewidth=1.2)
        if x.abs().max() > 0.1:
            middle = {"xy": (x[33], added[33]), "xytext": (x[29], added[29])}
            axes[2].annotate("", **middle, arrowprops={"arrowstyle": "->", "color": GREEN})
    axes[2].plot(*half_turns[::2, :, 0].T, "o", color=BLACK, label="start")
    axes[2].plot(*half_turns[::2, :, -1].T, **OPEN, markersize=11, label="end")
    axes[2].set(
        xlabel="$x$",
        ylabel="added coordinate",
        aspect="equal",
        title="half a turn in the plane",
        ylim=(-1.6, 1.15),
    )
    axes[2].legend(loc="lower center", ncols=2)
    plotting.show(
        figure,
        "Left: nine solutions of one flow on the line run towards zero and never cross. "
        "Middle: the layers of a network with too long steps throw points across zero, and the "
        "lines cross. Right: with a second coordinate a rotation, along the arrows, carries every "
        "start x (filled) to the end -x (open).",
    )


def best_steering(theta, steering, states) -> None:
    """Optimal weights, minus the adjoint state, and the state over the layers."""
    figure, axis = plt.subplots(figsize=(6.0, 3.2))
    axis.plot(theta, "o", color=BLUE, label=r"optimal weight $\theta_n$")
    axis.plot(steering, **ORANGE_DASHES, label="$-p_{n+1}$")
    axis.plot(states, **BLACK_DOTS, label="state $x_n$")
    axis.set(
        xlabel="layer $n$",
        title="best steering",
        xticks=range(0, len(states), 5),
    )
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    plotting.show(
        figure,
        "The optimal weights, dots, lie on the dashed curve of minus the adjoint state wherever "
        "that is above -1, and at -1 where it is below. "
        "The dotted state falls steadily from 0.8 to 0.19.",
    )


def running_away(distance, *rates) -> None:
    """The distance to the place forwards, and run back from an end with an error of 1e-6.

    `distance(rate, rho, t)` is the distance after time t run back, from rho.
    """
    times = torch.linspace(0, 1, 401)
    figure, axes = plt.subplots(1, len(rates), figsize=(8.4, 3.3), sharey=True)
    for axis, rate in zip(axes, rates, strict=True):
        forwards = distance(rate, 1.5, -times)
        backwards = distance(rate, forwards[-1] + 1e-6, 1 - times)
        axis.plot(times, forwards, **BLUE_LINE, linewidth=4, label="forwards")
        axis.plot(times, backwards, **ORANGE_DASHES, label="recomputed")
        axis.plot(times[-1:], backwards[-1:], "s", color=ORANGE)
        axis.plot(times[:1], forwards[:1], "o", color=BLUE)
        axis.set(
            yscale="log",
            ylim=(1e-10, 1e3),
            xlabel="time $t$",
        )
        axis.set_title(rf"rate $\lambda={rate:.0f}$")
        axis.minorticks_off()
    axes[0].set_ylabel(r"distance $\rho$ to the place")
    axes[0].legend(loc="lower left")
    plotting.show(
        figure,
        "Distance to the place over time, on a logarithmic axis. "
        "Rate 10: the recomputed curve, dashed, lies on the solid one and returns to its start. "
        "Rate 20: it begins at the error, far above the solid one, and runs to infinity "
        "near t = 0.23, before it is back at time 0.",
    )
