"""The live figures of lesson 9 on both sides of their thresholds, and at them."""

import math

import pytest
import torch
from scipy.linalg import expm

from chapter_utils import ode

pytestmark = pytest.mark.slow  # the lesson runs to its last figure

G = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


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
        3 * G - 0.5 * torch.eye(2, dtype=torch.float64)
    )
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for _ in range(200):
        x = layer @ x
    assert torch.allclose(points(line(names["live_antisymmetric"], 0, 0))[-1], x, rtol=1e-8)
    assert f"{torch.linalg.matrix_norm(layer, 2).item():.4f}" in sentence


def test_antisymmetric_without_friction(names):
    assert "they grow" in names["live_antisymmetric"].update(gamma=0.0, h=0.005)
    assert "they stay equal" in names["live_antisymmetric"].update(gamma=0.0, h=0.0)


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


@pytest.mark.parametrize("s,separate", [(0.5, False), (1 / 1.2, False), (1.0, True), (5.0, True)])
def test_pair(names, s, separate):
    sentence = names["live_pair"].update(s=s)
    assert ("some points of the disc separate" in sentence) == separate
    start = torch.tensor([[1.0, 0.0], [1.2, 0.0]], dtype=torch.float64)
    paths = ode.flow(
        lambda x: -0.5 * x + s * x.norm(dim=1, keepdim=True) * (x @ G.T),
        start,
        torch.linspace(0, 6, 13),
    )
    shown = points(line(names["live_pair"], 1, 0))
    assert torch.allclose(shown[::25, 1], (paths[:, 0] - paths[:, 1]).norm(dim=1), atol=1e-6)
    if not separate:
        assert (shown[:, 1].diff() <= 1e-12).all()
    if s == 5.0:
        assert "reaches 0.536" in sentence


@pytest.mark.parametrize(
    "s,grows,beyond",
    [(0.9, False, False), (1.2, False, False), (1.4, True, False), (1.5, True, False),
     (1.6, True, True)],
)  # fmt: skip
def test_this_pair_is_safe_before_all_are(names, s, grows, beyond):
    """Up to s = 1.2 its distance never grows, up to 1.5 it stays within 0.2; others: 0.833."""
    sentence = names["live_pair"].update(s=s)
    gap = points(line(names["live_pair"], 1, 0))[:, 1]
    assert "some points" in sentence and ("reaches 0.200" in sentence) != beyond
    assert (gap.diff() > 1e-12).any().item() == grows
    assert (gap.max() > 0.2 + 1e-12).item() == beyond


# ---- what the still figures draw -----------------------------------------------------------------


@pytest.mark.parametrize("h,radius", [(0.2, 1.0), (2.1, 1.88)])
def test_orbits(names, h, radius):
    step = torch.tensor(
        [[1 - h**2 / 2, h], [-h + h**3 / 4, 1 - h**2 / 2]], dtype=torch.float64
    )  # (q, p), linearised
    assert abs(torch.linalg.eigvals(step).abs().max().item() - radius) < 5e-3
    points, energies = names["orbits"][f"Verlet, h = {h}"]
    assert points.shape == (201, 2) and energies[0] == 1
    assert (energies.max().item() < 1.01) == (h <= 2)
    q = torch.full((1, 1), 1e-6, dtype=torch.float64)
    q_next, p_next = names["verlet"](q, 0 * q, h, names["unit"], names["unit"])
    assert torch.allclose(torch.cat([q_next, p_next])[:, 0], 1e-6 * step[:, 0], atol=1e-15)
    assert names["orbits"]["Euler, h = 0.2"][1].max() > 100
    form = torch.tensor([1 - h**2 / 4, 1.0], dtype=torch.float64).diag()  # near 0 Verlet keeps it
    assert torch.allclose(step.T @ form @ step, form)


def test_projected_paths(names):
    """The repaired spiral sits on its bound, the learned field keeps it; else both break it."""
    for found, change in (("spiral_along", 1e-6), ("learned_along", 0.2)):
        along = names[found]
        (_, free), (_, kept) = along["as it is"], along["projected"]
        assert (kept <= 1 + 1e-3).all() and (kept >= 1 - change).all() and (free[1:] > 1).all()
    end = names["learned_along"]["projected"][0][-1]
    assert (end.norm(dim=1) < 0.5).all()


def test_euler_breaks_the_bound_of_the_projection(names):
    start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for method, above in (("euler", 0.05), ("rk4", 5e-7)):
        end = ode.flow(names["repaired"], start, [0.0, 5.0], method, max_step=0.1)[-1]
        assert end.square().sum().item() > math.exp(-2.5) + above


def test_features_leave_without_the_penalty(names):
    """What the caption says of the two fields: most leave, all return."""
    for name, part in (("equilibria only", 1.0), ("with penalty", 0.0)):
        ends = names["feature_paths"][name][-1].reshape(2, 12, 2)
        away = (ends - names["features"][:, None]).norm(dim=2) > 0.3
        assert abs(away.double().mean().item() - part) < 0.5


def test_lyanet(names):
    start, at_1, at_5 = (
        {name: V[k].median().item() for name, V in names["decay"].items()} for k in (0, 20, 100)
    )
    assert abs(start["LyaNet"] - 1.125) < 0.01
    assert at_1["LyaNet"] < 0.05 and at_5["LyaNet"] < 0.05  # it stays
    assert at_1["endpoint only"] < 0.05 and at_5["endpoint only"] > 1  # right at 1, gone at 5


def test_forward_backward(names):
    away = {
        name: (points - torch.as_tensor(centre)).norm(dim=1)
        for name, (points, centre) in (names["runs"] | names["sharp_runs"]).items()
    }
    plain, half, below, beyond = away.values()
    cycle = names["runs"]["a = 1: plain repetition"][0]
    assert torch.allclose(cycle[::3], cycle[0].expand(34, 2)) and plain[-1] > 1
    assert half[-1] < 0.01 and below[-1] < 0.7 and beyond[-1] > 1.5
    assert abs(names["limit"] - 1 / 9.25) < 1e-12
    matrix = torch.eye(2) - names["W"]
    step = torch.eye(2) - names["half"] * matrix
    assert torch.linalg.matrix_norm(step, 2) <= names["factor"] + 1e-12  # the printed factor
    assert abs(names["factor"] - 0.985) < 5e-4 and abs(2 * names["half"] - 0.117) < 1e-3


def test_map_of_rates(names):
    """Positive for the families that promise nothing about pairs; one of them is trained."""
    measured = dict(names["measured"])
    learned = measured.pop("LyaNet, largest of 200 starts")
    assert math.isfinite(learned) and measured.popitem()[1] <= -0.5
    assert all(mu > 0.1 for mu in measured.values()) and len(measured) == 4
