"""How far a computed output may be from exact arithmetic: what a certificate must leave room for.

An error e in the input of a layer with Lipschitz constant L becomes at most L e, and the layer adds
an error of its own. Its `rounding(size, dtype)` bounds that, for exact inputs of norm at most
`size` (lesson 7). It comes from the a-priori bound for sums of products, `verified.gamma`; a
product that underflows errs by no more than the smallest normal number. Sums may be taken in any
order; products must be plain ones, so a GPU's TF32 or a Winograd convolution in float32 is not
covered, float64 is. Elementary functions (exp, tanh, erf, ...) are taken to be accurate to four
units in the last place; a test compares activations with 50 digits.
"""

import math
from typing import Callable

import torch
from torch import nn

from ..runge_kutta import Tableau
from ..verified import gamma
from .bounds import (
    Bound,
    Rounding,
    Shape,
    bound_of,
    numbers_of,
    refuse_changed,
    require_evaluation,
    zero_input,
)


@torch.no_grad()
def rounding_bound(model: nn.Module, input_shape: Shape) -> float:
    """Bound of |computed - exact| outputs, computed in the type of the weights (lesson 7).

    It holds for images in [0, 1] of shape (batch, *input_shape), d pixels each, and for
    everything within sqrt(d) of one. For the twelve blocks of lesson 7 it is about 0.8 in float32
    and 1e-9 in float64. Not for computing under `torch.autocast`. Raises TypeError naming a
    module without a rule, ValueError in training mode.
    """
    refuse_changed(model)
    require_evaluation(model)
    shape = numbers_of(input_shape)
    dtype = zero_input(model, shape).dtype
    return error_on_images(bound_of(model, shape), shape, dtype)


def error_on_images(bound: Bound, input_shape: Shape, dtype: torch.dtype) -> float:
    """The rounding error within sqrt(d) of images of d pixels in [0, 1]."""
    error = bound.rounding(2 * math.sqrt(math.prod(input_shape)), dtype)
    need_room(error, dtype)
    return error * (1 + 1e-6)  # this computation is rounded itself


def need_room(size: float, dtype: torch.dtype) -> None:
    """Raise ValueError if numbers of this size may overflow, or if it is none."""
    if not 0 <= size <= torch.finfo(dtype).max:
        raise ValueError(
            f"numbers on the way to the outputs may be too large for {dtype}, or the rounding of a "
            f"rule is no bound: {size}"
        )


# ---- what one layer adds -------------------------------------------------------------------------


def exact(size: float, dtype: torch.dtype) -> float:
    """For layers that only move, drop or compare numbers."""
    return 0.0


def sums(
    terms: int,
    outputs: int,
    absolute: Callable[[], float],
    bias: float = 0.0,
) -> Rounding:
    """For x -> W x + b: each of the `outputs` is a sum of at most `terms` products.

    `absolute()` is a bound of the norm of |W|, the matrix of absolute values; `bias` is |b|.
    """

    def rounding(size, dtype):
        underflow = outputs * terms * torch.finfo(dtype).tiny
        return gamma(terms, dtype) * (absolute() * size + bias) + underflow

    return rounding


def averages(terms: int, outputs: int, largest: float) -> Rounding:
    """For means of so many numbers, a map of norm at most `largest`: a sum, then a division."""
    plain = sums(terms + 3, outputs, lambda: largest)

    def rounding(size, dtype):
        need_room(math.sqrt(terms) * size, dtype)  # the sum, before it is divided
        return plain(size, dtype)

    return rounding


def elementwise(
    roundings: int,
    entries: int,
    growth: float,
    floor: float = 0.0,
) -> Rounding:
    """For functions of each of the `entries`, computed with so many roundings.

    An entry t errs by at most that many units of roundoff times growth |t| + floor.
    """

    def rounding(size, dtype):
        underflow = entries * (1 + size) * torch.finfo(dtype).tiny
        return gamma(roundings, dtype) * (growth * size + floor * math.sqrt(entries)) + underflow

    return rounding


# ---- what several add together -------------------------------------------------------------------


def chain(parts: list[Bound], measured: bool = False) -> Bound:
    """The bound of one layer after the other: constants multiply, errors are passed on.

    `measured`: the parts computed their at_zero themselves, so it errs as they do.
    """
    lipschitz = 1.0
    at_zero = 0.0
    for part in parts:
        lipschitz *= part.lipschitz
        at_zero = part.lipschitz * at_zero + part.at_zero

    def rounding(size, dtype):
        error = 0.0
        for part in parts:
            own = part.rounding(size + error, dtype)
            need_room(own, dtype)
            error = part.lipschitz * error + own
            size = part.lipschitz * size + part.at_zero + (own if measured else 0.0)
            need_room(size + error, dtype)
        return error

    return Bound(lipschitz, rounding, at_zero)


def skip(branch: Bound, roundings: int = 1) -> Rounding:
    """For x + branch(x)."""

    def rounding(size, dtype):
        error = branch.rounding(size, dtype)
        change = branch.lipschitz * size + branch.at_zero
        need_room(size + change + error, dtype)
        return error + gamma(roundings, dtype) * (size + change + error)

    return rounding


def runge_kutta(field: Bound, method: Tableau, lipschitz: float) -> Bound:
    """One explicit step x + sum_i b_i f(X_i), X_i = x + sum_j a_ij f(X_j), known to be `lipschitz`.

    `field` bounds f, which includes the step size.
    """

    def rounding(size, dtype):
        _, error = _follow(field, method, size, dtype)
        return error

    at_zero, _ = _follow(field, method, 0.0, torch.float64)
    return Bound(lipschitz, rounding, at_zero)


def _follow(field, method, size, dtype):
    """Bounds of |step(x)| and of its error for |x| <= size: every f(X_i), and the sums."""
    slopes: list[tuple[float, float]] = []  # of each f(X_i): size and error

    def combine(weights):
        """The same of x + sum_i weights_i f(X_i)."""
        used = [(abs(w), *slope) for w, slope in zip(weights, slopes, strict=False) if w]
        reach = size + sum(w * (s + e) for w, s, e in used)
        error = sum(w * e for w, _, e in used)
        products = 2 * any(w != 1 for w, _, _ in used)  # the weight is rounded, and the product
        need_room(reach + error, dtype)
        return reach, error + gamma(len(used) + products, dtype) * reach

    for row in method.A.tolist():
        reach, error = combine(row)
        own = field.rounding(reach + error, dtype)
        slope = field.lipschitz * reach + field.at_zero
        slopes.append((slope, field.lipschitz * error + own))
    return combine(method.b.tolist())
