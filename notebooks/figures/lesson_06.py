"""The figures of lesson 6."""

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets


def pairs_of_steps(worst_slope_of_pair, pair_factor, largest_expansion):
    """Live: the pairs (h1, h2) that each rule allows, and bars of the Lipschitz constant of one."""
    figure = Figure(figsize=(9, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    looks = {
        "gradient": (plotting.SKY, "-", "", "allowed by the sharp rule"),
        "monotone": (plotting.YELLOW, "--", "///", "allowed by the paper's rule too"),
    }
    regions = {}
    edges = {}
    for rule, (colour, style, hatch, label) in looks.items():
        (regions[rule],) = left.fill(
            [0, 1, 1],
            [0, 0, 1],
            facecolor=colour,
            alpha=0.45,
            hatch=hatch,
            label=label,
            edgecolor="white",
        )
        (edges[rule],) = left.plot(
            [],
            [],
            color=plotting.BLACK,
            linestyle=style,
            linewidth=1.2,
            gid=rule,
        )
    (dot,) = left.plot([], [], color=plotting.ORANGE, marker="o", markersize=9, gid="pair")
    left.set(xlim=(0, 2), ylim=(0, 1), xlabel="$h_1$ (down)", ylabel="$h_2$ (up)")
    left.set_title("pairs of steps")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    bars = right.barh(
        range(3),
        [1, 1, 1],
        color=[plotting.ORANGE, plotting.SKY, plotting.YELLOW],
        edgecolor=plotting.BLACK,
        gid="bar",
    )
    bars[2].set_hatch("///")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    numbers = [right.text(0, k, "", va="center", bbox=box) for k in range(3)]
    right.axvline(1, color=plotting.BLACK, linestyle=":")
    right.set(
        yticks=range(3),
        yticklabels=["worst slope\nfound", "sharp\nrule", "paper's\nrule"],
        xlim=(0, 2.5),
        title="Lipschitz constant of the pair",
    )
    right.grid(False)
    h1_line = torch.linspace(0, 2, 101).tolist()

    def draw_rule(rule, S, kappa):
        limits = [largest_expansion(h1, (S, S), kappa, rule) for h1 in h1_line]
        shown = [min(limit, 2) for limit in limits]
        regions[rule].set_xy([(0, 0), *zip(h1_line, shown, strict=True), (2, 0)])
        edges[rule].set_data(h1_line, shown)

    def draw(h1, h2, S, lambda_min):
        kappa = 0.5 * lambda_min  # how strongly monotone the field is, with a = 1/2
        draw_rule("gradient", S, kappa)
        draw_rule("monotone", S, kappa)
        dot.set_data([h1], [h2])
        worst = worst_slope_of_pair(h1, h2, S, lambda_min)
        sharp = pair_factor((h1, h2), (S, S), kappa, "gradient")
        paper = pair_factor((h1, h2), (S, S), kappa, "monotone")
        for bar, number, value in zip(bars, numbers, (worst, sharp, paper), strict=True):
            bar.set_width(value)
            number.set_x(min(max(value, 1) + 0.06, 2.1))  # longer bars are cut off
            number.set_text(f"{value:.3f}")
        return (
            f"For h1 = {h1:.2f} and h2 = {h2:.2f} the worst slope found is {worst:.3f}; "
            f"the sharp rule promises {sharp:.3f}, the paper's {paper:.3f}. "
            f"{verdict_on_pair(worst, sharp, paper)}"
        )

    return widgets.LiveFigure(
        figure,
        draw,
        h1=ipywidgets.FloatSlider(min=0, max=2, step=0.01, value=0.5, description="h1, down"),
        h2=ipywidgets.FloatSlider(min=0, max=1, step=0.01, value=0.25, description="h2, up"),
        S=ipywidgets.IntSlider(min=1, max=3, value=1, description="parts S"),
        lambda_min=ipywidgets.FloatSlider(
            min=0.05,
            max=1,
            step=0.05,
            value=1,
            description="lambda_min",
        ),
    )


def verdict_on_pair(worst, sharp, paper):
    """In words: which rules allow the pair, and what its worst slope says to that."""
    one = 1 + 1e-12  # rounding
    if sharp > one:
        return "Neither rule allows this pair, and some distances do grow."
    allowed = "Both rules allow" if paper <= one else "Only the sharp rule allows"
    grows = "No distance grows." if worst <= one else "Some distances grow!"
    return f"{allowed} this pair. {grows}"


def crater(line, surfaces):
    """Functions on the square line x line, by name: contour pictures, and cuts through the middle.

    The first is the distance to the circle, dotted in every cut.
    """
    middle = len(line) // 2
    distance, *_ = surfaces.values()
    figure, axes = plt.subplots(2, 5, figsize=(9.6, 4.2), sharex="row", sharey="row")
    for axis, cut, (name, surface) in zip(axes[0], axes[1], surfaces.items(), strict=True):
        drawn = axis.contourf(
            line,
            line,
            surface.numpy(),
            levels=torch.linspace(0, 0.85, 18),
            cmap="viridis",
            extend="both",
        )
        axis.set(aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        axis.set_title(name, fontsize=9, loc="center")
        axis.grid(False)
        cut.plot(line, distance[middle], color=plotting.BLACK, linestyle=":", linewidth=1)
        cut.plot(line, surface[middle], color=plotting.BLUE, linestyle="-")
        cut.set(xlabel="$x_1$", xticks=[-1, 0, 1], ylim=(-0.15, 0.7))
    axes[0, 0].set_ylabel("$x_2$")
    axes[1, 0].set_ylabel("cut at $x_2=0$")
    figure.colorbar(drawn, ax=axes[0], shrink=0.8, ticks=[0, 0.4, 0.8])
    plotting.show(
        figure,
        "Top: contour pictures of the distance and of four networks; bottom: cuts through the "
        "middle, the distance dotted. Only the network with c = 2 shows the ring-shaped valley "
        "and the peak inside it; c = 1 has a low bump in a shallow ring, the spectrally "
        "normalised one a flat floor, the pairs a shallow bowl.",
    )


def five_regimes(radii, curves, certified):
    """Accuracy under attack of each regime, and the certificates of the regimes in `certified`."""
    figure, axis = plt.subplots(figsize=(8.2, 4.0))
    shown = {}
    for name, (survives, proved) in curves.items():
        shown[name] = (survives, proved if name in certified else None)
    plotting.robustness_curves(axis, radii, shown)
    axis.set_title("our five regimes: solid survives PGD, dashed certified")
    plotting.show(
        figure,
        "The unconstrained network is best or nearly so on clean digits and falls fastest under "
        "attack; the four others fall more slowly. The dashed certificates of the three enforced "
        "regimes lie below their solid curves. The other two have next to none and are drawn "
        "without.",
    )


def published_table(radii, accuracies, areas, margins):
    """Left: published accuracies, by regime, for one data set and margin. Right: all areas.

    `areas` has a list for each regime, its columns belong to `margins`: CIFAR-10, then CIFAR-100.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.9), width_ratios=[1.25, 1])
    plotting.robustness_curves(left, radii, {name: (y, None) for name, y in accuracies.items()})
    left.get_legend().remove()
    left.set(
        title="published: CIFAR-10, margin 0.15",
        ylabel="accuracy under attack",
        ylim=(0, 1),
    )
    places = torch.arange(len(margins))
    shifts = (-0.2, -0.1, 0.0, 0.1, 0.2)  # side by side, not on top of each other
    for shift, marker, name in zip(shifts, plotting.MARKERS, areas, strict=False):
        right.plot(places + shift, areas[name], marker=marker, linestyle="", label=name)
    right.set(
        xticks=places,
        xticklabels=margins,
        xlabel="margin: CIFAR-10 | CIFAR-100",
        ylabel="area under the curve",
        title="all thirty areas",
        ylim=(0, 0.8),
    )
    right.axvline(2.5, color=plotting.BLACK, linewidth=1, linestyle=":")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    plotting.show(
        figure,
        "Left: on CIFAR-10 the unconstrained network starts highest and falls to below 0.1 at "
        "radius 1, the four others fall slowly and end between 0.37 and 0.51. Right: in all six "
        "columns the unconstrained network has the smallest area, the naive one the second "
        "smallest, once by a hair.",
    )


def small_run(rows):
    """Accuracy under attack, and certificates of networks with a bound of 1: a panel a margin."""
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.7), sharey=True)
    for axis, margin in zip(axes, (0.07, 0.15, 0.3), strict=True):
        shown = {}
        for row in rows:
            if row["margin"] == margin:
                proved = row["certified"] if row["bound"] <= 1 + 1e-6 else None
                shown[row["regime"]] = (row["attacked"], proved)
        plotting.robustness_curves(axis, rows[0]["radii"], shown)
        axis.get_legend().remove()
        axis.set(title=f"margin {margin}", ylim=(0, 0.5), ylabel="")
    axes[0].set_ylabel("accuracy")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=5,
        title="small run on 3,000 photographs: solid survives both attacks, dashed certified",
    )
    plotting.show(
        figure,
        "For each of three margins the curve of the unconstrained network falls fastest and "
        "reaches zero near radius 0.3 to 0.5; the flexible one falls slowest. Certificates, "
        "dashed, lie close below the curve of the non-expansive network and farther below those "
        "of the pairs. Larger margins lift the curves at large radii.",
    )
