"""The house style and the pictures that more than one lesson needs. Every figure is shown with a description."""

import base64
import html
import io
from importlib.resources import as_file, files

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

# Okabe-Ito colours by name: distinguishable with the common colour-vision deficiencies.
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
)  # fmt: skip


def use_house_style() -> None:
    """Set matplotlib's defaults for the lessons."""
    with as_file(files(__package__) / "house.mplstyle") as style:
        plt.style.use(style)


def png(figure: Figure, compression: int = 6) -> bytes:
    """The figure as a PNG, at its own size and resolution. Drawn once: a third faster than `savefig`, which sliders notice."""
    canvas = (
        figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    )
    canvas.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(
        buffer, "png", compress_level=compression
    )
    return buffer.getvalue()


def show(figure: Figure, description: str) -> None:
    """Display a finished figure, its description as alternative text and as a caption, and close it.

    The description says in one or two sentences what is to be seen. (JupyterLab shows no alternative text of its own.)
    """
    if not description.strip():
        raise ValueError("every figure needs a description of what is to be seen")
    display(
        {"image/png": base64.b64encode(png(figure)).decode(), "text/plain": description},
        metadata={"image/png": {"alt": description}},
        raw=True,
    )
    display(
        {
            "text/html": f'<p class="caption"><em>{html.escape(description)}</em></p>',
            "text/plain": description,
        },
        raw=True,
    )
    plt.close(figure)


def image_row(
    axes: list[Axes],
    images: Tensor,
    titles: list[str],
    limits: tuple[float, float] = (0, 1),
    cmap="gray_r",
) -> None:
    """Draw images (n, 1, height, width) or (n, 3, height, width), one an axis, with a title each (lesson 7)."""
    for axis, image, title in zip(axes, images.detach().cpu(), titles, strict=True):
        axis.imshow(
            image.permute(1, 2, 0).squeeze(-1).numpy(), vmin=limits[0], vmax=limits[1], cmap=cmap
        )
        axis.set_title(title, fontsize=9, loc="center")
        axis.axis("off")


MARKERS = "os^Dvp*"


def robustness_curves(
    axis: Axes, radii: list[float], curves: dict[str, tuple[list[float], list[float] | None]]
) -> None:
    """For each model a pair (accuracy under attack, certified accuracy or None) over the l2 radius (lesson 7).

    Attack solid with a marker, certificate dashed in the same colour with the same, hollow marker.
    """
    colours = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK)
    if len(curves) > len(colours):
        raise ValueError(f"at most {len(colours)} curves can be told apart, got {len(curves)}")
    for (name, (attacked, certified)), colour, marker in zip(
        curves.items(), colours, MARKERS, strict=False
    ):
        axis.plot(radii, attacked, color=colour, linestyle="-", marker=marker, label=name)
        if certified is not None:
            axis.plot(
                radii,
                certified,
                color=colour,
                linestyle="--",
                marker=marker,
                markerfacecolor="white",
            )
    axis.set(
        xlabel=r"radius $\varepsilon$ ($\ell_2$, pixels in [0, 1])",
        ylabel="accuracy",
        ylim=(-0.02, 1.02),
    )
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
