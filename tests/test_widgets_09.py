"""The live figures of lesson 4 on both sides of their thresholds, and at them."""

import math
import re

import pytest
import torch
from scipy.linalg import expm

from chapter_utils import ode

pytestmark = pytest.mark.slow  # the lesson runs to its last live figure

J = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def line(live, axis, number):
    """One line of a live figure, in the order in which they are drawn."""
    return live.figure.axes[axis].lines[number]


def points(line):
    return torch.tensor(line.get_xydata(), dtype=torch.float64)


@pytest.mark.parametrize("side,verdict", [(0.9, "shrink"), (1.0, "stay equal"), (1.1, "grow")])
def test_antisymmetric(names, side, verdict):
    limit = 2 * 0.5 / (0.25 + 9)
    sentence = names["live_antisymmetric"].update(gamma=0.5, h=side * limit)
    assert f"they {verdict}." in sentence and "0.1081" in sentence
    layer = torch.eye(2, dtype=torch.float64) + side * limit * (
        3 * J - 0.5 * torch.eye(2, dtype=torch.float64)
    )
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for _ in range(200):
        x = layer @ x
    assert torch.allclose(points(line(names["live_antisymmetric"], 0, 0))[-1], x, rtol=1e-8)
    assert f"{torch.linalg.matrix_norm(layer, 2).item():.4f}" in sentence


def test_antisymmetric_without_friction(names):
    assert "they grow" in names["live_antisymmetric"].update(gamma=0.0, h=0.005)
    assert "they stay equal" in names["live_antisymmetric"].update(gamma=0.0, h=0.0)


@pytest.mark.parametrize("h,radius", [(1.9, "1.00"), (2.0, "1.00"), (2.1, "1.88")])
def test_hamiltonian(names, h, radius):
    sentence = names["live_hamiltonian"].update(h=h)
    step = torch.tensor(
        [[1 - h**2 / 2, h], [-h + h**3 / 4, 1 - h**2 / 2]], dtype=torch.float64
    )  # (q, p), linearised
    assert f"{radius} in modulus" in sentence
    assert abs(torch.linalg.eigvals(step).abs().max().item() - float(radius)) < 5e-3
    energy = points(line(names["live_hamiltonian"], 1, 1))[:, 1]
    assert (energy.max().item() < 1.01) == (h <= 2)
    assert points(line(names["live_hamiltonian"], 1, 0))[:, 1].max() > 100
    assert energy[0] == 1 and f"{energy.max():.2f} times" in sentence


@pytest.mark.parametrize(
    "alpha,action",
    [(0.5, "acts"), (-0.9, "acts"), (-1.0, "removes nothing"), (-1.1, "removes nothing")],
)
def test_projection(names, alpha, action):
    sentence = names["live_projection"].update(alpha=alpha, projected=True)
    assert action in sentence and "is kept" in sentence
    field = torch.tensor([[0.5, 1.0], [-1.0, 0.5]], dtype=torch.float64)
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)

    def projected(x):
        f, V = x @ field.T, 0.5 * x.square().sum(1)
        return f - x * (torch.relu((x * f).sum(1) + alpha * V) / x.square().sum(1))[:, None]

    end = ode.flow(projected, x, torch.tensor([0.0, 5.0]))[-1]
    assert torch.allclose(
        points(line(names["live_projection"], 0, 0))[-1], end[0], rtol=1e-5, atol=1e-8
    )
    assert abs(points(line(names["live_projection"], 1, 0))[-1, 1] / end.square().sum() - 1) < 1e-5


def test_projection_off(names):
    sentence = names["live_projection"].update(alpha=0.5, projected=False)
    assert "is off" in sentence and "is broken" in sentence and "= 148" in sentence


@pytest.mark.parametrize(
    "c,grows_inf,grows_two",
    [(0.6, False, False), (0.7, False, True), (0.95, False, True), (1.1, True, True)],
)
def test_rows(names, c, grows_inf, grows_two):
    sentence = names["live_rows"].update(c=c)
    matrix = torch.tensor([[-1.0, c], [0.0, -0.1]], dtype=torch.float64)
    for curve, norm, grows in (
        (line(names["live_rows"], 0, 0), math.inf, grows_inf),
        (line(names["live_rows"], 0, 1), 2, grows_two),
    ):
        data = points(curve)
        exact = torch.stack(
            [
                torch.linalg.matrix_norm(torch.tensor(expm(t.item() * matrix.numpy())), norm)
                for t in data[:, 0]
            ]
        )
        assert torch.allclose(data[:, 1], exact, atol=1e-9)
        assert (
            (data[:, 1].max() > 1 + 1e-9).item()
            == grows
            == (ode.logarithmic_norm(matrix, norm) > 0)
        )
    assert f"mu_inf = {ode.logarithmic_norm(matrix, math.inf):.3f}" in sentence
    assert f"mu_2 = {ode.logarithmic_norm(matrix):.3f}" in sentence


def test_rows_at_the_thresholds(names):
    assert "mu_inf = 0.000" in names["live_rows"].update(c=1.0)
    assert "mu_2 = 0.000" in names["live_rows"].update(c=2 * math.sqrt(0.1)).replace(
        "-0.000", "0.000"
    )


def test_lyanet(names):
    medians = []
    for t in (0.0, 1.0, 5.0):
        sentence = names["live_lyanet"].update(t=t)
        medians.append([float(v) for v in re.findall(r"([\d.e+-]+) for", sentence)])
        assert points(line(names["live_lyanet"], 0, 1)).shape == (100, 2)
    (start, _), (lyanet_1, endpoint_1), (lyanet_5, endpoint_5) = medians
    assert abs(start - 1.125) < 0.01
    assert lyanet_1 < 0.05 and lyanet_5 < 0.05  # it stays
    assert endpoint_1 < 0.05 and endpoint_5 > 1  # right at 1, gone at 5


@pytest.mark.parametrize("s,separate", [(0.5, False), (1 / 1.2, False), (1.0, True), (5.0, True)])
def test_pair(names, s, separate):
    sentence = names["live_pair"].update(s=s)
    assert ("some points of the disc separate" in sentence) == separate
    start = torch.tensor([[1.0, 0.0], [1.2, 0.0]], dtype=torch.float64)
    paths = ode.flow(
        lambda x: -0.5 * x + s * x.norm(dim=1, keepdim=True) * (x @ J.T),
        start,
        torch.linspace(0, 6, 13),
    )
    shown = points(line(names["live_pair"], 1, 0))
    assert torch.allclose(shown[::25, 1], (paths[:, 0] - paths[:, 1]).norm(dim=1), atol=1e-6)
    if not separate:
        assert (shown[:, 1].diff() <= 1e-12).all()
    if s == 5.0:
        assert "reaches 0.536" in sentence


@pytest.mark.parametrize("side,verdict", [(0.5, "shrinks"), (1.0, "stays equal"), (1.2, "grows")])
def test_equilibrium(names, side, verdict):
    sentence = names["live_equilibrium"].update(a=side / 9.25)
    assert verdict in sentence and "0.1081" in sentence
    distance = points(line(names["live_equilibrium"], 1, 0))[:, 1]
    assert abs(distance[0] - 1) < 1e-12
    late = (distance[-1] / distance[0]).item()
    assert (
        late < 0.3
        if verdict == "shrinks"
        else abs(late - 1) < 1e-9
        if verdict == "stays equal"
        else late > 1.1
    )
