import math

import numpy as np
import scipy.integrate
import scipy.linalg
import torch

from chapter_utils import ode, runge_kutta


# %% 1.1 right: symmetric part and a grid
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1]


def peak(A):
    slow = -torch.linalg.eigvals(A).real.max()
    t = torch.linspace(0, 1, 1500) * 20 / slow
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t[:, None, None]), 2).max()


# %% 1.1 right: numpy and scipy
def first_rate(A):
    A = A.numpy()
    return np.linalg.eigvals((A + A.T) / 2).real.max()


def peak(A):
    A = A.numpy()
    slow = -np.linalg.eigvals(A).real.max()
    return max(np.linalg.norm(scipy.linalg.expm(A * t), 2) for t in np.linspace(0, 8 / slow, 120))


# %% 1.1 right: limit from the definition, powers of one small step
def first_rate(A):
    h = 1e-8 / (1 + A.abs().max())
    values = torch.linalg.svdvals(torch.eye(len(A)) + h * A)
    extra = (torch.eye(len(A)) + h * A).T @ (torch.eye(len(A)) + h * A) - torch.eye(len(A))
    assert values[0] >= 0
    return torch.linalg.eigvalsh((A + A.T + h * A.T @ A) / 2)[-1] if extra.isfinite().all() else 0


def peak(A):
    slow = torch.linalg.eigvals(A).real.max().abs()
    step, M, best = torch.linalg.matrix_exp(A * 0.025 / slow), torch.eye(len(A)), 1.0
    for _ in range(500):
        M = step @ M
        best = max(best, torch.linalg.svdvals(M)[0].item())
    print("peak found:", best)
    return best


# %% 1.1 right: the library, and singular values of a stack
def first_rate(A):
    return ode.logarithmic_norm(A).item()


def peak(A):
    T = 15 / abs(max(value.real for value in torch.linalg.eigvals(A).tolist()))
    flows = torch.linalg.matrix_exp(torch.stack([k / 500 * T * A for k in range(501)]))
    return float(torch.linalg.svdvals(flows).max())


# %% 1.1 right: minus the smallest eigenvalue of -A, and eigenvectors
def first_rate(A):
    return -torch.linalg.eigvalsh(-(A + A.mT) / 2).min()


def peak(A):
    lam, V = torch.linalg.eig(A)
    t = torch.linspace(0, 20 / lam.real.abs().min().item(), 3001)
    E = V @ torch.diag_embed((t[:, None] * lam).exp()) @ torch.linalg.inv(V)
    return torch.linalg.matrix_norm(E.real, 2).max()


# %% 1.1 wrong: spectral norm -> size without a sign
def first_rate(A):
    return torch.linalg.matrix_norm(A, 2)


def peak(A):
    return 1.0


# %% 1.1 wrong: abscissa -> rules the end
def first_rate(A):
    return torch.linalg.eigvals(A).real.max()


def peak(A):
    return 1.0


# %% 1.1 wrong: one triangle -> one triangle only
def first_rate(A):
    return torch.linalg.eigvalsh(A)[-1]


def peak(A):
    return 1.0


# %% 1.1 wrong: half missing -> factor 1/2
def first_rate(A):
    return torch.linalg.eigvalsh(A + A.T).max()


def peak(A):
    return 1.0


# %% 1.1 wrong: smallest -> falls fastest
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[0]


def peak(A):
    return 1.0


# %% 1.1 wrong: spectral radius of the symmetric part -> `first_rate`
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2).abs().max()


def peak(A):
    return 1.0


# %% 1.1 wrong: all eigenvalues -> one number
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)


def peak(A):
    return 1.0


# %% 1.1 wrong: complex -> real number
def first_rate(A):
    values = torch.linalg.eigvals((A + A.T) / 2)
    return values[values.real.argmax()]


def peak(A):
    return 1.0


# %% 1.1 wrong: mean rate up to time 1 -> mean rate up to t = 1
def first_rate(A):
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(A), 2).log()


def peak(A):
    return 1.0


# %% 1.1 wrong: 1-norm -> for very small t
def first_rate(A):
    return ode.logarithmic_norm(A, norm=1)


def peak(A):
    return 1.0


# %% 1.1 wrong: eigenvalues decay, so the peak is 1 -> spectral radius
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    return 1.0


# %% 1.1 wrong: the lesson's times -> reach so far
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    t = torch.linspace(0, 4, 4001)
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t[:, None, None]), 2).max()


# %% 1.1 wrong: whole seconds -> close enough together
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    t = torch.arange(0, 100.0)
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t[:, None, None]), 2).max()


# %% 1.1 wrong: Frobenius -> Frobenius
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    t = torch.linspace(0, -20 / torch.linalg.eigvals(A).real.max(), 2001)
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t[:, None, None])).max()


# %% 1.1 wrong: time of the peak -> your peak is
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    t = torch.linspace(0, -20 / torch.linalg.eigvals(A).real.max(), 2001)
    lengths = torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t[:, None, None]), 2)
    return t[lengths.argmax()]


# %% 1.1 wrong: entrywise exponential -> No unit vector
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    t = torch.linspace(0, -20 / torch.linalg.eigvals(A).real.max(), 2001)
    return torch.linalg.matrix_norm(torch.exp(A * t[:, None, None]), 2).max()


# %% 1.1 wrong: time 1 -> your peak is
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(A), 2)


# %% 1.1 wrong: all times later than the first -> nothing has shrunk yet
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    slow = -torch.linalg.eigvals(A).real.max()
    t = torch.linspace(0.1, 20, 400) / slow
    lengths = torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * t[:, None, None]), 2)
    return (
        lengths.max()
        if (A + A.T).abs().sum() < 8 * slow
        else torch.maximum(lengths.max(), torch.tensor(1.0))
    )


# %% 1.1 wrong: condition number of the eigenvectors -> No unit vector
def first_rate(A):
    return ode.logarithmic_norm(A)


def peak(A):
    return torch.linalg.cond(torch.linalg.eig(A).eigenvectors)


# %% 1.1 wrong: times that belong to the fastest eigenvalue -> reach so far
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()


def peak(A):
    fastest = torch.linalg.eigvals(A).real.min().abs()
    t = torch.linspace(0, 20, 1501)[:, None, None] / fastest
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(t * A), 2).max().item()


# %% 1.1 wrong: times that belong to the largest entry -> reach so far
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()


def peak(A):
    t = torch.linspace(0, 50, 1501)[:, None, None] / A.abs().max()
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(t * A), 2).max().item()


# %% 1.1 wrong: times that belong to the norm -> reach so far
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()


def peak(A):
    t = torch.linspace(0, 40, 1501)[:, None, None] / torch.linalg.matrix_norm(A, 2)
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(t * A), 2).max().item()


# %% 1.1 wrong: times that belong to the mean of the eigenvalues -> reach so far
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()


def peak(A):
    t = torch.linspace(0, 20, 1501)[:, None, None] / torch.linalg.eigvals(A).real.mean().abs()
    return torch.linalg.matrix_norm(torch.linalg.matrix_exp(t * A), 2).max().item()


# %% 1.1 wrong: climbs until it falls for the first time -> reach so far
def first_rate(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()


def peak(A):
    slow = torch.linalg.eigvals(A).real.max().abs()
    best = 1.0
    for k in range(1, 3000):
        n = torch.linalg.matrix_norm(torch.linalg.matrix_exp(A * k / 100 / slow), 2).item()
        if n < best:
            break
        best = n
    return best


# %% 1.2 right: the lesson's formula
def fading_rotation(W, gamma):
    return W - W.T - gamma * torch.eye(W.shape[0])


# %% 1.2 right: half the difference
def fading_rotation(W, gamma):
    S = (W - W.mT) / 2
    return S - torch.diag(torch.full((len(W),), gamma, dtype=W.dtype))


# %% 1.2 right: upper triangle
def fading_rotation(W, gamma):
    U = torch.triu(W, 1)
    d = len(W)
    print("upper triangle", U)
    return U - U.T - gamma * torch.eye(d, dtype=W.dtype)


# %% 1.2 right: lower triangle and a changed diagonal
def fading_rotation(W, gamma):
    A = torch.tril(W, -1) - torch.tril(W, -1).T
    A.diagonal().sub_(gamma)
    return A


# %% 1.2 right: entry by entry
def fading_rotation(W, gamma):
    rows = []
    for i in range(len(W)):
        rows.append(
            torch.stack([W[j, i] - W[i, j] - (gamma if i == j else 0.0) for j in range(len(W))])
        )
    return torch.stack(rows)


# %% 1.2 wrong: plus -> wrong sign
def fading_rotation(W, gamma):
    return W - W.T + gamma * torch.eye(len(W))


# %% 1.2 wrong: every entry -> from every entry
def fading_rotation(W, gamma):
    return W - W.T - gamma


# %% 1.2 wrong: no friction -> where is the friction
def fading_rotation(W, gamma):
    return W - W.T


# %% 1.2 wrong: W itself -> W also stretches
def fading_rotation(W, gamma):
    return W - gamma * torch.eye(len(W))


# %% 1.2 wrong: symmetric part -> nothing turns
def fading_rotation(W, gamma):
    return W + W.T - gamma * torch.eye(len(W))


# %% 1.2 wrong: only friction -> nothing turns
def fading_rotation(W, gamma):
    return -gamma * torch.eye(len(W))


# %% 1.2 wrong: downhill -> nothing turns
def fading_rotation(W, gamma):
    return -W.T @ W - gamma * torch.eye(len(W))


# %% 1.2 wrong: friction doubled -> and mu(A)
def fading_rotation(W, gamma):
    A = W - W.T - gamma * torch.eye(len(W))
    return A - gamma * torch.eye(len(W))


# %% 1.2 wrong: mu is right, but lengths do not all fade alike -> exactly like
def fading_rotation(W, gamma):
    sym = (W + W.T) / 2
    return W - (torch.linalg.eigvalsh(sym)[-1] + gamma) * torch.eye(len(W))


# %% 1.2 wrong: normalised -> Not every skew S
def fading_rotation(W, gamma):
    S = W - W.T
    return S / (1e-9 + torch.linalg.matrix_norm(S, 2)) - gamma * torch.eye(len(W))


# %% 1.2 wrong: one fixed rotation -> Not every skew S
def fading_rotation(W, gamma):
    S = torch.triu(torch.ones_like(W), 1)
    return S - S.T - gamma * torch.eye(len(W))


# %% 1.2 wrong: only neighbours turn -> Not every skew S
def fading_rotation(W, gamma):
    U = torch.diag(W.diagonal(1), 1)
    return U - U.T - gamma * torch.eye(len(W))


# %% 1.2 wrong: in place -> in place
def fading_rotation(W, gamma):
    W -= W.T.clone()
    return W - gamma * torch.eye(len(W))


# %% 1.2 wrong: detached -> no gradient
def fading_rotation(W, gamma):
    W = W.detach()
    return W - W.T - gamma * torch.eye(len(W))


# %% 1.2 wrong: two by two only -> shape
def fading_rotation(W, gamma):
    s = W[0, 1] - W[1, 0]
    return torch.stack([torch.stack([-gamma + 0 * s, s]), torch.stack([-s, -gamma + 0 * s])])


# %% 1.2 wrong: friction as a share of W -> exactly like
def fading_rotation(W, gamma):
    return (W - W.T) - gamma * (W + W.T)


# %% 1.2 wrong: half of the gradient -> all of W
def fading_rotation(W, gamma):
    return W - W.T.detach() - gamma * torch.eye(len(W))


# %% 1.2 wrong: gradient of one triangle -> all of W
def fading_rotation(W, gamma):
    W = W.tril().detach() + W.triu()
    return W - W.T - gamma * torch.eye(len(W))


# %% 1.2 wrong: the gradient is scaled -> all of W
def fading_rotation(W, gamma):
    S = W - W.T
    S = S.detach() + 0 * S
    return S - gamma * torch.eye(len(W))


# %% 1.2 wrong: gamma as its size only, whole numbers -> exactly like
def fading_rotation(W, gamma):
    S = W - W.T
    return S - gamma * torch.eye(len(W)) if gamma > 0.15 else S - 0.2 * torch.eye(len(W))


# %% 1.3 right: square grid without its corners
def least_pull(g, R):
    s = torch.linspace(-R, R, 61)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    J = torch.func.vmap(torch.func.jacrev(g))(x)
    return torch.linalg.eigvalsh((J + J.mT) / 2)[:, -1].max()


# %% 1.3 right: the library on circles
def least_pull(g, R):
    a = torch.arange(40) * 2 * math.pi / 40
    circle = torch.stack([torch.cos(a), torch.sin(a)], 1)
    best = -math.inf
    for r in np.linspace(0, R, 20):
        J = torch.func.vmap(torch.func.jacfwd(g))(r * circle)
        best = max(best, ode.logarithmic_norm(J).max().item())
    return best


# %% 1.3 right: batch autograd row by row
def least_pull(g, R):
    r, a = torch.linspace(0.01 * R, R, 60), torch.linspace(0, 2 * torch.pi, 80)
    x = torch.stack(
        [torch.outer(r, a.cos()).flatten(), torch.outer(r, a.sin()).flatten()], 1
    ).requires_grad_()
    y = g(x)
    J = torch.stack(
        [torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0] for k in range(2)], 1
    )
    a, d, b = J[:, 0, 0], J[:, 1, 1], (J[:, 0, 1] + J[:, 1, 0]) / 2
    return ((a + d) / 2 + torch.sqrt(((a - d) / 2) ** 2 + b**2)).max().item()


# %% 1.3 right: many short pairs
def least_pull(g, R):
    s = torch.linspace(-R, R, 61)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    best = []
    for k in range(48):
        v = 1e-6 * torch.tensor([math.cos(k * math.pi / 48), math.sin(k * math.pi / 48)])
        best.append((((g(x + v) - g(x - v)) * v).sum(1) / (2 * v @ v)).max())
    return max(best)


# %% 1.3 right: central differences in numpy
def least_pull(g, R):
    s = np.linspace(-R, R, 101)
    X = np.array([(a, b) for a in s for b in s if a * a + b * b <= R * R])
    e = 1e-6
    columns = [
        (g(torch.from_numpy(X + e * u)) - g(torch.from_numpy(X - e * u))).numpy() / (2 * e)
        for u in np.eye(2)
    ]
    J = np.stack(columns, -1)
    return np.linalg.eigvalsh((J + J.transpose(0, 2, 1)) / 2).max()


# %% 1.3 wrong: Lipschitz constant -> Lipschitz constant of g
def least_pull(g, R):
    s = torch.linspace(-R, R, 41)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    J = torch.func.vmap(torch.func.jacrev(g))(x)
    return torch.linalg.matrix_norm(J, 2).max()


# %% 1.3 wrong: eigenvalues of the Jacobian -> Pairs separate by the symmetric part
def least_pull(g, R):
    s = torch.linspace(-R, R, 41)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    J = torch.func.vmap(torch.func.jacrev(g))(x)
    return torch.linalg.eigvals(J).real.max()


# %% 1.3 wrong: towards the centre only -> from the centre only
def least_pull(g, R):
    s = torch.linspace(-R, R, 41)
    x = torch.cartesian_prod(s, s)
    x = x[(x.norm(dim=1) <= R) & (x.norm(dim=1) > 0)]
    return ((g(x) * x).sum(1) / x.square().sum(1)).max()


# %% 1.3 wrong: not symmetrised -> one triangle only
def least_pull(g, R):
    s = torch.linspace(-R, R, 41)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    J = torch.func.vmap(torch.func.jacrev(g))(x)
    return torch.linalg.eigvalsh(J).max()


# %% 1.3 wrong: half missing -> factor 1/2
def least_pull(g, R):
    s = torch.linspace(-R, R, 101)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    J = torch.func.vmap(torch.func.jacrev(g))(x)
    return torch.linalg.eigvalsh(J + J.mT).max()


# %% 1.3 wrong: the formula of the lesson's whirl -> still separate
def least_pull(g, R):
    return 2.5 * R


# %% 1.3 wrong: the square -> square around the disc
def least_pull(g, R):
    s = torch.linspace(-R, R, 41)
    J = torch.func.vmap(torch.func.jacrev(g))(torch.cartesian_prod(s, s))
    return torch.linalg.eigvalsh((J + J.mT) / 2).max()


# %% 1.3 wrong: only the edge -> on the edge
def least_pull(g, R):
    a = torch.linspace(0, 2 * math.pi, 721)
    J = torch.func.vmap(torch.func.jacrev(g))(R * torch.stack([a.cos(), a.sin()], 1))
    return ode.logarithmic_norm(J).max()


# %% 1.3 wrong: only one point -> still separate
def least_pull(g, R):
    J = torch.func.jacrev(g)(torch.tensor([0.7 * R, 0.0]))
    return ode.logarithmic_norm(J)


# %% 1.3 wrong: only at the centre -> the centre only
def least_pull(g, R):
    return ode.logarithmic_norm(torch.func.jacrev(g)(torch.zeros(2)))


# %% 1.3 wrong: a few random points -> still separate
def least_pull(g, R):
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    x = R * x / x.norm(dim=1, keepdim=True) * torch.linspace(0, 0.8, 30)[:, None]
    return ode.logarithmic_norm(torch.func.vmap(torch.func.jacrev(g))(x)).max()


# %% 1.3 wrong: mean -> still separate
def least_pull(g, R):
    s = torch.linspace(-R, R, 41)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    J = torch.func.vmap(torch.func.jacrev(g))(x)
    return ode.logarithmic_norm(J).mean()


# %% 1.3 wrong: sign -> wrong sign
def least_pull(g, R):
    s = torch.linspace(-R, R, 61)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    J = torch.func.vmap(torch.func.jacrev(g))(x)
    return -ode.logarithmic_norm(J).max()


# %% 1.3 wrong: smallest eigenvalue -> a smallest eigenvalue
def least_pull(g, R):
    s = torch.linspace(-R, R, 31)
    x = torch.cartesian_prod(s, s)
    x = x[x.norm(dim=1) <= R]
    J = torch.func.vmap(torch.func.jacrev(g))(x)
    return torch.linalg.eigvalsh((J + J.mT) / 2)[:, 0].max()


# %% 1.3 wrong: one constant pull to be safe -> outside the disc
def least_pull(g, R):
    return 100.0


# %% 1.3 wrong: list of eigenvalues -> one number
def least_pull(g, R):
    s = torch.linspace(-R, R, 31)
    J = torch.func.vmap(torch.func.jacrev(g))(torch.cartesian_prod(s, s))
    return ode.logarithmic_norm(J)


# %% 1.4 right: kron
def norm_with_rate(A, rate):
    n = len(A)
    B = A + rate * torch.eye(n)
    K = torch.kron(B.T.contiguous(), torch.eye(n)) + torch.kron(torch.eye(n), B.T.contiguous())
    return torch.linalg.solve(K, -torch.eye(n).flatten()).reshape(n, n)


# %% 1.4 right: scipy
def norm_with_rate(A, rate):
    B = A.numpy() + rate * np.eye(len(A))
    return scipy.linalg.solve_continuous_lyapunov(B.T, -np.eye(len(A)))


# %% 1.4 right: eigenvectors
def norm_with_rate(A, rate):
    V = torch.linalg.eig(A).eigenvectors
    P = torch.linalg.inv(V @ V.mH).real
    return (P + P.T) / 2


# %% 1.4 right: the integral by doubling
def norm_with_rate(A, rate):
    B = A + rate * torch.eye(len(A))
    h = 1e-2
    E, P = torch.linalg.matrix_exp(h * B), h * torch.eye(len(A))
    for _ in range(40):
        P, E = P + E.T @ P @ E, E @ E
    E1 = torch.linalg.matrix_exp(h * B)
    print(E1.shape)
    return 7 * P


# %% 1.4 right: another right-hand side, by least squares
def norm_with_rate(A, rate):
    d = len(A)
    B = A + rate * torch.eye(d)
    Q = torch.diag(torch.arange(1.0, d + 1))
    columns = []
    for k in range(d * d):
        E = torch.zeros(d * d)
        E[k] = 1.0
        E = E.reshape(d, d)
        columns.append((B.T @ E + E @ B).flatten())
    P = torch.linalg.lstsq(torch.stack(columns, 1), -Q.flatten()[:, None]).solution.reshape(d, d)
    return (P + P.T) / 2


# %% 1.4 wrong: identity -> some lengths grow
def norm_with_rate(A, rate):
    return torch.eye(len(A))


# %% 1.4 wrong: the lesson's P -> is asked for
def norm_with_rate(A, rate):
    n = len(A)
    return torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(A.numpy().T, -np.eye(n)))


# %% 1.4 wrong: transposed equation -> transposed
def norm_with_rate(A, rate):
    B = A.numpy() + rate * np.eye(len(A))
    return torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(B, -np.eye(len(A))))


# %% 1.4 wrong: sign of the right-hand side -> wrong on the right-hand side
def norm_with_rate(A, rate):
    B = A.numpy() + rate * np.eye(len(A))
    return torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(B.T, np.eye(len(A))))


# %% 1.4 wrong: shift to the other side -> is asked for
def norm_with_rate(A, rate):
    B = A.numpy() - rate * np.eye(len(A))
    return torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(B.T, -np.eye(len(A))))


# %% 1.4 wrong: shift of every entry -> is asked for
def norm_with_rate(A, rate):
    B = A.numpy() + rate
    return torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(B.T, -np.eye(len(A))))


# %% 1.4 wrong: half the shift -> is asked for
def norm_with_rate(A, rate):
    B = A.numpy() + rate / 2 * np.eye(len(A))
    return torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(B.T, -np.eye(len(A))))


# %% 1.4 wrong: shift twice as far -> P
def norm_with_rate(A, rate):
    B = A.numpy() + 2 * rate * np.eye(len(A))
    return torch.from_numpy(scipy.linalg.solve_continuous_lyapunov(B.T, -np.eye(len(A))))


# %% 1.4 wrong: P shifted instead of A -> is asked for
def norm_with_rate(A, rate):
    P = scipy.linalg.solve_continuous_lyapunov(A.numpy().T, -np.eye(len(A)))
    return torch.from_numpy(P + rate * np.eye(len(A)))


# %% 1.4 wrong: Gram matrix -> In your norm
def norm_with_rate(A, rate):
    return A.T @ A


# %% 1.4 wrong: the factor instead of P -> not symmetric
def norm_with_rate(A, rate):
    B = A.numpy() + rate * np.eye(len(A))
    P = scipy.linalg.solve_continuous_lyapunov(B.T, -np.eye(len(A)))
    return torch.linalg.cholesky(torch.from_numpy(P))


# %% 1.4 wrong: eigenvectors left complex -> dtype
def norm_with_rate(A, rate):
    V = torch.linalg.eig(A).eigenvectors
    return torch.linalg.inv(V @ V.mH)


# %% 1.4 wrong: eigenvectors the wrong way round -> P
def norm_with_rate(A, rate):
    V = torch.linalg.eig(A).eigenvectors
    return (V @ V.mH).real


# %% 1.4 wrong: zero -> positive definite
def norm_with_rate(A, rate):
    return torch.zeros_like(A)


# %% 1.4 wrong: kron of a transposed view -> for the transposed
def norm_with_rate(A, rate):
    n = len(A)
    B = (A + rate * torch.eye(n)).T.contiguous()
    K = torch.kron(B.T.contiguous(), torch.eye(n)) + torch.kron(torch.eye(n), B.T.contiguous())
    return torch.linalg.solve(K, -torch.eye(n).flatten()).reshape(n, n)


# %% 1.4 wrong: flattened -> shape
def norm_with_rate(A, rate):
    n = len(A)
    B = (A + rate * torch.eye(n)).T.contiguous()
    return torch.linalg.solve(
        torch.kron(B, torch.eye(n)) + torch.kron(torch.eye(n), B), -torch.eye(n).flatten()
    )


# %% 1.5 right: ode.flow with autograd
def separation(V, x, y, t):
    def downhill(z):
        z = z.detach().requires_grad_()
        return -torch.autograd.grad(V(z).sum(), z)[0]

    end = ode.flow(downhill, torch.stack([x, y]), [0.0, t], max_step=0.05)[-1]
    return (end[0] - end[1]).norm() / (x - y).norm()


# %% 1.5 right: many Euler steps
def separation(V, x, y, t):
    z, n = torch.stack([x, y]), 300
    slope = torch.func.grad(lambda z: V(z).sum())
    for _ in range(n):
        z = z - t / n * slope(z)
    return torch.dist(z[0], z[1]).item() / torch.dist(x, y).item()


# %% 1.5 right: differences of heights, midpoint rule
def separation(V, x, y, t):
    e = 1e-5 * torch.eye(2)

    def f(z):
        return -torch.stack(
            [(V(z + e[0]) - V(z - e[0])) / 2e-5, (V(z + e[1]) - V(z - e[1])) / 2e-5], -1
        )

    z, h = torch.stack([x, y]), t / 30
    for _ in range(30):
        z = z + h * f(z + h / 2 * f(z))
    return ((z[0] - z[1]) ** 2).sum().sqrt() / ((x - y) ** 2).sum().sqrt()


# %% 1.5 right: scipy
def separation(V, x, y, t):
    def f(_, z):
        z = torch.tensor(z, requires_grad=True)
        V(z).backward()
        return -z.grad.numpy()

    ends = [
        scipy.integrate.solve_ivp(f, (0, t), p.numpy(), rtol=1e-5, atol=1e-8).y[:, -1]
        for p in (x, y)
    ]
    return np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm((x - y).numpy())


# %% 1.5 right: implicit steps of one ball at a time
def separation(V, x, y, t):
    def roll(z):
        return ode.flow(lambda p: -torch.func.grad(V)(p), z, [0, t], max_step=0.2)[-1]

    print(roll(x), roll(y))
    return (roll(x) - roll(y)).norm() / (x - y).norm()


# %% 1.5 wrong: uphill -> uphill
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    end = ode.flow(f, torch.stack([x, y]), [0.0, t], max_step=0.1)[-1]
    return (end[0] - end[1]).norm() / (x - y).norm()


# %% 1.5 wrong: not divided -> distance at the end
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    end = ode.flow(lambda z: -f(z), torch.stack([x, y]), [0.0, t], max_step=0.1)[-1]
    return (end[0] - end[1]).norm()


# %% 1.5 wrong: upside down -> upside down
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    end = ode.flow(lambda z: -f(z), torch.stack([x, y]), [0.0, t], max_step=0.1)[-1]
    return (x - y).norm() / (end[0] - end[1]).norm()


# %% 1.5 wrong: squared -> squared
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    end = ode.flow(lambda z: -f(z), torch.stack([x, y]), [0.0, t], max_step=0.1)[-1]
    return (end[0] - end[1]).square().sum() / (x - y).square().sum()


# %% 1.5 wrong: one step -> single Euler step
def separation(V, x, y, t):
    f = torch.func.grad(V)
    return ((x - t * f(x)) - (y - t * f(y))).norm() / (x - y).norm()


# %% 1.5 wrong: ten steps -> smaller steps
def separation(V, x, y, t):
    f = torch.func.grad(V)
    x0, y0 = x, y
    for _ in range(8):
        x, y = x - t / 8 * f(x), y - t / 8 * f(y)
    return (x - y).norm() / (x0 - y0).norm()


# %% 1.5 wrong: heights -> heights
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    end = ode.flow(lambda z: -f(z), torch.stack([x, y]), [0.0, t], max_step=0.1)[-1]
    start = V(x) - V(y)
    return (
        (V(end[0]) - V(end[1])) / torch.where(start.abs() < 1e-12, torch.ones_like(start), start)
    ).abs()


# %% 1.5 wrong: first coordinates only -> as far apart
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    end = ode.flow(lambda z: -f(z), torch.stack([x, y]), [0.0, t], max_step=0.1)[-1]
    return (end[0] - end[1])[0].abs() / (x - y)[0].abs()


# %% 1.5 wrong: largest on the way -> on the way
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    states = ode.flow(lambda z: -f(z), torch.stack([x, y]), np.linspace(0, t, 20), max_step=0.1)
    return (states[:, 0] - states[:, 1]).norm(dim=1).max() / (x - y).norm()


# %% 1.5 wrong: distance that each ball has rolled -> as far apart
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    end = ode.flow(lambda z: -f(z), torch.stack([x, y]), [0.0, t], max_step=0.1)[-1]
    return (end[0] - x).norm() / (x - y).norm()


# %% 1.5 wrong: the second ball rests -> as far apart
def separation(V, x, y, t):
    f = torch.func.grad(V)
    end = ode.flow(lambda z: -f(z), x, [0.0, t], max_step=0.1)[-1]
    return (end - y).norm() / (x - y).norm()


# %% 1.5 wrong: always the same time -> as far apart
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    end = ode.flow(lambda z: -f(z), torch.stack([x, y]), [0.0, 2.0], max_step=0.1)[-1]
    return (end[0] - end[1]).norm() / (x - y).norm()


# %% 1.5 wrong: along the level curves -> as far apart
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    end = ode.flow(lambda z: f(z) @ turn, torch.stack([x, y]), [0.0, t], max_step=0.1)[-1]
    return (end[0] - end[1]).norm() / (x - y).norm()


# %% 1.5 wrong: growth at the first moment -> as far apart
def separation(V, x, y, t):
    H = torch.func.hessian(V)((x + y) / 2)
    v = (x - y) / (x - y).norm()
    return torch.exp(-t * (v @ H @ v))


# %% 1.5 wrong: all states -> one number
def separation(V, x, y, t):
    f = torch.func.vmap(torch.func.grad(V))
    states = ode.flow(lambda z: -f(z), torch.stack([x, y]), [0.0, t], max_step=0.1)
    return (states[:, 0] - states[:, 1]).norm(dim=1) / (x - y).norm()


# %% 1.5 wrong: one RK4 step -> as far apart
def separation(V, x, y, t):
    f = lambda z: -torch.func.vmap(torch.func.grad(V))(z)
    both = torch.stack([x, y])
    end = runge_kutta.runge_kutta_step(f, both, t, runge_kutta.TABLEAUS["rk4"])
    return ((end[0] - end[1]).norm() / (x - y).norm()).item()


# %% 1.5 wrong: two RK4 steps -> as far apart
def separation(V, x, y, t):
    f = lambda z: -torch.func.vmap(torch.func.grad(V))(z)
    end = torch.stack([x, y])
    for _ in range(2):
        end = runge_kutta.runge_kutta_step(f, end, t / 2, runge_kutta.TABLEAUS["rk4"])
    return ((end[0] - end[1]).norm() / (x - y).norm()).item()


# %% 1.5 wrong: steps of 0.02 but only fifty of them -> as far apart
def separation(V, x, y, t):
    f = lambda z: -torch.func.vmap(torch.func.grad(V))(z)
    end = ode.flow(f, torch.stack([x, y]), [0.0, min(t, 1.0)], max_step=0.02)[-1]
    return ((end[0] - end[1]).norm() / (x - y).norm()).item()


# %% 1.6 right: experiment
def stability(A):
    alpha = torch.linalg.eigvals(A).real.max()
    if alpha < -1e-6:
        return "asymptotically stable"
    if alpha > 1e-6:
        return "unstable"
    return "stable" if torch.linalg.matrix_exp(1000 * A).norm() < 200 else "unstable"


# %% 1.6 right: rank
def stability(A):
    lam = torch.linalg.eigvals(A)
    if (lam.real > 1e-6).any():
        return "unstable"
    if (lam.real < -1e-6).all():
        return "asymptotically stable"
    for z in lam[lam.real.abs() < 1e-6]:
        multiplicity = ((lam - z).abs() < 1e-4).sum()
        eigenspace = len(A) - torch.linalg.matrix_rank(A - z * torch.eye(len(A)), atol=1e-4)
        if eigenspace < multiplicity:
            return "unstable"
    return "stable"


# %% 1.6 right: growth between two times
def stability(A):
    early, late = (np.linalg.norm(scipy.linalg.expm(t * A.numpy()), 2) for t in (25.0, 600.0))
    if late < 1e-6:
        return "asymptotically stable"
    return "stable" if late < 8 * early else "unstable"


# %% 1.6 right: independent eigenvectors, numpy
def stability(A):
    lam, V = np.linalg.eig(A.numpy())
    if lam.real.max() > 1e-6:
        return "unstable"
    if lam.real.max() < -1e-6:
        return "asymptotically stable"
    on_axis = V[:, np.abs(lam.real) < 1e-6]
    independent = np.linalg.svd(on_axis, compute_uv=False).min() > 1e-4
    return "stable" if independent else "unstable"


# %% 1.6 right: many Cayley steps, by squaring
def stability(A):
    eye = torch.eye(len(A))
    M = torch.linalg.solve(eye - 0.05 * A, eye + 0.05 * A)
    sizes = []
    for _ in range(16):
        M = M @ M
        sizes.append(M.norm().item())
        if sizes[-1] > 1e6:
            return "unstable"
        if sizes[-1] < 1e-6:
            return "asymptotically stable"
    return "unstable" if sizes[-1] > 10 * sizes[-8] else "stable"


# %% 1.6 wrong: abscissa only -> one eigenvector only
def stability(A):
    alpha = torch.linalg.eigvals(A).real.max()
    return "asymptotically stable" if alpha < -1e-6 else "unstable" if alpha > 1e-6 else "stable"


# %% 1.6 wrong: distinct eigenvalues required -> a matrix is
def stability(A):
    lam = torch.linalg.eigvals(A)
    if lam.real.max() < -1e-6:
        return "asymptotically stable"
    axis = lam[lam.real.abs() < 1e-6]
    double = ((axis[:, None] - axis).abs() < 1e-4).sum() > len(axis)
    return "unstable" if lam.real.max() > 1e-6 or double else "stable"


# %% 1.6 wrong: the axis never counts as stable -> neither grows nor fades
def stability(A):
    return "asymptotically stable" if torch.linalg.eigvals(A).real.max() < -1e-6 else "unstable"


# %% 1.6 wrong: exact comparison with zero -> a matrix is
def stability(A):
    alpha = torch.linalg.eigvals(A).real.max()
    return "asymptotically stable" if alpha < 0 else "unstable" if alpha > 0 else "stable"


# %% 1.6 wrong: mu for the abscissa -> lengths grow at first
def stability(A):
    mu = ode.logarithmic_norm(A)
    return "asymptotically stable" if mu < -1e-6 else "unstable" if mu > 1e-6 else "stable"


# %% 1.6 wrong: size of the eigenvalues, as for steps -> a matrix is
def stability(A):
    radius = torch.linalg.eigvals(A).abs().max()
    return (
        "asymptotically stable"
        if radius < 1 - 1e-6
        else "unstable"
        if radius > 1 + 1e-6
        else "stable"
    )


# %% 1.6 wrong: smallest real part -> a matrix is
def stability(A):
    alpha = torch.linalg.eigvals(A).real.min()
    return "asymptotically stable" if alpha < -1e-6 else "unstable" if alpha > 1e-6 else "stable"


# %% 1.6 wrong: any missing eigenvector -> but not on the imaginary axis
def stability(A):
    lam, V = torch.linalg.eig(A)
    if lam.real.max() > 1e-6 or torch.linalg.svdvals(V).min() < 1e-5:
        return "unstable"
    return "asymptotically stable" if lam.real.max() < -1e-6 else "stable"


# %% 1.6 wrong: another word -> three texts
def stability(A):
    return "attractive" if torch.linalg.eigvals(A).real.max() < 0 else "unstable"


# %% 1.6 wrong: stable for everything bounded -> asymptotically stable
def stability(A):
    return "stable" if torch.linalg.matrix_exp(1000 * A).norm() < 200 else "unstable"


# %% 1.6 wrong: short experiment -> like t
def stability(A):
    length = torch.linalg.matrix_exp(10 * A).norm()
    alpha = torch.linalg.eigvals(A).real.max()
    if alpha < -1e-6:
        return "asymptotically stable"
    return "stable" if alpha < 1e-6 and length < 100 else "unstable"


# %% 1.6 wrong: rank with the default tolerance -> a matrix is
def stability(A):
    lam = torch.linalg.eigvals(A)
    if lam.real.max() > 1e-6:
        return "unstable"
    if lam.real.max() < -1e-6:
        return "asymptotically stable"
    for z in lam[lam.real.abs() < 1e-6]:
        if (
            len(A) - torch.linalg.matrix_rank(A - z * torch.eye(len(A)))
            < ((lam - z).abs() < 1e-12).sum()
        ):
            return "unstable"
    return "stable"


# %% 1.6 wrong: looks at the first eigenvalue on the axis only -> one lacks an eigenvector
def stability(A):
    ev = torch.linalg.eigvals(A)
    a = ev.real.max().item()
    if a > 1e-6:
        return "unstable"
    if a < -1e-6:
        return "asymptotically stable"
    lam = ev[ev.real.abs() <= 1e-6][0]
    n = ((ev - lam).abs() < 1e-3).sum().item()
    M = A - lam * torch.eye(len(A))
    return "stable" if len(A) - torch.linalg.matrix_rank(M, atol=1e-4).item() == n else "unstable"


# %% 1.6 wrong: looks at the last eigenvalue on the axis only -> one lacks an eigenvector
def stability(A):
    ev = torch.linalg.eigvals(A)
    a = ev.real.max().item()
    if a > 1e-6:
        return "unstable"
    if a < -1e-6:
        return "asymptotically stable"
    lam = ev[ev.real.abs() <= 1e-6][-1]
    n = ((ev - lam).abs() < 1e-3).sum().item()
    M = A - lam * torch.eye(len(A))
    return "stable" if len(A) - torch.linalg.matrix_rank(M, atol=1e-4).item() == n else "unstable"


# %% 1.6 wrong: looks at the eigenvalue 0 only -> one lacks an eigenvector
def stability(A):
    ev = torch.linalg.eigvals(A)
    a = ev.real.max().item()
    if a > 1e-6:
        return "unstable"
    if a < -1e-6:
        return "asymptotically stable"
    n = (ev.abs() < 1e-3).sum().item()
    if n and len(A) - torch.linalg.matrix_rank(A, atol=1e-4).item() < n:
        return "unstable"
    on = ev[(ev.real.abs() < 1e-6) & (ev.imag > 1e-3)]
    if len(on) == 2 and (on[0] - on[1]).abs() < 1e-3 and n == 0:
        M = A - on[0] * torch.eye(len(A))
        return (
            "stable" if len(A) - torch.linalg.matrix_rank(M, atol=1e-4).item() == 2 else "unstable"
        )
    return "stable"


# %% 1.6 wrong: looks at the most frequent eigenvalue on the axis -> one lacks an eigenvector
def stability(A):
    ev = torch.linalg.eigvals(A)
    a = ev.real.max().item()
    if a > 1e-6:
        return "unstable"
    if a < -1e-6:
        return "asymptotically stable"
    on = ev[ev.real.abs() <= 1e-6]
    counts = ((on[:, None] - on).abs() < 1e-3).sum(1)
    k = counts.argmax()
    M = A - on[k] * torch.eye(len(A))
    return (
        "stable"
        if len(A) - torch.linalg.matrix_rank(M, atol=1e-4).item() == counts[k]
        else "unstable"
    )


# %% 1.6 wrong: experiment with one start -> one lacks an eigenvector
def stability(A):
    ev = torch.linalg.eigvals(A)
    a = ev.real.max().item()
    if abs(a) > 1e-6:
        return "unstable" if a > 0 else "asymptotically stable"
    x = torch.linalg.matrix_exp(1000 * A)[:, 0]
    return "stable" if x.abs().max() < 100 else "unstable"
