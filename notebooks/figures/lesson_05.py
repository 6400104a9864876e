"""The figures of lesson 5."""

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets


def mark_ends(axis, pair, colour):
    """The first point of a pair as a disc, the second as an open square."""
    (first,) = axis.plot(*pair[:1].T, "o", color=colour, markersize=8, linestyle="")
    (second,) = axis.plot(
        *pair[1:].T, "s", color=colour, markersize=8, linestyle="", markerfacecolor="white"
    )
    return first, second


def step_size(layer, worst_slope, A, direction):
    """Live: a ring of points and a pair along `direction` after one layer of step c; on the right
    the Lipschitz constant over c."""
    norm = torch.linalg.matrix_norm(A, 2)
    bias = 2 * torch.ones(2)  # all units are on near the ring: the worst case
    angle = torch.linspace(0, 2 * torch.pi, 73)
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    pair = torch.stack([0.5 * direction, -0.5 * direction])
    figure = Figure(figsize=(8.4, 3.8))
    left, right = figure.subplots(1, 2)
    left.plot(*ring.T, color=plotting.BLACK, linewidth=0.8, linestyle=":", label="before")
    (after,) = left.plot([], [], color=plotting.BLUE, linestyle="-", label="after")
    left.plot(*pair.T, color=plotting.BLACK, linestyle=":")
    mark_ends(left, pair, plotting.BLACK)
    (moved,) = left.plot(
        [],
        [],
        color=plotting.ORANGE,
        linestyle="-",
        linewidth=3,
        label="pair after",
        gid="pair",
    )
    ends = mark_ends(left, pair, plotting.ORANGE)
    left.set(
        xlim=(-2.1, 2.1),
        ylim=(-2.1, 2.1),
        aspect="equal",
        title="the ring, centred",
        xlabel="$x_1$",
        ylabel="$x_2$",
    )
    left.legend(loc="upper right")
    steps = torch.linspace(0, 3, 61)
    constants = [worst_slope(A, c / norm**2) for c in steps]
    right.plot(steps, constants, color=plotting.BLUE, linestyle="-")
    right.axvline(2, color=plotting.BLACK, linestyle="--", linewidth=1)
    right.text(1.95, 1.85, "theorem: up to here", ha="right", fontsize=9)
    (dot,) = right.plot([], [], color=plotting.ORANGE, marker="o", markersize=9, gid="constant")
    right.set(
        xlabel=r"$c=\tau\,\|A\|^2$",
        title="Lipschitz constant",
        ylim=(0, 2.1),
        xlim=(0, 3),
    )

    def draw(c):
        tau = c / norm**2
        centre = layer(torch.zeros(1, 2), A, bias, tau)  # a shift says nothing about distances
        ring_after = layer(ring, A, bias, tau) - centre
        pair_after = layer(pair, A, bias, tau) - centre
        constant = worst_slope(A, tau)
        after.set_data(*ring_after.T)
        moved.set_data(*pair_after.T)
        for end, point in zip(ends, pair_after, strict=True):
            end.set_data(*point[:, None])
        dot.set_data([c], [constant])
        stretch = (pair_after[0] - pair_after[1]).norm().item()
        turned = (
            ", its ends turned round" if (pair_after[0] - pair_after[1]) @ direction < -1e-9 else ""
        )
        verdict = "Some distances grow."
        if constant <= 1 + 1e-12:
            verdict = "No distance grows."
        return (
            f"At c = {c:.1f} the marked pair, one apart before, "
            f"is {stretch:.2f} apart after the layer{turned}. {verdict}"
        )

    slider = ipywidgets.FloatSlider(min=0, max=3, step=0.1, value=1.0, description="step c")
    return widgets.LiveFigure(figure, draw, c=slider)


def rotation_and_average(paths):
    """The paths of a rotation and of its averaged map, each a list of points, by name."""
    figure, axis = plt.subplots(figsize=(4.6, 4.0))
    for (name, path), style in zip(paths.items(), ("s--", "o-"), strict=True):
        axis.plot(*torch.stack(path).T, style, label=name)
    axis.set(
        aspect="equal",
        xlabel="$x_1$",
        ylabel="$x_2$",
        title="twelve repetitions from (1, 0)",
        xlim=(-1.25, 1.25),
        ylim=(-1.25, 1.45),
    )
    axis.legend(loc="upper center", ncols=2)
    plotting.show(
        figure,
        "The rotation jumps between four points of the unit circle for ever; "
        "the averaged map spirals into the origin.",
    )


def fits_of_absolute_value(x, fits):
    """The networks fitted to |x|, by name, and their distances to it."""
    figure, axes = plt.subplots(2, 4, figsize=(10, 4.6), sharex=True, sharey="row")
    for (name, values), top, bottom in zip(fits.items(), axes[0], axes[1], strict=True):
        top.plot(x, x.abs(), color=plotting.BLACK, linestyle=":", label="$|x|$")
        top.plot(x, values, color=plotting.BLUE, linestyle="-", label="network")
        top.set(title=name)
        error = (values - x.abs()).abs()
        bottom.semilogy(x, error + 1e-5, color=plotting.ORANGE)  # a zero has no logarithm
        bottom.set(xlabel=f"$x$; largest error {error.max():.3f}")
    axes[0, 0].set(ylabel="$y$")
    axes[1, 0].set(ylabel="error (logarithmic)")
    axes[0, 0].legend(loc="upper center", fontsize=8)
    plotting.show(
        figure,
        "Only the network with the longest step, c = 2, follows |x| closely; "
        "the others are V shapes that are too flat, too high at 0 and too low at both ends, "
        "and their errors, below, are several times larger.",
    )


def certified_discs(network, points, labels, radius):
    """The decision curve of a network on the plane, and around each point its certified disc."""
    x_1, x_2 = torch.meshgrid(
        torch.linspace(-1.6, 2.6, 211),
        torch.linspace(-1.2, 1.7, 146),
        indexing="xy",
    )
    with torch.no_grad():
        logits = network(torch.stack([x_1.flatten(), x_2.flatten()], 1))
    lead = (logits[:, 1] - logits[:, 0]).reshape(x_1.shape)
    figure, axis = plt.subplots(figsize=(6.4, 4.4))
    axis.contour(x_1, x_2, lead, levels=[0], colors=plotting.BLACK)
    for label, colour, marker in ((0, plotting.BLUE, "o"), (1, plotting.ORANGE, "^")):
        chosen = (labels == label).nonzero()[::3, 0]
        axis.plot(
            *points[chosen].T,
            marker,
            color=colour,
            linestyle="",
            markersize=4,
            label=f"class {label}",
        )
        for centre, r in zip(points[chosen].tolist(), radius[chosen].tolist(), strict=True):
            axis.add_patch(plt.Circle(centre, r, color=colour, fill=False, linewidth=0.8))
    axis.set(
        aspect="equal",
        xlabel="$x_1$",
        ylabel="$x_2$",
        title="certified discs of every third test point",
        xlim=(-1.6, 2.6),
        ylim=(-1.2, 1.7),
    )
    axis.grid(False)
    axis.legend(loc="upper left")
    plotting.show(
        figure,
        "Around every third test point lies its certified disc, inside which the prediction cannot "
        "change. No disc crosses the black decision curve.",
    )


def whole_path(layer, classifiers, points, labels):
    """Live: eight steps of length c down a valley; what one step and four may stretch; the trained
    classifier of four such steps, with the certified discs of some points."""
    figure = Figure(figsize=(10.4, 3.7))
    valley, constants, plane = figure.subplots(1, 3, width_ratios=(1, 0.9, 1.25))
    draw_path = path_down_a_valley(valley, layer)
    draw_constants = constants_over_steps(constants, classifiers)
    draw_plane = regions_and_discs(plane, classifiers, points, labels)

    def draw(c):
        number = (classifiers.c.flatten() - c).abs().argmin()
        c = classifiers.c.flatten()[number].item()
        distance = draw_path(c)
        one, four = draw_constants(c)
        right, radius = draw_plane(number)
        return (
            f"At c = {c:.2f} eight steps lead from 2.55 to {distance:.2f} from the lowest point. "
            f"One layer may stretch distances {one:.2f} times, four {four:.2f} times. "
            f"The classifier reads {right} of {len(points)} points correctly; "
            f"the mean certified radius is {radius:.3f}."
        )

    steps = classifiers.c.flatten().tolist()
    slider = ipywidgets.FloatSlider(
        min=steps[0], max=steps[-1], step=steps[1] - steps[0], value=1.0, description="step c"
    )
    return widgets.LiveFigure(figure, draw, c=slider)


def path_down_a_valley(axis, layer):
    """The flow of x' = -A^T A x, dotted, and eight of its steps."""
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    A = torch.diag(torch.tensor([1.0, 0.4])) @ turn
    start = torch.tensor([[0.5, 2.5]])
    side = torch.linspace(-3, 3, 61)
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
    depth = (grid @ A.T).square().sum(-1)
    axis.contour(side, side, depth, levels=6, colors="lightgrey", linewidths=0.8)
    times = torch.linspace(0, 8, 81)[:, None, None]
    flow = start @ torch.matrix_exp(-times * A.T @ A)
    axis.plot(*flow[:, 0].T, color=plotting.BLACK, linestyle=":", label="flow")
    (path,) = axis.plot([], [], "o-", color=plotting.ORANGE, markersize=4, label="steps")
    axis.plot(*start.T, "s", color=plotting.BLACK, markersize=7)
    axis.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    axis.set(title="eight steps of a flow")
    axis.legend(loc="lower left", fontsize=8)

    def draw(c):
        states = [start]
        for _ in range(8):
            states.append(layer(states[-1], A, torch.zeros(2), c, lambda t: t))
        path.set_data(*torch.cat(states).T)
        return states[-1].norm().item()

    return draw


def constants_over_steps(axis, classifiers):
    """The Lipschitz constants of one layer and of four over the step c."""
    steps = torch.linspace(0, 3, 61)
    dots = []
    for depth, style, marker in ((1, "-", "o"), (4, "--", "s")):
        constant = (steps - 1).clamp_min(1) ** depth
        name = "one layer" if depth == 1 else "four layers"
        axis.semilogy(steps, constant, style, color=plotting.BLUE, label=name)
        dots += axis.plot([], [], marker, color=plotting.ORANGE, markersize=8)
    axis.axvline(2, color=plotting.BLACK, linestyle=":", linewidth=1)
    axis.set_yticks([1, 2, 4, 8, 16], labels=["1", "2", "4", "8", "16"])
    axis.minorticks_off()
    axis.set(xlim=(0, 3.1), xlabel="$c$", title="Lipschitz constant")
    axis.legend(loc="upper left", fontsize=8)

    def draw(c):
        constants = [max(1.0, c - 1) ** depth for depth in (1, 4)]
        for dot, constant in zip(dots, constants, strict=True):
            dot.set_data([c], [constant])
        return constants

    return draw


def regions_and_discs(axis, classifiers, points, labels):
    """For each step the regions of the two classes and the certified discs of every third point."""
    horizontal = torch.linspace(-1.6, 2.6, 127)
    vertical = torch.linspace(-1.2, 1.7, 88)
    grid = torch.cartesian_prod(vertical, horizontal).flip(1)
    with torch.no_grad():
        logits = classifiers(grid)
        own = classifiers(points)
    second = (logits[..., 1] > logits[..., 0]).unflatten(1, (88, 127)).numpy()
    margin = (own[..., 1] - own[..., 0]) * (2 * labels - 1)
    radius = classifiers.radius(margin)
    shades = ListedColormap(["#cfe3f0", "#f6dccb"])  # pale blue and pale orange
    extent = (-1.6, 2.6, -1.2, 1.7)
    picture = axis.imshow(second[0], shades, vmin=0, vmax=1, extent=extent, origin="lower")
    chosen = torch.arange(0, len(points), 3)
    discs = []
    for number in chosen.tolist():
        colour = (plotting.BLUE, plotting.ORANGE)[labels[number]]
        marker = "o^"[labels[number]]
        axis.plot(*points[number], marker, color=colour, markersize=3)
        disc = plt.Circle(points[number].tolist(), 0, color=colour, fill=False, linewidth=0.8)
        discs.append(axis.add_patch(disc))
    axis.set(title="a classifier of four layers", xlabel="$x_1$", ylabel="$x_2$")
    axis.grid(False)

    def draw(number):
        picture.set_data(second[number])
        for disc, r in zip(discs, radius[number, chosen].tolist(), strict=True):
            disc.set_radius(r)
        return (margin[number] > 0).sum().item(), radius[number].mean().item()

    return draw
