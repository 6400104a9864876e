"""Lesson 8: every claim, an attempt to refute it, and what happens without its hypothesis."""

import math

import pytest
import torch
from torch import nn

from chapter_utils import (
    layers,
    norms,
    ode,
    operators,
    plain_layers,
    runge_kutta,
    structure,
    training,
)
from helpers import normal, seeded

SEEDS = range(5)


def skew(seed, d, norm=1.0):
    S = normal(seed, d, d)
    return norm * (S - S.T) / torch.linalg.matrix_norm(S - S.T, 2)


def eye(d):
    return torch.eye(d, dtype=torch.float64)


def jacobian(network, x):
    return torch.autograd.functional.jacobian(lambda z: network(z[None])[0], x)


def omega(n):
    return torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64), eye(n))


def defect(M):
    J = omega(len(M) // 2)
    return (M.T @ J @ M - J).abs().max().item()


# ---- 8.1 mass ------------------------------------------------------------------------------------


def exchange_field(seed, d, skewed=True):
    W, b = normal(seed, d * d, d), normal(seed + 100, d * d)

    def field(x):
        M = torch.tanh(x @ W.T + b).unflatten(-1, (d, d))
        return (M - M.mT if skewed else M - 0.9 * M.mT).sum(-1)

    return field


@pytest.mark.parametrize("method", list(runge_kutta.TABLEAUS))
def test_claim_8_1_mass(method):
    for seed in range(3):
        x = start = normal(seed, 4, 2 + seed)
        broken = start
        for _ in range(20):
            x = runge_kutta.runge_kutta_step(
                exchange_field(seed, 2 + seed), x, 0.2, runge_kutta.TABLEAUS[method]
            )
            broken = runge_kutta.runge_kutta_step(
                exchange_field(seed, 2 + seed, skewed=False),
                broken,
                0.2,
                runge_kutta.TABLEAUS[method],
            )
        assert (x - start).sum(1).abs().max() < 1e-12 and (x - start).abs().max() > 0.1
        assert (broken - start).sum(1).abs().max() > 1e-3


def test_claim_8_1_a_thousand_steps_of_the_block():
    torch.manual_seed(0)
    block = structure.MassPreservingBlock(5, h=0.1).double()
    x = torch.full((3, 5), 0.2, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(1000):
            x = block(x)
    assert (x.sum(1) - 1).abs().max() <= 1e-10
    assert x.min() < 0  # the sum says nothing about the entries


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_8_2_positive_entries(names, seed):
    d = 2 + seed
    x = -torch.rand(500, d, generator=seeded(seed), dtype=torch.float64).log()
    x[::3, 0] = 0  # on the border
    rates = torch.rand(500, d, d, generator=seeded(seed + 1), dtype=torch.float64)
    rates.diagonal(dim1=1, dim2=2).zero_()
    given_away = rates.sum(1)  # sum_j rho_jl, for each group l
    longest = 1 / given_away.amax(1)
    step = names["positive_step"]
    new = step(x, rates, longest[:, None])
    assert new.min() >= -1e-14 and torch.allclose(new.sum(1), x.sum(1))
    # all in the group that gives most: the longest step empties it, a longer one takes too much
    giver = given_away.argmax(1)
    lonely = torch.eye(d, dtype=torch.float64)[giver]
    for times in (0.95, 1.0, 1.1):
        left = step(lonely, rates, times * longest[:, None]).gather(1, giver[:, None])
        assert torch.allclose(left, torch.full_like(left, 1 - times))
    # a negative rate, however short the step, takes from a group that has nothing
    backwards = rates.clone()
    backwards[:, 0, 1] = -1.0
    nothing = torch.eye(d, dtype=torch.float64)[1].expand(500, d)
    assert (step(nothing, backwards, 1e-3)[:, 0] < 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_8_2_who_has_nothing_must_not_give(seed):
    """Skew, so the sum is kept, but the exchange does not end at 0: not of the form of 8.2."""
    d = 2 + seed
    S = skew(seed, d, 10.0)
    poor = S.sum(1).argmin()
    x = torch.ones(1, d, dtype=torch.float64)
    x[0, poor] = 0.0

    def exchange(x):
        return S.sum(1).expand_as(x)

    for h in (1e-3, 0.1):
        new = runge_kutta.runge_kutta_step(exchange, x, h, runge_kutta.TABLEAUS["euler"])
        assert new.sum() == pytest.approx(d - 1) and new[0, poor] < 0


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_8_2_a_step_of_shares(seed):
    """With the rates P / h, where the columns of P >= 0 have the sum 1, the step is x -> P x."""
    d, h = 2 + seed, 0.25
    x = torch.rand(20, d, generator=seeded(seed), dtype=torch.float64)
    P = normal(seed, 20, d, d).softmax(1)
    given = P / h * x[:, None, :]
    step = x + h * (given - given.mT).sum(-1)
    assert torch.allclose(step, (P @ x[:, :, None])[:, :, 0])
    assert step.min() >= 0 and torch.allclose(step.sum(1), x.sum(1))
    rows = normal(seed, 20, d, d).softmax(2)  # normalised along the wrong axis
    lost = (rows @ x[:, :, None])[:, :, 0].sum(1) - x.sum(1)
    assert lost.abs().max() > 1e-3


@pytest.mark.parametrize("m, n", [(2, 1), (5, 2), (8, 3), (6, 5), (4, 4)])
def test_claim_8_3_sum_preserving_projection(m, n):
    projection = structure.SumPreservingProjection(m, n)
    P = norms.dense_matrix(projection, (m,))
    least = math.sqrt(m / n)
    assert torch.allclose(P.sum(0), torch.ones(m, dtype=torch.float64))
    assert torch.linalg.matrix_norm(P, 2).item() == pytest.approx(least)
    for seed in range(20):  # states of equal total do not move apart
        v = normal(seed, m)
        v = v - v.mean()
        assert (P @ v).norm() <= v.norm() + 1e-12
    assert n == m or (P @ torch.ones(m, dtype=torch.float64)).norm() > math.sqrt(m) + 1e-3
    for seed in range(20):  # others that keep the sum are not shorter
        B = normal(seed, n, m)
        B = P + 0.1 * (B - B.mean(0))
        assert torch.allclose(B.sum(0), torch.ones(m, dtype=torch.float64))
        assert torch.linalg.matrix_norm(B, 2) >= least - 1e-12
    dropped = P.clone()
    dropped[:, n:] = 0  # plainly dropping has norm 1, and loses mass
    assert torch.linalg.matrix_norm(dropped, 2) <= 1 + 1e-12
    assert n == m or not torch.allclose(dropped.sum(0), torch.ones(m, dtype=torch.float64))


# ---- 8.2 lengths, areas, volumes -----------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_8_4_quadratic_invariants(seed):
    d = 3
    G = normal(seed, d, d)
    Q = G + G.T  # indefinite as well
    W = normal(seed + 10, d * d, d)

    def field(x):  # x'Q f(x) = x'Q K(x) Q x = 0 with K skew
        K = torch.tanh(x @ W.T).unflatten(-1, (d, d))
        return ((K - K.mT) @ (x @ Q)[..., None])[..., 0]

    start = normal(seed + 20, 6, d)

    def value(x):
        return ((x @ Q) * x).sum(1)

    x, other = start, start
    for _ in range(10):
        x = runge_kutta.runge_kutta_step(field, x, 0.05, runge_kutta.TABLEAUS["implicit_midpoint"])
        other = runge_kutta.runge_kutta_step(field, other, 0.05, runge_kutta.TABLEAUS["heun"])
    assert (value(x) - value(start)).abs().max() < 1e-9 * (1 + value(start).abs().max())
    assert (value(other) - value(start)).abs().max() > 1e-6
    assert (x - start).abs().max() > 0.01
    h, S = (
        3.0,
        skew(seed, 4, 5.0),
    )  # the linear case is the Cayley transform, orthogonal for every step
    C = torch.linalg.solve(eye(4) - h / 2 * S, eye(4) + h / 2 * S)
    assert torch.allclose(C.T @ C, eye(4), atol=1e-12)
    z = normal(seed, 5, 4)
    assert torch.allclose(
        runge_kutta.runge_kutta_step(
            lambda v: v @ S.T, z, h, runge_kutta.TABLEAUS["implicit_midpoint"]
        ),
        z @ C.T,
        atol=1e-9,
    )


def test_claim_8_4_other_energies_are_not_kept():
    def pendulum(x):
        return torch.stack([x[..., 1], -x[..., 0].sin()], -1)

    x = torch.tensor([[1.5, 0.0]], dtype=torch.float64)
    energies = []
    for _ in range(50):
        energies.append((x[0, 1] ** 2 / 2 - x[0, 0].cos()).item())
        x = runge_kutta.runge_kutta_step(
            pendulum, x, 0.3, runge_kutta.TABLEAUS["implicit_midpoint"]
        )
    assert max(energies) - min(energies) > 1e-4


class Lie(structure.SymplecticBlock):
    """A kick, then a drift."""

    def step(self, x):
        q, p = x.chunk(2, 1)
        p = p - self.h * self.kick(q)
        return torch.cat([q + self.h * self.drift(p), p], 1)


def wild_block(seed, n, kind=structure.SymplecticBlock):
    block = kind(2 * n, width=5, h=0.3).double()
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(generator=generator)
    return block


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [Lie, structure.SymplecticBlock])
def test_claim_8_5_shears(seed, kind):
    n = 1 + seed % 3
    blocks = nn.Sequential(*[wild_block(seed + 10 * k, n, kind) for k in range(3)])
    M = jacobian(blocks, normal(seed, 2 * n))
    assert defect(M) <= 1e-10 * max(1, 1e-3 * torch.linalg.matrix_norm(M, 2).item() ** 2)
    assert torch.linalg.det(M).item() == pytest.approx(
        1, abs=1e-9 * (1 + torch.linalg.matrix_norm(M, 2).item() ** (2 * n))
    )


def kicked(g, h):
    """The map (q, p) -> (q, p - h g(q))."""

    def kick(x):
        q, p = x.chunk(2, 1)
        return torch.cat([q, p - h * g(q)], 1)

    return kick


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_8_5_exactly_for_symmetric_derivatives(seed):
    h, x = 0.7, normal(seed, 6)
    A, a, b = normal(seed + 1, 4, 3), normal(seed + 2, 4), normal(seed + 3, 4)
    other = normal(seed + 4, 4, 3)
    fields = [
        lambda q: torch.tanh(q @ A.T + b) * a @ A,
        lambda q: torch.tanh(q @ A.T + b) * a @ other,  # not tied
        lambda q: torch.sin(q @ normal(seed + 5, 3, 3)),
        lambda q: torch.sin(q),
    ]
    for g, symmetric in zip(fields, (True, False, False, True), strict=True):
        D = jacobian(g, x[:3])
        assert bool((D - D.T).abs().max() < 1e-13) is symmetric
        found = defect(jacobian(kicked(g, h), x))
        assert found == pytest.approx(h * (D - D.T).abs().max().item(), abs=1e-13)


@pytest.mark.slow  # its cell stands below a training
def test_claim_8_5_the_kick_of_the_lesson(names):
    A, a, b, x = normal(1, 4, 3), normal(2, 4), normal(3, 4), normal(0, 6)
    kick = names["kick"]

    def layer(x):
        q, p = x.chunk(2, 1)
        return torch.cat([q, kick(q, p, A, a, b, 0.7)], 1)

    assert defect(jacobian(layer, x)) < 1e-13


def test_claim_8_5_verlet_has_order_two_and_symplectic_euler_order_one():
    """Half a kick, a drift, half a kick is Strang's splitting; a kick and a drift is Lie's."""
    start = torch.tensor([[1.0, 0.5]], dtype=torch.float64)

    def pendulum(x):
        return torch.stack([x[..., 1], -x[..., 0].sin()], -1)

    exact = ode.flow(pendulum, start, [0, 2.0])[-1]
    for first, order in ((0.5, 2), (1.0, 1)):
        errors = []
        for n in (40, 80):
            h = 2.0 / n
            q, p = start.unbind(-1)
            for _ in range(n):
                p = p - first * h * q.sin()
                q = q + h * p
                p = p - (1 - first) * h * q.sin()
            errors.append((torch.stack([q, p], -1) - exact).norm())
        assert 0.9 * 2**order < errors[0] / errors[1] < 1.1 * 2**order


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_8_6_simultaneous_euler(seed):
    n, h = 1 + seed % 3, 0.2
    block = wild_block(seed, n)

    def simultaneous(x):
        q, p = x.chunk(2, 1)
        return torch.cat([q + h * block.drift(p), p - h * block.kick(q)], 1)

    x = normal(seed, 2 * n)
    M = jacobian(simultaneous, x)
    A, B = jacobian(block.kick, x[:n]), jacobian(block.drift, x[n:])
    zero = torch.zeros_like(A)
    predicted = h**2 * torch.cat([torch.cat([zero, A @ B], 1), torch.cat([-B @ A, zero], 1)])
    assert torch.allclose(M.T @ omega(n) @ M - omega(n), predicted, atol=1e-11)
    assert torch.linalg.det(M).item() == pytest.approx(
        torch.linalg.det(eye(n) + h**2 * A @ B).item()
    )
    assert defect(M) > 1e-4 and defect(jacobian(block, x)) < 1e-10
    if n > 1:  # derivatives that are not symmetric: more is lost than this
        G = normal(seed + 7, n, n)

        def askew(x):
            q, p = x.chunk(2, 1)
            return torch.cat([q + h * p, p - h * q @ G.T], 1)

        M = jacobian(askew, x)
        zero = torch.zeros_like(G)
        predicted = h**2 * torch.cat([torch.cat([zero, G], 1), torch.cat([-G, zero], 1)])
        assert (M.T @ omega(n) @ M - omega(n) - predicted).abs().max() > 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_8_7_volumes(seed):
    torch.manual_seed(seed)
    d = 4 + seed % 2
    block = structure.VolumePreservingBlock(d, h=1.0).double()
    x = normal(seed, d)
    M = jacobian(block, x)
    assert torch.linalg.det(M).item() == pytest.approx(1, abs=1e-12)
    assert d % 2 or defect(M) > 1e-3  # not symplectic

    def at_once(x):
        u, v = x.tensor_split([d - d // 2], 1)
        return torch.cat([u + block.first(v), v + block.second(u)], 1)

    assert abs(torch.linalg.det(jacobian(at_once, x)).item() - 1) > 1e-4


@pytest.mark.slow
def test_a_symplectic_network_keeps_an_energy_that_nobody_told_it():
    """The comparison of section 8.2, a little shorter: an inequality for each of three seeds."""

    def pendulum(x):
        return torch.stack([x[..., 1], -x[..., 0].sin()], -1)

    def energy(x):
        return x[..., 1].square() / 2 + 1 - x[..., 0].cos()

    for seed in range(3):
        x = 2.5 * (2 * torch.rand(1600, 2, generator=seeded(seed), dtype=torch.float64) - 1)
        x = x[energy(x) < 1.7][:400]
        y = ode.flow(pendulum, x, [0, 0.3], max_step=0.1)[-1]
        torch.manual_seed(seed)
        networks = {
            "symplectic": nn.Sequential(
                *[structure.SymplecticBlock(2, h=0.1) for _ in range(3)]
            ).double(),
            "free": plain_layers.ResidualBlock(
                nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 2))
            ).double(),
        }
        starts = torch.tensor([[0.5, 0.0], [1.0, 0.0], [1.5, 0.0]], dtype=torch.float64)
        spread = {}
        for name, network in networks.items():
            training.fit(
                network,
                x,
                y,
                lambda f, y: (f - y).square().mean(),
                120,
                batch_size=100,
                learning_rate=0.05,
                progress=False,
            )
            path = [starts]
            with torch.no_grad():
                for _ in range(2000):
                    path.append(network(path[-1]))
            spread[name] = (energy(torch.stack(path)) / energy(starts)).log().abs().max().item()
        assert spread["symplectic"] < 0.15 and spread["free"] > 2 * spread["symplectic"], (
            seed,
            spread,
        )


# ---- 8.3 splitting -------------------------------------------------------------------------------


def problem(seed, d=4):
    A = normal(seed, d, d)
    A = A / torch.linalg.matrix_norm(A, 2)  # L = 1 for tanh
    b = normal(seed + 1, d)
    return lambda x: -torch.tanh(x @ A.T + b) @ A


def cayley(S, h):
    return torch.linalg.solve(eye(len(S)) - h / 2 * S, eye(len(S)) + h / 2 * S)


def strang(field, S, x, h):
    C = cayley(S, h / 2)
    return runge_kutta.runge_kutta_step(field, x @ C.T, h, runge_kutta.TABLEAUS["heun"]) @ C.T


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("speed", [0.1, 3.0, 1000.0])
def test_claim_8_8_structured_splitting(seed, speed):
    field, S, x = problem(seed), skew(seed, 4, speed), 3 * normal(seed, 100, 4)
    for h in (0.1, 1.0, 2.0):
        assert norms.jacobian_norms(lambda z, h=h: strang(field, S, z, h), x).max() <= 1 + 1e-9
    assert (
        speed < 1 or norms.jacobian_norms(lambda z: z + field(z) + z @ S.T, x).max() > 1.5
    )  # Euler on the sum

    def worst(field, S, h):
        return norms.jacobian_norms(lambda z: strang(field, S, z, h), x[:20]).max()

    assert worst(lambda z: -z, S, 1.98) <= 1 + 1e-9
    assert worst(lambda z: -z, S, 2.02) > 1.01  # beyond 2 / L
    assert worst(lambda z: -2 * z, S, 1.1) > 1.1  # the same: L is 2
    assert worst(lambda z: z, S, 0.1) > 1.1  # V not convex
    stretch = 0.1 * normal(seed, 4, 4)
    sheared = skew(seed, 4, 3.0) + stretch + stretch.T
    assert worst(lambda z: 0 * z, sheared, 1.0) > 1.001  # not skew


@pytest.mark.parametrize("seed", range(3))
def test_claim_8_9_order_of_the_layer(seed):
    field, S, start = problem(seed), skew(seed, 4, 2.0), normal(seed, 10, 4)
    exact = ode.flow(lambda x: field(x) + x @ S.T, start, [0, 1.0])[-1]
    errors = {"lie": [], "strang": []}
    for N in (20, 40, 80):
        lie, symmetric = start, start
        for _ in range(N):
            lie = (
                runge_kutta.runge_kutta_step(field, lie, 1 / N, runge_kutta.TABLEAUS["heun"])
                @ cayley(S, 1 / N).T
            )
            symmetric = strang(field, S, symmetric, 1 / N)
        errors["lie"].append((lie - exact).norm().item())
        errors["strang"].append((symmetric - exact).norm().item())
    for k in (0, 1):
        assert 1.7 < errors["lie"][k] / errors["lie"][k + 1] < 2.4
        assert 3.6 < errors["strang"][k] / errors["strang"][k + 1] < 4.4


def test_claim_8_9_a_potential_with_a_kink_costs_an_order():
    """V = |x_1|: the flow reaches the kink and stays, the layer stops up to h before it."""
    start = torch.tensor([[1 / 3, 1.0]], dtype=torch.float64)
    errors = []
    for N in (20, 80, 320):
        x = start
        for _ in range(N):
            x = strang(lambda z: -z.sign() * torch.tensor([1.0, 0.0]), torch.zeros(2, 2), x, 1 / N)
        errors.append((x - torch.tensor([[0.0, 1.0]])).norm().item())
    assert errors[0] / errors[1] == pytest.approx(4, rel=1e-6)  # order 1; order 2 would be 16
    assert errors[1] / errors[2] == pytest.approx(4, rel=1e-6)


# ---- 8.4 and 8.5 averaged maps and plug-and-play -------------------------------------------------


def averaged_block(seed, c, d=4):
    torch.manual_seed(seed)
    block = (
        layers.NonExpansiveBlock(layers.GradientField(operators.DenseOperator(d, d)), c=c)
        .double()
        .eval()
    )
    with torch.no_grad():
        block.field.operator.weight.copy_(normal(seed, d, d))
        block.field.bias.copy_(normal(seed + 1, d))
    return block


def residuals(T, x, steps):
    """The last iterate, and the length of each move; one column a row of x if x is a batch."""
    out = []
    for _ in range(steps):
        new = T(x)
        out.append((new - x).norm(dim=-1))
        x = new
    return x, torch.stack(out)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9, 0.99])
def test_claim_8_10_krasnoselskii_and_mann(seed, alpha):
    Q = torch.linalg.qr(normal(seed, 5, 5)).Q
    fixed, x = normal(seed + 1, 5), 10 * normal(seed + 2, 5)

    def T(z):
        return fixed + (1 - alpha) * (z - fixed) + alpha * Q @ (z - fixed)

    _, seen = residuals(T, x, 1000)
    k = torch.arange(1000)
    assert (seen[1:] <= seen[:-1] * (1 + 1e-12) + 1e-13).all()
    assert (
        seen
        <= math.sqrt(alpha / (1 - alpha)) / (k + 1).sqrt() * (x - fixed).norm() * (1 + 1e-12)
        + 1e-12
    ).all()

    # how sharp: turns in the plane, the worst angle for k steps. At most 61 to 68 per cent of the
    # bound is reached, for alpha = 1/2 and the first step all of it.
    angles = torch.linspace(1e-3, math.pi, 20_000, dtype=torch.float64)
    turn = torch.stack([angles.cos(), angles.sin()], 1)

    def turned(z):
        u, v = z.unbind(1)
        rotated = turn[:, :1] * z + turn[:, 1:] * torch.stack([-v, u], 1)
        return (1 - alpha) * z + alpha * rotated

    ones = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(angles), 2)
    _, seen = residuals(turned, ones, 301)
    bound = (alpha / (1 - alpha) / torch.arange(1, 302)).sqrt()
    shares = seen.max(1).values / bound
    assert shares[0].item() == pytest.approx(2 * math.sqrt(alpha * (1 - alpha)), rel=1e-4)
    assert 0.6 < shares[300] < 0.61 and shares[1:].max() < 0.71 and shares.max() <= 1 + 1e-9

    # alpha = 1
    def reflected(z):
        return fixed + Q @ (z - fixed)

    assert residuals(reflected, x, 1000)[1][-1] > 0.1

    # averaged, no fixed point
    def translation(z):
        return z + 1.0

    assert residuals(translation, x, 100)[1][-1] == pytest.approx(math.sqrt(5))


def slack(alpha, T, x, y):
    Tx, Ty = T(x), T(y)
    moved = (x - Tx) - (y - Ty)
    return (
        (
            (x - y).square().sum(1)
            - (1 - alpha) / alpha * moved.square().sum(1)
            - (Tx - Ty).square().sum(1)
        )
        .min()
        .item()
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("c", [0.5, 1.0, 1.8])
def test_claim_8_11_lift_and_project(seed, c):
    block = averaged_block(seed, c, 6)

    def T(x):
        lifted = torch.cat([x, torch.zeros(len(x), 4, dtype=x.dtype)], 1)
        return block(lifted)[:, :2].detach()

    x, y = 3 * normal(seed, 2000, 2), 3 * normal(seed + 9, 2000, 2)
    assert slack(c / 2, T, x, y) >= -1e-10

    # E with 2 E'E is no isometry
    def doubled(x):
        return 2 * T(x)

    assert slack(c / 2, doubled, x, y) < -1e-2

    # no smaller alpha will do: all units on, T moves everything by 1 - c
    with torch.no_grad():
        block.field.operator.weight.copy_(eye(6))
        block.field.bias.fill_(100.0)
    assert slack(c / 2, T, x, y) >= -1e-10 > -1e-2 > slack(0.9 * c / 2, T, x, y)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.75, 0.95])
def test_claim_8_12_residual_denoisers(alpha):
    for seed in SEEDS:
        block = averaged_block(seed, 2 * alpha)
        slopes = norms.jacobian_norms(lambda x, N=block: x - N(x), 3 * normal(seed, 100, 4))
        assert slopes.max() <= 2 * alpha + 1e-9
    with torch.no_grad():  # attained if all units are on
        block.field.operator.weight.copy_(eye(4))
        block.field.bias.fill_(100.0)
    x = 3 * normal(0, 100, 4)
    attained = norms.jacobian_norms(lambda x: x - block(x), x).max().item()
    assert attained == pytest.approx(2 * alpha) and (attained > 1 + 1e-9) == (alpha > 0.5)
    assert norms.jacobian_norms(block, x).max().item() == pytest.approx(abs(1 - 2 * alpha))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tau", [0.3, 1.0, 1.9])
def test_claim_8_13_plug_and_play_converges(seed, tau):
    d = 4
    blocks = nn.Sequential(*[averaged_block(seed + 10 * k, 1.5, d) for k in range(3)])
    B = normal(seed, 3, d)
    B = B / torch.linalg.matrix_norm(B, 2)  # F = |Bx - y|^2 / 2 has L_F = 1
    y = normal(seed + 1, 3)

    def step(x, tau=tau, denoiser=blocks):
        with torch.no_grad():
            return denoiser(x - tau * (x @ B.T - y) @ B).clamp(0, 1)

    ends, seen = residuals(
        step, torch.rand(20, d, generator=seeded(seed), dtype=torch.float64), 1000
    )
    total = 1.0 + 3 * 0.75 / 0.25 + (tau / 2) / (1 - tau / 2)  # alpha / (1 - alpha) adds up
    bound = (total * d / torch.arange(1, 1001)).sqrt()
    assert (seen <= bound[:, None] + 1e-12).all() and (seen[1:] <= seen[:-1] + 1e-12).all()
    assert seen[-1].max() < 1e-6 and (step(ends) - ends).norm() < 1e-5


def test_claim_8_13_needs_each_hypothesis():
    target = torch.full((1, 2), 0.6, dtype=torch.float64)

    def identity(x):
        return x

    def step(x, tau, denoiser):
        return denoiser(x - tau * (x - target)).clamp(0, 1)

    start = torch.ones(1, 2, dtype=torch.float64)
    assert residuals(lambda x: step(x, 1.9, identity), start, 500)[1][-1] < 1e-9
    assert (
        residuals(lambda x: step(x, 2.5, identity), start, 500)[1][-1] > 0.5
    )  # tau beyond 2 / L_F

    # a rotation by 90 degrees
    def turn(x):
        return 0.5 + (x - 0.5).flip(1) * torch.tensor([-1.0, 1.0])

    corner = torch.tensor([[0.5, 1.0]], dtype=torch.float64)
    assert residuals(lambda x: turn(x).clamp(0, 1), corner, 401)[1][-1] > 0.5  # F = 0: for ever
    assert residuals(lambda x: ((x + turn(x)) / 2).clamp(0, 1), corner, 401)[1][-1] < 1e-9

    # F not convex: away from the target, round and round along the border
    def uphill(x):
        z = x + (x - 0.5)
        return ((z + turn(z)) / 2).clamp(0, 1)

    assert residuals(uphill, corner, 401)[1][-1] > 0.1

    # F = |x - 0.6| has no derivative at the target: the step jumps over it for ever
    def jumping(x):
        return identity(x - 0.1 * (x - target).sign()).clamp(0, 1)

    assert residuals(jumping, torch.full((1, 2), 0.55, dtype=torch.float64), 401)[1][-1] > 0.1

    # without clipping there may be no fixed point
    def drifting(x):
        return x + 1.0

    assert residuals(drifting, corner, 100)[1][-1] > 1
