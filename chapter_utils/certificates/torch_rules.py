"""Rules for PyTorch's own layers: how much each may stretch, and what rounding adds (lesson 3)."""

import math

import torch
from torch import Tensor, nn

from ..conv_norms import (
    ROUNDING,
    conv_norm_bound,
)
from ..layers import need
from ..norms import dense_norm_bound, finite
from ..plain_layers import ChannelsLast, Normalization, ScaledAvgPool2d, Shift, ZeroPadLift
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
)
from .rounding import (
    averages,
    chain,
    elementwise,
    exact,
    sums,
)


def pair(value: int | tuple[int, ...], missing: int = 1) -> tuple[int, int]:
    """A setting for height and width; the width is missing if it is for one axis."""
    values = (value, value) if isinstance(value, int) else (*value, missing)
    return values[:2]


# ---- networks and linear maps --------------------------------------------------------------------


@register(nn.Sequential)
def sequential(module, shape):
    """Layer after layer, each for inputs of the shape that reaches it."""
    return in_a_row(children_bounds(module, shape))


def children_bounds(module: nn.Sequential, shape: Shape) -> list[Bound]:
    """The bound of each layer, for inputs of the shape that reaches it."""
    parts = []
    for number, child in enumerate(module):
        with at_place(number):
            parts.append(bound_of(child, shape))
        shape = parts[-1].output_shape
    return parts


def in_a_row(parts: list[Bound]) -> Bound:
    """Bounds multiply along a chain."""
    lipschitz = 1.0
    for part in parts:
        lipschitz = max(lipschitz * part.lipschitz, SMALLEST)
    # The factor covers the rounding of the product itself.
    return Bound(lipschitz * (1 + ROUNDING), chain(parts, measured=True).rounding)


@register(nn.Linear)
def linear(module, shape):
    """The largest singular value."""
    need(shape[-1:] == (module.in_features,), module, shape)
    return affine(module.weight.detach(), module.bias, shape)


def affine(weight: Tensor, bias: Tensor | None, shape: Shape) -> Bound:
    """x -> W x + b on the last axis: the largest singular value of W."""
    largest = dense_norm_bound(weight)
    rows = math.prod(shape[:-1])
    outputs, inputs = weight.shape
    size_of_bias = 0.0
    if bias is not None:
        size_of_bias = math.sqrt(rows) * length_bound(bias.expand(outputs))

    def absolute():
        return dense_norm_bound(weight.abs())

    rounding = sums(inputs + 2, rows * outputs, absolute, size_of_bias)
    return Bound(largest, rounding)


@register(nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
def convolution(module, shape):
    """By the Fourier transform (Claims 3.10 and 3.11); a transposed map has the same norm."""
    weight = module.weight.detach()
    need(len(shape) == weight.ndim - 1, module, shape)
    sides = shape[1:]
    if "Transpose" in trusted_type(module).__name__:  # from its outputs to its inputs
        sides = at_zero(module, shape).shape[2:]
    if len(shape) == 2:  # an image of width 1
        weight = weight[..., None]
    stride = pair(module.stride)
    dilation = pair(module.dilation)
    padding = module.padding
    if module.padding_mode == "circular":  # the pixels that it really adds
        *across, top, bottom = (0, 0, *module._reversed_padding_repeated_twice)[-4:]
        padding = [(top, bottom), tuple(across)]
    elif not isinstance(padding, str):
        padding = pair(padding, missing=0)

    def norm(kernel):
        settings = (stride, padding, dilation, module.groups, module.padding_mode)
        return conv_norm_bound(kernel, pair(sides), *settings)

    largest = norm(weight)
    blank = at_zero(module, shape)
    terms = weight.numel() // blank.shape[1] + 2
    rounding = sums(terms, blank.numel(), lambda: norm(weight.abs()), length_bound(blank))
    return Bound(largest, rounding)


@register(nn.BatchNorm1d, nn.BatchNorm2d)
def batch_norm(module, shape):
    """In evaluation mode one factor and one shift a channel."""
    if module.training or module.running_var is None:
        raise ValueError(
            "batch normalisation has no Lipschitz bound in training mode: call model.eval() first"
        )
    factor = (finite(module.running_var).double() + module.eps).rsqrt()
    bias = 0.0
    if module.weight is not None:
        factor = factor * finite(module.weight.detach()).double().abs()
    if module.bias is not None:
        bias = module.bias.detach().double().abs()
    return channelwise(factor, factor * module.running_mean.double().abs() + bias, shape)


@register(Normalization)
def normalization(module, shape):
    """1 / std, which counts in a certificate (lesson 7)."""
    std = module.std.double()
    if not ((std > 0) & (std < math.inf)).all():
        raise ValueError(f"std must be positive and finite, is now {std.flatten().tolist()}")
    return channelwise(1 / std, module.mean.double() / std, shape)


def channelwise(factors: Tensor, shifts: Tensor, shape: Shape) -> Bound:
    """One factor and one shift a channel: the largest factor counts."""
    largest = factors.abs().max().item()
    size_of_shift = math.sqrt(math.prod(shape[1:])) * length_bound(shifts)
    # What is lost before the multiplication grows with it.
    numbers = math.ceil(math.prod(shape) * (1 + largest))
    rounding = sums(16, numbers, lambda: largest, size_of_shift)
    return Bound(largest * (1 + ROUNDING), rounding)


# ---- pooling and moving --------------------------------------------------------------------------


@register(
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    ScaledAvgPool2d,
    nn.Upsample,
    nn.ReflectionPad2d,
)
def averaged(A, shape):
    """A linear map without negative entries.

    The largest eigenvalue of A^T A is at most the largest quotient of A^T A v and v, for every
    v > 0 (Collatz and Wielandt). Power iteration makes the quotients alike.
    """
    if not getattr(A, "mode", "nearest").startswith("nearest"):
        raise ValueError(f"upsampling is bounded for mode='nearest' only, got {A.mode!r}")
    outputs = at_zero(A, shape).numel()
    v = torch.ones(1, *shape, dtype=torch.float64)
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(10):
            v = v.clone().requires_grad_()
            (w,) = torch.autograd.grad(A(v).square().sum() / 2, v)
            eigenvalue = (w / v).max().item()
            v = w.clamp_min(1e-3 * w.max())  # pixels that are never read count, too
    largest = math.sqrt(eigenvalue) * (1 + ROUNDING)
    return Bound(largest, averages(math.prod(shape), outputs, largest))


@register(nn.MaxPool1d, nn.MaxPool2d)
def max_pool(module, shape):
    """A bright pixel is the maximum of so many windows at most."""
    if pair(module.dilation) != (1, 1) or module.return_indices:
        raise ValueError("max pooling is bounded for dilation 1 and without indices only")
    sides = zip(pair(module.kernel_size), pair(module.stride), strict=True)
    down, across = (math.ceil(side / step) for side, step in sides)
    if trusted_type(module) is nn.MaxPool1d:
        across = 1
    return Bound(math.sqrt(down * across) * (1 + ROUNDING), exact)


@register(
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout
)
def dropout(module, shape):
    """In evaluation mode it does nothing."""
    require_evaluation(module)
    return Bound(1.0, exact)


@register(nn.Identity, nn.ReLU, nn.Flatten, nn.Unflatten, ZeroPadLift, ChannelsLast, Shift)
def kept_or_dropped(module, shape):
    """Slopes 0 and 1; or numbers move, and zeros are appended."""
    return Bound(1.0, exact)


@register(nn.PixelUnshuffle, nn.PixelShuffle, nn.ChannelShuffle, nn.ZeroPad2d)
def moved(module, shape):
    """Numbers are moved, and zeros added: lengths stay, or shrink if the padding is negative."""
    need(len(shape) == 3, module, shape)
    return Bound(1.0, exact)


# ---- activations: the largest slope, and roundings of each entry ---------------------------------

# Entries of size t, computed from a few elementary functions: the largest slope, rounded up, and
# the units of error, growth |t| + floor. Tests recompute both.
ROWS = """
Tanh         1       1  0
Sigmoid      0.25    0  1
GELU         1.1290  1  0
SiLU         1.0999  1  0
Mish         1.0886  1  0
SELU         1.7582  2  2
Softsign     1       1  0
Hardswish    1.5     1  1
Hardsigmoid  0.1667  1  1
LogSigmoid   1       1  1
Tanhshrink   1       1  0
"""
SMOOTH = {}
for row in ROWS.split("\n")[1:-1]:
    kind, *numbers = row.split()
    SMOOTH[getattr(nn, kind)] = tuple(map(float, numbers))


@register(*SMOOTH)
def smooth(module, shape):
    """The largest slope of the function, rounded up."""
    slope, growth, floor = SMOOTH[trusted_type(module)]
    return Bound(slope, elementwise(64, math.prod(shape), growth, floor))


@register(nn.LeakyReLU)
def leaky_relu(module, shape):
    """Slopes 1 and another one."""
    return sloped(abs(module.negative_slope), shape)


@register(nn.PReLU)
def prelu(module, shape):
    """Slopes 1 and its weights."""
    return sloped(finite(module.weight.detach()).abs().max().item(), shape)


def sloped(slope: float, shape: Shape) -> Bound:
    return Bound(max(slope, 1.0), elementwise(2, math.prod(shape), slope))


@register(nn.ELU, nn.CELU)
def elu(module, shape):
    """Slopes alpha e^t for t < 0, and 1; those of CELU are e^(t / alpha) and 1."""
    if not module.alpha > 0:
        raise ValueError(f"{module} is bounded for positive alpha only")
    slope = max(module.alpha, 1.0)
    return Bound(slope, elementwise(64, math.prod(shape), slope, slope))


@register(nn.Hardtanh)
def hardtanh(module, shape):
    """Slopes 0 and 1."""
    limit = max(abs(module.min_val), abs(module.max_val))  # rounded to the type of the entries
    return Bound(1.0, elementwise(1, math.prod(shape), 0.0, limit))


@register(nn.Softplus)
def softplus(module, shape):
    """Below threshold 40 it jumps by more than rounding, above 80 it overflows."""
    if not (40 <= module.threshold <= 80 and module.beta > 0):
        raise ValueError(
            f"softplus is bounded for positive beta and a threshold from 40 to 80 only: {module}"
        )
    return Bound(1.0, elementwise(64, math.prod(shape), 1.0, 1 / module.beta))


@register(nn.Softmax)
def softmax(module, shape):
    """1/2: the Jacobian is diag(p) - p p^T, the covariance of a choice with probabilities p."""
    if module.dim in (None, 0, -len(shape) - 1):
        raise ValueError(f"Softmax(dim={module.dim}) mixes the samples of a batch: give dim=1")
    entries = math.prod(shape)  # so many terms at most
    return Bound(0.5, elementwise(64 + 4 * entries, entries, 0.0, 1.0))
