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
    right.invert_yaxis()  # from top to bottom as one reads
    right.grid(False)
    h1_line = torch.linspace(0, 2, 101).tolist()

    def draw_rule(rule, s, kappa):
        limits = [largest_expansion(h1, (s, s), kappa, rule) for h1 in h1_line]
        shown = [min(limit, 2) for limit in limits]
        regions[rule].set_xy([(0, 0), *zip(h1_line, shown, strict=True), (2, 0)])
        edges[rule].set_data(h1_line, shown)

    def draw(h1, h2, s, lambda_min):
        kappa = 0.5 * lambda_min  # a lambda, with a = 1/2
        draw_rule("gradient", s, kappa)
        draw_rule("monotone", s, kappa)
        dot.set_data([h1], [h2])
        worst = worst_slope_of_pair(h1, h2, s, lambda_min)
        sharp = pair_factor((h1, h2), (s, s), kappa, "gradient")
        paper = pair_factor((h1, h2), (s, s), kappa, "monotone")
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
        s=ipywidgets.IntSlider(min=1, max=3, value=1, description="parts s"),
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
    for number, (name, surface) in enumerate(surfaces.items()):
        axis, cut = axes[:, number]
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
        cut.plot(line, distance[middle], color=plotting.BLACK, linestyle=":", linewidth=1.5)
        if number:
            cut.plot(line, surface[middle], color=plotting.BLUE, linestyle="-")
        cut.set(xlabel="$x_1$", xticks=[-1, 0, 1], ylim=(-0.15, 0.7))
    axes[0, 0].set_ylabel("$x_2$")
    axes[1, 0].set_ylabel("cut at $x_2=0$")
    figure.colorbar(drawn, ax=axes[0], shrink=0.8, ticks=[0, 0.4, 0.8], label="value")
    plotting.show(
        figure,
        "Top: contour pictures of the distance and of four networks; bottom: cuts through the "
        "middle, the distance dotted, the networks solid. Only c = 2 shows the ring-shaped valley "
        "and the peak inside it; c = 1 has a low bump, the spectrally normalised network a flat "
        "floor, the pairs a shallow bowl.",
    )


RADIUS = "radius $\\varepsilon$\n(pixels in [0, 1])"


def one_design_a_panel(axes, radii, curves):
    """In each panel what survives, what is certified, and what survives of the first design."""
    (reference, _), *_ = curves.values()
    for axis, (name, (survives, proved)) in zip(axes, curves.items(), strict=True):
        axis.plot(
            radii,
            reference,
            color=plotting.BLACK,
            linestyle=":",
            linewidth=1.5,
            label="unconstrained, under attack",
        )
        if survives is not reference:
            axis.plot(
                radii,
                survives,
                color=plotting.BLUE,
                marker="o",
                linestyle="-",
                label="this design, under attack",
            )
        if proved is not None:
            axis.plot(
                radii,
                proved,
                color=plotting.ORANGE,
                marker="s",
                linestyle="--",
                markerfacecolor="white",
                label="this design, certified",
            )
        axis.set_title(spelled(name), fontsize=9, loc="center")


def spelled(name):
    return name.replace("nonex", "non-ex")


def legend_below(figure, axis):
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def five_designs(radii, curves):
    """Accuracy under attack and certified accuracy of each design, a panel each."""
    figure, axes = plt.subplots(1, 5, figsize=(9.6, 3.1), sharey=True)
    one_design_a_panel(axes, radii, curves)
    for axis in axes:
        axis.set(xlabel=RADIUS, ylim=(-0.02, 1.02), xticks=[0, 0.5, 1, 1.5])
    axes[0].set_ylabel("share of the images")
    legend_below(figure, axes[-1])
    plotting.show(
        figure,
        "Five panels over the radius (Euclidean, pixel values in [0, 1]). At radius 1 the solid "
        "curves of the three enforced designs lie clearly above the dotted one of the "
        "unconstrained network, at 0.25 they are close to it. Their dashed certificates fall to "
        "nearly nothing at radius 1; those of the two others fall at once.",
    )


def published_table(radii, curves, areas, margins):
    """Top: published accuracies for one data set and margin, a panel a design. Below: all areas.

    `areas` has a list for each design, its columns belong to `margins`: CIFAR-10, then CIFAR-100.
    """
    names = list(curves)
    figure, axes = plt.subplot_mosaic(
        [names, ["areas"] * len(names)],
        figsize=(9.6, 6.2),
        height_ratios=[1, 1.3],
    )
    panels = [axes[name] for name in names]
    one_design_a_panel(panels, radii, curves)
    for axis in panels:
        axis.set(xlabel=RADIUS, ylim=(0, 1), xticks=[0, 0.5, 1])
        axis.tick_params(labelleft=axis is panels[0])
    panels[0].set_ylabel("accuracy")
    below = axes["areas"]
    places = torch.arange(len(margins))
    shifts = (-0.2, -0.1, 0.0, 0.1, 0.2)  # side by side, not on top of each other
    for shift, marker, name in zip(shifts, plotting.MARKERS, areas, strict=False):
        below.plot(places + shift, areas[name], marker=marker, linestyle="", label=spelled(name))
    below.set(
        xticks=places,
        xticklabels=margins,
        xlabel="margin of the hinge loss (a difference of outputs)",
        ylabel="area under the curve",
        ylim=(0, 0.8),
    )
    below.axvline(2.5, color=plotting.BLACK, linewidth=1, linestyle=":")
    below.text(1, 0.74, "CIFAR-10", ha="center")
    below.text(4, 0.74, "CIFAR-100", ha="center")
    below.legend(loc="lower left", ncols=3, fontsize=8)
    legend_below(figure, panels[-1])
    plotting.show(
        figure,
        "Top, CIFAR-10 with margin 0.15, over the radius (Euclidean, pixel values in [0, 1]): the "
        "unconstrained network, dotted, starts highest and falls to below 0.1 at radius 1; the "
        "four others fall slowly and end between 0.37 and 0.51. Below: in all six columns the "
        "unconstrained network has the smallest area, the naive one the second smallest, once by "
        "a hair.",
    )


def small_run(rows):
    """Accuracy under attack and certified accuracy: a row of panels a margin, a panel a design."""
    figure, axes = plt.subplots(3, 5, figsize=(9.6, 6.6), sharex=True, sharey=True)
    for line, margin in zip(axes, (0.07, 0.15, 0.3), strict=True):
        shown = {}
        for row in rows:
            if row["margin"] == margin:
                shown[row["regime"]] = (row["attacked"], row["certified"])
        one_design_a_panel(line, rows[0]["radii"], shown)
        line[0].set(ylabel=f"margin {margin}", ylim=(0, 0.45), xlim=(-0.03, 0.85))
    for axis in axes[1:].flat:
        axis.set_title("", loc="center")
    for axis in axes[-1]:
        axis.set_xlabel(RADIUS)
    legend_below(figure, axes[0, -1])
    plotting.show(
        figure,
        "Shares of 300 photographs over the radius (Euclidean, pixel values in [0, 1]), one row of "
        "panels a margin. The dotted curve of the unconstrained network falls fastest; the solid "
        "curve of the flexible pairs lies highest above it. Dashed certificates lie close below "
        "the solid curve for the non-expansive network and farther below it for the pairs; larger "
        "margins lift them at large radii.",
    )
