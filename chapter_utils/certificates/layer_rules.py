"""Rules for the layers of this package: how much each may stretch, and what rounding adds.

The layers only compute; here stands what is true of them, one rule a type (lessons 5 to 8).
"""

import functools
import math
from typing import Callable

import torch
from torch import nn

from ..conv_norms import ROUNDING
from ..expansive import SLOPE, SwitchingBlock, pair_factor
from ..image_operators import ConvOperator, ShiftOperator
from ..layers import (
    ACTIVATIONS,
    GradientField,
    NonExpansiveBlock,
    NonExpansiveLinear,
    need,
)
from ..operators import DenseOperator, LinearOperator
from ..plain_layers import (
    ChannelsLast,
    Normalization,
    ResidualBlock,
    ScaledAvgPool2d,
    Shift,
    UntiedBlock,
    ZeroPadLift,
)
from ..runge_kutta import named_tableau
from ..structure import SumPreservingProjection
from ..verified import gamma
from .bounds import (
    Bound,
    Shape,
    bound_of,
    length_bound,
    output_shape,
    register,
    require_evaluation,
    trusted_type,
    zero_input,
)
from .rounding import (
    averages,
    chain,
    exact,
    runge_kutta,
    skip,
    sums,
)
from .torch_rules import affine

# ---- linear operators and gradient fields --------------------------------------------------------


@register(DenseOperator, ShiftOperator, ConvOperator)
def linear_operator(A, shape):
    """x -> A x, with the operator's own guaranteed norm."""
    return operator_and_bias(A, None, shape, absolute_norm(A, shape))


def operator_and_bias(A: LinearOperator, bias, shape: Shape, absolute: Callable) -> Bound:
    """x -> A x + b, or A x without a bias; `absolute()` bounds the norm of |A|."""
    norm = A.norm_bound(shape)
    size_of_bias = 0.0
    if bias is not None:
        with torch.no_grad():
            size_of_bias = length_bound(A(zero_input(A, shape), bias.detach()))
    outputs = math.prod(output_shape(A, shape))
    rounding = sums(terms_of(A), outputs, absolute, size_of_bias)
    return Bound(norm, rounding, size_of_bias)


def terms_of(A: LinearOperator) -> int:
    """Products in the longest sum of A x or A^T y, with room for tau, bias and padding."""
    return A.weight.numel() // min(A.weight.shape[:2]) + 16


def absolute_norm(A: LinearOperator, shape: Shape) -> Callable:
    """A function that bounds the norm of |A|, the map with the absolute weights; computed once."""

    @functools.cache
    def norm():
        return A.norm_of(A.weight.detach().abs(), tuple(shape))

    return norm


def adjoint_times(A: LinearOperator, tau: float, shape: Shape, absolute: Callable) -> Bound:
    """y -> tau A^T y, for an A that takes inputs of this shape."""
    norm = A.norm_bound(shape)

    def rounding(size, dtype):
        tiny = torch.finfo(dtype).tiny
        underflow = math.prod(shape) * terms_of(A) * tiny * (1 + size)
        lost = tau * norm * size if tau < tiny else 0.0  # tau itself underflows
        return tau * gamma(terms_of(A), dtype) * absolute() * size + underflow + lost

    return Bound(tau * norm, rounding)


def scaled_field(field: GradientField, tau: float, shape: Shape) -> Bound:
    """x -> tau A^T act(A x + b), in three parts."""
    A = field.operator
    act, _ = ACTIVATIONS[field.activation]
    absolute = absolute_norm(A, shape)
    inner = operator_and_bias(A, field.bias, shape, absolute)
    activation = bound_of(act, output_shape(A, shape))
    return chain([inner, activation, adjoint_times(A, tau, shape, absolute)])


@register(GradientField)
def gradient_field(field, shape):
    """L = slope |A|^2, with the guaranteed norm in training mode, too."""
    norm = bound_of(field.operator, shape).lipschitz
    if norm > 1e150:
        raise ValueError(f"weights of norm {norm:.1e} are too large: tau would be zero")
    _, slope = ACTIVATIONS[field.activation]
    L = slope * norm * norm
    return Bound(L * (1 + ROUNDING), scaled_field(field, 1.0, shape).rounding)


def require_gradient(field: nn.Module, shape: Shape) -> None:
    """Raise unless the field is a GradientField, for which alone its steps are bounded."""
    bound_of(field, shape)
    if trusted_type(field) is not GradientField:
        name = type(field).__name__
        raise TypeError(f"{name} is no GradientField: of its steps nothing is known")


# ---- blocks --------------------------------------------------------------------------------------


@register(NonExpansiveBlock)
def nonexpansive_block(block, shape):
    """1, because c <= 2r (Claims 5.1 and 5.7)."""
    require_evaluation(block)
    block.limit()  # raises if c has been changed to one beyond the bound
    require_gradient(block.field, shape)
    L = block.field.L(zero_input(block, shape))

    def rounding(size, dtype):
        still = L < torch.finfo(dtype).tiny
        number, tau = (1, 0.0) if still else block.steps(L, dtype)
        field = scaled_field(block.field, tau, shape)
        step = runge_kutta(field, named_tableau(block.method), lipschitz=1.0)
        return chain(number * [step]).rounding(size, dtype)

    return Bound(1.0, rounding)


@register(SwitchingBlock)
def switching_block(block, shape):
    """What one step shrinks, times what the other may stretch (lesson 6)."""
    require_evaluation(block)
    block.check()
    if block.prescribed is None and not torch.isfinite(block.raw).all():
        raise ValueError("the learned steps are NaN or infinite, so no bound holds")
    activations = (block.down.activation, block.up.activation)
    if activations != ("leaky_relu", "relu"):
        given = " and ".join(activations)
        raise ValueError(f"the activations must be leaky_relu and relu, not {given}")
    require_gradient(block.down, shape)
    require_gradient(block.up, shape)
    kappa = SLOPE * block.conditioning(shape) * (1 - block.slack())
    c = block.steps(shape)
    factor = pair_factor(c, block.substeps, kappa) * (1 + block.slack() / 4 + ROUNDING)

    def euler_steps(field, c, parts, growth, dtype):
        L = field.L(zero_input(block, shape))
        tau = c / parts / L if L >= torch.finfo(dtype).tiny else 0.0
        step = runge_kutta(scaled_field(field, tau, shape), named_tableau("euler"), growth)
        return parts * [step]

    def rounding(size, dtype):
        c1 = abs(c[0])
        c2 = abs(c[1])
        parts1, parts2 = block.substeps
        down = euler_steps(block.down, c1, parts1, 1.0, dtype)
        up = euler_steps(block.up, c2, parts2, 1 + c2 / parts2, dtype)
        return chain(down + up).rounding(size, dtype)

    return Bound(factor, rounding)


@register(UntiedBlock)
def untied_block(block, shape):
    """keep * (1 + |A| |B|)."""
    middle = output_shape(block.inner, shape)
    output_shape(block, shape)  # raises if the shapes do not fit
    bound_of(block.inner, shape)  # raises for operators that are not known
    outer = bound_of(block.outer, middle)
    absolute = absolute_norm(block.inner, shape)
    inner = operator_and_bias(block.inner, block.bias, shape, absolute)
    rounding = skip(chain([inner, outer]), roundings=3)
    keep = abs(block.keep)
    norms = inner.lipschitz * outer.lipschitz

    def kept(size, dtype):
        tiny = torch.finfo(dtype).tiny
        reach = size + norms * size + outer.lipschitz * inner.at_zero
        lost = keep * reach if keep < tiny else 0.0  # keep itself underflows
        return keep * rounding(size, dtype) + math.prod(shape) * tiny + lost

    return Bound(keep * (1 + norms) * (1 + ROUNDING), kept)


@register(ResidualBlock)
def residual_block(block, shape):
    """A skip adds 1 to the bound of its branch (lesson 3)."""
    branch = bound_of(block.branch, shape)
    need(branch.output_shape == shape, block, shape)
    with torch.inference_mode(False), torch.no_grad():
        x = zero_input(block.branch, shape)
        block.branch(x)
    if x._version:
        raise ValueError(
            f"the branch changes its input in place, so this is no residual block: {block.branch}"
        )
    return Bound((1 + branch.lipschitz) * (1 + ROUNDING), skip(branch))


# ---- the other parts -----------------------------------------------------------------------------


@register(NonExpansiveLinear)
def nonexpansive_linear(module, shape):
    """The norm of the matrix in use, which is at most 1."""
    require_evaluation(module)
    bound_of(module.operator, shape)
    return affine(module.matrix.detach(), module.bias, shape)


@register(ZeroPadLift, ChannelsLast, Shift)
def isometry(module, shape):
    """Numbers only move, and zeros are appended."""
    output_shape(module, shape)  # raises for shapes that do not fit
    return Bound(1.0, exact)


@register(ScaledAvgPool2d)
def scaled_average_pool(module, shape):
    """k times the average of k x k: by Cauchy and Schwarz at most 1 (lesson 3)."""
    outputs = math.prod(output_shape(module, shape))
    return Bound(1.0 + ROUNDING, averages(module.kernel_size**2, outputs, 1.0))


@register(Normalization)
def normalization(module, shape):
    """1 / min(std), which counts in a certificate (lesson 7)."""
    need(len(shape) == 3 and shape[0] == len(module.mean), module, shape)
    std = module.std.double()
    if not (std > 0).all() or not torch.isfinite(std).all():
        raise ValueError(f"std must be positive and finite, is now {std.flatten().tolist()}")
    largest = 1 / std.min().item()
    with torch.no_grad():
        size_of_shift = length_bound(module(zero_input(module, shape)))

    def rounding(size, dtype):
        underflow = math.prod(shape) * torch.finfo(dtype).tiny * (1 + largest)
        return gamma(3, dtype) * (largest * size + size_of_shift) + underflow

    return Bound(largest * (1 + ROUNDING), rounding)


@register(SumPreservingProjection)
def sum_preserving_projection(module, shape):
    """sqrt(in / out); no entry of its matrix is negative (lesson 8)."""
    need(shape == (module.in_features,), module, shape)
    largest = math.sqrt(module.in_features / module.out_features) * (1 + ROUNDING)
    terms = module.in_features - module.out_features + 3
    return Bound(largest, sums(terms, module.out_features, lambda: largest))
