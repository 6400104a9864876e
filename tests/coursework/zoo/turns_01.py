import torch

from chapter_utils import ode


def mu_2(A):
    return torch.linalg.eigvalsh((A + A.T) / 2)[-1].item()


# %% 1.A right: a loop
def follow(f, x, t, steps):
    for _ in range(steps):
        x = x + t / steps * f(x)
    return x


# %% 1.A right: by recursion
def follow(f, x, t, steps):
    if steps == 0:
        return x
    h = t / steps
    return follow(f, x + h * f(x), t - h, steps - 1)


# %% 1.A right: the library
def follow(f, x, t, steps):
    return ode.flow(f, x, [0.0, t], method="euler", max_step=t / steps)[-1]


# %% 1.A right: a better method, on a copy
def follow(f, x, t, steps):
    z = x.clone()
    h = t / steps
    for _ in range(steps):
        z += h * f(z + h / 2 * f(z))
    return z


# %% 1.A wrong: whole time in each step -> whole time t
def follow(f, x, t, steps):
    for _ in range(steps):
        x = x + t * f(x)
    return x


# %% 1.A wrong: return inside the loop -> inside the loop
def follow(f, x, t, steps):
    for _ in range(steps):
        x = x + t / steps * f(x)
        return x


# %% 1.A wrong: no time -> time t does not enter
def follow(f, x, t, steps):
    for _ in range(steps):
        x = x + f(x)
    return x


# %% 1.A wrong: the arrow of the start -> Look it up where you are
def follow(f, x, t, steps):
    arrow = f(x)
    for _ in range(steps):
        x = x + t / steps * arrow
    return x


# %% 1.A wrong: one step too few -> One step is missing
def follow(f, x, t, steps):
    for _ in range(1, steps):
        x = x + t / steps * f(x)
    return x


# %% 1.A wrong: one step too many -> one step too many
def follow(f, x, t, steps):
    for _ in range(steps + 1):
        x = x + t / steps * f(x)
    return x


# %% 1.A wrong: backwards -> against the arrows
def follow(f, x, t, steps):
    for _ in range(steps):
        x = x - t / steps * f(x)
    return x


# %% 1.A wrong: in place -> in place
def follow(f, x, t, steps):
    for _ in range(steps):
        x += t / steps * f(x)
    return x


# %% 1.A wrong: all places -> shape
def follow(f, x, t, steps):
    places = [x]
    for _ in range(steps):
        places.append(places[-1] + t / steps * f(places[-1]))
    return torch.stack(places)


# %% 1.B right: sums
def one_sided_quotient(f, x, y):
    apart = x - y
    return ((f(x) - f(y)) * apart).sum(1) / (apart**2).sum(1)


# %% 1.B right: einsum
def one_sided_quotient(f, x, y):
    return torch.einsum("bd,bd->b", f(x) - f(y), x - y) / (x - y).norm(dim=-1) ** 2


# %% 1.B right: pair by pair
def one_sided_quotient(f, x, y):
    arrows = f(x) - f(y)
    return torch.stack([v @ z / (z @ z) for v, z in zip(arrows, x - y)])


# %% 1.B wrong: not divided -> not yet divided
def one_sided_quotient(f, x, y):
    return ((f(x) - f(y)) * (x - y)).sum(1)


# %% 1.B wrong: the distance, not its square -> Divide by its square
def one_sided_quotient(f, x, y):
    return ((f(x) - f(y)) * (x - y)).sum(1) / (x - y).norm(dim=1)


# %% 1.B wrong: the Lipschitz quotient -> no sign
def one_sided_quotient(f, x, y):
    return (f(x) - f(y)).norm(dim=1) / (x - y).norm(dim=1)


# %% 1.B wrong: as if f were linear -> f(x - y)
def one_sided_quotient(f, x, y):
    z = x - y
    return (f(z) * z).sum(1) / z.square().sum(1)


# %% 1.B wrong: one arrow -> f(x) alone
def one_sided_quotient(f, x, y):
    z = x - y
    return (f(x) * z).sum(1) / z.square().sum(1)


# %% 1.B wrong: a sign -> wrong sign
def one_sided_quotient(f, x, y):
    return ((f(x) - f(y)) * (y - x)).sum(1) / (x - y).square().sum(1)


# %% 1.B wrong: sum over the batch -> shape
def one_sided_quotient(f, x, y):
    return ((f(x) - f(y)) * (x - y)).sum() / (x - y).square().sum()


# %% 1.B wrong: mean rate for all -> Sum over the coordinates only
def one_sided_quotient(f, x, y):
    z = x - y
    return (((f(x) - f(y)) * z).sum() / z.square().sum()).expand(len(x))


# %% 1.C right: from the eigenvectors
mu_by_hand = -1 + 5 / 2


# %% 1.C right: by the computer
A = torch.tensor([[-1.0, 5.0], [0.0, -1.0]])
mu_by_hand = torch.linalg.eigvalsh((A + A.T) / 2).max()


# %% 1.C right: a Rayleigh quotient
v = torch.tensor([1.0, 1.0]) / 2**0.5
mu_by_hand = v @ torch.tensor([[-1.0, 5.0], [0.0, -1.0]]) @ v


# %% 1.C wrong: eigenvalue of A -> Make A symmetric first
mu_by_hand = -1


# %% 1.C wrong: smallest -> smallest eigenvalue
mu_by_hand = -3.5


# %% 1.C wrong: forgot the half -> half of that
mu_by_hand = 3.0


# %% 1.C wrong: the norm -> no sign
mu_by_hand = 5.193


# %% 1.C wrong: a guess -> symmetric part, 2 by 2
mu_by_hand = 0.5


# %% 1.D right: rows and columns
def mu_in_weights(A, w):
    return mu_2(w[:, None] * A / w)


# %% 1.D right: matrices
def mu_in_weights(A, w):
    return mu_2(torch.diag(w) @ A @ torch.diag(1 / w))


# %% 1.D right: the library
def mu_in_weights(A, w):
    return ode.logarithmic_norm(A, weight=torch.diag(w**2))


# %% 1.D right: the slope of the stretch
def mu_in_weights(A, w):
    h = 1e-4
    B = torch.diag(w) @ A @ torch.diag(w).inverse()
    sizes = [torch.linalg.matrix_norm(torch.linalg.matrix_exp(k * h * B), 2) for k in range(5)]
    weights = (-25 / 12, 4, -3, 4 / 3, -1 / 4)
    return sum(c * size for c, size in zip(weights, sizes)) / h


# %% 1.D wrong: no weights -> where are the weights
def mu_in_weights(A, w):
    return mu_2(A)


# %% 1.D wrong: the other way round -> weights 1/w
def mu_in_weights(A, w):
    return mu_2(A * w / w[:, None])


# %% 1.D wrong: rows only -> divided by w_j
def mu_in_weights(A, w):
    return mu_2(w[:, None] * A)


# %% 1.D wrong: the same on both sides -> w_i a_ij w_j
def mu_in_weights(A, w):
    return mu_2(torch.diag(w) @ A @ torch.diag(w))


# %% 1.D wrong: squares -> squares of the weights
def mu_in_weights(A, w):
    return mu_2(w[:, None] ** 2 * A / w**2)


# %% 1.D wrong: P = diag(w) -> roots of the weights
def mu_in_weights(A, w):
    return ode.logarithmic_norm(A, weight=torch.diag(w)).item()


# %% 1.D wrong: a norm -> no sign
def mu_in_weights(A, w):
    return torch.linalg.matrix_norm(w[:, None] * A / w, 2)


# %% 1.D wrong: eigenvalues -> no change of coordinates moves
def mu_in_weights(A, w):
    return torch.linalg.eigvals(w[:, None] * A / w).real.max().item()


# %% 1.D wrong: forgot the half -> not the mu of the matrix
def mu_in_weights(A, w):
    B = w[:, None] * A / w
    return torch.linalg.eigvalsh(B + B.T).max().item()
