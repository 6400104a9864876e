"""Lesson 5: every claim, an attempt to refute it, and what happens without its hypothesis."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from chapter_utils import layers, norms, operators, runge_kutta
from helpers import REAL_LIMITS, pairs, seeded, stretch
from lesson import artists

SEEDS = range(5)


@pytest.fixture
def layer(names):
    return names["gradient_layer"]


@pytest.fixture
def worst_slope(names):
    return names["worst_slope"]


def problem(seed, dtype=torch.float64):
    generator = seeded(seed)
    rows, columns = torch.randint(1, 7, (2,), generator=generator).tolist()
    A = torch.randn(rows, columns, generator=generator, dtype=dtype) * 10 ** (
        2 * torch.rand(1, generator=generator).item() - 1
    )
    return (
        A,
        torch.randn(rows, generator=generator, dtype=dtype),
        torch.linalg.matrix_norm(A, 2).item(),
    )


ACTIVATIONS = [
    (torch.relu, 1.0),
    (torch.tanh, 1.0),
    (torch.sigmoid, 0.25),
    (lambda t: F.leaky_relu(t, 0.2), 1.0),
]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("activation, slope", ACTIVATIONS)
def test_claim_5_1_the_layer_is_non_expansive(layer, worst_slope, seed, activation, slope):
    A, b, norm = problem(seed)
    x, y = pairs(seed, A.shape[1])
    for fraction in (0.01, 0.5, 1.0):
        tau = fraction * 2 / (slope * norm**2)
        ratio = (layer(x, A, b, tau, activation) - layer(y, A, b, tau, activation)).norm(dim=1) / (
            x - y
        ).norm(dim=1)
        assert ratio.max() <= 1 + 1e-9
    assert worst_slope(A, 2 / norm**2) <= 1 + 1e-9


def test_claim_5_1_needs_each_hypothesis(worst_slope, names):
    A, _, norm = problem(3)
    torch.manual_seed(0)
    assert (
        worst_slope(A, 2 / (1.129 * norm**2), (-0.129, 1.129)) > 1.1
    )  # a slope that turns negative
    assert (
        max(worst_slope(A, 1 / norm**2, B=torch.randn_like(A) * norm / 2) for _ in range(20)) > 1.1
    )  # untied weights
    assert worst_slope(3 * A, 2 / norm**2) == pytest.approx(17)  # a stale norm
    assert worst_slope(A, -0.1 / norm**2) == pytest.approx(1.1)  # a step backwards
    assert names["untied"] > 1.1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("c", [2.001, 2.1, 2.5, 3.0, 10.0])
@pytest.mark.parametrize("slope", [0.3, 1.0, 4.0])
def test_claim_5_2_the_limit_is_sharp(layer, worst_slope, seed, c, slope):
    A, _, norm = problem(seed)
    tau, direction = c / (slope * norm**2), torch.linalg.svd(A).Vh[0]
    b = (A @ direction).abs() + 1  # every unit is on along the whole segment
    x, y = 0.5 * direction[None], -0.5 * direction[None]

    def step(v, activation):
        return layer(v, A, b, tau, activation)

    def steep(t):
        return slope * torch.relu(t)

    assert (step(x, steep) - step(y, steep)).norm().item() == pytest.approx(c - 1)
    assert worst_slope(A, tau, (0.0, slope)) == pytest.approx(c - 1)
    # a slope that is reached at one point only: no pair, however near, is moved so far apart
    for size in (1.0, 0.1):
        b = torch.zeros_like(b)
        bent = step(size * x, lambda t: slope * torch.tanh(t))
        bent = bent - step(size * y, lambda t: slope * torch.tanh(t))
        assert bent.norm() < (c - 1) * size * (1 - 1e-6)
    assert torch.equal(layer(x, 0 * A, b, tau, steep), x)  # A = 0: nothing moves


def slack(alpha, x, y, Tx, Ty):
    moved = (x - Tx) - (y - Ty)
    return (
        (x - y).square().sum(1)
        - (1 - alpha) / alpha * moved.square().sum(1)
        - (Tx - Ty).square().sum(1)
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("c", [0.2, 1.0, 1.9])
def test_claim_5_3_averaged(layer, seed, c):
    A, b, norm = problem(seed)
    x, y = pairs(seed, A.shape[1], 5000)
    Tx, Ty = (layer(z, A, b, c / norm**2, torch.relu) for z in (x, y))
    assert slack(c / 2, x, y, Tx, Ty).min() >= -1e-10 * (x - y).square().sum(1).max()
    direction = torch.linalg.svd(A).Vh[:1]  # the pair for which no smaller alpha works
    on = (A @ direction[0]).abs() + 1
    Tx, Ty = (layer(s * direction, A, on, c / norm**2, torch.relu) for s in (0.5, -0.5))
    assert slack(0.9 * c / 2, 0.5 * direction, -0.5 * direction, Tx, Ty).item() < -1e-3
    for too_much in (2.0, 2.1):  # there no alpha below 1 is enough
        Tx, Ty = (layer(s * direction, A, on, too_much / norm**2, torch.relu) for s in (0.5, -0.5))
        assert slack(0.999, 0.5 * direction, -0.5 * direction, Tx, Ty).item() < -1e-3


def averagedness(matrix):
    """Smallest alpha of a linear non-expansive map, by bisection on the definition."""
    low, high = 1e-9, 1.0
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    for _ in range(60):
        alpha = (low + high) / 2
        gap = eye - (1 - alpha) / alpha * (eye - matrix).T @ (eye - matrix) - matrix.T @ matrix
        low, high = (alpha, high) if torch.linalg.eigvalsh(gap)[0] < -1e-12 else (low, alpha)
    return high


@pytest.fixture
def compose(names):
    return names["compose"]


@pytest.mark.parametrize("seed", range(30))
def test_claim_5_4_composition(compose, seed):
    generator = seeded(seed)
    maps, alphas = [], 0.05 + 0.9 * torch.rand(2, generator=generator, dtype=torch.float64)
    for alpha in alphas:
        orthogonal = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
        maps.append((1 - alpha) * torch.eye(3, dtype=torch.float64) + alpha * orthogonal)
    promised = compose(*alphas.tolist())
    assert max(alphas) <= promised <= 1
    assert averagedness(maps[0] @ maps[1]) <= promised + 1e-6


@pytest.mark.parametrize("alphas", [(0.5, 0.5), (0.1, 0.9), (0.3, 0.7), (0.95, 0.9)])
def test_claim_5_4_is_attained(compose, alphas):
    """In the limit of small turns in the plane, each in proportion to the other's 1 - alpha."""
    eye = torch.eye(2, dtype=torch.float64)
    product = eye
    for alpha, other in (alphas, alphas[::-1]):
        angle = torch.tensor(0.01 * (1 - other), dtype=torch.float64)
        cos, sin = angle.cos(), angle.sin()
        turned = torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
        product = ((1 - alpha) * eye + alpha * turned) @ product
    assert averagedness(product) == pytest.approx(compose(*alphas), rel=1e-3)


def test_claim_5_4_numbers_and_sharpness(compose):
    assert compose(compose(0.75, 0.75), 0.75) == pytest.approx(0.9)
    n = 0.5
    for k in range(2, 8):
        n = compose(n, 0.5)
        assert n == pytest.approx(k / (k + 1))
    assert (
        compose(0.5, 1.0) == 1
    )  # a rotation is not averaged, and no stack with it is promised to be
    rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    assert averagedness(rotation) == pytest.approx(1)
    assert (torch.linalg.matrix_power(0.5 * (torch.eye(2) + rotation), 100)).norm() < 1e-14
    assert torch.equal(torch.linalg.matrix_power(rotation, 100), torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_claim_5_5_adjoint(names, dtype, tolerance):
    for side, k, stride, padding in itertools.product(
        (4, 5, 8, 9), (1, 2, 3, 4), (1, 2, 3), (0, 1, 2)
    ):
        if side + 2 * padding < k:
            continue
        generator = seeded(side)
        kernel = torch.randn(3, 2, k, k, generator=generator, dtype=torch.float64).to(dtype)
        x = torch.randn(1, 2, side, side, generator=generator, dtype=torch.float64).to(dtype)
        image = names["conv"](x, kernel, stride, padding)
        y = torch.randn(image.shape, generator=generator, dtype=torch.float64).to(dtype)
        back = names["conv_adjoint"](y, kernel, side, stride, padding)
        assert back.shape == x.shape
        assert (
            abs((image * y).sum() - (x * back).sum()).item()
            <= tolerance * (1 + image.norm() * y.norm()).item()
        )


def test_claim_5_5_needs_square_kernels_and_images(names):
    """Otherwise each axis has its own output padding, and the formula knows one only."""
    for kernel_size, image_size in (((2, 3), (8, 8)), ((3, 3), (7, 8))):
        x = torch.randn(1, 1, *image_size, generator=seeded(0))
        kernel = torch.randn(1, 1, *kernel_size, generator=seeded(1))
        y = torch.randn_like(names["conv"](x, kernel, 2))
        back = names["conv_adjoint"](y, kernel, image_size[0], 2)
        assert back.shape != x.shape


def test_claim_5_5_a_wrong_adjoint_breaks_the_layer(names):
    assert names["mixed"] > 1.05 and names["correct"] <= 1 + 1e-12
    with pytest.raises(RuntimeError):  # without output_padding the sizes do not even fit
        x = torch.zeros(1, 1, 8, 8)
        _ = (
            F.conv_transpose2d(
                F.conv2d(x, torch.ones(1, 1, 3, 3), stride=2, padding=1),
                torch.ones(1, 1, 3, 3),
                None,
                2,
                1,
            )
            - x
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_5_6_power_iteration(seed):
    A = torch.randn(64, 64, generator=seeded(seed), dtype=torch.float64)
    start = torch.randn(64, generator=seeded(seed + 50), dtype=torch.float64)
    truth = torch.linalg.matrix_norm(A, 2).item()
    for steps in range(12):
        estimate, _ = norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, start, steps)
        assert estimate <= truth * (1 + 1e-12)
    best = torch.linalg.svd(A).Vh[0]  # attained, and whatever length the start has
    for length in (0.1, 1.0, 7.0):
        estimate, _ = norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, length * best, 0)
        assert estimate == pytest.approx(truth)
    estimate, _ = norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, start, 1)
    assert (
        worst_slope_all_on(A, 2 / estimate.item() ** 2) > 1.05
    )  # the step taken from it is too long


def worst_slope_all_on(A, tau):
    return torch.linalg.matrix_norm(torch.eye(A.shape[1], dtype=A.dtype) - tau * A.T @ A, 2).item()


def minus_gradient(A, b):
    return lambda x: -torch.relu(x @ A.T + b) @ A


EULER, HEUN = runge_kutta.TABLEAUS["euler"], runge_kutta.TABLEAUS["heun"]
MADE = {
    "five Euler steps": runge_kutta.substeps(EULER, 5),
    "two Heun steps": runge_kutta.substeps(HEUN, 2),
    "three quarters": runge_kutta.tableau([[0, 0], [3 / 4, 0]], [1 / 2, 1 / 2]),
}
RADII = {"euler": 1, "heun": 1, "ssprk3": 1, "rk4": 1, "kutta3": 1 / 2}
RADII |= {"five Euler steps": 5, "two Heun steps": 2, "three quarters": 4 / 3}


@pytest.mark.parametrize("method, radius", RADII.items())
def test_claim_5_7_runge_kutta_layers(method, radius):
    tableau = {**runge_kutta.TABLEAUS, **MADE}[method]
    assert runge_kutta.circle_contractivity_radius(tableau) == pytest.approx(radius)
    for seed in range(10):
        A, b, norm = problem(seed)
        x, y = pairs(seed, A.shape[1])
        field = minus_gradient(A, b)
        h = 2 * radius / norm**2
        Tx = runge_kutta.runge_kutta_step(field, x, h, tableau)
        Ty = runge_kutta.runge_kutta_step(field, y, h, tableau)
        assert ((Tx - Ty).norm(dim=1) <= (x - y).norm(dim=1) * (1 + 1e-7)).all()


@pytest.mark.parametrize("method, radius", RADII.items())
@pytest.mark.parametrize("norm", [0.5, 3.0])
def test_claim_5_7_how_sharp(method, radius, norm):
    """One unit, the ReLU or the identity: which longer step is the first that moves a pair apart?

    The next one, but for the methods whose linear stability reaches farther than their radius.
    """
    tableau = {**runge_kutta.TABLEAUS, **MADE}[method]
    longer = REAL_LIMITS[method] / (2 * radius) if method in REAL_LIMITS else 1.0
    assert longer == pytest.approx(
        {"ssprk3": 1.257, "rk4": 1.393, "kutta3": 2.513}.get(method, 1), abs=1e-3
    )
    x = torch.linspace(0.1, 3, 30, dtype=torch.float64)[:, None]
    for times, grows in ((0.995 * longer, False), (1.01 * longer, True)):
        worst = 0.0
        for activation in (torch.relu, lambda t: t):

            def step(v, activation=activation, h=times * 2 * radius / norm**2):
                field = lambda z: -norm * activation(norm * z)  # noqa: E731
                return runge_kutta.runge_kutta_step(field, v, h, tableau)

            worst = max(worst, stretch(step, x, x + 0.01))
        assert (worst > 1 + 1e-6) is grows


@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_claim_5_7_needs_the_slope_and_a_nondecreasing_activation(method):
    """The sigmoid's steps are 4 times as long; 3 times the limit is too long; GELU breaks it."""
    tableau = runge_kutta.TABLEAUS[method]
    radius = runge_kutta.circle_contractivity_radius(tableau)

    def worst(activation, slope, times=1.0):
        found = 0.0
        for seed in range(10):
            A, b, norm = problem(seed)
            x = pairs(seed, A.shape[1])[0][:200]
            h = times * 2 * radius / (slope * norm**2)

            def step(v, A=A, b=b, h=h):
                field = lambda z: -activation(z @ A.T + b) @ A  # noqa: E731
                return runge_kutta.runge_kutta_step(field, v, h, tableau)

            found = max(found, norms.jacobian_norms(step, x).max().item())
        return found

    assert worst(torch.sigmoid, 0.25) <= 1 + 1e-9
    assert worst(torch.relu, 1.0) <= 1 + 1e-9
    assert worst(torch.relu, 1.0, times=3.0) > 1.1
    assert worst(F.gelu, 1.129) > 1 + 1e-6


def test_claim_5_7_the_midpoint_rule_expands():
    # two ReLU units at an angle; the point is chosen so that the stages see different patterns
    # (Sanz-Serna and Zygalakis, 1909.09971)
    w = torch.tensor(
        [[math.cos(math.pi / 3), math.sin(math.pi / 3)], [1.0, 0.0]], dtype=torch.float64
    )
    shift = torch.linalg.solve(w, torch.tensor([20.0, -20.0], dtype=torch.float64))
    h = 1 / 1.5
    x = torch.linalg.solve(w, torch.tensor([5 * h, -5 * h], dtype=torch.float64))

    def field(v):
        return -shift - torch.relu(v @ w.T) @ w

    J = torch.func.jacrev(
        lambda v: runge_kutta.runge_kutta_step(field, v, h, runge_kutta.TABLEAUS["midpoint"])
    )(x)
    assert torch.linalg.matrix_norm(J, 2) > 1.005
    with pytest.raises(ValueError, match="radius 0"):
        layers.NonExpansiveBlock(
            layers.GradientField(operators.DenseOperator(2, 2)), method="midpoint"
        )


def test_claim_5_8_the_endpoint_matters(layer):
    x = torch.randn(200, 1, generator=seeded(0), dtype=torch.float64)
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    assert torch.equal(layer(x, one, zero, 2.0, torch.relu), -x.abs())
    z = torch.randn(200, 2, generator=seeded(1), dtype=torch.float64)
    A = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(layer(z, A, zero, 1.0, torch.relu), z.sort(1, descending=True).values)
    # below the endpoint an active unit's direction shrinks; at it, orthonormal rows make isometries
    for seed in SEEDS:
        A, _, norm = problem(seed)
        Q = torch.linalg.qr(torch.randn(6, 3, generator=seeded(seed), dtype=torch.float64)).Q.T
        for W, c in itertools.product((Q, A / norm), (0.1, 1.5, 2.0)):
            for pattern in itertools.product([-1.0, 1.0], repeat=len(W)):
                b = torch.tensor(pattern, dtype=torch.float64)

                def step(v, W=W, c=c, b=b):
                    return layer(v[None], W, b, c, torch.relu)[0]

                J = torch.func.jacrev(step)(torch.zeros(W.shape[1], dtype=torch.float64))
                rows = W[[sign > 0 for sign in pattern]]
                shrunk = (J @ rows.T).norm(dim=0) < rows.norm(dim=1) * (1 - 1e-9)
                assert c == 2 or shrunk.all()
                if W is Q and c == 2:
                    assert torch.linalg.svdvals(J).min() > 1 - 1e-9


def test_widget_of_the_step_size(names):
    draw = names["live_step"].update
    (dot,) = artists(names["live_step"], "constant")
    (moved,) = artists(names["live_step"], "pair")
    for c, apart, grows in (
        (0.0, 1.0, False),
        (1.0, 0.0, False),
        (1.9, 0.9, False),
        (2.0, 1.0, False),
        (2.1, 1.1, True),
        (3.0, 2.0, True),
    ):
        sentence = draw(c=c)
        assert f"is {apart:.2f} apart" in sentence and ("Some distances grow" in sentence) is grows
        assert dot.get_ydata()[0] == pytest.approx(max(1.0, c - 1))
        (x0, x1), (y0, y1) = moved.get_data()
        assert math.hypot(x0 - x1, y0 - y1) == pytest.approx(apart, abs=1e-9)
