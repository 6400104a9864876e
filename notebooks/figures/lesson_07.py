"""The figures of lesson 7."""

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets
from figures.common import image_row


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


def race(radii, curves, bounds):
    """Accuracy under attack and certified accuracy over the radius, for all contestants.

    Certificates of a network with a bound of 100 or more are zero at every radius: not drawn.
    """
    shown = {}
    for name, (attacked, proved) in curves.items():
        shown[name] = (attacked, proved if bounds[name] < 100 else None)
    figure, axis = plt.subplots(figsize=(8.2, 5))
    plotting.robustness_curves(axis, radii, shown)
    axis.set_title("solid: survives both attacks, dashed: certified")
    plotting.show(
        figure,
        "Under attack accuracy falls with the radius for all networks, earliest for the two "
        "ResNets without PGD training. Only the non-expansive networks have certificates that "
        "stay high beyond radius 0.5; the spectral ResNet's have fallen to nearly zero at 1. "
        "The certificates of the other two networks are zero from radius 0.25 on and not drawn.",
    )


def attack_on_a_digit(networks, attack, digits, certified):
    """Live: a digit under attack(network, x, y, eps), a row for each network: picture, change,
    and the lead of each class over the true one.

    `certified` has the certified radii of the unattacked digits, by network.
    """
    figure = Figure(figsize=(7.6, 4.4))
    grid = figure.subplots(2, 3, width_ratios=[1, 1, 1.7])
    blank = torch.zeros(28, 28).numpy()
    rows = {}
    for name, (left, middle, right) in zip(networks, grid, strict=True):
        picture = left.imshow(blank, vmin=0, vmax=1, cmap="gray_r")
        change = middle.imshow(blank, vmin=-0.5, vmax=0.5, cmap="PuOr")
        left.axis("off")
        middle.axis("off")
        middle.set_title("change", loc="center", fontsize=9)
        bars = right.bar(range(10), [0] * 10, color=plotting.BLUE, gid=name)
        right.axhline(0, color=plotting.BLACK, linewidth=1)
        right.set(
            ylim=(-1.05, 1.05),
            xticks=range(10),
            title=f"{name}: lead, scaled",
        )
        rows[name] = (picture, change, bars)
    grid[1, 2].set_xlabel("class")

    def draw_row(name, digit, eps):
        x = digits[digit : digit + 1]
        z = attack(networks[name], x, torch.tensor([digit], device=x.device), eps)
        with torch.no_grad():
            logits = networks[name](z)[0]
        picture, change, bars = rows[name]
        picture.set_data(z[0, 0].cpu().numpy())
        change.set_data((z - x)[0, 0].cpu().numpy())
        lead = (logits - logits[digit]).cpu()
        heights = lead / lead.abs().max().clamp_min(1e-9)
        for bar, height in zip(bars, heights.tolist(), strict=True):
            bar.set_height(height)
            bar.set_color(plotting.ORANGE if height > 0 else plotting.BLUE)
        read = logits.argmax().item()
        radius = certified[name][digit].item()
        title = f"read as {read}\nclean: certified to {radius:.2f}"
        picture.axes.set_title(title, loc="center", fontsize=9)
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
