"""Runge-Kutta methods as data, one step of them, and how far a step keeps distances (lesson 2)."""

import math
from fractions import Fraction
from typing import NamedTuple, Sequence

import torch
from torch import Tensor

from .checks import need_one_of, need_positive
from .newton import Field, implicit_stages, slope_at


class Tableau(NamedTuple):
    """Butcher tableau: stage matrix A (s, s) and weights b (s,), float64."""

    A: Tensor
    b: Tensor

    @property
    def explicit(self) -> bool:
        return not self.A.triu().any()


def tableau(A: Sequence, b: Sequence) -> Tableau:
    """Tableau from nested lists (lesson 2).

    Raises ValueError if the shapes do not fit, an entry is not finite, or the weights do not sum
    to 1.
    """
    A = torch.as_tensor(A, dtype=torch.float64)
    b = torch.as_tensor(b, dtype=torch.float64)
    if b.ndim != 1 or A.shape != (len(b), len(b)) or not A.isfinite().all():
        raise ValueError(
            "a tableau needs finite A of shape (s, s) and b of shape (s,), got "
            f"{tuple(A.shape)} and {tuple(b.shape)}"
        )
    total = b.sum().item()
    if not abs(total - 1) <= 1e-12:  # true of NaN and infinity, too
        raise ValueError(f"the weights b of a consistent method sum to 1, these sum to {total:g}")
    return Tableau(A, b)


def _written(A, b):
    """Tableau from texts of fractions; semicolons separate the rows of A."""
    rows = [[float(Fraction(entry)) for entry in row.split()] for row in A.split(";")]
    return tableau(rows, [float(Fraction(entry)) for entry in b.split()])


TABLEAUS = {
    "euler": _written("0", "1"),
    "heun": _written("0 0; 1 0", "1/2 1/2"),
    "midpoint": _written("0 0; 1/2 0", "0 1"),
    "ralston2": _written("0 0; 2/3 0", "1/4 3/4"),
    "ssprk3": _written("0 0 0; 1 0 0; 1/4 1/4 0", "1/6 1/6 2/3"),
    "heun3": _written("0 0 0; 1/3 0 0; 0 2/3 0", "1/4 0 3/4"),
    "kutta3": _written("0 0 0; 1/2 0 0; -1 2 0", "1/6 2/3 1/6"),
    "rk4": _written("0 0 0 0; 1/2 0 0 0; 0 1/2 0 0; 0 0 1 0", "1/6 1/3 1/3 1/6"),
    "three_eighths": _written("0 0 0 0; 1/3 0 0 0; -1/3 1 0 0; 1 -1 1 0", "1/8 3/8 3/8 1/8"),
    "implicit_euler": _written("1", "1"),
    "implicit_midpoint": _written("1/2", "1"),
    "trapezoidal": _written("0 0; 1/2 1/2", "1/2 1/2"),
}


def named_tableau(method: str) -> Tableau:
    """The tableau called `method`; raises ValueError listing the known names."""
    need_one_of("method", method, TABLEAUS)
    return TABLEAUS[method]


def explicit_tableau(method: str) -> Tableau:
    """The same for a layer, which needs an explicit method; raises ValueError for others."""
    found = named_tableau(method)
    if not found.explicit:
        raise ValueError(f"{method} is implicit; a layer needs an explicit method")
    return found


def substeps(method: Tableau, number: int) -> Tableau:
    """`number` equal steps of `method`, together as one method of `number` times the stages.

    Raises ValueError for a number below 1. Explained in lesson 2.
    """
    need_positive("the number of substeps", number)
    identity = torch.eye(number, dtype=torch.float64)
    earlier = torch.ones_like(identity).tril(-1)
    own = torch.kron(identity, method.A)
    each_row = method.b.expand(len(method.b), -1)
    before = torch.kron(earlier, each_row)  # a substep starts where the last one ended
    return tableau((own + before) / number, method.b.repeat(number) / number)


# ---- one step ------------------------------------------------------------------------------------


def runge_kutta_step(field: Field, x: Tensor, h: float | Tensor, method: Tableau) -> Tensor:
    """One Runge-Kutta step x -> x + h sum_i b_i f(X_i) for an autonomous field (lesson 2).

    The stages solve X_i = x + h sum_j a_ij f(X_j). For an explicit method x may have any shape that
    `field` accepts; for an implicit one it is (B, d) or (d,), `field` acts on each row alone, and
    Newton's method finds the stages. The result has the shape of x and can be differentiated.
    Raises ValueError if h, a number, is not positive or if field(x) has another shape than x, and
    ArithmeticError if Newton's method does not converge.
    """
    if not isinstance(h, Tensor):
        need_positive("the step size h", h)
    if method.explicit:
        slopes = []
        for row in method.A.tolist():
            stage = _advance(x, h, row, slopes)
            slopes.append(slope_at(field, stage))
    else:
        slopes = [slope_at(field, stage) for stage in implicit_stages(field, x, h, method.A)]
    return _advance(x, h, method.b.tolist(), slopes)


def _advance(x, h, weights, slopes):
    """x + h sum_i weights_i slopes_i."""
    for weight, slope in zip(weights, slopes, strict=False):
        if weight == 0:
            continue
        if isinstance(h, Tensor):
            x = x + h * weight * slope
        else:
            x = torch.add(x, slope, alpha=h * weight)  # a number costs no extra pass
    return x


# ---- what a step does to distances ---------------------------------------------------------------


def stability_function(method: Tableau, z: Tensor | complex) -> Tensor:
    """R(z) with x -> R(h lambda) x for one step on x' = lambda x, of the shape of z (lesson 2).

    R(z) = det(I - zA + z 1b') / det(I - zA); z is real or complex. Infinite or NaN at a pole.
    """
    is_complex = z.is_complex() if isinstance(z, Tensor) else isinstance(z, complex)
    dtype = torch.complex128 if is_complex else torch.float64
    z = torch.as_tensor(z, dtype=dtype)[..., None, None]
    A = method.A.to(z)
    b = method.b.to(z)
    denominator = torch.eye(len(b)).to(z) - z * A
    numerator = denominator + z * b.expand_as(A)
    return torch.linalg.det(numerator) / torch.linalg.det(denominator)


def circle_contractivity_radius(method: Tableau) -> float:
    """Largest r with M + diag(b)/r positive semidefinite, M = BA + A'B - bb' (lesson 2).

    It is 0 if there is none, and inf if M is. If -f is cocoercive with constant nu, the method is
    non-expansive for step sizes 0 <= h <= 2 r nu (Dahlquist and Jeltsch 1979). For f = -grad V with
    V convex and L-smooth, nu = 1/L.
    """
    A, b = method
    BA = b[:, None] * A
    M = BA + BA.T - torch.outer(b, b)
    used = b != 0
    if (b < 0).any() or M[~used].any():  # a zero diagonal forces a zero row
        return 0.0
    scale = b[used].rsqrt()
    scaled_M = scale[:, None] * M[used][:, used] * scale
    lowest = torch.linalg.eigvalsh(scaled_M)[0].item()
    return math.inf if lowest >= -1e-12 else -1 / lowest
