"""Runge-Kutta methods as data, the flows they follow, and how far they keep distances from growing (lessons 1 and 2)."""

import math
from itertools import pairwise
from typing import Callable, NamedTuple, Sequence

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]


class Tableau(NamedTuple):
    """Butcher tableau: stage matrix A (s, s) and weights b (s,), float64."""

    A: Tensor
    b: Tensor

    @property
    def explicit(self) -> bool:
        return not any(a for i, row in enumerate(self.A.tolist()) for a in row[i:])


def tableau(A: Sequence, b: Sequence) -> Tableau:
    """Tableau from nested lists. Raises ValueError if the shapes do not fit or the weights do not sum to 1."""
    A, b = torch.as_tensor(A, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    if b.ndim != 1 or A.shape != (len(b), len(b)):
        raise ValueError(
            f"a tableau needs A of shape (s, s) and b of shape (s,), got {tuple(A.shape)} and {tuple(b.shape)}"
        )
    if not (A.isfinite().all() and b.isfinite().all()):
        raise ValueError("a tableau needs finite entries, this one contains NaN or infinity")
    if abs(b.sum().item() - 1) > 1e-12:
        raise ValueError(
            f"the weights b of a consistent method sum to 1, these sum to {b.sum().item():g}"
        )
    return Tableau(A, b)


TABLEAUS = {
    "euler": tableau([[0]], [1]),
    "heun": tableau([[0, 0], [1, 0]], [1 / 2, 1 / 2]),
    "midpoint": tableau([[0, 0], [1 / 2, 0]], [0, 1]),
    "ralston2": tableau([[0, 0], [2 / 3, 0]], [1 / 4, 3 / 4]),
    "ssprk3": tableau([[0, 0, 0], [1, 0, 0], [1 / 4, 1 / 4, 0]], [1 / 6, 1 / 6, 2 / 3]),
    "heun3": tableau([[0, 0, 0], [1 / 3, 0, 0], [0, 2 / 3, 0]], [1 / 4, 0, 3 / 4]),
    "kutta3": tableau([[0, 0, 0], [1 / 2, 0, 0], [-1, 2, 0]], [1 / 6, 2 / 3, 1 / 6]),
    "rk4": tableau(
        [[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0]],
        [1 / 6, 1 / 3, 1 / 3, 1 / 6],
    ),
    "three_eighths": tableau(
        [[0, 0, 0, 0], [1 / 3, 0, 0, 0], [-1 / 3, 1, 0, 0], [1, -1, 1, 0]],
        [1 / 8, 3 / 8, 3 / 8, 1 / 8],
    ),
    "implicit_euler": tableau([[1]], [1]),
    "implicit_midpoint": tableau([[1 / 2]], [1]),
    "trapezoidal": tableau([[0, 0], [1 / 2, 1 / 2]], [1 / 2, 1 / 2]),
}


def named_tableau(method: str) -> Tableau:
    """The tableau called `method`; raises ValueError listing the known names."""
    if method not in TABLEAUS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(TABLEAUS)}")
    return TABLEAUS[method]


def substeps(method: Tableau, number: int) -> Tableau:
    """`number` equal steps of `method`, together as one method with `number` times the stages (lesson 2)."""
    if number < 1:
        raise ValueError(f"the number of substeps must be at least 1, got {number}")
    A = torch.kron(torch.eye(number, dtype=torch.float64), method.A)
    earlier = torch.tril(torch.ones(number, number, dtype=torch.float64), -1)
    A = A + torch.kron(
        earlier, method.b.expand(len(method.b), -1)
    )  # each substep starts where the last one ended
    return tableau(A / number, method.b.repeat(number) / number)


# ---- steps and flows -------------------------------------------------------------------------------------------------


def runge_kutta_step(field: Field, x: Tensor, step_size: float | Tensor, method: Tableau) -> Tensor:
    """One Runge-Kutta step x -> x + h sum_i b_i f(X_i) for an autonomous field (lesson 2).

    The stages solve X_i = x + h sum_j a_ij f(X_j). For an explicit method x may have any shape that `field` accepts; for
    an implicit one it is (B, d) or (d,), `field` acts on each row alone, and Newton's method finds the stages.
    The result has the shape of x and can be differentiated. Raises ValueError if step_size, a number, is not positive
    or if field(x) has another shape than x, and ArithmeticError if Newton's method does not converge.
    """
    if not isinstance(step_size, Tensor) and not 0 < step_size < math.inf:
        raise ValueError(f"step_size must be positive and finite, got {step_size}")
    if method.explicit:
        slopes: list[Tensor] = []
        for row in method.A.tolist():
            stage = x
            for a, slope in zip(row, slopes, strict=False):
                if a:
                    stage = _advance(stage, step_size * a, slope)
            slopes.append(_slope(field, stage))
    else:
        slopes = [_slope(field, stage) for stage in _implicit_stages(field, x, step_size, method)]
    for b, slope in zip(method.b.tolist(), slopes, strict=True):
        if b:
            x = _advance(x, step_size * b, slope)
    return x


def _advance(x: Tensor, step: float | Tensor, slope: Tensor) -> Tensor:
    return (
        x + step * slope if isinstance(step, Tensor) else torch.add(x, slope, alpha=step)
    )  # a number costs no extra pass


def _slope(field: Field, x: Tensor) -> Tensor:
    slope = field(x)
    if slope.shape != x.shape:
        raise ValueError(
            f"the field must keep the shape of the state {tuple(x.shape)}, it returned {tuple(slope.shape)}"
        )
    return slope


def _implicit_stages(field: Field, x: Tensor, step_size: float | Tensor, method: Tableau) -> Tensor:
    """The stages X (s, ...), each of the shape of x, by Newton's method with step halving on all stage equations at once."""
    if x.ndim not in (1, 2):
        raise ValueError(f"an implicit step needs x of shape (B, d) or (d,), got {tuple(x.shape)}")
    (s, d), A = (len(method.b), x.shape[-1]), (step_size * method.A).to(x)

    def slopes(X: Tensor) -> Tensor:
        return torch.stack([_slope(field, stage) for stage in X])

    def residual(X: Tensor) -> Tensor:
        return X - x - torch.tensordot(A, slopes(X), 1)

    def newton_direction(X: Tensor, right: Tensor) -> Tensor:
        _, pull = torch.func.vjp(
            slopes, X
        )  # the Jacobian of f at each stage, (s, B, d, d), one row at a time
        J = torch.stack([pull(e.expand_as(X))[0] for e in torch.eye(d).to(x)], -2).reshape(
            s, -1, d, d
        )
        matrix = torch.eye(s * d).to(x) - torch.einsum("ij,jbkl->bikjl", A, J).reshape(
            -1, s * d, s * d
        )
        right = right.reshape(s, -1, d).movedim(0, 1).reshape(-1, s * d, 1)
        return (
            torch.linalg.solve_ex(matrix, right)[0].reshape(-1, s, d).movedim(1, 0).reshape(X.shape)
        )

    def size(X: Tensor) -> Tensor:
        return X.norm(dim=(0, -1), keepdim=True)  # one number for each row of x

    tolerance = torch.finfo(x.dtype).eps ** (2 / 3)
    with torch.no_grad():
        X = x.detach().expand(s, *x.shape)
        for _ in range(50):
            error = residual(X)
            if (size(error) <= tolerance * (1 + size(X))).all():
                break
            direction, length = newton_direction(X, error), 1.0
            for _ in range(12):
                trial = X - length * direction
                better = size(residual(trial)) < size(error)
                if better.all():
                    break
                length = torch.where(better, length, length / 2)
            X = torch.where(better, trial, X)
        else:
            raise ArithmeticError(
                f"Newton's method did not solve the stage equations for step size {float(step_size):g}: the residual is "
                f"{size(error).max().item():.1e} after 50 iterations; take a smaller step"
            )
    return X - newton_direction(X, residual(X))  # one more step, this one seen by autograd


def flow(
    field: Field,
    x0: Tensor,
    times: Tensor | Sequence[float],
    method: str = "rk4",
    max_step: float = 0.01,
) -> Tensor:
    """States of x' = field(x) at `times` (K,), increasing, from x0 (B, d) at the first of them: (K, B, d) (lesson 1).

    Fixed steps of `method`, equal between two times and at most max_step (up to rounding), so every time is hit.
    Differentiable. Raises ValueError if the times do not increase, if max_step is not positive, or as runge_kutta_step.
    """
    times = torch.as_tensor(times, dtype=torch.float64)
    if (
        times.ndim != 1
        or not len(times)
        or not times.isfinite().all()
        or not (times.diff() > 0).all()
    ):
        raise ValueError("times must be a list of finite numbers, each larger than the one before")
    if not 0 < max_step < math.inf:
        raise ValueError(f"max_step must be positive and finite, got {max_step}")
    rule, states = named_tableau(method), [x0]
    for s, t in pairwise(times.tolist()):
        number = max(1, math.ceil((t - s) / max_step - 1e-9))
        x = states[-1]
        for _ in range(number):
            x = runge_kutta_step(field, x, (t - s) / number, rule)
        states.append(x)
    return torch.stack(states)


# ---- how fast distances can change -----------------------------------------------------------------------------------


def logarithmic_norm(A: Tensor, norm: float = 2, weight: Tensor | None = None) -> Tensor:
    """Smallest mu with ||exp(At)|| <= exp(mu t) for all t >= 0: the logarithmic norm of A (..., d, d) -> (...) (lesson 1).

    norm is 1, 2 or math.inf; with weight=P, symmetric positive definite, it is the one of |x|_P = sqrt(x'Px), the largest
    eigenvalue of the pencil (PA + A'P, 2P). Raises ValueError if A is not square or not finite, or P is not as said.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2] or not A.isfinite().all():
        raise ValueError(
            f"the logarithmic norm needs square matrices with finite entries, got shape {tuple(A.shape)}"
        )
    A = A if A.is_floating_point() else A.double()
    if weight is not None:
        fits = weight.shape == A.shape[-2:] and torch.allclose(weight, weight.mT)
        factor, failed = torch.linalg.cholesky_ex(weight) if fits else (weight, torch.tensor(True))
        if failed:
            raise ValueError(
                "the weight P must be a symmetric positive definite matrix of the size of A"
            )
        A = torch.linalg.solve_triangular(
            factor, A.mT @ factor, upper=False
        ).mT  # F'A F'^-1 with P = F F'
    if weight is not None or norm == 2:
        return torch.linalg.eigvalsh((A + A.mT) / 2)[..., -1]
    if norm not in (1, math.inf):
        raise ValueError(f"norm must be 1, 2 or math.inf, got {norm!r}")
    A = A if norm == math.inf else A.mT
    diagonal = A.diagonal(dim1=-2, dim2=-1)
    return (diagonal + A.abs().sum(-1) - diagonal.abs()).amax(-1)


def stability_function(method: Tableau, z: Tensor | complex) -> Tensor:
    """R(z) with x -> R(h lambda) x for one step on x' = lambda x; z real or complex, any shape, R of the same (lesson 2).

    R(z) = det(I - zA + z 1b') / det(I - zA); infinite or NaN at a pole.
    """
    is_complex = z.is_complex() if isinstance(z, Tensor) else isinstance(z, complex)
    z = torch.as_tensor(z, dtype=torch.complex128 if is_complex else torch.float64)[..., None, None]
    A, b, eye = method.A.to(z), method.b.to(z), torch.eye(len(method.b)).to(z)
    return torch.linalg.det(eye - z * A + z * b.expand_as(A)) / torch.linalg.det(eye - z * A)


def circle_contractivity_radius(method: Tableau) -> float:
    """Largest r with M + diag(b)/r positive semidefinite, where M = BA + A'B - bb'; 0 if none, inf if M is (lesson 2).

    If -f is cocoercive with constant nu, the method is non-expansive for step sizes 0 <= h <= 2 r nu
    (Dahlquist and Jeltsch 1979). For f = -grad V with V convex and L-smooth, nu = 1/L.
    """
    A, b = method
    M = b[:, None] * A + (b[:, None] * A).T - torch.outer(b, b)
    used = b != 0
    if (b < 0).any() or (M[~used].abs() > 1e-14).any():  # a zero diagonal entry forces a zero row
        return 0.0
    scale = b[used].rsqrt()
    lowest = torch.linalg.eigvalsh(scale[:, None] * M[used][:, used] * scale)[0].item()
    return float("inf") if lowest >= -1e-12 else -1 / lowest
