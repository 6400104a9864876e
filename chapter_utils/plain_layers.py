"""Parts of networks around the blocks: lifts, pooling, normalisation, ordinary skips (lessons 3-8).

Each only computes; what is true of it stands in `certificates`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module, Parameter

from .image_operators import shifted
from .layers import need
from .operators import LinearOperator


class ZeroPadLift(Module):
    """Isometric lift: appends zero channels, (B, in_channels, ...) -> (B, out_channels, ...).

    Explained in lesson 5. Raises ValueError if there are fewer channels than before.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"cannot lift {in_channels} channels to {out_channels}")
        self.in_channels = in_channels
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1] == self.in_channels, self, x.shape[1:])
        sides = (0, 0) * (x.ndim - 2)  # F.pad begins with the last axis
        return F.pad(x, (*sides, 0, self.out_channels - self.in_channels))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}"


class ChannelsLast(Module):
    """(B, channels, height, width) -> (B, height, width, channels): no distance changes (lesson 7).

    A `DenseOperator` then mixes the channels of every pixel.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1)


class Shift(Module):
    """Channels move to neighbouring pixels: a permutation, so no distance changes (lesson 7).

    (B, height, width, channels), see `image_operators.shifted`; sign = -1 undoes sign = 1.
    """

    def __init__(self, sign: int):
        super().__init__()
        self.sign = sign

    def forward(self, x: Tensor) -> Tensor:
        need(x.ndim == 4, self, x.shape[1:])
        return shifted(x, self.sign)


class ScaledAvgPool2d(Module):
    """k times the average over k x k tiles: norm 1, where plain averaging has 1/k (lesson 3)."""

    def __init__(self, kernel_size: int):
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel_size * F.avg_pool2d(x, self.kernel_size)


class Normalization(Module):
    """(x - mean) / std for each channel of images in [0, 1] (lesson 7).

    Raises ValueError unless there is one mean, at most 1, and one positive std a channel.
    """

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1))
        if self.mean.shape != self.std.shape or not ((self.std > 0) & (self.mean <= 1)).all():
            raise ValueError(
                "mean and std need one number a channel, std positive, mean at most 1 (those of "
                f"0..255 are to be divided by 255); got {mean} and {std}"
            )

    def forward(self, x: Tensor) -> Tensor:
        # Of another rank, the batch would be normalised, or the channels copied.
        need(x.ndim == 4 and x.shape[1] == len(self.mean), self, x.shape[1:])
        return (x - self.mean) / self.std


class ResidualBlock(Module):
    """Unconstrained residual block x + branch(x); the branch keeps the shape (lesson 4)."""

    def __init__(self, branch: Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        change = self.branch(x)
        need(change.shape == x.shape, self, x.shape[1:])  # or x would be copied
        return x + change


class UntiedBlock(Module):
    """keep * (x + B relu(A x + b)) with independent linear maps A and B (lesson 6)."""

    def __init__(
        self,
        inner: LinearOperator,
        outer: LinearOperator,
        keep: float = 1.0,
    ):
        super().__init__()
        self.inner = inner
        self.outer = outer
        self.keep = keep
        self.bias = Parameter(torch.zeros(inner.outputs))

    def forward(self, x: Tensor) -> Tensor:
        change = self.outer(torch.relu(self.inner(x, self.bias)))
        need(change.shape == x.shape, self, x.shape[1:])  # or x would be copied
        return self.keep * (x + change)
