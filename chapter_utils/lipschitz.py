"""How much can a network stretch? Lower bounds by search, upper bounds that are guaranteed (lesson 3).

Every constant here is for the Euclidean norm of inputs and outputs. A *lower* bound (power iteration, Jacobian norms)
may guide training; only the *upper* bounds may enter a certificate. Upper bounds are computed in float64; those of matrices
include the rounding errors of their own computation (`verified`), and `ROUNDING` covers the few products of bounds after that.
"""

import math
import sys
from typing import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .refusals import UNKNOWN, refuse_altered
from .verified import gamma, singular_value_bound

ROUNDING = 1e-10
SMALLEST = sys.float_info.min  # no bound is smaller: a product that underflows bounds nothing


# ---- linear maps -----------------------------------------------------------------------------------------------------


def dense_matrix(
    operator: Callable[[Tensor], Tensor],
    input_shape: tuple[int, ...],
    dtype=torch.float64,
    device=None,
) -> Tensor:
    """Matrix (outputs, inputs) of a linear map, column by column; `operator` takes a batch (inputs, *input_shape).

    For exact checks on small cases (lesson 3).
    """
    inputs = math.prod(input_shape)
    columns = operator(torch.eye(inputs, dtype=dtype, device=device).reshape(inputs, *input_shape))
    return columns.reshape(inputs, -1).T


def power_iteration(
    operator: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int = 1,
) -> tuple[Tensor, Tensor]:
    """Estimate the norm of a linear map from *below* (lesson 3).

    `start` is any non-zero vector of the map's input shape; it is not changed. Returns the estimate |A v|, a 0-dim tensor
    that is differentiable in the weights of `operator`, and the unit vector v, to be used as the next warm start. Where
    A^T A v is zero or not finite, v stays as it was.
    """
    if steps < 0:
        raise ValueError(f"steps must be 0 or more, got {steps}")
    with torch.no_grad():
        v = start / start.norm()
        for _ in range(steps):
            w = adjoint(operator(v))
            size = w.norm()
            v = torch.where((size > 0) & (size < math.inf), w / size, v)
    return operator(v).norm(), v


def dense_norm_bound(weight: Tensor) -> float:
    """Guaranteed upper bound of the spectral norm of a matrix, by its singular values in float64 (lesson 3)."""
    if weight.ndim != 2:
        raise ValueError(f"a matrix is needed, got a tensor of shape {tuple(weight.shape)}")
    return singular_value_bound(_finite(weight).double())


def dense_smallest_bound(weight: Tensor) -> float:
    """Guaranteed lower bound of |W x| / |x|: the smallest singular value, 0 for fewer rows than columns (lesson 6)."""
    if weight.ndim != 2:
        raise ValueError(f"a matrix is needed, got a tensor of shape {tuple(weight.shape)}")
    if weight.shape[0] < weight.shape[1]:
        return 0.0
    return singular_value_bound(_finite(weight).double(), largest=False)


def conv_smallest_bound(weight: Tensor, input_size: tuple[int, int]) -> float:
    """Guaranteed lower bound of |K x| / |x| for a circularly padded convolution that keeps the image size (lesson 6).

    There the Fourier transform is unitary, so this is the smallest singular value over all frequencies; for zero padding,
    which cuts off part of the output, no such bound holds.
    """
    if weight.shape[0] < weight.shape[1]:
        return 0.0
    size = _finite(weight).double().abs().max().item()
    if size == 0:
        return 0.0
    weight = weight.double() / size
    found = singular_value_bound(_symbols(weight, list(input_size), (1, 1), 1), largest=False)
    return size * max(0.0, found - _symbol_error(weight, 1)) * (1 - ROUNDING)


def conv_norm_bound(
    weight: Tensor,
    input_size: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] | str = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    padding_mode: str = "zeros",
) -> float:
    """Guaranteed upper bound of the norm of a 2-D convolution on images of `input_size` pixels (lesson 3).

    `weight` has PyTorch's shape (out, in / groups, height, width). On a torus the Fourier transform splits a
    convolution into small matrices, one a frequency, and its norm is the largest of their norms (Sedghi, Gupta and
    Long, 1805.10408); with a stride, frequencies that the coarse grid cannot tell apart share one matrix. A
    zero-padded convolution is a torus convolution, on a torus large enough that nothing wraps onto the image, from which
    some inputs and outputs are left out: its norm is at most that of the torus. Multiplying inputs and outputs by a wave
    exp(i phi x) changes no norm, but moves all frequencies by phi: of four such tori the best counts. For circular padding
    that keeps the size, with a stride that divides it, the bound is the norm itself.
    """
    if weight.ndim != 4:
        raise ValueError(
            f"a kernel of shape (out, in, height, width) is needed, got {tuple(weight.shape)}"
        )
    if padding_mode not in ("zeros", "circular"):
        raise ValueError(f"padding_mode must be 'zeros' or 'circular', got {padding_mode!r}")
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise ValueError(f"padding must be two numbers, 'same' or 'valid', got {padding!r}")
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    torus, strides, repeats = [], [], 1
    for n, s, r, (left, right) in zip(
        input_size, stride, reach, _padded_sides(padding, reach), strict=True
    ):
        outputs = n + left + right - r
        if outputs < 1:
            raise ValueError(
                f"an image of side {n}, padded by {left} and {right}, is smaller than the kernel's reach {r + 1}"
            )
        if padding_mode == "zeros":
            side = n + max(left, right, left + right - r)
            torus.append(-(-side // s) * s)
            strides.append(s)
        else:  # the image is the torus; a stride that does not divide it is replaced by 1, which can only enlarge the norm
            s = s if n % s == 0 else 1
            torus.append(n)
            strides.append(s)
            repeats *= -(
                -outputs // n
            )  # circular padding beyond the kernel's reach repeats outputs
    size = _finite(weight).double().abs().max().item()
    if size == 0:
        return 0.0
    weight, aliases = weight.double() / size, math.prod(strides)  # scaled: no square overflows
    moves = [(0, 0), (0, 1), (1, 0), (1, 1)] if padding_mode == "zeros" else [(0, 0)]
    best, rows = math.inf, None
    for move in moves:
        torus_rows = _fold_aliases(
            _symbols(weight, torus, dilation, groups, move), strides
        ).flatten(0, 2)
        few = torch.linalg.vector_norm(torus_rows, dim=(1, 2)).topk(min(8, len(torus_rows))).indices
        promise = (
            torch.linalg.matrix_norm(torus_rows[few], 2).max().item()
        )  # of the few matrices that look largest
        if promise < best:
            best, rows = promise, torus_rows
    largest = singular_value_bound(rows) + _symbol_error(weight, groups) * math.sqrt(aliases)
    return math.nextafter(size * largest * math.sqrt(repeats / aliases) * (1 + ROUNDING), math.inf)


def _padded_sides(padding: tuple[int, int] | str, reach: list[int]) -> list[tuple[int, int]]:
    """Pixels added at the two ends of each axis, for a kernel that reaches so far."""
    if isinstance(padding, str):
        return [(r // 2, r - r // 2) if padding == "same" else (0, 0) for r in reach]
    return [(p, p) for p in padding]


def _symbols(
    weight: Tensor,
    torus: list[int],
    dilation: tuple[int, int],
    groups: int,
    move: tuple[int, int] = (0, 0),
) -> Tensor:
    """Fourier transform of the kernel on the torus: (groups, torus height, torus width, out / groups, in / groups), the
    frequencies moved by `move` halves of their distance."""
    waves = []
    for side, d, k, half in zip(torus, dilation, weight.shape[2:], move, strict=True):
        turns = torch.outer(2 * torch.arange(side) + half, d * torch.arange(k)) % (
            2 * side
        )  # exact integers before the division
        angle = turns.to(weight) * (math.pi / side)
        waves.append(torch.polar(torch.ones_like(angle), angle))
    kernel = weight.unflatten(0, (groups, -1)).to(torch.complex128)
    return torch.einsum("goikl,ak,bl->gaboi", kernel, *waves)


def _symbol_error(weight: Tensor, groups: int) -> float:
    """Bound of the norm of what rounding adds to one matrix of `_symbols`: the angles, sines and cosines of the two waves err by
    less than 20 units each, the products and the sum over the taps by 4 a tap; every unit counts |weight|."""
    taps = math.prod(weight.shape[2:])
    sizes = weight.abs().sum((2, 3)).unflatten(0, (groups, -1))
    return gamma(60 + 4 * taps) * torch.linalg.matrix_norm(sizes).max().item()


def _fold_aliases(symbols: Tensor, strides: list[int]) -> Tensor:
    """Put the matrices of frequencies that agree on the coarse grid side by side."""
    groups, height, width, out, inp = symbols.shape
    sy, sx = strides
    blocks = symbols.reshape(groups, sy, height // sy, sx, width // sx, out, inp)
    return blocks.permute(0, 2, 4, 5, 1, 3, 6).reshape(
        groups, height // sy, width // sx, out, sy * sx * inp
    )


# ---- whole networks --------------------------------------------------------------------------------------------------


def lipschitz_bound(module: nn.Module, input_shape: tuple[int, ...]) -> float:
    """Guaranteed upper bound of the Lipschitz constant of `module` on inputs of shape (batch, *input_shape) (lesson 3).

    Bounds multiply along an `nn.Sequential`. A module may state its own bound by a method
    `lipschitz_bound(input_shape)`; all layers of this package do. Raises TypeError naming a module that is not known or may
    compute something else (`refusals`), and ValueError for weights that are not finite, for shapes that do not fit and for layers whose behaviour in training
    mode is not the one bounded.
    """
    refuse_altered(module)
    for part in module.modules():
        if part.training and parametrize.is_parametrized(part):
            raise ValueError(
                f"the weights of {type(part).__name__} may change at every use in training mode: call model.eval() first"
            )
    for kind in type(module).__mro__:
        if kind in _RULES or {"forward", "lipschitz_bound"} <= vars(kind).keys():
            bound = (
                _RULES[kind](module, tuple(input_shape))
                if kind in _RULES
                else module.lipschitz_bound(tuple(input_shape))
            )
            if math.isnan(bound):
                raise ValueError(
                    f"the numbers of {module} give no bound, they may be NaN or negative"
                )
            return max(bound, SMALLEST)
        if "forward" in vars(kind) or "lipschitz_bound" in vars(kind):
            break
    raise TypeError(UNKNOWN.format(type(module).__name__))


@torch.no_grad()
def output_shape(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the output, without the batch, of `module` for an input of shape (batch, *input_shape)."""
    return tuple(module(blank_input(module, input_shape)).shape[1:])


def blank_input(module: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """Zeros (1, *input_shape) of the type and on the device of the module."""
    like = next(
        (
            tensor
            for tensor in (*module.parameters(), *module.buffers())
            if tensor.is_floating_point()
        ),
        torch.zeros(()),
    )
    return torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)


def _sequential(module: nn.Sequential, shape) -> float:
    bound = 1.0
    for child in module:
        bound = max(bound * lipschitz_bound(child, shape), SMALLEST)
        shape = output_shape(child, shape)
    return bound * (1 + ROUNDING)  # covers the rounding of the product itself


def _linear(module: nn.Linear, shape) -> float:
    need(shape[-1:] == (module.in_features,), module, shape)
    return dense_norm_bound(module.weight.detach())


def _conv(module: nn.Conv2d, shape) -> float:
    need(len(shape) == 3 and shape[0] == module.in_channels, module, shape)
    stride, dilation = _pair(module.stride), _pair(module.dilation)
    padding = module.padding if isinstance(module.padding, str) else _pair(module.padding)
    if module.padding_mode == "circular":
        reach = [d * (k - 1) for d, k in zip(dilation, module.weight.shape[2:], strict=True)]
        used = tuple(p for sides in reversed(_padded_sides(padding, reach)) for p in sides)
        if tuple(module._reversed_padding_repeated_twice) != used:
            raise ValueError(
                f"the padding of {module} was changed after it was made, and is not the one it uses"
            )
    return conv_norm_bound(
        module.weight.detach(),
        shape[1:],
        stride,
        padding,
        dilation,
        module.groups,
        module.padding_mode,
    )


def _batch_norm(module: nn.BatchNorm2d, shape) -> float:
    need(len(shape) == 3 and shape[0] == module.num_features, module, shape)
    if module.training or module.running_var is None:
        raise ValueError(
            "batch normalisation has no Lipschitz bound in training mode: call model.eval() first"
        )
    scale = (_finite(module.running_var).double() + module.eps).rsqrt()
    if module.affine:
        scale = scale * _finite(module.weight.detach()).double().abs()
    return scale.max().item() * (1 + ROUNDING)


def _dropout(module: nn.Dropout, shape) -> float:
    if module.training and module.p > 0:
        raise ValueError("dropout is random in training mode: call model.eval() first")
    return 1.0


def _average_pool(module: nn.AvgPool2d, shape) -> float:
    need(len(shape) == 3, module, shape)
    if (
        module.ceil_mode
        or module.divisor_override
        or not (module.count_include_pad or module.padding in (0, (0, 0)))
    ):
        raise ValueError(
            "average pooling is bounded for ceil_mode=False, count_include_pad=True and no divisor_override only"
        )
    kernel, stride, padding = (
        _pair(v) for v in (module.kernel_size, module.stride, module.padding)
    )
    box = torch.full((1, 1, *kernel), 1 / math.prod(kernel), dtype=torch.float64)
    return conv_norm_bound(box, shape[1:], stride, padding)


def _global_average(module: nn.AdaptiveAvgPool2d, shape) -> float:
    need(len(shape) == 3, module, shape)
    if _pair(module.output_size) != (1, 1):
        raise ValueError(
            f"adaptive average pooling is bounded for output_size 1 only, got {module.output_size}"
        )
    return (1 + ROUNDING) / math.sqrt(math.prod(shape[1:]))


def _max_pool(module: nn.MaxPool2d, shape) -> float:
    need(len(shape) == 3, module, shape)
    if _pair(module.dilation) != (1, 1):
        raise ValueError("max pooling is bounded for dilation 1 only")
    if module.return_indices:
        raise ValueError("max pooling that returns indices has no Lipschitz bound")
    windows = math.prod(
        -(-k // s) for k, s in zip(_pair(module.kernel_size), _pair(module.stride), strict=True)
    )
    return math.sqrt(windows) * (
        1 + ROUNDING
    )  # a bright pixel is the maximum of at most that many windows


def _flatten(module: nn.Flatten, shape) -> float:
    if module.start_dim < 1:
        raise ValueError(f"Flatten(start_dim={module.start_dim}) mixes the samples of a batch")
    return 1.0


def _softplus(module: nn.Softplus, shape) -> float:
    if not (
        40 <= module.threshold <= 80 and module.beta > 0
    ):  # below it jumps by more than rounding, above it overflows
        raise ValueError(
            f"softplus is bounded for positive beta and a threshold from 40 to 80 only: {module}"
        )
    return 1.0


_RULES: dict[type[nn.Module], Callable[[nn.Module, tuple[int, ...]], float]] = {
    nn.Sequential: _sequential,
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.Dropout: _dropout,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _global_average,
    nn.MaxPool2d: _max_pool,
    nn.LeakyReLU: lambda m, shape: max(abs(m.negative_slope), 1.0),
    nn.ELU: lambda m, shape: max(abs(m.alpha), 1.0),
    nn.Flatten: _flatten,
    nn.Softplus: _softplus,
    nn.Sigmoid: lambda m, shape: 0.25,
    nn.Softmax: lambda m, shape: 0.5,
    nn.GELU: lambda m, shape: 1.1290,  # the largest slopes, rounded up; a test recomputes them
    nn.SiLU: lambda m, shape: 1.0999,
    nn.Mish: lambda m, shape: 1.0886,
    **dict.fromkeys(
        (nn.Identity, nn.Unflatten, nn.PixelUnshuffle, nn.PixelShuffle, nn.ZeroPad2d,
         nn.ReLU, nn.Tanh, nn.Hardtanh),
        lambda m, shape: 1.0,
    ),
}  # fmt: skip


# ---- lower bounds of a network ---------------------------------------------------------------------------------------


def jacobian_norms(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Spectral norm (B,) of the derivative of `network` at each x of a batch (B, ...): the local slope (lesson 3).

    The largest one is a lower bound of the Lipschitz constant. Samples must not influence each other; one backward pass
    an output.
    """
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        outputs = network(x).flatten(1)
        rows = [
            torch.autograd.grad(outputs[:, k].sum(), x, retain_graph=True)[0]
            for k in range(outputs.shape[1])
        ]
    return torch.linalg.matrix_norm(torch.stack(rows, 1).flatten(2), 2)


# ---- small helpers ---------------------------------------------------------------------------------------------------


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _finite(weight: Tensor) -> Tensor:
    if weight.is_complex():
        raise ValueError("bounds are for real weights; these are complex")
    if not torch.isfinite(weight).all():
        raise ValueError("the weights contain NaN or infinite entries, so no bound holds")
    return weight


def need(fits: bool, module: nn.Module, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `fits`: the module does not take, or does not keep, this input shape."""
    if not fits:
        raise ValueError(f"{module} does not take inputs of shape {shape}")
