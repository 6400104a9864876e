"""The live figures of lesson 2 on both sides of their thresholds, against independent values."""

import math

import numpy as np
import pytest

from chapter_utils import runge_kutta
from helpers import stability_factor


@pytest.mark.parametrize(
    "method, system, h, fate, limit",
    [
        ("euler", "decay", 1.5, "shrinks", "h = 2.000"),
        ("euler", "decay", 2.0, "stays the same size", "h = 2.000"),
        ("euler", "decay", 2.05, "grows", "h = 2.000"),
        ("rk4", "decay", 2.75, "shrinks", "h = 2.785"),
        ("rk4", "decay", 2.8, "grows", "h = 2.785"),
        ("rk4", "rotation", 2.8, "shrinks", "h = 2.828"),
        ("rk4", "rotation", 2.85, "grows", "h = 2.828"),
        ("euler", "rotation", 0.05, "grows", "h = 0.000"),
        ("euler", "spiral", 0.55, "shrinks", "h = 0.550"),
        ("euler", "spiral", 0.6, "grows", "h = 0.550"),
        ("implicit_midpoint", "rotation", 4.0, "stays the same size", "no limit"),
        ("implicit_euler", "rotation", 4.0, "shrinks", "no limit"),
    ],
)
def test_stability_regions_and_the_limit(names, method, system, h, fate, limit):
    sentence = names["live_region"].update(method=method, system=system, h=h)
    region, solutions = names["live_region"].figure.axes
    *_, place = region.lines
    _, numerical = solutions.lines
    assert f"solution {fate}," in sentence and limit in sentence
    rate = {"decay": -1, "spiral": -0.3 + 1j, "rotation": 1j}[system]
    tableau = runge_kutta.TABLEAUS[method]
    R = stability_factor(tableau, h * rate)
    assert f"multiplies it by {abs(R):.3f}" in sentence
    assert np.allclose(
        numerical.get_ydata(),
        [(R**n).real for n in range(int(16 / h) + 1)],
        atol=1e-9,
    )
    assert place.get_xydata()[0] == pytest.approx([h * rate.real, h * rate.imag])
    if "no" not in limit:
        beyond = rate * float(limit[4:]) * 1.002 + 1e-2 * rate
        assert abs(stability_factor(tableau, beyond)) > 1


def test_the_shaded_region_is_where_the_factor_is_at_most_one(names):
    names["live_region"].update(method="rk4", system="decay", h=1.0)
    (image,) = names["live_region"].figure.axes[0].images
    shade = image.get_array()
    rows, columns = shade.shape
    for x, y in (
        (-2.7, 0.0),
        (-2.85, 0.0),
        (-1.0, 1.0),
        (0.05, 2.5),
        (0.3, 0.5),
        (-1.0, -2.0),
        (-3.0, -2.0),
    ):
        row, column = round((y + 4) / 8 * rows), round((x + 6) / 8 * columns)
        inside = abs(stability_factor(runge_kutta.TABLEAUS["rk4"], complex(x, y))) <= 1
        assert bool(shade[row, column]) == inside, (x, y)


@pytest.mark.parametrize(
    "method, hL, grows",
    [
        ("euler", 1.9, False),
        ("euler", 2.0, False),
        ("euler", 2.1, True),
        ("rk4", 2.0, False),
        ("rk4", 2.1, True),
        ("kutta3", 1.0, False),
        ("kutta3", 1.1, True),
        ("ralston2", 1.5, False),
        ("ralston2", 1.6, True),
        ("three_eighths", 0.9, False),
        ("three_eighths", 1.0, True),
        ("midpoint", 0.1, True),
        ("trapezoidal", 4.0, False),
        ("trapezoidal", 4.1, True),
        ("implicit_euler", 5.0, False),
    ],
)
def test_worst_stretch_on_both_sides_of_two_r(names, method, hL, grows):
    sentence = names["live_stretch"].update(method=method, hL=hL)
    pairs, stretches = names["live_stretch"].figure.axes
    _, image, pair_before, pair_after = pairs.lines
    _, _, threshold, now = stretches.lines
    assert ("grows to" in sentence) is grows and (
        "no pair was found to grow" in sentence
    ) is not grows
    radius = runge_kutta.circle_contractivity_radius(runge_kutta.TABLEAUS[method])
    assert grows == (hL > 2 * radius + 1e-9)
    if radius < math.inf:
        assert threshold.get_xdata()[0] == pytest.approx(2 * radius, abs=1e-9)
    moved, before = pair_after.get_xydata(), pair_before.get_xydata()
    shown = np.linalg.norm(moved[0] - moved[1]) / np.linalg.norm(before[0] - before[1])
    assert shown == pytest.approx(now.get_ydata()[0].item(), abs=1e-9)
    longest = np.linalg.norm(image.get_xydata(), axis=1).max() * 2
    assert longest == pytest.approx(shown, abs=2e-3)
    tableau = runge_kutta.TABLEAUS[method]
    linear = max(abs(stability_factor(tableau, -z)) for z in np.linspace(0, hL, 201))
    assert f"says {linear:.3f})" in sentence


def test_known_worst_cases(names):
    grid, stretches = names["hL_grid"], names["stretches"]

    def worst(method, hL):
        return stretches[method][(grid - hL).abs().argmin()].item()

    assert worst("midpoint", 1.0) == pytest.approx(1.0328, abs=1e-4)
    assert worst("midpoint", 2.0) == pytest.approx(math.sqrt(2), abs=1e-4)
    assert worst("trapezoidal", 5.0) == pytest.approx(1.5, abs=1e-4)
    assert worst("rk4", 2.3) == pytest.approx(1.0352, abs=2e-4)
    assert worst("rk4", 2.7) == pytest.approx(1.216, abs=1e-3)
    assert worst("heun", 2.0) <= 1 + 1e-9
