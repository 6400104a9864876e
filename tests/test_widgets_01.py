"""Drive the live figures of lesson 1 below, at and above their thresholds, against scipy."""

import math
import re

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm


def numbers(sentence):
    return [float(word) for word in re.findall(r"-?\d+(?:\.\d+)?", sentence)]


def solve(f, x, times):
    return solve_ivp(
        lambda _, z: f(*z), (0, times[-1]), x, t_eval=times, method="DOP853", rtol=1e-10, atol=1e-12
    ).y.T


FIELDS = {
    "damped pendulum": lambda g: lambda q, p: [p, -math.sin(q) - g * p],
    "two valleys": lambda g: lambda x, y: [-(x**3) - (g - 1) * x, -2 * y],
    "rotation": lambda g: lambda x, y: [-y - g * x, x - g * y],
    "shear": lambda g: lambda x, y: [-x + 5 * g * y, -2 * y],
}


@pytest.mark.parametrize("system", FIELDS)
@pytest.mark.parametrize("gamma", [-0.2, 0.0, 0.3, 0.9, 1.0, 1.1, 2.0])
def test_phase_portrait(names, system, gamma):
    sentence = names["live_portrait"].update(system=system, gamma=gamma)
    portrait, distances = names["live_portrait"].figure.axes
    _, first, first_start, second, second_start = portrait.lines
    _, distance_line = distances.lines
    (quiver,) = portrait.collections
    times = names["times"].numpy()
    _, pair = names["systems"][system]
    paths = [solve(FIELDS[system](gamma), x, times) for x in pair]
    distance = np.linalg.norm(paths[0] - paths[1], axis=1)
    for artist, path in zip((first, second), paths, strict=True):
        assert np.allclose(np.transpose(artist.get_data()), path, atol=5e-3)
    for artist, point in zip((first_start, second_start), pair, strict=True):
        assert np.allclose(np.ravel(artist.get_data()), point)
    assert ("speed" in portrait.get_ylabel()) == (system == "damped pendulum")
    assert np.allclose(distance_line.get_ydata(), distance, atol=5e-3)
    assert distance[0] == pytest.approx(0.4)
    said = numbers(sentence)
    assert sentence.lower().startswith(system) and said[0] == gamma
    assert said[2] == pytest.approx(distance.max(), abs=0.012) and said[-1] == pytest.approx(
        distance[-1], abs=0.012
    )
    arrows = np.stack([quiver.U, quiver.V], 1)
    expected = np.array([FIELDS[system](gamma)(*x) for x in quiver.get_offsets()])
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    assert len(arrows) <= 400 and np.allclose(arrows * lengths, expected, atol=1e-6)
    if system == "rotation":  # the threshold is at 0
        assert said[-1] == pytest.approx(0.4 * math.exp(-20 * gamma), abs=0.01)
    if system == "two valleys":  # the threshold is at 1
        assert (said[-1] > 0.5) == (gamma < 1)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 1.0, 1.05, 2.0])
def test_bounds_of_the_small_network(names, gamma):
    sentence = names["live_bounds"].update(gamma=gamma)
    times = names["network_times"].numpy()

    def field(x, y):
        return [-gamma * x + 2 * math.tanh(y), -gamma * y - 2 * math.tanh(x)]

    paths = [solve(field, x, times) for x in names["network_pair"].tolist()]
    growth = np.linalg.norm(paths[0] - paths[1], axis=1)
    growth /= growth[0]
    plane, whole, beginning = names["live_bounds"].figure.axes
    for curve, again in zip(whole.lines, beginning.lines, strict=True):
        assert np.array_equal(curve.get_xydata(), again.get_xydata())
    gronwall, sided, measured = (curve.get_ydata() for curve in whole.lines)
    assert np.allclose(np.linalg.norm(plane.lines[1].get_xydata(), axis=1), growth, atol=1e-4)
    assert np.allclose(measured, growth, atol=1e-4)
    L = np.linalg.norm(
        [[-gamma, 2], [0, -gamma]], 2
    )  # one of the two units switched off: the worst corner
    assert np.allclose(sided, np.exp((1 - gamma) * times), rtol=1e-4) and np.allclose(
        gronwall, np.exp(L * times), rtol=1e-4
    )
    assert (measured <= sided + 1e-9).all() and (sided <= gronwall + 1e-9).all()
    promise = "may grow" if gamma < 1 else "no distance may grow" if gamma == 1 else "must shrink"
    assert promise in sentence and f"mu = {1 - gamma:.2f}" in sentence and "-0.00" not in sentence
    assert (growth.max() > 1 + 1e-6) == (gamma < 1)


@pytest.mark.parametrize("k", [0.0, 2.5, math.sqrt(8), 3.1, 10.0])
@pytest.mark.parametrize("t", [0.0, 0.7, 4.0])
def test_transient_growth(names, k, t):
    sentence = names["live_transient"].update(k=k, t=t)
    A = np.array([[-1, k], [0, -2]])
    norms, image = names["live_transient"].figure.axes
    _, stretch_line, mu_line, dot, _ = norms.lines
    circle, image_line, longest_line = image.lines
    times = np.asarray(stretch_line.get_xdata())
    size = np.array([np.linalg.norm(expm(A * s), 2) for s in times])
    mu = np.linalg.eigvalsh((A + A.T) / 2)[-1]
    assert np.allclose(stretch_line.get_ydata(), size, rtol=1e-9)
    assert np.allclose(mu_line.get_ydata(), np.exp(mu * times), rtol=1e-4)
    assert (np.exp(-times) <= size * (1 + 1e-9)).all() and (
        size <= np.exp(mu * times) * (1 + 1e-9)
    ).all()
    image = np.stack(image_line.get_data())
    assert np.allclose(image, expm(A * t) @ np.stack(circle.get_data()))
    assert np.allclose(np.linalg.norm(circle.get_xydata(), axis=1), 1) and times[-1] == 4
    assert dot.get_xydata()[0] == pytest.approx([t, np.linalg.norm(expm(A * t), 2)])
    ends = np.stack(longest_line.get_data())
    assert np.linalg.norm(ends[:, 0]) == pytest.approx(np.linalg.norm(expm(A * t), 2))
    assert np.linalg.norm(image, axis=0).max() <= np.linalg.norm(ends[:, 0]) + 1e-9
    assert ("Lengths grow" in sentence) == (k > math.sqrt(8)) == (size.max() > 1 + 1e-6)
    assert numbers(sentence)[-1] == pytest.approx(size.max(), abs=0.006) and "-0.00" not in sentence


def test_sliders_reach_both_sides(names):
    ranges = {
        name: [(c.min, c.max) for c in names[name].controls.values() if hasattr(c, "min")]
        for name in ("live_portrait", "live_bounds", "live_transient")
    }
    assert ranges == {
        "live_portrait": [(-0.2, 2)],
        "live_bounds": [(0, 2)],
        "live_transient": [(0, 10), (0, 4)],
    }
    assert set(names["live_portrait"].controls["system"].options) == set(FIELDS)
