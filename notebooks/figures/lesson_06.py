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
            hatch=hatch,
            label=label,
            edgecolor=plotting.BLACK,
            linewidth=0,
        )
        (edges[rule],) = left.plot(
            [],
            [],
            color=plotting.BLACK,
            linestyle=style,
            linewidth=1.2,
            gid=rule,
        )
    (dot,) = left.plot(
        [],
        [],
        color=plotting.ORANGE,
        marker="o",
        markersize=9,
        markeredgecolor=plotting.BLACK,
        linestyle="",
        label="your pair",
        gid="pair",
    )
    (whole,) = left.plot([], [], color=plotting.BLACK, linestyle=":", linewidth=1.5)
    whole.set_label("sharp rule for s = 1")
    left.set(xlabel="$h_1$ (down)", ylabel="$h_2$ (up)", title="pairs of steps")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=4)
    bars = right.barh(
        range(3),
        [1, 1, 1],
        color=[plotting.ORANGE, plotting.SKY, plotting.YELLOW],
        edgecolor=plotting.BLACK,
        gid="bar",
    )
    bars[2].set_hatch("///")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    numbers = [right.text(0.06, k, "", va="center", bbox=box) for k in range(3)]
    right.axvline(1, color=plotting.BLACK, linestyle=":")
    right.set(
        yticks=range(3),
        yticklabels=["worst slope\nfound", "sharp\nrule", "paper's\nrule"],
        title="a distance grows at most by this factor",
        xlabel="allowed: up to 1 (dotted)",
    )
    right.invert_yaxis()  # from top to bottom as one reads
    right.grid(False)
    h1_line = torch.linspace(0, 2, 121).tolist()  # with 4/3, where the sharp rule has its peak

    def draw_rule(rule, s, kappa):
        h1s = [s * h1 for h1 in h1_line]
        limits = [largest_expansion(h1, (s, s), kappa, rule) for h1 in h1s]
        regions[rule].set_xy([(0, 0), *zip(h1s, limits, strict=True), (2 * s, 0)])
        end = limits.index(0, 1) + 1  # not along the axis
        edges[rule].set_data(h1s[:end], limits[:end])

    def draw(h1, h2, s, lambda_min):
        kappa = 0.5 * lambda_min  # the library's name for a lambda, with a = 1/2
        draw_rule("gradient", s, kappa)
        draw_rule("monotone", s, kappa)
        whole.set_data(h1_line, [largest_expansion(h1, (1, 1), kappa) for h1 in h1_line])
        left.set(xlim=(0, 2 * s), ylim=(0, 2.1 * s))
        dot.set_data([h1], [h2])
        worst = worst_slope_of_pair(h1, h2, s, lambda_min)
        sharp = pair_factor((h1, h2), (s, s), kappa, "gradient")
        paper = pair_factor((h1, h2), (s, s), kappa, "monotone")
        for bar, number, value in zip(bars, numbers, (worst, sharp, paper), strict=True):
            bar.set_width(value)
            number.set_text(f"{value:.3f}" + (" > 1" if value > 1 + 1e-12 else ""))
        right.set_xlim(0, max(3, 1.05 * paper))
        return (
            f"For h1 = {h1:.2f} and h2 = {h2:.2f} the worst slope found is {worst:.3f}; "
            f"the bound of the sharp rule is {sharp:.3f}, that of the paper's {paper:.3f}. "
            f"{verdict_on_pair(worst, sharp, paper)}"
        )

    return widgets.LiveFigure(
        figure,
        draw,
        h1=ipywidgets.FloatSlider(min=0, max=2, step=0.01, value=0.5, description="h1, down"),
        h2=ipywidgets.FloatSlider(min=0, max=2, step=0.01, value=0.25, description="h2, up"),
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
            levels=torch.linspace(0, 0.8, 9),
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


RADIUS = "radius $\\varepsilon$ (pixels in [0, 1])"
LOOKS = {  # of the five designs, in all pictures
    "unconstrained": {
        "color": plotting.BLACK,
        "linestyle": ":",
        "marker": "x",
    },
    "naive": {
        "color": plotting.YELLOW,
        "linestyle": "-.",
        "marker": "s",
    },
    "nonexpansive": {
        "color": plotting.BLUE,
        "linestyle": "-",
        "marker": "o",
    },
    "prescribed": {
        "color": plotting.ORANGE,
        "linestyle": "--",
        "marker": "^",
    },
    "flexible": {
        "color": plotting.GREEN,
        "linestyle": "-",
        "marker": "D",
    },
}


def draw_designs(axis, places, curves):
    """A curve for each design, always in the same colour, line style and (hollow) marker."""
    for name, values in curves.items():
        label = name.replace("nonex", "non-ex")
        order = 2.5 if name == "prescribed" else 2  # dashes on top, so that both can be seen
        axis.plot(places, values, label=label, markerfacecolor="none", zorder=order, **LOOKS[name])


def legend_below(figure, axis):
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=5)


def error_mark(axis, x, y, images):
    """How far two standard errors of a share near 1/2 reach, as a bar in a corner."""
    axis.errorbar(x, y, 2 * (0.25 / images) ** 0.5, color=plotting.BLACK, capsize=4)
    axis.text(x, y, "  ±2 standard\n  errors, at most", va="center", fontsize=8)


def five_designs(radii, curves):
    """Accuracy under attack and, beside it, certified accuracy of the five designs."""
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.1), sharey=True)
    attacked = {name: shares[0] for name, shares in curves.items()}
    certified = {name: shares[1] for name, shares in curves.items()}
    draw_designs(axes[0], radii, attacked)
    draw_designs(axes[1], radii, certified)
    axes[0].set_title("under attack")
    axes[1].set_title("certified")
    for axis in axes:
        axis.set(
            xlabel=RADIUS,
            ylim=(-0.02, 1.02),
            xticks=radii,
        )
        axis.axvline(0.49, color=plotting.BLACK, linewidth=0.8)
    axes[0].text(0.51, 0.06, "trained for 0.49", fontsize=8)
    error_mark(axes[0], 0.05, 0.2, images=200)
    error_mark(axes[1], 1.05, 0.8, images=200)
    axes[0].set_ylabel("share of the images")
    legend_below(figure, axes[0])
    plotting.show(
        figure,
        "Left, under attack: at radius 0 the five curves begin close together; at 1 the "
        "non-expansive network is on top, then the two pairs together, then naive, then "
        "unconstrained. Right, certified: the three enforced designs fall to at most a tenth at "
        "radius 1, at 0.25 and 0.5 the non-expansive network is on top; the two others fall at "
        "once. A vertical line marks the radius 0.49, a bar two standard errors, 0.07, each way.",
    )


def published_table(radii, curves, areas, margins):
    """Left: published accuracies for one data set and margin. Then: all areas, by margin.

    `areas` has a list for each design, its columns belong to `margins`: CIFAR-10, then CIFAR-100.
    """
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 4.1), width_ratios=[1.4, 1, 1])
    draw_designs(axes[0], radii, curves)
    axes[0].set(
        xlabel=RADIUS,
        ylabel="accuracy",
        ylim=(0, 1),
        title="CIFAR-10, margin 0.15",
    )
    half = len(margins) // 2
    for axis, start, title in ((axes[1], 0, "CIFAR-10"), (axes[2], half, "CIFAR-100")):
        part = slice(start, start + half)
        draw_designs(axis, range(half), {name: values[part] for name, values in areas.items()})
        axis.set(
            xticks=range(half),
            xticklabels=margins[part],
            xlabel="margin (of outputs)",
            xlim=(-0.2, half - 0.8),
            ylim=(0.15, 0.72),
            title=title,
        )
    error_mark(axes[0], 0.07, 0.2, images=1024)
    error_mark(axes[1], 0.1, 0.25, images=1024)
    error_mark(axes[2], 0.1, 0.6, images=1024)
    axes[1].set_ylabel("area under the curve")
    legend_below(figure, axes[0])
    plotting.show(
        figure,
        "Left, over the radius (Euclidean): the unconstrained network starts highest and falls to "
        "below 0.1 at radius 1; the four others fall less and end between 0.37 and 0.51. Right, "
        "areas: the unconstrained network is last everywhere and the naive one next, once by a "
        "hair; for CIFAR-10 the three others lie close together. A bar in each panel shows "
        "two standard errors, 0.03, each way.",
    )


def small_run(rows):
    """Accuracy under attack (top) and certified accuracy (bottom), a column of panels a margin."""
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 6.2), sharex=True, sharey=True)
    for column, margin in zip(axes.T, (0.07, 0.15, 0.3), strict=True):
        attacked = {}
        certified = {}
        for row in rows:
            if row["margin"] == margin:
                attacked[row["regime"]] = row["attacked"]
                certified[row["regime"]] = row["certified"]
        draw_designs(column[0], rows[0]["radii"], attacked)
        draw_designs(column[1], rows[0]["radii"], certified)
        column[0].set_title(f"margin {margin}")
        column[1].set_xlabel(RADIUS)
    axes[0, 0].set(ylabel="survive both attacks\n(share of 300 photographs)", ylim=(-0.01, 0.45))
    axes[1, 0].set_ylabel("certified\n(share of 300 photographs)")
    legend_below(figure, axes[0, 0])
    plotting.show(
        figure,
        "Top, under attack: in all three panels the unconstrained network falls fastest, and from "
        "radius 0.14 to 0.5 the flexible pairs are on top. Bottom, certified: the unconstrained "
        "network falls at once; larger margins lift the curves of the three enforced designs, most "
        "of all that of the flexible pairs.",
    )
