"""The live figure of lesson 6 on both sides of its thresholds, and at them."""

import math

import pytest

from lesson import artists

BOTH, SHARP, NEITHER = "Both rules allow", "Only the sharp rule allows", "Neither rule allows"


@pytest.mark.parametrize(
    "h1, h2, s, lambda_min, verdict",
    [
        (0.5, 0.15, 1, 1.0, BOTH),  # the paper's limit is 0.1547, the sharp one 1/3
        (0.5, 0.16, 1, 1.0, SHARP),
        (0.5, 0.33, 1, 1.0, SHARP),
        (0.5, 0.34, 1, 1.0, NEITHER),
        (1.0, 1.0, 1, 1.0, SHARP),  # exactly at the limit: 1/2 times 2
        (1.0, 0.0, 1, 1.0, BOTH),  # exactly at the paper's
        (0.0, 0.0, 1, 1.0, BOTH),
        (2.0, 0.01, 1, 1.0, NEITHER),
        (0.3, 0.14, 2, 1.0, BOTH),  # the prescribed pair, but for its third digit
        (0.3, 0.15, 2, 1.0, SHARP),
        (0.3, 0.14, 2, 0.9, SHARP),
        (0.3, 0.14, 2, 0.85, NEITHER),
        (0.3, 0.14, 3, 0.5, NEITHER),
    ],
)
def test_map_of_pairs(names, h1, h2, s, lambda_min, verdict):
    sentence = names["live_map"].update(h1=h1, h2=h2, s=s, lambda_min=lambda_min)
    h, kappa = h1 / s, 0.5 * lambda_min
    up = (1 + h2 / s) ** s
    sharp = max(abs(1 - kappa * h), abs(1 - h)) ** s * up
    paper = math.sqrt(1 - 2 * kappa * h + h * h) ** s * up
    widths = [bar.get_width() for bar in artists(names["live_map"], "bar")]
    assert widths == pytest.approx(
        [sharp, sharp, paper]
    )  # the worst slope found equals the sharp rule
    assert verdict in sentence and ("some distances do grow" in sentence) is (verdict == NEITHER)
    assert "Some distances grow!" not in sentence
    (dot,) = artists(names["live_map"], "pair")
    assert dot.get_xydata().tolist() == [[h1, h2]]


def test_regions_end_at_the_limits(names):
    names["live_map"].update(h1=0.5, h2=0.2, s=1, lambda_min=1.0)
    (gradient,) = artists(names["live_map"], "gradient")
    x, y = gradient.get_data()
    assert dict(zip(x, y, strict=True))[0.5] == pytest.approx(1 / 3) and y[-1] == pytest.approx(0)
    (monotone,) = artists(names["live_map"], "monotone")
    x, y = monotone.get_data()
    assert dict(zip(x, y, strict=True))[0.5] == pytest.approx(0.1547, abs=1e-4)
    assert all(height == 0 for h1, height in zip(x, y, strict=True) if h1 >= 1)


def test_three_parts_make_the_regions_three_times_as_wide_and_high(names):
    peaks = {}
    for s in (1, 3):
        names["live_map"].update(h1=0.5, h2=0.2, s=s, lambda_min=1.0)
        (gradient,) = artists(names["live_map"], "gradient")
        x, y = gradient.get_data()
        peaks[s] = max(zip(y, x, strict=True))
        assert x[-1] == gradient.axes.get_xlim()[1] and max(y) < gradient.axes.get_ylim()[1]
    assert peaks[3] == pytest.approx([3 * value for value in peaks[1]])
