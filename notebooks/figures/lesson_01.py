"""The figures of lesson 1: flows and stability."""

import math

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from chapter_utils.plotting import BLACK, BLUE, ORANGE, PINK, SKY
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
OPEN = {"linestyle": "", "markersize": 8, "markerfacecolor": "white"}  # where a path starts


def pair_of_paths(axis):
    """Two empty paths, each with a line for the open mark at its start; filled marks at the end."""
    pair = []
    for look, marker in ((ORANGE_LINE, "o"), (GREEN_DASHES, "s")):
        path = empty_line(axis, **look, marker=marker, markevery=[-1])
        start = empty_line(axis, color=look["color"], marker=marker, **OPEN)
        pair.append((path, start))
    return pair


def move(pair, states):
    """Put the two paths where `states` (K, 2 or more, 2) are."""
    for (path, start), points in zip(pair, states[:, :2].unbind(1), strict=True):
        path.set_data(*points.T)
        start.set_data(*points[:1].T)


def arrow(axis, path, place, colour):
    """The direction of travel at one place of a path (K, 2)."""
    tail, tip = path[place], path[place + 1]
    looks = {"arrowstyle": "-|>", "color": colour, "mutation_scale": 16}
    axis.annotate("", xy=tip, xytext=tail, arrowprops=looks)


def field_of_arrows(axis, places, scale):
    """Grey arrows at places (N, 2), to be turned later."""
    axis.set(
        xlim=(-3.3, 3.3),
        ylim=(-2.7, 2.7),
    )
    axis.grid(False)
    return axis.quiver(
        *places.T,
        *places.T,
        color=GREY,
        scale=scale,
        width=0.004,
        pivot="mid",
    )


def directions(field, places, gamma):
    """The arrows of a field, all of length 1."""
    velocity = field(places, gamma)
    return (velocity / velocity.norm(dim=1, keepdim=True).clamp_min(1e-9)).T


def names_of_axes(system):
    return ("angle $q$", "speed $p$") if "pendulum" in system else ("$x_1$", "$x_2$")


def mesh(x, y):
    """Coordinates of the points of a grid, as two matrices."""
    return torch.meshgrid(torch.linspace(*x), torch.linspace(*y), indexing="xy")


def four_systems(systems, gammas, times, trajectories, gap) -> None:
    """Small multiples: the marked pair of each system above, its distance below."""
    figure, rows = plt.subplots(2, 4, figsize=(9.6, 4.8), height_ratios=[1.1, 1])
    places = torch.stack(mesh((-3, 3, 11), (-2.4, 2.4, 9)), -1).reshape(-1, 2)
    for above, below, (system, gamma) in zip(*rows, gammas.items(), strict=True):
        field, pair = systems[system]
        field_of_arrows(above, places, 14).set_UVC(*directions(field, places, gamma))
        states = trajectories(system, gamma, torch.tensor(pair))
        move(pair_of_paths(above), states[:61])
        across, up = names_of_axes(system)
        above.set(
            xlabel=across,
            ylabel=up,
            aspect="equal",
            title=f"{system}, $\\gamma={gamma}$",
        )
        above.title.set_fontsize(10)
        below.axhline(0.4, **BLACK_DOTS, linewidth=1)
        below.semilogy(times, gap(states), **BLUE_LINE)
        below.set(
            xlim=(0, 20),
            ylim=(3e-3, 10),
            xlabel="time $t$",
        )
        below.minorticks_off()
    rows[1][0].set_ylabel("distance (dotted: start)")
    plotting.show(
        figure,
        "Four systems and their pairs up to time 6, from the open marks to the filled ones; "
        "below, the distance. That of the pendulums rises to three times 0.4 and falls below it; "
        "the valleys keep the pair apart for ever; the rotation keeps the distance at 0.4; "
        "under the shear it dips, rises above 0.4 and then goes to 0.",
    )


def phase_portrait(systems, times, trajectories, gap) -> widgets.LiveFigure:
    """Arrows and paths of a chosen system, a pair of neighbours among them, and their distance."""
    angle = torch.linspace(0, 2 * torch.pi, 6)[:-1]
    around = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    places = torch.stack(mesh((-3, 3, 17), (-2.4, 2.4, 15)), -1).reshape(-1, 2)
    figure = Figure(figsize=(8.8, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    arrows = field_of_arrows(left, places, 24)
    paths = empty_line(left, color=SKY, linestyle="-", linewidth=0.8)
    pair = pair_of_paths(left)
    left.set(
        xlabel="angle $q$",
        ylabel="speed $p$",
    )
    right.axhline(0.4, **BLACK_DOTS, linewidth=1)
    distance_line = empty_line(right, **BLUE_LINE)
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
        field, starts = systems[system]
        states = trajectories(system, gamma, torch.cat([torch.tensor(starts), around]))
        arrows.set_UVC(*directions(field, places, gamma))
        lift = torch.full((1, len(around), 2), torch.nan)  # the pen, between two trajectories
        others = torch.cat([states[:, 2:], lift])
        paths.set_data(*others.transpose(0, 1).reshape(-1, 2).T)
        move(pair, states)
        distance = gap(states)
        distance_line.set_data(times, distance)
        across, up = names_of_axes(system)
        left.set(
            xlabel=across,
            ylabel=up,
            title=f"{system}, $\\gamma={gamma:.1f}$",
        )
        return (
            f"{system.capitalize()}, gamma = {gamma:.1f}: "
            "the marked pair (open marks: start) is 0.40 apart at the start "
            f"and never more than {distance.max():.2f}; "
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
    """The difference of two states of the small network, its length, and the bounds by mu and L."""
    figure = Figure(figsize=(9.6, 3.7))
    left, whole, beginning = figure.subplots(1, 3, width_ratios=[1, 1.1, 0.9])
    turns = torch.linspace(0, 2 * torch.pi, 145)
    circle = torch.stack([turns.cos(), turns.sin()])
    left.plot(*circle, **BLACK_DOTS, linewidth=1)
    path = empty_line(left, **ORANGE_LINE, marker="o", markevery=[-1])
    start = empty_line(left, color=ORANGE, marker="o", **OPEN)
    plane(left, "difference $x-y$ (circle: start)", (-2, 2), (-2, 2))
    left.set(
        xlabel="first coordinate / start",
        ylabel="second coordinate / start",
    )
    whole.set(
        xlim=(0, 5),
        ylim=(1e-3, 1e2),
        yscale="log",
        title="distance / start",
    )
    beginning.set(
        xlim=(0, 0.5),
        ylim=(0.4, 2),
        title="the beginning",
    )
    gronwall = [empty_line(axis, **BLACK_DOTS) for axis in (whole, beginning)]
    sided = [empty_line(axis, **BLUE_DASHES) for axis in (whole, beginning)]
    measured = [empty_line(axis, **ORANGE_LINE, linewidth=2.5) for axis in (whole, beginning)]
    curves = [measured[0], sided[0], gronwall[0]]
    names = ["measured", r"$e^{\mu t}$ (Claim 1.3)", "$e^{Lt}$ (Claim 1.2)"]
    figure.legend(curves, names, loc="outside lower right", ncols=3)
    for axis in (whole, beginning):
        axis.set(xlabel="time $t$")

    def draw(gamma):
        mu, L = (round(value, 6) + 0.0 for value in constants(gamma))  # + 0.0: never "-0.00"
        states = trajectories(gamma)
        growth = gap(states) / gap(states)[0]
        difference = (states[:, 0] - states[:, 1]) / gap(states)[0]
        path.set_data(*difference.T)
        start.set_data(*difference[:1].T)
        for lines, values in (
            (measured, growth),
            (sided, (mu * times).exp()),
            (gronwall, (L * times).exp()),
        ):
            for line in lines:
                line.set_data(times, values)
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
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.9), width_ratios=[1, 1.3])
    inset = left.inset_axes([0.3, 0.3, 0.36, 0.4], xlim=(0.975, 1.007), ylim=(-0.03, 0.07))
    for axis in (left, inset):
        axis.plot(*trip.T, **ORANGE_LINE)
        axis.plot(1, 0, "o", color=BLACK, markersize=6)
    inset.plot(*trip[0], color=ORANGE, marker="s", **OPEN)
    inset.plot(*trip[-1], color=ORANGE, marker="s", markersize=8)
    inset.set(
        xticks=[],
        yticks=[],
        title="near $(1,0)$",
    )
    inset.title.set_fontsize(9)
    inset.spines[:].set_visible(True)
    for turn in (0.25, 0.5, 0.75):
        place = (trip[:, 1].atan2(trip[:, 0]) % (2 * torch.pi) > 2 * torch.pi * turn).int().argmax()
        arrow(left, trip, place, ORANGE)
    plane(left, "a long way home", (-1.3, 1.3), (-1.3, 1.3))
    left.indicate_inset_zoom(inset, edgecolor=GREY)
    right.plot(times, distance, **ORANGE_LINE, marker="s", markevery=[-1], clip_on=False)
    right.plot(0, distance[0], color=ORANGE, marker="s", **OPEN, clip_on=False)
    right.set(
        xlabel="time $t$",
        ylabel="distance",
        xlim=(0, 400),
        ylim=(0, 2.1),
        title="distance from the equilibrium",
    )
    plotting.show(
        figure,
        "The solution starts just above the equilibrium (open square; enlarged in the middle), "
        "travels once round the whole circle, against the clock, and comes back from below "
        "(filled square). Its distance rises from 0.05 to 2 and falls to almost 0.",
    )


def transient_growth(matrix_of, stretch, mu_of) -> widgets.LiveFigure:
    """The norm of exp(At) between its bounds, and the image of the unit circle at time t."""
    times = torch.linspace(0, 4, 401)
    turns = torch.linspace(0, 2 * torch.pi, 145)
    circle = torch.stack([turns.cos(), turns.sin()])
    figure = Figure(figsize=(8.8, 3.9))
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    left.semilogy(times, (-times).exp(), **BLACK_DOTS, zorder=4, label=r"$e^{\alpha t}$")
    norms = empty_line(left, **ORANGE_LINE, linewidth=2.5, label=r"$\|e^{At}\|$")
    bound = empty_line(left, **BLUE_DASHES, label=r"$e^{\mu t}$")
    now = dot(left, ORANGE)
    left.axhline(1, color=BLACK, linewidth=0.6)
    left.set(
        xlim=(0, 4),
        ylim=(0.015, 12),
        xlabel="time $t$",
        ylabel="length",
    )
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
    left.plot(*damped[0], color=ORANGE, marker="o", **OPEN)
    left.plot(*damped[-1], color=ORANGE, marker="o")
    arrow(left, free, 24, BLACK)
    arrow(left, damped, 24, ORANGE)
    left.set(
        xlabel="angle $q$",
        ylabel="speed $p$",
        title="trajectories on level curves of $V$",
    )
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
        "Both start at the open mark. Without friction (dotted) the pendulum goes round on one "
        "level curve of the energy. With friction it crosses them inwards and spirals to the "
        "centre; its energy falls by more than seven powers of ten in 60 time units, in steps that "
        "flatten whenever the pendulum turns round.",
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
        for path, marker in zip(paths[gamma].unbind(1), "os", strict=True):
            looks_of_path = {"color": colour, "marker": marker}
            axis.plot(*path.T, **looks_of_path, linestyle=style, markevery=[-1])
            axis.plot(*path[0], **looks_of_path, **OPEN)
            arrow(axis, path, 8, colour)
        axis.set(
            xlabel="$x_1$",
            title=f"{name}, $\\gamma={gamma}$",
            xticks=[-1, 0, 1],
        )
        axis.grid(False)
        right.semilogy(times, gap(paths[gamma]), color=colour, linestyle=style, label=name)
    planes[0].set_ylabel("$x_2$")
    right.plot(times, bound, color=GREY, linewidth=6, zorder=0, label="$0.02\\,e^{-mt}$")
    right.set(
        xlabel="time $t$",
        title="distance (logarithmic)",
        xlim=(0, 8),
        ylim=(2e-4, 100),
    )
    right.legend(loc="upper left")
    plotting.show(
        figure,
        "Two starts next to each other (open marks). On the ridge they run into two different "
        "valleys, and the distance grows a hundredfold. In the convex bowl they run to the bottom "
        "side by side, too close to be told apart, and their distance (dashed) falls along the "
        "bound, the grey band.",
    )


def two_whirls(times, paths, gap) -> None:
    """Two pairs of spirals until the first pair is farthest apart, and their distances."""
    figure, (*planes, right) = plt.subplots(1, 3, figsize=(9.4, 3.4))
    until = 128  # time 1.27, when the first pair is farthest apart
    looks = zip(planes, paths.items(), (ORANGE, BLUE), ("-", "--"), strict=True)
    for axis, (name, states), colour, style in looks:
        title = name.replace("|x|", "$|x|$")
        first, second = states[:until].unbind(1)
        axis.plot(*states[until - 1].T, color=PINK, linestyle="-", linewidth=3)
        axis.plot(*first.T, color=colour, linestyle=style, marker="o", markevery=[-1])
        axis.plot(*first[0], color=colour, marker="o", **OPEN)
        axis.plot(*second.T, **BLACK_DOTS, marker="s", markevery=[-1])
        axis.plot(*second[0], color=BLACK, marker="s", **OPEN)
        arrow(axis, second, 30, BLACK)
        axis.set(
            xlim=(-1.4, 1.4),
            ylim=(-1.4, 1.4),
            aspect="equal",
            xlabel="$x_1$",
            title=title,
        )
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
        "Two spirals up to time 1.27, against the clock from the open marks to the filled ones, "
        "with the distance of their ends as a thick line. When the outer one turns faster the ends "
        "lie far apart, and the distance rises before it falls; with a constant speed of rotation "
        "it falls all the time.",
    )
