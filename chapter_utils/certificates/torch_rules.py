"""Rules for PyTorch's own layers: how much each may stretch, and what rounding adds (lesson 3)."""

import math

import torch
from torch import Tensor, nn

from ..conv_norms import (
    ROUNDING,
    conv_norm_bound,
    padded_sides,
    reach_of,
)
from ..layers import need
from ..norms import dense_norm_bound, finite
from .bounds import (
    SMALLEST,
    Bound,
    Shape,
    bound_of,
    length_bound,
    output_shape,
    register,
    trusted_type,
)
from .rounding import (
    averages,
    chain,
    elementwise,
    exact,
    sums,
)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


# ---- networks and linear maps --------------------------------------------------------------------


@register(nn.Sequential)
def sequential(module, shape):
    """Layer after layer, each for inputs of the shape that reaches it."""
    return in_a_row(children_bounds(module, shape))


def children_bounds(module: nn.Sequential, shape: Shape) -> list[Bound]:
    """The bound of each layer, for inputs of the shape that reaches it."""
    parts = []
    for child in module:
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


@register(nn.Conv2d)
def convolution(module, shape):
    """By the Fourier transform (Claims 3.10 and 3.11)."""
    need(len(shape) == 3 and shape[0] == module.in_channels, module, shape)
    weight = module.weight.detach()
    stride = pair(module.stride)
    dilation = pair(module.dilation)
    padding = module.padding if isinstance(module.padding, str) else pair(module.padding)
    if module.padding_mode == "circular":
        height, width = padded_sides(padding, reach_of(weight, dilation))
        if tuple(module._reversed_padding_repeated_twice) != (*width, *height):
            raise ValueError(
                f"the padding of {module} was changed after it was made, and is not the one it uses"
            )

    def norm(kernel):
        settings = (stride, padding, dilation, module.groups, module.padding_mode)
        return conv_norm_bound(kernel, shape[1:], *settings)

    largest = norm(weight)
    terms = weight[0].numel() + 2
    with torch.no_grad():
        blank = module(weight.new_zeros(1, *shape))
    rounding = sums(terms, blank.numel(), lambda: norm(weight.abs()), length_bound(blank))
    return Bound(largest, rounding)


@register(nn.BatchNorm2d)
def batch_norm(module, shape):
    """In evaluation mode one factor and one shift a channel: the largest factor."""
    need(len(shape) == 3 and shape[0] == module.num_features, module, shape)
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
    shift = factor * module.running_mean.double().abs() + bias
    largest = factor.max().item()
    size_of_shift = math.sqrt(math.prod(shape[1:])) * length_bound(shift)
    rounding = sums(16, math.prod(shape), lambda: largest, size_of_shift)
    return Bound(largest * (1 + ROUNDING), rounding)


# ---- pooling and moving --------------------------------------------------------------------------


@register(nn.AvgPool2d)
def average_pool(module, shape):
    """A convolution with a box."""
    need(len(shape) == 3, module, shape)
    kernel = pair(module.kernel_size)
    stride = pair(module.stride)
    padding = pair(module.padding)
    uneven = padding != (0, 0) and not module.count_include_pad
    if module.ceil_mode or module.divisor_override or uneven:
        raise ValueError(
            "average pooling is bounded for ceil_mode=False, count_include_pad=True and no "
            "divisor_override only"
        )
    terms = math.prod(kernel)
    box = torch.full((1, 1, *kernel), 1 / terms, dtype=torch.float64)
    largest = conv_norm_bound(box, shape[1:], stride, padding)  # no entry of the box is negative
    outputs = math.prod(output_shape(module, shape))
    return Bound(largest, averages(terms, outputs, largest))


@register(nn.AdaptiveAvgPool2d)
def global_average(module, shape):
    """One mean a channel: by Cauchy and Schwarz 1 / sqrt(pixels)."""
    need(len(shape) == 3, module, shape)
    if pair(module.output_size) != (1, 1):
        raise ValueError(
            f"adaptive average pooling is bounded for output_size 1 only, got {module.output_size}"
        )
    pixels = math.prod(shape[1:])
    largest = (1 + ROUNDING) / math.sqrt(pixels)
    return Bound(largest, averages(pixels, shape[0], largest))


@register(nn.MaxPool2d)
def max_pool(module, shape):
    """A bright pixel is the maximum of so many windows at most."""
    need(len(shape) == 3, module, shape)
    if pair(module.dilation) != (1, 1):
        raise ValueError("max pooling is bounded for dilation 1 only")
    if module.return_indices:
        raise ValueError("max pooling that returns indices has no Lipschitz bound")
    height, width = pair(module.kernel_size)
    down, across = pair(module.stride)
    windows = math.ceil(height / down) * math.ceil(width / across)
    return Bound(math.sqrt(windows) * (1 + ROUNDING), exact)


@register(nn.Flatten)
def flatten(module, shape):
    """Numbers are moved."""
    if module.start_dim < 1:
        raise ValueError(f"Flatten(start_dim={module.start_dim}) mixes the samples of a batch")
    return Bound(1.0, exact)


@register(nn.Dropout)
def dropout(module, shape):
    """In evaluation mode it does nothing."""
    if module.training and module.p > 0:
        raise ValueError("dropout is random in training mode: call model.eval() first")
    return Bound(1.0, exact)


@register(nn.Identity, nn.ReLU)
def kept_or_dropped(module, shape):
    """Slopes 0 and 1."""
    return Bound(1.0, exact)


@register(nn.PixelUnshuffle, nn.PixelShuffle, nn.ZeroPad2d)
def moved(module, shape):
    """Numbers are moved, and zeros added: lengths stay, or shrink if the padding is negative."""
    need(len(shape) == 3, module, shape)
    return Bound(1.0, exact)


@register(nn.Unflatten)
def unflatten(module, shape):
    """Numbers are moved."""
    if module.dim in (0, -len(shape) - 1) or not isinstance(module.dim, int):
        raise ValueError(f"Unflatten(dim={module.dim}) mixes the samples of a batch: give dim=1")
    return Bound(1.0, exact)


# ---- activations: the largest slope, and roundings of each entry ---------------------------------

# Entries of size t, computed from a few elementary functions: units of growth |t| + floor.
SMOOTH: dict[type[nn.Module], tuple[float, float, float]] = {  # slope, growth, floor
    nn.Tanh: (1.0, 1.0, 0.0),
    nn.Sigmoid: (0.25, 0.0, 1.0),
    nn.GELU: (1.1290, 1.0, 0.0),  # the largest slopes, rounded up; a test recomputes them
    nn.SiLU: (1.0999, 1.0, 0.0),
    nn.Mish: (1.0886, 1.0, 0.0),
}


@register(*SMOOTH)
def smooth(module, shape):
    """The largest slope of the function, rounded up."""
    slope, growth, floor = SMOOTH[trusted_type(module)]
    return Bound(slope, elementwise(64, math.prod(shape), growth, floor))


@register(nn.LeakyReLU)
def leaky_relu(module, shape):
    """The larger one of two slopes."""
    slope = abs(module.negative_slope)
    power_of_two = math.frexp(slope)[0] in (0.0, 0.5)  # then the product is exact
    roundings = 0 if power_of_two else 2
    return Bound(max(slope, 1.0), elementwise(roundings, math.prod(shape), slope))


@register(nn.ELU)
def elu(module, shape):
    """Slopes alpha e^t for t < 0, and 1."""
    slope = max(abs(module.alpha), 1.0)
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
    terms = shape[module.dim - 1] if module.dim > 0 else shape[module.dim]
    return Bound(0.5, elementwise(64 + 4 * terms, math.prod(shape), 0.0, 1.0))
