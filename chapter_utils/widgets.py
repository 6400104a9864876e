"""Figures that follow a slider: drawn once, then only updated, always described in words."""

import base64
import html
from typing import Callable

import ipywidgets
from matplotlib.figure import Figure

from .plotting import png, show

FIELDS = {
    ipywidgets.FloatSlider: ipywidgets.BoundedFloatText,
    ipywidgets.IntSlider: ipywidgets.BoundedIntText,
}


def named(control: ipywidgets.Widget) -> ipywidgets.Widget:
    """The control as a screen reader can name it.

    A slider, whose handle ipywidgets leaves without a name, follows a number field, which carries
    the description, shows the value and takes any number in the slider's range.
    """
    if type(control) not in FIELDS:
        return control
    field = FIELDS[type(control)](
        value=control.value,
        min=control.min,
        max=control.max,
        step=control.step,
        description=control.description,
        layout=ipywidgets.Layout(width="170px"),
    )
    ipywidgets.link((control, "value"), (field, "value"))  # in the kernel: Colab knows no jslink
    control.description = ""
    control.readout = False
    return ipywidgets.HBox([field, control])


class LiveFigure:
    """A figure whose artists `update(**values)` changes; `update` says in a sentence what is seen.

    `controls` are ipywidgets by the name of the value they set. A cell that ends with the
    LiveFigure displays it; `still(**values)` shows the same figure as an ordinary picture, for
    readers without a kernel. The sentence is the picture's alternative text and stands below it. An
    error in `update` appears under the controls.
    """

    def __init__(self, figure: Figure, update: Callable[..., str], **controls: ipywidgets.Widget):
        self.figure = figure
        self.update = update
        self.controls = controls
        self.names = ", ".join(control.description for control in controls.values())
        self.view = ipywidgets.HTML()
        update(**{name: control.value for name, control in controls.items()})
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: nothing jumps when a slider moves
        self.errors = ipywidgets.interactive_output(self.redraw, controls)
        self.box = ipywidgets.VBox([*map(named, controls.values()), self.view, self.errors])

    def redraw(self, **values) -> None:
        """Show the figure for these values, with its sentence, in place."""
        seen = html.escape(self.update(**values), quote=True)
        width, height = (self.figure.get_size_inches() * self.figure.dpi).astype(int)
        picture = base64.b64encode(png(self.figure, compression=1)).decode()
        self.view.value = (
            f'<img width="{width}" height="{height}" alt="{seen}" '
            f'src="data:image/png;base64,{picture}"><p aria-live="polite"><em>{seen}</em></p>'
        )

    def still(self, **values) -> None:
        """Show the figure for these values as a picture that needs no kernel."""
        show(self.figure, self.update(**values))

    def _repr_mimebundle_(self, **kwargs):
        model = {"model_id": self.box.model_id, "version_major": 2, "version_minor": 0}
        moves = "It moves when a kernel is running."
        return {
            "application/vnd.jupyter.widget-view+json": model,  # the same in ipywidgets 7 and 8
            "text/plain": f"Live figure with the controls: {self.names}. {moves}",
        }
