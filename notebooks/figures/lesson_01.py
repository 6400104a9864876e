"""The figures of lesson 1: flows and stability."""

import math

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from chapter_utils.plotting import BLACK, BLUE, ORANGE, PINK
from figures.common import (
    BLACK_DOTS,
    BLUE_DASHES,
    BLUE_LINE,
    GREEN_DASHES,
    ORANGE_LINE,
    dot,
    empty_line,
    plane,
)

GREY = "#b0b0b0"
ENDS = [0, -1]  # markers at the first and the last point of a path


def pair_of_paths(axis):
    """Two empty paths with markers at their ends."""
    first = empty_line(axis, **ORANGE_LINE, marker="o", markevery=ENDS)
    second = empty_line(axis, **GREEN_DASHES, marker="s", markevery=ENDS)
    return first, second


def mesh(x, y):
    """Coordinates of the points of a grid, as two matrices."""
    return torch.meshgrid(torch.linspace(*x), torch.linspace(*y), indexing="xy")


def phase_portrait(systems, times, trajectories, gap) -> widgets.LiveFigure:
    """Arrows and paths of a chosen system, a pair of neighbours among them, and their distance."""
    angle = torch.linspace(0, 2 * torch.pi, 11)[:-1]
    around = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    places = torch.stack(mesh((-3, 3, 17), (-2.4, 2.4, 15)), -1).reshape(-1, 2)
    figure = Figure(figsize=(8.8, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    arrows = left.quiver(
        *places.T,
        *places.T,
        color=GREY,
        scale=24,
        width=0.004,
        pivot="mid",
    )
    paths = empty_line(left, **BLUE_LINE, linewidth=0.9)
    first, second = pair_of_paths(left)
    left.set(xlim=(-3.3, 3.3), ylim=(-2.7, 2.7))
    left.set(xlabel="first coordinate", ylabel="second coordinate")
    left.grid(False)
    right.axhline(0.4, **BLACK_DOTS, linewidth=1)
    distance_line = empty_line(right, **ORANGE_LINE)
    right.set(
        xlim=(0, 20),
        ylim=(1e-3, 30),
        xticks=range(0, 21, 5),
        yscale="log",
        xlabel="time $t$",
        title="distance of the pair (dotted: at the start)",
    )
    right.minorticks_off()  # dozens of ticks to draw at every move of a slider

    def draw(system, gamma):
        field, pair = systems[system]
        states = trajectories(system, gamma, torch.cat([torch.tensor(pair), around]))
        direction = field(places, gamma)
        direction = direction / direction.norm(dim=1, keepdim=True).clamp_min(1e-9)
        arrows.set_UVC(*direction.T)
        lift = torch.full((1, len(around), 2), torch.nan)  # the pen, between two trajectories
        others = torch.cat([states[:, 2:], lift])
        paths.set_data(*others.transpose(0, 1).reshape(-1, 2).T)
        first.set_data(*states[:, 0].T)
        second.set_data(*states[:, 1].T)
        distance = gap(states)
        distance_line.set_data(times, distance)
        left.set_title(f"{system}, $\\gamma={gamma:.1f}$")
        return (
            f"{system.capitalize()}, gamma = {gamma:.1f}: "
            "the marked pair, 0.40 apart at the start, "
            f"is never more than {distance.max():.2f} apart; "
            f"at time 20 it is {distance[-1]:.2f} apart."
        )

    return widgets.LiveFigure(
        figure,
        draw,
        system=ipywidgets.Dropdown(options=list(systems), description="system"),
        gamma=ipywidgets.FloatSlider(
            min=-0.2,
            max=2,
            step=0.1,
            value=0.3,
            description="gamma",
        ),
    )


def growth_and_bounds(times, trajectories, gap, constants) -> widgets.LiveFigure:
    """Two trajectories of the small network, their distance, and the bounds by mu and by L."""
    figure = Figure(figsize=(8.8, 3.8))
    left, right = figure.subplots(1, 2)
    first, second = pair_of_paths(left)
    plane(left, "two trajectories", (-3.6, 3.6), (-3.6, 3.6))
    measured = empty_line(right, **ORANGE_LINE, linewidth=2.5, label="measured")
    sided = empty_line(right, **BLUE_DASHES, label=r"$e^{\mu t}$ (Claim 1.3)")
    gronwall = empty_line(right, **BLACK_DOTS, label="$e^{Lt}$ (Claim 1.2)")
    right.set(
        xlim=(0, 5),
        ylim=(1e-4, 1e2),
        yscale="log",
        xlabel="time $t$",
        title="distance / distance at the start",
    )
    figure.legend(loc="outside lower right", ncols=3)

    def draw(gamma):
        mu, L = (round(value, 6) + 0.0 for value in constants(gamma))  # + 0.0: never "-0.00"
        states = trajectories(gamma)
        growth = gap(states) / gap(states)[0]
        first.set_data(*states[:, 0].T)
        second.set_data(*states[:, 1].T)
        measured.set_data(times, growth)
        sided.set_data(times, (mu * times).exp())
        gronwall.set_data(times, (L * times).exp())
        promise = "so distances may grow"
        if mu == 0:
            promise = "so no distance may grow"
        if mu < 0:
            promise = "so distances must shrink"
        return (
            f"gamma = {gamma:.2f}: mu = {mu:.2f}, {promise}; L = {L:.2f}. "
            f"The distance grows at most to {growth.max():.2f} times the start; "
            f"at time 5 it is {growth[-1]:.3f} times the start, "
            f"with bounds {math.exp(5 * mu):.3f} and {math.exp(5 * L):.0f}."
        )

    gamma = ipywidgets.FloatSlider(
        min=0,
        max=2,
        step=0.05,
        value=0.5,
        description="gamma",
    )
    return widgets.LiveFigure(figure, draw, gamma=gamma)


def round_trip(times, trip, distance) -> None:
    """A solution that travels once round a circle, and its distance from the equilibrium."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.6), width_ratios=[1, 1.5])
    left.plot(*trip.T, **ORANGE_LINE)
    left.plot(*trip[0], "s", color=ORANGE, markersize=8, label="start")
    left.plot(1, 0, "o", color=BLACK, markersize=6, label="equilibrium")
    plane(left, "a long way home", (-1.3, 1.4), (-1.3, 1.3))
    left.legend(loc="center")
    right.plot(times, distance, **ORANGE_LINE)
    right.set(xlabel="time $t$", ylabel="distance")
    right.set(xlim=(0, 400), ylim=(0, 2.1), title="distance from the equilibrium")
    plotting.show(
        figure,
        "The solution starts next to the equilibrium, travels once round the whole circle and "
        "comes back from the other side; its distance rises from 0.05 to 2 and falls to almost 0.",
    )


def transient_growth(matrix_of, stretch, mu_of) -> widgets.LiveFigure:
    """The norm of exp(At) between its bounds, and the image of the unit circle at time t."""
    times = torch.linspace(0, 4, 401)
    turns = torch.linspace(0, 2 * torch.pi, 145)
    circle = torch.stack([turns.cos(), turns.sin()])
    figure = Figure(figsize=(8.8, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    left.semilogy(times, (-times).exp(), **BLACK_DOTS, label=r"$e^{\alpha t}$")
    norms = empty_line(left, **ORANGE_LINE, linewidth=2.5, label=r"$\|e^{At}\|$")
    bound = empty_line(left, **BLUE_DASHES, label=r"$e^{\mu t}$")
    now = dot(left, ORANGE)
    left.axhline(1, color=BLACK, linewidth=0.6)
    left.set(xlim=(0, 4), ylim=(0.015, 12), xlabel="time $t$")
    figure.legend(loc="outside lower left", ncols=3)
    right.plot(*circle, **BLACK_DOTS, linewidth=1)
    image = empty_line(right, **ORANGE_LINE)
    longest = empty_line(right, **BLUE_DASHES, marker="o")
    plane(right, "unit circle (dotted) and its image", (-2.8, 2.8), (-2.3, 2.3))

    def draw(k, t):
        mu = round(mu_of(k), 6) + 0.0  # + 0.0: never "-0.00"
        A = matrix_of(k)
        all_norms = stretch(A, times)
        matrix = torch.linalg.matrix_exp(A * t)
        axes, lengths, _ = torch.linalg.svd(matrix)
        longest_axis = lengths[0] * axes[:, 0]
        norms.set_data(times, all_norms)
        bound.set_data(times, (mu * times).exp())
        now.set_data([t], [lengths[0].item()])
        image.set_data(*(matrix @ circle))
        longest.set_data(*torch.stack([-longest_axis, longest_axis], 1))
        left.set_title(f"$k={k:.1f}$, $\\mu={mu:.2f}$")
        verdict = "Lengths grow at first." if mu > 0 else "No length ever grows."
        return (
            f"k = {k:.1f}, mu = {mu:.2f}: at t = {t:.1f} a unit vector is at most "
            f"{lengths[0]:.2f} long, between the bounds {math.exp(-t):.2f} "
            f"and {math.exp(mu * t):.2f}. "
            f"Over all times the peak is {all_norms.max():.2f}. {verdict}"
        )

    return widgets.LiveFigure(
        figure,
        draw,
        k=ipywidgets.FloatSlider(
            min=0,
            max=10,
            step=0.1,
            value=5.0,
            description="k",
        ),
        t=ipywidgets.FloatSlider(
            min=0,
            max=4,
            step=0.1,
            value=0.7,
            description="time t",
        ),
    )


def energy_of_the_pendulum(energy, times, free, damped) -> None:
    """Trajectories with and without friction on level curves of the energy, and its fall."""
    q, p = mesh((-3.5, 3.5, 141), (-2.3, 2.3, 93))
    levels = energy(torch.stack([q, p], -1))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.7))
    heights = [0.1, 0.4, 0.9, 1.4, 1.8, 2.0]
    left.contour(q, p, levels, levels=heights, colors=GREY, linewidths=0.9)
    left.plot(*free[:108].T, **BLACK_DOTS, label=r"$\gamma=0$")
    left.plot(*damped.T, **ORANGE_LINE, label=r"$\gamma=0.3$")
    left.set(xlabel="angle $q$", ylabel="speed $p$", title="trajectories on level curves of $V$")
    left.grid(False)
    right.semilogy(times, energy(free), **BLACK_DOTS)
    right.semilogy(times, energy(damped), **ORANGE_LINE)
    right.set(
        xlabel="time $t$",
        title="energy $V$ (logarithmic)",
        xlim=(0, 60),
        ylim=(1e-8, 10),
    )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    plotting.show(
        figure,
        "Without friction the pendulum stays on one level curve of the energy for ever. "
        "With friction it crosses them inwards and spirals to the centre; "
        "its energy falls by more than seven powers of ten in 60 time units, "
        "in small steps that flatten whenever the pendulum turns round.",
    )


def valleys_and_bowl(times, paths, potential, gap, bound) -> None:
    """A pair that starts on the ridge between two valleys or in a bowl, and its distance.

    `paths` and `potential` by the parameter gamma: 0 for the valleys, 1.5 for the bowl.
    """
    figure, (*planes, right) = plt.subplots(
        1,
        3,
        figsize=(9.4, 3.4),
        width_ratios=[1, 1, 1.1],
    )
    x, y = mesh((-1.5, 1.5, 121), (-0.4, 0.8, 61))
    looks = ((0.0, ORANGE, "-", "two valleys"), (1.5, BLUE, "--", "convex bowl"))
    for axis, (gamma, colour, style, name) in zip(planes, looks, strict=True):
        height = potential(torch.stack([x, y], -1), gamma)
        axis.contour(
            x,
            y,
            height,
            levels=9,
            colors=GREY,
            linewidths=0.8,
            linestyles="-",
        )
        for path in paths[gamma].transpose(0, 1):
            axis.plot(
                *path.T,
                color=colour,
                linestyle=style,
                marker="o",
                markevery=[-1],
            )
        axis.set(xlabel="$x_1$", title=f"{name}, $\\gamma={gamma}$", xticks=[-1, 0, 1])
        axis.grid(False)
        right.semilogy(times, gap(paths[gamma]), color=colour, linestyle=style, label=name)
    planes[0].set_ylabel("$x_2$")
    right.plot(times, bound, **BLACK_DOTS, label="$e^{-mt}$ times 0.02")
    right.set(
        xlabel="time $t$",
        title="distance (logarithmic)",
        xlim=(0, 8),
        ylim=(2e-4, 100),
    )
    right.legend(loc="upper left")
    plotting.show(
        figure,
        "From two starts next to each other on the ridge the double-well flow runs into two "
        "different valleys: the distance grows a hundredfold. "
        "In the convex bowl the two paths lie on top of each other and run to the bottom together; "
        "their distance falls like exp(-t/2).",
    )


def two_whirls(times, paths, gap) -> None:
    """Two pairs of spirals until the first pair is farthest apart, and their distances."""
    figure, (*planes, right) = plt.subplots(1, 3, figsize=(9.4, 3.4))
    until = 128  # time 1.27, when the first pair is farthest apart
    looks = zip(planes, paths.items(), (ORANGE, BLUE), ("-", "--"), strict=True)
    for axis, (name, states), colour, style in looks:
        title = name.replace("|x|", "$|x|$")
        first, second = states[:until].unbind(1)
        axis.plot(
            *first.T,
            color=colour,
            linestyle=style,
            marker="o",
            markevery=ENDS,
        )
        axis.plot(*second.T, **BLACK_DOTS, marker="s", markevery=ENDS)
        axis.plot(*states[until - 1].T, color=PINK, linestyle="-", linewidth=3)
        axis.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
        axis.set(aspect="equal", xlabel="$x_1$", title=title)
        right.semilogy(times, gap(states), color=colour, linestyle=style, label=title)
    planes[0].set_ylabel("$x_2$")
    right.set(
        xlabel="time $t$",
        title="distance (logarithmic)",
        xlim=(0, 8),
        ylim=(1e-3, 10),
    )
    right.legend(loc="upper right")
    right.set_box_aspect(1)
    plotting.show(
        figure,
        "Two spirals up to time 1.27, with the distance of their ends as a thick line. "
        "When the outer one turns faster the ends lie far apart and the distance rises "
        "before it falls; with a constant speed of rotation the distance falls all the time.",
    )
