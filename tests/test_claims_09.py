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
    assert gamma or real.max() > -1e-10  # 0 is attained
    assert (
        torch.linalg.eigvals(D[:, :, None] * (M - gamma * torch.eye(d))).real.max() > 0.1
    )  # not antisymmetric
    pushed = D[:, :, None] * (skew(M) + 0.1 * torch.eye(d))
    assert torch.linalg.eigvals(pushed).real.max(1).values.min() > 0  # gamma < 0
    D[:, 0] *= -1
    turned = D[:, :, None] * (skew(M) - gamma * torch.eye(d))
    assert torch.linalg.eigvals(turned).real.max() > 0.1  # an entry of D that is negative
    frozen = torch.diag(torch.tensor([1.0, 0.1])) @ (3 * QUARTER - 0.5 * torch.eye(2))
    assert (
        torch.linalg.eigvals(frozen).real.max() < 0 < ode.logarithmic_norm(frozen)
    )  # distances are another matter


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_2_how_thin_the_layers_must_be(seed):
    d = 2 + seed
    S, gamma = skew(normal(seed, d, d)), 0.2 + 0.3 * seed
    limit = 2 * gamma / (gamma**2 + norm2(S) ** 2)

    def layer_norm(h, gamma=gamma, S=S):
        return norm2(torch.eye(d) + h * (S - gamma * torch.eye(d)))

    assert (
        layer_norm(limit / 2) < 1
        and abs(layer_norm(limit) - 1) < 1e-12
        and layer_norm(1.01 * limit) > 1
    )
    assert layer_norm(1e-3 * limit, gamma=0.0) > 1  # without friction no step is short enough
    symmetric = norm2(S) * torch.eye(d)  # of the same norm
    assert layer_norm(0.5 * limit, S=symmetric) > 1 or gamma >= norm2(S)


def test_claim_9_2_no_step_for_a_saturated_unit():
    frozen = torch.diag(torch.tensor([1.0, 0.1])) @ (3 * QUARTER - 0.5 * torch.eye(2))
    mu = ode.logarithmic_norm(frozen).item()
    for h in (1e-4, 1e-2, 0.1, 1.0):
        assert norm2(torch.eye(2) + h * frozen) >= 1 + h * mu > 1


def test_claim_9_2_numbers(names):
    h = names["longest_step"](0.5)
    assert abs(h - 0.10811) < 5e-6
    for factor, growth in ((1.0, 1.0), (1.1, 1.0059)):
        assert abs(abs(names["layer_factor"](0.5, factor * h)) - growth) < 5e-5
        layer = torch.eye(2) + factor * h * (3 * QUARTER - 0.5 * torch.eye(2))
        assert abs(norm2(layer) - growth) < 5e-5


@pytest.fixture
def verlet(names):
    return one_state(names["verlet"])


@pytest.fixture
def euler(names):
    return one_state(names["euler"])


def one_state(layer):
    """The lesson's layer of batches q and p, for one x = (q, p)."""

    def layer_of_one(x, h, A, B):
        q, p = x[None].chunk(2, 1)
        return torch.cat(layer(q, p, h, A, B), 1)[0]

    return layer_of_one


def energies(seed, d):
    return [(normal(seed + k, d + 1, d), normal(seed + k + 1, d + 1)) for k in (0, 2)]


def omega(d):
    return torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(d))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("h", [0.3, 2.5])
def test_claim_9_3_verlet_layers(verlet, euler, seed, h):
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
def test_claim_9_4_gradients_cannot_vanish(verlet, seed):
    d = 1 + seed % 3
    A, B = energies(seed, d)
    x = normal(seed + 9, 2 * d)

    def size(layer):
        def deep(x):
            for _ in range(30):
                x = layer(x)
            return x

        return norm2(torch.autograd.functional.jacobian(deep, x))

    assert size(lambda x: verlet(x, 0.3, A, B)) >= 1 - 1e-9
    flat = [(0.1 * normal(1, d, d), torch.zeros(d))] * 2
    assert 1 - 1e-9 <= size(lambda x: verlet(x, 0.01, *flat)) < 1.05  # 1 is nearly attained
    S = skew(normal(seed, 2 * d, 2 * d))
    S = S / norm2(S)
    assert size(lambda x: x + 0.5 * (S @ x - x)) < 0.01  # with friction, so not symplectic


# ---- 9.4 to 9.7 stability by construction or by training -----------------------------------------


@pytest.fixture
def project(names):
    return names["project"]


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_9_5_projection(project, seed):
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
    share = V(flow_end(field, x, 1.0, 2e-3)) / (V(x) * math.exp(-alpha))
    assert 0.999 < share.max() < 1.001  # attained: this field pushes outwards
    assert (
        V(flow_end(lambda x: 2 * torch.tanh(x @ M.T + b) + x, x, 1.0)) > V(x) * math.exp(-alpha)
    ).any()


def test_claim_9_5_number_and_flat_points(project):
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


def test_claim_9_5_a_bounded_energy_lets_a_solution_escape(project):
    """V = x^2 / (1 + x^2) + y^2 decays as promised, while x' = x^3 is gone at t = 1/200."""
    start = torch.tensor([[10.0, 1.0]], dtype=torch.float64)
    times = torch.linspace(0, 0.00499, 11, dtype=torch.float64)

    def bounded(z):
        x, y = z.unbind(1)
        slope = torch.stack([2 * x / (1 + x**2) ** 2, 2 * y], 1)
        return x**2 / (1 + x**2) + y**2, slope

    def proper(z):
        return z.square().sum(1), 2 * z

    ends = []
    for energy in (bounded, proper):

        def field(z, energy=energy):
            outwards = torch.stack([z[:, 0] ** 3, 0 * z[:, 1]], 1)
            return project(outwards, *energy(z), 0.5)

        path = ode.flow(field, start, times, max_step=1e-6)
        values = torch.stack([energy(z)[0][0] for z in path])
        assert (values <= values[0] * torch.exp(-0.5 * times) * (1 + 1e-6)).all()
        ends.append(path[-1, 0, 0].item())
    assert ends[0] > 200 and ends[1] < 10.1


def test_claim_9_5_is_about_the_flow_and_not_about_pairs(project):
    def spiral(x, alpha=0.5):
        f_hat = x @ torch.tensor([[0.5, -1.0], [1.0, 0.5]])
        return project(f_hat, 0.5 * x.square().sum(1), x, alpha)

    start = torch.tensor([[1.0, 0.0]])
    end = ode.flow(spiral, start, torch.tensor([0.0, 5.0]), max_step=0.1)[-1]
    ratio = end.square().sum().item()
    assert math.exp(-2.5) < ratio and abs(ratio - 0.0820857) < 5e-8  # RK4 is above as well
    assert torch.allclose(spiral(torch.tensor([[2.0, 0.0]])), torch.tensor([[-0.5, -2.0]]))
    end = flow_end(lambda x: spiral(x, 0.0), start, 5.0)  # alpha = 0: nothing tends to the origin
    assert end.norm().item() == pytest.approx(1, abs=1e-6)
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


def test_claim_9_6_is_attained():
    J = torch.tensor([[-1.0, 0.5, 0.2], [0.6, -0.9, 0.0], [0.1, 0.3, -0.7]])  # rows: -0.3
    for t in (0.5, 3.0):
        growth = torch.tensor(expm(t * J.numpy())).abs().sum(1).max().item()
        assert growth == pytest.approx(math.exp(ode.logarithmic_norm(J, math.inf).item() * t))
        assert growth == pytest.approx(math.exp(-0.3 * t))
    positive = torch.tensor([[1.0, 0.5], [0.5, -1.0]])  # dominant rows, but one with M_ii > 0
    assert torch.linalg.eigvals(positive).real.max() > 1


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
def test_claim_9_7_lyapunov_loss(project, seed):
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
        assert (V(x) <= math.exp(-kappa * t) * V(path[0]) * 1.001).all()

    def outwards(x):  # a loss of zero with nothing to spare: the rate is attained
        return project(x - centre, V(x), x - centre, kappa)

    end = flow_end(outwards, torch.zeros(1, 2), 1.0)
    assert V(end).item() == pytest.approx(math.exp(-kappa) * V(torch.zeros(1, 2)).item(), rel=1e-3)
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
    S = skew(normal(seed + 3, d, d))
    end = flow_end(lambda x: (x - goal) @ (S - alpha * torch.eye(d)).T, x, 1.0)
    attained = math.exp(-alpha) * distance
    assert torch.allclose((end - goal).norm(dim=1), attained, rtol=1e-5)
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
    for factor, grows in ((0.95, False), (1.05, True)):
        later = flow_end(lambda z, s=factor * limit: field(z, s), pair, 0.01 / alpha, 1e-3)
        growth = ((later[0] - later[1]).norm() / (pair[0] - pair[1]).norm()).item()
        assert abs(growth - 1) > 1e-4 and (growth > 1) is grows


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
    m, centre = 0.5, torch.tensor([3.0, 3.0])
    G = m * torch.eye(2) + 3 * QUARTER
    limit = 2 * m / norm2(G) ** 2
    for factor, nearer in ((0.95, True), (1.05, False), (-0.1, False)):
        z = centre + torch.tensor([0.1, 0.0])
        for _ in range(100):
            z = torch.relu(z - factor * limit * (G @ (z - centre)))
        assert bool((z - centre).norm() < 0.1) is nearer
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
    # attained, where all units are on
    U = normal(seed + 2, 2, 3)
    x = torch.linalg.lstsq(U, torch.ones(2)).solution
    y = x + 1e-3 * torch.linalg.svd(U).Vh[0]
    (z,), (w,) = (brute_force((1 - m) * torch.eye(2), U @ v) for v in (x, y))
    assert (z - w).norm().item() == pytest.approx(norm2(U) / m * 1e-3, rel=1e-6)
    # m = 0.5 replaced by a smaller true constant: the old bound fails
    (z,), (w,) = (brute_force(torch.tensor([[0.9]]), torch.tensor([q])) for q in (1.0, 2.0))
    assert (w - z).norm() > 1 / m
