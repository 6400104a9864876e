"""The figures of lesson 8."""

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from figures.common import image_row

COLOURS = (plotting.BLUE, plotting.ORANGE)  # first what keeps the structure, then its rival
STYLES = ("-", "--")


def epidemic(times, infected, rolled, drift):
    """The infected over time, true and by both networks; beside it how far their mass drifts."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.8))
    left.plot(times, infected, color=plotting.BLACK, linestyle=":", label="true")
    for name, colour, style in zip(rolled, COLOURS, STYLES, strict=True):
        seen = rolled[name][: len(times), 1]
        left.plot(times, seen, style, color=colour, label=name)
        right.semilogy(drift[name].clamp_min(1e-17), style, color=colour, label=name)
    left.set(
        xlabel="time $t$",
        ylabel="infected $i$",
        title="the first 60 steps",
        ylim=(-0.1, 0.5),
    )
    left.legend(loc="upper right")
    right.set(xlabel="step", ylim=(1e-17, None), title="$|s+i+r-1|$ (logarithmic)")
    plotting.show(
        figure,
        "Left: both networks rise and fall roughly like the true epidemic. Right: the mass of the "
        "unconstrained network rises and falls, and is off by many orders of magnitude more than "
        "that of the mass-preserving one, which only shows rounding errors.",
    )


def areas(paths, enclosed):
    """Live: what a number of steps of Euler's and the symplectic Euler method make of a disc.

    `paths` has the corners after 0, 1, 2, ... steps by method; enclosed(corners) is their area.
    """
    figure = Figure(figsize=(8.6, 3.6))
    axes = figure.subplots(1, 2)
    looks = ((plotting.ORANGE, "//////"), (plotting.BLUE, ""))
    patches = {}
    for name, axis, (colour, hatch) in zip(paths, axes, looks, strict=True):
        disc = paths[name][0]
        (patches[name],) = axis.fill(
            *disc.T.numpy(),
            facecolor=colour,
            alpha=0.45,
            edgecolor=colour,
            hatch=hatch,
            gid=name,
        )
        axis.plot(*disc.T, color=plotting.BLACK, linestyle=":", linewidth=1)
        axis.text(0.5, 1.5, "start", fontsize=9)
        axis.set(
            xlim=(-4.5, 4.5),
            ylim=(-3, 3),
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
        return factor

    def draw(steps):
        euler = draw_disc("Euler", steps)
        symplectic = draw_disc("symplectic Euler", steps)
        return (
            f"After {steps} steps of h = 0.2 the disc has {euler:.2f} times its area "
            f"under Euler's method and {symplectic:.2f} times under the symplectic Euler method."
        )

    last = len(paths["Euler"]) - 1
    slider = ipywidgets.IntSlider(min=0, max=last, value=10, description="steps")
    return widgets.LiveFigure(figure, draw, steps=slider)


def learned_pendulums(orbits, circle, energy):
    """The last states of two learned pendulums beside the true orbit, and their energies."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.8))
    for name, marker, colour, style in zip(orbits, ".x", COLOURS, STYLES, strict=True):
        path = orbits[name]
        left.plot(*path[-200:].T, marker, color=colour, markersize=4, label=name)
        right.plot(energy(path), style, color=colour, linewidth=1, label=name)
    left.plot(*circle.T, color=plotting.BLACK, linestyle=":", label="true orbit")
    left.set(
        aspect="equal",
        xlabel="position $q$",
        ylabel="momentum $p$",
        title="steps 1,801 to 2,000",
        xlim=(-2.2, 2.2),
        ylim=(-2.2, 2.2),
    )
    right.set(
        xlabel="step",
        ylabel="energy $H$",
        title="from (0.5, 0)",
        ylim=(0, None),
    )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    energies = energy(orbits["unconstrained"])
    low, high = (energies / energies[0]).aminmax()
    plotting.show(
        figure,
        "Left: after 1800 steps the symplectic network still swings on the true orbit, the "
        "unconstrained one elsewhere. Right: the energy of the symplectic network stays nearly "
        f"level; that of the unconstrained one ranges from {low:.1f} to {high:.1f} times "
        "its start.",
    )


def orders_of_layers(counts, errors):
    """Errors of Lie and Strang layers over their number, with dotted lines of slope -1 and -2."""
    figure, axis = plt.subplots(figsize=(5.6, 3.6))
    for name, style in zip(errors, ("o-", "s--"), strict=True):
        axis.loglog(counts, errors[name], style, label=name)
    for order, name in ((1, "Lie"), (2, "Strang")):
        guide = 0.7 * errors[name][-1] * (counts[-1] / torch.tensor(counts)) ** order
        axis.loglog(counts, guide, color=plotting.BLACK, linestyle=":", linewidth=1)
    axis.set(
        xlabel="number of layers $N$",
        ylabel="error at time 2",
        title="a gradient and a rotation (dotted: slopes $-1$ and $-2$)",
    )
    axis.set_xticks(counts, counts)
    axis.minorticks_off()
    axis.legend(loc="lower left")
    plotting.show(
        figure,
        "On logarithmic axes the error of the Lie layers approaches slope -1 in the number of "
        "layers, that of the symmetric Strang layers has slope -2.",
    )


def restored_digits(rows):
    """Four digits a row, by name: known pixels, two restorations, truth."""
    figure, axes = plt.subplots(4, 4, figsize=(5.4, 5.6))
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        image_row(row, images, ["", "", "", ""])
        row[0].set_title(name)
    plotting.show(
        figure,
        "Four digits: the known 30 percent of their pixels; the picture after 200 iterations with "
        "the averaged denoiser, grey and blurred, with some gaps half filled; with the "
        "unconstrained one, darker and with gaps; and the true digits.",
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
