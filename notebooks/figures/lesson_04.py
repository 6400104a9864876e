"""The figures of lesson 4: networks as dynamical systems."""

import matplotlib.pyplot as plt

from chapter_utils import plotting
from chapter_utils.plotting import BLACK, BLUE, GREEN
from figures.common import (
    BLACK_DOTS,
    BLUE_LINE,
    ORANGE_DASHES,
    ORANGE_LINE,
)


def crossing_or_not(times, flow, layers, half_turns) -> None:
    """A flow on the line, layers with long steps that cross, and half a turn in the plane."""
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.3))
    axes[0].plot(times, flow, **BLUE_LINE, linewidth=1.2)
    axes[0].set(title=r"flow of $-\tanh 2x$", xlabel="time $t$", ylabel="$x$")
    axes[1].plot(range(4), layers, **ORANGE_LINE, marker="o", linewidth=1.2)
    axes[1].set(
        title="layers with $hL=2$",
        xlabel="layer",
        ylabel="$x$",
        xticks=range(4),
    )
    for x, added in half_turns:
        axes[2].plot(x, added, color=GREEN, linestyle="-", linewidth=1.2)
    axes[2].plot(*half_turns[:, :, 0].T, "o", color=BLACK)
    axes[2].set(xlabel="$x$", ylabel="added coordinate", aspect="equal")
    axes[2].set_title("half a turn in the plane")
    plotting.show(
        figure,
        "Left: nine solutions of one flow on the line run towards zero and never cross. "
        "Middle: the layers of a network with too long steps throw points across zero, and the "
        "lines cross. Right: with a second coordinate a rotation carries every x to -x.",
    )


def best_steering(theta, steering, states) -> None:
    """Optimal weights, minus the adjoint state, and the state over the layers."""
    figure, axis = plt.subplots(figsize=(6.0, 3.2))
    axis.plot(theta, "o", color=BLUE, label=r"optimal weight $\theta_n$")
    axis.plot(steering, **ORANGE_DASHES, label="$-p_{n+1}$")
    axis.plot(states, **BLACK_DOTS, label="state $x_n$")
    axis.set(xlabel="layer $n$", title="best steering", xticks=range(0, len(states), 5))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    plotting.show(
        figure,
        "The optimal weights, dots, lie on the dashed curve of minus the adjoint state wherever "
        "that is above -1, and at -1 where it is below. "
        "The dotted state falls steadily from 0.8 to 0.19.",
    )
