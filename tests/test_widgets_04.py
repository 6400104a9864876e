"""The live figures of lesson 4, recomputed in other ways."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

pytestmark = pytest.mark.slow  # the lesson runs to its last live figure


def points(live, axis, number):
    """One line of a live figure, in the order in which they are drawn."""
    return torch.tensor(live.figure.axes[axis].lines[number].get_xydata(), dtype=torch.float64)


def numbers(sentence):
    return [float(word) for word in re.findall(r"\d+(?:\.\d+)?(?:e[+-]\d+)?", sentence)]


@pytest.mark.parametrize("depth", [1, 2, 7, 64])
def test_depth(names, depth):
    live = names["live_depth"]
    sentence = live.update(depth=depth)
    W, b = (names[name].numpy() for name in ("W", "b"))
    lines = live.figure.axes[0].lines
    flows, walks = lines[:5], lines[7:12]
    for flow, walk in zip(flows, walks, strict=True):
        x = flow.get_xydata()[0]
        exact = solve_ivp(lambda t, x: np.tanh(W @ x + b), (0, 2), x, rtol=1e-9, atol=1e-11)
        assert np.allclose(flow.get_xydata()[-1], exact.y[:, -1], atol=1e-6)
        assert walk.get_xydata().shape == (depth + 1, 2)
        for state in walk.get_xydata():
            assert np.allclose(state, x, atol=1e-12)
            x = x + 2 / depth * np.tanh(W @ x + b)
    layers, distance, bound = numbers(sentence)
    assert layers == depth and distance <= bound
    steepest = np.linalg.norm(W, 2)
    assert bound == pytest.approx(math.sqrt(2) / depth * math.expm1(2 * steepest), abs=0.006)
    assert points(live, 1, 2)[0].tolist() == pytest.approx([depth, distance], abs=6e-4)


def test_depth_halves_the_distance(names):
    at = {depth: numbers(names["live_depth"].update(depth=depth))[1] for depth in (16, 32, 64)}
    assert 1.8 < at[16] / at[32] < 2.2 and 1.8 < at[32] / at[64] < 2.2


@pytest.mark.parametrize("rate", [0.0, 8.0, 15.5, 18.0])
def test_reversal(names, rate):
    live = names["live_reversal"]
    sentence = live.update(rate=rate)
    true, again = points(live, 0, 0), points(live, 0, 1)
    turned = torch.tensor(
        [[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=torch.float64
    )
    ends = 1 + math.exp(-rate) * (true - 1) @ turned.T
    stored = torch.tensor(ends.numpy().astype(np.float32).astype(np.float64))
    assert torch.allclose(again, 1 + math.exp(rate) * (stored - 1) @ turned, rtol=0, atol=1e-6)
    said, _, places, error, bound = numbers(sentence)
    assert said == rate
    assert error == pytest.approx((true - again).norm(dim=1).max().item(), rel=0.06)
    assert bound == pytest.approx(math.exp(rate) * 2**-23, rel=0.06) and error <= bound
    assert (places < 24) == (rate > 15)  # the circle falls onto the grid of single precision
    assert (places == 1) == (rate == 18.0)
    assert torch.allclose(points(live, 1, 2)[0, 1], (true - again).norm(dim=1).max())


def test_reversal_errors_stay_below_the_bound_at_every_rate(names):
    bound, errors = points(names["live_reversal"], 1, 0), points(names["live_reversal"], 1, 1)
    assert (errors[:, 1] <= bound[:, 1]).all()
    assert torch.allclose(bound[:, 1].log().diff(), bound[:, 0].diff())
