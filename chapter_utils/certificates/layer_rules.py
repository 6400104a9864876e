"""Rules for the layers of this package: how much each may stretch, and what rounding adds.

The layers only compute; here stands what is true of them, one rule a type (lessons 5 to 8).
"""

import functools
import math

import torch
from torch import Tensor, nn

from ..conv_norms import ROUNDING
from ..expansive import SLOPE, SwitchingBlock, pair_factor
from ..image_operators import ConvOperator, ShiftOperator
from ..layers import (
    ACTIVATIONS,
    GradientField,
    NonExpansiveBlock,
    NonExpansiveLinear,
)
from ..operators import DenseOperator, LinearOperator
from ..plain_layers import (
    ResidualBlock,
    UntiedBlock,
)
from ..runge_kutta import named_tableau
from ..structure import SumPreservingProjection
from ..verified import gamma
from .bounds import (
    SMALLEST,
    Bound,
    Shape,
    at_place,
    at_zero,
    bound_of,
    length_bound,
    register,
    require_evaluation,
    trusted_type,
    zero_input,
)
from .rounding import (
    chain,
    runge_kutta,
    skip,
    sums,
)
from .torch_rules import affine

# ---- linear operators and gradient fields --------------------------------------------------------


@register(DenseOperator, ShiftOperator, ConvOperator)
def linear_operator(A, shape):
    """x -> A x, and y -> A^T y, with the operator's own guaranteed norm."""
    norm = A.norm_bound(shape)

    @functools.cache
    def absolute():
        return A.norm_of(A.weight.detach().abs(), shape)

    return Bound(norm, sums(terms_of(A), math.prod(shape) + at_zero(A, shape).numel(), absolute))


def terms_of(A: LinearOperator) -> int:
    """Products in the longest sum of A x or A^T y, with room for tau, bias and padding."""
    return A.weight.numel() // max(1, min(A.weight.shape[:2])) + 16


def with_bias(operator: LinearOperator, A: Bound, bias: Tensor, shape: Shape) -> Bound:
    """x -> A x + b, for an operator A of this bound."""
    with torch.no_grad():
        size_of_bias = length_bound(operator(zero_input(operator, shape), bias.detach()))
    terms = terms_of(operator)

    def rounding(size, dtype):
        added = gamma(terms, dtype) * size_of_bias + gamma(1, dtype) * A.lipschitz * size
        return A.rounding(size, dtype) + added

    return Bound(A.lipschitz, rounding, size_of_bias)


def operator_bound(field: nn.Module, shape: Shape) -> Bound:
    """The bound of A, and of A^T. Raises for all but GradientFields: of their steps alone, which
    are short enough for the `norm_bound` of A, something is known."""
    if trusted_type(field) is not GradientField:
        raise TypeError(
            f"{type(field).__name__} is no GradientField: of its steps nothing is known"
        )
    A = bound_of(field.operator, shape)
    if A.lipschitz > 1e150:
        raise ValueError(f"weights of norm {A.lipschitz:.1e} are too large: tau would be zero")
    norm = field.operator.norm_bound(shape)
    if max(norm, SMALLEST) < A.lipschitz:
        raise ValueError(
            f"the norm_bound of {field.operator} is {norm}, less than its rule says: {A.lipschitz}"
        )
    return A


def scaled_field(field: GradientField, A: Bound, tau: float, shape: Shape) -> Bound:
    """x -> tau A^T act(A x + b), in three parts."""
    inner = with_bias(field.operator, A, field.bias, shape)
    act, _ = ACTIVATIONS[field.activation]
    activation = bound_of(act, A.output_shape)

    def rounding(size, dtype):
        """Of y -> tau A^T y."""
        tiny = torch.finfo(dtype).tiny
        own = tau * (A.rounding(size, dtype) + gamma(2, dtype) * A.lipschitz * size)
        underflow = math.prod(shape) * terms_of(field.operator) * tiny * (1 + size)
        lost = tiny * A.lipschitz * size  # if tau itself underflows
        return own + underflow + lost

    return chain([inner, activation, Bound(tau * A.lipschitz, rounding)])


@register(GradientField)
def gradient_field(field, shape):
    """L = slope |A|^2, with the guaranteed norm in training mode, too."""
    A = operator_bound(field, shape)
    _, slope = ACTIVATIONS[field.activation]
    L = slope * A.lipschitz * A.lipschitz
    return Bound(L * (1 + ROUNDING), scaled_field(field, A, 1.0, shape).rounding)


# ---- blocks --------------------------------------------------------------------------------------


@register(NonExpansiveBlock)
def nonexpansive_block(block, shape):
    """1, because c <= 2r (Claims 5.1 and 5.7)."""
    require_evaluation(block)
    block.limit()  # raises if c has been changed to one beyond the bound
    A = operator_bound(block.field, shape)
    L = block.field.L(zero_input(block, shape))

    def rounding(size, dtype):
        still = L < torch.finfo(dtype).tiny
        number, tau = (1, 0.0) if still else block.steps(L, dtype)
        field = scaled_field(block.field, A, tau, shape)
        step = runge_kutta(field, named_tableau(block.method), lipschitz=1.0)
        return chain(number * [step]).rounding(size, dtype)

    return Bound(1.0, rounding)


@register(SwitchingBlock)
def switching_block(block, shape):
    """What one step shrinks, times what the other may stretch (lesson 6)."""
    require_evaluation(block)
    block.check()
    activations = (block.down.activation, block.up.activation)
    if activations != ("leaky_relu", "relu"):
        raise ValueError(f"the activations must be leaky_relu and relu, not {activations}")
    A = operator_bound(block.down, shape)
    B = operator_bound(block.up, shape)
    kappa = SLOPE * block.conditioning(shape) * (1 - block.slack())
    c = block.steps(shape)
    factor = pair_factor(c, block.substeps, kappa) * (1 + block.slack() / 4 + ROUNDING)

    def euler_steps(field, operator, c, parts, growth, dtype):
        L = field.L(zero_input(block, shape))
        tau = c / parts / L if L >= torch.finfo(dtype).tiny else 0.0
        step = runge_kutta(
            scaled_field(field, operator, tau, shape), named_tableau("euler"), growth
        )
        return parts * [step]

    def rounding(size, dtype):
        c1 = abs(c[0])
        c2 = abs(c[1])
        parts1, parts2 = block.substeps
        down = euler_steps(block.down, A, c1, parts1, 1.0, dtype)
        up = euler_steps(block.up, B, c2, parts2, 1 + c2 / parts2, dtype)
        return chain(down + up).rounding(size, dtype)

    return Bound(factor, rounding)


@register(UntiedBlock)
def untied_block(block, shape):
    """keep * (1 + |A| |B|)."""
    A = bound_of(block.inner, shape)
    inner = with_bias(block.inner, A, block.bias, shape)
    outer = bound_of(block.outer, A.output_shape)
    rounding = skip(chain([inner, outer]), roundings=3)
    keep = abs(block.keep)
    norms = inner.lipschitz * outer.lipschitz

    def kept(size, dtype):
        tiny = torch.finfo(dtype).tiny
        reach = size + norms * size + outer.lipschitz * inner.at_zero
        lost = tiny * (reach + math.prod(shape))  # also if keep itself underflows
        return keep * rounding(size, dtype) + lost

    return Bound(keep * (1 + norms) * (1 + ROUNDING), kept)


@register(ResidualBlock)
def residual_block(block, shape):
    """A skip adds 1 to the bound of its branch (lesson 3)."""
    with at_place("branch"):
        branch = bound_of(block.branch, shape)
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


@register(SumPreservingProjection)
def sum_preserving_projection(module, shape):
    """sqrt(in / out); no entry of its matrix is negative (lesson 8)."""
    largest = math.sqrt(module.in_features / module.out_features) * (1 + ROUNDING)
    terms = module.in_features - module.out_features + 3
    return Bound(largest, sums(terms, module.out_features, lambda: largest))
