"""The figures of lesson 9: a map of the field."""

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from chapter_utils.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, SKY
from figures.common import (
    BLACK_DASHES,
    BLACK_DOTS,
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
    left.plot([1], [0], "o", color=BLACK, label="start")
    end = dot(left, BLUE, size=7, label="after 200 layers")
    end.set_markerfacecolor("white")
    plane(left, "200 layers, turning to the left", (-2.2, 2.2), (-2.2, 2.6))
    left.legend(loc="upper center", ncols=2)
    right.plot(frictions, limits, **BLACK_DASHES)
    right.fill_between(frictions, limits, color=SKY, alpha=0.25, linewidth=0)
    right.text(1.25, 0.08, "non-expansive", fontsize=9)
    now = dot(right, ORANGE, size=6)
    right.set(xlim=(0, 2), ylim=(0, 0.4), title="longest step")
    right.set(xlabel=r"friction $\gamma$", ylabel="step $h$")

    def draw(gamma, h):
        layer = factor(gamma, h)
        points = torch.tensor(layer) ** torch.arange(201)
        path.set_data(points.real, points.imag)
        end.set_data(points.real[-1:], points.imag[-1:])
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


def rotating_pair(path, rate) -> widgets.LiveFigure:
    """Two solutions of the rotating field and their distance.

    `path(radius, s, times)` is a solution; `rate(s)` is mu on the disc of radius 1.2.
    """
    times = torch.linspace(0, 6, 301)
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    first = empty_line(left, **BLUE_LINE)
    second = empty_line(left, **ORANGE_DASHES)
    plane(left, "two solutions until t = 6", (-1.3, 1.3), (-1.3, 1.6))
    ends = dot(left, BLACK, size=6)
    ends.set_markerfacecolor("white")
    left.plot([1, 1.2], [0, 0], "o", color=BLACK, markersize=5)
    left.legend([first, second], ["from (1, 0)", "from (1.2, 0)"], loc="upper right", ncols=2)
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
        ends.set_data(*torch.stack([inner[-1], outer[-1]]).T)
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


def whirl_pair(times, paths) -> None:
    """Two solutions (K, 2, 2) of the whirl; their distances to 0, and to each other."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4))
    gaps = (paths[:, 0] - paths[:, 1]).norm(dim=1)
    widest = gaps.argmax().item()
    names = ("from (1, 0)", "from (1.2, 0)")
    for path, name, style in zip(paths.unbind(1), names, (BLUE_LINE, ORANGE_DASHES), strict=True):
        left.plot(*path.T, **style, label=name)
        right.plot(times, path.norm(dim=1), **style, linewidth=1.2, label=f"to 0, {name}")
        start_and_end(left, path)
        arrow(left, path, 16, style["color"])
    left.plot(*paths[widest].T, **BLACK_DOTS, marker="s", markersize=4)
    right.plot(times, gaps, **BLACK_DOTS, linewidth=2.5, label="to each other")
    right.plot(times[widest], gaps[widest], "s", color=BLACK, markersize=5)
    plane(left, "squares: when farthest apart", (-1.5, 1.5), (-0.8, 1.6))
    left.legend(loc="upper left", fontsize=8)
    right.set(xlim=(0, 6), ylim=(0, 1.25), xlabel="time $t$", title="distances")
    right.legend(loc="upper right", fontsize=8)
    plotting.show(
        figure,
        "Left, two solutions spiral from filled to hollow discs near 0; a dotted line joins them "
        "when they are farthest apart. Right, their distances to 0 fall all the time. Their "
        f"distance to each other grows from {gaps[0]:.1f} to {gaps[widest]:.2f}, then falls.",
    )


def start_and_end(axis, points, size=5) -> None:
    """A path's start as a filled disc, its end as a hollow one."""
    above = {"color": BLACK, "markersize": size, "zorder": 6}
    axis.plot(*points[0], "o", **above)
    axis.plot(*points[-1], "o", markerfacecolor="white", **above)


def arrow(axis, points, number, colour) -> None:
    """An arrow of travel on a path, half way from the point with this number to the next."""
    here = points[number].tolist()
    there = points[number : number + 2].mean(0).tolist()
    head = {"arrowstyle": "-|>", "color": colour, "mutation_scale": 15}
    head |= {"shrinkA": 0, "shrinkB": 0}
    axis.annotate("", xy=there, xytext=here, arrowprops=head)


def orbits_and_energies(orbits) -> None:
    """Above the orbit of each method and step, below its energy, relative to the first."""
    figure, axes = plt.subplots(2, 3, figsize=(9, 4.8), height_ratios=[1.5, 1])
    for (above, below), (name, (points, energies)) in zip(axes.T, orbits.items(), strict=True):
        is_euler = name.startswith("Euler")
        style = ORANGE_DASHES if is_euler else BLUE_LINE
        near = name.endswith("0.2")  # from layer to layer; longer steps hop, and are not joined
        hops = {"linestyle": "", "marker": ".", "markersize": 3}
        above.plot(*points.T, **style | ({"linewidth": 0.8} if near else hops))
        start_and_end(above, points)
        if near:
            arrow(above, points, 150 if is_euler else 8, style["color"])
        above.set(xlabel="$q$", aspect="equal", title=name)
        above.set_adjustable("datalim")
        above.locator_params(nbins=4)
        below.axhline(1, color=BLACK, linewidth=0.8, zorder=1)
        below.plot(energies, **style, linewidth=1.2)
        below.plot([0], [1], "o", color=BLACK, markersize=5, clip_on=False, zorder=6)
        below.set(yscale="log", ylim=(3e-2, 2e3), xlabel="layer")
        below.minorticks_off()
    axes[0, 0].set_ylabel("$p$")
    axes[1, 0].set_ylabel("energy / start")
    plotting.show(
        figure,
        "Orbits of 200 layers from (0.1, 0), a filled disc, to a hollow one, and below their "
        "energies, with a line at the energy of the start. Each orbit has its own scale. Euler "
        "spirals outwards and its energy grows. Verlet at 0.2 stays on a circle and near its "
        "energy. At 2.1 the orbit hops from side to side, so its points are not joined: two loops "
        "beside the origin, and the energy rises to many times the start.",
    )


def disc_of_states(shapes) -> None:
    """The shapes (N, 2) that layers make of a disc of states, by the number of the layer."""
    figure, axes = plt.subplots(1, len(shapes), figsize=(9, 3.6), sharey=True)
    for axis, (layer, shape) in zip(axes, shapes.items(), strict=True):
        axis.fill(*shape.T, facecolor=SKY, edgecolor=BLUE, linewidth=1)
        axis.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal", xlabel="$q$")
        axis.set_title("the start" if layer == 0 else f"after {layer} layers")
    axes[0].set_ylabel("$p$")
    plotting.show(
        figure,
        "A disc of states, after 50 layers a bent strip, after 200 a thin thread around the "
        "origin.",
    )


def with_and_without_projection(times, along, V, side) -> None:
    """Paths of a field and of its projection over the level lines of V; V relative to its bound.

    `along` holds by name the paths (K, 12, 2) and V on them, divided by its bound, (K, 12).
    """
    grid = torch.linspace(-side, side, 61)
    x, y = torch.meshgrid(grid, grid, indexing="xy")
    levels = V(torch.stack([x.flatten(), y.flatten()], 1)).detach().reshape(61, 61)
    shown = levels.max() * (torch.arange(1, 9) / 9) ** 2  # nearly equal distances
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 3.5))
    styles = (ORANGE_DASHES, BLUE_LINE)
    for axis, (name, (paths, relative)), style in zip(axes, along.items(), styles, strict=False):
        axis.contour(x, y, levels, levels=shown, colors="#c8c8c8", linewidths=0.6)
        for path in paths.unbind(1)[::4]:
            axis.plot(*path.T, **style, linewidth=2)
            arrow(axis, path, len(path) // 2, style["color"])
            start_and_end(axis, path, size=5)
        plane(axis, f"the field {name}", (-side, side), (-side, side))
        axes[2].plot(times, relative, **style, linewidth=1)
    top = 2 * max(relative.max().item() for _, relative in along.values())
    axes[2].axhspan(1, top, color="#e8e8e8", zorder=0)
    axes[2].text(0.05, 0.92, "not allowed", fontsize=9, transform=axes[2].transAxes)
    axes[2].text(0.05, 0.05, "allowed", fontsize=9, transform=axes[2].transAxes)
    axes[2].set(yscale="log", ylim=(0.4, top), xlim=(0, times[-1].item()))
    axes[2].set(xlabel="time $t$", title=r"$V$ / bound")
    axes[2].minorticks_off()
    spread = max((V.amax(1) / V.amin(1)).max().item() for _, V in along.values())
    curves = "whose curves coincide" if spread < 1 + 1e-6 else "one curve each"
    plotting.show(
        figure,
        f"Paths from three points (filled) to their ends at t = {times[-1]:.0f} (hollow), over "
        "grey level lines of V. Left, the field as it is: they spiral outwards. Middle, "
        "projected: they spiral towards the origin. Right, from twelve points, "
        f"{curves}: V divided by its bound grows beyond 1 without the projection (dashed); with "
        "it (solid) it does not.",
    )


def two_fields(fields, paths, features, radius, which) -> None:
    """Streamlines of two trained fields, with the paths of features from circles of a radius."""
    x, y = torch.meshgrid(torch.linspace(-3, 3, 25), torch.linspace(-2, 2, 17), indexing="xy")
    figure, axes = plt.subplots(1, 2, figsize=(8.8, 3.4), sharey=True)
    for axis, (name, f) in zip(axes, fields.items(), strict=True):
        with torch.no_grad():
            arrows = f(torch.stack([x.flatten(), y.flatten()], 1)).reshape(17, 25, 2)
        velocity = arrows.permute(2, 0, 1).numpy()
        grey = {"color": "#b0b0b0", "linewidth": 0.6, "density": 0.8}
        axis.streamplot(x.numpy(), y.numpy(), *velocity, **grey)
        axis.plot(
            *features.T,
            "*",
            color=ORANGE,
            markerfacecolor="none",
            markersize=11,
            zorder=3,
        )
        for feature in features.tolist():
            axis.add_patch(plt.Circle(feature, radius, fill=False, color="black", linestyle="--"))
        axis.plot(*paths[name].permute(2, 0, 1), **BLUE_LINE, linewidth=1)
        axis.plot(*paths[name][0].T, "o", color=BLUE, markersize=3)
        axis.plot(
            *paths[name][-1].T,
            "o",
            color=BLUE,
            markerfacecolor="white",
            markersize=4,
            zorder=6,
        )
        axis.set(xlim=(-3, 3), ylim=(-2, 2), aspect="equal")
        axis.set_xlabel("$z_1$")
        axis.set_title(f"{name} ({which})", fontsize=10)
        axis.grid(False)
    axes[0].set_ylabel("$z_2$")
    plotting.show(
        figure,
        "Streamlines of two trained fields with the feature points as hollow stars, and the paths "
        "of features from filled discs on a dashed circle to hollow ones, for one seed. Left, "
        "trained for equilibria only: most leave, for this seed. Right, with the penalty: all "
        "return to their star, where the hollow discs lie on top of one another.",
    )


def states_and_potential(times, paths, potentials, bound, classes, centres) -> None:
    """Where the states of new inputs run, and the potential, of two networks."""
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 3.7))
    at_1, at_5 = 20, 100
    size = 0.6  # of the left picture, around the right centre
    for axis, name in zip(axes, paths, strict=False):
        axis.plot(
            *centres.T,
            "*",
            color="#808080",
            markerfacecolor="none",
            markersize=13,
            zorder=7,
        )
        for label, colour, mark in ((0, GREEN, "o"), (1, PINK, "^")):
            some = paths[name][:, classes == label][:, :12]
            axis.plot(*some.permute(2, 0, 1), color=colour, linestyle="-", linewidth=0.7)
            hollow = {"color": colour, "markerfacecolor": "none", "linestyle": ""}
            axis.plot(*some[at_5].T, marker=mark, markersize=8, **hollow, zorder=6)
            axis.plot(*some[at_1].T, mark, color=BLACK, markersize=3, zorder=5)
        axis.set(xlabel=r"$\eta_1$", ylabel=r"$\eta_2$")
    x, y = centres[1].tolist()
    axes[0].set(
        xlim=(x - size, x + size),
        ylim=(y - size, y + size),
        aspect="equal",
    )
    axes[0].set_title("LyaNet, near a centre", fontsize=10)
    axes[1].set(xlim=(-7.5, 7.5), ylim=(-7.5, 7.5), aspect="equal")
    axes[1].set_title("endpoint only", fontsize=10)
    window = plt.Rectangle(
        (x - size, y - size),
        2 * size,
        2 * size,
        fill=False,
        **BLACK_DOTS,
    )
    axes[1].add_patch(window)
    axes[1].text(0, 5.5, "dotted: window of the left picture", fontsize=8, ha="center")
    axes[0].text(x, 0.45, "black: t = 1,  hollow: t = 5", fontsize=8, ha="center")
    for (name, V), style in zip(potentials.items(), (BLUE_LINE, ORANGE_DASHES), strict=True):
        axes[2].semilogy(times, V.median(1).values, **style, label=name)
    axes[2].semilogy(times, bound, **BLACK_DOTS, label="bound of LyaNet")
    axes[2].set(xlim=(0, 5), ylim=(1e-3, 1e3), xlabel="time $t$", title="median of $V_y$")
    axes[2].minorticks_off()
    axes[2].legend(loc="upper right")
    plotting.show(
        figure,
        "States of new inputs on their way from 0, at t = 1 small and black, at t = 5 large and "
        "hollow; the two classes are discs and triangles, their centres hollow stars. The left "
        "picture shows one class near its centre, the middle one all. With LyaNet the states stay "
        "near the centres; trained for the endpoint only they run on. Right: the median of V falls "
        "and stays with LyaNet, above its bound in the end; without, it is small at t = 1 and then "
        "grows.",
    )


def forward_backward(runs, x, y, size, seen) -> None:
    """Two iterations in the plane, with the equilibrium as a star; `seen` ends the description."""
    figure, axes = plt.subplots(1, 2, figsize=size)
    for axis, (name, (points, equilibrium)) in zip(axes, runs.items(), strict=True):
        if len(points.unique(dim=0)) > 3:
            axis.plot(*points.T, **BLUE_LINE, marker=".", markersize=4, linewidth=0.8)
            arrow(axis, points, 4, BLUE)
        else:  # a cycle of three, in arcs: the straight way back would cross the star
            axis.plot(*points.T, "o", color=BLUE)
            for here, there in zip(points[:3].tolist(), points[1:4].tolist(), strict=True):
                bend = 0.25 if there == [0, 0] else -0.25
                arc = {
                    "arrowstyle": "-|>",
                    "color": BLUE,
                    "connectionstyle": f"arc3,rad={bend}",
                }
                axis.annotate("", xy=there, xytext=here, arrowprops=arc)
        axis.plot(*equilibrium, "*", color=ORANGE, markerfacecolor="none", markersize=20, zorder=5)
        start_and_end(axis, points)
        axis.set(xlim=x, ylim=y, aspect="equal", xlabel="$z_1$")
        axis.set_title(name, fontsize=9)
    axes[0].set_ylabel("$z_2$")
    plotting.show(
        figure,
        "Two runs of 100 iterations from a filled disc to a hollow one; the equilibrium is a "
        f"hollow star. {seen}",
    )


def map_of_rates(measured) -> None:
    """One dot a family: its mu, left or right of zero."""
    figure, axis = plt.subplots(figsize=(8, 3.2))
    for place, mu in enumerate(measured.values()):
        colour, mark = (ORANGE, "^") if mu > 0 else (BLUE, "o")
        axis.plot([0, mu], [place, place], color=colour, linestyle="-", linewidth=1)
        axis.plot([mu], [place], mark, color=colour, markersize=8)
        beside = {"xytext": (8, -3) if mu > 0 else (-8, -3), "textcoords": "offset points"}
        side = "left" if mu > 0 else "right"
        axis.annotate(f"{mu:.2f}", (mu, place), **beside, ha=side, fontsize=9)
    axis.axvline(0, color=BLACK, linewidth=0.8)
    axis.set_yticks(range(len(measured)), [*measured])
    axis.invert_yaxis()
    axis.set_xlim(min(measured.values()) - 0.5, max(measured.values()) + 0.5)
    axis.set(xlabel=r"$\mu$: largest eigenvalue of sym $Df$")
    some = sum(mu > 0 for mu in measured.values())
    plotting.show(
        figure,
        f"One number for each example. In {some} of {len(measured)} mu is positive "
        "(triangles): some pair separates at first. It is negative for the forward half of the "
        "iteration of the monotone equilibrium network, without the relu.",
    )
