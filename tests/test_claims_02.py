"""Lesson 2: every claim, an attempt to refute it, and what happens without its hypothesis."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from chapter_utils import runge_kutta
from helpers import REAL_LIMITS, normal, pairs, seeded, stability_factor
from helpers import stretch as largest_slope

SEEDS = range(8)
EXPLICIT = [name for name, method in runge_kutta.TABLEAUS.items() if method.explicit]
IMPLICIT = [name for name, method in runge_kutta.TABLEAUS.items() if not method.explicit]
EYE = torch.eye(2, dtype=torch.float64)


def uniform(seed, low, high, *shape):
    return low + (high - low) * torch.rand(*shape, generator=seeded(seed), dtype=torch.float64)


def random_tableau(seed, stages):
    """Explicit, with positive weights."""
    b = uniform(seed, 0.1, 1, stages)
    return runge_kutta.tableau(torch.tril(normal(seed + 100, stages, stages), -1), b / b.sum())


def stretch(f, method, h, x, y):
    return largest_slope(lambda z: runge_kutta.runge_kutta_step(f, z, h, method), x, y)


def convex_field(seed, dimension=2, units=6):
    """-grad of a convex potential with Lipschitz constant 1.

    Its worst slope is attained where all units are on.
    """
    W, b = normal(seed, units, dimension), normal(seed + 50, units)
    W = W / torch.linalg.matrix_norm(W, 2)
    return lambda x: -torch.relu(x @ W.T + b) @ W


def step_by_hand(method, x, h, slopes_of_stage):
    """x after one explicit step, stage i having its own field."""
    slopes = []
    for i, row in enumerate(method.A.tolist()):
        slopes.append(
            slopes_of_stage(i, x + h * sum(a * k for a, k in zip(row, slopes, strict=False)))
        )
    return x + h * sum(b * k for b, k in zip(method.b.tolist(), slopes, strict=True))


# ---- 2.1 to 2.3: one solution --------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", runge_kutta.TABLEAUS)
def test_claim_2_1_stability_function(name, seed):
    """R(hK) from the eigenvectors of K, against a step."""
    method, K, x, h = (
        runge_kutta.TABLEAUS[name],
        normal(seed, 3, 3) - torch.eye(3),
        normal(seed + 1, 5, 3),
        0.4,
    )
    eigenvalues, V = np.linalg.eig(K.numpy())
    R = [stability_factor(method, h * e) for e in eigenvalues]
    expected = (V @ np.diag(R) @ np.linalg.inv(V)).real
    stepped = runge_kutta.runge_kutta_step(lambda v: v @ K.T, x, h, method)
    assert np.allclose(stepped.numpy(), x.numpy() @ expected.T, atol=1e-9)
    assert np.allclose(
        runge_kutta.stability_function(method, torch.tensor(h * eigenvalues)).numpy(), R, atol=1e-9
    )
    cubic = runge_kutta.runge_kutta_step(
        lambda v: -(v**3), torch.tensor([[0.5], [1.5]], dtype=torch.float64), h, method
    )
    assert abs(cubic[0] / 0.5 - cubic[1] / 1.5) > 0.05  # not linear: no common factor


def test_claim_2_1_needs_the_inverse():
    """At h lambda = 1 implicit Euler asks for X = x + X."""
    implicit = runge_kutta.TABLEAUS["implicit_euler"]
    with pytest.raises(ArithmeticError):
        runge_kutta.runge_kutta_step(lambda x: x, torch.ones(1, 1).double(), 1.0, implicit)
    assert not runge_kutta.stability_function(implicit, torch.tensor(1.0)).isfinite()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_claim_2_2_no_explicit_method_is_a_stable(stages, seed):
    method = random_tableau(seed, stages)
    z = torch.arange(0, stages + 3, dtype=torch.float64)
    differences = runge_kutta.stability_function(method, z)
    for _ in range(stages):
        differences = differences.diff()
    assert differences.abs().max() > 1e-9  # the degree is s ...
    differences = differences.diff()
    assert differences.abs().max() < 1e-6  # ... and not more
    far = runge_kutta.stability_function(
        method, -torch.logspace(1, 7, 7, dtype=torch.float64)
    ).abs()
    assert far[-1] > 1e4
    for name in EXPLICIT:
        assert (
            runge_kutta.stability_function(runge_kutta.TABLEAUS[name], torch.tensor(-1e3)).abs()
            > 100
        )
    left = torch.complex(-(uniform(seed, 0, 1, 2000) ** 3) * 1e3, 1e2 * normal(seed, 2000))
    for name in IMPLICIT:  # drop "explicit"
        assert (
            runge_kutta.stability_function(runge_kutta.TABLEAUS[name], left).abs().max() <= 1 + 1e-9
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_2_3_euler_expands_every_rotation(seed):
    K, x, h = normal(seed, 4, 4), normal(seed + 1, 6, 4), 10 ** uniform(seed, -2, 1, 1).item()
    S = K - K.T
    stepped = runge_kutta.runge_kutta_step(lambda v: v @ S.T, x, h, runge_kutta.TABLEAUS["euler"])
    grown = x.square().sum(1) + h**2 * (x @ S.T).square().sum(1)
    assert torch.allclose(stepped.square().sum(1), grown, rtol=1e-12)
    omega = 1 + seed
    turn = omega * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    length = (
        runge_kutta.runge_kutta_step(
            lambda v: v @ turn.T, normal(seed, 1, 2), h, runge_kutta.TABLEAUS["euler"]
        ).norm()
        / normal(seed, 1, 2).norm()
    )
    assert length.item() == pytest.approx(math.sqrt(1 + h**2 * omega**2)) and length > 1
    # another method, or friction, and lengths need not grow
    assert runge_kutta.stability_function(runge_kutta.TABLEAUS["rk4"], 2.8j).abs() < 1
    gamma = 0.5
    longest = 2 * gamma / (gamma**2 + omega**2)
    x = normal(seed, 1, 2)
    for factor, grows in ((0.99, False), (1.01, True)):
        end = runge_kutta.runge_kutta_step(
            lambda v: v @ turn.T - gamma * v, x, factor * longest, runge_kutta.TABLEAUS["euler"]
        )
        assert bool(end.norm() > x.norm()) is grows


def test_euler_doubles_a_rotation_after_140_steps():
    x = torch.tensor([[1.0, 0.0]])
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    lengths = []
    for _ in range(140):
        x = runge_kutta.runge_kutta_step(
            lambda v: v @ turn.T, x, 0.1, runge_kutta.TABLEAUS["euler"]
        )
        lengths.append(x.norm().item())
    assert lengths[-2] < 2 <= lengths[-1]


# ---- 2.4 to 2.7: two solutions -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_claim_2_4_a_convex_potential_gives_cocoercivity(seed):
    f, (x, y) = convex_field(seed, 3), pairs(seed, 3)
    df, dx = f(x) - f(y), x - y
    assert ((df * dx).sum(1) + df.square().sum(1)).max() <= 1e-12  # L = 1

    for L in (0.5, 1.0, 3.0):  # -grad of a sum of L softplus(4 z) / 4, steepest at 0
        for size, attained in ((1.0, False), (1e-3, True)):

            def soft(z, L=L):
                return -L * torch.sigmoid(4 * z)

            df, dx = soft(size * x) - soft(size * y), size * (x - y)
            ratio = -(df * dx).sum(1) / df.square().sum(1)
            assert ratio.min() >= (1 - 1e-6) / L
            assert (ratio.max().item() < 1.001 / L) is attained
    gamma, omega = (
        0.5 + seed / 10,
        3.0,
    )  # no potential: a spiral is cocoercive only with nu = gamma / L^2
    L = math.hypot(gamma, omega)
    K = torch.tensor([[-gamma, -omega], [omega, -gamma]], dtype=torch.float64)
    x, y = pairs(seed, 2)
    df, dx = (x - y) @ K.T, x - y
    ratio = -(df * dx).sum(1) / df.square().sum(1)
    assert torch.allclose(ratio, torch.full_like(ratio, gamma / L**2)) and gamma / L**2 < 1 / L
    near = 0.1 * normal(seed, 2, 100, 1)  # not convex: the top of a double well pushes apart
    well = [torch.tanh(2 * z) - z for z in near]
    assert ((well[0] - well[1]) * (near[0] - near[1])).min() > 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "name", [*runge_kutta.TABLEAUS, "random 2", "random 3", "random 4", "five steps"]
)
def test_claim_2_5_circle_contractivity(name, seed):
    """Random convex potentials, and random symmetric matrices, another one at each stage."""
    if name == "five steps":
        method = runge_kutta.substeps(runge_kutta.TABLEAUS["euler"], 5)
    else:
        method = (
            random_tableau(seed, int(name[-1]))
            if name.startswith("random")
            else runge_kutta.TABLEAUS[name]
        )
    r = runge_kutta.circle_contractivity_radius(method)
    if r == 0:
        return  # no promise
    h = min(2 * r, 50.0)
    x, y = pairs(seed, 2)
    f = convex_field(seed)
    assert stretch(f, method, h, x, y) <= 1 + 1e-7
    assert stretch(f, method, 0.3 * h, x, y) <= 1 + 1e-7
    if method.explicit:
        d, s = 3, len(method.b)
        Q = torch.linalg.qr(normal(seed, 200, s, d, d)).Q
        H = Q @ (
            uniform(seed, 0, 1, 200, s, d, 1).round(decimals=0) * Q.mT
        )  # projections: the extreme cases
        start = normal(seed + 1, 200, d, 1)
        end = step_by_hand(method, start, h, lambda i, z: -H[:, i] @ z)
        assert (end.norm(dim=1) / start.norm(dim=1)).max() <= 1 + 1e-9


def test_claim_2_5_needs_each_hypothesis():
    x, y = pairs(0, 2)
    euler = runge_kutta.TABLEAUS["euler"]
    assert stretch(lambda v: -v, euler, 2.1, x, y) > 1.05  # h > 2 r / L
    K = torch.tensor([[-1.0, 3.0], [-3.0, -1.0]], dtype=torch.float64)
    assert stretch(lambda v: v @ K.T, euler, 2 / math.sqrt(10), x, y) == pytest.approx(
        1.93, abs=0.01
    )  # no potential
    assert stretch(lambda v: torch.tanh(2 * v) - v, euler, 2.0, x, y) > 1.5  # not convex
    # a negative weight: M is positive definite, and the second stage has a pole at h L = 0.4
    A, b = np.diag([2.0, -2.5]), np.array([2.0, -1.0])
    assert np.linalg.eigvalsh(np.diag(b) @ A + A.T @ np.diag(b) - np.outer(b, b))[0] > 1
    method = runge_kutta.tableau(A, b)
    assert stretch(lambda v: -v, method, 0.39, x, y) > 10
    assert runge_kutta.circle_contractivity_radius(method) == 0  # so the library promises nothing


def test_table_of_radii_and_limits():
    """content: guaranteed radius and the linear limit, recomputed with numpy."""
    for name, limit in REAL_LIMITS.items():
        tableau = runge_kutta.TABLEAUS[name]
        assert abs(stability_factor(tableau, -limit + 1e-3)) <= 1 + 1e-9
        assert abs(stability_factor(tableau, -limit - 2e-3)) > 1


@pytest.mark.parametrize("m", [1, 2, 3, 5, 10])
def test_claim_2_6_substeps(m):
    method = runge_kutta.substeps(runge_kutta.TABLEAUS["euler"], m)
    assert runge_kutta.circle_contractivity_radius(method) == pytest.approx(m, rel=1e-9)
    x, y = pairs(m, 2)
    assert stretch(convex_field(m), method, 2 * m, x, y) <= 1 + 1e-9
    by_hand = x
    for _ in range(m):
        by_hand = by_hand + 2 * convex_field(m)(by_hand)
    assert torch.allclose(
        runge_kutta.runge_kutta_step(convex_field(m), x, 2.0 * m, method), by_hand, atol=1e-9
    )
    assert stretch(lambda v: -v, method, 2.02 * m, x, y) > 1.01  # a longer step


def bad_slopes(method, h, eps):
    """The slopes of the proof of Claim 2.7 for L = 1 and a first difference (1/eps, 0), in 2-D."""
    A, b = method
    r = h / 2
    M = b[:, None] * A + (b[:, None] * A).T - torch.outer(b, b)
    _, vectors = torch.linalg.eigh(M + torch.diag(b) / r)
    w, slopes, start = vectors[:, 0], [], torch.tensor([1 / eps, 0.0], dtype=torch.float64)
    hessians = []
    for i in range(len(b)):
        X = start + h * sum(
            (A[i, j] * slopes[j] for j in range(i)), torch.zeros(2, dtype=torch.float64)
        )
        # delta solves  delta^2 + X_1 delta + w^2 + X_2 w = 0, the small root
        constant = w[i] ** 2 + X[1] * w[i]
        delta = -2 * constant / (X[0] + torch.sqrt(X[0] ** 2 - 4 * constant))
        slope = torch.stack([delta, w[i]])
        slopes.append(slope)
        hessians.append(
            -torch.outer(slope, slope) / (slope @ X)
            if slope.norm() > 1e-9
            else torch.zeros(2, 2).double()
        )
    end = start + h * sum(b[i] * slopes[i] for i in range(len(b)))
    return start, end, torch.stack(hessians)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [*EXPLICIT, "random 2", "random 3", "random 4"])
def test_claim_2_7_the_radius_is_sharp(name, seed):
    method = (
        random_tableau(seed, int(name[-1]))
        if name.startswith("random")
        else runge_kutta.TABLEAUS[name]
    )
    h = max(2.02 * runge_kutta.circle_contractivity_radius(method), 0.2)
    start, end, H = bad_slopes(method, h, 0.02)
    assert (
        torch.allclose(H, H.mT)
        and torch.linalg.eigvalsh(H).max() <= 1 + 1e-6
        and torch.linalg.eigvalsh(H).min() >= -1e-9
    )
    again = step_by_hand(method, start, h, lambda i, z: -H[i] @ z)
    assert torch.allclose(again, end, atol=1e-7)
    assert end.norm() > start.norm()
    if (
        2 * runge_kutta.circle_contractivity_radius(method) > 0
    ):  # within the limit no such potentials exist
        inside = step_by_hand(
            method,
            start,
            1.98 * runge_kutta.circle_contractivity_radius(method),
            lambda i, z: -H[i] @ z,
        )
        assert inside.norm() <= start.norm() * (1 + 1e-12)


def brute_worst(method, h, count=40_000):
    """Largest norm of the step over random projections, one a stage, by plain loops over stages."""
    angles = uniform(7, 0, math.pi, count, len(method.b))
    p = torch.stack([angles.cos(), angles.sin()], -1)
    J = step_by_hand(
        method, EYE.expand(count, 2, 2), h, lambda i, z: -p[:, i, :, None] * (p[:, i, None, :] @ z)
    )
    return torch.linalg.matrix_norm(J, 2).max().item()


@pytest.mark.parametrize(
    "name, h, expected",
    [
        ("midpoint", 1.0, 1.0328),
        ("midpoint", 2.0, math.sqrt(2)),
        ("rk4", 2.05, 1.0009),
        ("rk4", 2.3, 1.035),
        ("rk4", 2.7, 1.216),
    ],
)
def test_worst_norms_beyond_the_radius(name, h, expected):
    found = brute_worst(runge_kutta.TABLEAUS[name], h)
    assert 1 < found <= expected + 6e-4 and found - 1 > 0.25 * (expected - 1)


def test_the_search_gives_stages_at_one_time_one_potential(names):
    """The middle stages of rk4 share their potential; that costs the worst case nothing."""
    for name, angles in names["worst_angles"].items():
        times = runge_kutta.TABLEAUS[name].A.sum(1)
        same = (times[:, None] - times).abs() < 1e-9
        distance = (angles[:, :, None] - angles[:, None]).abs()
        assert distance[:, same].max() == 0
    grid, found = names["hL_grid"], names["stretches"]["rk4"]
    for h in (2.3, 2.7):
        free = brute_worst(runge_kutta.TABLEAUS["rk4"], h)
        assert free <= found[(grid - h).abs().argmin()].item() + 1e-6


def test_rk4_fails_with_one_fixed_potential(names):
    """The potential of the lesson has curvatures between 0 and 1, and at 2.7 a pair separates."""
    gradient = torch.func.grad(names["fixed_potential"])
    hessian = torch.func.vmap(torch.func.jacrev(gradient))
    angle = uniform(0, 0, 2 * math.pi, 4000)
    size = 10 ** uniform(1, -12, 0.5, 4000)
    offsets = (size * torch.stack([angle.cos(), angle.sin()])).T
    for centre in names["centres"]:
        curvatures = torch.linalg.eigvalsh(hessian(centre + offsets))
        assert curvatures.min() >= 0 and curvatures.max() <= 1
    v = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    fade, first, second = 1 - 3 * v**2 + 2 * v**3, 6 * v * (1 - v) / 20, (6 - 12 * v).abs() / 400
    assert (fade + 2.5 * first + 0.5 * second).max() <= 1.063  # the bound of the fold
    assert torch.linalg.matrix_norm(names["bumps"], 2).max() * 1.063 <= 0.5
    centres = torch.stack(names["centres"])
    apart = torch.cdist(centres, centres) + torch.eye(4)
    assert apart.min() > 0.2  # no stage lies in the bump of another
    assert names["pair_growth"] > 1.05
    quadratic = stretch(
        lambda x: -x, runge_kutta.TABLEAUS["rk4"], 2.7, *pairs(0, 2)
    )  # linear theory at the same step
    assert quadratic <= 1


# ---- 2.8 to 2.12: potentials, gradients, implicit steps ------------------------------------------


U, W = (
    torch.tensor([1.0, 0.0], dtype=torch.float64),
    torch.tensor([0.5, 3**0.5 / 2], dtype=torch.float64),
)


@pytest.fixture
def ramp_jacobian(names):
    """Of one step of a method for the lesson's two ramps, at the point where they cross."""

    def at_the_crossing(name, h):
        def step(z):
            return runge_kutta.runge_kutta_step(
                names["two_ramps"], z, h, runge_kutta.TABLEAUS[name]
            )

        return torch.func.jacrev(step)(names["crossing_point"](h))

    return at_the_crossing


@pytest.mark.parametrize("h", [1e-3, 0.05, 0.3, 1.0, 1.33, 2.0, 3.0, 3.9])
def test_claim_2_8_midpoint_fails_at_every_step_size(names, ramp_jacobian, h):
    J = ramp_jacobian("midpoint", h)
    expected = EYE - h * torch.outer(U, U) + h**2 / 2 * (U @ W) * torch.outer(U, W)
    norm = np.linalg.norm(J.numpy(), 2)
    assert torch.allclose(J, expected, atol=1e-12)
    assert norm >= math.sqrt(1 + 3 * h**4 / 64) - 1e-14 and norm > 1
    gain = (norm**2 - 1) / (3 * h**4 / 64)
    assert gain < 1.02 or h != 1.0  # reached within 2 % there; by far not for short steps:
    assert gain > 100 or h > 0.01
    rows = names["rows"]
    assert torch.linalg.matrix_norm(rows.T @ rows, 2).item() == pytest.approx(1.5)
    if h <= 4 / 3:  # another method at the same point
        assert np.linalg.norm(ramp_jacobian("euler", h).numpy(), 2) <= 1 + 1e-12
        assert np.linalg.norm(ramp_jacobian("heun", h).numpy(), 2) <= 1 + 1e-12
    else:
        assert torch.linalg.eigvalsh(rows.T @ rows)[-1] * h > 2 - 1e-12  # beyond the linear limit


@pytest.mark.parametrize("h", [2.01, 3.0, 4.0, 5.0, 20.0, 1000.0])
def test_claim_2_8_holds_for_long_steps_too(names, h):
    """Beyond h = 4 half a step leads elsewhere; where only u acts the factor is 1 - h + h^2 / 2."""
    x = torch.linalg.solve(names["rows"], torch.tensor([-1.0, 20.0], dtype=torch.float64))

    def step(z):
        return runge_kutta.runge_kutta_step(
            names["two_ramps"], z, h, runge_kutta.TABLEAUS["midpoint"]
        )

    J = torch.func.jacrev(step)(x)
    assert torch.linalg.matrix_norm(J, 2).item() == pytest.approx(1 - h + h**2 / 2, rel=1e-9)
    assert 1 - h + h**2 / 2 > 1
    if h > 4:  # at the point for shorter steps nothing grows that much any more
        J = torch.func.jacrev(step)(names["crossing_point"](h))
        assert torch.linalg.matrix_norm(J, 2) < math.sqrt(1 + 3 * h**4 / 64)


@pytest.mark.parametrize(
    "a, expected", [(0.1, 1.000004), (0.5, 1.00054), (1.0, 1.00543), (2.0, 1.0723)]
)
def test_midpoint_numbers_and_a_real_pair(names, ramp_jacobian, a, expected):
    h = a / 1.5
    assert np.linalg.norm(ramp_jacobian("midpoint", h).numpy(), 2) == pytest.approx(
        expected, abs=6e-6 if a < 2 else 6e-5
    )
    x = names["crossing_point"](h)
    direction = torch.linalg.svd(ramp_jacobian("midpoint", h)).Vh[0]
    both = torch.stack([x + 0.01 * h * direction, x - 0.01 * h * direction])
    ends = runge_kutta.runge_kutta_step(
        names["two_ramps"], both, h, runge_kutta.TABLEAUS["midpoint"]
    )
    assert (ends[0] - ends[1]).norm() / (both[0] - both[1]).norm() == pytest.approx(
        expected, abs=6e-6 if a < 2 else 6e-5
    )


@pytest.mark.parametrize("seed", range(20))
def test_claim_2_9_without_a_potential(seed):
    """Rotation plus convex potential plus friction: L and m known, sharp only for the spiral."""
    m, omega = 0.2 + seed / 10, 1 + seed / 5
    turn = omega * torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    ramp, (x, y) = convex_field(seed), pairs(seed, 2)
    f, L = (lambda v: ramp(v) - m * v + v @ turn.T), 1 + math.hypot(m, omega)
    assert stretch(f, runge_kutta.TABLEAUS["euler"], 2 * m / L**2, x, y) <= 1 + 1e-9
    spiral, L = (lambda v: v @ turn.T - m * v), math.hypot(m, omega)
    assert stretch(spiral, runge_kutta.TABLEAUS["euler"], 2 * m / L**2, x, y) <= 1 + 1e-9
    assert stretch(spiral, runge_kutta.TABLEAUS["euler"], 2.02 * m / L**2, x, y) > 1

    def push(v):
        return v @ turn.T + m * v

    assert stretch(push, runge_kutta.TABLEAUS["euler"], 2 * m / L**2, x, y) > 1  # drop mu < 0
    for h in (0.1, 0.01):  # drop "Lipschitz": mu = -m, but far out every step is too long
        far = (20 / math.sqrt(h)) * torch.stack([x, y])
        assert stretch(lambda v: -m * v - v**3, runge_kutta.TABLEAUS["euler"], h, *far) > 1


@pytest.mark.parametrize("h, grows", [(0.02, False), (0.199, False), (0.201, True), (5.0, True)])
def test_claim_2_9_the_spiral_of_the_lesson(names, h, grows):
    x, y = pairs(0, 2)
    found = stretch(names["inward_spiral"], runge_kutta.TABLEAUS["euler"], h, x, y)
    assert (found > 1) is grows


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_2_10_with_a_potential(seed):
    m, f, (x, y) = 0.3, convex_field(seed, 3), pairs(seed, 3)
    L, field = 1 + m, lambda v: f(v) - m * v
    for h in (0.1, 2 / (m + L), 2 / L, 3 / L):
        assert (
            stretch(field, runge_kutta.TABLEAUS["euler"], h, x, y)
            <= max(abs(1 - h * m), abs(1 - h * L)) + 1e-9
        )
    eigenvalues = torch.tensor([m, 0.7, L], dtype=torch.float64)
    Q = torch.linalg.qr(normal(seed, 3, 3)).Q
    K = (Q * eigenvalues) @ Q.T
    directions = Q.T  # pairs along the eigenvectors
    best = 2 / (m + L)
    factors = {}
    for h in (0.1, 0.9 * best, best, 1.1 * best, 2.5):
        euler = runge_kutta.TABLEAUS["euler"]
        factors[h] = stretch(lambda v: -v @ K, euler, h, directions, 0 * directions)
        assert factors[h] == pytest.approx(max(abs(1 - h * m), abs(1 - h * L)))  # attained
    assert min(factors, key=factors.get) == best
    spiral = torch.tensor(
        [[-m, math.sqrt(L**2 - m**2)], [-math.sqrt(L**2 - m**2), -m]], dtype=torch.float64
    )
    assert (
        torch.linalg.matrix_norm(EYE + best * spiral, 2) > abs(1 - best * m) + 0.1
    )  # no potential


@pytest.mark.parametrize("L", [0.5, 1.0, 7.0])
def test_claim_2_11_a_stable_is_not_contractive(L):
    f, x = (lambda v: -L * torch.relu(v)), uniform(1, 0.1, 5, 50, 1)
    for hL in (0.5, 1.9, 2.0, 3.9, 4.0, 4.1, 5.0, 20.0):
        ends = runge_kutta.runge_kutta_step(f, x, hL / L, runge_kutta.TABLEAUS["trapezoidal"])
        assert torch.allclose(ends, (1 - hL / 2) * x, atol=1e-9) or hL < 2
        assert (stretch(f, runge_kutta.TABLEAUS["trapezoidal"], hL / L, x, x + 1) > 1 + 1e-6) == (
            hL > 4
        )
        for name in ("implicit_midpoint", "implicit_euler"):
            assert stretch(f, runge_kutta.TABLEAUS[name], hL / L, x, x - 2) <= 1 + 1e-9
        linear = stretch(lambda v: -L * v, runge_kutta.TABLEAUS["trapezoidal"], hL / L, x, x + 1)
        assert linear <= 1 + 1e-9  # A-stable: no growth where the field is linear
        both_sides = torch.cat([x, -x, 0 * x])
        worst = max(
            stretch(f, runge_kutta.TABLEAUS["trapezoidal"], hL / L, both_sides, both_sides + shift)
            for shift in (1e-3, 0.3, 4.0)
        )
        assert worst == pytest.approx(max(1, hL / 2 - 1))  # by exactly this much
    ends = runge_kutta.runge_kutta_step(
        f,
        torch.tensor([[1.0], [2.0]], dtype=torch.float64),
        5 / L,
        runge_kutta.TABLEAUS["trapezoidal"],
    )
    assert (ends[0] - ends[1]).abs().item() == pytest.approx(1.5)


@pytest.mark.parametrize(
    "name, M", [("implicit_euler", 1), ("implicit_midpoint", 0), ("trapezoidal", [-0.25, 0.25])]
)
def test_table_of_implicit_methods(name, M):
    A, b = (part.numpy() for part in runge_kutta.TABLEAUS[name])
    assert np.allclose(
        np.diag(b) @ A + A.T @ np.diag(b) - np.outer(b, b), np.diag(np.atleast_1d(M))
    )
    r = runge_kutta.circle_contractivity_radius(runge_kutta.TABLEAUS[name])
    assert 2 * r == pytest.approx(4) if name == "trapezoidal" else r == math.inf


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("h", [0.01, 1.0, 100.0])
def test_claim_2_12_implicit_euler(h, seed):
    S = normal(seed, 2, 2)
    ramp = convex_field(seed)

    # monotone, not Lipschitz
    def f(v):
        return 5 * v @ (S - S.T) + 10 * ramp(v) - v * v.square().sum(-1, keepdim=True)

    x, y = pairs(seed, 2)
    Tx, Ty = (
        runge_kutta.runge_kutta_step(f, z, h, runge_kutta.TABLEAUS["implicit_euler"])
        for z in (x, y)
    )
    for z, Tz in ((x, Tx), (y, Ty)):
        assert (Tz - z - h * f(Tz)).abs().max() <= 1e-8 * max(1, h)
    assert ((Tx - Ty).square().sum(1) - ((Tx - Ty) * (x - y)).sum(1)).max() <= 1e-9
    # the inequality is an equality for rotations
    Tx, Ty = (
        runge_kutta.runge_kutta_step(
            lambda v: v @ (S - S.T), z, h, runge_kutta.TABLEAUS["implicit_euler"]
        )
        for z in (x, y)
    )
    assert torch.allclose((Tx - Ty).square().sum(1), ((Tx - Ty) * (x - y)).sum(1))
    # monotone with a jump: from 0 no step leads anywhere
    with pytest.raises(ArithmeticError):
        runge_kutta.runge_kutta_step(
            lambda v: 1 - 2.0 * (v >= 0).to(v),
            torch.zeros(1, 1).double(),
            h,
            runge_kutta.TABLEAUS["implicit_euler"],
        )
    expanding = runge_kutta.runge_kutta_step(
        lambda v: v, x, 0.5, runge_kutta.TABLEAUS["implicit_euler"]
    )
    assert torch.allclose(expanding, 2 * x)  # drop the hypothesis
    with pytest.raises(ArithmeticError):
        runge_kutta.runge_kutta_step(
            lambda v: v**2 + 1, x.abs(), 1.0, runge_kutta.TABLEAUS["implicit_euler"]
        )


# ---- 2.13 to 2.15: energy and splitting ----------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("a", [0.01, 0.1, 1.0, 1.9])
def test_claim_2_13_symplectic_euler_keeps_a_nearby_energy(names, a, seed):
    x = tuple(normal(seed, 2).tolist())
    omega = 0.5 + seed
    h = a / omega

    def nearby(z):
        return omega * (z[0] ** 2 + z[1] ** 2) / 2 - h * omega**2 / 2 * z[0] * z[1]

    start = nearby(x)
    energies = []
    for _ in range(1000):
        x = names["one_after_the_other"](*x, h, omega)
        energies.append(omega * (x[0] ** 2 + x[1] ** 2) / 2)
        assert nearby(x) == pytest.approx(start, rel=1e-9)
    lowest, highest = start / (1 + a / 2), start / (1 - a / 2)
    assert lowest - 1e-9 <= min(energies) and max(energies) <= highest + 1e-9
    if a != 1:  # reached by every orbit, but those with a = 1 return after six steps
        assert min(energies) < 1.001 * lowest and max(energies) > 0.999 * highest


@pytest.mark.parametrize("a, grows", [(1.9, False), (1.99, False), (2.0, True), (3.0, True)])
def test_claim_2_13_long_steps_grow(names, a, grows):
    sizes = []
    for x in ((1.0, 0.0), (0.0, 1.0)):
        for _ in range(200):
            x = names["one_after_the_other"](*x, a, 1.0)
        sizes.append(math.hypot(*x))
    assert (max(sizes) > 100) is grows


def test_energies_of_the_three_euler_methods(names):
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    explicit = np.linalg.matrix_power(np.eye(2) + 0.1 * turn, 1000) @ [1, 0]
    implicit = np.linalg.matrix_power(np.linalg.inv(np.eye(2) - 0.1 * turn), 1000) @ [1, 0]
    assert explicit @ explicit == pytest.approx(20959, abs=1) and 1 / (
        implicit @ implicit
    ) == pytest.approx(20959, abs=1)
    x, energies = (1.0, 0.0), []
    for _ in range(1000):
        x = names["one_after_the_other"](*x, 0.1, 1.0)
        energies.append((x[0] ** 2 + x[1] ** 2) / 2)
    assert min(energies) == pytest.approx(0.4762, abs=1e-4) and max(energies) == pytest.approx(
        0.5263, abs=1e-4
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_2_14_composition(seed):
    first, second, (x, y) = convex_field(seed), convex_field(seed + 20), pairs(seed, 2)
    euler, implicit = runge_kutta.TABLEAUS["euler"], runge_kutta.TABLEAUS["implicit_euler"]

    def step(v):
        return runge_kutta.runge_kutta_step(
            lambda z: 1000 * second(z),
            runge_kutta.runge_kutta_step(first, v, 2.0, euler),
            1.0,
            implicit,
        )

    assert ((step(x) - step(y)).norm(dim=1) / (x - y).norm(dim=1)).max() <= 1 + 1e-9

    def whole(z):
        return first(z) + 1000 * second(z)

    assert stretch(whole, euler, 2.0, x, y) > 10  # the same step without splitting
    drift, kick = (
        scipy.linalg.expm(0.5 * np.array(m)) for m in ([[0.0, 1.0], [0, 0]], [[0.0, 0], [-1, 0]])
    )
    assert (
        np.linalg.norm(drift, 2) > 1.2 and np.linalg.norm(drift @ kick, 2) > 1.1
    )  # parts that expand


def splitting_errors(K1, K2, N):
    h, E = 1 / N, scipy.linalg.expm
    lie = np.linalg.matrix_power(E(h * K2) @ E(h * K1), N)
    strang = np.linalg.matrix_power(E(h / 2 * K1) @ E(h * K2) @ E(h / 2 * K1), N)
    exact = E(K1 + K2)
    return np.array([np.linalg.norm(lie - exact), np.linalg.norm(strang - exact)])


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_2_15_splitting_orders(seed):
    K1, K2 = normal(seed, 2, 3, 3).numpy()
    ratios = splitting_errors(K1, K2, 200) / splitting_errors(K1, K2, 400)
    assert ratios[0] == pytest.approx(2, abs=0.1) and ratios[1] == pytest.approx(4, abs=0.2)

    def inexact(N):  # Strang with Euler instead of the exact flow of each part: only order 1
        h, eye = 1 / N, np.eye(3)
        step = (eye + h / 2 * K1) @ (eye + h * K2) @ (eye + h / 2 * K1)
        return np.linalg.norm(np.linalg.matrix_power(step, N) - scipy.linalg.expm(K1 + K2))

    assert inexact(200) / inexact(400) < 2.5


def test_splitting_numbers():
    drift, kick = np.array([[0.0, 1.0], [0, 0]]), np.array([[0.0, 0], [-1, 0]])
    assert splitting_errors(drift, kick, 10) == pytest.approx([0.0596, 1.60e-3], rel=2e-3)
    assert splitting_errors(drift, kick, 20) == pytest.approx([0.0298, 4.00e-4], rel=2e-3)
