"""For readers who see colours otherwise, or not at all, or have no mouse.

(In the browser: tests/browser/.)
"""

import itertools

import ipywidgets
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from chapter_utils import plotting, widgets

HOUSE = {
    name: getattr(plotting, name)
    for name in ("BLUE", "ORANGE", "GREEN", "PINK", "YELLOW", "SKY", "BLACK")
}
# How a missing kind of cone changes linear red, green and blue: Machado, Oliveira and Fernandes
# (2009), severity 1.
SEEN_WITH = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Oklab (Ottosson, 2020): Euclidean distances there follow what people see; about 0.02 is just
# noticeable.
TO_LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
FAR_ENOUGH = 0.07


def linear(colour) -> np.ndarray:
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def difference(first, second, eye: str) -> float:
    a, b = (
        TO_OKLAB @ np.cbrt(TO_LMS @ np.clip(SEEN_WITH[eye] @ linear(colour), 0, 1))
        for colour in (first, second)
    )
    return float(np.linalg.norm(a - b))


@pytest.mark.parametrize("eye", SEEN_WITH)
def test_house_colours_differ_for_every_eye(eye):
    for (one, first), (other, second) in itertools.combinations(HOUSE.items(), 2):
        assert difference(first, second, eye) >= FAR_ENOUGH, (one, other)


def test_the_measure_finds_what_is_known():
    assert difference("white", "black", "all cones") == pytest.approx(1, abs=1e-3)
    assert difference("tab:green", "tab:red", "all cones") > 0.3, "a common pair ..."
    assert (
        difference("#8a7400", "#5f8f00", "protanopia")
        < FAR_ENOUGH
        < difference("#8a7400", "#5f8f00", "all cones")
    ), "... and a bad one"


def test_a_second_cue_beside_each_colour():
    """Lines drawn one after another differ in their dashes too, also in a print without colours."""
    with plt.rc_context():
        plotting.use_house_style()
        cycle = list(plt.rcParams["axes.prop_cycle"])
    assert [to_hex(entry["color"]).upper() for entry in cycle] == list(HOUSE.values())
    assert len({str(entry["linestyle"]) for entry in cycle}) == len(cycle)


def live(**controls):
    return widgets.LiveFigure(
        Figure(figsize=(1, 1)), lambda **values: f"Values are {values}.", **controls
    )


def test_every_slider_has_a_named_number_field():
    shown = live(
        speed=ipywidgets.FloatSlider(min=0, max=2, step=0.25, value=0.5, description="speed"),
        digit=ipywidgets.IntSlider(min=1, max=9, value=4, description="digit"),
        kind=ipywidgets.Dropdown(options=["a", "b"], description="kind"),
    )
    speed, digit, kind = shown.box.children[:3]
    assert kind is shown.controls["kind"] and kind.description == "kind"
    for row, name, control in (
        (speed, "speed", shown.controls["speed"]),
        (digit, "digit", shown.controls["digit"]),
    ):
        field, slider = row.children
        assert slider is control and field.description == name
        assert (field.min, field.max, field.step, field.value) == (
            slider.min,
            slider.max,
            slider.step,
            slider.value,
        )
    field, slider = speed.children
    field.value = 1.3  # finer than the slider's own steps
    assert slider.value == 1.3 and "'speed': 1.3" in shown.view.value.replace("&#x27;", "'")
    slider.value = 0.75
    assert field.value == 0.75
    field.value = 99
    assert slider.value == 2
    assert "controls: speed, digit, kind" in shown._repr_mimebundle_()["text/plain"]
