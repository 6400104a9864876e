"""How far the logits that are computed may be from those of exact arithmetic: what a certificate must leave room for (lesson 7).

An error e in the input of a layer with Lipschitz constant L becomes at most L e, and the layer adds an error of its own,
which the a-priori bound for sums of products (`verified.gamma`) limits; a product that underflows errs by no more than the
smallest normal number. Sums may be taken in any order; products must be plain ones, so a GPU's TF32 or a Winograd
convolution in float32 is not covered, float64 is.
"""

import copy
import math

import torch
from torch import Tensor, nn

from .layers import GradientField, NonExpansiveBlock, NonExpansiveLinear, ResidualBlock, ZeroPadLift, certifiable
from .lipschitz import dense_norm_bound, lipschitz_bound, output_shape
from .operators import LinearOperator
from .regimes import UntiedBlock
from .switching import SwitchingBlock
from .verified import gamma

EXACT = (nn.Flatten, nn.Identity, nn.PixelUnshuffle, nn.ReLU, ZeroPadLift)


@torch.no_grad()
def rounding_bound(model: nn.Module, input_shape: tuple[int, ...]) -> float:
    """Bound of the Euclidean norm of computed minus exact outputs of `model`, computed in the type of its weights.

    It holds for images in [0, 1] of shape (batch, *input_shape), d pixels each, and for everything within sqrt(d) of one. For the
    twelve blocks of lesson 7 it is about 0.8 in float32 and 1e-9 in float64. Raises TypeError naming a module whose
    rounding errors are not known here, ValueError in training mode.
    """
    certifiable(model)
    dtype = next(model.parameters()).dtype
    error, _ = _through(model, tuple(input_shape), 0.0, 2 * math.sqrt(math.prod(input_shape)), dtype)
    return error * (1 + 1e-6)  # this computation itself


def _through(module: nn.Module, shape: tuple[int, ...], error: float, size: float, dtype: torch.dtype) -> tuple[float, float]:
    """(error, size) behind `module`, if its exact input has at most the norm `size` and the computed one differs by `error`."""
    if isinstance(module, nn.Sequential):
        for child in module:
            error, size = _through(child, shape, error, size, dtype)
            shape = output_shape(child, shape)
        return error, size
    slope, at_zero = lipschitz_bound(module, shape), _norm(module, shape)
    own = _own_error(module, shape, size + error, dtype)
    return slope * error + own, slope * size + at_zero


def _own_error(module: nn.Module, shape: tuple[int, ...], size: float, dtype: torch.dtype) -> float:
    """What the module adds to the error, for inputs of norm at most `size` that are taken as exact."""
    if isinstance(module, EXACT):
        return 0.0
    if isinstance(module, ResidualBlock):
        error, change = _through(module.branch, shape, 0.0, size, dtype)
        return error + gamma(1, dtype) * (size + change + error)
    if isinstance(module, (nn.Linear, NonExpansiveLinear)):
        matrix = module.weight if isinstance(module, nn.Linear) else module.matrix
        bias = 0.0 if module.bias is None else module.bias.norm().item()
        underflow = matrix.numel() * torch.finfo(dtype).tiny
        return gamma(matrix.shape[1] + 2, dtype) * (dense_norm_bound(matrix.abs()) * size + bias) + underflow
    if isinstance(module, UntiedBlock):
        error, inside = _affine(module.inner, module.bias, shape, size, dtype)
        middle = output_shape(module.inner, shape)
        own, change = _affine(module.outer, None, middle, inside + error, dtype)
        error = module.outer.norm_bound(middle) * error + own
        return abs(module.keep) * (error + gamma(2, dtype) * (size + change + error))
    total = 0.0
    for field, step, slope in _euler_steps(module, shape, dtype):
        error, inside = _affine(field.operator, field.bias, shape, size, dtype)
        largest = field.operator.norm_bound(shape)
        terms, absolute = _sums(field.operator, shape)
        own = step * (largest * error + gamma(terms, dtype) * absolute * (inside + error))
        own += math.prod(shape) * terms * torch.finfo(dtype).tiny * (1 + inside + error)  # step * A and the products underflow
        change = step * largest * (inside + error) + own
        if step < torch.finfo(dtype).tiny:  # the step itself underflows
            own += change
        total = slope * total + own + gamma(1, dtype) * (size + change)
        size = slope * size + step * largest * (inside - largest * size) + own  # the last bracket bounds the activation at 0
    return total


def _euler_steps(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> list[tuple[GradientField, float, float]]:
    """Field, length and Lipschitz constant of every Euler step x +- length * A^T act(A x + b) that the block takes."""
    steps: list[tuple[GradientField, float, float]] = []
    if isinstance(module, NonExpansiveBlock) and module.method == "euler":
        smoothness = module.field.smoothness(torch.zeros(1, *shape))
        number, size = module.steps(smoothness, dtype) if smoothness >= torch.finfo(dtype).tiny else (1, 0.0)
        steps = number * [(module.field, float(size), 1.0)]
    elif isinstance(module, SwitchingBlock):
        for field, h, parts, slope in zip((module.down, module.up), module.steps(shape), module.substeps, (0.0, 1.0), strict=True):
            smoothness = field.smoothness(torch.zeros(1, *shape))
            steps += parts * [
                (field, abs(h) / parts / smoothness if smoothness >= torch.finfo(dtype).tiny else 0.0, 1 + slope * abs(h) / parts)
            ]
    if not steps or not all(field.activation in ("relu", "leaky_relu") for field, _, _ in steps):
        raise TypeError(f"the rounding errors of {type(module).__name__} are not known: {module}")
    return steps


def _affine(operator: LinearOperator, bias: Tensor | None, shape, size: float, dtype: torch.dtype) -> tuple[float, float]:
    """Error and norm of A x + b and of its activation (slope at most 1, exact) for |x| <= size."""
    terms, absolute = _sums(operator, shape)
    offset = 0.0 if bias is None else _norm(lambda x: operator(x, bias), shape, operator.weight)
    underflow = math.prod(output_shape(operator, shape)) * terms * torch.finfo(dtype).tiny
    return gamma(terms, dtype) * (absolute * size + offset) + underflow, operator.norm_bound(shape) * size + offset


def _sums(operator: LinearOperator, shape: tuple[int, ...]) -> tuple[int, float]:
    """Products in the longest sum of A x or A^T y, with room for scaling, bias and padding, and the norm of |A|."""
    absolute = copy.deepcopy(operator)
    absolute.weight.abs_()
    return operator.weight.numel() // min(operator.weight.shape[:2]) + 8, absolute.norm_bound(shape)


def _norm(function, shape: tuple[int, ...], like: Tensor | None = None) -> float:
    """|f(0)|, with room for its own rounding."""
    like = next(iter(function.parameters()), torch.zeros(())) if like is None else like
    return 1.01 * function(torch.zeros(1, *shape, dtype=like.dtype, device=like.device)).norm().item()
