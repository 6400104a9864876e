"""How much a convolution can stretch, by the Fourier transform (lesson 3).

On a torus the Fourier transform splits a convolution into small matrices, its *symbols*, one a
frequency; its norm is the largest of their norms (Sedghi, Gupta and Long, 1805.10408). With a
stride, frequencies that the coarse grid cannot tell apart share one matrix.
"""

import math
from itertools import product

import torch
from torch import Tensor

from .norms import finite
from .verified import gamma, singular_value_bound

Pair = tuple[int, int]
ROUNDING = 1e-10  # covers the few products of bounds that follow the verified part


def conv_norm_bound(
    weight: Tensor,
    input_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair | str = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    padding_mode: str = "zeros",
) -> float:
    """Guaranteed upper bound of the norm of a 2-D convolution on images of `input_size` (lesson 3).

    `weight` has PyTorch's shape (out, in / groups, height, width). A zero-padded convolution is one
    on a torus large enough that nothing wraps onto the image, with some inputs and outputs left
    out: its norm is at most that of the torus. Multiplying inputs and outputs by a wave
    exp(i phi x) changes no norm but moves all frequencies by phi: of four such tori the best
    counts. For circular padding that keeps the size, with a stride that divides it, the bound is
    the norm itself.
    Raises ValueError for other shapes and modes, weights that are not finite and images that are
    too small.
    """
    if weight.ndim != 4:
        raise ValueError(
            f"a kernel of shape (out, in, height, width) is needed, got {tuple(weight.shape)}"
        )
    if padding_mode not in ("zeros", "circular"):
        raise ValueError(f"padding_mode must be 'zeros' or 'circular', got {padding_mode!r}")
    torus, strides, repeats = _torus(weight, input_size, stride, padding, dilation, padding_mode)
    weight = finite(weight).cpu().double()  # the CPU's matrix products are plain sums
    scale = weight.abs().max().item()
    if scale == 0:
        return 0.0
    weight = weight / scale  # no square overflows
    halves = (0, 1) if padding_mode == "zeros" else (0,)
    best = math.inf
    for move in product(halves, repeat=2):
        largest = 0.0
        for matrices in _symbols(weight, torus, strides, dilation, groups, move):
            largest = max(largest, singular_value_bound(matrices, at_least=largest))
            if largest >= best:
                break
        best = min(best, largest)
    aliases = math.prod(strides)
    best += _symbol_error(weight, groups) * math.sqrt(aliases)
    bound = scale * best * math.sqrt(repeats / aliases) * (1 + ROUNDING)
    return math.nextafter(bound, math.inf)


def _added(padding, axis, reach):
    """Pixels added at the two ends of an axis, for a kernel that reaches so far."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        return reach // 2, reach - reach // 2
    if isinstance(padding, str):
        raise ValueError(f"padding must be two numbers, 'same' or 'valid', got {padding!r}")
    ends = padding[axis]
    return ends if isinstance(ends, tuple) else (ends, ends)


def _torus(weight, input_size, stride, padding, dilation, padding_mode):
    """Sides and strides of the torus, and how often circular padding repeats an output."""
    torus = []
    strides = []
    repeats = 1
    for axis, (n, s) in enumerate(zip(input_size, stride, strict=True)):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1)
        left, right = _added(padding, axis, reach)
        outputs = n + left + right - reach
        if outputs < 1:
            raise ValueError(
                f"an image of side {n}, padded by {left} and {right}, is smaller than the "
                f"kernel's reach {reach + 1}"
            )
        if padding_mode == "zeros":
            # Nothing read beyond an edge reaches the other edge, and no two outputs coincide.
            side = n + max(left, right, left + right - reach)
            torus.append(math.ceil(side / s) * s)
            strides.append(s)
        else:  # the image is the torus; a stride that does not divide it becomes 1, which is safe
            torus.append(n)
            strides.append(s if n % s == 0 else 1)
            repeats *= math.ceil(outputs / n)  # padding beyond the kernel's reach repeats outputs
    return torus, strides, repeats


def _symbols(weight, torus, strides, dilation, groups, move):
    """Fourier transform of the kernel, one row of frequencies after the other: (n, rows, columns).

    Frequencies are moved by `move` halves of their distance. Those that agree on the coarse grid
    stand side by side. Minus a frequency has the conjugate matrix, as the kernel is real, so half
    of the rows are enough.
    """
    kernel = weight.unflatten(0, (groups, -1)).to(torch.complex128)
    waves = []
    for side, d, k, half in zip(torus, dilation, weight.shape[2:], move, strict=True):
        frequencies = 2 * torch.arange(side) + half
        turns = torch.outer(frequencies, d * torch.arange(k)) % (2 * side)  # exact integers
        angle = turns.to(weight) * (math.pi / side)
        waves.append(torch.polar(torch.ones_like(angle), angle))
    height = torus[0] // strides[0]  # of the coarse grid
    for row in range(height // 2 + 1):
        symbols = torch.einsum("goikl,ak,bl->gaboi", kernel, waves[0][row::height], waves[1])
        aliases = symbols.unflatten(2, (strides[1], -1)).permute(0, 3, 4, 1, 2, 5)
        yield aliases.flatten(0, 1).flatten(2)


def _symbol_error(weight, groups):
    """Bound of the norm of what rounding adds to one matrix of `_symbols`.

    Angles, sines and cosines of the two waves err by less than 20 units each, the products and the
    sum over the taps by 4 a tap; every unit counts |weight|.
    """
    taps = math.prod(weight.shape[2:])
    sizes = weight.abs().sum((2, 3)).unflatten(0, (groups, -1))
    return gamma(60 + 4 * taps) * torch.linalg.matrix_norm(sizes).max().item()
