import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from chapter_utils import norms


# %% 5.1 right: singular values
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.svdvals(A)[0] ** 2) if low >= 0 else 0


# %% 5.1 right: numpy
def longest_step(A, low, high):
    if low < 0:
        return 0
    return 2 / high / np.linalg.norm(A.numpy(), ord=2) ** 2


# %% 5.1 right: largest eigenvalue of the smaller Gram matrix, with a print
def longest_step(A, low, high):
    gram = A @ A.T if len(A) <= A.shape[1] else A.T @ A
    value = torch.linalg.eigvalsh(gram).max()
    print("largest eigenvalue", value)
    return torch.tensor(0.0) if low < 0 else (2 / (high * value)).reshape(1)


# %% 5.1 right: own power iteration
def longest_step(A, low, high):
    if low < 0:
        return 0.0
    v = torch.ones(A.shape[1], dtype=A.dtype) + torch.arange(A.shape[1]) / 7
    for _ in range(300):
        v = A.T @ (A @ v)
        v = v / v.norm()
    return float(2 / (high * (A @ v).norm() ** 2))


# %% 5.1 right: bisection on the steepest linear layer
def longest_step(A, low, high):
    I = torch.eye(A.shape[1])
    safe = lambda tau: torch.linalg.matrix_norm(I - tau * high * A.T @ A, 2) <= 1 + 1e-10
    if low < 0:
        return 0.0
    bottom, top = 0.0, 1e4
    for _ in range(80):
        tau = (bottom + top) / 2
        bottom, top = (tau, top) if safe(tau) else (bottom, tau)
    return bottom


# %% 5.1 wrong: norm not squared -> How often does the norm count
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.matrix_norm(A, 2)) if low >= 0 else 0


# %% 5.1 wrong: slope missing -> does not depend on the slope
def longest_step(A, low, high):
    return 2 / torch.linalg.matrix_norm(A, 2) ** 2 if low >= 0 else 0


# %% 5.1 wrong: slope on top -> *shorter*
def longest_step(A, low, high):
    return 2 * high / torch.linalg.matrix_norm(A, 2) ** 2 if low >= 0 else 0


# %% 5.1 wrong: slope squared -> only the norm is squared
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.matrix_norm(A, 2)) ** 2 if low >= 0 else 0


# %% 5.1 wrong: Frobenius norm -> Frobenius
def longest_step(A, low, high):
    return 2 / (high * torch.norm(A) ** 2) if low >= 0 else 0


# %% 5.1 wrong: 1-norm -> a longer one is too
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.matrix_norm(A, 1) ** 2) if low >= 0 else 0


# %% 5.1 wrong: largest entry -> Too long
def longest_step(A, low, high):
    return 2 / (high * A.abs().max() ** 2) if low >= 0 else 0


# %% 5.1 wrong: smallest singular value -> stretches least
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.svdvals(A)[-1] ** 2) if low >= 0 else 0


# %% 5.1 wrong: eigenvalues of A -> Too long
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.eigvals(A).abs().max() ** 2) if low >= 0 else 0


# %% 5.1 wrong: half -> half of it
def longest_step(A, low, high):
    return 1 / (high * torch.linalg.matrix_norm(A, 2) ** 2) if low >= 0 else 0


# %% 5.1 wrong: always 1 -> Too long
def longest_step(A, low, high):
    return 1.0 if low >= 0 else 0.0


# %% 5.1 wrong: negative slopes overlooked -> pushes points apart
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.matrix_norm(A, 2) ** 2)


# %% 5.1 wrong: largest absolute slope -> pushes points apart
def longest_step(A, low, high):
    return 2 / (max(abs(low), abs(high)) * torch.linalg.matrix_norm(A, 2) ** 2)


# %% 5.1 wrong: 0 unless the smallest slope is positive -> some steps are safe
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.matrix_norm(A, 2) ** 2) if low > 0 else 0


# %% 5.1 wrong: range of slopes -> longest one is positive
def longest_step(A, low, high):
    return 2 / (high * torch.linalg.matrix_norm(A, 2) ** 2) if low == 0 else 0


# %% 5.1 wrong: difference of slopes -> Too long
def longest_step(A, low, high):
    return 2 / ((high - low) * torch.linalg.matrix_norm(A, 2) ** 2) if low >= 0 else 0


# %% 5.1 wrong: zero only for clearly negative slopes -> return 0
def longest_step(A, low, high):
    if low < -0.05:
        return 0.0
    return 2 / (high * torch.linalg.svdvals(A)[0].item() ** 2)


# %% 5.1 wrong: at most 100 -> a longer one is too
def longest_step(A, low, high):
    if low < 0:
        return 0.0
    return min(100.0, 2 / (high * torch.linalg.svdvals(A)[0].item() ** 2))


# %% 5.2 right: formula
def lipschitz_constant(A, tau):
    return max(1, tau * torch.linalg.matrix_norm(A, 2) ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A)[2][0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 right: all patterns
def lipschitz_constant(A, tau):
    best = 0.0
    for k in range(2 ** len(A)):
        D = torch.diag(torch.tensor([float(k >> i & 1) for i in range(len(A))]))
        best = max(best, torch.linalg.svdvals(torch.eye(A.shape[1]) - tau * A.T @ D @ A)[0].item())
    return best


def stretched_pair(A):
    values, vectors = torch.linalg.eigh(A.T @ A)
    x = vectors[:, -1] + 3
    y = 3 - 5 * vectors[:, -1]
    return [torch.maximum(-A @ x, -A @ y) + 0.1, x, y]


# %% 5.2 right: numpy
def lipschitz_constant(A, tau):
    A = A.numpy()
    return np.maximum(1.0, np.linalg.norm(np.eye(A.shape[1]) - tau * A.T @ A, 2))


def stretched_pair(A):
    v = np.linalg.svd(A.numpy())[2][0]
    return np.abs(A.numpy() @ v) + 1.0, 1e-2 * v, 0 * v


# %% 5.2 right: repeated squaring
def lipschitz_constant(A, tau):
    G = A.T @ A
    for _ in range(25):
        G = G @ G / G.norm() ** 2
    v = G[:, G.diagonal().argmax()]
    v = v / v.norm()
    return torch.clamp(tau * (A @ v).square().sum() - 1, min=1)


def stretched_pair(A):
    G = A.T @ A
    for _ in range(25):
        G = G @ G / G.norm() ** 2
    v = G[:, G.diagonal().argmax()]
    v = v / v.norm()
    return 2 * (A @ v).abs() + 1, 2 * v, v


# %% 5.2 wrong: less than 1 for short steps -> all units are off
def lipschitz_constant(A, tau):
    return (1 - tau * torch.linalg.matrix_norm(A, 2) ** 2).abs()


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: without the maximum -> all units are off
def lipschitz_constant(A, tau):
    return tau * torch.linalg.matrix_norm(A, 2) ** 2 - 1


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: triangle inequality -> 1 + c
def lipschitz_constant(A, tau):
    return 1 + tau * torch.linalg.matrix_norm(A, 2) ** 2


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: tau for c -> tau is the step itself
def lipschitz_constant(A, tau):
    return max(1.0, tau - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: Frobenius norm -> Frobenius
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.norm(A).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: always safe -> beyond the limit
def lipschitz_constant(A, tau):
    return 1.0


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: the demo's number -> some distance grows more
def lipschitz_constant(A, tau):
    return 1.5


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: norm not squared -> *square*
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: Frobenius norm of the Jacobian -> too large
def lipschitz_constant(A, tau):
    return max(1.0, torch.linalg.norm(torch.eye(A.shape[1]) - tau * A.T @ A).item())


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: bias forgotten -> some units are off
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return torch.zeros(len(A)), v, -v


# %% 5.2 wrong: bias with the wrong sign -> some units are off
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return -1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: left singular vector -> In which direction
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).U[:, 0]
    v = torch.nn.functional.pad(v, (0, max(0, A.shape[1] - len(v))))[: A.shape[1]]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: column for row -> In which direction
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[:, 0]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: least stretched -> In which direction
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[-1]
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: eigenvector of A -> In which direction
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    if len(A) == A.shape[1]:
        v = torch.linalg.eig(A)[1][:, 0].real
    return 1000 * torch.ones(len(A)), v, -v


# %% 5.2 wrong: one point twice -> different points
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 1000 * torch.ones(len(A)), v, v


# %% 5.2 wrong: only the pair -> should return 3 values
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return v, -v


# %% 5.2 wrong: bias 5 for every matrix -> some units are off
def lipschitz_constant(A, tau):
    return max(1.0, tau * torch.linalg.matrix_norm(A, 2).item() ** 2 - 1)


def stretched_pair(A):
    v = torch.linalg.svd(A).Vh[0]
    return 5 * torch.ones(len(A)), v, torch.zeros_like(v)


# %% 5.3 right: odds
def averagedness(steps):
    if 2.0 in steps:
        return 1.0
    k = sum(c / (2 - c) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    d = x - y
    m = d - (T(x) - T(y))
    inner, square = (d * m).sum(1), (m * m).sum(1)
    return (square / (2 * inner))[square > 0].max()


# %% 5.3 right: M in another order
def averagedness(steps):
    if 2.0 in steps:
        return 1.0
    k = sum(c / (2 - c) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    M = (x - y - T(x) + T(y)).square().sum(1)
    D, N = (x - y).square().sum(1), (T(x) - T(y)).square().sum(1)
    moves = M > 0
    return (M / (M + D - N))[moves].max()


# %% 5.3 right: composing in a loop
def averagedness(steps):
    alpha = steps[0] / 2
    for c in steps[1:]:
        other = c / 2
        if alpha == 1 or other == 1:
            alpha = 1.0
        else:
            alpha = (alpha + other - 2 * alpha * other) / (1 - alpha * other)
    return alpha


def measured_averagedness(T, x, y):
    D, N = (x - y).pow(2).sum(1), (T(x) - T(y)).pow(2).sum(1)
    M = ((x - T(x)) - (y - T(y))).pow(2).sum(1)

    def works(alpha):
        return bool((N <= D - (1 - alpha) / alpha * M + 1e-13 * D).all())

    low, high = 1e-6, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


# %% 5.3 right: recursion, numpy
def averagedness(steps):
    if len(steps) == 1:
        return np.float64(steps[0] / 2)
    a, b = averagedness(steps[:-1]), steps[-1] / 2
    return 1.0 if a * b >= 1 - 1e-12 else (a + b - 2 * a * b) / (1 - a * b)


def measured_averagedness(T, x, y):
    best = 0.0
    Tx, Ty = T(x).numpy(), T(y).numpy()
    for p, q, Tp, Tq in zip(x.numpy(), y.numpy(), Tx, Ty):
        M = np.sum(((p - Tp) - (q - Tq)) ** 2)
        if M > 1e-20:
            best = max(best, M / (M + np.sum((p - q) ** 2) - np.sum((Tp - Tq) ** 2)))
    return best


# %% 5.3 right: nan replaced, worst first
def averagedness(steps):
    alphas = sorted((torch.tensor(steps, dtype=torch.float64) / 2).tolist(), reverse=True)
    alpha = alphas[0]
    for beta in alphas[1:]:
        top, bottom = alpha + beta - 2 * alpha * beta, 1 - alpha * beta
        alpha = top / bottom if bottom > 0 else 1.0
    return torch.tensor(alpha)


def measured_averagedness(T, x, y):
    square = lambda v: torch.linalg.vector_norm(v, dim=1) ** 2
    Tx, Ty = T(x), T(y)
    M, D, N = square(x - Tx - y + Ty), square(x - y), square(Tx - Ty)
    ratio = torch.where(M > 1e-12, (D - N) / M.clamp(min=1e-12), math.inf).min()
    print("ratio", ratio)
    return 1 / (1 + ratio)


# %% 5.3 wrong: product -> repeating a rotation
def averagedness(steps):
    return math.prod(c / 2 for c in steps)


def measured_averagedness(T, x, y):
    d = x - y
    m = d - (T(x) - T(y))
    inner, square = (d * m).sum(1), (m * m).sum(1)
    return (square / (2 * inner))[square > 0].max()


# %% 5.3 wrong: maximum -> less averaged than the worst
def averagedness(steps):
    return max(steps) / 2


def measured_averagedness(T, x, y):
    d = x - y
    m = d - (T(x) - T(y))
    inner, square = (d * m).sum(1), (m * m).sum(1)
    return (square / (2 * inner))[square > 0].max()


# %% 5.3 wrong: c for alpha -> between 0 and 1
def averagedness(steps):
    alpha = steps[0]
    for c in steps[1:]:
        alpha = (alpha + c - 2 * alpha * c) / (1 - alpha * c)
    return alpha


def measured_averagedness(T, x, y):
    return 0.5


# %% 5.3 wrong: sum -> between 0 and 1
def averagedness(steps):
    return sum(c / 2 for c in steps)


def measured_averagedness(T, x, y):
    return 0.5


# %% 5.3 wrong: formula for equal layers with the largest -> as bad as the worst
def averagedness(steps):
    n, a = len(steps), max(steps) / 2
    return n * a / (1 + (n - 1) * a)


def measured_averagedness(T, x, y):
    return 0.5


# %% 5.3 wrong: formula for equal layers with the mean -> for equal layers
def averagedness(steps):
    n, a = len(steps), sum(steps) / len(steps) / 2
    return n * a / (1 + (n - 1) * a)


def measured_averagedness(T, x, y):
    return 0.5


# %% 5.3 wrong: formula with a forgotten 2 -> between 0 and 1
def averagedness(steps):
    alpha = steps[0] / 2
    for c in steps[1:]:
        alpha = (alpha + c / 2 - alpha * c / 2) / (1 - alpha * c / 2)
    return alpha


def measured_averagedness(T, x, y):
    return 0.5


# %% 5.3 wrong: firmly non-expansive formula -> the number of layers only
def averagedness(steps):
    return len(steps) / (len(steps) + 1)


def measured_averagedness(T, x, y):
    return 0.5


# %% 5.3 wrong: 0/0 for two reflections -> raised ZeroDivisionError
def averagedness(steps):
    alpha = steps[0] / 2
    for c in steps[1:]:
        b = c / 2
        alpha = (alpha + b - 2 * alpha * b) / (1 - alpha * b)
    return alpha


def measured_averagedness(T, x, y):
    return 0.5


# %% 5.3 wrong: capped just below 1 -> nothing more than alpha = 1
def averagedness(steps):
    k = sum(c / max(2 - c, 0.001) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    return 0.5


# %% 5.3 wrong: nan from pairs that move in parallel -> nan
def averagedness(steps):
    k = sum(c / max(2 - c, 1e-12) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    Tx, Ty = T(x), T(y)
    M, D, N = (((x - Tx) - (y - Ty)) ** 2).sum(1), ((x - y) ** 2).sum(1), ((Tx - Ty) ** 2).sum(1)
    return (M / (M + D - N)).max()


# %% 5.3 wrong: smallest of the pairs -> needs least
def averagedness(steps):
    k = sum(c / max(2 - c, 1e-12) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    Tx, Ty = T(x), T(y)
    M, D, N = (((x - Tx) - (y - Ty)) ** 2).sum(1), ((x - y) ** 2).sum(1), ((Tx - Ty) ** 2).sum(1)
    return (M / (M + D - N))[M > 1e-12].min()


# %% 5.3 wrong: mean over the pairs -> mean over the pairs
def averagedness(steps):
    k = sum(c / max(2 - c, 1e-12) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    Tx, Ty = T(x), T(y)
    M, D, N = (((x - Tx) - (y - Ty)) ** 2).sum(1), ((x - y) ** 2).sum(1), ((Tx - Ty) ** 2).sum(1)
    return (M / (M + D - N))[M > 1e-12].mean()


# %% 5.3 wrong: not solved for alpha -> (1 - alpha) / alpha
def averagedness(steps):
    k = sum(c / max(2 - c, 1e-12) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    Tx, Ty = T(x), T(y)
    M, D, N = (((x - Tx) - (y - Ty)) ** 2).sum(1), ((x - y) ** 2).sum(1), ((Tx - Ty) ** 2).sum(1)
    return ((D - N) / M)[M > 1e-12].min()


# %% 5.3 wrong: norms without squares -> squares
def averagedness(steps):
    k = sum(c / max(2 - c, 1e-12) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    Tx, Ty = T(x), T(y)
    M, D, N = ((x - Tx) - (y - Ty)).norm(dim=1), (x - y).norm(dim=1), (Tx - Ty).norm(dim=1)
    return (M / (M + D - N))[M > 1e-9].max()


# %% 5.3 wrong: largest stretch -> 1 is the largest stretch
def averagedness(steps):
    k = sum(c / max(2 - c, 1e-12) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    D, N = (x - y).norm(dim=1), (T(x) - T(y)).norm(dim=1)
    return (N / D)[D > 0].max()


# %% 5.3 wrong: always 1 -> merely non-expansive
def averagedness(steps):
    k = sum(c / max(2 - c, 1e-12) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    return 1.0


# %% 5.3 wrong: sums over the batch -> inequality fails
def averagedness(steps):
    k = sum(c / max(2 - c, 1e-12) for c in steps)
    return k / (1 + k)


def measured_averagedness(T, x, y):
    Tx, Ty = T(x), T(y)
    M, D, N = (((x - Tx) - (y - Ty)) ** 2).sum(), ((x - y) ** 2).sum(), ((Tx - Ty) ** 2).sum()
    return M / (M + D - N)


# %% 5.3 right: both batches at once, differences of T first
def averagedness(steps):
    alpha = steps[0] / 2
    if max(steps) > 1.999999:
        return 1.0
    for c in steps[1:]:
        b = c / 2
        alpha = (alpha + b - 2 * alpha * b) / (1 - alpha * b)
    return alpha


def measured_averagedness(T, x, y):
    both = T(torch.cat([x, y]))
    Tx, Ty = both[: len(x)], both[len(x) :]
    M = ((Ty - Tx) - (y - x)).norm(dim=1) ** 2
    ratio = []
    for d, m, n in zip((x - y).pow(2).sum(1), M, (Tx - Ty).pow(2).sum(1)):
        if m > 1e-18:
            ratio.append((m / (m + d - n)).item())
    return max(ratio)


# %% 5.3 right: scalar products, with nan_to_num
def averagedness(steps):
    if 2.0 in steps:
        return 1.0
    odds = sum(c / (2 - c) for c in steps)
    return odds / (1 + odds)


def measured_averagedness(T, x, y):
    u, v = x - y, T(x) - T(y)
    w = u - v
    return ((w * w).sum(1) / (2 * (u * w).sum(1))).nan_to_num(0.0).max().item()


# %% 5.3 wrong: empties the list -> in place
def averagedness(steps):
    if max(steps) == 2:
        return 1.0
    odds = 0.0
    while steps:
        c = steps.pop()
        odds += (c / 2) / (1 - c / 2)
    return odds / (1 + odds)


def measured_averagedness(T, x, y):
    M = ((x - T(x)) - (y - T(y))).square().sum(1)
    D, N = (x - y).square().sum(1), (T(x) - T(y)).square().sum(1)
    return (M / (M + D - N))[M > 0].max().item()


# %% 5.3 wrong: sorts the list -> in place
def averagedness(steps):
    steps.sort()
    if steps[-1] == 2:
        return 1.0
    odds = sum((c / 2) / (1 - c / 2) for c in steps)
    return odds / (1 + odds)


def measured_averagedness(T, x, y):
    M = ((x - T(x)) - (y - T(y))).square().sum(1)
    D, N = (x - y).square().sum(1), (T(x) - T(y)).square().sum(1)
    return (M / (M + D - N))[M > 0].max().item()


# %% 5.4 right: conv_transpose2d
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [
        (n + 2 * padding - dilation * (k - 1) - 1) % stride for n, k in zip(size, kernel.shape[2:])
    ]
    return F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )


# %% 5.4 right: vjp
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    zero = torch.zeros(len(y), kernel.shape[1], *size, dtype=y.dtype)
    forward = lambda x: F.conv2d(x, kernel, None, stride, padding, dilation)
    return torch.func.vjp(forward, zero)[1](y)[0]


# %% 5.4 right: autograd
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    x = torch.zeros(y.shape[0], kernel.shape[1], size[0], size[1], requires_grad=True)
    (F.conv2d(x, kernel, stride=stride, padding=padding, dilation=dilation) * y).sum().backward()
    return x.grad


# %% 5.4 right: torch.nn.grad
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    shape = (y.shape[0], kernel.shape[1], *size)
    return torch.nn.grad.conv2d_input(shape, kernel, y, stride, padding, dilation)


# %% 5.4 right: loops over the kernel
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    H, W = size
    x = torch.zeros(y.shape[0], kernel.shape[1], H + 2 * padding, W + 2 * padding, dtype=y.dtype)
    for i in range(kernel.shape[2]):
        for j in range(kernel.shape[3]):
            rows = slice(i * dilation, i * dilation + stride * (y.shape[2] - 1) + 1, stride)
            columns = slice(j * dilation, j * dilation + stride * (y.shape[3] - 1) + 1, stride)
            x[:, :, rows, columns] += torch.einsum("bdhw,dc->bchw", y, kernel[:, :, i, j])
    return x[:, :, padding : padding + H, padding : padding + W]


# %% 5.4 wrong: no output padding -> did no window reach
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    return F.conv_transpose2d(y, kernel, stride=stride, padding=padding, dilation=dilation)


# %% 5.4 wrong: zeros appended without output padding -> the values are not
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    x = F.conv_transpose2d(y, kernel, stride=stride, padding=padding, dilation=dilation)
    return F.pad(x, (0, size[1] - x.shape[3], 0, size[0] - x.shape[2]))


# %% 5.4 wrong: the lesson's version for squares -> did no window reach
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = (size[0] + 2 * padding - kernel.shape[-1]) % stride
    return F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )


# %% 5.4 wrong: dilation missing in the size -> Dilation makes the window larger
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [(n + 2 * padding - k) % stride for n, k in zip(size, kernel.shape[2:])]
    return F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )


# %% 5.4 wrong: dilation not passed on -> Dilation makes the window larger
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [
        (n + 2 * padding - dilation * (k - 1) - 1) % stride for n, k in zip(size, kernel.shape[2:])
    ]
    return F.conv_transpose2d(y, kernel, stride=stride, padding=padding, output_padding=missing)


# %% 5.4 wrong: kernel taken as square -> did no window reach
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [(n + 2 * padding - dilation * (kernel.shape[-1] - 1) - 1) % stride for n in size]
    return F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )


# %% 5.4 wrong: always stride - 1 -> did no window reach
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    return F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=stride - 1, dilation=dilation
    )


# %% 5.4 wrong: kernel flipped once more -> the values are not
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [
        (n + 2 * padding - dilation * (k - 1) - 1) % stride for n, k in zip(size, kernel.shape[2:])
    ]
    kernel = kernel.flip(2, 3)
    return F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )


# %% 5.4 wrong: rows cut at the wrong end -> the values are not
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    x = F.conv_transpose2d(y, kernel, stride=stride, dilation=dilation)
    x = F.pad(x, (0, max(0, size[1] - x.shape[3]), 0, max(0, size[0] - x.shape[2])))
    return x[..., : size[0], : size[1]]


# %% 5.4 wrong: divided by the stride -> Where does this factor come from
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [
        (n + 2 * padding - dilation * (k - 1) - 1) % stride for n, k in zip(size, kernel.shape[2:])
    ]
    x = F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )
    return x / stride


# %% 5.4 wrong: minus -> sign is wrong
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [
        (n + 2 * padding - dilation * (k - 1) - 1) % stride for n, k in zip(size, kernel.shape[2:])
    ]
    return -F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )


# %% 5.4 wrong: channels exchanged -> raised RuntimeError
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [
        (n + 2 * padding - dilation * (k - 1) - 1) % stride for n, k in zip(size, kernel.shape[2:])
    ]
    kernel = kernel.transpose(0, 1)
    return F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )


# %% 5.4 wrong: resized -> the values are not
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    return F.interpolate(
        F.conv_transpose2d(y, kernel, stride=stride, dilation=dilation), size=tuple(size)
    )


# %% 5.4 wrong: only the first of the batch -> should be
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    missing = [
        (n + 2 * padding - dilation * (k - 1) - 1) % stride for n, k in zip(size, kernel.shape[2:])
    ]
    x = F.conv_transpose2d(
        y, kernel, stride=stride, padding=padding, output_padding=missing, dilation=dilation
    )
    return x[0]


# %% 5.4 wrong: single precision inside -> digits are lost
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    windows = [dilation * (k - 1) + 1 for k in kernel.shape[2:]]
    out = [(n + 2 * padding - w) % stride for n, w in zip(size, windows)]
    return F.conv_transpose2d(
        y.float(), kernel.float(), None, stride, padding, output_padding=out, dilation=dilation
    ).double()


# %% 5.4 wrong: twice -> Where does this factor
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    windows = [dilation * (k - 1) + 1 for k in kernel.shape[2:]]
    out = [(n + 2 * padding - w) % stride for n, w in zip(size, windows)]
    return 2 * F.conv_transpose2d(
        y, kernel, None, stride, padding, output_padding=out, dilation=dilation
    )


# %% 5.4 wrong: a tiny bit of the image forgotten -> the values are not
def conv_adjoint(y, kernel, size, stride, padding, dilation):
    windows = [dilation * (k - 1) + 1 for k in kernel.shape[2:]]
    out = [(n + 2 * padding - w) % stride for n, w in zip(size, windows)]
    z = F.conv_transpose2d(y, kernel, None, stride, padding, output_padding=out, dilation=dilation)
    return z * (z.abs() > 1e-3)


# %% 5.5 right: formula
def best_fit(c):
    return 0, 1 - c / 2


# %% 5.5 right: grid search
def best_fit(c):
    x = torch.linspace(-1, 1, 201)
    best = (math.inf, 0.0, 0.0)
    for k in torch.linspace(-0.5, 0.5, 101).tolist():
        e = x.abs() + x - c * torch.relu(x - k)
        q = (e.max() + e.min()) / 2
        best = min(best, ((e - q).abs().max().item(), k, q.item()))
    return best[1:]


# %% 5.5 right: another best kink
def best_fit(c):
    k = -0.9 * min(1.0, (2 - c) / c)
    x = np.linspace(-1, 1, 401)
    e = np.abs(x) + x - c * np.maximum(x - k, 0)
    return np.array([k, (e.max() + e.min()) / 2])


# %% 5.5 right: subgradient descent on the largest error
def best_fit(c):
    x = torch.linspace(-1, 1, 41)
    q = torch.zeros((), requires_grad=True)
    for step in range(60):
        error = (x.abs() - q + x - c * torch.relu(x)).abs().max()
        (gradient,) = torch.autograd.grad(error, q)
        q = (q - 0.1 * 0.9**step * gradient).detach().requires_grad_()
    return 0.0, q


# %% 5.5 wrong: no shift -> Now shift the graph up
def best_fit(c):
    return 0.0, 0.0


# %% 5.5 wrong: shift of the other sign -> The sign of q
def best_fit(c):
    return 0.0, c / 2 - 1


# %% 5.5 wrong: shift twice as large -> Now shift the graph down
def best_fit(c):
    return 0.0, 2 - c


# %% 5.5 wrong: kink with the other sign -> not x = -k
def best_fit(c):
    return 0.4 * (2 - c) / c, (2 - c) * 0.1


# %% 5.5 wrong: kink to the right -> Another kink
def best_fit(c):
    return 0.5, 0.5


# %% 5.5 wrong: kink at the left end -> Now shift
def best_fit(c):
    return -1.0, -1.0 + c / 4


# %% 5.5 wrong: least squares -> Now shift
def best_fit(c):
    x = torch.linspace(-1, 1, 401)
    return 0.0, (x.abs() + x - c * torch.relu(x)).mean()


# %% 5.5 wrong: right for c = 1 only -> Now shift
def best_fit(c):
    return 0.0, 0.5


# %% 5.5 wrong: only q -> should return 2 values
def best_fit(c):
    return 1 - c / 2


# %% 5.5 wrong: values exchanged -> First the kink
def best_fit(c):
    return 1 - c / 2, 0.0


# %% 5.5 wrong: the error for q only from the right half -> Now shift
def best_fit(c):
    return 0.0, (2 - c) / 4


# %% 5.5 wrong: c at least a tenth -> Now shift
def best_fit(c):
    c = max(c, 0.25)
    return 0.0, (2 - c) / 2


# %% 5.6 right: singular value in forward
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        n = torch.linalg.matrix_norm(self.weight, ord=2)
        if n == 0:
            return x
        return x - 2 / n**2 * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 right: F.linear and a clamp
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        W = self.weight
        tau = 2 / torch.linalg.svdvals(W)[0].square().clamp(min=1e-20)
        return x - tau * F.linear(F.linear(x, W, self.bias).clamp(min=0), W.T)


# %% 5.6 right: gradient of the potential
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        with torch.enable_grad():
            at = x if x.requires_grad else x.clone().requires_grad_()
            inner = torch.einsum("md,bd->bm", self.weight, at) + self.bias
            potential = torch.relu(inner).square().sum() / 2
            step = torch.autograd.grad(potential, at, create_graph=True)[0]
        size = torch.linalg.eigvalsh(self.weight.T @ self.weight)[-1]
        return x - 2 * step / size if size > 0 else x


# %% 5.6 right: norm kept and renewed when the weights change
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())
        self.known = None

    def forward(self, x):
        if self.known is None or not torch.equal(self.known[0], self.weight):
            with torch.no_grad():
                self.known = self.weight.clone(), norms.dense_norm_bound(self.weight)
        if self.known[1] < 1e-12:
            return x
        return x - 2 / self.known[1] ** 2 * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 right: matrices from the left, one input at a time
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        W, b = self.weight, self.bias
        tau = 2 / np.linalg.norm(W.detach().numpy(), 2) ** 2 if W.abs().max() > 0 else 0.0
        return torch.stack([row - float(tau) * W.T @ torch.relu(W @ row + b) for row in x])


# %% 5.6 wrong: norm computed once -> after the weights have changed
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())
        self.tau = 2 / torch.linalg.matrix_norm(weight, 2) ** 2

    def forward(self, x):
        return x - self.tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: computed at the first call -> after the weights have changed
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())
        self.tau = None

    def forward(self, x):
        if self.tau is None:
            self.tau = 2 / torch.linalg.matrix_norm(self.weight, 2).detach() ** 2
        return x - self.tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: uphill -> uphill
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x + tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: no skip -> skip is missing
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return -tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: Frobenius norm -> not the longest
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.norm(self.weight) ** 2
        return x - tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: no step at all -> distances can grow
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        return x - 2 * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: norm not squared -> c =
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2)
        return x - tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: step c = 1 -> c = 1 is safe
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 1 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: a few power iterations -> distances can grow
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        v = torch.ones(self.weight.shape[1], dtype=x.dtype)
        for _ in range(2):
            v = self.weight.T @ self.weight @ v
            v = v / v.norm()
        tau = 2 / (self.weight @ v).norm() ** 2
        return x - tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: ReLU around the product -> between the two matrices
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * torch.relu((x @ self.weight.T + self.bias) @ self.weight)


# %% 5.6 wrong: bias outside -> inside the activation
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * (torch.relu(x @ self.weight.T) + self.bias) @ self.weight


# %% 5.6 wrong: bias missing -> bias is missing
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * torch.relu(x @ self.weight.T) @ self.weight


# %% 5.6 wrong: activation missing -> activation is missing
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * (x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: transposes exchanged -> *transpose*
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight.T


# %% 5.6 wrong: a single input only -> raised RuntimeError
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * self.weight.T @ torch.relu(self.weight @ x + self.bias)


# %% 5.6 wrong: the identity -> does nothing
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        return 1 * x


# %% 5.6 wrong: zero weights overlooked -> nan
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: always float64 -> keep the dtype
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        W, x = self.weight.double(), x.double()
        tau = 2 / torch.linalg.matrix_norm(W, 2) ** 2
        return x - tau * torch.relu(x @ W.T + self.bias.double()) @ W


# %% 5.6 wrong: another name for the parameter -> `weight` and `bias`
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.A = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.A, 2) ** 2
        return x - tau * torch.relu(x @ self.A.T + self.bias) @ self.A


# %% 5.6 wrong: scaled by the batch -> changes with the others
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        x = x - x.mean(0)
        return x - tau * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: softplus -> Softplus
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        tau = 2 / torch.linalg.matrix_norm(self.weight, 2) ** 2
        return x - tau * F.softplus(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: forward without gradient -> no gradient
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        with torch.no_grad():
            n = torch.linalg.matrix_norm(self.weight, 2)
            if n == 0:
                return x
            return x - 2 / n**2 * torch.relu(x @ self.weight.T + self.bias) @ self.weight


# %% 5.6 wrong: weights detached -> No gradient reaches `weight`
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        W = self.weight.data
        n = torch.linalg.matrix_norm(W, 2)
        if n == 0:
            return x
        return x - 2 / n**2 * torch.relu(x @ W.T + self.bias) @ W


# %% 5.6 wrong: bias detached -> No gradient reaches `bias`
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        W = self.weight
        n = torch.linalg.matrix_norm(W, 2)
        if n == 0:
            return x
        return x - 2 / n**2 * torch.relu(x @ W.T + self.bias.detach()) @ W


# %% 5.6 wrong: gradient of the skip only -> gradient by x is not that
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        W = self.weight
        n = torch.linalg.matrix_norm(W, 2)
        if n == 0:
            return x
        return x - 2 / n**2 * torch.relu(x.detach() @ W.T + self.bias) @ W


# %% 5.6 right: the norm is taken as a number
class StableLayer(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x):
        W = self.weight
        n = torch.linalg.matrix_norm(W.detach(), 2).item()
        if n == 0:
            return x
        return x - 2 / n**2 * torch.relu(x @ W.T + self.bias) @ W
