import itertools
import math

import numpy as np
import torch

from chapter_utils import ode


def W_of(A, B, m):
    return (1 - m) * torch.eye(B.shape[0], dtype=A.dtype) - A.T @ A + B - B.T


def forward_backward(W, q, steps=3000, a=None):
    G = torch.eye(len(W), dtype=W.dtype) - W
    if a is None:
        a = torch.linalg.eigvalsh(G + G.T)[0].item() / 2 / torch.linalg.matrix_norm(G, 2) ** 2
    z = torch.zeros_like(q)
    for _ in range(steps):
        z = torch.relu(z - a * (z @ G.T - q))
    return z


def jacobians(f, z):
    return torch.func.vmap(torch.func.jacrev(f))(z)


def good_mu_2(M):
    return torch.linalg.eigvalsh((M + M.mT) / 2)[:, -1]


def good_mu_inf(M):
    return ode.logarithmic_norm(M, math.inf)


# %% 9.1 right: quadratic formula
def longest_antisymmetric_step(S, gamma, layers, growth):
    w = torch.linalg.matrix_norm(S, ord=2)
    g = growth ** (1 / layers)
    return (gamma + torch.sqrt(gamma**2 + (gamma**2 + w**2) * (g**2 - 1))) / (gamma**2 + w**2)


# %% 9.1 right: bisection on the norm of the layer
def longest_antisymmetric_step(S, gamma, layers, growth):
    K = S - gamma * torch.eye(len(S))
    stretch = lambda h: torch.linalg.matrix_norm(torch.eye(len(S)) + h * K, 2) ** layers
    high = 1e-9
    if stretch(high) > growth + 1e-15:
        return 0.0
    while stretch(high) <= growth and high < 1e6:
        high *= 2
    low = high / 2
    for _ in range(40):
        h = (low + high) / 2
        low, high = (h, high) if stretch(h) <= growth else (low, h)
    return low if low > 1e-6 else 0


# %% 9.1 right: eigenvalues in numpy
def longest_antisymmetric_step(S, gamma, layers, growth):
    K = S.numpy() - gamma * np.eye(len(S))
    size2 = np.max(np.abs(np.linalg.eigvals(K)) ** 2)
    h = np.roots([size2, -2 * gamma, 1 - growth ** (2 / layers)])
    return np.max(h.real)


# %% 9.1 right: bisection on the power of the matrix
def longest_antisymmetric_step(S, gamma, layers, growth):
    I = torch.eye(S.shape[0])
    low, high = 0.0, 2 * (gamma + growth) / torch.linalg.svdvals(S - gamma * I)[0].item()
    for _ in range(50):
        middle = 0.5 * (low + high)
        T = torch.linalg.matrix_power(I + middle * (S - gamma * I), layers)
        if torch.linalg.svdvals(T)[0] <= growth * (1 + 1e-15):
            low = middle
        else:
            high = middle
    return low


# %% 9.1 right: the norm of S - gamma I
def longest_antisymmetric_step(S, gamma, layers, growth):
    print("spectral norm", torch.linalg.matrix_norm(S, 2))
    square = (
        torch.linalg.eigvalsh((S - gamma * torch.eye(len(S))).T @ (S - gamma * torch.eye(len(S))))
        .max()
        .item()
    )
    allowed = math.expm1(2 * math.log(growth) / layers)
    half = gamma / square
    return half + math.sqrt(half**2 + allowed / square)


# %% 9.1 wrong: best step instead of longest -> half of it
def longest_antisymmetric_step(S, gamma, layers, growth):
    return gamma / (gamma**2 + torch.linalg.matrix_norm(S, 2) ** 2) + 1e-12


# %% 9.1 wrong: growth not used -> no growth at all
def longest_antisymmetric_step(S, gamma, layers, growth):
    return 2 * gamma / (gamma**2 + torch.linalg.matrix_norm(S, 2) ** 2) + (
        1e-12 if growth > 1 else 0
    )


# %% 9.1 wrong: Frobenius norm -> Frobenius norm
def longest_antisymmetric_step(S, gamma, layers, growth):
    a, g = gamma**2 + torch.linalg.norm(S) ** 2, growth ** (1 / layers)
    return (gamma + torch.sqrt(gamma**2 + a * (g**2 - 1))) / a


# %% 9.1 wrong: largest entry -> not its largest entry
def longest_antisymmetric_step(S, gamma, layers, growth):
    a, g = gamma**2 + S.abs().max() ** 2, growth ** (1 / layers)
    return (gamma + torch.sqrt(gamma**2 + a * (g**2 - 1))) / a


# %% 9.1 wrong: one entry -> S
def longest_antisymmetric_step(S, gamma, layers, growth):
    a, g = gamma**2 + S[1, 0] ** 2, growth ** (1 / layers)
    return (gamma + torch.sqrt(gamma**2 + a * (g**2 - 1))) / a


# %% 9.1 wrong: gamma not squared below -> turns up in the denominator
def longest_antisymmetric_step(S, gamma, layers, growth):
    a, g = torch.linalg.matrix_norm(S, 2) ** 2, growth ** (1 / layers)
    return (gamma + torch.sqrt(gamma**2 + a * (g**2 - 1))) / a


# %% 9.1 wrong: norms added -> perpendicular
def longest_antisymmetric_step(S, gamma, layers, growth):
    return 2 * gamma / (gamma + torch.linalg.matrix_norm(S, 2)) ** 2


# %% 9.1 wrong: 2/L -> fields with a potential
def longest_antisymmetric_step(S, gamma, layers, growth):
    return 2 / torch.linalg.matrix_norm(S - gamma * torch.eye(len(S)), 2)


# %% 9.1 wrong: the growth in every layer -> in *each* layer
def longest_antisymmetric_step(S, gamma, layers, growth):
    a = gamma**2 + torch.linalg.matrix_norm(S, 2) ** 2
    return (gamma + torch.sqrt(gamma**2 + a * (growth**2 - 1))) / a


# %% 9.1 wrong: the growth divided by N -> a longer step is too
def longest_antisymmetric_step(S, gamma, layers, growth):
    a = gamma**2 + torch.linalg.matrix_norm(S, 2) ** 2
    g = max(growth / layers, 1.0) if growth > 1 else 1.0
    return (gamma + torch.sqrt(gamma**2 + a * (g**2 - 1))) / a if growth > 1 else 2 * gamma / a


# %% 9.1 wrong: the excess divided by N -> not added up
def longest_antisymmetric_step(S, gamma, layers, growth):
    a, g = gamma**2 + torch.linalg.matrix_norm(S, 2) ** 2, 1 + (growth - 1) / layers
    return (gamma + torch.sqrt(gamma**2 + a * (g**2 - 1))) / a


# %% 9.1 wrong: square compared with the growth -> *square*
def longest_antisymmetric_step(S, gamma, layers, growth):
    a, g = gamma**2 + torch.linalg.matrix_norm(S, 2) ** 2, growth ** (1 / layers)
    return (gamma + torch.sqrt(gamma**2 + a * (g - 1))) / a


# %% 9.1 wrong: the smaller root -> positive
def longest_antisymmetric_step(S, gamma, layers, growth):
    a, g = gamma**2 + torch.linalg.matrix_norm(S, 2) ** 2, growth ** (1 / layers)
    return (gamma - torch.sqrt(gamma**2 + a * (g**2 - 1))) / a


# %% 9.1 wrong: the number of the lesson -> is too long
def longest_antisymmetric_step(S, gamma, layers, growth):
    return 0.10811


# %% 9.1 wrong: friction divided away -> raised ZeroDivisionError
def longest_antisymmetric_step(S, gamma, layers, growth):
    w, g = torch.linalg.matrix_norm(S, 2).item(), growth ** (1 / layers)
    ratio = 1 + (w / gamma) ** 2
    return (1 + math.sqrt(1 + ratio * (g**2 - 1))) / (gamma * ratio)


# %% 9.1 wrong: never longer than 1 -> a longer step is too
def longest_antisymmetric_step(S, gamma, layers, growth):
    g = growth ** (1 / layers)
    lead = gamma**2 + torch.linalg.matrix_norm(S, 2).item() ** 2
    return min(1.0, (gamma + math.sqrt(gamma**2 + lead * (g**2 - 1))) / lead)


# %% 9.2 right: where
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    excess = torch.relu((g * f).sum(1) + alpha * v)
    square = (g * g).sum(1)
    here = square == 0
    f = f - g * (excess / torch.where(here, 1.0, square))[:, None]
    return torch.where(here[:, None], torch.zeros_like(f), f)


# %% 9.2 right: vmap of grad
def projected_field(f_hat, V, alpha, x):
    g = torch.func.vmap(torch.func.grad(V))(x)
    f, out = f_hat(x), torch.zeros_like(x)
    move = g.norm(dim=1) > 0
    g, f = g[move], f[move]
    excess = (torch.einsum("bi,bi->b", g, f) + alpha * V(x[move])).clamp(min=0)
    out[move] = f - g * (excess / g.norm(dim=1) ** 2)[:, None]
    return out


# %% 9.2 right: a loop over the states
def projected_field(f_hat, V, alpha, x):
    rows = []
    for row in x:
        at = row[None].clone().requires_grad_()
        v = V(at)
        v.sum().backward()
        g, f = at.grad[0], f_hat(row[None])[0]
        if g.norm() == 0:
            f = torch.zeros_like(f)
        elif g @ f > -alpha * v.item():
            f = f - g * (g @ f + alpha * v.item()) / (g @ g)
        rows.append(f)
    return torch.stack(rows)


# %% 9.2 right: unit vectors, minimum of the two slopes
def projected_field(f_hat, V, alpha, x):
    x = x.detach().requires_grad_()
    v = V(x)
    (g,) = torch.autograd.grad(v, x, torch.ones_like(v))
    size = g.norm(dim=1, keepdim=True)
    unit = g / size.clamp_min(1e-150)
    f = f_hat(x)
    along = (unit * f).sum(1, keepdim=True)
    wanted = torch.minimum(along, -alpha * v[:, None] / size.clamp_min(1e-150))
    print(wanted.shape)
    return (f + (wanted - along) * unit) * (size > 0)


# %% 9.2 right: central differences
def projected_field(f_hat, V, alpha, x):
    steps = 1e-4 * torch.eye(x.shape[1])
    g = torch.stack(
        [(8 * (V(x + e) - V(x - e)) - V(x + 2 * e) + V(x - 2 * e)) / 12e-4 for e in steps], 1
    )
    f = f_hat(x)
    excess = torch.relu((g * f).sum(1) + alpha * V(x))
    f = f - g * (excess / (g**2).sum(1).clamp_min(1e-200))[:, None]
    f[(x == 0).all(1)] = 0
    return f


# %% 9.2 wrong: no care at the origin -> 0/0
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    return f - g * (torch.relu((g * f).sum(1) + alpha * v) / (g * g).sum(1))[:, None]


# %% 9.2 wrong: as in the lesson, not zero at the origin -> must be 0
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    excess = torch.relu((g * f).sum(1) + alpha * v)
    return f - g * (excess / g.square().sum(1).clamp_min(1e-300))[:, None]


# %% 9.2 wrong: no relu -> where is the relu
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    f = f - g * (((g * f).sum(1) + alpha * v) / (g * g).sum(1).clamp_min(1e-300))[:, None]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: plus -> wrong way
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    f = f + g * (torch.relu((g * f).sum(1) + alpha * v) / (g * g).sum(1).clamp_min(1e-300))[:, None]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: alpha V forgotten -> alpha V is missing
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    g = torch.autograd.grad(V(y).sum(), y)[0]
    f = f_hat(x)
    f = f - g * (torch.relu((g * f).sum(1)) / (g * g).sum(1).clamp_min(1e-300))[:, None]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: alpha V outside the relu -> counts inside the relu
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    f = (
        f
        - g * ((torch.relu((g * f).sum(1)) + alpha * v) / (g * g).sum(1).clamp_min(1e-300))[:, None]
    )
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: divided by the norm -> *square* of the length
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    f = f - g * (torch.relu((g * f).sum(1) + alpha * v) / g.norm(dim=1).clamp_min(1e-300))[:, None]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: not divided -> division by the squared length
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    f = f - g * torch.relu((g * f).sum(1) + alpha * v)[:, None]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: one number for the whole batch -> for each state
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    f = f - g * torch.relu((g * f).sum() + alpha * v.sum()) / (g * g).sum()
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: x for the gradient -> points elsewhere than x
def projected_field(f_hat, V, alpha, x):
    f = f_hat(x)
    f = (
        f
        - x
        * (torch.relu((x * f).sum(1) + alpha * V(x)) / (x * x).sum(1).clamp_min(1e-300))[:, None]
    )
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: gradient of the mean -> gradient of the *mean*
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.mean(), y)[0]
    f = f_hat(x)
    f = f - g * (torch.relu((g * f).sum(1) + alpha * v) / (g * g).sum(1).clamp_min(1e-300))[:, None]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: only the correction -> only the corrections
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    return (
        g
        * (torch.relu((g * f_hat(x)).sum(1) + alpha * v) / (g * g).sum(1).clamp_min(1e-300))[
            :, None
        ]
    )


# %% 9.2 wrong: not projected -> nothing is projected
def projected_field(f_hat, V, alpha, x):
    return f_hat(x)


# %% 9.2 wrong: regularised quotient -> V falls too slowly
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    f = f - g * (torch.relu((g * f).sum(1) + alpha * v) / ((g * g).sum(1) + 1e-3))[:, None]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: replaced by the gradient flow -> falls fast enough there
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = -g * (abs(alpha) * v / (g * g).sum(1).clamp_min(1e-300))[:, None]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: removes twice the surplus -> more than necessary
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    v = V(y)
    g = torch.autograd.grad(v.sum(), y)[0]
    f = f_hat(x)
    f = (
        f
        - 2
        * g
        * (torch.relu((g * f).sum(1) + alpha * v) / (g * g).sum(1).clamp_min(1e-300))[:, None]
    )
    return torch.where((x == 0).all(1, keepdim=True), 0.0, f)


# %% 9.2 wrong: gradient of a vector -> raised RuntimeError
def projected_field(f_hat, V, alpha, x):
    y = x.clone().requires_grad_()
    g = torch.autograd.grad(V(y), y)[0]
    return f_hat(x) - g


# %% 9.3 right: forward-backward, fixed number of turns
def equilibrium(A, B, m, U, b, x):
    W = (1 - m) * torch.eye(len(b)) - A.T @ A + B - B.T
    G = torch.eye(len(b)) - W
    a = m / torch.linalg.matrix_norm(G, 2) ** 2
    z = torch.zeros(len(x), len(b))
    for _ in range(2000):
        z = torch.relu(z - a * (z @ G.T - x @ U.T - b))
    return z


# %% 9.3 right: all patterns of active units
def equilibrium(A, B, m, U, b, x):
    d, W = len(b), (1 - m) * torch.eye(len(b)) - A.T @ A + B - B.T
    q = x @ U.T + b
    found = torch.zeros_like(q)
    for pattern in itertools.product([0.0, 1.0], repeat=d):
        D = torch.diag(torch.tensor(pattern))
        z = torch.linalg.solve(torch.eye(d) - D @ W, D @ q.T).T
        good = (z - torch.relu(z @ W.T + q)).abs().amax(1) < 1e-9
        found[good] = z[good]
    return found


# %% 9.3 right: implicit steps (Douglas and Rachford)
def equilibrium(A, B, m, U, b, x):
    I = torch.eye(len(b))
    W = (1 - m) * I - A.T @ A + B - B.T
    q, a = x @ U.T + b, 1.0
    inverse = torch.linalg.inv(I + a * (I - W))
    u = torch.zeros_like(q)
    for _ in range(600):
        z = torch.relu(u)
        u = u + (2 * z - u + a * q) @ inverse.T - z
    return torch.relu(u)


# %% 9.3 right: Newton's method in numpy, one input after the other
def equilibrium(A, B, m, U, b, x):
    A, B, U, b, x = (t.numpy() for t in (A, B, U, b, x))
    d = len(b)
    W = (1 - m) * np.eye(d) - A.T @ A + B - B.T
    a = m / np.linalg.norm(np.eye(d) - W, 2) ** 2
    out = []
    for row in x:
        q, z = U @ row + b, np.zeros(d)
        for k in range(2000):
            z = np.maximum(z - a * (z - W @ z - q), 0)
            if k % 50 == 0:
                D = np.diag(((W @ z + q) > 0).astype(float))
                new = np.linalg.solve(np.eye(d) - D @ W, D @ q)
                if np.allclose(new, np.maximum(W @ new + q, 0), atol=1e-10):
                    z = new
                    break
        out.append(z)
    return np.array(out)


# %% 9.3 right: damped repetition, as one Euler step after the other of a flow
def equilibrium(A, B, m, U, b, x):
    W = (1 - m) * torch.eye(len(b)) - A.T @ A + B - B.T
    G = torch.eye(len(b)) - W
    z = torch.ones(len(x), len(b))
    step = 0.9 * 2 * m / (G.T @ G).trace().item()
    print("step", step)
    while True:
        new = (z - step * (z @ G.T - x @ U.T - b)).clamp(min=0)
        if (new - z).norm() < 1e-11:
            return new
        z = new


# %% 9.3 wrong: plain repetition -> settle at all
def equilibrium(A, B, m, U, b, x):
    z = torch.zeros(len(x), len(b))
    for _ in range(300):
        z = torch.relu(z @ W_of(A, B, m).T + x @ U.T + b)
    return z


# %% 9.3 wrong: one layer -> not infinitely many
def equilibrium(A, B, m, U, b, x):
    return torch.relu(x @ U.T + b)


# %% 9.3 wrong: linear equation -> Some entries are negative
def equilibrium(A, B, m, U, b, x):
    I = torch.eye(len(b))
    return torch.linalg.solve(I - W_of(A, B, m), (x @ U.T + b).T).T


# %% 9.3 wrong: linear equation and relu -> cut off
def equilibrium(A, B, m, U, b, x):
    I = torch.eye(len(b))
    return torch.relu(torch.linalg.solve(I - W_of(A, B, m), (x @ U.T + b).T).T)


# %% 9.3 wrong: bias forgotten -> bias b is missing
def equilibrium(A, B, m, U, b, x):
    return forward_backward(W_of(A, B, m), x @ U.T)


# %% 9.3 wrong: m I -> runs away
def equilibrium(A, B, m, U, b, x):
    W = W_of(A, B, m) + (2 * m - 1) * torch.eye(len(b))
    return forward_backward(W, x @ U.T + b, a=0.01)


# %% 9.3 wrong: B plus its transpose -> still differ
def equilibrium(A, B, m, U, b, x):
    W = (1 - m) * torch.eye(len(b)) - A.T @ A + B + B.T
    z, q = torch.zeros(len(x), len(b)), x @ U.T + b
    for _ in range(2000):
        z = torch.relu(z - 0.02 * (z - z @ W.T - q))
    return z


# %% 9.3 wrong: B minus B' backwards -> wrong sign
def equilibrium(A, B, m, U, b, x):
    return forward_backward(W_of(A, B.T, m), x @ U.T + b)


# %% 9.3 wrong: B left out -> B and its transpose are missing
def equilibrium(A, B, m, U, b, x):
    return forward_backward(W_of(A, 0 * B, m), x @ U.T + b)


# %% 9.3 wrong: A A' -> A A' is not A'A
def equilibrium(A, B, m, U, b, x):
    W = W_of(A, B, m) + A.T @ A - (A @ A.T if A.shape[0] == A.shape[1] else A.T @ A)
    return forward_backward(W, x @ U.T + b)


# %% 9.3 wrong: W not transposed -> the product is z W'
def equilibrium(A, B, m, U, b, x):
    z, W = torch.zeros(len(x), len(b)), W_of(A, B, m)
    q = x @ U.T + b
    for _ in range(2000):
        z = torch.relu(z - 0.02 * (z - z @ W - q))
    return z


# %% 9.3 wrong: relu only at the end -> cut off
def equilibrium(A, B, m, U, b, x):
    W = W_of(A, B, m)
    z = torch.zeros(len(x), len(b))
    for _ in range(2000):
        z = z - 0.02 * (z - z @ W.T - x @ U.T - b)
    return torch.relu(z)


# %% 9.3 wrong: too few turns -> nothing changes
def equilibrium(A, B, m, U, b, x):
    return forward_backward(W_of(A, B, m), x @ U.T + b, steps=80)


# %% 9.3 wrong: too long a step, norm not squared -> still differ
def equilibrium(A, B, m, U, b, x):
    W = W_of(A, B, m)
    a = 2 / torch.linalg.matrix_norm(torch.eye(len(b)) - W, 2)
    return forward_backward(W, x @ U.T + b, a=1.2 * a, steps=500)


# %% 9.3 wrong: uphill -> runs away
def equilibrium(A, B, m, U, b, x):
    return forward_backward(W_of(A, B, m), x @ U.T + b + 1.0, a=-0.5, steps=3000)


# %% 9.3 wrong: U not transposed -> U is transposed
def equilibrium(A, B, m, U, b, x):
    return forward_backward(W_of(A, B, m), x @ U + b)


# %% 9.3 wrong: batch in columns -> has shape
def equilibrium(A, B, m, U, b, x):
    return forward_backward(W_of(A, B, m), x @ U.T + b).T


# %% 9.4 right: vmap and the library
def logarithmic_norms(f, z):
    M = torch.func.vmap(torch.func.jacrev(f))(z)
    return ode.logarithmic_norm(M, math.inf), ode.logarithmic_norm(M)


# %% 9.4 right: loop with lists of numbers as tensors
def logarithmic_norms(f, z):
    inf, two = [], []
    for x in z:
        M = torch.autograd.functional.jacobian(f, x)
        d = len(x)
        inf.append(max(M[i, i] + sum(abs(M[i, j]) for j in range(d) if j != i) for i in range(d)))
        two.append(torch.linalg.eigvals(0.5 * (M + M.T)).real.max())
    return torch.stack(inf), torch.stack(two)


# %% 9.4 right: the definition as a difference quotient
def logarithmic_norms(f, z):
    M = torch.func.vmap(torch.func.jacfwd(f))(z)
    h, I = 1e-7, torch.eye(z.shape[1])
    return [(torch.linalg.matrix_norm(I + h * M, k) - 1) / h for k in (math.inf, 2)]


# %% 9.4 right: columns by forward differences, numpy
def logarithmic_norms(f, z):
    d = z.shape[1]
    with torch.no_grad():
        M = np.stack([((f(z + e) - f(z - e)) / 2e-6).numpy() for e in 1e-6 * torch.eye(d)], 2)
    off = np.abs(M) * (1 - np.eye(d))
    mu_inf = (np.einsum("nii->ni", M) + off.sum(2)).max(1)
    return mu_inf, np.linalg.eigvalsh(M + M.transpose(0, 2, 1)).max(1) / 2


# %% 9.4 right: one output after the other
def logarithmic_norms(f, z):
    z = z.clone().requires_grad_()
    y = f(z)
    M = torch.stack(
        [torch.autograd.grad(y[:, i].sum(), z, retain_graph=True)[0] for i in range(z.shape[1])], 1
    )
    D = M.diagonal(dim1=-2, dim2=-1)
    print(M.shape)
    return (D - D.abs() + M.abs().sum(-1)).max(-1).values, -torch.linalg.eigvalsh(
        -(M + M.mT) / 2
    ).min(-1).values


# %% 9.4 wrong: columns -> sums of the *columns*
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return ode.logarithmic_norm(M, 1), good_mu_2(M)


# %% 9.4 wrong: Jacobian transposed -> sums of the *columns*
def logarithmic_norms(f, z):
    M = jacobians(f, z).mT
    return good_mu_inf(M), good_mu_2(M)


# %% 9.4 wrong: the norm -> diagonal keeps its sign
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return M.abs().sum(2).amax(1), good_mu_2(M)


# %% 9.4 wrong: no absolute values -> lose their sign
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return M.sum(2).amax(1), good_mu_2(M)


# %% 9.4 wrong: the diagonal twice -> counted twice
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return (M.diagonal(dim1=1, dim2=2) + M.abs().sum(2)).amax(1), good_mu_2(M)


# %% 9.4 wrong: Gershgorin's left ends -> count with a plus
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    D = M.diagonal(dim1=1, dim2=2)
    return (D - (M.abs().sum(2) - D.abs())).amax(1), good_mu_2(M)


# %% 9.4 wrong: one number for the batch -> worst of the whole batch
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_inf(M).max().expand(len(z)), good_mu_2(M).max().expand(len(z))


# %% 9.4 wrong: one number for the batch as a number -> should be a tensor
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_inf(M).max().item(), good_mu_2(M).max().item()


# %% 9.4 wrong: swapped -> wrong order
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_2(M), good_mu_inf(M)


# %% 9.4 wrong: eigenvalues of M -> in the long run
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_inf(M), torch.linalg.eigvals(M).real.amax(1)


# %% 9.4 wrong: eigvalsh of M -> one half
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_inf(M), torch.linalg.eigvalsh(M).amax(1)


# %% 9.4 wrong: factor 1/2 -> 1/2
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_inf(M), torch.linalg.eigvalsh(M + M.mT).amax(1)


# %% 9.4 wrong: spectral norm -> spectral norm of M
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_inf(M), torch.linalg.matrix_norm(M, 2)


# %% 9.4 wrong: smallest eigenvalue -> smallest eigenvalue
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_inf(M), torch.linalg.eigvalsh((M + M.mT) / 2)[:, 0]


# %% 9.4 wrong: absolute eigenvalue -> absolute value
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return good_mu_inf(M), torch.linalg.matrix_norm((M + M.mT) / 2, 2)


# %% 9.4 wrong: Jacobians of the sum over the batch -> summed over the batch
def logarithmic_norms(f, z):
    M = torch.autograd.functional.jacobian(lambda z: f(z).sum(0), z).sum(1)
    M = M.expand(len(z), -1, -1)
    return good_mu_inf(M), good_mu_2(M)


# %% 9.4 wrong: numbers of the demo -> has shape
def logarithmic_norms(f, z):
    return torch.tensor([-0.05]), torch.tensor([0.1038])


# %% 9.4 wrong: the diagonal only -> too small
def logarithmic_norms(f, z):
    M = jacobians(f, z)
    return M.diagonal(dim1=1, dim2=2).amax(1), good_mu_2(M)


# %% 9.5 right: solve
def shrinking_weights(M):
    worst = M.abs()
    worst.diagonal().copy_(M.diagonal())
    return torch.linalg.solve(worst, -torch.ones(len(M)))


# %% 9.5 right: eigenvector of the worst case
def shrinking_weights(M):
    M = M.numpy()
    worst = np.where(np.eye(len(M)) > 0, M, np.abs(M))
    values, vectors = np.linalg.eig(worst)
    return np.abs(vectors[:, values.real.argmax()].real)


# %% 9.5 right: iteration
def shrinking_weights(M):
    off = M.abs() - torch.diag(M.diag().abs())
    w = torch.ones(len(M))
    while not (M.diag() * w + off @ w < 0).all():
        w = (1 + off @ w) / -M.diag()
    return w


# %% 9.5 right: the integral of the worst solution
def shrinking_weights(M):
    d = len(M)
    worst = torch.where(torch.eye(d, dtype=torch.bool), M, M.abs())
    step = 0.02 * torch.linalg.matrix_norm(worst, 2).reciprocal()
    T = torch.linalg.matrix_exp(step * worst)
    w, power = torch.ones(d), T
    for _ in range(24):  # 1 + T + ... + T^(2^k - 1), applied to ones
        w, power = w + power @ w, power @ power
    return w


# %% 9.5 right: random search in the logarithms of the weights
def shrinking_weights(M):
    off = M.abs() - torch.diag(M.diag().abs())
    rows = lambda w: M.diag() + off @ w / w
    w = torch.ones(len(M))
    for _ in range(20000):
        if rows(w).max() < 0:
            break
        k = rows(w).argmax()
        needed = (off[k] @ w) / -M[k, k]
        w[k] = needed * 1.0001
    return w / w.sum()


# %% 9.5 wrong: equal weights -> Equal weights
def shrinking_weights(M):
    return torch.ones(len(M))


# %% 9.5 wrong: inverse weights -> mixed up
def shrinking_weights(M):
    worst = torch.where(torch.eye(len(M), dtype=torch.bool), M, M.abs())
    return 1 / torch.linalg.solve(worst, -torch.ones(len(M)))


# %% 9.5 wrong: columns -> mixed up
def shrinking_weights(M):
    worst = torch.where(torch.eye(len(M), dtype=torch.bool), M, M.abs())
    return torch.linalg.solve(worst.T, -torch.ones(len(M)))


# %% 9.5 wrong: signs kept -> weight
def shrinking_weights(M):
    return torch.linalg.solve(M, -torch.ones(len(M)))


# %% 9.5 wrong: absolute values everywhere -> negative
def shrinking_weights(M):
    return torch.linalg.solve(M.abs(), -torch.ones(len(M)))


# %% 9.5 wrong: plus one on the right -> zero or negative
def shrinking_weights(M):
    worst = torch.where(torch.eye(len(M), dtype=torch.bool), M, M.abs())
    return torch.linalg.solve(worst, torch.ones(len(M)))


# %% 9.5 wrong: the absolute value of it -> some row still
def shrinking_weights(M):
    return torch.linalg.solve(M, -torch.arange(1.0, len(M) + 1)).abs() + 1e-3


# %% 9.5 wrong: diagonal entries -> some row still
def shrinking_weights(M):
    return -M.diag() if (M.diag() < 0).all() else torch.ones(len(M)) + torch.arange(len(M)) * 0.1


# %% 9.5 wrong: sums of the rows -> some row still
def shrinking_weights(M):
    return M.abs().sum(1)


# %% 9.5 wrong: weights for the demo -> has shape
def shrinking_weights(M):
    return torch.tensor([16.0, 10.0])


# %% 9.5 wrong: infinite ratio -> zero or negative
def shrinking_weights(M):
    w = torch.zeros(len(M))
    w[0] = 1.0
    return w


# %% 9.5 wrong: a very large first weight -> some row still
def shrinking_weights(M):
    w = torch.ones(len(M))
    w[1] = 1e6
    return w


# %% 9.5 wrong: weights of at least a hundredth -> maximum norm itself
def shrinking_weights(M):
    D = torch.diag(M.diag())
    w = torch.linalg.solve(D + (M - D).abs(), -torch.ones(len(M)))
    return w.clamp(min=0.01, max=100)
