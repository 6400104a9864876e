"""The figures of lesson 7."""

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from figures.common import BLUE_LINE, ORANGE_DASHES, image_row


def attacked_digits(attacked, originals, read_as):
    """The ten digits after an attack, with what the network reads, above the changes themselves."""
    wrong = 0
    titles = []
    for digit, read in enumerate(read_as):
        wrong += digit != read
        titles.append(f"{digit}, right" if digit == read else f"{digit} read as {read}")
    figure, axes = plt.subplots(2, 10, figsize=(9, 2.5))
    image_row(axes[0], attacked, titles)
    changes = attacked - originals
    image_row(
        axes[1],
        changes,
        titles=[""] * 10,
        limits=(-0.5, 0.5),
        cmap="PuOr",
    )
    plotting.show(
        figure,
        "Top: the ten digits after a change of norm at most 1.5; a person still reads them, "
        f"the network misreads {wrong} of 10. "
        "Bottom: the changes themselves, purple for added ink and orange for removed, "
        "full colour at 0.5.",
    )


def race(radii, survives, certified):
    """A panel for each network: what is certified, what survives attacks, between them the truth.

    `survives` has a bool (len(radii), images) for each network, `certified` its radii (images,).
    """
    figure, grid = plt.subplots(
        2,
        3,
        figsize=(8.6, 4.8),
        sharex=True,
        sharey=True,
    )
    *panels, last = grid.flat
    for axis, name in zip(panels, survives, strict=True):
        bracket(axis, radii, survives[name].cpu(), certified[name].cpu())
        axis.set_title(name)
    handles, labels = panels[0].get_legend_handles_labels()
    last.axis("off")
    last.legend(handles, labels, loc="center")
    for axis in grid[:, 0]:
        axis.set_ylabel("accuracy")
    for axis in (grid[1, 0], grid[1, 1], grid[0, 2]):
        axis.set_xlabel("radius (Euclidean, pixels)")
        axis.tick_params(labelbottom=True)
    plotting.show(
        figure,
        "Five panels, one a network, with a band between certified accuracy below and accuracy "
        "under attack above. For both ResNets without a constraint the lower edge drops to zero "
        "at once, so the band is as high as the upper edge; the spectral ResNet certifies "
        "something below radius 1. For the two non-expansive networks the band is narrow up to "
        "radius 1, and its lower edge is well above zero even at radius 2.",
    )


def fraction_above(values, limit):
    """Which fraction of the values is larger than the limit."""
    return (values > limit).double().mean().item()


def bracket(axis, radii, survives, radius):
    """The band. Between two radii that were attacked the upper edge cannot rise: stairs."""
    fine = torch.linspace(0, radii[-1], 301)
    proved = [fraction_above(radius, eps) for eps in fine.tolist()]
    attacked = survives.double().mean(1)
    step_before = torch.searchsorted(torch.tensor(radii), fine, right=True) - 1
    stairs = attacked[step_before]
    axis.fill_between(
        fine,
        proved,
        stairs,
        color=plotting.SKY,
        alpha=0.35,
        label="the truth lies here",
    )
    axis.plot(fine, stairs, **ORANGE_DASHES)
    axis.plot(radii, attacked, "o", color=plotting.ORANGE, label="survives both attacks")
    axis.plot(fine, proved, **BLUE_LINE, label="certified")
    axis.set(ylim=(-0.03, 1.03))


def attack_on_a_digit(networks, attack, digits, certified):
    """Live: a digit under attack(network, x, y, eps), a row for each network: the clean digit,
    the attacked one, the change, and the lead of each class over the true one.

    `certified` has the certified radii of the clean digits, by network.
    """
    figure = Figure(figsize=(8.8, 4.4))
    grid = figure.subplots(2, 4, width_ratios=[1, 1, 1, 1.9])
    blank = torch.zeros(28, 28).numpy()
    rows = {}
    for name, (first, second, third, right) in zip(networks, grid, strict=True):
        clean = first.imshow(blank, vmin=0, vmax=1, cmap="gray_r")
        picture = second.imshow(blank, vmin=0, vmax=1, cmap="gray_r")
        change = third.imshow(blank, vmin=-0.5, vmax=0.5, cmap="PuOr")
        for axis in (first, second, third):
            axis.axis("off")
        third.set_title("change\n", loc="center", fontsize=9)
        bars = right.bar(range(10), [0] * 10, color=plotting.BLUE, gid=name)
        right.axhline(0, color=plotting.BLACK, linewidth=1)
        right.set(
            ylim=(-1.05, 1.05),
            xticks=range(10),
            title=f"{name}: lead, scaled",
        )
        rows[name] = (clean, picture, change, bars)
    grid[1, 3].set_xlabel("class")

    def draw_row(name, digit, eps):
        x = digits[digit : digit + 1]
        z = attack(networks[name], x, torch.tensor([digit], device=x.device), eps)
        with torch.no_grad():
            logits = networks[name](z)[0]
        clean, picture, change, bars = rows[name]
        clean.set_data(x[0, 0].cpu().numpy())
        picture.set_data(z[0, 0].cpu().numpy())
        change.set_data((z - x)[0, 0].cpu().numpy())
        lead = (logits - logits[digit]).cpu()
        heights = lead / lead.abs().max().clamp_min(1e-9)
        for bar, height in zip(bars, heights.tolist(), strict=True):
            bar.set_height(height)
            bar.set_color(plotting.ORANGE if height > 0 else plotting.BLUE)
        read = logits.argmax().item()
        radius = certified[name][digit].item()
        above_clean = f"clean digit:\ncertified to {radius:.2f}"
        clean.axes.set_title(above_clean, loc="center", fontsize=9)
        above_attacked = f"attacked:\nread as {read}"
        picture.axes.set_title(above_attacked, loc="center", fontsize=9)
        return f"{name}: {read} (certified to {radius:.2f})"

    def draw(digit, eps):
        readings = [draw_row(name, digit, eps) for name in networks]
        return (
            f"Digit {digit}, attacked within radius {eps:.2f}, is read by "
            f"{' and by '.join(readings)}."
        )

    return widgets.LiveFigure(
        figure,
        draw,
        digit=ipywidgets.IntSlider(min=0, max=9, value=4, description="digit"),
        eps=ipywidgets.FloatSlider(min=0, max=4, step=0.1, value=1.5, description="radius eps"),
    )


def coloured_shape(kind, generator, side=32):
    """A shape of a random colour, size and place on a darker ground: (side, side, 3) in [0, 1]."""

    def draw(low, high):
        return low + (high - low) * torch.rand((), generator=generator).item()

    middle = torch.arange(side) + 0.5
    down = (middle - draw(12, 20)).abs()[:, None]
    across = (middle - draw(12, 20)).abs()[None, :]
    size = draw(7, 10)
    distance = (down.square() + across.square()).sqrt()
    nearer = torch.minimum(down, across)
    farther = torch.maximum(down, across)
    inside = {
        "disc": distance < size,
        "ring": (distance < size) & (distance > 0.55 * size),
        "cross": (nearer < 0.3 * size) & (farther < size),
    }[kind]
    ground = 0.1 + 0.3 * torch.rand(3, generator=generator)
    colour = 0.6 + 0.4 * torch.rand(3, generator=generator)
    grain = 0.05 * torch.randn(side, side, 3, generator=generator)
    picture = torch.where(inside[..., None], colour, ground) + grain
    return picture.clamp(0, 1).numpy()


def photographs(run, grid, published, attacked):
    """Certified accuracy over the radius, accuracy under attack, and the best published points.

    `run` is a row of a results file of benchmarks/cifar.py, `grid` the radii of its curve;
    `published` has pairs (radius, certified accuracy); so many images were attacked.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    axis.plot(grid, run["curve"], **BLUE_LINE, label="certified, 10,000 photographs")
    axis.plot(
        run["radii"],
        run["attacked"],
        "o",
        color=plotting.ORANGE,
        label=f"survives the attacks, {attacked} of them",
    )
    axis.plot(
        *zip(*published, strict=True),
        "^",
        color=plotting.BLACK,
        markerfacecolor="white",
        label="certified, Hu et al. (2310.02513)",
    )
    axis.set(xlim=(-0.03, 1.53), ylim=(-0.03, 1.03))
    axis.set(xlabel="radius (Euclidean, pixels in [0, 1])", ylabel="accuracy")
    axis.legend()
    clean, near = run["certified"][:2]
    plotting.show(
        figure,
        f"Certified accuracy falls from {clean:.2f} at radius 0 through {near:.2f} at 36/255 to "
        "almost zero at 1.5. The accuracy under attack lies above it, further above at larger "
        "radii. A much larger published network certifies more than a tenth more of them.",
    )


def pictures_and_attacks(clean, attacked, above, below):
    """Clean pictures in one row, the same under attack in the next, with a title each."""
    figure, axes = plt.subplots(2, len(clean), figsize=(8.6, 3.6))
    image_row(axes[0], clean, above)
    image_row(axes[1], attacked, below)
    titles = [title.replace("\n", " ") for title in above]
    changed = [title.replace("\n", " ") for title in below]
    plotting.show(
        figure,
        f"Top: the pictures, clean: {'; '.join(titles)}. "
        f"Bottom: the same after an attack, {'; '.join(changed)}.",
    )
