"""The live figures of lesson 3 on both sides of their thresholds, against independent values."""

import math

import numpy as np
import pytest
import scipy.linalg


def lines_over_depth(names):
    """By kind of layers: the line of the measured slopes, the dots of bound and measurement."""
    panels = names["live_depth"].figure.axes
    return dict(zip(names["branches"], (axis.lines[2:] for axis in panels), strict=True))


def kernel_picker(names):
    """The line at the chosen side, the four bars, and the numbers above them."""
    left, right = names["live_kernel"].figure.axes
    return left.lines[2], right.patches, right.texts


@pytest.mark.parametrize("N", [0, 1, 50, 80])
def test_depth_slider_bound_and_measurement(names, N):
    bound = 1.1**N
    seen = names["live_depth"].update(N=N)
    assert f"product bound {bound:.2f}" in seen
    assert f"e to the LT {math.exp(0.1 * N):.2f}" in seen
    for name, (measured_line, bound_dot, measured_dot) in lines_over_depth(names).items():
        (x,), (y,) = bound_dot.get_data()
        (_,), (slope,) = measured_dot.get_data()
        assert x == N and y == pytest.approx(bound)
        assert float(slope) <= bound + 1e-9 <= math.exp(0.1 * N) + 2e-9
        assert f"{name} {float(slope):.2f}" in seen
        assert len(measured_line.get_xdata()) == N + 1


def test_depth_slider_known_slopes(names):
    assert "117.39" in names["live_depth"].update(N=50)
    found = {}
    for name, (_, _, measured_dot) in lines_over_depth(names).items():
        found[name] = float(measured_dot.get_ydata()[0])
    assert found["identity"] == pytest.approx(1.1**50)  # attains the bound
    assert found["turning"] == pytest.approx(1.01**25)  # |1 + 0.1 i| in every layer
    assert found["downhill"] <= 1 + 1e-9
    assert found["random"] < 12


def test_panels_over_depth_are_named_for_their_layers(names):
    """Each title says the formula of the branch in its panel."""
    formulas = {"identity": "x", "random": "tanh(Wx+b)", "turning": "Sx", "downhill": "tanh(Ax)"}
    panels = names["live_depth"].figure.axes
    for name, axis in zip(names["branches"], panels, strict=True):
        title = axis.get_title(loc="left") or axis.get_title()
        assert title.startswith(f"{name}: ") and formulas[name] in title
        lines = axis.lines
        assert lines[1].get_ydata()[50] == pytest.approx(1.1**50)
        assert lines[0].get_ydata()[50] == pytest.approx(math.exp(5))


@pytest.mark.parametrize("n", [3, 4, 5, 6, 9, 10])
def test_kernel_picker_trap(names, n):
    """The torus of the same side bounds for even sides only; exact: 1 + 2 cos(pi / (n + 1))."""
    side_line, bars, numbers = kernel_picker(names)
    seen = names["live_kernel"].update(kernel_name="trap (-1, 1, -1)", n=n)
    exact = 1 + 2 * math.cos(math.pi / (n + 1))
    assert f"exact norm {exact:.2f}" in seen
    same_side = np.abs(1 - 2 * np.cos(2 * np.pi * np.arange(n) / n)).max()
    heights = [bar.get_height() for bar in bars]
    assert heights[0] == pytest.approx(same_side / exact)
    assert (same_side < exact) == (n % 2 == 1) == ("torus of side n (" in seen)
    assert bool(bars[0].get_hatch()) == (n % 2 == 1)
    next_ring = np.abs(1 - 2 * np.cos(2 * np.pi * np.arange(n + 1) / (n + 1))).max()
    assert heights[1] == pytest.approx(next_ring / exact)
    assert heights[1] >= 1 - 1e-9 and "side n+1" not in seen
    assert heights[2] == pytest.approx(math.sqrt(3) / exact) and bars[2].get_hatch()  # |R|
    assert heights[3] == pytest.approx(3 * math.sqrt(3) / exact)
    assert numbers[0].get_text() == f"{same_side:.2f}"
    assert side_line.get_xdata()[0] == n


def test_kernel_picker_all_kernels(names):
    _, bars, _ = kernel_picker(names)
    assert len(bars) == 4
    for name, kernel in names["kernels"].items():
        K = np.asarray(kernel)
        for n in names["sides"]:
            seen = names["live_kernel"].update(kernel_name=name, n=n)
            A = np.zeros((K.shape[0], n, n, K.shape[1], n, n))
            for i in range(n):
                for j in range(n):
                    for a in range(3):
                        for b in range(3):
                            if 0 <= i + a - 1 < n and 0 <= j + b - 1 < n:
                                A[:, i, j, :, i + a - 1, j + b - 1] = K[:, :, a, b]
            exact = scipy.linalg.svdvals(A.reshape(K.shape[0] * n * n, -1))[0]
            assert f"exact norm {exact:.2f}" in seen
            heights = [bar.get_height() for bar in bars]
            assert all(heights[i] >= 1 - 1e-9 for i in (1, 3)), (
                name,
                n,
                heights,
            )  # the guaranteed bounds
            if n == 10:
                assert heights[1] <= 1.06  # the text says so
            if n >= 3:  # a window lies inside
                assert heights[2] <= 1 + 1e-9
            assert max(heights) < 3.4  # all bars fit into the axes
            for bar, height in zip(bars, heights, strict=True):
                assert bool(bar.get_hatch()) == (height < 1 - 1e-9)
    # the reshaped matrix is above the norm when no window fits, below it as soon as one does
    live = names["live_kernel"]
    assert "|R|" not in live.update(kernel_name="random, 3 to 4 channels", n=2)
    assert "|R|" in live.update(kernel_name="random, 3 to 4 channels", n=3)


def test_both_figures_say_the_same_of_the_next_ring(names):
    """The ring of n + 1 in the still picture and the second bar: for the trap and n = 5, both 3."""
    assert float(names["rings"][6 - 3]) == pytest.approx(3)
    _, _, numbers = kernel_picker(names)
    names["live_kernel"].update(kernel_name="trap (-1, 1, -1)", n=5)
    assert numbers[1].get_text() == "3.00"


def test_the_best_of_four_tori_is_better_than_one(names):
    assert names["best_of_four"] == pytest.approx(1 + math.sqrt(3), rel=1e-6)
