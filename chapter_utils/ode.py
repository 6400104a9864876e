"""Flows of vector fields, and how fast distances along them can change (lesson 1)."""

import math
from itertools import pairwise
from typing import Sequence

import torch
from torch import Tensor

from .checks import need_one_of, need_positive
from .runge_kutta import Field, named_tableau, runge_kutta_step


def flow(
    field: Field,
    x0: Tensor,
    times: Tensor | Sequence[float],
    method: str = "rk4",
    max_step: float = 0.01,
) -> Tensor:
    """States (K, B, d) of x' = field(x) at `times` (K,), from x0 (B, d) at the first (lesson 1).

    Fixed steps of `method`, equal between two times and at most max_step (up to rounding), so every
    time is hit. Differentiable. Raises ValueError if the times do not increase, if max_step is not
    positive, or as `runge_kutta_step`.
    """
    times = torch.as_tensor(times, dtype=torch.float64)
    if not (times.ndim == 1 and len(times) and times.isfinite().all() and (times.diff() > 0).all()):
        raise ValueError("times must be a list of finite numbers, each larger than the one before")
    need_positive("max_step", max_step)
    tableau = named_tableau(method)
    states = [x0 + 0.0]  # whole numbers become floating-point ones

    for start, end in pairwise(times.tolist()):
        number = max(1, math.ceil((end - start) / max_step - 1e-9))
        h = (end - start) / number
        x = states[-1]
        for _ in range(number):
            x = runge_kutta_step(field, x, h, tableau)
        if not x.isfinite().all():
            raise ArithmeticError(
                f"the flow is infinite or NaN before time {end:g}: if the solution is not, take a "
                "smaller max_step"
            )
        states.append(x)
    return torch.stack(states)


def logarithmic_norm(
    A: Tensor,
    norm: float = 2,
    weight: Tensor | None = None,
) -> Tensor:
    """Smallest mu with |exp(At)| <= exp(mu t) for all t >= 0, A (..., d, d) -> (...) (lesson 1).

    norm is 1, 2 or math.inf; with weight=P, symmetric positive definite, it is the one of
    |x|_P = sqrt(x'Px), the largest eigenvalue of the pencil (PA + A'P, 2P). Raises ValueError if A
    is not square or not finite, for another norm, or if P is not as said.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2] or not A.isfinite().all():
        raise ValueError(
            f"the logarithmic norm needs finite square matrices, got shape {tuple(A.shape)}"
        )
    need_one_of("norm", norm, (1, 2, math.inf))
    A = A if A.is_floating_point() else A.double()
    if weight is not None:
        A = _in_coordinates_of(weight, A)
    if weight is not None or norm == 2:
        return torch.linalg.eigvalsh((A + A.mT) / 2)[..., -1]
    rows = A if norm == math.inf else A.mT
    diagonal = rows.diagonal(dim1=-2, dim2=-1)
    return (diagonal + rows.abs().sum(-1) - diagonal.abs()).amax(-1)


def _in_coordinates_of(P, A):
    """F' A F'^-1 with P = F F': A in coordinates in which |x|_P is the Euclidean norm."""
    if P.shape == A.shape[-2:] and torch.allclose(P, P.mT):
        F, failed = torch.linalg.cholesky_ex(P)
        if not failed:
            return torch.linalg.solve_triangular(F, A.mT @ F, upper=False).mT
    raise ValueError("the weight P must be a symmetric positive definite matrix of the size of A")
