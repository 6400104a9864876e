"""Linear maps of images (B, channels, height, width): shifts with mixing, and convolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter

from .conv_norms import conv_norm_bound
from .operators import DenseOperator, LinearOperator, Shape, Tau, scaled


def _need_channels(channels, input_shape):
    if len(input_shape) != 3 or input_shape[0] != channels:
        raise ValueError(
            f"images of shape ({channels}, height, width) are needed, got {tuple(input_shape)}"
        )


# Axis and number of pixels by which each fifth of the channels moves; the first one stays.
MOVES = ((1, 0), (1, -1), (1, 1), (2, -1), (2, 1))


def shifted(x: Tensor, sign: int) -> Tensor:
    """Images (B, height, width, channels), each fifth of the channels moved by one pixel.

    None, up, down, left and right, around the border; back with sign = -1 (lesson 6).
    """
    moved = []
    for part, (axis, pixels) in zip(x.tensor_split(len(MOVES), 3), MOVES, strict=True):
        moved.append(part.roll(sign * pixels, axis) if pixels else part)
    return torch.cat(moved, 3)


class ShiftOperator(DenseOperator):
    """A convolution that can be exactly orthogonal: shift, then mix the channels (lesson 6).

    Each fifth of the channels moves by one pixel in its own direction, see `shifted` (Wu et al.,
    1711.08141); a square matrix W mixes the channels of every pixel. Shifting is a permutation, so
    the singular values are those of W: with `orthonormal=True` W is meant to stay orthogonal, see
    `operators.restore_orthonormal_rows`.
    """

    def __init__(self, channels: int, orthonormal: bool = False):
        super().__init__(channels, channels, orthonormal)

    def check(self, input_shape: Shape) -> None:
        _need_channels(self.in_features, input_shape)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        self.check(x.shape[1:])
        moved = shifted(x.movedim(1, 3), 1)  # channels last: mixing is one matrix product
        return F.linear(moved, self.weight, bias).movedim(3, 1)

    def adjoint(
        self,
        y: Tensor,
        input_shape: Shape = (),
        tau: Tau = None,
    ) -> Tensor:
        mixed = super().adjoint(y.movedim(1, 3), input_shape, tau)
        return shifted(mixed, -1).movedim(3, 1)


class ConvOperator(LinearOperator):
    """2-D convolution without a bias of its own, zero padding, any stride (lesson 5)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.outputs = out_channels
        self.stride = stride
        self.padding = padding
        kernel = torch.empty(out_channels, in_channels, kernel_size, kernel_size)
        self.weight = Parameter(nn.init.kaiming_normal_(kernel))

    def check(self, input_shape: Shape) -> None:
        _need_channels(self.in_channels, input_shape)

    def settings(self) -> tuple:
        return self.stride, self.padding

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        self.check(x.shape[1:])
        return F.conv2d(x, self.weight, bias, self.stride, self.padding)

    def adjoint(
        self,
        y: Tensor,
        input_shape: Shape,
        tau: Tau = None,
    ) -> Tensor:
        W = scaled(self.weight, tau)
        reach = 2 * self.padding - W.shape[-1]
        missing = [(n + reach) % self.stride for n in input_shape[1:]]  # no window reached these
        return F.conv_transpose2d(y, W, None, self.stride, self.padding, output_padding=missing)

    def norm_of(self, weight: Tensor, input_shape: Shape) -> float:
        return conv_norm_bound(weight, input_shape[1:], (self.stride,) * 2, (self.padding,) * 2)

    def smallest_of(self, weight: Tensor, input_shape: Shape) -> float:
        return 0.0  # zero padding cuts off part of the output: nothing is known
