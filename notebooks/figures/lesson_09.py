"""The figures of lesson 9: a map of the field."""

import math

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from chapter_utils.plotting import BLACK, BLUE, ORANGE, SKY
from figures.common import (
    BLACK_DASHES,
    BLUE_LINE,
    ORANGE_DASHES,
    dot,
    empty_line,
    plane,
)


def antisymmetric_layers(factor, longest_step) -> widgets.LiveFigure:
    """An antisymmetric layer repeated 200 times, and the longest step over the friction.

    `factor(gamma, h)` is the complex number like which a layer turns and scales the plane.
    """
    frictions = torch.linspace(0, 2, 101)
    limits = longest_step(frictions)
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    path = empty_line(left, **BLUE_LINE, linewidth=1)
    left.plot([1], [0], "o", color=BLACK)
    plane(left, "200 layers from (1, 0)", (-2.2, 2.2), (-2.2, 2.2))
    right.plot(frictions, limits, **BLACK_DASHES)
    right.fill_between(frictions, limits, color=SKY, alpha=0.25, linewidth=0)
    right.text(1.25, 0.08, "non-expansive", fontsize=9)
    now = dot(right, ORANGE)
    right.set(xlim=(0, 2), ylim=(0, 0.4), title="longest step")
    right.set(xlabel=r"friction $\gamma$", ylabel="step $h$")

    def draw(gamma, h):
        layer = factor(gamma, h)
        points = torch.tensor(layer) ** torch.arange(201)
        path.set_data(points.real, points.imag)
        now.set_data([gamma], [h])
        growth = abs(layer)
        verdict = "shrink" if growth < 1 else "grow"
        if abs(growth - 1) < 1e-12:
            verdict = "stay equal"
        return (
            f"With friction {gamma:.2f} and step {h:.3f} each layer multiplies lengths by "
            f"{growth:.4f}: they {verdict}. "
            f"The longest allowed step is {longest_step(gamma):.4f}."
        )

    return widgets.LiveFigure(
        figure,
        draw,
        gamma=ipywidgets.FloatSlider(
            min=0,
            max=2,
            step=0.05,
            value=0.5,
            description="friction",
        ),
        h=ipywidgets.FloatSlider(
            min=0.005,
            max=0.4,
            step=0.005,
            value=0.1,
            description="step h",
            readout_format=".3f",
        ),
    )


def orbits_and_energies(orbit_of_euler, orbit_of_verlet, radius) -> widgets.LiveFigure:
    """Orbits of Euler and Verlet layers, and their energies.

    An orbit is a function of h: points and relative energies. `radius(h)` is that of Verlet's step.
    """
    ticks = [-1, -0.5, 0, 0.5, 1]
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    path_euler = empty_line(left, **ORANGE_DASHES, linewidth=1)
    path_verlet = dot(left, BLUE, marker=".", size=4)
    left.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
    left.set(
        xlabel="$q$",
        ylabel="$p$",
        xticks=ticks,
        yticks=ticks,
    )
    left.set_title("orbit from (0.1, 0)")
    energy_euler = empty_line(right, **ORANGE_DASHES)
    energy_verlet = empty_line(right, **BLUE_LINE)
    right.set(xlim=(0, 200), ylim=(1e-4, 1e4), yscale="log")
    right.set(xlabel="layer", title="energy / energy at the start")
    right.minorticks_off()
    right.legend([energy_euler, energy_verlet], ["Euler", "Verlet"], loc="lower left", ncols=2)

    def draw(h):
        points, of_euler = orbit_of_euler(h)
        path_euler.set_data(*points.T)
        energy_euler.set_data(range(201), of_euler)
        points, of_verlet = orbit_of_verlet(h)
        path_verlet.set_data(*points.T)
        energy_verlet.set_data(range(201), of_verlet)
        return (
            f"At step {h:.2f} Verlet's energy lies between {of_verlet.min():.2f} and "
            f"{of_verlet.max():.2f} times its start during 200 layers; "
            f"Euler's reaches {of_euler.max():.3g} times. "
            f"Largest eigenvalue of Verlet's step at the origin: {radius(h):.2f} in modulus."
        )

    h = ipywidgets.FloatSlider(
        min=0.05,
        max=2.4,
        step=0.05,
        value=0.2,
        description="step h",
    )
    return widgets.LiveFigure(figure, draw, h=h)


def projected_spiral(rate_of_V, path) -> widgets.LiveFigure:
    """The spiral with and without projection, and V over time with its bound.

    `rate_of_V(alpha, projected)` and `path(rate, times)`, both written down by hand.
    """
    times = torch.linspace(0, 5, 101)
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    spiral = empty_line(left, **BLUE_LINE)
    left.plot([1], [0], "o", color=BLACK)
    plane(left, "path from (1, 0)", (-3, 3), (-3, 3))
    level = empty_line(right, **BLUE_LINE, label="$V(t)/V(0)$")
    limit = empty_line(right, **BLACK_DASHES, linewidth=1, label=r"bound $e^{-\alpha t}$")
    right.set(xlim=(0, 5), ylim=(1e-5, 1e5), yscale="log")
    right.set(xlabel="time $t$", title="Lyapunov function")
    right.minorticks_off()
    right.legend(loc="upper left")

    def draw(alpha, projected):
        rate = rate_of_V(alpha, projected)
        points = path(rate, times)
        V = points.square().sum(1)
        spiral.set_data(*points.T)
        level.set_data(times, V)
        limit.set_data(times, torch.exp(-alpha * times))
        acts = "is off"
        if projected:
            acts = "acts" if alpha > -1 else "removes nothing"
        kept = "kept" if rate <= -alpha else "broken"
        return (
            f"With alpha = {alpha:.2f} the projection {acts}: V(5)/V(0) = {V[-1]:.3g}. "
            f"The bound {math.exp(-5 * alpha):.3g} is {kept}."
        )

    return widgets.LiveFigure(
        figure,
        draw,
        alpha=ipywidgets.FloatSlider(
            min=-2,
            max=2,
            step=0.1,
            value=0.5,
            description="alpha",
        ),
        projected=ipywidgets.Checkbox(value=True, description="projection"),
    )


def growth_in_two_norms(growth, logarithmic_norms) -> widgets.LiveFigure:
    """How much a disturbance can grow, in two norms, for the coupling c; the logarithmic norms.

    Both functions of c return a value for the maximum norm and one for the Euclidean norm.
    """
    times = torch.linspace(0, 12, 61)
    couplings = torch.linspace(0, 2, 81)
    mu_inf, mu_2 = logarithmic_norms(couplings)
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    growth_inf = empty_line(left, **BLUE_LINE, label="maximum norm")
    growth_two = empty_line(left, **ORANGE_DASHES, label="Euclidean norm")
    left.axhline(1, color=BLACK, linewidth=0.8)
    left.set(xlim=(0, 12), ylim=(0, 2.2), xlabel="time $t$")
    left.set_title("largest growth of a disturbance")
    left.legend(loc="upper right")
    right.plot(couplings, mu_inf, **BLUE_LINE)
    right.plot(couplings, mu_2, **ORANGE_DASHES)
    right.axhline(0, color=BLACK, linewidth=0.8)
    right.text(1.52, 0.66, r"$\mu_\infty$", color=BLUE)
    right.text(1.6, 0.26, r"$\mu_2$", color=ORANGE)
    dot_inf = dot(right, BLUE, size=8)
    dot_two = dot(right, ORANGE, marker="s", size=8)
    right.set(xlim=(0, 2), ylim=(-0.2, 1.05), xlabel="coupling $c$")
    right.set_title("logarithmic norms")

    def draw(c):
        in_inf, in_two = growth(c, times)
        now_inf, now_two = (mu.item() for mu in logarithmic_norms(torch.tensor(c)))
        growth_inf.set_data(times, in_inf)
        growth_two.set_data(times, in_two)
        dot_inf.set_data([c], [now_inf])
        dot_two.set_data([c], [now_two])
        return (
            f"At coupling {c:.2f} both eigenvalues are negative; "
            f"mu_inf = {now_inf + 0.0:.3f}, mu_2 = {now_two:.3f}. "
            f"A disturbance grows at most to {in_inf.max():.2f} times its maximum norm "
            f"and {in_two.max():.2f} times its Euclidean norm."
        )

    c = ipywidgets.FloatSlider(
        min=0,
        max=2,
        step=0.05,
        value=0.95,
        description="coupling c",
    )
    return widgets.LiveFigure(figure, draw, c=c)


def two_fields(fields, paths, disturbed, features) -> None:
    """Streamlines of two trained fields, with the paths of disturbed features."""
    x, y = torch.meshgrid(torch.linspace(-3, 3, 25), torch.linspace(-2, 2, 17), indexing="xy")
    figure, axes = plt.subplots(1, 2, figsize=(8.8, 3.4), sharey=True)
    for axis, (name, f) in zip(axes, fields.items(), strict=True):
        with torch.no_grad():
            arrows = f(torch.stack([x.flatten(), y.flatten()], 1)).reshape(17, 25, 2)
        axis.streamplot(
            x.numpy(),
            y.numpy(),
            *arrows.permute(2, 0, 1).numpy(),
            color="#b0b0b0",
            linewidth=0.6,
            density=0.8,
        )
        axis.plot(*paths[name].permute(2, 0, 1), **BLUE_LINE, linewidth=1)
        axis.plot(*disturbed.reshape(-1, 2).T, "o", color=BLUE, markersize=3)
        axis.plot(*features.T, "*", color=ORANGE, markersize=12)
        axis.set(xlim=(-3, 3), ylim=(-2, 2), aspect="equal")
        axis.set(xlabel="$z_1$", title=name)
        axis.grid(False)
    axes[0].set_ylabel("$z_2$")
    plotting.show(
        figure,
        "Streamlines of two trained fields with the feature points as stars. "
        "Left, trained for equilibria only: disturbed features drift away from their star. "
        "Right, with the penalty: all of them return to it.",
    )


def states_and_potential(times, paths, potentials, bound, classes, centres) -> widgets.LiveFigure:
    """Where the states of new inputs are at time t, and the potential so far, of two networks."""
    figure = Figure(figsize=(8.4, 4.8))
    grid = figure.subplots(2, 2, width_ratios=[1.2, 1])
    clouds = []
    levels = []
    for (left, right), (name, V) in zip(grid, potentials.items(), strict=True):
        left.plot(
            *centres.T,
            "*",
            color=BLACK,
            markeredgecolor="white",
            markersize=12,
            zorder=5,
        )
        circles = dot(left, BLUE, size=4)
        triangles = dot(left, ORANGE, marker="^", size=4)
        clouds.append((circles, triangles))
        left.set(xlim=(-8, 8), ylim=(-4, 4), aspect="equal")
        left.set(xlabel=r"$\eta_1$", ylabel=r"$\eta_2$", title=name)
        right.semilogy(times, V.median(1).values, **BLUE_LINE, label="median of $V$")
        right.semilogy(times, bound, **BLACK_DASHES, label="bound")
        levels.append(right.axvline(0, color=ORANGE, linewidth=1))
        right.set(xlim=(0, 5), ylim=(1e-4, 1e2), xlabel="time $t$")
        right.minorticks_off()
    grid[0, 1].legend(loc="upper right")

    def draw(t):
        number = round(t * 20)
        for cloud, level, path in zip(clouds, levels, paths.values(), strict=True):
            for label in (0, 1):
                cloud[label].set_data(*path[number, classes == label].T)
            level.set_xdata([t, t])
        medians = [V[number].median().item() for V in potentials.values()]
        return (
            f"At t = {t:.2f} the median of V is {medians[0]:.3g} for LyaNet "
            f"and {medians[1]:.3g} for the network trained on t = 1 only."
        )

    t = ipywidgets.FloatSlider(
        min=0,
        max=5,
        step=0.05,
        value=1,
        description="time t",
    )
    return widgets.LiveFigure(figure, draw, t=t)


def rotating_pair(path, rate) -> widgets.LiveFigure:
    """Two solutions of the rotating field and their distance.

    `path(radius, s, times)` is a solution; `rate(s)` is mu on the disc of radius 1.2.
    """
    times = torch.linspace(0, 6, 301)
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    first = empty_line(left, **BLUE_LINE, label="from (1, 0)")
    second = empty_line(left, **ORANGE_DASHES, label="from (1.2, 0)")
    plane(left, "two solutions", (-1.3, 1.3), (-1.3, 1.6))
    left.legend(loc="upper right", ncols=2)
    gap_line = empty_line(right, **BLUE_LINE, label="distance")
    right.plot(
        times,
        0.2 * torch.exp(-0.5 * times),
        **BLACK_DASHES,
        linewidth=1,
        label=r"$0.2\,e^{-\alpha t}$",
    )
    right.set(xlim=(0, 6), ylim=(0, 0.7), xlabel="time $t$")
    right.set_title("distance of the two")
    right.legend(loc="upper right")

    def draw(s):
        inner = path(1.0, s, times)
        outer = path(1.2, s, times)
        gap = (inner - outer).norm(dim=1)
        first.set_data(*inner.T)
        second.set_data(*outer.T)
        gap_line.set_data(times, gap)
        some = "no two" if rate(s) <= 1e-12 else "some"
        return (
            f"At speed {s:.2f} the largest eigenvalue of sym Df on the disc of radius 1.2 "
            f"is {rate(s) + 0.0:.2f}: {some} points of the disc separate. "
            f"The distance of this pair, 0.20 at first, reaches {gap.max():.3f}."
        )

    s = ipywidgets.FloatSlider(
        min=0,
        max=6,
        step=0.1,
        value=5.0,
        description="speed s",
    )
    return widgets.LiveFigure(figure, draw, s=s)


def forward_backward(iterations, equilibrium, factor, limit) -> widgets.LiveFigure:
    """Forward-backward iterations for the step a, and their distance to the equilibrium."""
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    path = empty_line(left, **BLUE_LINE, marker=".", linewidth=0.8)
    left.plot(*equilibrium[:, None], "*", color=ORANGE, markersize=12)
    left.set(xlim=(0, 6), ylim=(0, 6), aspect="equal")
    left.set(xlabel="$z_1$", ylabel="$z_2$", title="iterations from (4, 3)")
    error = empty_line(right, **BLUE_LINE)
    right.set(xlim=(0, 100), ylim=(1e-3, 10), yscale="log")
    right.set(xlabel="iteration", title="distance to the equilibrium")
    right.minorticks_off()

    def draw(a):
        points = iterations(a)
        distance = (points - equilibrium).norm(dim=1)
        path.set_data(*points.T)
        error.set_data(range(101), distance)
        verdict = "shrinks" if factor(a) < 1 else "grows"
        if abs(factor(a) - 1) < 1e-12:
            verdict = "stays equal"
        return (
            f"At step a = {a:.4f} the distance is multiplied by {factor(a):.4f} in each iteration "
            f"with both units active, and {verdict}; the limit is {limit:.4f}. "
            f"After 100 iterations it is {distance[-1]:.3f}."
        )

    return widgets.LiveFigure(
        figure,
        draw,
        a=ipywidgets.FloatSlider(
            min=0.01,
            max=0.2,
            step=0.005,
            value=0.08,
            description="step a",
            readout_format=".3f",
        ),
    )
