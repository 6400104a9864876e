"""Runge-Kutta methods, flows, logarithmic norms and contractivity radii, against references."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from chapter_utils import ode, runge_kutta
from helpers import REAL_LIMITS, examples, seeded

RADII = {
    "euler": 1,
    "heun": 1,
    "ssprk3": 1,
    "rk4": 1,
    "midpoint": 0,
    "heun3": 0,
    "ralston2": (math.sqrt(21) - 3) / 2,
    "kutta3": 0.5,
    "three_eighths": 2 * math.sqrt(3) - 3,
    "trapezoidal": 2,
    "implicit_euler": math.inf,
    "implicit_midpoint": math.inf,
}
ORDERS = {
    "euler": 1,
    "implicit_euler": 1,
    "ssprk3": 3,
    "heun3": 3,
    "kutta3": 3,
    "rk4": 4,
    "three_eighths": 4,
}
IMPLICIT = ["implicit_euler", "implicit_midpoint", "trapezoidal"]


def pendulum(x):
    return torch.stack([x[..., 1], -x[..., 0].sin() - 0.3 * x[..., 1]], -1)


def brute_force_radius(method):
    """Bisection on the smallest eigenvalue of M + B/r, with numpy only."""
    A, b = method.A.numpy(), method.b.numpy()
    M = np.diag(b) @ A + A.T @ np.diag(b) - np.outer(b, b)

    def fits(r):
        return np.linalg.eigvalsh(M + np.diag(b) / r)[0] > -1e-11 and b.min() >= 0

    low, high = 1e-5, 1e5
    if fits(high):
        return math.inf
    if not fits(low):
        return 0.0
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


# ---- tableaus ------------------------------------------------------------------------------------


def test_every_method_has_a_known_radius():
    assert set(RADII) == set(runge_kutta.TABLEAUS)


@pytest.mark.parametrize("name", RADII)
def test_radius_equals_the_table_and_the_brute_force_search(name):
    radius = runge_kutta.circle_contractivity_radius(runge_kutta.TABLEAUS[name])
    assert radius == pytest.approx(RADII[name], abs=1e-4)
    assert radius == pytest.approx(brute_force_radius(runge_kutta.TABLEAUS[name]), abs=1e-4)


@pytest.mark.parametrize("number", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["euler", "rk4", "ralston2"])
def test_substeps_multiply_the_radius_and_equal_repeated_steps(name, number):
    method = runge_kutta.named_tableau(name)
    many = runge_kutta.substeps(method, number)
    assert runge_kutta.circle_contractivity_radius(many) == pytest.approx(
        brute_force_radius(many), abs=1e-4
    )
    if name == "euler":
        assert runge_kutta.circle_contractivity_radius(many) == pytest.approx(number, abs=1e-9)
    x = y = torch.randn(4, 2, dtype=torch.float64, generator=seeded(number))
    for _ in range(number):
        y = runge_kutta.runge_kutta_step(pendulum, y, 0.7 / number, method)
    assert torch.allclose(runge_kutta.runge_kutta_step(pendulum, x, 0.7, many), y, atol=1e-13)


@examples(60)
@given(st.integers(1, 4), st.integers(0, 10**6))
def test_radius_of_random_tableaus(stages, seed):
    generator = seeded(seed)
    b = torch.rand(stages, generator=generator, dtype=torch.float64) + 0.05
    b = b / b.sum()
    A = torch.randn(stages, stages, generator=generator, dtype=torch.float64)
    method = runge_kutta.tableau(A, b / b.sum())
    assert runge_kutta.circle_contractivity_radius(method) == pytest.approx(
        brute_force_radius(method), rel=1e-4, abs=2e-5
    )


def test_tableaus_refuse_what_is_no_consistent_method():
    with pytest.raises(ValueError, match=r"sum to 1, these sum to 0\.9"):
        runge_kutta.tableau([[0, 0], [1, 0]], [0.5, 0.4])
    with pytest.raises(ValueError, match=r"shape \(s, s\)"):
        runge_kutta.tableau([[0, 0]], [0.5, 0.5])
    with pytest.raises(ValueError, match="finite"):
        runge_kutta.tableau([[math.nan]], [1])
    with pytest.raises(ValueError, match="method must be one of euler, heun"):
        runge_kutta.named_tableau("rk5")
    with pytest.raises(ValueError, match="substeps must be positive"):
        runge_kutta.substeps(runge_kutta.TABLEAUS["euler"], 0)


# ---- steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RADII)
def test_linear_step_is_the_stability_function(name):
    """R(hA) x by eigen-decomposition, for a normal matrix with complex eigenvalues, real points."""
    method, A = (
        runge_kutta.TABLEAUS[name],
        torch.tensor([[-1.0, 3.0], [-3.0, -1.0]], dtype=torch.float64),
    )
    x = torch.randn(5, 2, dtype=torch.float64, generator=seeded(0))
    factor = runge_kutta.stability_function(method, 0.3 * complex(-1, 3)).item()
    expected = torch.tensor(
        [[factor.real, factor.imag], [-factor.imag, factor.real]], dtype=torch.float64
    )
    assert torch.allclose(
        runge_kutta.runge_kutta_step(lambda v: v @ A.T, x, 0.3, method), x @ expected.T, atol=1e-13
    )
    assert torch.allclose(
        runge_kutta.runge_kutta_step(lambda v: A @ v, x[0], 0.3, method),
        expected @ x[0],
        atol=1e-13,
    )


@pytest.mark.parametrize("name", RADII)
def test_order_of_accuracy(name):
    x = torch.tensor([[2.5, 0.0]], dtype=torch.float64)
    exact = scipy.integrate.solve_ivp(
        lambda t, v: [v[1], -math.sin(v[0]) - 0.3 * v[1]],
        (0, 2),
        [2.5, 0.0],
        rtol=1e-12,
        atol=1e-13,
    ).y[:, -1]
    errors = [
        np.abs(ode.flow(pendulum, x, [0.0, 2.0], name, step)[-1, 0].numpy() - exact).max()
        for step in (0.1, 0.05)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(ORDERS.get(name, 2), abs=0.3)


@pytest.mark.parametrize("name", IMPLICIT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_implicit_steps_solve_stiff_and_nonsmooth_equations(name, dtype):
    generator = seeded(3)
    A = torch.randn(3, 2, generator=generator, dtype=dtype)

    def field(v):
        return -50 * torch.relu(v @ A.T - 0.2) @ A

    x = torch.randn(200, 2, generator=generator, dtype=dtype)
    y = runge_kutta.runge_kutta_step(field, x, 1.0, runge_kutta.TABLEAUS[name])
    if name == "implicit_euler":
        error = y - x - field(y)
    elif name == "trapezoidal":
        error = y - x - (field(x) + field(y)) / 2
    else:
        error = y - x - field((x + y) / 2)
    assert error.abs().max() < (1e-2 if dtype == torch.float32 else 1e-10)
    assert y.dtype == dtype and torch.allclose(
        y[3], runge_kutta.runge_kutta_step(field, x[3], 1.0, runge_kutta.TABLEAUS[name]), atol=1e-4
    )
    assert runge_kutta.runge_kutta_step(field, x[:0], 1.0, runge_kutta.TABLEAUS[name]).shape == (
        0,
        2,
    )


@pytest.mark.parametrize("name", ["rk4", *IMPLICIT])
def test_steps_are_differentiable_in_state_and_parameters(name):
    rate = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[1.0, -0.4], [0.2, 0.7]], dtype=torch.float64, requires_grad=True)
    size = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def step(x, rate, size):
        return runge_kutta.runge_kutta_step(
            lambda v: torch.sin(v.flip(-1)) - rate * v, x, size, runge_kutta.TABLEAUS[name]
        )

    assert torch.autograd.gradcheck(step, (x, rate, size))
    jacobian = torch.func.jacrev(lambda v: step(v, rate, size))(x[0])
    assert torch.allclose(
        jacobian[0], torch.autograd.grad(step(x, rate, size)[0, 0], x)[0][0], atol=1e-12
    )


def test_explicit_steps_keep_any_shape():
    x = torch.randn(2, 3, 4, 4)
    assert (
        runge_kutta.runge_kutta_step(torch.tanh, x, 0.1, runge_kutta.TABLEAUS["rk4"]).shape
        == x.shape
    )
    with pytest.raises(ValueError, match=r"\(B, d\) or \(d,\), got \(2, 3, 4, 4\)"):
        runge_kutta.runge_kutta_step(torch.tanh, x, 0.1, runge_kutta.TABLEAUS["implicit_euler"])


def test_steps_refuse_bad_input_in_one_sentence():
    x = torch.ones(3, 2, dtype=torch.float64)
    for size in (0.0, -0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="step size h must be positive"):
            runge_kutta.runge_kutta_step(torch.tanh, x, size, runge_kutta.TABLEAUS["euler"])
    for name in ("euler", "rk4", "implicit_midpoint"):
        with pytest.raises(ValueError, match=r"shape of the state \(3, 2\), it returned \(3, 1\)"):
            runge_kutta.runge_kutta_step(lambda v: v[..., :1], x, 0.1, runge_kutta.TABLEAUS[name])
    message = r"equations for step size 1: the residual is \d\.\de.\d\d after 50"
    with pytest.raises(ArithmeticError, match=message):
        runge_kutta.runge_kutta_step(
            lambda v: v**2 + 1, x, 1.0, runge_kutta.TABLEAUS["implicit_euler"]
        )  # y = x + y^2 + 1: no real y


# ---- flows ---------------------------------------------------------------------------------------


def test_flow_equals_the_matrix_exponential():
    A = torch.tensor([[-1.0, 10.0], [0.0, -2.0]], dtype=torch.float64)
    x = torch.randn(6, 2, dtype=torch.float64, generator=seeded(1))
    times = torch.tensor([0.5, 0.505, 1.3, 4.0])
    states = ode.flow(lambda v: v @ A.T, x, times)
    assert states.shape == (4, 6, 2) and torch.equal(states[0], x)
    for t, state in zip(times.tolist(), states, strict=True):
        expected = x.numpy() @ scipy.linalg.expm(A.numpy() * (t - 0.5)).T
        assert np.abs(state.numpy() - expected).max() < 1e-7


def test_flow_equals_solve_ivp_and_hits_all_times():
    times = np.array([0.0, 0.003, 1.0, 2.7])
    states = ode.flow(pendulum, torch.tensor([[2.5, 0.0]], dtype=torch.float64), times.tolist())
    exact = scipy.integrate.solve_ivp(
        lambda t, v: [v[1], -math.sin(v[0]) - 0.3 * v[1]],
        (0, 2.7),
        [2.5, 0.0],
        t_eval=times,
        rtol=1e-11,
        atol=1e-12,
    )
    assert np.abs(states[:, 0].numpy() - exact.y.T).max() < 1e-8


@pytest.mark.parametrize(
    "times, max_step, steps",
    [([0, 1], 0.1, 10), ([0, 1, 1.05], 0.1, 11), ([2.0], 0.1, 0), ([0, 0.31], 0.1, 4)],
)
def test_flow_never_exceeds_the_longest_step(times, max_step, steps):
    calls = []
    ode.flow(lambda v: calls.append(1) or -v, torch.ones(1, 2), times, "euler", max_step)
    assert len(calls) == steps


def test_flow_refuses_bad_input_in_one_sentence():
    x = torch.ones(3, 2)
    for times in ([0, 2, 1], [0, 0], [], [0, math.nan], [0, math.inf], 3.0, [[0, 1]]):
        with pytest.raises(ValueError, match="times must be"):
            ode.flow(torch.tanh, x, times)
    for step in (0, -0.1, math.nan):
        with pytest.raises(ValueError, match="max_step must be positive"):
            ode.flow(torch.tanh, x, [0, 1], max_step=step)
    with pytest.raises(ValueError, match="method must be one of"):
        ode.flow(torch.tanh, x, [0, 1], "magic")
    with pytest.raises(ValueError, match="keep the shape of the state"):
        ode.flow(lambda v: v.sum(-1), x, [0, 1])


# ---- logarithmic norms and stability functions ---------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_logarithmic_norm_is_the_derivative_of_the_norm_of_the_exponential(seed):
    generator = seeded(seed)
    A = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    P, h = root @ root.T + torch.eye(4), 1e-7
    growth = np.eye(4) + h * A.numpy()
    for norm in (1, 2, math.inf):
        expected = (np.linalg.norm(growth, norm if norm != math.inf else np.inf) - 1) / h
        assert ode.logarithmic_norm(A, norm).item() == pytest.approx(expected, abs=1e-5)
    pencil = scipy.linalg.eigh((P @ A + A.T @ P).numpy(), 2 * P.numpy(), eigvals_only=True)[-1]
    assert ode.logarithmic_norm(A, weight=P).item() == pytest.approx(pencil, abs=1e-10)


def test_logarithmic_norm_of_known_matrices_and_batches():
    A = torch.tensor([[-1.0, 10.0], [0.0, -2.0]], dtype=torch.float64)
    assert ode.logarithmic_norm(A).item() == pytest.approx(3.525, abs=1e-3)
    assert ode.logarithmic_norm(A.long(), 1).item() == 8
    assert (ode.logarithmic_norm(A, 1).item(), ode.logarithmic_norm(A, math.inf).item()) == (8, 9)
    assert torch.equal(ode.logarithmic_norm(torch.stack([A, -A]))[0], ode.logarithmic_norm(A))
    P = torch.tensor(scipy.linalg.solve_continuous_lyapunov(A.T.numpy(), -np.eye(2)))
    assert ode.logarithmic_norm(A, weight=P).item() == pytest.approx(-0.056, abs=1e-3)


def test_logarithmic_norm_refuses_bad_input_in_one_sentence():
    with pytest.raises(ValueError, match="needs finite square matrices"):
        ode.logarithmic_norm(torch.ones(2, 3))
    with pytest.raises(ValueError, match="needs finite square matrices"):
        ode.logarithmic_norm(torch.tensor([[math.nan]]))
    with pytest.raises(ValueError, match="norm must be one of 1, 2, inf, got 3"):
        ode.logarithmic_norm(torch.eye(2), 3)
    for weight in (
        -torch.eye(2),
        torch.eye(3),
        torch.tensor([[1.0, 0.9], [0.0, 1.0]]),
        torch.ones(2),
    ):
        with pytest.raises(ValueError, match="symmetric positive definite"):
            ode.logarithmic_norm(torch.eye(2), weight=weight)


@pytest.mark.parametrize("name", REAL_LIMITS)
def test_stability_limit_on_the_real_axis(name):
    z = torch.linspace(-4, 0, 4001, dtype=torch.float64)[:-1]
    unstable = z[runge_kutta.stability_function(runge_kutta.TABLEAUS[name], z).abs() > 1 + 1e-9]
    assert -unstable.max().item() == pytest.approx(REAL_LIMITS[name], abs=2e-3)


@examples(50)
@given(st.complex_numbers(max_magnitude=5), st.sampled_from(sorted(runge_kutta.TABLEAUS)))
def test_stability_function_equals_its_formula(z, name):
    A, b = (v.numpy() for v in runge_kutta.TABLEAUS[name])
    matrix = np.eye(len(b)) - z * A
    if abs(np.linalg.det(matrix)) > 1e-3:
        expected = 1 + z * b @ np.linalg.solve(matrix, np.ones(len(b)))
        assert runge_kutta.stability_function(
            runge_kutta.TABLEAUS[name], z
        ).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_stability_function_keeps_shapes_and_reality():
    z = torch.tensor([[-1.0, 2.0]])
    assert runge_kutta.stability_function(runge_kutta.TABLEAUS["rk4"], z).shape == (1, 2)
    assert not runge_kutta.stability_function(runge_kutta.TABLEAUS["rk4"], z).is_complex()
    assert (
        runge_kutta.stability_function(runge_kutta.TABLEAUS["euler"], torch.tensor(2)).item() == 3
    )
    assert math.isinf(
        runge_kutta.stability_function(runge_kutta.TABLEAUS["implicit_euler"], 1.0).item()
    )


# ---- what people bring ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["rk4", "implicit_midpoint"])
def test_a_field_that_works_in_place_changes_nothing(method):
    def in_place(x):
        return x.mul_(-1)

    x0 = torch.ones(2, 3, dtype=torch.float64)
    with torch.no_grad():
        states = ode.flow(in_place, x0, [0.0, 1.0], method)
    assert torch.equal(x0, torch.ones_like(x0))
    assert states[-1].numpy() == pytest.approx(np.exp(-1), rel=1e-4)


def test_whole_numbers_are_states_too():
    states = ode.flow(lambda x: -x, torch.tensor([[1, 2]]), [0.0, 1.0])
    assert states[-1, 0].tolist() == pytest.approx([np.exp(-1), 2 * np.exp(-1)], rel=1e-5)


def test_a_flow_that_is_not_finite_is_no_answer():
    stiff = torch.full((1, 1), 1.0, dtype=torch.float64)
    with pytest.raises(ArithmeticError, match="smaller max_step"):
        ode.flow(lambda x: -1e6 * x, stiff, [0.0, 1.0])
