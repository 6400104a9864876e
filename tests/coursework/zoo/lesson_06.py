import math

import numpy as np
import torch
import torch.nn.functional as F

from chapter_utils import expansive


# %% 6.1 right: eigenvalues
def gradient_factor(A, h1, a):
    lam = torch.linalg.eigvalsh(A.T @ A)
    return torch.maximum((1 - h1 * a * lam[0]).abs(), (1 - h1 * lam[-1]).abs())


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 right: all slopes a, or all 1
def gradient_factor(A, h1, a):
    I = torch.eye(A.shape[1])
    return max(torch.linalg.matrix_norm(I - h1 * slope * A.T @ A, 2).item() for slope in (a, 1.0))


def monotone_factor(h1, a):
    return torch.linalg.matrix_norm(
        torch.eye(2) - h1 * torch.tensor([[a, -math.sqrt(1 - a * a)], [math.sqrt(1 - a * a), a]]), 2
    )


# %% 6.1 right: singular values and a zero for wide matrices
def gradient_factor(A, h1, a):
    s = np.linalg.svd(A.numpy(), compute_uv=False) ** 2
    low = s[-1] if A.shape[0] >= A.shape[1] else 0.0
    return max(abs(1 - a * h1 * low), abs(1 - h1 * s[0]))


def monotone_factor(h1, a):
    return abs(complex(1 - a * h1, h1 * math.sqrt(1 - a**2)))


# %% 6.1 right: all patterns, one by one
def gradient_factor(A, h1, a):
    m, d = A.shape
    worst = 0.0
    for k in range(2**m):
        slopes = torch.tensor([a if k >> i & 1 else 1.0 for i in range(m)])
        worst = max(worst, np.linalg.norm((torch.eye(d) - h1 * (A.T * slopes) @ A).numpy(), 2))
    print("worst", worst)
    return worst


def monotone_factor(h1, a):
    return expansive.contraction_factor(h1, a, "monotone")


# %% 6.1 wrong: rule for orthogonal A -> This A is another matrix
def gradient_factor(A, h1, a):
    return max(abs(1 - a * h1), abs(1 - h1))


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: singular values not squared -> squares
def gradient_factor(A, h1, a):
    s = torch.linalg.svdvals(A)
    low = s[-1] if A.shape[0] >= A.shape[1] else 0.0
    return max(abs(1 - a * h1 * low), abs(1 - h1 * s[0]))


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: singular values of a wide matrix -> fewer rows than columns
def gradient_factor(A, h1, a):
    s = torch.linalg.svdvals(A) ** 2
    return max(abs(1 - a * h1 * s[-1]), abs(1 - h1 * s[0]))


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: units of 1 / lambda_max -> h1 is the step itself
def gradient_factor(A, h1, a):
    lam = torch.linalg.eigvalsh(A.T @ A)
    return expansive.contraction_factor(h1, a * max(0, lam[0].item() / lam[-1].item()))


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: no reflection -> A long step reflects
def gradient_factor(A, h1, a):
    return abs(1 - a * h1 * torch.linalg.eigvalsh(A.T @ A)[0])


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: only the largest -> look at the smallest eigenvalue
def gradient_factor(A, h1, a):
    return abs(1 - h1 * torch.linalg.matrix_norm(A, 2) ** 2)


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: slope a forgotten -> Where the slopes are a
def gradient_factor(A, h1, a):
    return torch.linalg.matrix_norm(torch.eye(A.shape[1]) - h1 * A.T @ A, 2)


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: slopes exchanged -> gentle slope a goes with
def gradient_factor(A, h1, a):
    lam = torch.linalg.eigvalsh(A.T @ A)
    return max(abs(1 - h1 * lam[0]), abs(1 - a * h1 * lam[-1]))


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: a sample of biases -> Too small
def gradient_factor(A, h1, a):
    g = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(2):
        D = torch.where(torch.rand(len(A), generator=g) < 0.5, a, 1.0)
        D[0], D[-1] = 0.5 + a / 2, 0.5 + a / 2
        worst = max(
            worst, torch.linalg.matrix_norm(torch.eye(A.shape[1]) - h1 * (A.T * D) @ A, 2).item()
        )
    return worst


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: triangle inequality -> No b makes it
def gradient_factor(A, h1, a):
    return 1 + h1 * torch.linalg.matrix_norm(A, 2) ** 2


def monotone_factor(h1, a):
    return (1 - 2 * a * h1 + h1**2) ** 0.5


# %% 6.1 wrong: root forgotten -> has a root
def gradient_factor(A, h1, a):
    lam = torch.linalg.eigvalsh(A.T @ A)
    return max(abs(1 - a * h1 * lam[0]), abs(1 - h1 * lam[-1]))


def monotone_factor(h1, a):
    return 1 - 2 * a * h1 + h1**2


# %% 6.1 wrong: sharp rule for the spiral -> The spiral is not one
def gradient_factor(A, h1, a):
    lam = torch.linalg.eigvalsh(A.T @ A)
    return max(abs(1 - a * h1 * lam[0]), abs(1 - h1 * lam[-1]))


def monotone_factor(h1, a):
    return max(abs(1 - a * h1), abs(1 - h1))


# %% 6.1 wrong: a squared too -> last term
def gradient_factor(A, h1, a):
    lam = torch.linalg.eigvalsh(A.T @ A)
    return max(abs(1 - a * h1 * lam[0]), abs(1 - h1 * lam[-1]))


def monotone_factor(h1, a):
    return math.sqrt(1 - 2 * a * h1 + a**2 * h1**2)


# %% 6.2 right: formula
def longest_up(downs, S, a):
    q = 1.0
    for h in downs:
        q *= max(abs(1 - a * h), abs(1 - h))
    if q >= 1:
        return 0
    return S * (q ** (-1 / S) - 1)


# %% 6.2 right: bisection
def longest_up(downs, S, a):
    def whole(h2):
        bound = (1 + h2 / S) ** S
        for h in downs:
            bound *= max(1 - a * h, h - 1)
        return bound

    if whole(0.0) >= 1:
        return 0.0
    low, high = 0.0, 1e4
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if whole(middle) <= 1 else (low, middle)
    return low


# %% 6.2 right: logarithms and tensors
def longest_up(downs, S, a):
    h = torch.tensor(downs)
    lost = -torch.log(torch.maximum((1 - a * h).abs(), (1 - h).abs())).sum()
    return (S * torch.expm1(lost / S)).clamp(min=0)


# %% 6.2 right: a grid, refined
def longest_up(downs, S, a):
    q = np.prod([max(abs(1 - a * h), abs(1 - h)) for h in downs])
    if q >= 1:
        return 0.0
    low, high = 0.0, 1.0
    while q * (1 + high / S) ** S <= 1:
        high *= 2
    for _ in range(8):
        grid = np.linspace(low, high, 50)
        fits = q * (1 + grid / S) ** S <= 1
        k = int(fits.sum())
        low, high = grid[k - 1], grid[min(k, 49)]
    print(low)
    return low


# %% 6.2 right: one step at a time with the library
def longest_up(downs, S, a):
    q = math.prod(expansive.contraction_factor(h, a) for h in downs)
    return 0.0 if q >= 1 else float(S * np.expm1(-np.log(q) / S))


# %% 6.2 wrong: paper's rule -> paper's rule
def longest_up(downs, S, a):
    q = math.prod((1 - 2 * a * h + h * h) ** 0.5 for h in downs)
    return max(0.0, S * (q ** (-1 / S) - 1))


# %% 6.2 wrong: parts ignored -> cut into parts here
def longest_up(downs, S, a):
    q = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    return max(0.0, 1 / q - 1)


# %% 6.2 wrong: one part -> length of one part
def longest_up(downs, S, a):
    q = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    return max(0.0, q ** (-1 / S) - 1)


# %% 6.2 wrong: first order in parts -> The parts multiply
def longest_up(downs, S, a):
    q = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    return max(0.0, S * (1 / q - 1))


# %% 6.2 wrong: one side only -> the larger one
def longest_up(downs, S, a):
    q = math.prod(abs(1 - a * h) for h in downs)
    return max(0.0, S * (q ** (-1 / S) - 1))


# %% 6.2 wrong: what was lost -> given back to what is left
def longest_up(downs, S, a):
    q = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    return max(0.0, S * (1 - q ** (1 / S)))


# %% 6.2 wrong: one long step -> not one long step
def longest_up(downs, S, a):
    h = sum(downs)
    q = max(abs(1 - a * h), abs(1 - h))
    return S * (q ** (-1 / S) - 1)


# %% 6.2 wrong: first step only -> only the first
def longest_up(downs, S, a):
    h = downs[0]
    return max(0.0, S * (max(abs(1 - a * h), abs(1 - h)) ** (-1 / S) - 1))


# %% 6.2 wrong: the worst step only -> shrinks least
def longest_up(downs, S, a):
    q = max(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    return max(0.0, S * (q ** (-1 / S) - 1))


# %% 6.2 wrong: negative -> Nothing may be given back
def longest_up(downs, S, a):
    q = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    return S * (q ** (-1 / S) - 1)


# %% 6.2 wrong: slope one half always -> but longer ones do too
def longest_up(downs, S, a):
    q = math.prod(max(abs(1 - 0.1 * h), abs(1 - h)) for h in downs)
    return max(0.0, S * (q ** (-1 / S) - 1))


# %% 6.2 wrong: the number for the demo -> step
def longest_up(downs, S, a):
    return 1 / 3


# %% 6.2 wrong: mean of the factors -> longer ones do too
def longest_up(downs, S, a):
    q = np.mean([max(abs(1 - a * h), abs(1 - h)) for h in downs] + [1.0])
    return max(0.0, S * (q ** (-1 / S) - 1))


# %% 6.2 wrong: bisection up to 10 -> longer ones do too
def longest_up(downs, s, a):
    left = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    lo, hi = 0.0, 10.0
    for _ in range(60):
        m = (lo + hi) / 2
        lo, hi = (m, hi) if left * (1 + m / s) ** s <= 1 else (lo, m)
    return lo


# %% 6.2 wrong: very short steps taken for none -> longer ones do too
def longest_up(downs, s, a):
    left = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    h = s * (left ** (-1 / s) - 1)
    return h if h > 1e-3 else 0.0


# %% 6.2 wrong: exponential for many parts -> longer ones do too
def longest_up(downs, s, a):
    left = math.prod(max(abs(1 - a * h), abs(1 - h)) for h in downs)
    if left >= 1:
        return 0.0
    return -math.log(left) if s > 10 else s * (left ** (-1 / s) - 1)


# %% 6.2 wrong: empties the list -> in place
def longest_up(downs, s, a):
    left = 1.0
    while downs:
        h = downs.pop()
        left *= max(abs(1 - a * h), abs(1 - h))
    return max(0.0, s * (left ** (-1 / s) - 1))


# %% 6.3 right: functions of torch
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x - steps[0] / parts[0] * F.leaky_relu(F.linear(x, A, b), a) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(F.linear(x, B, c)) @ B
    return x


def pair_bound(steps, parts, a):
    (h1, h2), (S1, S2) = steps, parts
    return max(abs(1 - a * h1 / S1), abs(1 - h1 / S1)) ** S1 * (1 + h2 / S2) ** S2


# %% 6.3 right: columns
def pair(x, A, b, B, c, steps, parts, a):
    z = x.T
    h1, h2 = steps[0] / parts[0], steps[1] / parts[1]
    for _ in range(parts[0]):
        u = A @ z + b[:, None]
        z = z - h1 * A.T @ torch.where(u > 0, u, a * u)
    for _ in range(parts[1]):
        z = z + h2 * B.T @ torch.relu(B @ z + c[:, None])
    return z.T


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 right: gradients of potentials
def pair(x, A, b, B, c, steps, parts, a):
    def potential(z, M, shift, slope):
        u = z @ M.T + shift
        return (torch.where(u > 0, u**2, slope * u**2) / 2).sum()

    for sign, h, S, M, shift, slope in (
        (-1, steps[0], parts[0], A, b, a),
        (1, steps[1], parts[1], B, c, 0.0),
    ):
        for _ in range(S):
            x = x + sign * h / S * torch.func.grad(potential)(x, M, shift, slope)
    return x


def pair_bound(steps, parts, a):
    shrink = np.maximum(np.abs(1 - a * steps[0] / parts[0]), np.abs(1 - steps[0] / parts[0]))
    return np.power(shrink, parts[0]) * np.power(1 + steps[1] / parts[1], parts[1])


# %% 6.3 right: point by point
def pair(x, A, b, B, c, steps, parts, a):
    out = []
    for point in x:
        for _ in range(parts[0]):
            u = A @ point + b
            point = point - (steps[0] / parts[0]) * (A.T @ torch.maximum(u, a * u))
        for _ in range(parts[1]):
            point = point + (steps[1] / parts[1]) * (B.T @ (B @ point + c).clamp(min=0))
        out.append(point)
    print(len(out))
    return torch.stack(out)


def pair_bound(steps, parts, a):
    h = steps[0] / parts[0]
    q = 1 - a * h if h < 2 / (1 + a) else h - 1
    return math.exp(parts[0] * math.log(q) + parts[1] * math.log1p(steps[1] / parts[1]))


# %% 6.3 wrong: not cut -> Divide it by the number of parts
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x - steps[0] * F.leaky_relu(x @ A.T + b, a) @ A
    for _ in range(parts[1]):
        x = x + steps[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: one part -> take all of them
def pair(x, A, b, B, c, steps, parts, a):
    x = x - steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
    return x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: parts ignored -> not cut into parts
def pair(x, A, b, B, c, steps, parts, a):
    x = x - steps[0] * F.leaky_relu(x @ A.T + b, a) @ A
    return x + steps[1] * F.relu(x @ B.T + c) @ B


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: up first -> The step up comes first
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    for _ in range(parts[0]):
        x = x - steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: plus in both -> first step goes up
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x + steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: relu twice -> has the ReLU here
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x - steps[0] / parts[0] * F.relu(x @ A.T + b) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: default slope -> not 0.01
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x - steps[0] / parts[0] * F.leaky_relu(x @ A.T + b) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: matrix not transposed -> With
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = (
            x
            - steps[0]
            / parts[0]
            * F.leaky_relu(x @ (A if len(A) == x.shape[1] else A.T) + b, a)
            @ A
        )
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: alternating -> You alternate
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(max(parts)):
        x = x - steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: in place -> in place
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x -= steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
    for _ in range(parts[1]):
        x += steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a)


# %% 6.3 wrong: paper's rule -> paper's rule
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x - steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.pair_factor(steps, parts, a, "monotone")


# %% 6.3 wrong: bound of one side -> the larger one
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x - steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return abs(1 - a * steps[0] / parts[0]) ** parts[0] * (1 + steps[1] / parts[1]) ** parts[1]


# %% 6.3 wrong: bound without powers -> one part of each
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x - steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return expansive.contraction_factor(steps[0] / parts[0], a) * (1 + steps[1] / parts[1])


# %% 6.3 wrong: bound never above 1 -> sharp bound
def pair(x, A, b, B, c, steps, parts, a):
    for _ in range(parts[0]):
        x = x - steps[0] / parts[0] * F.leaky_relu(x @ A.T + b, a) @ A
    for _ in range(parts[1]):
        x = x + steps[1] / parts[1] * F.relu(x @ B.T + c) @ B
    return x


def pair_bound(steps, parts, a):
    return min(1.0, expansive.pair_factor(steps, parts, a))


# %% 6.4 right: both ends
def rectangle_limit(factor, low, high, S1, S2):
    q = max(factor(low / S1), factor(high / S1))
    return 0.0 if q >= 1 else S2 * (q ** (-S1 / S2) - 1)


# %% 6.4 right: a grid with its ends
def rectangle_limit(factor, low, high, S1, S2):
    limits = []
    for h1 in np.linspace(low, high, 1001):
        limits.append(S2 * (factor(h1 / S1) ** (-S1 / S2) - 1))
    return max(min(limits), 0)


# %% 6.4 right: bisection over h2
def rectangle_limit(factor, low, high, S1, S2):
    h1 = torch.linspace(low, high, 301)
    shrunk = torch.stack([torch.as_tensor(factor(h / S1)) for h in h1]) ** S1
    bottom, top = 0.0, 100.0
    for _ in range(60):
        h2 = (bottom + top) / 2
        if (shrunk * (1 + h2 / S2) ** S2).max() <= 1:
            bottom = h2
        else:
            top = h2
    return bottom


# %% 6.4 right: logarithms
def rectangle_limit(factor, low, high, S1, S2):
    loss = min(-S1 * math.log(factor(h / S1)) for h in (low, high))
    print("loss", loss)
    return torch.tensor(S2 * math.expm1(max(loss, 0.0) / S2))


# %% 6.4 right: random search, and the ends
def rectangle_limit(factor, low, high, S1, S2):
    g = torch.Generator().manual_seed(1)
    h = torch.cat([low + (high - low) * torch.rand(500, generator=g), torch.tensor([low, high])])
    q = factor(h / S1).max() ** S1
    return (S2 * (q ** (-1 / S2) - 1)).clamp(min=0).item()


# %% 6.4 wrong: shortest only -> limit for the shortest
def rectangle_limit(factor, low, high, S1, S2):
    return max(0.0, S2 * (factor(low / S1) ** (-S1 / S2) - 1))


# %% 6.4 wrong: longest only -> limit for the longest
def rectangle_limit(factor, low, high, S1, S2):
    return max(0.0, S2 * (factor(high / S1) ** (-S1 / S2) - 1))


# %% 6.4 wrong: middle -> in the middle
def rectangle_limit(factor, low, high, S1, S2):
    return max(0.0, S2 * (factor((low + high) / 2 / S1) ** (-S1 / S2) - 1))


# %% 6.4 wrong: maximum of the limits -> breaks the promise
def rectangle_limit(factor, low, high, S1, S2):
    return max(
        max(0.0, S2 * (factor(h / S1) ** (-S1 / S2) - 1)) for h in np.linspace(low, high, 77)
    )


# %% 6.4 wrong: mean of the ends -> mean of the two ends
def rectangle_limit(factor, low, high, S1, S2):
    return np.mean([max(0.0, S2 * (factor(h / S1) ** (-S1 / S2) - 1)) for h in (low, high)])


# %% 6.4 wrong: not cut -> do not cut
def rectangle_limit(factor, low, high, S1, S2):
    return 1 / max(factor(low), factor(high)) - 1


# %% 6.4 wrong: power of S1 missing -> several parts down
def rectangle_limit(factor, low, high, S1, S2):
    q = max(factor(low / S1), factor(high / S1))
    return S2 * (q ** (-1 / S2) - 1)


# %% 6.4 wrong: up not cut -> cut into parts, too
def rectangle_limit(factor, low, high, S1, S2):
    q = max(factor(low / S1), factor(high / S1))
    return max(0.0, q**-S1 - 1)


# %% 6.4 wrong: one part up -> one part of the step up
def rectangle_limit(factor, low, high, S1, S2):
    q = max(factor(low / S1), factor(high / S1))
    return max(0.0, q ** (-S1 / S2) - 1)


# %% 6.4 wrong: negative for hopeless intervals -> return 0
def rectangle_limit(factor, low, high, S1, S2):
    q = max(factor(low / S1), factor(high / S1))
    return S2 * (q ** (-S1 / S2) - 1)


# %% 6.4 wrong: the number for the demo -> this step up
def rectangle_limit(factor, low, high, S1, S2):
    return 0.8


# %% 6.4 wrong: a zero too early -> too careful
def rectangle_limit(factor, low, high, S1, S2):
    q = max(factor(low / S1), factor(high / S1))
    return max(0.0, 0.9 * S2 * (q ** (-S1 / S2) - 1))


# %% 6.4 wrong: bisection up to 5 -> too careful
def rectangle_limit(factor, low, high, s1, s2):
    worst = max(factor(low / s1), factor(high / s1)) ** s1
    lo, hi = 0.0, 5.0
    for _ in range(60):
        m = (lo + hi) / 2
        lo, hi = (m, hi) if worst * (1 + m / s2) ** s2 <= 1 else (lo, m)
    return lo


# %% 6.5 right: solved
def eigenvalue_ratio(A):
    m, d = A.shape
    s = torch.linalg.svdvals(A)
    return (s[-1] / s[0]) ** 2 if m >= d else 0.0


def least_lambda(steps, parts, a):
    down, up = steps[0] / parts[0], (1 + steps[1] / parts[1]) ** (parts[1] / parts[0])
    if max(abs(1 - a * down), abs(1 - down)) * up > 1:
        return math.inf
    return (1 - 1 / up) / (a * down)


# %% 6.5 right: bisection with the library
def eigenvalue_ratio(A):
    values = np.linalg.eigvalsh((A.T @ A).numpy())
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    bad = lambda lam: expansive.pair_factor(steps, parts, a * lam) > 1
    if bad(1.0):
        return float("inf")
    low, high = 0.0, 1.0
    for _ in range(40):
        lam = (low + high) / 2
        low, high = (lam, high) if bad(lam) else (low, lam)
    return high


# %% 6.5 right: a fine grid
def eigenvalue_ratio(A):
    G = A.mT @ A
    return torch.linalg.matrix_norm(G, -2) / torch.linalg.matrix_norm(G, 2)


def least_lambda(steps, parts, a):
    lam = torch.linspace(0, 1, 20001)
    h = steps[0] / parts[0]
    q = torch.maximum((1 - a * lam * h).abs(), torch.full_like(lam, abs(1 - h)))
    fits = q ** parts[0] * (1 + steps[1] / parts[1]) ** parts[1] <= 1
    return lam[fits][0].item() if fits.any() else math.inf


# %% 6.5 right: numpy, and a tensor for infinity
def eigenvalue_ratio(A):
    s = np.zeros(A.shape[1])
    found = np.linalg.svd(A.numpy())[1] ** 2
    s[: len(found)] = found
    print(s)
    return s.min() / s.max()


def least_lambda(steps, parts, a):
    h, growth = steps[0] / parts[0], (1 + steps[1] / parts[1]) ** parts[1]
    needed = (1 - np.power(growth, -1 / parts[0])) / (a * h)
    hopeless = needed > 1 or abs(1 - h) ** parts[0] * growth > 1
    return torch.tensor(torch.inf) if hopeless else needed


# %% 6.5 wrong: singular values -> to be squared
def eigenvalue_ratio(A):
    s = torch.linalg.svdvals(A)
    return s[-1] / s[0] if A.shape[0] >= A.shape[1] else 0.0


def least_lambda(steps, parts, a):
    return 0.878


# %% 6.5 wrong: wide matrices -> eigenvalue 0
def eigenvalue_ratio(A):
    s = torch.linalg.svdvals(A)
    return (s[-1] / s[0]) ** 2


def least_lambda(steps, parts, a):
    return 0.878


# %% 6.5 wrong: upside down -> Upside down
def eigenvalue_ratio(A):
    return torch.linalg.cond(A) ** 2


def least_lambda(steps, parts, a):
    return 0.878


# %% 6.5 wrong: A A' -> For a matrix of shape
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A @ A.T)
    return values[-2] / values[-1]


def least_lambda(steps, parts, a):
    return 0.878


# %% 6.5 wrong: not divided -> Divide it by the largest
def eigenvalue_ratio(A):
    return torch.linalg.eigvalsh(A.T @ A)[0]


def least_lambda(steps, parts, a):
    return 0.878


# %% 6.5 wrong: the number for the demo -> with lambda = 0.8780
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    return 0.878


# %% 6.5 wrong: kappa -> Divide it by a
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    return (1 - (1 + steps[1] / parts[1]) ** (-parts[1] / parts[0])) / (steps[0] / parts[0])


# %% 6.5 wrong: not cut -> do not cut
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    return (1 - 1 / (1 + steps[1])) / (a * steps[0])


# %% 6.5 wrong: the lesson's formula for equal parts -> one part of the step up
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    return (1 - (1 + steps[1] / parts[1]) ** (-1 / parts[0])) / (a * steps[0] / parts[0])


# %% 6.5 wrong: infinity overlooked -> even for lambda = 1
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    return (1 - (1 + steps[1] / parts[1]) ** (-parts[1] / parts[0])) / (a * steps[0] / parts[0])


# %% 6.5 wrong: cut at 1 -> even for lambda = 1
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    return min(
        1.0, (1 - (1 + steps[1] / parts[1]) ** (-parts[1] / parts[0])) / (a * steps[0] / parts[0])
    )


# %% 6.5 wrong: reflection overlooked -> even for lambda = 1
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    lam = (1 - (1 + steps[1] / parts[1]) ** (-parts[1] / parts[0])) / (a * steps[0] / parts[0])
    return lam if lam <= 1 else math.inf


# %% 6.5 wrong: a missing -> Not enough
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    lam = a * (1 - (1 + steps[1] / parts[1]) ** (-parts[1] / parts[0])) / (steps[0] / parts[0])
    return lam


# %% 6.5 wrong: the paper's rule -> More than needed
def eigenvalue_ratio(A):
    values = torch.linalg.eigvalsh(A.T @ A)
    return values[0] / values[-1]


def least_lambda(steps, parts, a):
    low, high = 0.0, 4.0
    for _ in range(50):
        lam = (low + high) / 2
        h = steps[0] / parts[0]
        bound = (
            max(1 - 2 * a * lam * h + h**2, 0) ** (parts[0] / 2)
            * (1 + steps[1] / parts[1]) ** parts[1]
        )
        low, high = (lam, high) if bound > 1 else (low, lam)
    return high


# %% 6.5 wrong: ratio of a small matrix is 0 -> the ratio is
def eigenvalue_ratio(A):
    e = torch.linalg.eigvalsh(A.T @ A)
    return 0.0 if e[0] < 1e-4 else (e[0] / e[-1]).item()


def least_lambda(steps, parts, a):
    def promised(r):
        d, u = steps[0] / parts[0], steps[1] / parts[1]
        return max(abs(1 - a * r * d), abs(1 - d)) ** parts[0] * (1 + u) ** parts[1] <= 1

    if not promised(1.0):
        return math.inf
    lo, hi = 0.0, 1.0
    for _ in range(50):
        m = (lo + hi) / 2
        lo, hi = (lo, m) if promised(m) else (m, hi)
    return hi
