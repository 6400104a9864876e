"""Try to refute every claim of lesson 1, and show that each needs its hypotheses.

Solutions come from scipy (solve_ivp, expm), the lesson's own tool `ode.flow` is only compared
with them.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import eigh, expm, solve_continuous_lyapunov
from scipy.optimize import root

from chapter_utils import ode

SEEDS = range(6)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny matrices
    yield
    torch.set_num_threads(before)


def solve(f, x, times):
    """States (K, d) of x' = f(x) at `times`, from x at time 0."""
    solution = solve_ivp(
        lambda _, z: f(z), (0, times[-1]), x, t_eval=times, method="DOP853", rtol=1e-10, atol=1e-12
    )
    assert solution.success
    return solution.y.T


def distances(f, x, y, times):
    return np.linalg.norm(solve(f, x, times) - solve(f, y, times), axis=1)


def random_network(rng, d, hidden=4, decay=0.0):
    """f(x) = -decay x + B tanh(A x + b), its Jacobian, and that at the corners of slopes."""
    A, B, b = (
        rng.normal(size=(hidden, d)),
        rng.normal(size=(d, hidden)) / 2,
        rng.normal(size=hidden),
    )
    corners = [
        -decay * np.eye(d) + B @ np.diag(D) @ A
        for D in itertools.product([0.0, 1.0], repeat=hidden)
    ]

    def jacobian(x):
        return -decay * np.eye(d) + B @ np.diag(1 - np.tanh(A @ x + b) ** 2) @ A

    return lambda x: -decay * x + B @ np.tanh(A @ x + b), jacobian, corners


def largest_symmetric(M):
    return np.linalg.eigvalsh((M + M.T) / 2)[-1]


def norm2(M):
    return np.linalg.norm(M, 2)


def test_claim_1_1_flow():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        f, _, _ = random_network(rng, d)
        x = rng.normal(size=d)
        s, t = rng.uniform(0.2, 1.5, 2)
        there = solve(f, x, [s + t])[-1]
        assert np.allclose(there, solve(f, solve(f, x, [s])[-1], [t])[-1], atol=1e-7)
        back = solve(lambda z, f=f: -f(z), there, [s + t])[-1]  # for all times, negative ones too
        assert np.allclose(back, x, atol=1e-5)
        for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-3)):
            field = _in_torch(f, dtype)
            ours = ode.flow(field, torch.tensor(x, dtype=dtype)[None], [0.0, s + t])[-1, 0]
            assert ours.dtype == dtype and np.allclose(
                ours, there, atol=tolerance * (1 + np.abs(there).max())
            )


def _in_torch(f, dtype):
    return lambda x: torch.stack([torch.tensor(f(row.double().numpy()), dtype=dtype) for row in x])


def test_claim_1_1_needs_a_lipschitz_field():
    def rising(x):
        return 2 * np.sqrt(np.abs(x))

    t = np.linspace(0, 3, 31)
    for path in (0 * t, t**2):  # two solutions from 0: their slope is the field all the way
        velocity = np.gradient(path, t)[1:-1]
        assert path[0] == 0 and np.allclose(velocity, rising(path[1:-1]))
    assert solve(rising, [0.0], [1.0])[-1, 0] == 0  # scipy follows one of them,
    assert solve(rising, [1e-12], [1.0])[-1, 0] > 0.99  # and from next to it the other
    for end in (0.9, 0.99, 0.999):  # x' = x^2 from 1 is 1 / (1 - t): no solution at time 1
        assert solve(np.square, [1.0], [end])[-1, 0] == pytest.approx(1 / (1 - end), rel=1e-6)


def test_claim_1_2_gronwall():
    times = np.linspace(0, 1.5, 16)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        f, _, corners = random_network(rng, d)
        L = max(
            norm2(M) for M in corners
        )  # the norm is convex in the slopes, so no Jacobian has a larger one
        ratio = distances(f, *(pair := rng.normal(size=(2, d))), times) / np.linalg.norm(
            pair[0] - pair[1]
        )
        assert (ratio <= np.exp(L * times) + 1e-7).all() and (
            ratio >= np.exp(-L * times) - 1e-7
        ).all()
    for sign in (-1, 1):  # both bounds are attained
        assert distances(lambda x, s=sign: s * 5 * x, [1.0], [2.0], [1.0])[0] == pytest.approx(
            math.exp(sign * 5), rel=1e-7
        )


def test_claim_1_2_needs_a_lipschitz_field():
    # from 1e-12 the solution of x' = 2 sqrt|x| is (1e-6 + t)^2, from 0 one solution is 0
    end = solve(lambda x: 2 * np.sqrt(np.abs(x)), [1e-12], [1.0])[-1, 0]
    assert end == pytest.approx(1, abs=1e-4) and end / 1e-12 > math.exp(25)


def test_claim_1_3_one_sided_bound():
    times = np.linspace(0, 3, 31)
    signs = set()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        f, _, corners = random_network(rng, d, decay=rng.uniform(0, 5))
        mu = max(largest_symmetric(M) for M in corners)
        signs.add(mu > 0)
        ratio = distances(f, *(pair := 2 * rng.normal(size=(2, d))), times) / np.linalg.norm(
            pair[0] - pair[1]
        )
        assert (ratio <= np.exp(mu * times) + 1e-7).all()
    assert signs == {True, False}
    # the inequality for pairs with y = 0 only is not enough: <f(x), x> = -|x|^2 / 2, yet a pair
    # moves apart
    assert distances(whirl, [1.0, 0.0], [1.2, 0.0], [1.272])[0] > 2.5 * 0.2
    for mu in (-0.5, 0.5):  # attained, so no smaller constant will do
        gap = distances(lambda x, mu=mu: mu * x, [1.0], [2.0], [3.0])[0]
        assert gap == pytest.approx(math.exp(mu * 3), rel=1e-6)


def braking(x):
    """Continuous and one-sided Lipschitz with mu = 0, but not Lipschitz at 0."""
    return -np.sign(x) * np.sqrt(np.abs(x))


def small_steps(f, x, times, h=1e-3):
    """States at `times`, from 0 on, by the midpoint rule: adaptive steps never end at a kink."""
    x, states = np.array(x, dtype=float), [np.array(x, dtype=float)]
    for start, end in itertools.pairwise(times):
        number = round((end - start) / h)
        for _ in range(number):
            x = x + h * f(x + h / 2 * f(x))
        states.append(x)
    return np.array(states)


def test_claim_1_3_needs_no_lipschitz_field():
    times = np.linspace(0, 4, 41)
    assert abs(braking(1e-8) - braking(0.0)) > 1e3 * 1e-8
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        pair = rng.normal(size=(2, 1))
        paths = [small_steps(braking, x, times) for x in pair]
        assert (np.abs(paths[0] - paths[1]) <= np.abs(pair[0] - pair[1]) + 1e-5).all()
        exact = np.maximum(np.sqrt(np.abs(pair[0])) - times / 2, 0) ** 2
        assert np.allclose(np.abs(paths[0])[:, 0], exact, atol=1e-4)
        d = int(rng.integers(1, 4))  # a slope without bound: mu = 0.3, from far away

        def cubic(x):
            return 0.3 * x - (x @ x) * x

        pair = 30 * rng.normal(size=(2, d))
        gaps = distances(cubic, *pair, times)
        start = np.linalg.norm(pair[0] - pair[1])
        assert (gaps <= start * np.exp(0.3 * times) + 1e-6).all()


def test_claim_1_3_needs_a_continuous_field():
    def jumping(x):
        return np.where(x >= 0, -1.0, 1.0)

    x, y = np.random.default_rng(0).normal(size=(2, 1000))
    assert ((jumping(x) - jumping(y)) * (x - y) <= 0).all()  # mu = 0
    # From 0: it cannot rest, f(0) = -1; below 0 it is sent up at once. Straight steps only chatter
    # and tend to the constant 0, which is no solution.
    for h in (0.1, 0.01, 0.001):
        z = np.zeros(1)
        for _ in range(int(1 / h)):
            z = z + h * jumping(z)
            assert abs(z) <= h + 1e-12
    assert jumping(np.zeros(1)) == -1


def whirl(x, speed=5.0):
    return -0.5 * x + speed * np.linalg.norm(x) * np.array([-x[1], x[0]])


def test_claim_1_4_from_the_jacobian():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        f, jacobian, corners = random_network(rng, d, decay=rng.uniform(0, 3))
        for _ in range(20):
            x, y = 2 * rng.normal(size=(2, d))
            along = [jacobian(y + s * (x - y)) for s in np.linspace(0, 1, 200)]
            quotient = (f(x) - f(y)) @ (x - y) / ((x - y) @ (x - y))
            slope = np.linalg.norm(f(x) - f(y)) / np.linalg.norm(x - y)
            mu, L = max(map(largest_symmetric, along)), max(map(norm2, along))
            assert quotient <= mu + 1e-3 and slope <= L + 1e-3 and mu <= L + 1e-12
            assert mu <= max(map(largest_symmetric, corners)) + 1e-9
        # no smaller constants will do: close pairs along the top eigenvector and singular vector
        J = jacobian(x)
        v = 1e-6 * np.linalg.eigh((J + J.T) / 2)[1][:, -1]
        assert (f(x + v) - f(x)) @ v / (v @ v) == pytest.approx(largest_symmetric(J), abs=1e-4)
        w = 1e-6 * np.linalg.svd(J)[2][0]
        slope = np.linalg.norm(f(x + w) - f(x)) / np.linalg.norm(w)
        assert slope == pytest.approx(norm2(J), abs=1e-4)


def test_claim_1_4_needs_a_convex_set():
    def f(x):
        return np.array([0.0, math.atan2(x[1], x[0])])

    for seed in range(200):  # sym Df on the ring 1/2 <= |x| <= 2, cut open, by central differences
        rng = np.random.default_rng(seed)
        r, turn = rng.uniform(0.5, 2), rng.uniform(-3.1, 3.1)
        x, h = r * np.array([math.cos(turn), math.sin(turn)]), 1e-5
        J = np.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(2)], 1)
        assert largest_symmetric(J) <= norm2(J) <= 2 + 1e-4  # so both suprema are at most 2
    x, y = np.array([-1, 0.01]), np.array([-1, -0.01])
    assert np.linalg.norm(f(x) - f(y)) / np.linalg.norm(x - y) > 300
    assert (f(x) - f(y)) @ (x - y) / ((x - y) @ (x - y)) > 300


def test_claim_1_5_contractive():
    times = np.linspace(0, 6, 25)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        _, _, corners = random_network(np.random.default_rng(seed + 50), d)
        decay = max(largest_symmetric(M) for M in corners) + 0.4
        f, _, _ = random_network(
            np.random.default_rng(seed + 50), d, decay=decay
        )  # the same, pulled until mu = -0.4
        found = [root(f, 3 * rng.normal(size=d), tol=1e-12) for _ in range(5)]
        equilibria = np.array([result.x for result in found if result.success])
        assert len(equilibria) and np.ptp(equilibria, axis=0).max() < 1e-6
        for start in 5 * rng.normal(size=(3, d)):
            gap = np.linalg.norm(solve(f, start, times) - equilibria[0], axis=1)
            assert (gap <= np.exp(-0.4 * times) * gap[0] + 1e-6).all()
    for seed in SEEDS:  # not Lipschitz: -|x|^2 x + Sx + b - x / 2, with mu = -1/2
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 5))
        K, b = rng.normal(size=(d, d)), 3 * rng.normal(size=d)

        def steep(x, S=K - K.T, b=b):
            return -(x @ x) * x + S @ x + b - x / 2

        rest = solve(steep, np.zeros(d), [60.0])[-1]
        assert np.allclose(steep(rest), 0, atol=1e-6)
        for start in 20 * rng.normal(size=(2, d)):
            gap = np.linalg.norm(solve(steep, start, times) - rest, axis=1)
            assert (gap <= np.exp(-0.5 * times) * np.linalg.norm(start - rest) + 1e-6).all()
    # mu = 0: no equilibrium, or one that attracts nobody
    assert np.allclose(
        distances(lambda x: np.array([1.0, 0.0]), [2.0, 0.0], [0.0, 1.0], [10.0]), math.sqrt(5)
    )
    end = solve(lambda x: np.array([-x[1], x[0]]), [2.0, 0.0], [10.0])[-1]
    assert np.linalg.norm(end) == pytest.approx(2, abs=1e-7)
    for start in ([2.0, -1.0], [-7.0, 3.0]):  # the rate is attained: f(x) = -0.4 (x - x*)
        gap = distances(lambda x: -0.4 * (x - np.array([1.0, 2.0])), start, [1.0, 2.0], times)
        assert np.allclose(gap, np.exp(-0.4 * times) * gap[0], rtol=1e-5)
    # mu > 0: two equilibria, and each start goes to its own
    ends = [solve(lambda x: x - x**3, [start], [20.0])[-1, 0] for start in (-0.1, 0.1)]
    assert ends == pytest.approx([-1, 1], abs=1e-6)
    # not continuous, with mu = -1/2: nothing is near an equilibrium
    x = np.concatenate([np.linspace(-9, 9, 1000), [0.0]])
    assert np.abs(np.where(x >= 0, -1, 1) - x / 2).min() >= 1


def round_trip(x):
    r = np.linalg.norm(x)
    return (1 - r) * x + (r - x[0]) / (2 * r) * np.array([-x[1], x[0]])


def test_claim_1_6_attractive_is_not_enough():
    target = np.array([1.0, 0.0])
    for seed in SEEDS:  # attractive
        rng = np.random.default_rng(seed)
        r, turn = rng.uniform(0.1, 3), rng.uniform(0, 2 * math.pi)
        end = solve(round_trip, [r * math.cos(turn), r * math.sin(turn)], [1000.0])[-1]
        assert np.linalg.norm(end - target) < 5e-3
    for start in (
        0.1,
        0.05,
        0.01,
    ):  # not stable; on the circle cot(theta / 2) falls at the rate 1/2, so pi is reached
        times = [0.0, 2 / math.tan(start / 2), 400 / start]
        path = solve(round_trip, [math.cos(start), math.sin(start)], times)
        gaps = np.linalg.norm(path - target, axis=1)
        assert gaps[0] <= start and gaps[1] == pytest.approx(2, abs=1e-4) and gaps[2] < 0.1 * start
    path = solve(round_trip, [math.cos(0.05), math.sin(0.05)], np.linspace(0, 400, 4001))
    gaps = np.linalg.norm(path - target, axis=1)
    assert gaps[[0, -1]] == pytest.approx([0.05, 0.0125], rel=0.01) and gaps.max() == pytest.approx(
        2, abs=1e-2
    )


def with_eigenvalues(rng, blocks):
    """A random matrix similar to the block diagonal one."""
    d = sum(len(block) for block in blocks)
    M, at = np.zeros((d, d)), 0
    for block in blocks:
        M[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    T = (
        np.linalg.qr(rng.normal(size=(d, d)))[0]
        @ np.diag(rng.uniform(0.5, 2, d))
        @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    )
    return T @ M @ np.linalg.inv(T)


def turn(real, imaginary):
    return np.array([[real, -imaginary], [imaginary, real]])


def test_claim_1_7_linear_stability():
    twice = np.block(
        [[turn(0, 1.5), np.eye(2)], [np.zeros((2, 2)), turn(0, 1.5)]]
    )  # +-1.5i twice, one eigenvector each
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        cases = {
            "decays": [turn(-0.3, 2), np.array([[-0.2]]), np.array([[-0.5, 3.0], [0.0, -0.5]])],
            "bounded": [turn(0, 1.5), turn(0, 1.5), np.zeros((2, 2)), np.array([[-0.3]])],
            "grows": [
                [twice],
                [np.array([[0.0, 1.0], [0.0, 0.0]])],
                [np.array([[0.05]]), np.array([[-1.0]])],
            ][seed % 3],
        }
        for name, blocks in cases.items():
            A = with_eigenvalues(rng, blocks)
            size = {t: norm2(expm(A * t)) for t in (1.0, 30.0, 100.0, 200.0)}
            if name == "decays":
                assert size[200.0] < 1e-6
            elif name == "bounded":
                assert max(size.values()) <= 4 + 1e-6 and size[200.0] > 0.25 - 1e-6  # cond(T) <= 4
            else:
                assert size[200.0] > 1.5 * size[100.0] > 2 * size[30.0]


def test_claim_1_8_transient_growth():
    times = np.linspace(0, 3, 31)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(2, 6))
        A = rng.normal(size=(d, d)) - rng.uniform(0, 2) * np.eye(d)
        mu, abscissa = largest_symmetric(A), np.linalg.eigvals(A).real.max()
        size = np.array([norm2(expm(A * t)) for t in times])
        assert (np.exp(abscissa * times) <= size * (1 + 1e-9)).all() and (
            size <= np.exp(mu * times) * (1 + 1e-9)
        ).all()
        assert (norm2(expm(A * 1e-6)) - 1) / 1e-6 == pytest.approx(mu, abs=1e-3)
        Q = np.linalg.qr(rng.normal(size=(2, 2)))[0]
        normal = Q @ turn(-0.4, 2.0) @ Q.T
        assert np.allclose(normal @ normal.T, normal.T @ normal)
        assert np.allclose([norm2(expm(normal * t)) for t in times], np.exp(-0.4 * times))
    # a matrix that is not normal: the peak of the lesson, and the sign of mu at k^2 = 8
    A = np.array([[-1.0, 10.0], [0.0, -2.0]])
    peak = max((norm2(expm(A * t)), t) for t in np.linspace(0.6, 0.7, 1001))
    assert peak == pytest.approx((2.5635, 0.6627), abs=2e-4) and largest_symmetric(
        A
    ) == pytest.approx(3.525, abs=1e-3)
    for k, grows in (
        (math.sqrt(8) - 0.1, False),
        (math.sqrt(8), False),
        (math.sqrt(8) + 0.1, True),
    ):
        A = np.array([[-1.0, k], [0.0, -2.0]])
        assert (max(norm2(expm(A * t)) for t in np.linspace(0.001, 1, 400)) > 1 + 1e-9) == grows


def vector_norm(x, P=None, order=2):
    return math.sqrt(x @ P @ x) if P is not None else np.linalg.norm(x, order)


def matrix_norm(M, P=None, order=2):
    if P is None:
        return np.linalg.norm(M, order)
    C = np.linalg.cholesky(P)
    return norm2(C.T @ M @ np.linalg.inv(C.T))


def test_claim_1_9_logarithmic_norms():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 6))
        A = rng.normal(size=(d, d)) - rng.uniform(0, 2) * np.eye(d)
        R = rng.normal(size=(d, d))
        P = R @ R.T + 0.1 * np.eye(d)
        off = np.abs(A) - np.diag(np.abs(np.diag(A)))
        cases = [
            ({"order": 1}, max(np.diag(A) + off.sum(0)), {"norm": 1}),
            ({"order": 2}, largest_symmetric(A), {"norm": 2}),
            ({"order": np.inf}, max(np.diag(A) + off.sum(1)), {"norm": math.inf}),
            ({"P": P}, eigh(P @ A + A.T @ P, 2 * P)[0][-1], {"weight": torch.tensor(P)}),
        ]
        for kind, mu, ours in cases:
            assert (matrix_norm(np.eye(d) + 1e-7 * A, **kind) - 1) / 1e-7 == pytest.approx(
                mu, abs=1e-4
            )
            assert ode.logarithmic_norm(torch.tensor(A), **ours).item() == pytest.approx(
                mu, abs=1e-9
            )
            for t in (0.01, 0.1, 0.5, 1, 3):
                assert matrix_norm(expm(A * t), **kind) <= math.exp(mu * t) * (1 + 1e-9)
            assert matrix_norm(expm(A * 1e-4), **kind) > math.exp(
                (mu - 0.05) * 1e-4
            )  # no smaller number will do
    A = np.array([[-1.0, 10.0], [0.0, -2.0]])
    assert [ode.logarithmic_norm(torch.tensor(A), norm=p).item() for p in (1, math.inf)] == [
        8.0,
        9.0,
    ]


def test_claim_1_9_nonlinear():
    times = np.linspace(0, 3, 31)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        W, decay = rng.normal(size=(3, 3)), rng.uniform(0, 4)
        corners = [
            -decay * np.eye(3) + W @ np.diag(D) for D in itertools.product([0.0, 1.0], repeat=3)
        ]
        R = rng.normal(size=(3, 3))
        P = R @ R.T + 0.2 * np.eye(3)

        def f(x, W=W, decay=decay):
            return -decay * x + W @ np.tanh(x)

        paths = [solve(f, x, times) for x in 2 * rng.normal(size=(2, 3))]
        for kind, ours in (
            ({"order": 1}, {"norm": 1}),
            ({"order": np.inf}, {"norm": math.inf}),
            ({"P": P}, {"weight": torch.tensor(P)}),
        ):
            mu = (
                ode.logarithmic_norm(torch.tensor(np.array(corners)), **ours).max().item()
            )  # convex in the slopes
            gaps = np.array([vector_norm(x - y, **kind) for x, y in zip(*paths, strict=True)])
            assert (gaps <= gaps[0] * np.exp(mu * times) + 1e-7).all()


def test_claim_1_9_needs_every_point():
    def two_wells(x):
        return x - x**3

    for x in (-0.6, 0.6):  # the Jacobian is negative at both starts, not between them
        assert (two_wells(x + 1e-6) - two_wells(x - 1e-6)) / 2e-6 < -0.05
    gaps = distances(two_wells, [-0.6], [0.6], np.array([0.0, 5.0]))
    assert gaps[0] == pytest.approx(1.2) and gaps[1] > 1.99


def test_claim_1_9_needs_no_bound_on_the_slopes():
    times = np.linspace(0, 3, 31)
    for seed in SEEDS:  # -x^3 by coordinates has diagonal Jacobians, never positive: mu <= 0
        pair = 20 * np.random.default_rng(seed).normal(size=(2, 3))
        paths = [solve(lambda x: -(x**3), x, times) for x in pair]
        for order in (1, 2, np.inf):
            gaps = np.linalg.norm(paths[0] - paths[1], order, axis=1)
            assert (gaps <= np.linalg.norm(pair[0] - pair[1], order) + 1e-7).all()


def test_claim_1_9_weights_are_a_norm_with_diagonal_p():
    A = np.array([[-1.0, 10.0], [0.0, -2.0]])
    for second, mu in ((1.0, 3.525), (4.0, -0.154), (10.0, -0.793), (100.0, -0.9975)):
        w = np.array([1.0, second])
        assert largest_symmetric(w[:, None] * A / w) == pytest.approx(mu, abs=1e-3)
        weight = torch.tensor(np.diag(w**2))
        assert ode.logarithmic_norm(torch.tensor(A), weight=weight).item() == pytest.approx(
            mu, abs=1e-3
        )
        for t in np.linspace(0, 4, 41):
            assert norm2(expm(A * t)) <= second * math.exp((mu + 1e-3) * t) + 1e-9


def test_claim_1_10_a_norm_that_fits():
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(2, 6))
        A = rng.normal(size=(d, d))
        A -= (np.linalg.eigvals(A).real.max() + rng.uniform(0.05, 1)) * np.eye(d)
        P = solve_continuous_lyapunov(A.T, -np.eye(d))
        values = np.linalg.eigvalsh(P)
        mu = ode.logarithmic_norm(torch.tensor(A), weight=torch.tensor((P + P.T) / 2)).item()
        assert values[0] > 0 and mu == pytest.approx(-1 / (2 * values[-1]), rel=1e-6) and mu < 0
        for t in (0.1, 0.5, 2, 10):
            assert norm2(expm(A * t)) <= math.sqrt(values[-1] / values[0]) * math.exp(mu * t) * (
                1 + 1e-9
            )
        # not asymptotically stable: the solution is not positive definite, and no P helps since
        # mu_P >= abscissa
        unstable = A - (np.linalg.eigvals(A).real.max() - 0.1) * np.eye(d)
        assert np.linalg.eigvalsh(solve_continuous_lyapunov(unstable.T, -np.eye(d)))[0] < 0
        for _ in range(20):
            R = rng.normal(size=(d, d))
            weight = torch.tensor(R @ R.T + 0.01 * np.eye(d))
            assert ode.logarithmic_norm(torch.tensor(unstable), weight=weight).item() >= 0.1 - 1e-6
    for A, expected in (
        ([[-1.0, 10.0], [0.0, -2.0]], -0.0561),
        ([[0.0, 1.0], [-1.0, -0.3]], -0.1277),
    ):
        A = np.array(A)
        P = solve_continuous_lyapunov(A.T, -np.eye(2))
        assert eigh(P @ A + A.T @ P, 2 * P)[0][-1] == pytest.approx(expected, abs=1e-4)
    # without the factor sqrt(kappa) the Euclidean bound is false
    A = np.array([[-1.0, 10.0], [0.0, -2.0]])
    assert norm2(expm(A * 0.66)) > 2.5 * math.exp(-0.0561 * 0.66)
    # and with it hardly too large: an oval that decays slowly
    A = np.array([[0.0, 3.0], [-1 / 3, -0.01]])
    values = np.linalg.eigvalsh(solve_continuous_lyapunov(A.T, -np.eye(2)))
    t = np.linspace(0, 10, 401)
    bound = math.sqrt(values[-1] / values[0]) * np.exp(-t / (2 * values[-1]))
    assert 0.99 < max([norm2(expm(A * s)) for s in t] / bound) <= 1


def test_claim_1_11_lyapunov():
    times = np.linspace(0, 20, 81)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(2, 5))
        G, K, R = rng.normal(size=(3, d, d))
        M, S = G @ G.T + 0.3 * np.eye(d), K - K.T  # V = x' M x / 2
        for friction in (
            0.0,
            0.3,
        ):  # V' = -friction |R M x|^2 cos^2 - friction |M x|^2 <= 0, strictly if friction > 0

            def f(x, M=M, S=S, R=R, friction=friction):
                y = M @ x
                return math.cos(x[0]) * (S @ y) - friction * (
                    math.cos(x[1]) ** 2 * R.T @ (R @ y) + y
                )

            path = solve(f, rng.normal(size=d), times)
            V = 0.5 * np.einsum("ki,ij,kj->k", path, M, path)
            assert (np.diff(V) <= 1e-7 * V[0]).all()
            values = np.linalg.eigvalsh(M)
            assert (
                np.linalg.norm(path, axis=1).max()
                <= math.sqrt(values[-1] / values[0]) * np.linalg.norm(path[0]) + 1e-7
            )
            if friction:
                assert (
                    V[-1] < V[0] * math.exp(-friction * 2 * values[0] * 20) + 1e-6
                )  # V' <= -friction 2 lambda_min V
    # drop V > 0: V = -x^2 falls along x' = x;  drop V' <= 0: pushed pendulum
    assert solve(lambda x: x, [0.01], [10.0])[-1, 0] > 200
    driven = solve(pendulum(-0.1), [0.1, 0.0], [30.0])[-1]
    assert energy(driven) > 10 * energy(np.array([0.1, 0.0]))


def test_claim_1_11_needs_no_lipschitz_field():
    for start in (0.5, -0.2, 0.01):  # V = x^2 / 2 falls
        path = small_steps(braking, [start], np.linspace(0, 4, 41))[:, 0]
        assert (np.abs(path) <= abs(start) + 1e-9).all() and abs(path[-1]) < 1e-4


def test_claim_1_11_needs_a_continuous_field():
    def stairs(x):  # -(|x| - 2^-n) sign(x) for 2^-n < |x| <= 2^(1-n): V = x^2 / 2 has x f(x) < 0
        size = np.abs(x)
        n = np.floor(-np.log2(size)) + 1
        return -(size - 2.0**-n) * np.sign(x)

    x = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 1000), 2.0 ** -np.arange(20)])
    assert (x * stairs(x) < 0).all()
    for n in (2, 5, 9):  # however near the start, it does not come nearer than 2^-n
        path = solve(stairs, [1.5 * 2.0**-n], [1.0, 5.0, 12.0])[:, 0]
        assert np.allclose(path, 2.0**-n * (1 + 0.5 * np.exp([-1.0, -5.0, -12.0])), rtol=1e-6)
        assert (path > 2.0**-n).all()


def pendulum(gamma):
    return lambda x: np.array([x[1], -math.sin(x[0]) - gamma * x[1]])


def energy(x):
    return 0.5 * x[..., 1] ** 2 + 1 - np.cos(x[..., 0])


def test_claim_1_12_lasalle():
    for seed in range(12):  # Omega = {V <= 1.9, |q| < pi}, where V' = -gamma p^2
        rng = np.random.default_rng(seed)
        while energy(start := rng.uniform([-3, -2], [3, 2])) > 1.9:
            pass
        gamma = rng.uniform(0.2, 2)
        path = solve(pendulum(gamma), start, np.linspace(0, 100, 101))
        assert (
            (energy(path) <= 1.9 + 1e-7).all()
            and (np.abs(path[:, 0]) < math.pi).all()
            and np.linalg.norm(path[-1]) < 1e-3
        )
    path = solve(pendulum(0.3), [2.5, 0.0], np.linspace(0, 60, 601))
    V = energy(path)
    assert (np.diff(V) < 1e-11).all()
    assert V[0] == pytest.approx(1.801, abs=1e-3) and V[-1] == pytest.approx(4.36e-8, rel=0.01)
    free = energy(solve(pendulum(0.0), [2.5, 0.0], np.linspace(0, 60, 61)))
    assert (
        np.ptp(free) < 1e-7
    )  # V' = 0 everywhere: the whole of Omega is the invariant set, nothing converges to 0
    # not positively invariant: |q| <= 3, |p| <= 3 is compact, but this one leaves it over the top
    path = solve(pendulum(0.3), [2.9, 2.5], np.linspace(0, 100, 101))
    assert np.abs(path[:, 0]).max() > 3 and path[-1, 0] == pytest.approx(2 * math.pi, abs=1e-3)
    # not compact: x' = 1, V = exp(-x), V' < 0 everywhere, and no point to converge to
    assert solve(lambda x: np.ones(1), [0.0], [50.0])[-1, 0] == pytest.approx(50)


def test_claim_1_13_gradient_flow():
    times = np.linspace(0, 5, 51)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d, m = int(rng.integers(1, 5)), float(rng.choice([0.0, 0.5]))
        A, b = rng.normal(size=(6, d)), rng.normal(size=6)
        slope = (np.tanh, lambda z: np.maximum(z, 0), np.arctan)[
            seed % 3
        ]  # all nondecreasing: V is convex

        def f(x, A=A, b=b, m=m, slope=slope):
            return -A.T @ slope(A @ x + b) - m * x

        gaps = distances(f, *(2 * rng.normal(size=(2, d))), times)
        assert (np.diff(gaps) <= 1e-7).all() and (gaps <= gaps[0] * np.exp(-m * times) + 1e-7).all()

    def double_well(x):
        return np.array([x[0] - x[0] ** 3, -2 * x[1]])

    gaps = distances(double_well, [0.01, 0.5], [-0.01, 0.5], np.array([0.0, 8.0]))
    assert gaps == pytest.approx([0.02, 1.9989], abs=1e-4) and gaps[1] / gaps[0] == pytest.approx(
        99.94, abs=0.01
    )
    # no second derivative: V = sum |x_i|^(3/2), whose gradient is not Lipschitz at 0; and a
    # gradient that is not Lipschitz far away: V = |x|^4 / 4 + |x|^2 / 4, with m = 1/2
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x, y = (
            small_steps(lambda z: 1.5 * braking(z), start, times)
            for start in rng.normal(size=(2, 3))
        )
        assert (np.diff(np.linalg.norm(x - y, axis=1)) <= 1e-5).all()
        gaps = distances(lambda x: -(x @ x) * x - x / 2, *(20 * rng.normal(size=(2, 3))), times)
        assert (gaps <= gaps[0] * np.exp(-0.5 * times) + 1e-6).all()
    for m in (0.0, 0.5):  # both rates are attained: V = m |x|^2 / 2
        gaps = distances(lambda x, m=m: -m * x, [1.0, -2.0], [0.0, 3.0], times)
        assert np.allclose(gaps, gaps[0] * np.exp(-m * times), rtol=1e-6)
    # convex but not strongly: x' = -relu(x) does not move points below 0
    assert distances(lambda x: -np.maximum(x, 0), [-1.0], [-2.0], [5.0])[0] == pytest.approx(1)


def test_claim_1_14_skew_and_hamiltonian():
    times = np.linspace(0, 20, 41)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d = int(rng.integers(2, 6))
        K = rng.normal(size=(d, d))
        S = K - K.T
        for t in (0.3, 7.0):
            assert np.allclose(expm(S * t).T @ expm(S * t), np.eye(d), atol=1e-10)
        gamma = rng.uniform(-1, 2)
        assert ode.logarithmic_norm(torch.tensor(S - gamma * np.eye(d))).item() == pytest.approx(
            -gamma, abs=1e-10
        )
        a, c = rng.uniform(0.2, 1, 2)  # H = p^2 / 2 + a q^4 + c q p

        def f(x, a=a, c=c):
            return np.array([x[1] + c * x[0], -4 * a * x[0] ** 3 - c * x[1]])

        path = solve(f, rng.normal(size=2), times)
        H = path[:, 1] ** 2 / 2 + a * path[:, 0] ** 4 + c * path[:, 0] * path[:, 1]
        assert np.ptp(H) < 1e-6 * (1 + abs(H[0]))
        assert (
            abs(norm2(expm(S + 0.1 * np.diag(np.arange(d) + 1))) - 1) > 1e-3
        )  # not skew: lengths change
    path = small_steps(lambda x: np.array([x[1], 1.5 * braking(x[0])]), [1.0, 0.3], times)
    H = path[:, 1] ** 2 / 2 + np.abs(path[:, 0]) ** 1.5  # only once differentiable
    assert np.ptp(H) < 1e-4
    gaps = distances(pendulum(0.0), [2.4, 0.0], [2.8, 0.0], np.linspace(0, 60, 601))
    assert gaps.max() > 5 * gaps[0]
    gaps = distances(lambda x: np.array([x[1], 0.0]), [0.0, 0.0], [0.0, 1.0], np.array([0.0, 9.0]))
    assert gaps[1] > 9 * gaps[0]  # linear: the drift


def test_claim_1_15_contraction_to_one_point():
    times = np.linspace(0, 5, 51)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        d, beta = int(rng.integers(2, 5)), rng.uniform(0, 1)
        target, weights = rng.normal(size=d), rng.normal(size=(2 * d * d, d))

        def f(x, d=d, beta=beta, target=target, weights=weights):
            R, Q = np.tanh(weights @ x).reshape(2, d, d)
            return (-R.T @ R + Q - Q.T - beta * np.eye(d)) @ (x - target)

        gaps = np.linalg.norm(solve(f, 2 * rng.normal(size=d), times) - target, axis=1)
        assert (gaps <= gaps[0] * np.exp(-beta * times) + 1e-7).all()
    for beta in (0.0, 0.7):  # the rate is attained: A = Q - Q^T - beta I
        gaps = distances(
            lambda x, beta=beta: np.array([2 * x[1], -2 * x[0]]) - beta * x, [3.0, 1], [0, 0], times
        )
        assert np.allclose(gaps, gaps[0] * np.exp(-beta * times), rtol=1e-5)
    # continuous, but not Lipschitz at x* = 0: A(x) = -(1 + |x|^(-1/2)) I
    for start in ([2.0, 1.0], [0.1, -0.3]):
        path = small_steps(lambda x: -x - x / (math.sqrt(np.linalg.norm(x)) + 1e-300), start, times)
        gaps = np.linalg.norm(path, axis=1)
        assert (gaps <= gaps[0] * np.exp(-times) + 1e-6).all()
    # two solutions may move apart: the whirl, and the same with a constant speed of rotation
    gaps = distances(whirl, [1.0, 0.0], [1.2, 0.0], np.linspace(0, 8, 8001))
    assert gaps.max() == pytest.approx(0.5365, abs=1e-3) and gaps.argmax() / 1000 == pytest.approx(
        1.272, abs=5e-3
    )
    assert gaps[-1] == pytest.approx(0.0339, abs=1e-3)
    gaps = distances(
        lambda x: -0.5 * x + 5 * np.array([-x[1], x[0]]),
        [1.0, 0.0],
        [1.2, 0.0],
        np.linspace(0, 8, 81),
    )
    assert (np.diff(gaps) < 0).all()
    for r in (0.3, 1.0, 2.0):  # lambda_max(sym Df) = -1/2 + 5 r / 2, by central differences
        x, h = r * np.array([0.6, 0.8]), 1e-6
        J = np.stack([(whirl(x + h * e) - whirl(x - h * e)) / (2 * h) for e in np.eye(2)], 1)
        assert largest_symmetric(J) == pytest.approx(-0.5 + 2.5 * r, abs=1e-6)

    # The condition is needed for all x: here it fails in the ring 1 < |x| < 2 only, where nothing
    # gets through from outside.
    def barrier(x):
        r = np.linalg.norm(x)
        return -0.5 * x if r <= 1 or r >= 2 else (-0.5 + 20 * (r - 1) * (2 - r)) * x

    for start, stays in (([1.9, 0.0], True), ([4.0, 3.0], True), ([0.9, 0.0], False)):
        gaps = np.linalg.norm(solve(barrier, start, np.linspace(0, 8, 81)), axis=1)
        assert bool(gaps[-1] > 1) is stays
        within = gaps <= gaps[0] * np.exp(-0.5 * np.linspace(0, 8, 81)) + 1e-7
        assert bool(within.all()) is not stays
    # Continuity makes that solutions exist; where there is one, the bound needs it not: a field
    # that jumps, x' = -x - sign(x_1) e_1, and its solution up to the jump and along it.
    t = np.linspace(0, 3, 31)
    path = np.stack([np.maximum(3 * np.exp(-t) - 1, 0), 2 * np.exp(-t)], 1)
    gaps = np.linalg.norm(path, axis=1)
    assert (gaps <= gaps[0] * np.exp(-t) + 1e-12).all()
    # negative eigenvalues alone are not enough
    assert norm2(expm(0.66 * np.array([[-1.0, 10.0], [0.0, -2.0]]))) > 2.5
