"""What the figures of several lessons share: looks of lines, and parts of a plot."""

from chapter_utils.plotting import BLACK, BLUE, GREEN, ORANGE

BLUE_LINE = {"color": BLUE, "linestyle": "-"}
BLUE_DASHES = {"color": BLUE, "linestyle": "--"}
ORANGE_LINE = {"color": ORANGE, "linestyle": "-"}
ORANGE_DASHES = {"color": ORANGE, "linestyle": "--"}
GREEN_DASHES = {"color": GREEN, "linestyle": "--"}
BLACK_DASHES = {"color": BLACK, "linestyle": "--"}
BLACK_DOTS = {"color": BLACK, "linestyle": ":"}


def empty_line(axis, **style):
    """A line without points, for a live figure to move."""
    (line,) = axis.plot([], [], **style)
    return line


def dot(axis, colour, marker="o", size=9, label=None):
    """A large mark without a place, for a live figure to move."""
    return empty_line(
        axis,
        color=colour,
        linestyle="",
        marker=marker,
        markersize=size,
        label=label,
    )


def plane(axis, title, x, y):
    """Limits and labels of the plane of (x_1, x_2), both axes with the same scale."""
    axis.set(xlim=x, ylim=y)
    axis.set(xlabel="$x_1$", ylabel="$x_2$")
    axis.set(aspect="equal", title=title)


def image_row(axes, images, titles, limits=(0, 1), cmap="gray_r"):
    """Images (n, 1 or 3, height, width), one an axis, with a title each."""
    for axis, image, title in zip(axes, images.detach().cpu(), titles, strict=True):
        pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
        axis.imshow(pixels, vmin=limits[0], vmax=limits[1], cmap=cmap)
        axis.set_title(title, fontsize=9, loc="center")
        axis.axis("off")
