"""How much a convolution can stretch, by the Fourier transform (lesson 3).

On a torus the Fourier transform splits a convolution into small matrices, its *symbols*, one a
frequency; its norm is the largest of their norms (Sedghi, Gupta and Long, 1805.10408). With a
stride, frequencies that the coarse grid cannot tell apart share one matrix.
"""

import math

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
        shape = tuple(weight.shape)
        raise ValueError(f"a kernel of shape (out, in, height, width) is needed, got {shape}")
    if padding_mode not in ("zeros", "circular"):
        raise ValueError(f"padding_mode must be 'zeros' or 'circular', got {padding_mode!r}")
    torus, strides, repeats = _torus(weight, input_size, stride, padding, dilation, padding_mode)
    scale = finite(weight).double().abs().max().item()
    if scale == 0:
        return 0.0
    weight = weight.double() / scale  # no square overflows
    moves = [(0, 0), (0, 1), (1, 0), (1, 1)] if padding_mode == "zeros" else [(0, 0)]
    tori = [_fold_aliases(_symbols(weight, torus, dilation, groups, m), strides) for m in moves]
    aliases = math.prod(strides)
    largest = singular_value_bound(min(tori, key=_estimate))
    largest += _symbol_error(weight, groups) * math.sqrt(aliases)
    bound = scale * largest * math.sqrt(repeats / aliases) * (1 + ROUNDING)
    return math.nextafter(bound, math.inf)


def reach_of(weight: Tensor, dilation: Pair) -> list[int]:
    """From the first to the last pixel under the kernel, along each axis."""
    return [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]


def padded_sides(padding: Pair | str, reach: list[int]) -> list[Pair]:
    """Pixels added at the two ends of each axis, for a kernel that reaches so far."""
    if padding == "valid":
        return [(0, 0) for _ in reach]
    if padding == "same":
        return [(r // 2, r - r // 2) for r in reach]
    if isinstance(padding, str):
        raise ValueError(f"padding must be two numbers, 'same' or 'valid', got {padding!r}")
    return [(p, p) for p in padding]


def _torus(weight, input_size, stride, padding, dilation, padding_mode):
    """Sides and strides of the torus, and how often circular padding repeats an output."""
    reach = reach_of(weight, dilation)
    sides = padded_sides(padding, reach)
    torus = []
    strides = []
    repeats = 1
    for n, s, r, (left, right) in zip(input_size, stride, reach, sides, strict=True):
        outputs = n + left + right - r
        if outputs < 1:
            raise ValueError(
                f"an image of side {n}, padded by {left} and {right}, is smaller than the "
                f"kernel's reach {r + 1}"
            )
        if padding_mode == "zeros":
            # Nothing read beyond an edge reaches the other edge, and no two outputs coincide.
            side = n + max(left, right, left + right - r)
            torus.append(math.ceil(side / s) * s)
            strides.append(s)
        else:  # the image is the torus; a stride that does not divide it becomes 1, which is safe
            torus.append(n)
            strides.append(s if n % s == 0 else 1)
            repeats *= math.ceil(outputs / n)  # padding beyond the kernel's reach repeats outputs
    return torus, strides, repeats


def _symbols(weight, torus, dilation, groups, move=(0, 0)):
    """Fourier transform of the kernel: (groups, height, width, out / groups, in / groups).

    Height and width are those of the torus; frequencies are moved by `move` halves of their
    distance.
    """
    waves = []
    for side, d, k, half in zip(torus, dilation, weight.shape[2:], move, strict=True):
        frequencies = 2 * torch.arange(side) + half
        taps = d * torch.arange(k)
        turns = torch.outer(frequencies, taps) % (2 * side)  # exact integers before the division
        angle = turns.to(weight) * (math.pi / side)
        waves.append(torch.polar(torch.ones_like(angle), angle))
    kernel = weight.unflatten(0, (groups, -1)).to(torch.complex128)
    return torch.einsum("goikl,ak,bl->gaboi", kernel, *waves)


def _symbol_error(weight, groups):
    """Bound of the norm of what rounding adds to one matrix of `_symbols`.

    Angles, sines and cosines of the two waves err by less than 20 units each, the products and the
    sum over the taps by 4 a tap; every unit counts |weight|.
    """
    taps = math.prod(weight.shape[2:])
    sizes = weight.abs().sum((2, 3)).unflatten(0, (groups, -1))
    return gamma(60 + 4 * taps) * torch.linalg.matrix_norm(sizes).max().item()


def _fold_aliases(symbols, strides):
    """Matrices (n, rows, columns): frequencies that agree on the coarse grid stand side by side."""
    groups, height, width, outputs, inputs = symbols.shape
    sy, sx = strides
    blocks = symbols.reshape(groups, sy, height // sy, sx, width // sx, outputs, inputs)
    return blocks.permute(0, 2, 4, 5, 1, 3, 6).reshape(-1, outputs, sy * sx * inputs)


def _estimate(matrices):
    """The largest norm of the eight matrices that look largest: to choose a torus, not a bound."""
    sizes = torch.linalg.vector_norm(matrices, dim=(1, 2))
    few = sizes.topk(min(8, len(matrices))).indices
    return torch.linalg.matrix_norm(matrices[few], 2).max().item()
