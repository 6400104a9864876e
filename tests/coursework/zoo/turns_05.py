import itertools
import math

import torch
import torch.nn.functional as F


# %% 5.A right: functional linear
def my_layer(x, A, b, tau):
    return x - tau * F.linear(F.relu(F.linear(x, A, b)), A.T)


# %% 5.A right: einsum
def my_layer(x, A, b, tau):
    s = (torch.einsum("bd,md->bm", x, A) + b).clamp(min=0)
    return x - torch.einsum("bm,md->bd", tau * s, A)


# %% 5.A right: point by point
def my_layer(x, A, b, tau):
    return torch.stack([p - tau * A.T @ torch.relu(A @ p + b) for p in x])


# %% 5.A wrong: uphill -> uphill
def my_layer(x, A, b, tau):
    return x + tau * torch.relu(x @ A.T + b) @ A


# %% 5.A wrong: no bias -> bias
def my_layer(x, A, b, tau):
    return x - tau * torch.relu(x @ A.T) @ A


# %% 5.A wrong: no activation -> affine
def my_layer(x, A, b, tau):
    return x - tau * (x @ A.T + b) @ A


# %% 5.A wrong: no skip -> skip
def my_layer(x, A, b, tau):
    return -tau * torch.relu(x @ A.T + b) @ A


# %% 5.A wrong: not transposed -> row by row
def my_layer(x, A, b, tau):
    return x - tau * torch.relu(x @ A + b) @ A.T


# %% 5.A wrong: activation outside -> between
def my_layer(x, A, b, tau):
    return x - tau * torch.relu((x @ A.T + b) @ A)


# %% 5.B right: lambda
def averaged_map(N, alpha):
    return lambda x: x + alpha * (N(x) - x)


# %% 5.B right: lerp
def averaged_map(N, alpha):
    def T(x):
        return torch.lerp(x, N(x), alpha)

    return T


# %% 5.B right: a class
class Mean:
    def __init__(self, N, alpha):
        self.N, self.alpha = N, alpha

    def __call__(self, x):
        return self.alpha * self.N(x) + (1 - self.alpha) * x


averaged_map = Mean


# %% 5.B wrong: swapped -> changed places
def averaged_map(N, alpha):
    return lambda x: alpha * x + (1 - alpha) * N(x)


# %% 5.B wrong: N -> N itself
def averaged_map(N, alpha):
    return N


# %% 5.B wrong: no identity -> identity
def averaged_map(N, alpha):
    return lambda x: alpha * N(x)


# %% 5.B wrong: half -> half of each
def averaged_map(N, alpha):
    return lambda x: (x + N(x)) / 2


# %% 5.B wrong: a number, not a map -> raised
def averaged_map(N, alpha):
    return (1 - alpha) + alpha * N


# %% 5.B wrong: all of x -> all of x
def averaged_map(N, alpha):
    return lambda x: x + alpha * N(x)


# %% 5.C right: dot products
def adjoint_gap(forward, adjoint, x, y):
    return abs(
        torch.dot(forward(x).flatten(), y.flatten()) - torch.vdot(x.flatten(), adjoint(y).flatten())
    )


# %% 5.C right: einsum
def adjoint_gap(forward, adjoint, x, y):
    return (torch.einsum("i,i->", forward(x), y) - torch.einsum("i,i->", x, adjoint(y))).abs()


# %% 5.C right: a loop
def adjoint_gap(forward, adjoint, x, y):
    Kx, Kty = forward(x), adjoint(y)
    total = sum(float(a) * float(b) for a, b in zip(Kx, y))
    return math.fabs(total - sum(float(a) * float(b) for a, b in zip(x, Kty)))


# %% 5.C wrong: a vector -> one number
def adjoint_gap(forward, adjoint, x, y):
    return forward(x) * y - 0 * y


# %% 5.C wrong: added -> sum of the two
def adjoint_gap(forward, adjoint, x, y):
    return ((forward(x) * y).sum() + (x * adjoint(y)).sum()).abs()


# %% 5.C wrong: lengths -> Lengths
def adjoint_gap(forward, adjoint, x, y):
    return (forward(x).norm() - adjoint(y).norm()).abs()


# %% 5.C wrong: squared -> square
def adjoint_gap(forward, adjoint, x, y):
    return ((forward(x) * y).sum() - (x * adjoint(y)).sum()) ** 2


# %% 5.C wrong: always zero -> Compare the sum
def adjoint_gap(forward, adjoint, x, y):
    return 0.0


# %% 5.C wrong: first only -> first product
def adjoint_gap(forward, adjoint, x, y):
    return (forward(x) * y).sum()


# %% 5.D right: integer division
def depth_needed(t_end, L, r):
    return max(1, int(-(-t_end * L // (2 * r))))


# %% 5.D right: count up
def depth_needed(t_end, L, r):
    n = 1
    while t_end / n > 2 * r / L:
        n += 1
    return n


# %% 5.D right: itertools
def depth_needed(t_end, L, r):
    return next(n for n in itertools.count(1) if n * 2 * r >= t_end * L)


# %% 5.D wrong: no 2 -> Where is the 2
def depth_needed(t_end, L, r):
    return max(1, math.ceil(t_end * L / r))


# %% 5.D wrong: rounds down -> Round up
def depth_needed(t_end, L, r):
    return max(1, math.floor(t_end * L / (2 * r)))


# %% 5.D wrong: no r -> 2 r / L, or 2 / L
def depth_needed(t_end, L, r):
    return max(1, math.ceil(t_end * L / 2))


# %% 5.D wrong: none at all -> at least one
def depth_needed(t_end, L, r):
    return math.ceil(t_end * L / (2 * r))


# %% 5.D wrong: not whole -> whole
def depth_needed(t_end, L, r):
    return max(1, t_end * L / (2 * r))


# %% 5.D wrong: inverted -> fewer
def depth_needed(t_end, L, r):
    return max(1, math.ceil(t_end * L * r / 2))
