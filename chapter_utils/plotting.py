"""The house style and the pictures that more than one lesson needs; every figure is described."""

import base64
import html
import io
from importlib.resources import as_file, files

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe-Ito colours by name: distinguishable with the common colour-vision deficiencies.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
PINK = "#CC79A7"
YELLOW = "#E69F00"
SKY = "#56B4E9"
BLACK = "#000000"
COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, BLACK)
MARKERS = "os^Dvp*"  # never colour alone


def use_house_style() -> None:
    """Set matplotlib's defaults for the lessons."""
    with as_file(files(__package__) / "house.mplstyle") as style:
        plt.style.use(style)


def png(figure: Figure, compression: int = 6) -> bytes:
    """The figure as a PNG, at its own size and resolution.

    Drawn once: a third faster than `savefig`, which sliders notice.
    """
    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "png", compress_level=compression)
    return buffer.getvalue()


def show(figure: Figure, description: str) -> None:
    """Display a finished figure with its alternative text and a caption, and close it.

    Both are the description, one or two sentences that say what is to be seen. (JupyterLab shows no
    alternative text of its own.) Raises ValueError if there is none.
    """
    if not description.strip():
        raise ValueError("every figure needs a description of what is to be seen")
    picture = base64.b64encode(png(figure)).decode()
    caption = f'<p class="caption"><em>{html.escape(description)}</em></p>'
    alternative = {"image/png": {"alt": description}}
    display({"image/png": picture, "text/plain": description}, metadata=alternative, raw=True)
    display({"text/html": caption, "text/plain": description}, raw=True)
    plt.close(figure)
