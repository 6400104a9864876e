"""Singular values with a proof: bounds that include every rounding error of their own computation.

A floating-point sum of k products errs by at most gamma(k) times the sum of the absolute values,
in any order of summation (Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 3).
From this alone follows everything below.
"""

import math

import torch
from torch import Tensor


def gamma(terms: float, dtype: torch.dtype = torch.float64) -> float:
    """k u / (1 - k u), u the unit roundoff: the relative error of a sum of k = `terms` products.

    Raises ValueError if k u >= 1. Explained in lesson 7.
    """
    error = terms * torch.finfo(dtype).eps / 2
    if error >= 1:
        raise ValueError(f"nothing can be said about sums of {terms:g} terms in {dtype}")
    return error / (1 - error)


def singular_value_bound(matrices: Tensor, largest: bool = True, at_least: float = 0.0) -> float:
    """Guaranteed upper bound of all singular values of finite matrices (..., rows, columns).

    With `largest=False`: a guaranteed lower bound, at least 0, of the min(rows, columns) singular
    values of each. Takes float64 or complex128; raises ValueError for other types, NaN and
    infinity. Used by the bounds of lesson 3.

    The upper bound may be asked to be `at_least` so much: where that is enough, no eigenvalue is
    computed.

    G is the Gram matrix of the shorter side. If the Cholesky factorisation of t I - G (of G - t I)
    runs to its end in floating point, no eigenvalue of G is larger (smaller) than t by more than a
    known multiple of the roundoff (Rump, BIT 46, 2006). So the extreme eigenvalue of one matrix is
    computed, moved a little outwards, and checked for all; for those that fail it is computed, too,
    and so on.
    """
    if matrices.dtype not in (torch.float64, torch.complex128):
        raise ValueError(f"rounding is known for float64 and complex128, not for {matrices.dtype}")
    matrices = matrices.cpu()  # the CPU's matrix products are plain sums
    if not matrices.any():
        return 0.0
    rows, scale = _scaled_rows(matrices.reshape(-1, *matrices.shape[-2:]))
    gram = rows @ rows.mH
    side, terms = rows.shape[-2:]
    parts = 4 if rows.is_complex() else 1  # a complex product is made of four real ones
    trace = gram.diagonal(dim1=-2, dim2=-1).real.sum(-1).max().item() * (
        1 + gamma(parts * terms + side + 8)
    )
    error = gamma(parts * terms + 2) * trace  # of every eigenvalue of G: G is rounded
    check = gamma(parts * (2 * side + 10))  # of the check, relative to the trace checked
    start = (at_least / scale) ** 2
    t = _verified_extreme(gram, 1 if largest else -1, error, start)
    if largest:
        bound = scale * math.sqrt(t + error + check * side * t) * (1 + gamma(8))
        return math.nextafter(bound, math.inf)
    bound = scale * math.sqrt(max(0.0, t - error - check * trace)) * (1 - gamma(8))
    return max(0.0, math.nextafter(bound, 0.0))


def _scaled_rows(matrices):
    """The matrices, lying on their longer side, divided by a power of two near their largest entry.

    The division is exact, and no square overflows.
    """
    entries = torch.view_as_real(matrices) if matrices.is_complex() else matrices
    largest = entries.abs().amax().item()
    if not math.isfinite(largest):
        raise ValueError(
            "the matrices contain NaN or infinite entries: nothing can be said of them"
        )
    scale = math.ldexp(1.0, math.frexp(largest)[1] - 1)
    rows = matrices / scale
    return (rows if rows.shape[-2] <= rows.shape[-1] else rows.mH), scale


def _verified_extreme(gram, sign, slack, start):
    """A number t for which sign * (t I - G) passes the check by Cholesky for every matrix G."""
    identity = torch.eye(gram.shape[-1]).to(gram)

    def outermost(some):
        return sign * (sign * torch.linalg.eigvalsh(some)).max().item()

    extreme = start or outermost(gram[0])
    while True:
        t = extreme + sign * slack
        failed = torch.linalg.cholesky_ex(sign * (t * identity - gram)).info != 0
        gram = gram[failed]
        if not len(gram):
            return t
        found = outermost(gram)
        if sign * found > sign * extreme:
            extreme = found
        else:
            slack *= 2  # the eigenvalues themselves were computed with errors
