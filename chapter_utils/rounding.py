"""How far the logits that are computed may be from those of exact arithmetic: what a certificate must leave room for (lesson 7).

An error e in the input of a layer with Lipschitz constant L becomes at most L e, and the layer adds an error of its own,
which the a-priori bound for sums of products (`verified.gamma`) limits; a product that underflows errs by no more than the
smallest normal number. Sums may be taken in any order; products must be plain ones, so a GPU's TF32 or a Winograd
convolution in float32 is not covered, float64 is.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .layers import (
    GradientField,
    NonExpansiveBlock,
    NonExpansiveLinear,
    Normalization,
    ResidualBlock,
    ZeroPadLift,
    certifiable,
)  # fmt: skip
from .lipschitz import blank_input, dense_norm_bound, lipschitz_bound, output_shape
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
    lipschitz_bound(
        model, input_shape
    )  # refuses hooks and replaced forwards, which are not seen below
    dtype = next(model.parameters(), torch.zeros(())).dtype
    error, _ = _through(
        model, tuple(input_shape), 0.0, 2 * math.sqrt(math.prod(input_shape)), dtype
    )
    return error * (1 + 1e-6)  # this computation itself


def last_matrix(module: nn.Module) -> Tensor | None:
    """P (outputs, inputs) of a layer x -> P x + c as it is in use, None for layers of another kind."""
    if _is(module, nn.Linear):
        return module.weight.detach()
    return module.matrix.detach() if _is(module, NonExpansiveLinear) else None


def _is(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether the module computes what one of these kinds does: a subclass with a forward of its own does not."""
    return any(type(module).forward is kind.forward for kind in kinds)


def _through(
    module: nn.Module, shape: tuple[int, ...], error: float, size: float, dtype: torch.dtype
) -> tuple[float, float]:
    """(error, size) behind `module`, if its exact input has at most the norm `size` and the computed one differs by `error`."""
    if _is(module, nn.Sequential):
        for child in module:
            error, size = _through(child, shape, error, size, dtype)
            shape = output_shape(child, shape)
        return error, size
    slope, own = lipschitz_bound(module, shape), _own_error(module, shape, size + error, dtype)
    error, size = slope * error + own, slope * size + _at_zero(module, shape) + own
    _need_room(size + error, dtype)
    return error, size


def _need_room(size: float, dtype: torch.dtype) -> None:
    if not size <= torch.finfo(dtype).max:
        raise ValueError(f"numbers on the way to the outputs may be too large for {dtype}")


def _own_error(module: nn.Module, shape: tuple[int, ...], size: float, dtype: torch.dtype) -> float:
    """What the module adds to the error, for inputs of norm at most `size` that are taken as exact."""
    tiny = torch.finfo(dtype).tiny
    if _is(module, *EXACT):
        return 0.0
    if _is(module, Normalization):
        smallest = module.std.min().item()
        return gamma(3, dtype) * (size / smallest + _at_zero(module, shape)) + math.prod(
            shape
        ) * tiny * (1 + 1 / smallest)
    if _is(module, ResidualBlock):
        error, change = _through(module.branch, shape, 0.0, size, dtype)
        return error + gamma(1, dtype) * (size + change + error)
    if (matrix := last_matrix(module)) is not None:
        underflow = math.prod(shape[:-1]) * matrix.numel() * tiny
        return (
            gamma(matrix.shape[1] + 2, dtype)
            * (dense_norm_bound(matrix.abs()) * size + _at_zero(module, shape))
            + underflow
        )
    if _is(module, UntiedBlock):
        error, inside, _ = _affine(module.inner, module.bias, shape, size, dtype)
        middle = output_shape(module.inner, shape)
        own, change, _ = _affine(module.outer, None, middle, inside + error, dtype)
        error = module.outer.norm_bound(middle) * error + own
        return abs(module.keep) * (error + gamma(3, dtype) * (size + change + error))
    total = 0.0
    for field, step, slope in _euler_steps(module, shape, dtype):
        error, inside, offset = _affine(field.operator, field.bias, shape, size, dtype)
        largest = field.operator.norm_bound(shape)
        terms, absolute = _sums(field.operator, shape)
        own = step * (largest * error + gamma(terms, dtype) * absolute * (inside + error))
        own += (
            math.prod(shape) * terms * tiny * (1 + inside + error)
        )  # step * A and the products underflow
        change = step * largest * (inside + error) + own
        _need_room(size + change, dtype)
        if step < tiny:  # the step itself underflows
            own += change
        total = slope * total + own + gamma(1, dtype) * (size + change)
        size = slope * size + step * largest * offset + own
    return total


def _euler_steps(
    module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype
) -> list[tuple[GradientField, float, float]]:
    """Field, length and Lipschitz constant of every Euler step x +- length * A^T act(A x + b) that the block takes."""
    steps: list[tuple[GradientField, float, float]] = []
    tiny = torch.finfo(dtype).tiny  # below which a block leaves the step out
    if _is(module, NonExpansiveBlock) and module.method == "euler":
        smoothness = module.field.smoothness(torch.zeros(1, *shape))
        number, size = module.steps(smoothness, dtype) if smoothness >= tiny else (1, 0.0)
        steps = number * [(module.field, float(size), 1.0)]
    elif _is(module, SwitchingBlock):
        fields = zip(
            (module.down, module.up), module.steps(shape), module.substeps, (0, 1), strict=True
        )
        for field, h, parts, expands in fields:
            smoothness = field.smoothness(torch.zeros(1, *shape))
            size = abs(h) / parts / smoothness if smoothness >= tiny else 0.0
            steps += parts * [(field, size, 1 + expands * abs(h) / parts)]
    if not steps or not all(field.activation in ("relu", "leaky_relu") for field, _, _ in steps):
        raise TypeError(f"the rounding errors of {type(module).__name__} are not known: {module}")
    return steps


def _affine(
    operator: LinearOperator, bias: Tensor | None, shape, size: float, dtype: torch.dtype
) -> tuple[float, float, float]:
    """Error and norm of A x + b and of its activation (slope at most 1, exact) for |x| <= size, and the norm of b as an image."""
    terms, absolute = _sums(operator, shape)
    offset = 0.0 if bias is None else _at_zero(lambda x: operator(x, bias), shape, operator.weight)
    underflow = math.prod(output_shape(operator, shape)) * terms * torch.finfo(dtype).tiny
    error, inside = (
        gamma(terms, dtype) * (absolute * size + offset) + underflow,
        operator.norm_bound(shape) * size + offset,
    )
    _need_room(inside + error, dtype)
    return error, inside, offset


def _sums(operator: LinearOperator, shape: tuple[int, ...]) -> tuple[int, float]:
    """Products in the longest sum of A x or A^T y, with room for scaling, bias and circular padding, and the norm of |A|."""
    kind = parametrize.type_before_parametrizations(operator)
    absolute = kind.__new__(kind)  # the same operator with the weights |A|, parametrised or not
    absolute.__dict__ |= operator.__dict__ | {
        "_parameters": {"weight": nn.Parameter(operator.weight.detach().abs())},
        "_known": {},
    }
    return operator.weight.numel() // min(operator.weight.shape[:2]) + 16, absolute.norm_bound(
        shape
    )


def _at_zero(function, shape: tuple[int, ...], like: Tensor | None = None) -> float:
    """|f(0)|, a little enlarged; no square of a tiny entry underflows."""
    zeros = (
        blank_input(function, shape)
        if like is None
        else torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
    )
    values = function(zeros)
    return 1.01 * math.hypot(*values.flatten().tolist())
