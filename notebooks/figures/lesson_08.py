"""The figures of lesson 8."""

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from figures.common import BLACK_DOTS, image_row

COLOURS = (plotting.BLUE, plotting.ORANGE)  # first what keeps the structure, then its rival
STYLES = ("-", "--")
TRAVEL = {"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.35"}  # an arrow, clockwise
UNKNOWN = plt.get_cmap("gray_r").with_extremes(bad=plotting.SKY)  # masked pixels are blue


def epidemic(times, infected, rolled):
    """By network: the infected at first, true and predicted; sum and smallest entry for long."""
    figure, axes = plt.subplots(2, 3, figsize=(9.2, 5), sharey="row")
    looks = zip(rolled, axes.T, (*COLOURS, plotting.GREEN), strict=True)
    for name, (top, bottom), colour in looks:
        path = rolled[name]
        predicted = path[: len(times), 1]
        top.plot(times, predicted, color=colour, label="network")
        top.plot(
            times[::3],
            infected[::3],
            "o",
            color=plotting.BLACK,
            mfc="none",
            label="true",
        )
        top.set_title(name)
        top.set_xlabel("time $t$")
        total = path.sum(1)
        bottom.plot(
            total,
            color=colour,
            linewidth=1,
            label="sum $s+i+r$",
        )
        lowest = path.amin(1)
        bottom.plot(lowest, **BLACK_DOTS, label="smallest entry")
        place = lowest.argmin().item()
        least = lowest[place].item()
        bottom.plot(place, least, "v", color=plotting.BLACK)
        bottom.set_title(f"least entry {least:.2f}", fontsize=9)
        bottom.set_xlabel("step")
    first = axes[0, 0]
    first.set_ylabel("infected $i$")
    first.set_ylim(-0.1, 0.4)
    first.legend(loc="upper right", fontsize=8)
    axes[1, 0].set_ylabel("sum, and smallest entry")
    axes[1, 2].legend(
        loc="upper right",
        fontsize=8,
        bbox_to_anchor=(1, 0.85),
    )
    free = rolled["unconstrained"]
    sums = free.sum(1)
    least = free.min()
    plotting.show(
        figure,
        "Above: the curves of all three networks follow the true wave of infections (circles) over "
        "60 steps. Below, over 1,000 steps: the sum of the mass-preserving and of the positive "
        "network is a level line at 1, that of the unconstrained one moves between "
        f"{sums.min():.2f} and {sums.max():.2f}, and its smallest entry falls to {least:.2f}.",
    )


def areas(paths, enclosed):
    """Live: what a number of steps of Euler's and the symplectic Euler method make of a disc.

    `paths` has the corners after 0, 1, 2, ... steps by method; enclosed(corners) is their area.
    """
    figure = Figure(figsize=(9.2, 3.4))
    axes = figure.subplots(1, 2)
    looks = ((plotting.ORANGE, "//////"), (plotting.BLUE, ""))
    patches = {}
    earlier = {}
    for name, axis, (colour, hatch) in zip(paths, axes, looks, strict=True):
        disc = paths[name][0]
        (patches[name],) = axis.fill(
            *disc.T.numpy(),
            facecolor=colour,
            edgecolor=colour,
            alpha=0.45,
            hatch=hatch,
            gid=name,
        )
        axis.plot(*disc.T, **BLACK_DOTS, linewidth=1)
        axis.text(
            -0.8,
            1.5,
            "start",
            fontsize=9,
            ha="right",
        )
        axis.annotate("", (2.5, 0.6), (1.3, 1.9), arrowprops=TRAVEL)
        earlier[name] = []
        for number in (10, 20, 30):
            corners = paths[name][number]
            (outline,) = axis.plot(
                *corners.T,
                "-",
                color=colour,
                linewidth=0.8,
            )
            label = axis.text(
                *corners.mean(0),
                number,
                fontsize=9,
                ha="center",
            )
            earlier[name].append((number, outline, label))
        axis.set(
            xlim=(-4, 4),
            ylim=(-2.4, 2.4),
            aspect="equal",
            xlabel="position $q$",
            ylabel="momentum $p$",
        )

    def draw_disc(name, steps):
        patch = patches[name]
        corners = paths[name][steps]
        factor = enclosed(corners) / enclosed(paths[name][0])
        patch.set_xy(corners.numpy())
        patch.axes.set_title(f"{name}: {factor:.2f} times the area")
        for number, *marks in earlier[name]:
            for mark in marks:
                mark.set_visible(number < steps)
        return factor

    def draw(steps):
        euler = draw_disc("Euler", steps)
        symplectic = draw_disc("symplectic Euler", steps)
        return (
            f"After {steps} steps of h = 0.2 the disc, which travels clockwise, has {euler:.2f} "
            f"times its area under Euler's method and {symplectic:.2f} times under the symplectic "
            "Euler method. Numbered outlines show it after 10, 20 and 30 steps."
        )

    last = len(paths["Euler"]) - 1
    slider = ipywidgets.IntSlider(min=0, max=last, value=10, description="steps")
    return widgets.LiveFigure(figure, draw, steps=slider)


def learned_pendulums(orbits, circle, energy):
    """The last states of two learned pendulums beside the true orbit, and their energies."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.8))
    for name, marker, colour, style in zip(orbits, "ox", COLOURS, STYLES, strict=True):
        path = orbits[name]
        left.plot(
            *path[-100:].T,
            marker,
            color=colour,
            mfc="none",
            markersize=5,
            label=name,
        )
        right.plot(
            energy(path),
            style,
            color=colour,
            linewidth=1,
            label=name,
        )
    left.plot(
        *circle.T,
        color=plotting.BLACK,
        linewidth=1,
        label="true orbit",
    )
    left.annotate("", (0.7, 0.4), (-0.35, 0.75), arrowprops=TRAVEL)
    left.set(
        aspect="equal",
        xlabel="position $q$",
        ylabel="momentum $p$",
        xlim=(-2.2, 2.2),
        ylim=(-2.2, 2.2),
        title="steps 1,901 to 2,000",
    )
    right.set_title("from (0.5, 0)")
    right.set_xlabel("step")
    right.set_ylabel("energy $H$")
    right.set_ylim(0, None)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    energies = energy(orbits["unconstrained"])
    low, high = (energies / energies[0]).aminmax()
    plotting.show(
        figure,
        "Left: after 1,900 steps the symplectic network still swings, clockwise, close to the true "
        "orbit (circles on the line), the unconstrained one elsewhere (crosses). Right: the energy "
        "of the symplectic network stays nearly level; that of the unconstrained one ranges from "
        f"{low:.1f} to {high:.1f} times its start.",
    )


def orders_of_layers(counts, errors):
    """Errors of Lie and Strang layers over their number, with dotted lines of slope -1 and -2."""
    figure, axis = plt.subplots(figsize=(5.6, 3.6))
    for name, style in zip(errors, ("o-", "s--"), strict=True):
        axis.loglog(counts, errors[name], style, label=name)
    for order, name in ((1, "Lie"), (2, "Strang")):
        guide = 0.7 * errors[name][-1] * (counts[-1] / torch.tensor(counts)) ** order
        axis.loglog(counts, guide, color=plotting.BLACK, linestyle=":", linewidth=1)
        axis.text(
            counts[2],
            0.62 * guide[2],
            f"slope $-{order}$",
            fontsize=9,
            ha="right",
        )
    axis.set(
        xlabel="number of layers $n$",
        ylabel="error at time 2",
        title="a gradient and a rotation",
    )
    axis.set_xticks(counts, counts)
    axis.minorticks_off()
    axis.legend(loc="upper right")
    plotting.show(
        figure,
        "On logarithmic axes the error of the Lie layers approaches slope -1 in the number of "
        "layers, that of the symmetric Strang layers has slope -2.",
    )


def restored_digits(known, mask, restored, missed, truth):
    """Known pixels (unknown ones coloured), two restorations with their errors, the truth."""
    figure, axes = plt.subplots(4, 4, figsize=(5.6, 6.4))
    top, *middle, bottom = axes
    unknown = (mask == 0).numpy()
    for axis, picture in zip(top, known, strict=True):
        pixels = picture[0].numpy()
        seen = np.ma.masked_where(unknown, pixels)
        axis.imshow(seen, vmin=0, vmax=1, cmap=UNKNOWN)
        axis.axis("off")
    top[0].set_title("known; blue: unknown", fontsize=9)
    mean = {}
    for row, name in zip(middle, restored, strict=True):
        errors = missed[name].tolist()
        titles = [f"error {error:.2f}" for error in errors]
        titles[0] = f"{name}\n{titles[0]}"
        image_row(row, restored[name], titles)
        mean[name] = f"{sum(errors) / 4:.2f}"
    image_row(bottom, truth, ["truth", "", "", ""])
    for axis in axes.flat:
        axis.title.set_horizontalalignment("left")
        axis.title.set_x(0)
    plotting.show(
        figure,
        "Four digits: the known 113 of 400 pixels, the others blue; the pictures after 200 "
        "iterations with the averaged denoiser, grey and blurred; with the unconstrained one, "
        "darker, sharper and with gaps; and the true digits. Mean errors at the unknown pixels: "
        f"averaged {mean['averaged']}, unconstrained {mean['unconstrained']}.",
    )


def plug_and_play(taus, results, alpha, residual_bound):
    """Live: residuals and last pictures of plug-and-play with step tau, for both denoisers.

    `results` has the pictures and the residuals by denoiser, one for each of `taus`; for
    tau < 2 alpha(tau) is how averaged the iteration is, residual_bound(tau) what that promises.
    """
    figure = Figure(figsize=(9.2, 3.4))
    left, *picture_axes = figure.subplots(1, 3, width_ratios=[1.7, 1, 1])
    lines = {}
    pictures = {}
    for name, axis, colour, style in zip(results, picture_axes, COLOURS, STYLES, strict=True):
        images, _ = results[name]
        (lines[name],) = left.semilogy([1], [1], style, color=colour, label=name, gid=name)
        pictures[name] = axis.imshow(images[0, 0].numpy(), vmin=0, vmax=1, cmap="gray_r")
        axis.set_title(name)
        axis.axis("off")
    (bound,) = left.semilogy(
        [1],
        [1],
        ":",
        color=plotting.BLACK,
        label="bound, averaged",
        gid="bound",
    )
    left.set(
        xlim=(0, 200),
        ylim=(1e-8, 1e3),
        xlabel="iteration $k$",
        ylabel=r"$\|x_{k+1}-x_k\|$",
    )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    iterations = torch.arange(1, 201)

    def draw(tau):
        position = taus.index(round(tau, 1))
        last = {}
        for name, (images, residuals) in results.items():
            curve = residuals[:, position]
            lines[name].set_data(iterations, curve.clamp_min(1e-8))
            pictures[name].set_data(images[position, 0].numpy())
            last[name] = curve[-1].item()
        side = "outside"
        promise = "nothing is guaranteed"
        bound.set_data([], [])
        if tau < 2 - 1e-9:
            side = "inside"
            promise = (
                f"convergence is guaranteed for the averaged denoiser, alpha = {alpha(tau):.4f}"
            )
            bound.set_data(iterations, residual_bound(tau))
        left.set_title(rf"$\tau$ = {tau:.1f}: {side}")
        return (
            f"At tau = {tau:.1f} {promise}. "
            f"After 200 iterations its picture moves by {last['averaged']:.1e} an iteration, "
            f"that of the unconstrained denoiser by {last['unconstrained']:.1e}."
        )

    slider = ipywidgets.FloatSlider(min=0.1, max=3, step=0.1, value=1.0, description="step tau")
    return widgets.LiveFigure(figure, draw, tau=slider)
