"""Runge-Kutta methods as data, and how far each one keeps non-expansive flows non-expansive (lesson 2)."""

from typing import Callable, NamedTuple

import torch
from torch import Tensor


class Tableau(NamedTuple):
    """Butcher tableau: stage matrix A (s, s) and weights b (s,), float64."""

    A: Tensor
    b: Tensor

    @property
    def explicit(self) -> bool:
        return not torch.any(torch.triu(self.A)).item()


def tableau(A: list, b: list) -> Tableau:
    """Tableau from nested lists. Raises ValueError if the shapes do not fit or the weights do not sum to 1."""
    A, b = torch.tensor(A, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    if b.ndim != 1 or A.shape != (len(b), len(b)):
        raise ValueError(f"a tableau needs A of shape (s, s) and b of shape (s,), got {tuple(A.shape)} and {tuple(b.shape)}")
    if abs(b.sum().item() - 1) > 1e-12:
        raise ValueError(f"the weights b of a consistent method sum to 1, these sum to {b.sum().item():g}")
    return Tableau(A, b)


TABLEAUS = {
    "euler": tableau([[0]], [1]),
    "heun": tableau([[0, 0], [1, 0]], [1 / 2, 1 / 2]),
    "midpoint": tableau([[0, 0], [1 / 2, 0]], [0, 1]),
    "ssprk3": tableau([[0, 0, 0], [1, 0, 0], [1 / 4, 1 / 4, 0]], [1 / 6, 1 / 6, 2 / 3]),
    "rk4": tableau([[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
}


def named_tableau(method: str) -> Tableau:
    """The tableau called `method`; raises ValueError listing the known names."""
    if method not in TABLEAUS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(TABLEAUS)}")
    return TABLEAUS[method]


def runge_kutta_step(field: Callable[[Tensor], Tensor], x: Tensor, step_size: float | Tensor, method: Tableau) -> Tensor:
    """One explicit Runge-Kutta step x -> x + h sum_i b_i f(X_i) for an autonomous field (lesson 2).

    x may have any shape that `field` accepts; the result has the same. Raises ValueError for an implicit tableau.
    """
    if not method.explicit:
        raise ValueError("runge_kutta_step takes explicit methods only: A must be strictly lower triangular")
    slopes: list[Tensor] = []
    for row in method.A.tolist():
        stage = x
        for a, slope in zip(row, slopes, strict=False):
            if a:
                stage = stage + (step_size * a) * slope
        slopes.append(field(stage))
    for b, slope in zip(method.b.tolist(), slopes, strict=True):
        if b:
            x = x + (step_size * b) * slope
    return x


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
