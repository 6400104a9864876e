"""Each numbered claim of lesson 4: random attempts to refute it, and the hypothesis dropped."""

import itertools
import math

import pytest
import torch

from helpers import flow_end, norm2, normal

SEEDS = range(5)
pytestmark = pytest.mark.usefixtures("double_precision_one_thread")


def skew(M):
    return M - M.T


# ---- 4.1 layers are time steps -------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_4_1_thin_layers_follow_the_flow(seed):
    d, T = 2 + seed, 1.5
    W, b, x = normal(seed, d, d), normal(seed + 10, d), normal(seed + 20, 50, d)
    end = flow_end(lambda x: torch.tanh(x @ W.T + b), x, T)
    for depth in (5, 50):
        z = x
        for _ in range(depth):
            z = z + T / depth * torch.tanh(z @ W.T + b)
        bound = 0.5 * T / depth * math.sqrt(d) * math.expm1(norm2(W) * T)
        assert (z - end).norm(dim=1).max() <= bound


def share_of_the_bound(L, T, depth, start=1.0, F=None):
    """Error / bound for f(x) = Lx, bent smoothly beyond the solution so that |f| <= F."""
    straight = start * math.exp(L * T)
    F = F or 1.01 * L * straight

    def field(x):
        room = F - L * straight
        bent = L * straight + room * torch.tanh(L * (x - straight) / room)
        return torch.where(x <= straight, L * x, bent)

    x = torch.tensor([[start]])
    end = flow_end(field, x, T, T / 100)
    for _ in range(depth):
        x = x + T / depth * field(x)
    return (end - x).norm().item() / (0.5 * T / depth * F * math.expm1(L * T))


@pytest.mark.parametrize("L", [0.1, 10.0])
def test_claim_4_1_is_attained(L):
    """Up to a few per cent for small LT; of LT = 1.5 this field reaches 43 per cent."""
    for depth in (50, 200):
        assert 0.95 < share_of_the_bound(L, 0.05 / L, depth) <= 1
        assert 0.40 < share_of_the_bound(L, 1.5 / L, depth) < 0.45


def test_claim_4_1_without_a_bound_of_the_field():
    """|f| <= 1 only where the second solution starts: 100 times as far out it breaks the bound."""
    assert share_of_the_bound(1.0, 0.05, 50, start=0.9, F=1.0) <= 1
    assert share_of_the_bound(1.0, 0.05, 50, start=90.0, F=100.0) > 0.8
    x, N, T = torch.tensor([[90.0]]), 50, 0.05
    end = flow_end(lambda x: x, x, T, T / 100)
    for _ in range(N):
        x = x + T / N * x
    assert (end - x).norm() > 50 * (0.5 * T / N * 1.0 * math.expm1(T))


def test_claim_4_1_without_lipschitz():
    """x' = x^2 has no flow up to T = 1.2: the networks do not converge."""

    def network(depth):
        z = 1.0
        for _ in range(depth):
            z += 1.2 / depth * z**2
        return z

    outputs = [network(depth) for depth in (5, 10, 20, 40)]
    assert all(later > 2 * earlier for earlier, later in itertools.pairwise(outputs))


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_4_2_flows_on_the_line_are_increasing(seed):
    a, w, b = normal(seed, 3, 8)

    def field(x):
        return torch.tanh(x * w + b) @ a[:, None]

    L = (a * w).abs().sum().item()
    x = torch.linspace(-3, 3, 400)[:, None]
    assert (flow_end(field, x, 1.0).diff(dim=0) > 0).all()
    assert ((x + 0.99 / L * field(x)).diff(dim=0) > 0).all()


@pytest.mark.parametrize("L", [0.5, 2.0])
def test_claim_4_2_needs_each_hypothesis(L):
    x = torch.linspace(-3, 3, 401)[:, None]
    for hL, increasing in ((0.99, True), (1.01, False), (1.1, False)):  # steepest at 0
        step = x - hL / L * torch.tanh(L * x)
        assert bool((step.diff(dim=0) > 0).all()) is increasing
    steps = torch.tensor([[1.0], [2.0]])  # not Lipschitz: both solutions arrive at 0 and stay
    ends = flow_end(lambda x: -x.sign() * x.abs().sqrt(), steps, 4.0, 1e-3)
    assert ends.abs().max() < 1e-5
    plane = torch.cat([x, 0 * x], 1)  # not on the line: half a turn is x -> -x
    turned = flow_end(lambda z: torch.stack([-z[:, 1], z[:, 0]], 1), plane, math.pi)[:, 0]
    assert (turned.diff() < 0).all()


# ---- 4.2 backpropagation -------------------------------------------------------------------------


def states_of(x, weights, h):
    states = [x]
    for W in weights:
        states.append(states[-1] + h * torch.tanh(W @ states[-1]))
    return states


def adjoint(states, weights, h, p):
    gradients = []
    for x, W in zip(states[-2::-1], weights[::-1], strict=True):
        s = (1 - torch.tanh(W @ x) ** 2) * p
        gradients.insert(0, h * torch.outer(s, x))
        p = p + h * W.T @ s
    return torch.stack(gradients)


def recomputed(x, weights, h):
    """The states when only the last is known, by Euler steps backwards."""
    states = [x]
    for W in weights[::-1]:
        states.insert(0, states[0] - h * torch.tanh(W @ states[0]))
    return states


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_4_3_backpropagation_is_the_adjoint(seed):
    d, depth, h = 3 + seed, 5 + 5 * seed, 0.05 * (seed + 1)
    weights = normal(seed, depth, d, d).requires_grad_()
    states = states_of(normal(seed + 10, d), weights, h)
    exact = torch.autograd.grad(0.5 * states[-1].square().sum(), weights)[0]
    with torch.no_grad():
        states = [x.detach() for x in states]
        ours = adjoint(states, list(weights), h, states[-1])
        assert (ours - exact).norm() <= 1e-13 * exact.norm()
        # with other states than those of the forward pass it is another vector
        shifted = adjoint([*states[1:], states[-1]], list(weights), h, states[-1])
        assert (shifted - exact).norm() > 1e-3 * exact.norm()


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_4_4_maximum_principle(seed):
    """Optimal controls by projected gradient with autograd; maximiser over a grid."""
    N, h = 8, 0.1
    a, start, weight = (1 + 0.3 * normal(seed, 3)).tolist()
    theta = torch.zeros(N, requires_grad=True)
    for _ in range(400):
        x, p = torch.tensor(start), None
        states = [x]
        for n in range(N):
            x = x + h * (a * torch.sin(states[-1]) + theta[n])  # affine in theta, not in x
            states.append(x)
        cost = weight * x**2 + h * 0.5 * theta.square().sum()
        gradient, *p = torch.autograd.grad(cost, [theta, *states[1:]])
        with torch.no_grad():
            theta -= 0.1 / h * gradient
            theta.clamp_(-0.3, 0.3)
    grid = torch.linspace(-0.3, 0.3, 6001)
    best = torch.stack([grid[(-p_n * grid - 0.5 * grid**2).argmax()] for p_n in p])
    assert torch.allclose(theta.detach(), best, atol=2e-4)


EVERYWHERE = torch.linspace(-1, 1, 2001)


@pytest.mark.parametrize(
    "field, cost, controls, holds",
    [
        (lambda t: t, lambda t: 0.1 * t.abs(), EVERYWHERE, True),
        (lambda t: t, lambda t: 0 * t, torch.tensor([-1.0, 1.0]), False),  # two controls
        (lambda t: t.square(), lambda t: 0.1 * t.abs(), EVERYWHERE, False),  # f not affine
        (lambda t: t, lambda t: -0.4 * t.square(), EVERYWHERE, False),  # the cost not convex
    ],
    ids=["all", "set not convex", "not affine", "cost not convex"],
)
def test_claim_4_4_needs_each_hypothesis(field, cost, controls, holds):
    """One layer x -> x + f(theta) from 0 towards 0.45, the best control by trying all."""

    def target(x):
        return (x - 0.45).square()

    best = controls[(target(field(controls)) + cost(controls)).argmin()]
    end = field(best).requires_grad_()
    (p,) = torch.autograd.grad(target(end), end)
    hamiltonian = -p * field(controls) - cost(controls)
    at_best = -p * field(best) - cost(best)
    assert bool((hamiltonian.max() - at_best).detach() < 1e-3) is holds


# ---- 4.3 backwards without memory ----------------------------------------------------------------


def at_the_output(states):
    """For each layer the state where a solver stands that walks backwards."""
    return [*states[1:], states[-1]]


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_4_5_the_other_order(seed):
    """O(h), and not less: kept or recomputed states, one matrix or one a layer."""
    x0 = normal(seed + 10, 4)

    def gaps(depth, weights):
        h = 1 / depth
        kept = states_of(x0, weights, h)
        exact = adjoint(kept, weights, h, kept[-1])
        lost = recomputed(kept[-1], weights, h)
        others = (lost, at_the_output(lost), at_the_output(kept))
        return torch.stack(
            [(adjoint(s, weights, h, kept[-1]) - exact).sum(0).norm() for s in others]
        )

    W = normal(seed, 4, 4)
    halved = gaps(160, [W] * 160) / gaps(320, [W] * 320)
    assert ((1.6 < halved) & (halved < 2.4)).all()
    weights = normal(seed + 1, 100, 4, 4)  # no continuous function of time
    sizes = [gaps(100 * m, list(weights.repeat_interleave(m, 0))).max() for m in (2, 4, 8)]
    assert sizes[2] < 0.7 * sizes[1] < 0.5 * sizes[0]


@pytest.mark.parametrize("start", [0.2, 0.5, 1.0])
def test_claim_4_5_without_bounded_derivatives(start):
    """x' = -sign(x) sqrt|x| comes to rest before T = 3.

    The start cannot be recomputed, however short the steps are.
    """
    for depth in (100, 1000, 10_000):
        h, x = 3 / depth, start
        for direction in (-1, 1):
            for _ in range(depth):
                x = x + direction * h * math.copysign(math.sqrt(abs(x)), x)
        assert abs(x - start) > 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_4_6_reversal_expands(seed):
    d, rate = 2 + seed, 1.0 + seed
    S, P = skew(normal(seed, d, d)), normal(seed + 1, d, d)

    def field(x):  # sym Df <= -rate I: gradient of a concave function, rotation, friction
        return x @ S.T - torch.tanh(x @ P.T) @ P - rate * x

    x, y = normal(seed + 2, 2, 40, d)
    ends = [flow_end(lambda z: -field(z), z, 0.5, 0.005) for z in (x, y)]
    assert (
        (ends[0] - ends[1]).norm(dim=1) >= (x - y).norm(dim=1) * math.exp(0.5 * rate) * (1 - 1e-6)
    ).all()
    for slower in (0.0, 0.9 * rate, rate):  # attained; at rate 0 nothing separates
        ends = [flow_end(lambda z, r=slower: r * z - z @ S.T, z, 0.5) for z in (x, y)]
        stretched = (x - y).norm(dim=1) * math.exp(0.5 * slower)
        assert torch.allclose((ends[0] - ends[1]).norm(dim=1), stretched, rtol=1e-4)


# ---- 4.4 underflow in dt -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_4_7_no_blow_up(seed):
    d, T = 2, 1.0
    M, c = normal(seed, d, d), normal(seed + 1, d)

    def field(x):  # not globally Lipschitz, but one-sided Lipschitz
        return x @ M.T + c - x**3

    mu = torch.linalg.eigvalsh(0.5 * (M + M.T)).max().item()
    x = normal(seed + 2, 30, d)
    end = flow_end(field, x, T).norm(dim=1)
    bound = math.exp(mu * T) * x.norm(dim=1) + c.norm() * math.expm1(mu * T) / mu
    assert (end <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize("mu", [-1.0, 0.0, 0.7])
def test_claim_4_7_is_attained(mu):
    """By f(x) = mu x + c, if c points to where the solution starts."""
    c, T = torch.tensor([[0.6, 0.8]]), 1.5
    end = flow_end(lambda x: mu * x + c, 2 * c, T).norm().item()
    integral = math.expm1(mu * T) / mu if mu else T
    assert end == pytest.approx(math.exp(mu * T) * 2 + 1 * integral, rel=1e-6)


@pytest.mark.parametrize(
    "runaway", [lambda t, x: x**2, lambda t, x: x**3], ids=["x2", "minus_x3_reversed"]
)
def test_claim_4_7_without_a_one_sided_constant(runaway):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    with pytest.raises(AssertionError, match="underflow in dt"):
        torchdiffeq.odeint(runaway, torch.tensor([1.0]), torch.tensor([0.0, 1.2]))
    bounded = torchdiffeq.odeint(
        lambda t, x: -(x**3), torch.tensor([1.0]), torch.tensor([0.0, 1.2]), rtol=1e-8, atol=1e-8
    )
    assert abs(bounded[-1].item() - 1 / math.sqrt(3.4)) < 1e-6
