"""Singular values with a proof: bounds that include every rounding error of their own computation (lesson 3).

A floating-point sum of k products errs by at most gamma(k) times the sum of the absolute values, in any order of summation
(Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3). From this alone follows everything below.
"""

import math

import torch
from torch import Tensor


def gamma(terms: float, dtype: torch.dtype = torch.float64) -> float:
    """k u / (1 - k u), u the unit roundoff: the relative error of a sum of k = `terms` products. Raises ValueError if k u >= 1."""
    error = terms * torch.finfo(dtype).eps / 2
    if error >= 1:
        raise ValueError(f"nothing can be said about sums of {terms:g} terms in {dtype}")
    return error / (1 - error)


def singular_value_bound(matrices: Tensor, largest: bool = True) -> float:
    """Guaranteed upper bound of all singular values of finite matrices (..., rows, columns), float64 or complex128; with
    `largest=False` a guaranteed lower bound, 0 at least, of the min(rows, columns) singular values of each.

    G is the Gram matrix of the shorter side. If the Cholesky factorisation of t I - G (of G - t I) runs to its end in floating
    point, no eigenvalue of G is larger (smaller) than t by more than a known multiple of the roundoff (Rump, BIT 46, 2006).
    So the extreme eigenvalue of one matrix is computed, moved a little outwards, and checked for all; those that fail have theirs
    computed, and so on.
    """
    if matrices.dtype not in (torch.float64, torch.complex128):
        raise ValueError(
            f"the rounding errors are known for float64 and complex128, not for {matrices.dtype}"
        )
    matrices = matrices.cpu().reshape(
        -1, *matrices.shape[-2:]
    )  # the CPU's matrix products are plain sums
    entry = (
        (torch.view_as_real(matrices) if matrices.is_complex() else matrices).abs().amax().item()
    )
    if not math.isfinite(entry):
        raise ValueError(
            "the matrices contain NaN or infinite entries, so nothing can be said about them"
        )
    if entry == 0:
        return 0.0
    scale = math.ldexp(
        1.0, math.frexp(entry)[1] - 1
    )  # a power of two: division by it is exact, and no square overflows
    rows = matrices / scale
    rows = rows if rows.shape[-2] <= rows.shape[-1] else rows.mH
    gram, identity = rows @ rows.mH, torch.eye(rows.shape[-2], dtype=rows.dtype)
    side, terms = rows.shape[-2:]
    parts = 4 if matrices.is_complex() else 1  # a complex product is made of four real ones
    traces, sign = rows.abs().square().sum((-2, -1)), 1 if largest else -1
    trace = traces.max().item() * (1 + gamma(side * terms + 8))
    error = (
        gamma(parts * terms + 2) * trace
    )  # of every eigenvalue of G, because of the rounding of G
    check = gamma(
        parts * (2 * side + 10)
    )  # of the check, relative to the trace of the matrix checked

    def outermost(some: Tensor) -> float:
        return sign * (sign * torch.linalg.eigvalsh(some)).max().item()

    extreme, slack = outermost(gram[(sign * traces).argmax()]), error
    while True:
        t = extreme + sign * slack
        gram = gram[torch.linalg.cholesky_ex(sign * (t * identity - gram)).info != 0]
        if not len(gram):
            break
        found = outermost(gram)
        if sign * found > sign * extreme:
            extreme = found
        else:
            slack *= 2  # the eigenvalues themselves were computed with errors
    if largest:
        return math.nextafter(
            scale * math.sqrt(t + error + check * side * t) * (1 + gamma(8)), math.inf
        )
    return max(
        0.0,
        math.nextafter(
            scale * math.sqrt(max(0.0, t - error - check * trace)) * (1 - gamma(8)), 0.0
        ),
    )
