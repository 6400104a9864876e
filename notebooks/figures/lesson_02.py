"""The figures of lesson 2: numerical methods."""

import math

import ipywidgets
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from chapter_utils.plotting import BLACK, BLUE, GREEN, ORANGE, PINK, SKY, YELLOW
from figures.common import (
    BLACK_DASHES,
    BLACK_DOTS,
    BLUE_LINE,
    dot,
    empty_line,
    plane,
)

# One method looks the same in all figures, and so do the two answers to "how long a step?".
EULER = {"color": ORANGE, "linestyle": "-"}
IMPLICIT_EULER = {"color": GREEN, "linestyle": "-."}
SYMPLECTIC_EULER = {"color": SKY, "linestyle": "--"}
RK4 = {"color": PINK, "linestyle": (0, (5, 1))}
LINEAR = {"color": YELLOW, "linestyle": "--"}
EDGES = (-6, 2, -4, 4)  # of the part of the complex plane that is shown
THICK = {"color": ORANGE, "markersize": 5, "linewidth": 2.5}
AXIS_HELD = "the part of the imaginary axis in the region"


def shaded(stability_function, method):
    """Where |R| <= 1 on [-6, 2] x [-4, 4], as an image."""
    real = torch.linspace(-6, 2, 161)
    upper = torch.linspace(0, 4, 81)  # the lower half is its mirror image
    z = torch.complex(*torch.meshgrid(real, upper, indexing="xy"))
    size = stability_function(method, z).abs()
    whole = torch.cat([size.flip(0)[:-1], size])[None, None]
    fine = F.interpolate(whole, scale_factor=2, mode="bilinear")[0, 0]
    return (fine <= 1 + 1e-9).double().numpy()


def region_on(axis, region, title):
    """A stability region, shaded, in the complex plane."""
    image = axis.imshow(
        region,
        extent=EDGES,
        origin="lower",
        cmap="Blues",
        vmin=0,
        vmax=2.5,
    )
    axis.axvline(0, color=BLACK, linewidth=0.8)
    axis.axhline(0, color=BLACK, linewidth=0.8)
    axis.set(xlim=EDGES[:2], ylim=EDGES[2:], aspect="equal")
    axis.set(xlabel="real part of $z$", title=title)
    axis.grid(False)
    return image


def regions(methods, stability_function, names):
    """A row of stability regions: the figure and its axes."""
    figure, axes = plt.subplots(1, len(names), figsize=(2.75 * len(names), 3.2), sharey=True)
    for axis, name in zip(axes, names, strict=True):
        region_on(axis, shaded(stability_function, methods[name]), name)
    axes[0].set_ylabel("imaginary part of $z$")
    return figure, axes


def three_regions(methods, stability_function) -> None:
    """The stability regions of three explicit methods."""
    names = ("euler", "heun", "rk4")
    figure, axes = regions(methods, stability_function, names)
    y = torch.linspace(-4, 4, 401)
    for axis, name in zip(axes, names, strict=True):
        held = y[stability_function(methods[name], 1j * y).abs() <= 1 + 1e-9]
        axis.plot(0 * held, held, "o-", **THICK, markevery=[0, -1], label=AXIS_HELD)
    figure.set_figheight(3.6)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center")
    plotting.show(
        figure,
        "Shaded: the stability regions of three explicit methods. That of euler is a disc left of "
        "0, those of heun and rk4 are larger. On the imaginary axis (thick) euler and heun hold 0 "
        "only, rk4 a piece from -2.83 to 2.83. None reaches far to the left.",
    )


def discs(methods, radius, stability_function) -> None:
    """The disc of the circle theorem in the stability region, for four methods."""
    figure, axes = regions(methods, stability_function, list(methods))
    for axis, (name, method) in zip(axes, methods.items(), strict=True):
        r = radius(method)
        disc = plt.Circle(
            (-r, 0),
            r,
            fill=False,
            linewidth=2,
            **BLACK_DASHES,
        )
        axis.add_patch(disc)
        axis.plot(-2 * r, 0, "o", color=BLACK, markersize=7)
        axis.text(-2 * r - 0.25, -0.6, f"$-2r={0 - 2 * r:.0f}$", fontsize=9, ha="right")
        axis.set_title(f"{name}: disc with $r={r:.0f}$", fontsize=10)
    plotting.show(
        figure,
        "Shaded: stability regions. Dashed: the disc of radius r that touches 0; the dot is -2r. "
        "For euler it is the region itself; for heun it reaches to the left end of the region; "
        "midpoint has the same region and no disc; in that of rk4 a larger one would fit.",
    )


def stability_region(methods, stability_function, systems, limits) -> widgets.LiveFigure:
    """The stability region with the ray h lambda, and the numerical solution next to the true one.

    `methods`: tableaus; `stability_function(method, z)`: R(z); `systems`: lambda of each system;
    `limits`: the longest stable step by method and system.
    """
    shades = {name: shaded(stability_function, method) for name, method in methods.items()}
    times = torch.linspace(0, 16, 321)
    figure = Figure(figsize=(8.6, 3.8))
    left, right = figure.subplots(1, 2)
    shade = region_on(left, shades["euler"], "")
    ray = empty_line(left, **BLACK_DOTS, label=r"$h\lambda$ for all $h$")
    edge = empty_line(
        left,
        color=BLACK,
        linestyle="",
        marker="|",
        markersize=24,
        markeredgewidth=2.5,
        label="limit",
    )
    place = dot(left, ORANGE, label=r"$h\lambda$ now")
    left.set(ylabel="imaginary part of $z$")
    left.legend(loc="lower left", markerscale=0.5)
    true = empty_line(right, **BLACK_DOTS, label="true")
    numerical = empty_line(
        right,
        color=BLACK,  # whatever the method
        marker="o",
        markersize=4,
        label="numerical",
    )
    right.set(
        xlim=(0, 16),
        ylim=(-2.6, 2.6),
        xlabel="time $t$",
        ylabel="real part of $x$",
    )
    right.legend(loc="lower right", ncols=2)

    def draw(method, system, h):
        rate = systems[system]
        limit = limits[method, system]
        R = stability_function(methods[method], h * rate)
        size = R.abs().item()
        states = R ** torch.arange(int(16 / h) + 1)
        reached = [limit] if limit < math.inf else []
        shade.set_data(shades[method])
        ray.set_data([0, 8 * rate.real], [0, 8 * rate.imag])
        edge.set_data([h * rate.real for h in reached], [h * rate.imag for h in reached])
        place.set_data([h * rate.real], [h * rate.imag])
        true.set_data(times, torch.exp(times * torch.tensor(rate)).real)
        numerical.set_data(h * torch.arange(len(states)), states.real)
        left.set_title(f"{method}: stable in the shaded region")
        right.set_title(f"{system}: factor of size {size:.3f} per step")
        fate = "shrinks" if size < 1 else "grows"
        if abs(size - 1) <= 1e-9:
            fate = "stays the same size"
        reach = f"the limit is h = {limit:.3f}" if reached else "there is no limit"
        return (
            f"{method}, {system}, h = {h:.2f}: the numerical solution {fate}, "
            f"each step multiplies it by {size:.3f}; {reach}."
        )

    return widgets.LiveFigure(
        figure,
        draw,
        method=ipywidgets.Dropdown(options=list(methods), description="method"),
        system=ipywidgets.Dropdown(options=list(systems), description="system"),
        h=ipywidgets.FloatSlider(
            min=0.05,
            max=4,
            step=0.05,
            value=0.5,
            description="step size h",
        ),
    )


def travel(axis, path, place, colour) -> None:
    """An arrowhead on a path (n, 2), in the direction of travel, on top of all lines."""
    ahead = path[place + 1] - path[place]
    ahead = ahead / ahead.norm()
    aside = torch.stack([-ahead[1], ahead[0]])
    corners = torch.stack([ahead, 0.7 * aside - ahead, -0.7 * aside - ahead, ahead])
    axis.plot(
        *path[place],
        marker=corners.tolist(),
        markersize=19,
        color=colour,
        markeredgecolor=BLACK,
        zorder=8,
    )


def true_circle(axis) -> None:
    """The unit circle, dotted, on top of what is there."""
    angle = torch.linspace(0, 2 * torch.pi, 121)
    axis.plot(
        angle.cos(),
        angle.sin(),
        **BLACK_DOTS,
        linewidth=1.2,
        zorder=5,
    )


def orbit(axis, path, arrow, look) -> None:
    """A path (n, 2) from an open to a filled circle, an arrowhead on it, and the true circle."""
    axis.plot(*path.T, linewidth=3, **look)
    true_circle(axis)
    ends = {"color": look["color"], "markersize": 8, "zorder": 6}
    axis.plot(*path[0], "o", **ends, markerfacecolor="white")
    axis.plot(*path[-1], "o", **ends)
    travel(axis, path, arrow, look["color"])


def around_a_circle(paths) -> None:
    """Paths of two methods that follow a rotation."""
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), sharey=True)
    for axis, (name, states), look in zip(axes, paths.items(), (EULER, RK4), strict=True):
        orbit(axis, torch.cat(states), 36, look)
        plane(axis, name, (-1.6, 1.6), (-1.6, 1.6))
    axes[1].set_ylabel("")
    plotting.show(
        figure,
        "70 steps of size 0.1, against the clock from the open to the filled circle, a little "
        "more than once around. Euler's path leaves the true circle (dotted) outwards, that of "
        "rk4 lies on it.",
    )


FLOOR = 1e-5  # less than this is drawn as none
BESIDE = {"xytext": (-4, 6), "textcoords": "offset points", "ha": "right", "fontsize": 9}


def three_methods(hL_grid, stretches, fine_grid, linear, limits, stable) -> None:
    """How much the worst pair grows over the step for heun, midpoint and rk4.

    `stable`: the longest stable step by method and system.
    """
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4), sharey=True)
    for axis, name in zip(axes, ("heun", "midpoint", "rk4"), strict=True):
        found = (stretches[name] - 1).clamp_min(FLOOR)
        decay = (linear[name] - 1).clamp_min(FLOOR)
        axis.semilogy(hL_grid, found, **BLUE_LINE, linewidth=4, label="worst pair found")
        axis.semilogy(fine_grid, decay, **LINEAR, label="one linear decay, largest $|R|$")
        axis.axvline(limits[name], **BLACK_DOTS, linewidth=2, label="$2r$")
        sets_in = stable[name, "decay"]
        axis.annotate(f"{sets_in:.3f}", (sets_in, FLOOR), **BESIDE)
        axis.set(xlim=(-0.15, 3), ylim=(0.5 * FLOOR, 4))
        axis.set(xlabel="step $hL$", title=f"{name}: $2r={limits[name]:.0f}$")
    ticks = [FLOOR, 1e-4, 1e-3, 1e-2, 0.1, 1]
    axes[0].set_yticks(ticks, ["none", "0.0001", "0.001", "0.01", "0.1", "1"])
    axes[0].minorticks_off()
    axes[0].set_ylabel("growth of a pair: stretch $-$ 1")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    plotting.show(
        figure,
        "Three panels over the step hL, each stage with its own potential: the growth of the worst "
        "pair found (wide, solid) and of a linear decay (dashed), on a logarithmic axis, and 2r "
        "(dotted). Numbers: where the decay begins to grow. For heun both lie at none until 2 "
        "and jump up together. For midpoint the solid curve climbs from the first step shown, the "
        "dashed one jumps up at 2. For rk4 the solid curve jumps up at 2, the dashed one at 2.785.",
    )


def lying_flat(J):
    """J with turned axes: the pair that it stretches most lies flat before, and points up after."""
    turned = torch.linalg.svd(J).Vh.T
    J = turned.T @ J @ turned
    if J[1, 0] < 0:
        J = J * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    return J


def worst_stretch(hL_grid, stretches, fine_grid, linear, limits, worst_step) -> widgets.LiveFigure:
    """What the worst step found does to all pairs one apart, and the worst stretch over hL.

    By method: `stretches` found, `linear` theory's on the fine grid, `limits` 2r; `worst_step` is
    a matrix.
    """
    angle = torch.linspace(0, 2 * torch.pi, 121)
    circle = torch.stack([angle.cos(), angle.sin()]) / 2  # opposite points are one apart
    figure = Figure(figsize=(8.6, 3.8))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    left.plot(*circle, **BLACK_DOTS, linewidth=1, label="before")
    image = empty_line(left, **BLUE_LINE, label="after")
    before = empty_line(left, color=BLACK, linestyle="", marker="o", markerfacecolor="white")
    after = empty_line(
        left,
        color=ORANGE,
        linestyle="",
        marker="o",
        markersize=8,
        label="worst pair",
    )
    plane(left, "pairs one apart (open: the worst)", (-1.0, 1.0), (-0.85, 1.15))
    left.legend(
        loc="upper center",
        ncols=3,
        fontsize=8,
        handlelength=1.5,
        columnspacing=1,
    )
    curve = empty_line(right, **BLUE_LINE, label="worst stretch found")
    linear_curve = empty_line(
        right,
        **LINEAR,
        label="one linear decay, largest $|R|$",
    )
    threshold = right.axvline(2, **BLACK_DOTS, linewidth=2)
    threshold_text = right.text(2, 1.9, "", fontsize=9)
    now = dot(right, ORANGE)
    right.set(
        xlim=(0, 5),
        ylim=(0.9, 2.0),
        xlabel="$hL$",
        title="largest stretch of a pair",
    )
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=2)

    def draw(method, hL):
        k = round(10 * hL) - 1
        stretch = stretches[method]
        J = lying_flat(worst_step(method, k))
        flat = torch.tensor([1.0, 0.0])
        moved = J[:, 0]
        image.set_data(*(J @ circle))
        before.set_data(*torch.stack([-flat / 2, flat / 2]).T)
        after.set_data(*torch.stack([-moved / 2, moved / 2]).T)
        curve.set_data(hL_grid, stretch)
        linear_curve.set_data(fine_grid, linear[method])
        now.set_data([hL], [stretch[k].clamp_max(1.98)])
        limit = limits[method]
        shown = min(limit, 9)
        threshold.set_xdata([shown, shown])
        threshold_text.set_x(shown + 0.08)
        threshold_text.set_text(f"$2r={limit:.2f}$" if limit < math.inf else "")
        right.set_title(f"{method}: largest stretch of a pair")
        promise = "infinite, every step is safe" if limit == math.inf else f"{limit:.3f}"
        verdict = "no pair was found to grow"
        if stretch[k] > 1 + 1e-7:
            growth = stretch[k] - 1
            size = f"{stretch[k]:.3f}" if growth > 1e-3 else f"1 + {growth:.1e}"
            verdict = f"the worst pair found grows to {size}"
        return (
            f"{method}, hL = {hL:.1f}, 2r is {promise}: {verdict} times its length "
            f"(linear theory says {linear[method][round(100 * hL)]:.3f})."
        )

    methods = list(stretches)
    return widgets.LiveFigure(
        figure,
        draw,
        method=ipywidgets.Dropdown(options=methods, value="rk4", description="method"),
        hL=ipywidgets.FloatSlider(
            min=0.1,
            max=5,
            step=0.1,
            value=2.5,
            description="step hL",
        ),
    )


def where_ramps_act(rows, start, middle) -> None:
    """Half a midpoint step from one ramp to the other."""
    figure, axis = plt.subplots(figsize=(4.6, 4.2))
    grid = torch.linspace(-13, 13, 3)
    w, u = (torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1) @ rows.T).unbind(-1)
    axis.contourf(grid, grid, w, levels=[0, 100], colors=[SKY], alpha=0.35)
    axis.contourf(
        grid,
        grid,
        u,
        levels=[0, 100],
        colors=[YELLOW],
        alpha=0.35,
        hatches=["//"],
    )
    axis.plot(*start, "o", color=BLACK, markersize=7)
    axis.text(start[0] - 5.2, start[1] + 0.8, "start $x$", fontsize=10)
    axis.plot(*middle, "s", color=BLACK, markersize=7)
    axis.text(middle[0] + 0.9, middle[1] - 1.6, "half-way $X$", fontsize=10)
    for x, y, name in ((-11.5, 10, "only $w$"), (4, 8, "both"), (4, -12, "only $u$")):
        axis.text(x, y, name, fontsize=11)
    axis.text(-11.5, -10, "neither", fontsize=11)
    axis.text(-12.8, 2.6, "edge $w\\cdot x=0$", rotation=-30, fontsize=9)
    axis.text(-1.4, -12.5, "edge $u\\cdot x=0$", rotation=90, fontsize=9)
    arrow = {
        "arrowstyle": "->",
        "linewidth": 1.5,
        "shrinkA": 5,
        "shrinkB": 5,
    }
    axis.annotate("", middle.tolist(), start.tolist(), arrowprops=arrow)
    thick = {"arrowstyle": "-|>", "linewidth": 3, "color": BLUE}
    for name, row, foot in (("$w$", rows[0], (8.66, -5.0)), ("$u$", rows[1], (0.0, 11.0))):
        tip = torch.tensor(foot) + 4 * row
        axis.annotate("", tip.tolist(), foot, arrowprops={**thick, "shrinkA": 0, "shrinkB": 0})
        axis.text(tip[0] + 0.4, tip[1] + 0.2, name, color=BLUE, fontsize=12)
    plane(axis, "where the ramps act, $hL=1$", (-13, 13), (-13, 13))
    plotting.show(
        figure,
        "The plane, cut by the two edges into four parts: only the ramp w acts (upper left), both "
        "(upper right), only u (lower right), neither (lower left). Thick arrows on the edges show "
        "the directions w and u, up the ramps. A thin arrow leads from the start in the first part "
        "to the point half-way in the third.",
    )


def midpoint_on_two_ramps(jacobian, hL, excess, proved) -> None:
    """What a midpoint step does to short pairs; how much more than 1 it stretches."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.9))
    angle = torch.linspace(0, 2 * torch.pi, 121)
    circle = torch.stack([angle.cos(), angle.sin()]) / 2  # opposite points are one apart
    upright = torch.tensor([[0.0, 0.0], [-0.5, 0.5]])
    moved = jacobian @ upright
    left.plot(*circle, **BLACK_DOTS, linewidth=1.2, label="before")
    left.plot(*(jacobian @ circle), **BLUE_LINE, label="after")
    left.plot(*upright, "o-", color=BLACK, linewidth=1, markerfacecolor="white")
    left.plot(*moved, "o-", color=ORANGE, markersize=8)
    left.text(-0.32, 0.58, "length 1", fontsize=9)
    length = (moved[:, 1] - moved[:, 0]).norm()
    left.text(0.2, 0.58, f"length {length:.3f}", color=ORANGE, fontsize=9)
    left.legend(loc="lower right")
    plane(left, "an upright pair, and all others, $hL=2$", (-0.8, 0.8), (-0.75, 0.8))
    left.set(xlabel="difference in $x_1$", ylabel="difference in $x_2$")
    right.loglog(hL, excess, **BLUE_LINE, label="measured")
    right.loglog(hL, 0.006 * hL**3, **BLACK_DOTS, label="a guide, $h^3$")
    right.loglog(hL, proved, **BLACK_DASHES, label="proved, falls like $h^4$")
    right.legend(loc="upper left")
    right.axvline(2, **BLACK_DOTS, linewidth=1)
    right.text(2.15, 1.5e-5, "linear\nlimit", ha="left", fontsize=9)
    right.set(xlabel="step $hL$", ylabel="growth: stretch $-$ 1")
    right.set_title("midpoint: how much more than 1")
    plotting.show(
        figure,
        "Left: the step turns the circle of all pairs one apart (dotted) into a slim, tilted "
        "ellipse (solid). The upright pair (open circles) keeps its height, but leans to the right "
        "afterwards (filled circles) and is longer. "
        "Right: the stretch exceeds 1 at all steps shown. For small steps the growth (solid) runs "
        "parallel to the third power of h (dotted), above the proved curve (dashed), which falls "
        "like the fourth.",
    )


def implicit_regions(methods, stability_function) -> None:
    """Two regions that hold the left half-plane."""
    figure, _ = regions(methods, stability_function, ("implicit_euler", "trapezoidal"))
    plotting.show(
        figure,
        "The stability regions of implicit_euler, all but a disc on the right, and of trapezoidal, "
        "exactly the left half.",
    )


def implicit_on_a_ramp(line, ends) -> None:
    """Where implicit steps lead on one ramp."""
    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    looks = ({"color": ORANGE, "linestyle": "-"}, {"color": BLACK, "linestyle": "--"})
    for (name, end), look in zip(ends.items(), (*looks, IMPLICIT_EULER), strict=True):
        axis.plot(line, end, **look, linewidth=2.5)
        axis.text(2.06, end[-1], name, color=look["color"], va="center")
    for slope in (1, -1):
        axis.plot(line, slope * line, **BLACK_DOTS, linewidth=1.2)
        axis.text(2.06, 2 * slope, f"slope {slope}", va="center", fontsize=9)
    axis.set(xlim=(-2, 2), ylim=(-3.3, 2.2), xlabel="before, $x_0$", ylabel="after, $x_1$")
    axis.set_title("one step on one ramp, $hL=5$")
    plotting.show(
        figure,
        "Where a step on one ramp leads. Left of 0 nothing moves. Right of 0 the line of "
        "trapezoidal (solid) falls more steeply than slope -1 (dotted), that of implicit_midpoint "
        "(dashed) less, and that of implicit_euler (dash-dotted) rises gently.",
    )


def three_orbits(orbits, turn, a) -> None:
    """Orbits of three Euler methods around the oscillator.

    `turn`: once around with symplectic Euler and h omega = a, from (1, 0).
    """
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5), sharey=True)
    all_looks = (EULER, IMPLICIT_EULER, SYMPLECTIC_EULER)
    for axis, (name, states), look in zip(axes, orbits.items(), all_looks, strict=True):
        if look is SYMPLECTIC_EULER:
            angle = torch.linspace(0, 2 * torch.pi, 121)
            long, short = angle.cos() / (2 - a) ** 0.5, angle.sin() / (2 + a) ** 0.5
            true_circle(axis)
            ellipse = torch.stack([long - short, long + short], -1).flip(0)
            axis.plot(*ellipse.T, linewidth=3, color=look["color"])
            travel(axis, ellipse, 46, look["color"])
            axis.plot(*turn[1:-1].T, "o", color=BLACK, markersize=4, zorder=7)
            axis.plot(*turn[0], "o", color=BLACK, markersize=8, zorder=7, markerfacecolor="white")
            axis.plot(*turn[-1], "o", color=BLACK, markersize=8, zorder=7)
        else:
            orbit(axis, states[:101], 26, look)
        steps = "100 steps, $h\\omega=0.1$"
        if look is SYMPLECTIC_EULER:
            steps = f"7 steps, $h\\omega={a}$"
        plane(axis, f"{name}: {steps}", (-1.8, 1.8), (-1.8, 1.8))
        axis.set_title(axis.get_title(loc="left"), fontsize=9, loc="left")
        axis.set(xlabel="position $q$", ylabel="")
    axes[0].set_ylabel("momentum $p$")
    plotting.show(
        figure,
        "Three orbits, clockwise from the open to the filled circle. Explicit Euler spirals out of "
        "the true circle (dotted) in 100 steps, implicit Euler spirals in. Seven longer steps "
        "of symplectic Euler (dots) lie on a flattened, tilted ellipse (solid): outside the circle "
        "along one diagonal, inside along the other.",
    )


def three_energies(energies, lower, upper) -> None:
    """Energies of three Euler methods, and that of the symplectic one between its bounds."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.2))
    looks = (EULER, IMPLICIT_EULER, SYMPLECTIC_EULER)
    places = ((430, 300), (400, 8e-4), (990, 1.2))
    for (name, energy), look, place in zip(energies.items(), looks, places, strict=True):
        left.semilogy(energy, **look)
        left.text(*place, name, ha="right", fontsize=9)
    left.set(xlabel="step $n$", ylabel="energy $H$", title="energies of all three")
    right.plot(energies["symplectic Euler"][:201], **SYMPLECTIC_EULER)
    for bound, side, shift in ((lower, "top", -0.001), (upper, "bottom", 0.001)):
        right.axhline(bound, **BLACK_DASHES, linewidth=1.5)
        right.text(200, bound + shift, f"bound {bound:.3f}", va=side, ha="right", fontsize=9)
    right.set(xlabel="step $n$", ylabel="energy $H$", ylim=(0.465, 0.537))
    right.set_title("symplectic Euler alone, the first 200 steps")
    plotting.show(
        figure,
        "Left, on a logarithmic axis: over 1,000 steps the energy of explicit Euler climbs by a "
        "factor of 20,959, that of implicit Euler falls by as much, that of symplectic Euler stays "
        "level. Right, on a linear axis: it swings between the bounds 0.476 and 0.526 (dashed), "
        "and comes back to them again and again.",
    )


def errors_of_splitting(counts, lie, strang) -> None:
    """Errors of Lie and of Strang splitting over the number of steps."""
    numbers = torch.tensor(counts)
    figure, axis = plt.subplots(figsize=(5.6, 3.6))
    axis.loglog(
        counts,
        lie,
        marker="o",
        label="Lie (symplectic Euler)",
        **SYMPLECTIC_EULER,
    )
    axis.loglog(counts, strang, "s-", color=BLACK, label="Strang (Verlet)")
    axis.loglog(counts, 0.9 / numbers, **BLACK_DOTS, linewidth=1)
    axis.loglog(counts, 0.28 / numbers**2, **BLACK_DOTS, linewidth=1)
    axis.text(44, 0.025, "like $1/N$", fontsize=9)
    axis.text(44, 2e-4, "like $1/N^2$", fontsize=9)
    axis.set(xlabel="number of steps $N$", ylabel="error at time 1")
    axis.set_title("splitting a rotation")
    axis.set_xticks(counts, counts)
    axis.minorticks_off()
    axis.legend(loc="lower left")
    plotting.show(
        figure,
        "On logarithmic axes, against the number of steps N: the error of Lie splitting (dashed) "
        "falls in proportion to 1/N, that of Strang splitting (solid) in proportion to 1/N^2.",
    )
