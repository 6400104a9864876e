"""Lesson 3, claim by claim: random attempts to refute each, and its hypothesis dropped."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
import torch.nn.functional as F
from torch import nn

from chapter_utils import certificates, conv_norms, norms, plain_layers
from helpers import seeded, slopes, stretch

SLACK = 1e-9
D = torch.float64


def random(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=D)


def norm(matrix) -> float:
    return float(scipy.linalg.svdvals(np.asarray(matrix))[0])


def zero_padded(kernel, n: int) -> np.ndarray:
    """Matrix of the zero-padded convolution of n x n images, by loops over pixels and taps.

    Independent of PyTorch.
    """
    out, inp, k, _ = kernel.shape
    p, K = k // 2, np.asarray(kernel)
    A = np.zeros((out, n, n, inp, n, n))
    for i, j, a, b in itertools.product(range(n), range(n), range(k), range(k)):
        y, x = i + a - p, j + b - p
        if 0 <= y < n and 0 <= x < n:
            A[:, i, j, :, y, x] += K[:, :, a, b]
    return A.reshape(out * n * n, inp * n * n)


def on_torus(kernel, n: int) -> np.ndarray:
    out, inp, k, _ = kernel.shape
    p, K = k // 2, np.asarray(kernel)
    A = np.zeros((out, n, n, inp, n, n))
    for i, j, a, b in itertools.product(range(n), range(n), range(k), range(k)):
        A[:, i, j, :, (i + a - p) % n, (j + b - p) % n] += K[:, :, a, b]
    return A.reshape(out * n * n, inp * n * n)


def symbol_norm(kernel, side: int) -> float:
    """Largest norm of sum_ab K_ab exp(i (w_1 a + w_2 b)) over the frequencies of a torus.

    Written as the sum it is.
    """
    K, k = np.asarray(kernel), kernel.shape[-1]
    wave = np.exp(2j * np.pi * np.outer(np.arange(side), np.arange(k)) / side)
    symbols = np.einsum("oikl,ak,bl->aboi", K, wave, wave)
    return float(np.linalg.norm(symbols, 2, axis=(2, 3)).max())


def trap_kernel():
    kernel = torch.zeros(1, 1, 3, 3, dtype=D)
    kernel[0, 0, 1] = torch.tensor([-1.0, 1.0, -1.0])
    return kernel


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("activation", [torch.tanh, torch.relu])
def test_claim_3_1_local_slopes(seed, activation):
    W, V, b = random(16, 2, seed=seed), random(3, 16, seed=seed + 10), random(16, seed=seed + 20)

    def f(x):
        return activation(x @ W.T + b) @ V.T

    side = torch.linspace(-2, 2, 161, dtype=D)
    local = norms.jacobian_norms(f, torch.cartesian_prod(side, side))
    pairs = 4 * torch.rand(2, 20_000, 2, dtype=D, generator=seeded(seed)) - 2
    far = slopes(f, *pairs).max().item()
    assert far <= local.max().item() * 1.02  # 2 %: the grid may miss the steepest place
    worst = torch.cartesian_prod(side, side)[local.argmax()]
    turn = torch.linspace(0, 2 * math.pi, 721, dtype=D)
    near = (
        slopes(f, worst + 1e-6 * torch.stack([turn.cos(), turn.sin()], 1), worst.expand(721, 2))
        .max()
        .item()
    )
    assert near == pytest.approx(local.max().item(), rel=1e-3)  # pairs attain the local slope

    # a set that is not convex, and a jump
    across = slopes(
        lambda x: torch.atan2(x[:, 1:], x[:, :1]),
        *torch.tensor([[[-1.5, 0.01]], [[-1.5, -0.01]]], dtype=D),
    )
    assert across.item() > 300
    assert slopes(torch.sign, torch.tensor([[1e-3]]), torch.tensor([[-1e-3]])).item() > 900
    # and finitely many local slopes are no upper bound

    def cliff(x):
        return 200 * (torch.relu(x - 0.5003) - torch.relu(x - 0.5005))

    assert norms.jacobian_norms(cliff, torch.linspace(0, 1, 1001, dtype=D)[:, None]).max() == 0
    assert slopes(
        cliff, torch.tensor([[0.5003]], dtype=D), torch.tensor([[0.5005]], dtype=D)
    ).item() == pytest.approx(200)


def test_claim_3_1_local_slopes_of_images():
    """The derivative of a convolution is its matrix, at every image."""
    kernel, x = random(4, 3, 3, 3, seed=0), random(2, 3, 5, 5, seed=1)
    found = norms.jacobian_norms(lambda x: F.conv2d(x, kernel, padding=1), x)
    assert found.tolist() == pytest.approx([norm(zero_padded(kernel, 5))] * 2)


@pytest.mark.parametrize(
    "sigma, constant",
    [
        (F.relu, 1),
        (F.leaky_relu, 1),
        (torch.tanh, 1),
        (F.softplus, 1),
        (F.elu, 1),
        (torch.sigmoid, 0.25),
        (F.gelu, 1.1289),
        (F.silu, 1.0998),
        (F.mish, 1.0885),
    ],
)
def test_claim_3_2_activations(sigma, constant):
    t = torch.linspace(-15, 15, 300_001, dtype=D, requires_grad=True)
    largest = torch.autograd.grad(sigma(t).sum(), t)[0].abs().max().item()
    assert largest == pytest.approx(constant, abs=1e-4)
    for seed in range(3):
        x, y = 6 * random(20_000, 5, seed=seed), 6 * random(20_000, 5, seed=seed + 50)
        close = x + 1e-3 * random(20_000, 5, seed=seed + 90)
        assert (
            max(slopes(sigma, x, y).max(), slopes(sigma, x, close).max()).item() <= largest + 1e-6
        )
    steep = t[torch.autograd.grad(sigma(t).sum(), t)[0].abs().argmax()].detach()
    x = steep.repeat(1, 5)
    y = x.clone()
    y[0, 2] += 1e-5
    assert slopes(sigma, x, y).item() == pytest.approx(largest, abs=1e-4)  # one entry moves
    # not applied to each entry by itself: division by the length, though no entry ever exceeds 1
    tiny = 1e-3 * random(10, 5, seed=1)
    assert (
        slopes(lambda x: F.normalize(x, dim=1), tiny, tiny + 1e-6 * random(10, 5, seed=2)).max()
        > 100
    )


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_claim_3_3_softmax(classes):
    for seed, scale in itertools.product(range(3), (0.1, 1, 10)):
        x = scale * random(2000, classes, seed=seed)
        assert norms.jacobian_norms(lambda x: torch.softmax(x, 1), x).max().item() <= 0.5 + SLACK
        assert (
            slopes(lambda x: torch.softmax(x, 1), x, scale * random(2000, classes, seed=seed + 9))
            .max()
            .item()
            <= 0.5 + SLACK
        )
    two_share = torch.full((1, classes), -40.0, dtype=D)
    two_share[0, :2] = 0
    assert norms.jacobian_norms(lambda x: torch.softmax(x, 1), two_share).item() == pytest.approx(
        0.5, abs=1e-9
    )
    sharp = norms.jacobian_norms(lambda x: torch.softmax(x / 0.1, 1), two_share).item()
    assert sharp == pytest.approx(5)  # the temperature counts


@pytest.mark.parametrize("k", [2, 3, 4])
def test_claim_3_4_pooling(k):
    side = 3 * k
    average = norm(norms.dense_matrix(nn.AvgPool2d(k), (2, side, side)))
    assert average == pytest.approx(1 / k)
    assert norm(norms.dense_matrix(nn.AdaptiveAvgPool2d(1), (2, side, k))) == pytest.approx(
        1 / math.sqrt(side * k)
    )
    assert norm(
        norms.dense_matrix(plain_layers.ScaledAvgPool2d(k), (2, side, side))
    ) == pytest.approx(1)
    assert (
        norm(norms.dense_matrix(nn.AvgPool2d(k, 1), (1, side, side))) > 1.5 / k
    )  # overlapping tiles
    for s in range(1, k + 1):
        pool, windows = nn.MaxPool2d(k, s), math.ceil(k / s)
        for seed in range(5):
            x, y = random(50, 1, 12, 12, seed=seed), random(50, 1, 12, 12, seed=seed + 50)
            assert slopes(pool, x, y).max().item() <= windows + SLACK
            spikes = torch.zeros(50, 1, 12, 12, dtype=D)
            spikes[
                torch.arange(50), 0, torch.arange(50) % 12, (7 * torch.arange(50) + seed) % 12
            ] = 1
            assert slopes(pool, spikes, torch.zeros_like(spikes)).max().item() <= windows + SLACK
        every_pixel = torch.eye(144, dtype=D).reshape(144, 1, 12, 12)
        stretched = slopes(pool, every_pixel, torch.zeros_like(every_pixel)).max().item()
        assert stretched == pytest.approx(windows)  # attained by one bright pixel
        assert (stretched > 1) == (s < k)  # 1 needs s = k
        alone = torch.eye(k * k, dtype=D).reshape(k * k, 1, k, k)  # a single window
        assert stretch(pool, alone, torch.zeros_like(alone)) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(3, 8, 2), (6, 20, 20, 4)])
def test_claim_3_5_product_and_skip(seed, sizes):
    torch.manual_seed(seed)
    parts = []
    for a, b in itertools.pairwise(sizes):
        parts += [nn.Linear(a, b, dtype=D), (nn.Tanh(), nn.GELU(), nn.ReLU())[seed % 3]]
    network = nn.Sequential(*parts)
    constants = {nn.Tanh: 1, nn.ReLU: 1, nn.GELU: 1.1290}
    product = math.prod(
        norm(p.weight.detach()) if isinstance(p, nn.Linear) else constants[type(p)] for p in parts
    )
    x = 2 * random(500, sizes[0], seed=seed)
    assert norms.jacobian_norms(network, x).max().item() <= product + SLACK
    assert certificates.lipschitz_bound(network, (sizes[0],)) == pytest.approx(product)
    branch = nn.Sequential(nn.Linear(4, 4, dtype=D), nn.Tanh())
    block = plain_layers.ResidualBlock(branch)
    gain = norm(branch[0].weight.detach())
    z = random(500, 4, seed=seed) / 4
    measured = norms.jacobian_norms(block, z).max().item()
    assert measured <= 1 + gain + SLACK
    assert measured > gain  # the bound without the skip is broken


@pytest.mark.parametrize("gains", [(0.3,), (2.0, 0.7), (1.5, 3.0, 0.2)])
def test_claim_3_5_is_attained(gains):
    """By maps that all stretch the same direction, where the activation has its slope 1."""
    x, y = torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]]], dtype=D)
    layers = []
    for gain in gains:
        layers += [nn.Linear(2, 2, bias=False, dtype=D), nn.ReLU()]
        layers[-2].weight.data = torch.diag(torch.tensor([gain, 0.1 * gain], dtype=D))
    network = nn.Sequential(*layers)
    assert stretch(network, x, y) == pytest.approx(math.prod(gains))
    assert stretch(plain_layers.ResidualBlock(network), x, y) == pytest.approx(1 + math.prod(gains))


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


@pytest.mark.parametrize("h, L, N", [(0.1, 1.0, 50), (0.05, 2.0, 40), (0.5, 1.0, 8)])
def test_claim_3_6_deep_residual_network(h, L, N):
    bound = (1 + h * L) ** N
    for seed in range(3):
        x, y = random(200, 6, seed=seed), random(200, 6, seed=seed + 30)
        branches = []
        for k in range(N):
            W = random(6, 6, seed=1000 * seed + k)
            W *= h * L / norm(W)
            linear = nn.Linear(6, 6, bias=False, dtype=D)
            linear.weight.data = W
            branches.append(nn.Sequential(linear, nn.Tanh()))
        network = nn.Sequential(*[plain_layers.ResidualBlock(g) for g in branches])
        assert stretch(network, x, y) <= bound * (1 + SLACK)

    def scaled(slope, steps):
        """How much `steps` layers with g(x) = slope x stretch, up to the same time h N."""
        block = plain_layers.ResidualBlock(Times(h * N / steps * slope))
        return stretch(nn.Sequential(*[block] * steps), x, y)

    assert scaled(L, N) == pytest.approx(bound)  # attained
    assert bound <= math.exp(L * h * N)
    assert scaled(L, 200 * N) == pytest.approx(math.exp(L * h * N), rel=0.01)  # so is the limit
    assert scaled(1.1 * L, N) > 1.2 * bound  # a branch that is 10 % more sensitive breaks it
    if (h, L, N) == (0.1, 1.0, 50):  # the numbers of the lesson
        assert scaled(L, N) == pytest.approx(117.39, abs=0.01)


@pytest.fixture
def two_layers(names):
    return names["two_layers"]


def test_claim_3_7_arbitrarily_loose(two_layers):
    x, y = random(1000, 1, seed=0), random(1000, 1, seed=1)
    absolute, nothing = two_layers([1.0, -1.0], [1.0, 1.0]), two_layers([1.0, 1.0], [1.0, -1.0])
    assert torch.equal(absolute(x), x.abs()) and not nothing(x).any()
    assert certificates.lipschitz_bound(nothing, (1,)) == pytest.approx(2)
    for m in (1, 4, 12):
        network = nn.Sequential(*[absolute] * m)
        assert torch.equal(network(x), x.abs())
        assert slopes(network, x, y).max().item() <= 1 + SLACK
        assert certificates.lipschitz_bound(network, (1,)) == pytest.approx(2**m)
    straight = nn.Sequential(
        *[nn.Linear(1, 1, bias=False, dtype=D) for _ in range(3)]
    )  # no ReLU, one direction: no loss
    truth = abs(math.prod(p.weight.item() for p in straight))
    assert certificates.lipschitz_bound(straight, (1,)) == pytest.approx(truth)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("units, inputs", [(4, 4), (5, 8), (5, 2)])
def test_claim_3_8_patterns(two_layers, seed, units, inputs):
    W1, W2, b = (
        random(units, inputs, seed=seed),
        random(3, units, seed=seed + 10),
        random(units, seed=seed + 20),
    )
    patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=units)), dtype=D)
    over_patterns = max(norm(W2 @ torch.diag(d) @ W1) for d in patterns)
    assert over_patterns <= norm(W2) * norm(W1) + SLACK

    def f(x):
        return torch.relu(x @ W1.T + b) @ W2.T

    x, y = 3 * random(5000, inputs, seed=seed + 30), 3 * random(5000, inputs, seed=seed + 40)
    assert slopes(f, x, y).max().item() <= over_patterns + SLACK
    if units <= inputs:  # independent rows: reach every pattern by solving W1 x + b = +-1
        signs = 2 * patterns - 1
        reached = torch.linalg.lstsq(W1, (signs - b).T).solution.T
        assert norms.jacobian_norms(f, reached).max().item() == pytest.approx(
            over_patterns, rel=1e-6
        )
    # dependent rows: relu(x) - relu(x) has slope 0, but the pattern (on, off) says 1
    nothing = two_layers([1.0, 1.0], [1.0, -1.0])
    first, second = nothing[0].weight.detach(), nothing[2].weight.detach()
    on_and_off = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]], dtype=D)
    assert max(norm(second @ torch.diag(d) @ first) for d in on_and_off) == pytest.approx(1)
    assert not nothing(x[:, :1]).any()
    # the second inequality is an equality if the layers stretch the same units most
    V = torch.linalg.svd(W1, full_matrices=False).U.T
    aligned = max(norm(V @ torch.diag(d) @ W1) for d in patterns)
    assert aligned == pytest.approx(norm(V) * norm(W1))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape, dtype", [((64, 64), D), ((20, 50), D), ((50, 20), torch.float32)])
def test_claim_3_9_power_iteration(seed, shape, dtype):
    A, v = random(*shape, seed=seed).to(dtype), random(shape[1], seed=seed + 60).to(dtype)
    truth, tolerance = norm(A), 1e-10 if dtype == D else 1e-5
    estimates = [
        norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, v, k)[0].item() for k in range(40)
    ]
    assert max(estimates) <= truth * (1 + tolerance)
    assert all(b >= a * (1 - tolerance) for a, b in itertools.pairwise(estimates))
    many = norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, v, 3000)[0].item()
    assert many == pytest.approx(truth, rel=1e-4)
    assert estimates[1] < truth * (1 - 1e-3)  # early estimates really are too small

    # a start orthogonal to the best direction finds the second singular value (a diagonal matrix:
    # no rounding helps it)
    S = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=D))
    start = torch.tensor([0.0, 1.0, 1.0], dtype=D)
    assert norms.power_iteration(lambda v: S @ v, lambda w: S @ w, start, 200)[
        0
    ].item() == pytest.approx(2)
    # A v_0 = 0: it stays there for ever, at 0
    flat = torch.diag(torch.tensor([0.0, 0.0, 1.0], dtype=D))
    start = torch.tensor([1.0, 1.0, 0.0], dtype=D)
    assert norms.power_iteration(lambda v: flat @ v, lambda w: flat @ w, start, 200)[0] == 0


@pytest.mark.parametrize("scale", [1e-70, 1e-6, 1.0, 1e6, 1e70])
def test_claim_3_9_power_iteration_of_tiny_and_huge_matrices(scale):
    A, v = scale * random(20, 30, seed=0), random(30, seed=1)

    def estimate(*steps):
        return norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, v, *steps)[0].item()

    assert estimate(1000) == pytest.approx(norm(A), rel=1e-6)
    assert estimate() == estimate(1) > 1.01 * estimate(0)  # one step if nothing is said


def test_claim_3_9_stays_where_it_is_when_the_next_vector_overflows():
    A, v = 1e100 * torch.eye(2, dtype=D), torch.tensor([0.6, 0.8], dtype=D)
    found, kept = norms.power_iteration(lambda v: A @ v, lambda w: A.T @ w, v, 5)
    assert torch.equal(kept, v) and found.item() == pytest.approx(1e100)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels, n", [((1, 1), 5), ((4, 3), 4), ((2, 3), 6)])
def test_claim_3_10_torus(seed, channels, n):
    kernel = random(*channels, 3, 3, seed=seed)
    truth = norm(on_torus(kernel, n))
    assert truth == pytest.approx(symbol_norm(kernel, n))
    fft = (
        torch.linalg.matrix_norm(torch.fft.fft2(kernel, s=(n, n)).permute(2, 3, 0, 1), 2)
        .max()
        .item()
    )
    assert truth == pytest.approx(fft)
    assert conv_norms.conv_norm_bound(
        kernel, (n, n), padding=(1, 1), padding_mode="circular"
    ) == pytest.approx(truth)
    x = np.asarray(
        random(n, n, seed=seed + 5)
    )  # the oracle itself: scipy's convolution that wraps round
    wrapped = scipy.signal.correlate2d(x, np.asarray(kernel[0, 0]), mode="same", boundary="wrap")
    assert np.allclose(on_torus(kernel[:1, :1], n) @ x.ravel(), wrapped.ravel())
    # stride 2 leaves outputs out: the largest symbol is no longer the norm, only a bound
    outputs = on_torus(kernel, n).reshape(-1, n, n, kernel.shape[1] * n * n)
    strided = norm(outputs[:, ::2, ::2].reshape(-1, kernel.shape[1] * n * n))
    assert strided < truth * (1 - 1e-3)
    # so much circular padding that the image grows: some pixels count twice
    larger = norms.dense_matrix(
        lambda x: F.conv2d(F.pad(x, (2, 2, 2, 2), mode="circular"), kernel), (channels[1], n, n)
    )
    assert norm(larger) > 1.01 * truth
    # zero padding in place of circular: no equality
    assert norm(zero_padded(kernel, n)) != pytest.approx(truth, rel=1e-3)


def wave(k, side, half):
    """exp(i phi x) on the taps, phi being `half` halves of the distance of two frequencies."""
    phases = [torch.arange(k) * h * math.pi / side for h in half]
    angle = (phases[0][:, None] + phases[1]).double()
    return torch.polar(torch.ones_like(angle), angle)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "channels, k, n", [((1, 1), 3, 5), ((4, 3), 3, 4), ((1, 2), 5, 5), ((2, 1), 5, 6)]
)
def test_claim_3_11_zero_padding(seed, channels, k, n):
    kernel, p = random(*channels, k, k, seed=seed), k // 2
    truth = norm(zero_padded(kernel, n))
    for side in range(n + p, n + p + 4):
        assert truth <= symbol_norm(kernel, side) + SLACK
    bound = conv_norms.conv_norm_bound(kernel, (n, n), padding=(p, p))
    moved = [
        symbol_norm(kernel * wave(k, n + p, half), n + p)
        for half in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert truth <= min(moved) + SLACK and bound == pytest.approx(min(moved))
    assert bound >= truth
    assert (
        bound <= symbol_norm(kernel, 16 * (n + p)) + 1e-6
    )  # these frequencies contain those of the torus


def test_claim_3_11_zero_padding_is_attained():
    for n in (2, 4, 6, 8):  # so the norm on a torus of side n + 1 cannot be replaced by less
        assert norm(zero_padded(trap_kernel(), n)) == pytest.approx(
            symbol_norm(trap_kernel(), n + 1)
        )
    # nor can the supremum: the edge detector on large images
    line = norm(scipy.linalg.toeplitz([1.0, -1.0] + [0.0] * 198))
    assert 0.999 < line / symbol_norm(trap_kernel(), 200) <= 1
    # with a wider border of zeros a larger torus is needed
    for n in (2, 4, 6):
        wide = norms.dense_matrix(lambda x: F.conv2d(x, trap_kernel(), padding=2), (1, n, n))
        assert norm(wide) > 1.005 * symbol_norm(trap_kernel(), n + 1)


def test_claim_3_11_zero_padding_needs_the_larger_torus():
    for n in (3, 5, 7, 9):
        truth = norm(zero_padded(trap_kernel(), n))
        assert truth == pytest.approx(1 + 2 * math.cos(math.pi / (n + 1)))
        assert symbol_norm(trap_kernel(), n) < truth - 0.01
        assert symbol_norm(trap_kernel(), n + 1) >= truth
    assert norm(zero_padded(trap_kernel(), 5)) == pytest.approx(2.7321, abs=1e-4)
    assert symbol_norm(trap_kernel(), 5) == pytest.approx(2.6180, abs=1e-4)
    assert symbol_norm(trap_kernel(), 7) == pytest.approx(2.8019, abs=1e-4)
    kernel = random(4, 3, 3, 3, seed=0)
    assert norm(zero_padded(kernel, 8)) == pytest.approx(10.73, abs=0.01)
    assert symbol_norm(kernel, 8) == pytest.approx(10.96, abs=0.01)
    assert symbol_norm(kernel, 128) == pytest.approx(11.43, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_claim_3_12_image_size(seed):
    kernel = random(2, 2, 3, 3, seed=seed)
    norms = [norm(zero_padded(kernel, n)) for n in range(1, 10)]
    assert all(b >= a - SLACK for a, b in itertools.pairwise(norms))
    assert norms[0] < norms[3] < norms[8] <= symbol_norm(kernel, 256) + SLACK
    line = [
        norm(scipy.linalg.toeplitz([1.0, -1.0] + [0.0] * (n - 2))) for n in (5, 50, 200)
    ]  # it approaches the symbol
    assert line[0] < line[1] < line[2] < 3 and line[2] > 2.999
    # on a torus the norm may decrease
    assert symbol_norm(trap_kernel(), 4) == pytest.approx(3) and symbol_norm(trap_kernel(), 5) < 2.7


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "k, stride, padding, n", [(3, 1, 1, 6), (3, 2, 1, 7), (3, 3, 0, 9), (5, 2, 2, 8), (2, 1, 0, 5)]
)
def test_claim_3_13_reshaped_matrix(seed, k, stride, padding, n):
    kernel = random(3, 2, k, k, seed=seed)
    matrix = norms.dense_matrix(
        lambda x: F.conv2d(x, kernel, stride=stride, padding=padding), (2, n, n)
    )
    R = norm(kernel.flatten(1))
    assert R <= norm(matrix) + SLACK
    assert norm(matrix) <= math.ceil(k / stride) * R + SLACK
    if stride == k:
        assert norm(matrix) == pytest.approx(R)
    assert norm(zero_padded(random(3, 2, 3, 3, seed=seed), 1)) < norm(
        random(3, 2, 3, 3, seed=seed).flatten(1)
    )  # no window inside


def test_claim_3_13_reshaped_matrix_is_too_small():
    box = torch.ones(1, 1, 3, 3, dtype=D)
    assert norm(box.flatten(1)) == pytest.approx(3)
    assert norm(zero_padded(box, 12)) > 2.8 * 3  # close to the largest possible factor


@pytest.mark.parametrize("taps, stride", [([1, 1, 1], 1), ([1, 0, 1], 2), ([1] * 4, 2), ([1], 1)])
def test_claim_3_13_the_factor_is_attained(taps, stride):
    """By kernels whose taps hit the same pixels: ceil(k / s) times ||R|| on large images."""
    line = torch.tensor(taps, dtype=D)
    kernel = torch.outer(line, line)[None, None]
    matrix = norms.dense_matrix(lambda x: F.conv2d(x, kernel, stride=stride), (1, 20, 20))
    factor = norm(matrix) / norm(kernel.flatten(1))
    assert 0.95 < factor / math.ceil(len(taps) / stride) <= 1 + SLACK


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels, n", [((1, 1), 6), ((4, 3), 5), ((2, 3), 2)])
def test_claim_3_14_absolute_sums(seed, channels, n):
    kernel = random(*channels, 3, 3, seed=seed)
    A = zero_padded(kernel, n)
    gershgorin = math.sqrt(np.abs(A.T @ A).sum(1).max())
    assert (
        norm(A)
        <= sum(norm(kernel[:, :, i, j]) for i, j in itertools.product(range(3), range(3))) + SLACK
    )
    assert norm(A) <= gershgorin + SLACK
    assert gershgorin <= math.sqrt(np.linalg.norm(A, 1) * np.linalg.norm(A, np.inf)) + SLACK
    # for kernels without signs on large images all of them are close
    B = zero_padded(torch.ones(1, 1, 3, 3, dtype=D), 12)
    rows = math.sqrt(np.abs(B.T @ B).sum(1).max())
    assert norm(B) > 0.95 * 9 and norm(B) > 0.95 * rows
    assert rows == pytest.approx(math.sqrt(np.linalg.norm(B, 1) * np.linalg.norm(B, np.inf)))
    # without the absolute values the sums bound nothing
    edge = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]], dtype=D)[
        None, None
    ]
    E = zero_padded(edge, 6)
    assert abs(edge.sum().item()) < 1e-12 < 7 < norm(E)
    assert (E.T @ E).sum(1).max() < norm(E) ** 2 / 2
