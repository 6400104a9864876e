"""Lesson 6: every claim, an attempt to refute it, and what happens without its hypothesis."""

import functools
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from chapter_utils import (
    certificates,
    expansive,
    image_operators,
    layers,
    models,
    norms,
    operators,
    plain_layers,
    training,
)
from helpers import pairs, seeded, stretch

SEEDS = range(5)
F64 = torch.float64


def orthonormal_columns(seed, rows, columns, dtype=F64):
    return torch.linalg.qr(torch.randn(rows, columns, generator=seeded(seed), dtype=F64)).Q.to(
        dtype
    )


def pieces(step, M, slopes):
    patterns = itertools.product(slopes, repeat=len(M))
    return [
        torch.eye(M.shape[1], dtype=M.dtype)
        + step * M.T @ torch.diag(torch.tensor(D, dtype=M.dtype)) @ M
        for D in patterns
    ]


def worst(*factors):
    return max(
        torch.linalg.matrix_norm(
            torch.linalg.multi_dot([*reversed(c), torch.eye(len(c[0]), dtype=F64)]), 2
        ).item()
        for c in itertools.product(*factors)
    )


def leaky(a):
    return lambda t: F.leaky_relu(t, a)


def gradient_step(h, activation, A, b):
    """x + h A^T act(A x + b): contractive for h < 0, expansive for h > 0."""
    return lambda x: x + h * activation(x @ A.T + b) @ A


def smooth(a):
    return lambda t: a * t + (1 - a) * torch.tanh(t)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("activation", [leaky, smooth])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 5e-3)])
def test_claim_6_1_contractive_step(seed, activation, dtype, tolerance):
    generator = seeded(seed)
    columns = torch.randint(1, 5, (1,), generator=generator).item()
    A = orthonormal_columns(seed, columns + seed % 3, columns, dtype)
    b = 3 * torch.randn(len(A), generator=generator).to(dtype)
    x, y = (v.to(dtype) for v in pairs(seed, columns, near=0.1))
    for a, h1 in itertools.product((0.1, 0.5, 1.0), (0.0, 0.5, 1.3, 2.0, 3.0)):
        slope = stretch(gradient_step(-h1, activation(a), A, b), x, y)
        assert slope <= max(abs(1 - a * h1), abs(1 - h1)) + tolerance
        if activation is leaky:  # attained far out on either side
            found = max(
                stretch(gradient_step(-h1, leaky(a), A, s), x[::2], y[::2]) for s in (-99.0, 99.0)
            )
            assert found == pytest.approx(
                max(abs(1 - a * h1), abs(1 - h1)), abs=max(1e-6, 2 * tolerance)
            )


def test_claim_6_1_needs_each_hypothesis():
    Q = orthonormal_columns(0, 3, 3)
    squeezed = Q @ torch.diag(torch.tensor([1.0, 1.0, 0.1], dtype=F64))
    assert worst(pieces(-0.5, squeezed, (0.5, 1.0))) > 0.99 > 0.75  # not orthogonal
    assert worst(pieces(-0.5, Q, (0.0, 1.0))) == pytest.approx(1)  # a slope of 0: ReLU
    other = orthonormal_columns(1, 3, 3)
    untied = [
        torch.eye(3, dtype=F64) - 0.5 * other.T @ torch.diag(torch.tensor(D, dtype=F64)) @ Q
        for D in itertools.product((0.5, 1.0), repeat=3)
    ]
    assert worst(untied) > 1  # not a gradient
    assert worst(pieces(-1.6, Q, (0.5, 1.5))) == pytest.approx(1.4)  # a slope above 1


@pytest.mark.parametrize("seed", range(20))
def test_claim_6_2_monotone_only(seed):
    G = torch.randn(3, 3, generator=seeded(seed), dtype=F64)
    G = G - (torch.linalg.eigvalsh((G + G.T) / 2)[0] - 0.1) * torch.eye(3, dtype=F64)  # monotone
    G = G / torch.linalg.matrix_norm(G, 2)
    a = torch.linalg.eigvalsh((G + G.T) / 2)[0].item()
    assert 0 < a <= 1
    for h1 in (0.1, 0.5, 1.0, 1.9):
        norm = torch.linalg.matrix_norm(torch.eye(3, dtype=F64) - h1 * G, 2).item()
        assert norm <= expansive.contraction_factor(h1, a, "monotone") + 1e-9
    backwards = torch.linalg.matrix_norm(
        torch.eye(3, dtype=F64) + 0.5 * G, 2
    ).item()  # -G is not monotone
    assert backwards > expansive.contraction_factor(0.5, a, "monotone")


@pytest.mark.parametrize("a", [0.1, 0.5, 0.9])
def test_claim_6_2_is_attained_by_a_spiral_and_only_gradients_do_better(a):
    rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=F64)
    spiral = a * torch.eye(2, dtype=F64) + math.sqrt(1 - a * a) * rotation
    for h1 in (0.2, 0.5, 4 / 3):
        norm = torch.linalg.matrix_norm(torch.eye(2, dtype=F64) - h1 * spiral, 2).item()
        assert norm == pytest.approx(math.sqrt(1 - 2 * a * h1 + h1 * h1))
        assert norm == pytest.approx(expansive.contraction_factor(h1, a, "monotone"))
        steeper = torch.eye(2, dtype=F64) - 2 * h1 * spiral  # monotone, with the constant 2
        assert h1 < 1 or torch.linalg.matrix_norm(steeper, 2) > 1.1 * norm
        assert norm > max(abs(1 - a * h1), abs(1 - h1)) + 1e-3  # the sharp rule would be wrong


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("parts", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_claim_6_3_pair(seed, parts):
    A, B = orthonormal_columns(seed, 2, 2), orthonormal_columns(seed + 50, 2, 2)
    contraction = orthonormal_columns(seed + 99, 2, 2) * 0.8  # |B| < 1 is allowed too
    for h1 in (0.11, 0.5, 1.3):
        limit = expansive.largest_expansion(h1, parts)
        for h2 in (0.5 * limit, limit, 1.01 * limit):
            down, up = [pieces(-h1 / parts[0], A, (0.5, 1.0))] * parts[0], h2 / parts[1]
            bound = (
                max(abs(1 - h1 / parts[0] / 2), abs(1 - h1 / parts[0])) ** parts[0]
                * (1 + up) ** parts[1]
            )
            found = worst(*down, *[pieces(up, B, (0.0, 1.0))] * parts[1])
            assert (
                found
                == pytest.approx(bound)
                == pytest.approx(expansive.pair_factor((h1, h2), parts))
            )
            assert (found <= 1 + 1e-12) is (h2 <= limit)
            assert worst(*down, *[pieces(up, contraction, (0.0, 1.0))] * parts[1]) <= bound + 1e-12


def composed(first, second):
    return lambda x: second(first(x))


@pytest.mark.parametrize("h1, attained", [(0.5, True), (2.0, True), (3.0, False), (3.6, False)])
def test_claim_6_3_equality_with_shared_biases(h1, attained):
    """Two parts down with one A and b: equality needs h1 / s1 <= 2 / (1 + a) = 4/3."""
    A, B = orthonormal_columns(1, 2, 2), orthonormal_columns(2, 2, 2)
    x, y = pairs(0, 2, near=0.1)
    bound = expansive.pair_factor((h1, 0.3), (2, 2))
    found = 0.0
    for b in (-999.0, -99.0, *torch.linspace(-4, 4, 33).tolist(), 99.0, 999.0):
        part = gradient_step(-h1 / 2, leaky(0.5), A, b)
        up = gradient_step(0.15, torch.relu, B, 999)
        found = max(found, stretch(composed(composed(part, part), composed(up, up)), x, y))
    assert found <= bound * (1 + 1e-9)
    assert (found > 0.999 * bound) is attained


def test_claim_6_3_beyond_the_limit_two_points_do_move_apart():
    A, B = orthonormal_columns(1, 3, 3), orthonormal_columns(2, 3, 3)
    x, y = pairs(0, 3, near=0.1)
    down = gradient_step(-0.5, leaky(0.5), A, -99)
    for h2, grows in ((1 / 3, False), (0.34, True)):
        up = gradient_step(h2, torch.relu, B, 999)
        assert (stretch(composed(down, up), x, y) > 1 + 1e-9) is grows


def test_claim_6_3_needs_both_matrices():
    """At h1 = 1/2, h2 = 1/3, where nothing is left to give away."""
    A, B = orthonormal_columns(1, 3, 3), orthonormal_columns(2, 3, 3)
    down, up = pieces(-0.5, A, (0.5, 1.0)), pieces(1 / 3, B, (0.0, 1.0))
    assert worst(down, up) == pytest.approx(1)
    shrunk = A @ torch.diag(torch.tensor([1.0, 1.0, 0.9], dtype=F64))
    assert worst(pieces(-0.5, shrunk, (0.5, 1.0)), up) > 1.05  # A^T A is not the identity
    assert worst(down, pieces(1 / 3, 1.1 * B, (0.0, 1.0))) > 1.05  # |B| > 1
    assert worst(pieces(-0.5, A, (0.4, 1.0)), up) > 1.05  # a smaller slope of the activation


def test_claim_6_3_needs_a_step_up_that_goes_up():
    """Down 1/2, up -5, one part each: the left side is -3, the true constant 3."""
    A, B = orthonormal_columns(1, 2, 2), orthonormal_columns(2, 2, 2)
    left_side = expansive.contraction_factor(0.5, 0.5) * (1 - 5)
    assert left_side == -3
    found = worst(pieces(-0.5, A, (0.5, 1.0)), pieces(-5.0, B, (0.0, 1.0)))
    assert found == pytest.approx(3)
    for h2 in (-5.0, -2.5, -1.0, -0.1):  # |h2| in the condition is enough
        for parts in (1, 2):
            ups = [pieces(h2 / parts, B, (0.0, 1.0))] * parts
            allowed = 0.75 * (1 + abs(h2) / parts) ** parts
            assert worst(pieces(-0.5, A, (0.5, 1.0)), *ups) <= allowed + 1e-12
    for h2 in (-2.0, -1.0, -0.1):  # down with B: still allowed, and what the library says
        assert worst(pieces(h2, B, (0.0, 1.0))) <= 1 + 1e-12
        assert expansive.pair_factor((0.5, h2)) == pytest.approx(0.75)


def test_claim_6_3_a_step_whose_sign_is_lost():
    """The published code uses |h2|: -1.9 becomes 1.9."""
    A, B = orthonormal_columns(1, 2, 2), orthonormal_columns(2, 2, 2)
    halves = [pieces(-0.5, A, (0.5, 1.0))] * 2
    assert worst(*halves, pieces(-1.9, B, (0.0, 1.0))) == pytest.approx(0.5625)
    assert worst(*halves, pieces(1.9, B, (0.0, 1.0))) == pytest.approx(0.5625 * 2.9)


@pytest.mark.parametrize("a", [0.25, 0.5, 0.8])
def test_claim_6_1_and_6_3_the_best_step_down_and_the_shortest_that_pays(a):
    grid = torch.linspace(0, 2, 20001, dtype=F64)
    factors = torch.maximum((1 - a * grid).abs(), (1 - grid).abs())
    assert grid[factors.argmin()].item() == pytest.approx(2 / (1 + a), abs=2e-4)
    assert factors.min().item() == pytest.approx((1 - a) / (1 + a), abs=2e-4)
    most = 2 * a / (1 - a)
    for h2 in (0.1 * most, 0.7 * most):
        allowed = grid[factors * (1 + h2) <= 1]
        assert allowed[0].item() == pytest.approx(h2 / (a * (1 + h2)), abs=2e-4)
    assert not (factors * (1 + 1.01 * most) <= 1).any()


def test_claim_6_3_numbers_of_the_paper():
    def paper(h1, h2, parts):
        return (
            math.sqrt(1 - h1 / parts[0] + (h1 / parts[0]) ** 2) ** parts[0]
            * (1 + h2 / parts[1]) ** parts[1]
        )

    assert paper(0.3, 0.141, (2, 2)) == pytest.approx(0.99986, abs=1e-5)
    assert expansive.pair_factor((0.3, 0.141), (2, 2), rule="monotone") == pytest.approx(
        0.99986, abs=1e-5
    )
    assert expansive.pair_factor((0.3, 0.141), (2, 2)) == pytest.approx(0.9805, abs=1e-4)
    assert expansive.largest_expansion(0.5, rule="monotone") == pytest.approx(0.1547, abs=1e-4)
    assert expansive.largest_expansion(0.5) == pytest.approx(1 / 3)
    grid = torch.linspace(0, 3.2, 3201, dtype=F64).tolist()
    for s in (1, 3):  # the hill of the paper's rule: it ends at s, and its top grows like s
        hill = [expansive.largest_expansion(h, (s, s), rule="monotone") for h in grid]
        assert max(hill) == pytest.approx(s * (2 / math.sqrt(3) - 1), abs=1e-6)
        assert hill[1000 * s - 10] > 0 and max(hill[1000 * s + 1 :]) == 0
    limit = expansive.largest_expansion(0.11, (2, 1), rule="monotone")
    assert limit == pytest.approx(0.054824, abs=1e-6) and paper(
        0.11, limit, (2, 1)
    ) == pytest.approx(1)
    assert limit == pytest.approx(0.0548245, abs=1e-7)  # where the stored networks sit


@pytest.mark.parametrize("seed", range(10))
def test_claim_6_4_nearly_orthogonal(seed):
    A = torch.randn(4, 3, generator=seeded(seed), dtype=F64) + 2 * orthonormal_columns(seed, 4, 3)
    low, *_, high = torch.linalg.eigvalsh(A.T @ A).tolist()
    for a, h1 in itertools.product((0.2, 0.5), (0.3, 1.0, 1.9)):
        found = worst(pieces(-h1 / high, A, (a, 1.0)))
        assert found == pytest.approx(max(abs(1 - a * low / high * h1), abs(1 - h1)))
        assert found == pytest.approx(expansive.contraction_factor(h1, a * low / high))
    assert worst(pieces(-0.3 / high, A, (0.5, 1.0))) > expansive.contraction_factor(
        0.3
    )  # as if A^T A were the identity
    assert worst(pieces(-1.9 / low, A, (0.5, 1.0))) > expansive.contraction_factor(
        1.9, 0.5 * low / high
    )  # divided by the wrong eigenvalue
    wide = orthonormal_columns(
        seed, 4, 2
    ).T  # fewer rows than columns: lambda_min = 0, nothing shrinks in the worst direction
    assert worst(pieces(-0.5, wide, (0.5, 1.0))) == pytest.approx(1)


def test_claim_6_4_what_the_prescribed_pair_needs():
    def pair(lambda_min):
        A = torch.diag(torch.tensor([1.0, math.sqrt(lambda_min)], dtype=F64))
        return worst(
            *[pieces(-0.15, A, (0.5, 1.0))] * 2,
            *[pieces(0.0705, torch.eye(2, dtype=F64), (0.0, 1.0))] * 2,
        )

    assert pair(0.725) == pytest.approx(1.0247, abs=1e-4)
    assert pair(0.877) > 1 > pair(0.879)


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_6_4_a_block_never_promises_too_much(seed):
    """Whatever the weights, the block's bound holds: it uses the measured eigenvalue, cuts h2."""
    block = (
        expansive.SwitchingBlock(
            operators.DenseOperator(3, 3), operators.DenseOperator(3, 3), (0.3, 0.141)
        )
        .double()
        .eval()
    )
    generator = seeded(seed)
    with torch.no_grad():
        for weight in block.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=F64))
    x = 3 * torch.randn(500, 3, generator=generator, dtype=F64)
    with pytest.warns(UserWarning, match="the expansive step is cut"):
        bound, slope = (
            certificates.lipschitz_bound(block, (3,)),
            norms.jacobian_norms(block, x).max().item(),
        )
    assert slope <= bound + 1e-9 and bound <= 1 + 1e-6
    assert (
        expansive.pair_factor((0.3, 0.141), (2, 2), 0.5 * block.conditioning((3,))) > 1
    )  # without the cut


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_6_5_shift_convolution(seed):
    shift = image_operators.ShiftOperator(6).double()
    with torch.no_grad():
        shift.weight.copy_(torch.randn(6, 6, generator=seeded(seed), dtype=F64))
    matrix = norms.dense_matrix(shift, (6, 3, 4)).detach()
    expected = torch.linalg.svdvals(shift.weight.detach()).repeat_interleave(12)
    assert torch.allclose(torch.linalg.svdvals(matrix), expected, atol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_6_5_zero_padding_loses_what_moves_out(seed):
    W = orthonormal_columns(seed, 5, 5)
    kernel = torch.zeros(5, 5, 3, 3, dtype=F64)
    moves = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # those of a ShiftOperator
    for channel, (dy, dx) in enumerate(moves):
        kernel[:, channel, 1 - dy, 1 - dx] = W[:, channel]
    shift = image_operators.ShiftOperator(5).double()
    with torch.no_grad():
        shift.weight.copy_(W)
    x = torch.randn(2, 5, 4, 4, generator=seeded(seed), dtype=F64)
    assert torch.allclose(shift(x), F.conv2d(F.pad(x, (1,) * 4, mode="circular"), kernel))
    matrix = norms.dense_matrix(lambda v: F.conv2d(v, kernel, padding=1), (5, 4, 4))
    assert torch.linalg.svdvals(matrix)[-1] < 1e-12


def to_points(seed):
    """The distance to seven points of the space, and the nearest of them."""
    K = torch.randn(7, 3, generator=seeded(seed), dtype=F64)

    def distance(v):
        return torch.cdist(v, K).min(1, keepdim=True).values

    return distance, lambda v: K[torch.cdist(v, K).argmin(1)]


def to_a_disc(_):
    """The distance to the points less than 1/2 away from 0, an open set."""

    def distance(v):
        return (v.norm(dim=1, keepdim=True) - 0.5).clamp(min=0)

    return distance, lambda v: v * (0.5 / v.norm(dim=1, keepdim=True)).clamp(max=1)


def to_the_circle(_):
    """That of the lesson, here a sphere."""

    def distance(v):
        return (v.norm(dim=1, keepdim=True) - 0.6).abs()

    return distance, lambda v: 0.6 * v / v.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("make", [to_points, to_a_disc, to_the_circle])
def test_claim_6_6_distance_to_a_set(seed, make):
    distance, nearest = make(seed)
    x, y = pairs(seed, 3, 2000, near=0.1)
    assert stretch(distance, x, y) <= 1 + 1e-9
    z, d = nearest(x), distance(x)
    assert torch.allclose((x - z).norm(dim=1, keepdim=True), d)
    for share in (0.01, 0.5, 0.99):  # on the way to the nearest point it falls at the rate 1,
        assert torch.allclose(distance(x + share * (z - x)), (1 - share) * d)
    outside = d[:, 0] > 0.1
    x, z, d = x[outside], z[outside], d[outside]
    towards = (z - x) / d
    across = torch.randn(x.shape, generator=seeded(seed + 50), dtype=F64)
    across = across - (across * towards).sum(1, keepdim=True) * towards
    across = across / across.norm(dim=1, keepdim=True)
    askew = math.cos(0.5) * towards + math.sin(0.5) * across
    assert (d - distance(x + 1e-6 * askew) < 0.9e-6).all()  # and more slowly in other directions

    def square(v):
        return distance(v) ** 2

    steep = square(x - 5e-6 * towards) - square(x + 5e-6 * towards)
    slope = steep.abs() / 1e-5
    assert torch.allclose(slope, 2 * d, rtol=1e-3)
    assert (slope > 1)[d > 0.51].all()  # so the square is not 1-Lipschitz there,
    assert not (slope > 1)[d < 0.49].any()
    assert (d > 0.51).any() and (d < 0.49).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_6_6_a_sum_of_distances_is_not_the_distance_to_a_set(seed):
    K = torch.randn(7, 3, generator=seeded(seed), dtype=F64)
    x, y = pairs(seed, 3, 2000, near=0.1)
    assert stretch(lambda v: torch.cdist(v, K).sum(1, keepdim=True), x, y) > 1.1


@pytest.mark.parametrize("seed", SEEDS)
def test_only_reflecting_steps_keep_every_distance(seed):
    """What blocks with an orthogonal matrix keep at least: c = 1, c = 2, and an allowed pair."""

    def least(*factors):
        products = [functools.reduce(lambda P, M: M @ P, c) for c in itertools.product(*factors)]
        return min(torch.linalg.svdvals(P)[-1].item() for P in products)

    A, B = orthonormal_columns(seed, 2, 2), orthonormal_columns(seed + 50, 2, 2)
    assert least(pieces(-1.0, A, (0.0, 1.0))) == pytest.approx(0, abs=1e-12)
    assert least(pieces(-2.0, A, (0.0, 1.0))) == pytest.approx(1)
    pair = pieces(-0.8, A, (0.5, 1.0)), pieces(2 / 3, B, (0.0, 1.0))
    assert worst(*pair) == pytest.approx(1) and least(*pair) == pytest.approx(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_only_reflecting_steps_draw_the_distance_to_a_circle(seed):
    """A statement about training, as an inequality.

    c = 2 against c = 1 and against spectral normalisation.
    """

    def target(x):
        return (x.norm(dim=1, keepdim=True) - 0.6).abs()

    def steps(c):
        fields = [layers.GradientField(operators.DenseOperator(16, 16)) for _ in range(4)]
        blocks = [layers.NonExpansiveBlock(field, c) for field in fields]
        return nn.Sequential(
            plain_layers.ZeroPadLift(2, 16), *blocks, layers.NonExpansiveLinear(16, 1)
        )

    def normalised():
        spectral = nn.utils.parametrizations.spectral_norm
        hidden = [
            part
            for m, n in ((2, 16), (16, 16), (16, 16), (16, 16))
            for part in (spectral(nn.Linear(m, n)), nn.ReLU())
        ]
        return nn.Sequential(*hidden, spectral(nn.Linear(16, 1)))

    side = torch.linspace(-1, 1, 21, dtype=F64)
    x, errors = torch.cartesian_prod(side, side), []
    for make in (lambda: steps(2.0), lambda: steps(1.0), normalised):
        torch.manual_seed(seed)
        network = make().double()
        training.fit(
            network,
            x,
            target(x),
            lambda f, y: (f - y).square().mean(),
            300,
            len(x),
            0.02,
            progress=False,
        )
        with torch.no_grad():
            errors.append((network(x) - target(x)).abs().max().item())
    assert errors[0] < 0.7 * min(errors[1:])


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_6_7_naive_block(seed):
    A, B = (torch.randn(4, 4, generator=seeded(seed + k), dtype=F64) for k in (0, 100))
    x, y = pairs(seed, 4, near=0.1)

    def block(A, B, b=0.0, keep=0.5):
        made = plain_layers.UntiedBlock(
            operators.DenseOperator(4, 4), operators.DenseOperator(4, 4), keep
        ).double()
        made.inner.weight.data, made.outer.weight.data = A, B
        made.bias.data.fill_(b)
        return made

    def bound(A, B, keep=0.5):
        return keep * (1 + torch.linalg.matrix_norm(A, 2) * torch.linalg.matrix_norm(B, 2))

    for b in (-1.0, 0.0, 99.0):  # in the last case every unit is on
        assert stretch(block(A, B, b), x, y) <= bound(A, B) + 1e-9
    assert certificates.lipschitz_bound(block(A, B), (4,)) == pytest.approx(bound(A, B).item())
    A, B = orthonormal_columns(seed, 4, 4), orthonormal_columns(seed + 1, 4, 4)
    assert stretch(block(A, B, 99.0), x, y) <= 1 + 1e-9
    assert stretch(block(A, A.T, 99.0), x, y) == pytest.approx(1)  # attained,
    for factor in (0.3, 1.2):  # also by others: a penalty that is not obeyed
        found = stretch(block(factor * A, A.T, 99.0), x, y)
        assert found == pytest.approx(bound(factor * A, A.T).item())
    assert stretch(block(A, A.T, 99.0, keep=1.0), x, y) == pytest.approx(2)  # without the half


@pytest.mark.parametrize("regime", models.CERTIFIED)
def test_certified_regimes_keep_their_bound_whatever_the_weights(regime):
    network = models.regime_net(regime, (1, 8, 8), channels=5, depth=1).double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=seeded(1), dtype=F64))
    operators.restore_orthonormal_rows(network)
    x = torch.rand(20, 1, 8, 8, generator=seeded(2), dtype=F64)
    network.eval()
    slope, bound = (
        norms.jacobian_norms(network, x).max().item(),
        certificates.lipschitz_bound(network, (1, 8, 8)),
    )
    assert slope <= bound + 1e-9 and bound <= 1 + 1e-6
