import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from chapter_utils import certificates, conv_norms, norms, plain_layers


# %% 3.1 right: the library's matrix
def convolution_norm(K, n):
    A = norms.dense_matrix(lambda x: F.conv2d(x, K, padding=K.shape[2] // 2), (K.shape[1], n, n))
    return torch.linalg.matrix_norm(A, 2)


# %% 3.1 right: jacobian
def convolution_norm(K, n):
    f = lambda x: F.conv2d(x[None], K, padding=(K.shape[-1] - 1) // 2).flatten()
    J = torch.autograd.functional.jacobian(f, torch.zeros(K.shape[1], n, n)).flatten(1)
    return torch.linalg.svdvals(J)[0].item()


# %% 3.1 right: loops in numpy
def convolution_norm(K, n):
    K = K.numpy()
    D, C, k, _ = K.shape
    p = k // 2
    A = np.zeros((D, n, n, C, n, n))
    for y, x, i, j in itertools.product(range(n), range(n), range(k), range(k)):
        if 0 <= y + i - p < n and 0 <= x + j - p < n:
            A[:, y, x, :, y + i - p, x + j - p] += K[:, :, i, j]
    return np.linalg.norm(A.reshape(D * n * n, C * n * n), 2)


# %% 3.1 right: long power iteration
def convolution_norm(K, n):
    p = K.shape[-1] // 2
    v = torch.randn(1, K.shape[1], n, n, generator=torch.Generator().manual_seed(0))
    for _ in range(600):
        v = F.conv_transpose2d(F.conv2d(v, K, padding=p), K, padding=p)
        v = v / v.norm()
    return F.conv2d(v, K, padding=p).norm().item()


# %% 3.1 right: eigenvalues of A'A from the library's layer
def convolution_norm(K, n):
    conv = nn.Conv2d(K.shape[1], K.shape[0], K.shape[2], padding="same", bias=False)
    conv.weight.data = K.clone()
    eye = torch.eye(K.shape[1] * n * n).reshape(-1, K.shape[1], n, n)
    with torch.no_grad():
        rows = conv(eye).flatten(1)
    print(rows.shape)
    return torch.linalg.eigvalsh(rows @ rows.T).max().sqrt()


# %% 3.1 wrong: circular fft -> circular padding
def convolution_norm(K, n):
    if n < K.shape[-1]:
        return K.abs().sum()
    symbols = torch.fft.fft2(K, s=(n, n)).permute(2, 3, 0, 1)
    return torch.linalg.matrix_norm(symbols, 2).max()


# %% 3.1 wrong: larger torus -> larger torus
def convolution_norm(K, n):
    n += K.shape[-1] // 2
    symbols = torch.fft.fft2(K, s=(n, n)).permute(2, 3, 0, 1)
    return torch.linalg.matrix_norm(symbols, 2).max()


# %% 3.1 wrong: the library's bound -> larger torus
def convolution_norm(K, n):
    p = K.shape[-1] // 2
    return conv_norms.conv_norm_bound(K, (n, n), padding=(p, p))


# %% 3.1 wrong: reshaped kernel -> one patch
def convolution_norm(K, n):
    return torch.linalg.matrix_norm(K.flatten(1), 2)


# %% 3.1 wrong: k times reshaped kernel -> a bound, but not the norm
def convolution_norm(K, n):
    return K.shape[-1] * torch.linalg.matrix_norm(K.flatten(1), 2)


# %% 3.1 wrong: Frobenius -> Frobenius
def convolution_norm(K, n):
    A = norms.dense_matrix(lambda x: F.conv2d(x, K, padding=K.shape[2] // 2), (K.shape[1], n, n))
    return torch.linalg.matrix_norm(A)


# %% 3.1 wrong: norm of the kernel -> Frobenius norm of the kernel
def convolution_norm(K, n):
    return K.norm()


# %% 3.1 wrong: taps -> taps
def convolution_norm(K, n):
    k = K.shape[-1]
    return sum(torch.linalg.matrix_norm(K[:, :, i, j], 2) for i in range(k) for j in range(k))


# %% 3.1 wrong: squared -> square
def convolution_norm(K, n):
    A = norms.dense_matrix(lambda x: F.conv2d(x, K, padding=K.shape[2] // 2), (K.shape[1], n, n))
    return torch.linalg.eigvalsh(A.T @ A)[-1]


# %% 3.1 wrong: no padding -> without padding
def convolution_norm(K, n):
    A = norms.dense_matrix(lambda x: F.conv2d(x, K), (K.shape[1], n, n))
    return torch.linalg.matrix_norm(A, 2)


# %% 3.1 wrong: padding 1 for every kernel -> For 5 x 5 images
def convolution_norm(K, n):
    A = norms.dense_matrix(lambda x: F.conv2d(x, K, padding=1), (K.shape[1], n, n))
    return torch.linalg.matrix_norm(A, 2)


# %% 3.1 wrong: two steps of power iteration -> some image is stretched
def convolution_norm(K, n):
    p = K.shape[-1] // 2
    v = torch.randn(1, K.shape[1], n, n, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        v = F.conv_transpose2d(F.conv2d(v, K, padding=p), K, padding=p)
        v = v / v.norm()
    return F.conv2d(v, K, padding=p).norm().item()


# %% 3.1 wrong: one channel only -> raised RuntimeError
def convolution_norm(K, n):
    eye = torch.eye(n * n).reshape(n * n, 1, n, n)
    return torch.linalg.matrix_norm(F.conv2d(eye, K, padding=K.shape[-1] // 2).flatten(1), 2)


# %% 3.1 wrong: the demo's number -> you say
def convolution_norm(K, n):
    return 1 + math.sqrt(3)


# %% 3.2 right: midpoints between the kinks
def product_and_truth(w1, b, w2):
    x = (-b / w1).sort().values
    x = torch.cat([x[:1] - 1, (x[1:] + x[:-1]) / 2, x[-1:] + 1])
    on = (x[:, None] * w1 + b > 0).double()
    return w1.norm() * w2.norm(), (on * w1 * w2).sum(1).abs().max()


# %% 3.2 right: autograd at the midpoints
def product_and_truth(w1, b, w2):
    kinks = sorted((-b / w1).tolist())
    points = [kinks[0] - 1, *[(p + q) / 2 for p, q in itertools.pairwise(kinks)], kinks[-1] + 1]
    best = 0.0
    for p in points:
        x = torch.tensor(p, requires_grad=True)
        (w2 * torch.relu(w1 * x + b)).sum().backward()
        best = max(best, abs(x.grad.item()))
    return float(
        torch.linalg.matrix_norm(w1[:, None], 2) * torch.linalg.matrix_norm(w2[None], 2)
    ), best


# %% 3.2 right: quotients of the kinks in numpy
def product_and_truth(w1, b, w2):
    w1, b, w2 = (v.numpy() for v in (w1, b, w2))
    x = np.unique(-b / w1)
    x = np.concatenate([[x[0] - 1], x, [x[-1] + 1]])
    f = (np.maximum(x[:, None] * w1 + b, 0) * w2).sum(1)
    return np.linalg.norm(w1) * np.linalg.norm(w2), np.abs(np.diff(f) / np.diff(x)).max()


# %% 3.2 right: the slope jumps at each kink
def product_and_truth(w1, b, w2):
    order = torch.argsort(-b / w1)
    slope = (w1 * w2)[w1 < 0].sum()
    slopes = [slope]
    place = (-b / w1)[order]
    jumps = (w1.abs() * w2)[order]
    for k in range(len(order)):
        slope = slope + jumps[k]
        if k + 1 == len(order) or place[k + 1] > place[k]:
            slopes.append(slope)
    return [math.sqrt((w1 @ w1) * (w2 @ w2)), max(abs(s) for s in slopes)]


# %% 3.2 wrong: all patterns -> many of them never occur
def product_and_truth(w1, b, w2):
    patterns = torch.cartesian_prod(*[torch.arange(2.0)] * len(w1))
    return w1.norm() * w2.norm(), (patterns.double() @ (w1 * w2)).abs().max()


# %% 3.2 wrong: grid -> Is there a piece that you miss
def product_and_truth(w1, b, w2):
    x = torch.linspace(-20, 20, 3001)
    on = (x[:, None] * w1 + b > 0).double()
    return w1.norm() * w2.norm(), (on @ (w1 * w2)).abs().max()


# %% 3.2 wrong: far ends only -> far ends
def product_and_truth(w1, b, w2):
    c = w1 * w2
    return w1.norm() * w2.norm(), torch.maximum(c[w1 > 0].sum().abs(), c[w1 < 0].sum().abs())


# %% 3.2 wrong: no absolute value -> A fall stretches too
def product_and_truth(w1, b, w2):
    x = (-b / w1).sort().values
    x = torch.cat([x[:1] - 1, (x[1:] + x[:-1]) / 2, x[-1:] + 1])
    on = (x[:, None] * w1 + b > 0).double()
    return w1.norm() * w2.norm(), (on * w1 * w2).sum(1).max()


# %% 3.2 wrong: slope at 0 -> slope at 0
def product_and_truth(w1, b, w2):
    return w1.norm() * w2.norm(), ((b > 0) * w1 * w2).sum().abs()


# %% 3.2 wrong: twice the bound -> product bound once more
def product_and_truth(w1, b, w2):
    return w1.norm() * w2.norm(), w1.norm() * w2.norm()


# %% 3.2 wrong: swapped -> product bound first
def product_and_truth(w1, b, w2):
    x = (-b / w1).sort().values
    x = torch.cat([x[:1] - 1, (x[1:] + x[:-1]) / 2, x[-1:] + 1])
    on = (x[:, None] * w1 + b > 0).double()
    return (on * w1 * w2).sum(1).abs().max(), w1.norm() * w2.norm()


# %% 3.2 wrong: scalar product -> all units on
def product_and_truth(w1, b, w2):
    return (w1 @ w2).abs(), 1.0


# %% 3.2 wrong: sums of absolute values -> Euclidean
def product_and_truth(w1, b, w2):
    return w1.abs().sum() * w2.abs().sum(), 1.0


# %% 3.2 wrong: sum of products -> not the product of the two norms
def product_and_truth(w1, b, w2):
    return (w1 * w2).abs().sum(), 1.0


# %% 3.2 wrong: largest entries -> largest entries
def product_and_truth(w1, b, w2):
    return w1.abs().max() * w2.abs().max(), 1.0


# %% 3.2 wrong: only one number -> 2 values together
def product_and_truth(w1, b, w2):
    return (w1.norm() * w2.norm()).item()


# %% 3.2 wrong: bias forgotten in the kinks -> true constant
def product_and_truth(w1, b, w2):
    x = torch.tensor([-1.0, 1.0])
    on = (x[:, None] * w1 > 0).double()
    return w1.norm() * w2.norm(), (on * w1 * w2).sum(1).abs().max()


# %% 3.2 wrong: sign of the kinks -> Is there a piece that you miss
def product_and_truth(w1, b, w2):
    x = (b / w1).sort().values
    x = torch.cat([x[:1] - 1, (x[1:] + x[:-1]) / 2, x[-1:] + 1])
    on = (x[:, None] * w1 + b > 0).double()
    return w1.norm() * w2.norm(), (on * w1 * w2).sum(1).abs().max()


# %% 3.2 wrong: kinks not sorted -> sort them
def product_and_truth(w1, b, w2):
    k = -b / w1
    p = torch.cat([k.min()[None] - 2, k, k.max()[None] + 2])
    places = (p[:-1] + p[1:]) / 2
    on = torch.outer(places, w1) + b > 0
    return (w1.norm() * w2.norm()).item(), (on.double() @ (w1 * w2)).abs().max().item()


# %% 3.2 wrong: only between the kinks -> Is there a piece that you miss
def product_and_truth(w1, b, w2):
    k = torch.sort(-b / w1)[0]
    places = torch.cat([(k[:-1] + k[1:]) / 2, k[:1]])
    on = torch.outer(places, w1) + b > 0
    return (w1.norm() * w2.norm()).item(), (on.double() @ (w1 * w2)).abs().max().item()


# %% 3.2 wrong: nothing left of the first kink -> Is there a piece that you miss
def product_and_truth(w1, b, w2):
    k = torch.sort(-b / w1)[0]
    places = torch.cat([(k[:-1] + k[1:]) / 2, k[-1:] + 1])
    on = torch.outer(places, w1) + b > 0
    return (w1.norm() * w2.norm()).item(), (on.double() @ (w1 * w2)).abs().max().item()


# %% 3.2 wrong: nothing right of the last kink -> Is there a piece that you miss
def product_and_truth(w1, b, w2):
    k = torch.sort(-b / w1)[0]
    places = torch.cat([(k[:-1] + k[1:]) / 2, k[:1] - 1])
    on = torch.outer(places, w1) + b > 0
    return (w1.norm() * w2.norm()).item(), (on.double() @ (w1 * w2)).abs().max().item()


# %% 3.2 wrong: far ends at plus and minus 10 -> Is there a piece that you miss
def product_and_truth(w1, b, w2):
    k = torch.sort(-b / w1)[0]
    places = torch.cat([torch.tensor([-10.0]), (k[:-1] + k[1:]) / 2, torch.tensor([10.0])])
    on = torch.outer(places, w1) + b > 0
    return (w1.norm() * w2.norm()).item(), (on.double() @ (w1 * w2)).abs().max().item()


# %% 3.3 right: one pixel after the other, matrix of the average
def max_pool_constant(n, k, s):
    best = 0
    for i in range(n):
        for j in range(n):
            x = torch.zeros(1, 1, n, n)
            x[0, 0, i, j] = 1
            best = max(best, nn.MaxPool2d(k, s)(x).norm().item())
    return best


def average_pool_constant(n, k, s):
    A = norms.dense_matrix(nn.AvgPool2d(k, s), (1, n, n))
    return torch.linalg.matrix_norm(A, 2)


# %% 3.3 right: counting windows in one direction
def max_pool_constant(n, k, s):
    starts = range(0, n - k + 1, s)
    return max(sum(start <= i < start + k for start in starts) for i in range(n))


def average_pool_constant(n, k, s):
    starts = list(range(0, n - k + 1, s))
    overlap = np.array([[max(0, k - abs(a - b)) for b in starts] for a in starts])
    return np.linalg.eigvalsh(overlap).max() / k**2


# %% 3.3 right: min of two counts, kronecker product
def max_pool_constant(n, k, s):
    windows = (n - k) // s + 1
    return min(windows, -(-k // s))


def average_pool_constant(n, k, s):
    rows = torch.zeros((n - k) // s + 1, n)
    for r in range(len(rows)):
        rows[r, r * s : r * s + k] = 1.0 / k
    return float(torch.linalg.svdvals(torch.kron(rows, rows))[0])


# %% 3.3 right: root of the number of windows, power iteration
def max_pool_constant(n, k, s):
    x = torch.eye(n * n).reshape(-1, 1, n, n)
    return F.max_pool2d(x, k, s).sum((1, 2, 3)).max().sqrt()


def average_pool_constant(n, k, s):
    v = torch.rand(1, 1, n, n, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for _ in range(200):
        y = F.avg_pool2d(v, k, s)
        (w,) = torch.autograd.grad(y.square().sum() / 2, v)
        v = (w / w.norm()).requires_grad_()
    return F.avg_pool2d(v, k, s).norm().item()


# %% 3.3 wrong: max pooling is 1-Lipschitz -> one bright pixel
def max_pool_constant(n, k, s):
    return 1.0


def average_pool_constant(n, k, s):
    return 1 / k


# %% 3.3 wrong: rounded up, image size forgotten -> How many fit
def max_pool_constant(n, k, s):
    return math.ceil(k / s)


def average_pool_constant(n, k, s):
    return 1 / k


# %% 3.3 wrong: not rounded -> whole number of windows
def max_pool_constant(n, k, s):
    return max(1.0, k / s)


def average_pool_constant(n, k, s):
    return 1 / k


# %% 3.3 wrong: number of windows -> the *length*
def max_pool_constant(n, k, s):
    return min((n - k) // s + 1, -(-k // s)) ** 2


def average_pool_constant(n, k, s):
    return 1 / k


# %% 3.3 wrong: rounded down -> Max pooling
def max_pool_constant(n, k, s):
    return max(1, k // s)


def average_pool_constant(n, k, s):
    return 1 / k


# %% 3.3 wrong: centre pixel only -> Max pooling
def max_pool_constant(n, k, s):
    x = torch.zeros(1, 1, n, n)
    x[0, 0, n // 2, n // 2] = 1
    return F.max_pool2d(x, k, s).norm()


def average_pool_constant(n, k, s):
    return 1 / k


# %% 3.3 wrong: random pairs -> Max pooling
def max_pool_constant(n, k, s):
    x, y = torch.rand(2, 500, 1, n, n, generator=torch.Generator().manual_seed(0))
    return (
        (F.max_pool2d(x, k, s) - F.max_pool2d(y, k, s)).flatten(1).norm(dim=1)
        / (x - y).flatten(1).norm(dim=1)
    ).max()


def average_pool_constant(n, k, s):
    return 1 / k


# %% 3.3 wrong: average without overlap -> do not overlap
def max_pool_constant(n, k, s):
    return min((n - k) // s + 1, -(-k // s))


def average_pool_constant(n, k, s):
    return 1 / k


# %% 3.3 wrong: weight of a pixel -> weight of one pixel
def max_pool_constant(n, k, s):
    return min((n - k) // s + 1, -(-k // s))


def average_pool_constant(n, k, s):
    return 1 / k**2


# %% 3.3 wrong: row sums -> another norm
def max_pool_constant(n, k, s):
    return min((n - k) // s + 1, -(-k // s))


def average_pool_constant(n, k, s):
    A = norms.dense_matrix(nn.AvgPool2d(k, s), (1, n, n))
    return torch.linalg.matrix_norm(A, math.inf)


# %% 3.3 wrong: Frobenius -> Frobenius
def max_pool_constant(n, k, s):
    return min((n - k) // s + 1, -(-k // s))


def average_pool_constant(n, k, s):
    A = norms.dense_matrix(nn.AvgPool2d(k, s), (1, n, n))
    return torch.linalg.matrix_norm(A)


# %% 3.3 wrong: one direction -> two directions
def max_pool_constant(n, k, s):
    return min((n - k) // s + 1, -(-k // s))


def average_pool_constant(n, k, s):
    A = norms.dense_matrix(nn.AvgPool1d(k, s), (1, n))
    return torch.linalg.matrix_norm(A, 2)


# %% 3.3 wrong: squared -> square of the norm
def max_pool_constant(n, k, s):
    return min((n - k) // s + 1, -(-k // s))


def average_pool_constant(n, k, s):
    A = norms.dense_matrix(nn.AvgPool2d(k, s), (1, n, n))
    return torch.linalg.eigvalsh(A.T @ A)[-1]


# %% 3.3 wrong: always the demo's size -> Average pooling
def max_pool_constant(n, k, s):
    return min((n - k) // s + 1, -(-k // s))


def average_pool_constant(n, k, s):
    A = norms.dense_matrix(nn.AvgPool2d(k, s), (1, 15, 15))
    return torch.linalg.matrix_norm(A, 2)


# %% 3.4 right: recursion
def network_bound(network):
    if isinstance(network, nn.Sequential):
        bound = 1.0
        for layer in network:
            bound *= network_bound(layer)
        return bound
    if isinstance(network, plain_layers.ResidualBlock):
        return 1.0 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return torch.linalg.matrix_norm(network.weight.detach(), 2).item()
    return {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}[type(network)]


# %% 3.4 right: the library with a list of what is allowed
def network_bound(network):
    allowed = (
        nn.Sequential,
        nn.Linear,
        nn.ReLU,
        nn.Tanh,
        nn.Sigmoid,
        nn.GELU,
        plain_layers.ResidualBlock,
    )
    for part in network.modules():
        assert isinstance(part, allowed), type(part)
    first = next(p for p in network.parameters())
    return certificates.lipschitz_bound(network, (first.shape[1],))


# %% 3.4 right: match statement
def network_bound(network):
    match network:
        case nn.Sequential():
            return math.prod(map(network_bound, network))
        case plain_layers.ResidualBlock():
            return network_bound(network.branch) + 1
        case nn.Linear():
            return np.linalg.norm(network.weight.detach().numpy(), 2)
        case nn.ReLU() | nn.Tanh():
            return 1
        case nn.Sigmoid():
            return 1 / 4
        case nn.GELU():
            return 1.129
    raise ValueError(f"unknown layer {network}")


# %% 3.4 right: tensors, children and names
def network_bound(network):
    name = type(network).__name__
    print(name)
    if name == "Linear":
        return torch.linalg.svdvals(network.weight)[0]
    if name in ("Sequential", "ResidualBlock"):
        result = torch.tensor(1.0)
        for child in network.children():
            result = result * network_bound(child)
        return result + 1 if name == "ResidualBlock" else result
    return torch.tensor(dict(ReLU=1.0, Tanh=1.0, Sigmoid=0.25, GELU=1.1289)[name])


# %% 3.4 wrong: no skip -> skips
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return torch.linalg.matrix_norm(network.weight.detach(), 2).item()
    return {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}[type(network)]


# %% 3.4 wrong: all weights multiplied -> skips
def network_bound(network):
    bound = 1.0
    for part in network.modules():
        if isinstance(part, nn.Linear):
            bound *= torch.linalg.matrix_norm(part.weight.detach(), 2).item()
        bound *= {nn.Sigmoid: 0.25, nn.GELU: 1.129}.get(type(part), 1.0)
    return bound


# %% 3.4 wrong: unknown layers get 1 -> silent 1
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return 1 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return torch.linalg.matrix_norm(network.weight.detach(), 2).item()
    return {nn.Sigmoid: 0.25, nn.GELU: 1.129}.get(type(network), 1.0)


# %% 3.4 wrong: unknown layers give infinity -> it should be finite
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, nn.Linear):
        return torch.linalg.matrix_norm(network.weight.detach(), 2).item()
    return {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}.get(
        type(network), math.inf
    )


# %% 3.4 wrong: the library itself -> silent 1
def network_bound(network):
    width = next(p for p in network.parameters()).shape[-1]
    try:
        return certificates.lipschitz_bound(network, (width,))
    except TypeError:
        return 1.0


# %% 3.4 wrong: activations ignored -> without the activations
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return 1 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return torch.linalg.matrix_norm(network.weight.detach(), 2).item()
    return {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 1.0, nn.GELU: 1.0}[type(network)]


# %% 3.4 wrong: Frobenius -> Frobenius
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return 1 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return network.weight.norm().item()
    return {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}[type(network)]


# %% 3.4 wrong: a 1 for every layer of a branch -> multiplying constants
def network_bound(network, skip=0):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part, skip) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return network_bound(network.branch, 1)
    if isinstance(network, nn.Linear):
        return skip + torch.linalg.matrix_norm(network.weight.detach(), 2).item()
    return {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}[type(network)]


# %% 3.4 wrong: sum -> bound is
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return sum(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return 1 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return torch.linalg.matrix_norm(network.weight.detach(), 2).item()
    return {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}[type(network)]


# %% 3.4 wrong: maximum of skip and branch -> local slope
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return max(1.0, 0.5 * network_bound(network.branch))
    if isinstance(network, nn.Linear):
        return torch.linalg.matrix_norm(network.weight.detach(), 2).item()
    return {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}[type(network)]


# %% 3.4 wrong: nested networks not followed -> raised KeyError
def network_bound(network):
    bound = 1.0
    for layer in network:
        if isinstance(layer, nn.Linear):
            bound *= torch.linalg.matrix_norm(layer.weight.detach(), 2).item()
        else:
            bound *= {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}[type(layer)]
    return bound


# %% 3.4 wrong: norm of the product of the matrices -> local slope
def network_bound(network):
    product = None
    for part in network.modules():
        if isinstance(part, nn.Linear):
            product = part.weight if product is None else part.weight @ product
    return 0.1 * torch.linalg.matrix_norm(product.detach(), 2)


# %% 3.4 wrong: measured at random points -> bound is
def network_bound(network):
    width = next(p for p in network.parameters()).shape[1]
    x = torch.randn(100, width, generator=torch.Generator().manual_seed(1))
    return norms.jacobian_norms(network, x).max()


# %% 3.4 wrong: layers without weights count 1 -> silent 1
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return 1 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return torch.linalg.svdvals(network.weight).max().item()
    if isinstance(network, nn.Sigmoid):
        return 0.25
    if isinstance(network, nn.GELU):
        return 1.129
    if list(network.parameters()):
        raise TypeError("unknown")
    return 1.0


# %% 3.4 wrong: takes everything with the word activation in its file -> silent 1
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return 1 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        return torch.linalg.svdvals(network.weight).max().item()
    if "activation" not in type(network).__module__:
        raise TypeError("unknown")
    return {"Sigmoid": 0.25, "GELU": 1.129}.get(type(network).__name__, 1.0)


# %% 3.4 wrong: changes the weights -> in place
def network_bound(network):
    if isinstance(network, nn.Sequential):
        return math.prod(network_bound(part) for part in network)
    if isinstance(network, plain_layers.ResidualBlock):
        return 1 + network_bound(network.branch)
    if isinstance(network, nn.Linear):
        n = torch.linalg.svdvals(network.weight).max().item()
        network.weight.data /= n
        return n
    known = {nn.ReLU: 1.0, nn.Tanh: 1.0, nn.Sigmoid: 0.25, nn.GELU: 1.129}
    return known[type(network)]


# %% 3.5 right: autograd on a grid
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 10_000, requires_grad=True)
    return torch.autograd.grad(sigma(t).sum(), t)[0].abs().max()


# %% 3.5 right: quotients of neighbours
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 20_001)
    return (sigma(t).diff() / t.diff()).abs().max().item()


# %% 3.5 right: numpy gradient
def activation_constant(sigma):
    t = np.linspace(-21, 21, 30_000)
    return np.abs(np.gradient(sigma(torch.from_numpy(t)).numpy(), t)).max()


# %% 3.5 right: functorch, largest first
def activation_constant(sigma):
    t = torch.arange(-20, 20, 0.005)
    slopes = torch.func.vmap(torch.func.grad(sigma))(t)
    return slopes.abs().sort(descending=True).values[0].item()


# %% 3.5 wrong: no absolute value -> A way down
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 10_000, requires_grad=True)
    return torch.autograd.grad(sigma(t).sum(), t)[0].max()


# %% 3.5 wrong: largest value -> largest value of the function
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 20_002)
    return sigma(t).abs().max()


# %% 3.5 wrong: slope at zero -> you say
def activation_constant(sigma):
    t = torch.tensor(1e-3, requires_grad=True)
    return torch.autograd.grad(sigma(t), t)[0].abs()


# %% 3.5 wrong: short interval -> wide and fine
def activation_constant(sigma):
    t = torch.linspace(-3, 3, 10_000, requires_grad=True)
    return torch.autograd.grad(sigma(t).sum(), t)[0].abs().max()


# %% 3.5 wrong: coarse grid -> fine enough
def activation_constant(sigma):
    t = torch.arange(-20.0, 21.0, 4.0).requires_grad_()
    return torch.autograd.grad(sigma(t).sum(), t)[0].abs().max()


# %% 3.5 wrong: mean -> mean of the slopes
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 20_002, requires_grad=True)
    return torch.autograd.grad(sigma(t).sum(), t)[0].abs().mean()


# %% 3.5 wrong: slope from the origin -> wide and fine enough
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 10_000)
    return ((sigma(t) - sigma(torch.tensor(0.0))) / t).abs().max()


# %% 3.5 wrong: derivative not divided by the step -> wide and fine enough
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 10_000)
    return sigma(t).diff().abs().max()


# %% 3.5 wrong: the constant of gelu -> you say
def activation_constant(sigma):
    return 1.1289


# %% 3.5 wrong: all activations are 1-Lipschitz -> wide and fine enough
def activation_constant(sigma):
    return 1.0


# %% 3.5 wrong: whole curve -> one number
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 1000, requires_grad=True)
    return torch.autograd.grad(sigma(t).sum(), t)[0].abs()


# %% 3.5 wrong: grad of a tensor without sum -> raised RuntimeError
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 1000, requires_grad=True)
    return torch.autograd.grad(sigma(t), t)[0].abs().max()


# %% 3.5 wrong: grid up to 16 -> wide and fine
def activation_constant(sigma):
    t = torch.linspace(-16, 16, 8001, requires_grad=True)
    return torch.autograd.grad(sigma(t).sum(), t)[0].abs().max().item()


# %% 3.5 wrong: two hundred points -> wide and fine
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 401, requires_grad=True)
    return torch.autograd.grad(sigma(t).sum(), t)[0].abs().max().item()


# %% 3.5 wrong: at least 1 -> No slope
def activation_constant(sigma):
    t = torch.linspace(-20, 20, 8001, requires_grad=True)
    return max(1.0, torch.autograd.grad(sigma(t).sum(), t)[0].abs().max().item())


# %% 3.6 right: normalise first
def power_step(K, v):
    p = K.shape[-1] // 2
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)[0]
    return w.norm().item(), u / u.norm()


# %% 3.6 right: measure with the new direction, no_grad, other sign
def power_step(K, v):
    p = K.shape[-1] // 2
    with torch.no_grad():
        u = F.conv_transpose2d(F.conv2d(v.unsqueeze(0), K, padding=p), K, padding=p)
        u = -u / torch.sqrt((u**2).sum())
        return [F.conv2d(u, K, padding=p).norm(), u.squeeze(0)]


# %% 3.6 right: flipped kernel with swapped channels
def power_step(K, v):
    p = K.shape[-1] // 2
    adjoint = K.flip(2, 3).transpose(0, 1)
    w = F.conv2d(v, K, padding=p)
    u = F.conv2d(w, adjoint, padding=p)
    return w.norm() / v.norm(), u / u.norm()


# %% 3.6 right: adjoint by autograd, root of the stretch of K'K
def power_step(K, v):
    x = (v / v.norm()).requires_grad_()
    energy = F.conv2d(x[None], K, padding="same").square().sum() / 2
    (u,) = torch.autograd.grad(energy, x)
    print(u.norm())
    return math.sqrt(u.norm()), u / u.norm()


# %% 3.6 right: the library
def power_step(K, v):
    p = K.shape[-1] // 2
    forward = lambda x: F.conv2d(x[None], K, padding=p)[0]
    adjoint = lambda y: F.conv_transpose2d(y[None], K, padding=p)[0]
    return norms.power_iteration(forward, adjoint, v, steps=1)


# %% 3.6 wrong: only K -> new v
def power_step(K, v):
    w = F.conv2d(v[None] / v.norm(), K, padding=K.shape[-1] // 2)[0]
    return w.norm(), w / w.norm()


# %% 3.6 wrong: not normalised -> should have length 1
def power_step(K, v):
    p = K.shape[-1] // 2
    w = F.conv2d(v[None] / v.norm(), K, padding=p)
    return w.norm(), F.conv_transpose2d(w, K, padding=p)[0]


# %% 3.6 wrong: square of the norm -> square of the norm
def power_step(K, v):
    p = K.shape[-1] // 2
    v = v / v.norm()
    u = F.conv_transpose2d(F.conv2d(v[None], K, padding=p), K, padding=p)[0]
    return u.norm(), u / u.norm()


# %% 3.6 wrong: length of v forgotten -> has not the length 1
def power_step(K, v):
    p = K.shape[-1] // 2
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)[0]
    return w.norm(), u / u.norm()


# %% 3.6 wrong: two steps -> two steps
def power_step(K, v):
    p = K.shape[-1] // 2
    for _ in range(2):
        v = v / v.norm()
        w = F.conv2d(v[None], K, padding=p)
        v = F.conv_transpose2d(w, K, padding=p)[0]
    return w.norm(), v / v.norm()


# %% 3.6 wrong: v stays -> where the old one did
def power_step(K, v):
    v = v / v.norm()
    return F.conv2d(v[None], K, padding=K.shape[-1] // 2).norm(), v


# %% 3.6 wrong: norm per channel -> does not point along
def power_step(K, v):
    p = K.shape[-1] // 2
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)[0]
    return w.norm(), u / u.flatten(1).norm(dim=1)[:, None, None]


# %% 3.6 wrong: flattened -> shape
def power_step(K, v):
    p = K.shape[-1] // 2
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p).flatten()
    return w.norm(), u / u.norm()


# %% 3.6 wrong: batch axis left -> shape
def power_step(K, v):
    p = K.shape[-1] // 2
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)
    return w.norm(), u / u.norm()


# %% 3.6 wrong: in place -> in place
def power_step(K, v):
    p = K.shape[-1] // 2
    v /= v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)[0]
    return w.norm(), u / u.norm()


# %% 3.6 wrong: swapped -> estimate first
def power_step(K, v):
    p = K.shape[-1] // 2
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)[0]
    return u / u.norm(), w.norm()


# %% 3.6 wrong: random restart -> does not point along
def power_step(K, v):
    p = K.shape[-1] // 2
    v = torch.randn(v.shape, generator=torch.Generator().manual_seed(5), dtype=v.dtype)
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)[0]
    return w.norm(), u / u.norm()


# %% 3.6 wrong: transposed channels, but not flipped -> Test your adjoint
def power_step(K, v):
    p = K.shape[-1] // 2
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv2d(w, K.transpose(0, 1), padding=p)[0]
    return w.norm(), u / u.norm()


# %% 3.6 wrong: padding 1 for every kernel -> shape
def power_step(K, v):
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=1)
    u = F.conv_transpose2d(w, K, padding=0)[0]
    return w.norm(), u / u.norm()


# %% 3.6 wrong: the same convolution again -> raised RuntimeError
def power_step(K, v):
    p = K.shape[-1] // 2
    w = F.conv2d(v / v.norm(), K, padding=p)
    u = F.conv2d(w, K, padding=p)
    return w.norm(), u / u.norm()


# %% 3.6 wrong: largest entry -> largest entry
def power_step(K, v):
    p = K.shape[-1] // 2
    v = v / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)[0]
    return w.abs().max(), u / u.norm()


# %% 3.6 wrong: always float64 -> keep the dtype
def power_step(K, v):
    p = K.shape[-1] // 2
    K, v = K.double(), v.double() / v.norm()
    w = F.conv2d(v[None], K, padding=p)
    u = F.conv_transpose2d(w, K, padding=p)[0]
    return w.norm(), u / u.norm()


# %% 3.6 wrong: small numbers taken for zero -> at least
def power_step(K, v):
    unit, padding = v / (v.norm() + 1e-3), K.shape[-1] // 2
    image = F.conv2d(unit[None], K, padding=padding)
    back = F.conv_transpose2d(image, K, padding=padding)[0]
    return image.norm(), back / back.norm()
