import math
import types

import numpy as np
import torch

from chapter_utils import norms, ode, runge_kutta

# A copy: the function itself is taken away while an answer runs.
code = runge_kutta.circle_contractivity_radius.__code__
radius_of = types.FunctionType(code, vars(runge_kutta))


# %% 2.1 right: logarithms
def steps_to_double(h, omega):
    return math.ceil(2 * math.log(2) / math.log1p((h * omega) ** 2))


# %% 2.1 right: counting
def steps_to_double(h, omega):
    n, length = 0, 1.0
    while length < 2:
        length *= (1 + h**2 * omega**2) ** 0.5
        n += 1
    return n


# %% 2.1 right: simulation
def steps_to_double(h, omega):
    K = omega * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for n in range(1_000_000):
        if x.norm() >= 2:
            print("found", n)
            return n
        x = x + h * K @ x


# %% 2.1 right: complex numbers and a tensor as result
def steps_to_double(h, omega):
    return torch.ceil(math.log(2) / torch.log(torch.tensor(abs(1 + 1j * h * omega))))


# %% 2.1 right: numpy
def steps_to_double(h, omega):
    return np.ceil(np.log(2) / np.log(np.hypot(1, h * omega)))


# %% 2.1 wrong: squared length -> squared
def steps_to_double(h, omega):
    return math.ceil(math.log(2) / math.log(1 + (h * omega) ** 2))


# %% 2.1 wrong: not rounded -> round up
def steps_to_double(h, omega):
    return math.log(2) / math.log(math.sqrt(1 + (h * omega) ** 2))


# %% 2.1 wrong: rounded down -> one step off
def steps_to_double(h, omega):
    return int(math.log(2) / math.log(math.sqrt(1 + (h * omega) ** 2)))


# %% 2.1 wrong: one too many -> one step off
def steps_to_double(h, omega):
    n, length = 0, 1.0
    while length <= 2:
        length *= (1 + h**2 * omega**2) ** 0.5
        n += 1
    return n + 1


# %% 2.1 wrong: omega forgotten -> does not depend on omega
def steps_to_double(h, omega):
    return math.ceil(math.log(2) / math.log(math.sqrt(1 + h**2)))


# %% 2.1 wrong: the number for the demo -> does not depend on omega
def steps_to_double(h, omega):
    return 140


# %% 2.1 wrong: the factor of a growth x' = x -> it is only
def steps_to_double(h, omega):
    return math.ceil(math.log(2) / math.log(1 + h * omega))


# %% 2.1 wrong: omega not squared -> suffice
def steps_to_double(h, omega):
    return math.ceil(math.log(2) / math.log(math.sqrt(1 + h**2 * min(omega, 1 / omega))))


# %% 2.1 wrong: four times as long -> suffice
def steps_to_double(h, omega):
    return math.ceil(math.log(4) / math.log(math.sqrt(1 + (h * omega) ** 2)))


# %% 2.1 wrong: returns the time -> round up
def steps_to_double(h, omega):
    return h * 1.07 * math.ceil(math.log(2) / math.log(math.sqrt(1 + (h * omega) ** 2)))


# %% 2.1 wrong: at least two steps -> one step off
def steps_to_double(h, omega):
    return max(2, math.ceil(math.log(2) / math.log(math.sqrt(1 + (h * omega) ** 2))))


# %% 2.1 wrong: gives up after 1000 -> it is only
def steps_to_double(h, omega):
    return min(1000, math.ceil(math.log(2) / math.log(math.sqrt(1 + (h * omega) ** 2))))


# %% 2.2 right: eigenvalues of the scaled matrix
def contractivity_radius(A, b):
    if (b < 0).any():
        return 0.0
    B = torch.diag(b)
    M = B @ A + A.T @ B - torch.outer(b, b)
    zero = b == 0
    if (M[zero].abs() > 1e-12).any():
        return 0
    M, b = M[~zero][:, ~zero], b[~zero]
    D = torch.diag(b**-0.5)
    lowest = torch.linalg.eigvalsh(D @ M @ D)[0]
    return math.inf if lowest > -1e-10 else -1 / lowest


# %% 2.2 right: bisection
def contractivity_radius(A, b):
    B = torch.diag(b)
    M = B @ A + A.T @ B - torch.outer(b, b)
    ok = lambda r: torch.linalg.eigvalsh(M + B / r)[0] >= -1e-12
    if b.min() < 0:
        return 0.0
    if ok(1e8):
        return float("inf")
    lo, hi = 0.0, 1e8
    for _ in range(100):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if ok(mid) else (lo, mid)
    return lo


# %% 2.2 right: numpy with bisection over 1 / r
def contractivity_radius(A, b):
    A, b = A.numpy(), b.numpy()
    M = np.diag(b) @ A + A.T @ np.diag(b) - np.outer(b, b)
    if b.min() < 0:
        return 0.0
    if np.linalg.eigvalsh(M).min() > -1e-12:
        return np.inf
    low, high = 0.0, 1e7
    if np.linalg.eigvalsh(M + high * np.diag(b)).min() < -1e-12:
        return 0.0
    while high - low > 1e-9:
        s = (low + high) / 2
        if np.linalg.eigvalsh(M + s * np.diag(b)).min() < -1e-12:
            low = s
        else:
            high = s
    return 1 / high


# %% 2.2 wrong: the library -> write it yourself
def contractivity_radius(A, b):
    return runge_kutta.circle_contractivity_radius(runge_kutta.Tableau(A, b))


# %% 2.2 right: a bracket that is doubled
def contractivity_radius(A, b):
    M = b[:, None] * A + (b[:, None] * A).T - b[:, None] * b
    fits = lambda r: bool(torch.linalg.eigvalsh(M + torch.diag(b) / r).min() > -1e-13)
    if b.min() < 0 or not fits(1e-6):
        return 0.0
    r = 1e-6
    while fits(2 * r):
        r *= 2
        if r > 1e7:
            return math.inf
    low, high = r, 2 * r
    while high / low > 1 + 1e-8:
        r = (low * high) ** 0.5
        low, high = (r, high) if fits(r) else (low, r)
    return low


# %% 2.2 wrong: twice the radius -> This is 2r
def contractivity_radius(A, b):
    return 2 * radius_of(runge_kutta.Tableau(A, b))


# %% 2.2 wrong: the inverse -> Too
def contractivity_radius(A, b):
    r = radius_of(runge_kutta.Tableau(A, b))
    return 1 / r if r else math.inf


# %% 2.2 wrong: plus in place of minus -> positive and finite
def contractivity_radius(A, b):
    B = torch.diag(b)
    M = B @ A + A.T @ B + torch.outer(b, b)
    lowest = torch.linalg.eigvalsh(M)[0].item()
    return math.inf if lowest > -1e-12 else -b.max().item() / lowest


# %% 2.2 wrong: not symmetrised -> Too
def contractivity_radius(A, b):
    B = torch.diag(b)
    M = B @ A - torch.outer(b, b)
    D = torch.diag(b.clamp(min=1e-9) ** -0.5)
    return -1 / torch.linalg.eigvals(D @ M @ D).real.min().item()


# %% 2.2 wrong: A B for B A -> Too
def contractivity_radius(A, b):
    B = torch.diag(b)
    M = A @ B + B @ A.T - torch.outer(b, b)
    D = torch.diag(b.clamp(min=1e-9) ** -0.5)
    lowest = torch.linalg.eigvalsh(D @ M @ D)[0].item()
    return math.inf if lowest > -1e-12 else -1 / lowest


# %% 2.2 wrong: identity for B -> Too
def contractivity_radius(A, b):
    B = torch.diag(b)
    M = B @ A + A.T @ B - torch.outer(b, b)
    lowest = torch.linalg.eigvalsh(M)[0].item()
    return math.inf if lowest > -1e-12 else -1 / lowest


# %% 2.2 wrong: half the linear limit -> Too large
def contractivity_radius(A, b):
    for k in range(1, 2000):
        if abs(runge_kutta.stability_function(runge_kutta.Tableau(A, b), -k / 100)) > 1 + 1e-9:
            return k / 200
    return math.inf


# %% 2.2 wrong: a large number for infinity -> math.inf
def contractivity_radius(A, b):
    return min(radius_of(runge_kutta.Tableau(A, b)), 1e6)


# %% 2.2 wrong: negative weights overlooked -> negative weight
def contractivity_radius(A, b):
    if (b < 0).any():
        b = b.abs() / b.abs().sum()
    return radius_of(runge_kutta.Tableau(A, b))


# %% 2.2 wrong: every zero weight gives 0 -> never used
def contractivity_radius(A, b):
    return 0.0 if b.min() <= 0 else radius_of(runge_kutta.Tableau(A, b))


# %% 2.2 wrong: zero weights left out -> no r > 0 helps
def contractivity_radius(A, b):
    if b.min() < 0:
        return 0.0
    M = b[:, None] * A + (b[:, None] * A).T - torch.outer(b, b)
    used = b > 0
    M, root = M[used][:, used], b[used].sqrt()
    lowest = torch.linalg.eigvalsh(M / root / root[:, None])[0].item()
    return math.inf if lowest > -1e-12 else -1 / lowest


# %% 2.2 wrong: a table of names -> raised KeyError
def contractivity_radius(A, b):
    return {1: 1.0, 3: 0.5}[len(b)]


# %% 2.2 wrong: bisection up to 2 -> Too small
def contractivity_radius(A, b):
    if b.min() < 0:
        return 0.0
    B = torch.diag(b)
    M = B @ A + A.T @ B - torch.outer(b, b)
    ok = lambda r: torch.linalg.eigvalsh(M + B / r)[0] >= -1e-12
    if ok(1e9):
        return math.inf
    lo, hi = 0.0, 2.05
    for _ in range(100):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if ok(mid) else (lo, mid)
    return lo


# %% 2.2 wrong: bisection up to 10 -> Too small
def contractivity_radius(A, b):
    if b.min() < 0:
        return 0.0
    B = torch.diag(b)
    M = B @ A + A.T @ B - torch.outer(b, b)
    ok = lambda r: torch.linalg.eigvalsh(M + B / r)[0] >= -1e-12
    if ok(1e9):
        return math.inf
    lo, hi = 0.0, 10
    for _ in range(100):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if ok(mid) else (lo, mid)
    return lo


# %% 2.2 wrong: inf beyond 2.5 -> positive and finite
def contractivity_radius(A, b):
    if b.min() < 0:
        return 0.0
    B = torch.diag(b)
    M = B @ A + A.T @ B - torch.outer(b, b)
    ok = lambda r: torch.linalg.eigvalsh(M + B / r)[0] >= -1e-12
    if ok(2.5):
        return math.inf
    lo, hi = 0.0, 2.5
    for _ in range(100):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if ok(mid) else (lo, mid)
    return lo


# %% 2.2 wrong: starts at 0.2 -> positive and finite
def contractivity_radius(A, b):
    if b.min() < 0:
        return 0.0
    B = torch.diag(b)
    M = B @ A + A.T @ B - torch.outer(b, b)
    ok = lambda r: torch.linalg.eigvalsh(M + B / r)[0] >= -1e-12
    if ok(1e9):
        return math.inf
    if not ok(0.1):
        return 0.0
    lo, hi = 0.1, 1e6
    for _ in range(100):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if ok(mid) else (lo, mid)
    return lo


# %% 2.3 right: jacobian of the step
def midpoint_slope(f, x, h):
    J = torch.autograd.functional.jacobian(lambda z: z + h * f(z + h / 2 * f(z)), x)
    return torch.linalg.matrix_norm(J, ord=2)


# %% 2.3 right: the library
def midpoint_slope(f, x, h):
    step = lambda z: runge_kutta.runge_kutta_step(f, z, h, runge_kutta.TABLEAUS["midpoint"])
    return norms.jacobian_norms(step, x[None]).item()


# %% 2.3 right: chain rule
def midpoint_slope(f, x, h):
    jacobian = torch.func.jacrev(f)
    halfway = x + h / 2 * f(x)
    J = torch.eye(2) + h * jacobian(halfway) @ (torch.eye(2) + h / 2 * jacobian(x))
    return torch.linalg.svdvals(J)[0]


# %% 2.3 right: finite differences
def midpoint_slope(f, x, h):
    def step(z):
        return z + h * f(z + 0.5 * h * f(z))

    e = 1e-6 * torch.eye(2, dtype=x.dtype)
    J = torch.stack([(step(x + d) - step(x - d)) / 2e-6 for d in e], 1)
    return np.linalg.norm(J.numpy(), 2)


# %% 2.3 right: largest eigenvalue of J'J
def midpoint_slope(f, x, h):
    x = x.clone().requires_grad_()
    y = x + h * f(x + h / 2 * f(x))
    J = torch.stack([torch.autograd.grad(y[k], x, retain_graph=True)[0] for k in range(2)])
    return torch.linalg.eigvalsh(J.T @ J).max().sqrt().item()


# %% 2.3 wrong: euler -> step of euler
def midpoint_slope(f, x, h):
    J = torch.func.jacrev(lambda z: z + h * f(z))(x)
    return torch.linalg.matrix_norm(J, 2)


# %% 2.3 wrong: heun -> step of heun
def midpoint_slope(f, x, h):
    J = torch.func.jacrev(lambda z: z + h / 2 * (f(z) + f(z + h * f(z))))(x)
    return torch.linalg.matrix_norm(J, 2)


# %% 2.3 wrong: Frobenius norm -> Frobenius
def midpoint_slope(f, x, h):
    J = torch.autograd.functional.jacobian(lambda z: z + h * f(z + h / 2 * f(z)), x)
    return torch.linalg.norm(J)


# %% 2.3 wrong: spectral radius -> singular
def midpoint_slope(f, x, h):
    J = torch.autograd.functional.jacobian(lambda z: z + h * f(z + h / 2 * f(z)), x)
    return torch.linalg.eigvals(J).abs().max()


# %% 2.3 wrong: smallest singular value -> smallest stretch
def midpoint_slope(f, x, h):
    J = torch.autograd.functional.jacobian(lambda z: z + h * f(z + h / 2 * f(z)), x)
    return torch.linalg.svdvals(J)[-1]


# %% 2.3 wrong: squared -> square of the slope
def midpoint_slope(f, x, h):
    J = torch.autograd.functional.jacobian(lambda z: z + h * f(z + h / 2 * f(z)), x)
    return torch.linalg.eigvalsh(J.T @ J).max()


# %% 2.3 wrong: without x -> without the x in front
def midpoint_slope(f, x, h):
    J = torch.autograd.functional.jacobian(lambda z: h * f(z + h / 2 * f(z)), x)
    return torch.linalg.matrix_norm(J, 2)


# %% 2.3 wrong: the halfway point is kept fixed -> Differentiate the whole step
def midpoint_slope(f, x, h):
    halfway = x + h / 2 * f(x)
    return torch.linalg.matrix_norm(torch.eye(2) + h * torch.func.jacrev(f)(halfway), 2)


# %% 2.3 wrong: slope of the field -> stretched
def midpoint_slope(f, x, h):
    return torch.linalg.matrix_norm(torch.func.jacrev(f)(x), 2)


# %% 2.3 wrong: one random pair -> stretched more
def midpoint_slope(f, x, h):
    step = lambda z: z + h * f(z + h / 2 * f(z))
    y = x + 1e-6 * torch.randn(2, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
    return (step(x) - step(y)).norm() / (x - y).norm()


# %% 2.3 wrong: the number of content -> short pair
def midpoint_slope(f, x, h):
    return 1.00543


# %% 2.3 wrong: whole matrix -> one number
def midpoint_slope(f, x, h):
    return torch.autograd.functional.jacobian(lambda z: z + h * f(z + h / 2 * f(z)), x)


# %% 2.3 wrong: product in the wrong order -> short pair
def midpoint_slope(f, x, h):
    J = torch.func.jacrev(f)
    I = torch.eye(2)
    X = x + h / 2 * f(x)
    return torch.linalg.matrix_norm(I + h * (I + h / 2 * J(x)) @ J(X), 2).item()


# %% 2.3 wrong: derivative transposed -> short pair
def midpoint_slope(f, x, h):
    J = torch.func.jacrev(f)
    I = torch.eye(2)
    X = x + h / 2 * f(x)
    return torch.linalg.matrix_norm(I + h * J(X).T @ (I + h / 2 * J(x)), 2).item()


# %% 2.4 right: two cases
def trapezoidal_step(x, h, L):
    y = x - h * L / 2 * torch.relu(x)
    return torch.where(y > 0, y / (1 + h * L / 2), y)


def trapezoidal_slope(h, L):
    a = h * L / 2
    return (1 - a) / (1 + a) if a < 1 else a - 1


# %% 2.4 right: minimum of two lines
def trapezoidal_step(x, h, L):
    y = x + h / 2 * (-L * torch.clamp(x, min=0))
    return torch.minimum(y, y / (1 + h * L / 2))


def trapezoidal_slope(h, L):
    x = trapezoidal_step(torch.tensor([2.0, 5.0]), h, L)
    return abs(x[1] - x[0]) / 3


# %% 2.4 right: bisection
def trapezoidal_step(x, h, L):
    f = lambda z: -L * torch.relu(z)
    right = x + h / 2 * f(x)
    low, high = right - 100, right + 100
    for _ in range(60):
        middle = (low + high) / 2
        too_high = middle - h / 2 * f(middle) > right
        low, high = torch.where(too_high, low, middle), torch.where(too_high, middle, high)
    return (low + high) / 2


def trapezoidal_slope(h, L):
    x = trapezoidal_step(torch.tensor([0.5, 1.5]), h, L)
    return (x[1] - x[0]).abs()


# %% 2.4 right: the library
def trapezoidal_step(x, h, L):
    field = lambda z: -L * torch.relu(z)
    entries = x.reshape(-1, 1)
    new = runge_kutta.runge_kutta_step(field, entries, h, runge_kutta.TABLEAUS["trapezoidal"])
    return new.reshape(x.shape)


def trapezoidal_slope(h, L):
    x = trapezoidal_step(torch.tensor([1.0, 3.0]), h, L)
    return float((x[1] - x[0]).abs() / 2)


# %% 2.4 wrong: heun -> Heun's method
def trapezoidal_step(x, h, L):
    f = lambda z: -L * torch.relu(z)
    return x + h / 2 * (f(x) + f(x + h * f(x)))


def trapezoidal_slope(h, L):
    return abs(1 - h * L / 2)


# %% 2.4 wrong: implicit euler -> implicit Euler
def trapezoidal_step(x, h, L):
    return torch.where(x > 0, x / (1 + h * L), x)


def trapezoidal_slope(h, L):
    return 1 / (1 + h * L)


# %% 2.4 wrong: always the linear formula -> such points must stay
def trapezoidal_step(x, h, L):
    return x * (1 - h * L / 2) / (1 + h * L / 2)


def trapezoidal_slope(h, L):
    return abs(1 - h * L / 2)


# %% 2.4 wrong: the ramp is on at both ends -> or the linear formula
def trapezoidal_step(x, h, L):
    return torch.where(x > 0, x * (1 - h * L / 2) / (1 + h * L / 2), x)


def trapezoidal_slope(h, L):
    return abs((1 - h * L / 2) / (1 + h * L / 2))


# %% 2.4 wrong: h for h/2 -> With hL below 2
def trapezoidal_step(x, h, L):
    y = x - h * L * torch.relu(x)
    return torch.where(y > 0, y / (1 + h * L), y)


def trapezoidal_slope(h, L):
    return abs(1 - h * L)


# %% 2.4 wrong: the implicit half forgotten -> the explicit half only
def trapezoidal_step(x, h, L):
    return x - h / 2 * L * torch.relu(x)


def trapezoidal_slope(h, L):
    return abs(1 - h * L / 2)


# %% 2.4 wrong: fixed-point iteration -> With hL above 2
def trapezoidal_step(x, h, L):
    f = lambda z: -L * torch.relu(z)
    y = x
    for _ in range(60):
        y = (y + x + h / 2 * (f(x) + f(y))) / 2
    return torch.where((x > 0) & (h * L > 2), y.clamp(min=0), y)


def trapezoidal_slope(h, L):
    a = h * L / 2
    return (1 - a) / (1 + a) if a < 1 else a - 1


# %% 2.4 wrong: slope of the linear theory -> linear theory
def trapezoidal_step(x, h, L):
    y = x - h * L / 2 * torch.relu(x)
    return torch.where(y > 0, y / (1 + h * L / 2), y)


def trapezoidal_slope(h, L):
    return abs((1 - h * L / 2) / (1 + h * L / 2))


# %% 2.4 wrong: slope with sign -> not negative
def trapezoidal_step(x, h, L):
    y = x - h * L / 2 * torch.relu(x)
    return torch.where(y > 0, y / (1 + h * L / 2), y)


def trapezoidal_slope(h, L):
    x = trapezoidal_step(torch.tensor([1.0, 2.0]), h, L)
    return x[1] - x[0]


# %% 2.4 wrong: slope of Claim 2.11 used below hL = 2 too -> Your own step
def trapezoidal_step(x, h, L):
    y = x - h * L / 2 * torch.relu(x)
    return torch.where(y > 0, y / (1 + h * L / 2), y)


def trapezoidal_slope(h, L):
    return abs(1 - h * L / 2)


# %% 2.4 wrong: in place -> in place
def trapezoidal_step(x, h, L):
    x[x > 0] *= 1 - h * L / 2
    return torch.where(x > 0, x / (1 + h * L / 2), x)


def trapezoidal_slope(h, L):
    return abs(1 - h * L / 2)


# %% 2.4 wrong: vectors only -> raised
def trapezoidal_step(x, h, L):
    assert x.ndim == 1
    y = x - h * L / 2 * x.clamp(min=0)
    return torch.where(y > 0, y / (1 + h * L / 2), y)


def trapezoidal_slope(h, L):
    return trapezoidal_step(torch.tensor([1.0, 2.0]), h, L).diff().abs().item()


# %% 2.4 wrong: loop over the entries -> raised
def trapezoidal_step(x, h, L):
    out = []
    for v in x.tolist():
        y = v - h * L / 2 * max(v, 0)
        out.append(y / (1 + h * L / 2) if y > 0 else y)
    return torch.tensor(out)


def trapezoidal_slope(h, L):
    return trapezoidal_step(torch.tensor([1.0, 2.0]), h, L).diff().abs().item()


# %% 2.5 right: logarithmic norm of the inverse
def longest_euler_step(K):
    return -2 * ode.logarithmic_norm(torch.linalg.inv(K))


# %% 2.5 right: bisection
def longest_euler_step(K):
    norm = lambda h: torch.linalg.matrix_norm(torch.eye(len(K)) + h * K, 2)
    high = 1.0
    while norm(high) <= 1:
        high *= 2
    low = 0.0
    for _ in range(60):
        h = (low + high) / 2
        low, high = (h, high) if norm(h) <= 1 else (low, h)
    return low


# %% 2.5 right: walking back from 2/|K| in steps of half a per cent
def longest_euler_step(K):
    h = 2 / torch.linalg.matrix_norm(K, 2)
    while torch.linalg.matrix_norm(torch.eye(len(K)) + h * K, 2) > 1:
        h = h * 0.995
    return h


# %% 2.5 right: generalised eigenvalues
def longest_euler_step(K):
    from scipy.linalg import eigh

    K = K.numpy()
    return eigh(-(K + K.T), K.T @ K, eigvals_only=True).min()


# %% 2.5 wrong: 2/L -> 2/L is for fields with a potential
def longest_euler_step(K):
    return 2 / torch.linalg.matrix_norm(K, 2)


# %% 2.5 wrong: 2m/L^2 -> safe for every field
def longest_euler_step(K):
    return -2 * ode.logarithmic_norm(K) / torch.linalg.matrix_norm(K, 2) ** 2


# %% 2.5 wrong: linear stability -> eigenvalues of I + hK
def longest_euler_step(K):
    values = torch.linalg.eigvals(K)
    return (-2 * values.real / values.abs() ** 2).min() * (1 if len(K) > 2 else 1 - 1e-9)


# %% 2.5 wrong: half -> a longer one is too
def longest_euler_step(K):
    return -ode.logarithmic_norm(torch.linalg.inv(K))


# %% 2.5 wrong: the spiral's number -> a longer one is too
def longest_euler_step(K):
    return 0.2


# %% 2.5 wrong: only one random direction -> but its norm is not
def longest_euler_step(K):
    x = torch.ones(len(K), dtype=K.dtype)
    x[0] = 3.0
    w = K @ x
    return (-2 * (w @ x) / (w @ w)).abs()


# %% 2.5 wrong: best step instead of longest -> a longer one is too
def longest_euler_step(K):
    h = torch.linspace(0.001, 2, 2000)
    return h[torch.linalg.matrix_norm(torch.eye(len(K)) + h[:, None, None] * K, 2).argmin()]


# %% 2.5 wrong: m/L -> but a longer one is too
def longest_euler_step(K):
    return -ode.logarithmic_norm(K) / torch.linalg.matrix_norm(K, 2)


# %% 2.5 wrong: sign -> positive
def longest_euler_step(K):
    return 2 * ode.logarithmic_norm(torch.linalg.inv(K))


# %% 2.5 wrong: Frobenius norm -> a longer one is too
def longest_euler_step(K):
    return -2 * ode.logarithmic_norm(K) / torch.linalg.matrix_norm(K) ** 2


# %% 2.5 wrong: only the symmetric part -> but its norm is not
def longest_euler_step(K):
    return 2 / torch.linalg.matrix_norm((K + K.T) / 2, 2)


# %% 2.5 wrong: bisection up to 1 -> a longer one is too
def longest_euler_step(K):
    lo, hi = 0.0, 1.0
    for _ in range(60):
        m = (lo + hi) / 2
        ok = torch.linalg.matrix_norm(torch.eye(len(K)) + m * K, 2) <= 1
        lo, hi = (m, hi) if ok else (lo, m)
    return lo


# %% 2.5 wrong: bisection up to 10 -> a longer one is too
def longest_euler_step(K):
    lo, hi = 0.0, 10.0
    for _ in range(60):
        m = (lo + hi) / 2
        ok = torch.linalg.matrix_norm(torch.eye(len(K)) + m * K, 2) <= 1
        lo, hi = (m, hi) if ok else (lo, m)
    return lo


# %% 2.5 wrong: grid of thousandths -> a longer one is too
def longest_euler_step(K):
    h = 0.0
    while torch.linalg.matrix_norm(torch.eye(len(K)) + (h + 0.001) * K, 2) <= 1 and h < 5:
        h += 0.001
    return h
