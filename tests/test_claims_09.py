"""Each numbered claim of lesson 9: random attempts to refute it, and the hypothesis dropped."""

import math

import pytest
import torch
from scipy.linalg import expm

from chapter_utils import ode
from helpers import flow_end, norm2, normal, seeded

SEEDS = range(5)
QUARTER = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
pytestmark = pytest.mark.usefixtures("double_precision_one_thread")


def skew(M):
    return M - M.T


# ---- 9.2 and 9.3 antisymmetric and Hamiltonian ---------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_1_no_growing_mode(seed):
    d, gamma = 2 + 2 * seed, 0.1 * seed
    M, D = normal(seed, d, d), normal(seed + 1, 200, d).abs() + 1e-6
    real = torch.linalg.eigvals(D[:, :, None] * (skew(M) - gamma * torch.eye(d))).real
    assert real.max() <= 1e-10
    assert (
        torch.linalg.eigvals(D[:, :, None] * (M - gamma * torch.eye(d))).real.max() > 0.1
    )  # not antisymmetric
    frozen = torch.diag(torch.tensor([1.0, 0.1])) @ (3 * QUARTER - 0.5 * torch.eye(2))
    assert (
        torch.linalg.eigvals(frozen).real.max() < 0 < ode.logarithmic_norm(frozen)
    )  # distances are another matter


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_2_how_thin_the_layers_must_be(seed):
    d = 2 + seed
    S, gamma = skew(normal(seed, d, d)), 0.2 + 0.3 * seed
    limit = 2 * gamma / (gamma**2 + norm2(S) ** 2)

    def layer_norm(h, gamma=gamma):
        return norm2(torch.eye(d) + h * (S - gamma * torch.eye(d)))

    assert (
        layer_norm(limit / 2) < 1
        and abs(layer_norm(limit) - 1) < 1e-12
        and layer_norm(1.01 * limit) > 1
    )
    assert layer_norm(1e-3 * limit, gamma=0.0) > 1  # without friction no step is short enough


def test_claim_9_2_no_step_for_a_saturated_unit():
    frozen = torch.diag(torch.tensor([1.0, 0.1])) @ (3 * QUARTER - 0.5 * torch.eye(2))
    mu = ode.logarithmic_norm(frozen).item()
    for h in (1e-4, 1e-2, 0.1, 1.0):
        assert norm2(torch.eye(2) + h * frozen) >= 1 + h * mu > 1


def test_claim_9_2_numbers():
    assert abs(2 * 0.5 / (0.25 + 9) - 0.10811) < 5e-6
    h = 1.1 * 2 * 0.5 / (0.25 + 9)
    assert abs(norm2(torch.eye(2) + h * (3 * QUARTER - 0.5 * torch.eye(2))) - 1.0059) < 5e-5


def verlet(x, h, A, B):
    q, p = x.chunk(2)

    def force(z, K, b):
        return K.T @ torch.tanh(K @ z + b)

    p = p - h / 2 * force(q, *A)
    q = q + h * force(p, *B)
    return torch.cat([q, p - h / 2 * force(q, *A)])


def euler(x, h, A, B):
    q, p = x.chunk(2)
    return torch.cat(
        [q + h * B[0].T @ torch.tanh(B[0] @ p + B[1]), p - h * A[0].T @ torch.tanh(A[0] @ q + A[1])]
    )


def energies(seed, d):
    return [(normal(seed + k, d + 1, d), normal(seed + k + 1, d + 1)) for k in (0, 2)]


def omega(d):
    return torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(d))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("h", [0.3, 2.5])
def test_claim_9_3_verlet_layers(seed, h):
    d = 1 + seed % 3
    A, B = energies(seed, d)
    x = normal(seed + 9, 2 * d)
    M = torch.autograd.functional.jacobian(lambda x: verlet(x, h, A, B), x)
    assert (M.T @ omega(d) @ M - omega(d)).abs().max() < 1e-11
    assert torch.allclose(verlet(verlet(x, h, A, B), -h, A, B), x, atol=1e-12)
    E = torch.autograd.functional.jacobian(lambda x: euler(x, h, A, B), x)
    assert (E.T @ omega(d) @ E - omega(d)).abs().max() > 1e-4
    assert not torch.allclose(euler(euler(x, h, A, B), -h, A, B), x, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_4_gradients_cannot_vanish(seed):
    d = 1 + seed % 3
    A, B = energies(seed, d)

    def deep(x):
        for _ in range(30):
            x = verlet(x, 0.3, A, B)
        return x

    assert norm2(torch.autograd.functional.jacobian(deep, normal(seed + 9, 2 * d))) >= 1 - 1e-9
    assert norm2(torch.linalg.matrix_power(0.8 * torch.eye(2), 30)) < 0.01  # not symplectic


# ---- 9.4 to 9.7 stability by construction or by training -----------------------------------------


def project(f_hat, V, grad_V, alpha):
    excess = torch.relu((grad_V * f_hat).sum(1) + alpha * V)
    return f_hat - grad_V * (excess / grad_V.square().sum(1).clamp_min(1e-300))[:, None]


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_5_projection(seed):
    d, alpha = 2 + seed % 2, 0.3 + 0.3 * seed
    M, b, P = normal(seed, d, d), normal(seed + 1, d), normal(seed + 2, d, d)
    P = P @ P.T + 0.5 * torch.eye(d)

    def V(x):
        return 0.5 * ((x @ P) * x).sum(1)

    def field(x):
        return project(2 * torch.tanh(x @ M.T + b) + x, V(x), x @ P, alpha)

    x = 2 * normal(seed + 3, 20, d)
    slope = ((x @ P) * field(x)).sum(1)
    assert (slope <= -alpha * V(x) + 1e-9).all()
    assert (V(flow_end(field, x, 1.0, 2e-3)) <= V(x) * math.exp(-alpha) * 1.01).all()
    assert (
        V(flow_end(lambda x: 2 * torch.tanh(x @ M.T + b) + x, x, 1.0)) > V(x) * math.exp(-alpha)
    ).any()


def test_claim_9_5_number_and_flat_points():
    M, x = torch.tensor([[0.5, 1.0], [-1.0, 0.5]]), torch.tensor([[1.0, 0.0]])
    for _ in range(5000):
        x = x + 1e-3 * project(x @ M.T, 0.5 * x.square().sum(1), x, 0.5)
    assert abs(x.square().sum().item() - 0.0825) < 5e-5 and math.exp(-2.5) < 0.0821
    for distance, size in ((1e-1, 3.8), (1e-2, 413), (1e-3, 41_625)):  # grad V = 0 at 1 only
        z = torch.tensor([[1 + distance]])
        V = (z**4 / 4 - 2 * z**3 / 3 + z**2 / 2)[:, 0]
        assert abs(project(0 * z, V, z * (z - 1) ** 2, 0.5).norm().item() / size - 1) < 2e-3
    line = torch.linspace(-3, 3, 601)
    V = line**4 / 4 - 2 * line**3 / 3 + line**2 / 2
    assert (V[line.abs() > 1e-9] > 0).all()  # the other hypotheses hold


def spiral(x):
    f_hat = x @ torch.tensor([[0.5, -1.0], [1.0, 0.5]])
    return project(f_hat, 0.5 * x.square().sum(1), x, 0.5)


def test_claim_9_5_is_about_the_flow_and_not_about_pairs():
    start = torch.tensor([[1.0, 0.0]])
    end = ode.flow(spiral, start, torch.tensor([0.0, 5.0]), max_step=0.1)[-1]
    ratio = end.square().sum().item()
    assert math.exp(-2.5) < ratio and abs(ratio - 0.0820857) < 5e-8  # RK4 is above as well
    assert torch.allclose(spiral(torch.tensor([[2.0, 0.0]])), torch.tensor([[-0.5, -2.0]]))
    x = normal(1, 50, 2)
    whirl = -0.5 * x + 5 * x.norm(dim=1, keepdim=True) * (x @ QUARTER.T)
    assert torch.allclose(project(whirl, 0.5 * x.square().sum(1), x, 1.0), whirl)  # unchanged


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_6_row_sums(seed):
    d = 2 + seed
    J = normal(seed, d, d)
    J = (
        J
        - torch.diag(J.diagonal())
        - torch.diag(J.abs().sum(1) - J.diagonal().abs() + 0.1 + normal(seed + 1, d).abs())
    )
    mu = (J.diagonal() + (J - torch.diag(J.diagonal())).abs().sum(1)).max().item()
    assert mu < 0 and abs(ode.logarithmic_norm(J, math.inf).item() - mu) < 1e-12
    assert torch.linalg.eigvals(J).real.max() < 0
    for t in (0.1, 1.0, 3.0):
        assert torch.tensor(expm(t * J.numpy())).abs().sum(1).max() <= math.exp(mu * t) * (1 + 1e-9)


def test_claim_9_6_other_norm_and_no_dominance():
    J = torch.tensor([[-1.0, 0.95], [0.0, -0.1]])
    assert abs(ode.logarithmic_norm(J, math.inf).item() + 0.05) < 1e-12
    assert abs(ode.logarithmic_norm(J).item() - 0.104) < 5e-4
    assert norm2(torch.tensor(expm(J.numpy()))) > 1.05  # grows in the Euclidean norm
    weak = torch.tensor([[-1.0, 2.0], [2.0, -1.0]])  # rows not dominant: an eigenvalue +1
    assert torch.linalg.eigvals(weak).real.max() > 0.9
    weak = torch.tensor([[-1.0, 1.5], [0.0, -0.1]])  # rows not dominant, and features return
    assert ode.logarithmic_norm(weak, math.inf) > 0
    assert norm2(torch.tensor(expm(100 * weak.numpy()))) < 1e-3
    edge = torch.tensor([[-1.0, math.sqrt(0.4)], [0.0, -0.1]])
    assert abs(ode.logarithmic_norm(edge).item()) < 1e-12  # the Euclidean norm from here on


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_7_lyapunov_loss(seed):
    """Fields with loss zero along the solution: the projected ones. And V small at t = 1 only."""
    kappa, centre = 1.0 + seed, normal(seed, 1, 2)
    M = normal(seed + 1, 2, 2)

    def V(x):
        return 0.5 * (x - centre).square().sum(1)

    def field(x):
        return project(torch.sin(x @ M.T), V(x), x - centre, kappa)

    path = ode.flow(field, torch.zeros(1, 2), torch.linspace(0, 2, 9), max_step=1e-2)
    for t, x in zip(torch.linspace(0, 2, 9), path, strict=True):
        loss = torch.relu(((x - centre) * field(x)).sum(1) + kappa * V(x))
        assert loss.max() < 1e-9
        assert (V(x) <= math.exp(-kappa * t) * V(path[0]) * 1.01).all()
    through = ode.flow(
        lambda x: centre.expand_as(x), torch.zeros(1, 2), torch.tensor([0.0, 1.0, 5.0])
    )
    assert V(through[1]).max() < 1e-9 and V(through[2]).min() > V(through[0]).max()


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_8_equilibrium_contraction(seed):
    d, alpha = 2 + seed % 3, 0.2 + 0.2 * seed
    W, goal = normal(seed, 2 * d * d, d), normal(seed + 1, d)

    def field(x, dissipate=True):
        P, Q = (2 * torch.tanh(x @ W.T)).reshape(-1, 2, d, d).unbind(1)
        A = Q - Q.mT - (P.mT @ P + alpha * torch.eye(d) if dissipate else -P @ P.mT)
        return (A @ (x - goal)[:, :, None])[:, :, 0]

    x = 2 * normal(seed + 2, 30, d)
    distance = (x - goal).norm(dim=1)
    for T in (0.3, 1.0):
        assert (
            (flow_end(field, x, T) - goal).norm(dim=1)
            <= math.exp(-alpha * T) * distance * (1 + 1e-6)
        ).all()
    wild = (flow_end(lambda x: field(x, False), x, 0.1, 0.002) - goal).norm(dim=1)
    assert (wild > math.exp(-0.1 * alpha) * distance).any()


@pytest.mark.parametrize("alpha,radius", [(0.5, 1.0), (0.5, 1.2), (2.5, 1.0), (1.0, 3.0)])
def test_claim_9_9_pairs(alpha, radius):
    limit = 2 * alpha / radius

    def field(x, s):
        return -alpha * x + s * x.norm(dim=1, keepdim=True) * (x @ QUARTER.T)

    def worst(s, r):
        x = torch.tensor([[r, 0.0]])
        D = torch.autograd.functional.jacobian(lambda z: field(z, s), x)[0, :, 0]
        return torch.linalg.eigvalsh(0.5 * (D + D.T)).max().item()

    for s in (0.5 * limit, limit, 2 * limit):
        for r in (0.3 * radius, radius):
            assert abs(worst(s, r) - (-alpha + 0.5 * s * r)) < 1e-9
    direction, size = (
        normal(0, 2, 200, 2),
        torch.rand(2, 200, 1, generator=seeded(1)).sqrt(),
    )
    x, y = radius * size * direction / direction.norm(dim=2, keepdim=True)
    paths = ode.flow(lambda z: field(z, limit), torch.cat([x, y]), torch.linspace(0, 2, 21))
    gaps = (paths[:, :200] - paths[:, 200:]).norm(dim=2)
    assert (gaps.diff(dim=0) <= 1e-9).all()
    pair = torch.tensor(
        [[radius, 0.0], [radius - 1e-4, -1e-4]]
    )  # the worst direction: half way between radius and tangent
    later = flow_end(lambda z: field(z, 1.5 * limit), pair, 0.01 / alpha, 1e-3)
    assert (later[0] - later[1]).norm() > (pair[0] - pair[1]).norm() * 1.001


def test_claim_9_9_content_numbers():
    pair = torch.tensor([[1.0, 0.0], [1.2, 0.0]])
    paths = ode.flow(
        lambda x: -0.5 * x + 5 * x.norm(dim=1, keepdim=True) * (x @ QUARTER.T),
        pair,
        torch.linspace(0, 3, 301),
    )
    gaps = (paths[:, 0] - paths[:, 1]).norm(dim=1)
    assert abs(gaps.max().item() - 0.536) < 1e-3 and abs(gaps.argmax().item() / 100 - 1.27) < 0.02


# ---- 9.8 monotone equilibrium networks -----------------------------------------------------------


def monotone(seed, d, m=0.5):
    A, B = normal(seed, d, d), normal(seed + 1, d, d)
    return (1 - m) * torch.eye(d) - 0.3 * A.T @ A + B - B.T


def equilibrium(W, q, m, start):
    """Forward-backward iteration at 0.9 of the limit."""
    G = torch.eye(len(W)) - W
    a, z = 0.9 * 2 * m / norm2(G) ** 2, start
    for _ in range(20_000):
        previous, z = z, torch.relu(z - a * (z @ G.T - q))
        if (z - previous).abs().max() < 1e-13:
            break
    return z


def brute_force(W, q):
    """All solutions of z = relu(W z + q), by trying each pattern of active units."""
    d, found = len(q), []
    for number in range(2**d):
        D = torch.diag(torch.tensor([float(number >> k & 1) for k in range(d)]))
        matrix = torch.eye(d) - D @ W
        if abs(torch.linalg.det(matrix)) < 1e-12:
            continue
        z = torch.linalg.solve(matrix, D @ q)
        if torch.allclose(z, torch.relu(W @ z + q), atol=1e-9) and not any(
            torch.allclose(z, w, atol=1e-8) for w in found
        ):
            found.append(z)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_10_one_equilibrium(seed):
    d = 2 + seed % 3
    W = monotone(seed, d)
    for k in range(10):
        assert len(brute_force(W, normal(seed + 30 + k, d))) == 1
    assert len(brute_force(torch.tensor([[2.0]]), torch.tensor([-1.0]))) == 2  # m < 0: two
    assert len(brute_force(torch.tensor([[2.0]]), torch.tensor([1.0]))) == 0  # or none


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_11_how_to_find_it(seed):
    d, m = 2 + seed % 3, 0.5
    W, q = monotone(seed, d, m), normal(seed + 30, d)
    (truth,) = brute_force(W, q)
    for start in (torch.zeros(d), 10 * normal(seed, d).abs()):
        assert torch.allclose(equilibrium(W, q, m, start), truth, atol=1e-8)


def test_claim_9_11_beyond_the_limit():
    G, centre = 0.5 * torch.eye(2) + 3 * QUARTER, torch.tensor([3.0, 3.0])
    limit = 1 / 9.25
    for factor in (0.9, 1.1):
        z = centre + torch.tensor([0.1, 0.0])
        for _ in range(100):
            z = torch.relu(z - factor * limit * (G @ (z - centre)))
        assert ((z - centre).norm() < 0.1).item() == (factor < 1)
    W, z = torch.tensor([[-0.5, 1.5], [-2.5, 0.0]]), torch.tensor([1.0, 1.0])
    cycle = []
    for _ in range(3):
        cycle.append(z.tolist())
        z = torch.relu(W @ z + 1)
    assert cycle == [[1, 1], [2, 0], [0, 0]] and z.tolist() == [1, 1]  # plain repetition never ends
    assert torch.allclose(
        equilibrium(W, torch.ones(2), 0.5, torch.zeros(2)), torch.tensor([2 / 3, 0.0]), atol=1e-9
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_12_sensitivity(seed):
    d, m = 2 + seed % 3, 0.5
    W, U = monotone(seed, d, m), normal(seed + 2, d, 3)
    for k in range(6):
        x, y = normal(seed + 40 + k, 2, 3)
        (z,), (w,) = brute_force(W, U @ x), brute_force(W, U @ y)
        assert (z - w).norm() <= norm2(U) / m * (x - y).norm() * (1 + 1e-9)
    # m = 0.5 replaced by a smaller true constant: the old bound fails
    (z,), (w,) = (brute_force(torch.tensor([[0.9]]), torch.tensor([q])) for q in (1.0, 2.0))
    assert (w - z).norm() > 1 / m
