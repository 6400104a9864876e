"""Linear maps with exact adjoints and bounds of how much they stretch: what the layers of lessons 5, 6 and 8 are made of."""

from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lipschitz import (
    conv_norm_bound,
    conv_smallest_bound,
    dense_norm_bound,
    dense_smallest_bound,
    power_iteration,
)


class LinearOperator(nn.Module):
    """A linear map with its adjoint and bounds of how much it stretches. Subclasses define `forward`, `adjoint`, `_check`,
    `_settings` if there are any, and, unless the singular values are those of the matrix `weight`, `_bound` and `_smallest`.
    (A subclass outside this package must define `forward`, `adjoint`, `_bound` and `_smallest`, or no certificate trusts it.)

    `forward` adds a `bias` of shape (`outputs`,) if one is given, `adjoint` multiplies the weight by `scale`: cheaper than the image.
    `norm_bound(input_shape)` is a guaranteed upper bound in float64, kept until the weights change; `smallest_bound(input_shape)`
    is a guaranteed lower bound of |A x| / |x|, the smallest singular value, 0 where none is known.
    `norm_estimate(x)` is one warm step of power iteration from below, differentiable in the weights, for training.
    """

    weight: nn.Parameter
    outputs: int

    def __init__(self):
        super().__init__()
        self._known: dict[
            str, tuple[Tensor, tuple, float]
        ] = {}  # for each bound: weight, input shape and settings, value
        self._direction: Tensor | None = None

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def adjoint(
        self, y: Tensor, input_shape: tuple[int, ...], scale: float | Tensor | None = None
    ) -> Tensor:
        raise NotImplementedError

    def _scaled(self, scale: float | Tensor | None) -> Tensor:
        return self.weight if scale is None else scale * self.weight

    def _check(self, input_shape: tuple[int, ...]) -> None:
        """Raise ValueError if the map does not take inputs of shape (batch, *input_shape)."""
        raise NotImplementedError

    def _bound(self, input_shape: tuple[int, ...]) -> float:
        return dense_norm_bound(self.weight.detach())

    def _smallest(self, input_shape: tuple[int, ...]) -> float:
        return dense_smallest_bound(self.weight.detach())

    def _settings(self) -> tuple:
        """What else than weight and input shape the norm depends on."""
        return ()

    def norm_bound(self, input_shape: tuple[int, ...]) -> float:
        return self._remembered("norm", self._bound, input_shape)

    def smallest_bound(self, input_shape: tuple[int, ...]) -> float:
        return self._remembered("smallest", self._smallest, input_shape)

    def _remembered(self, name: str, compute: Callable[[tuple], float], input_shape) -> float:
        self._check(input_shape)
        weight, case = self.weight.detach(), (tuple(input_shape), self._settings())
        known = self._known.get(name)
        if known is None or known[1] != case or not _identical(known[0], weight):
            self._known[name] = known = (weight.clone(), case, compute(case[0]))
        return known[2]

    def norm_estimate(self, x: Tensor) -> Tensor:
        """Estimate for inputs like the batch x (B, ...); the direction found is kept for the next call."""
        shape = x.shape[1:]
        v, steps = self._direction, 1
        if v is None or v.shape[1:] != shape or v.device != x.device or v.dtype != x.dtype:
            start = torch.randn(
                shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
            )
            v, steps = start.to(x)[None], 20
        estimate, self._direction = power_iteration(
            self, lambda y: self.adjoint(y, shape), v, steps
        )
        return estimate

    def get_extra_state(self) -> Tensor:
        """The warm direction is part of `state_dict()`, so that training continues from a checkpoint to the same numbers."""
        return torch.empty(0) if self._direction is None else self._direction

    def set_extra_state(self, state: Tensor) -> None:
        self._direction = state.to(self.weight.device) if state.numel() else None

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        state_dict.setdefault(
            f"{prefix}_extra_state", torch.empty(0)
        )  # weights alone are enough, even if loading is strict
        super()._load_from_state_dict(state_dict, prefix, *rest)


class DenseOperator(LinearOperator):
    """x -> W x on the last axis, W of shape (out_features, in_features), with orthonormal rows or columns at the start.

    With `orthonormal=True` the rows are meant to stay so: see `restore_orthonormal_rows`.
    """

    def __init__(self, in_features: int, out_features: int, orthonormal: bool = False):
        super().__init__()
        if orthonormal and out_features > in_features:
            raise ValueError(
                f"{out_features} rows cannot be orthonormal in {in_features} dimensions"
            )
        self.in_features, self.out_features, self.orthonormal = (
            in_features,
            out_features,
            orthonormal,
        )
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(out_features, in_features)))
        self.outputs = out_features

    def _check(self, input_shape) -> None:
        if tuple(input_shape[-1:]) != (self.in_features,):
            raise ValueError(
                f"inputs with {self.in_features} features are needed, got shape {tuple(input_shape)}"
            )

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        self._check(x.shape[1:])
        return F.linear(x, self.weight, bias)

    def adjoint(self, y: Tensor, input_shape=None, scale: float | Tensor | None = None) -> Tensor:
        return y @ self._scaled(scale)


class ShiftOperator(LinearOperator):
    """A convolution that can be exactly orthogonal: shift, then mix the channels of every pixel by a square matrix W.

    Each fifth of the channels moves by one pixel in its own direction (none, up, down, left, right), around the border
    (Wu et al., 1711.08141). Shifting is a permutation, so the singular values are those of W: with
    `orthonormal=True` W is meant to stay orthogonal, see `restore_orthonormal_rows`. Images (B, channels, height, width) (lesson 6).
    """

    MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))

    def __init__(self, channels: int, orthonormal: bool = False):
        super().__init__()
        self.channels = self.outputs = channels
        self.orthonormal = orthonormal
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))

    def _check(self, input_shape) -> None:
        if len(input_shape) != 3 or input_shape[0] != self.channels:
            raise ValueError(
                f"images of shape ({self.channels}, height, width) are needed, got {tuple(input_shape)}"
            )

    def _shift(self, x: Tensor, sign: int) -> Tensor:
        parts = x.tensor_split(len(self.MOVES), 1)
        moved = [
            part.roll((sign * dy, sign * dx), (2, 3))
            for part, (dy, dx) in zip(parts, self.MOVES, strict=True)
        ]
        return torch.cat(moved, 1)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        self._check(x.shape[1:])
        return F.conv2d(self._shift(x, 1), self.weight[:, :, None, None], bias)

    def adjoint(self, y: Tensor, input_shape=None, scale: float | Tensor | None = None) -> Tensor:
        return self._shift(F.conv2d(y, self._scaled(scale).T[:, :, None, None]), -1)


class ConvOperator(LinearOperator):
    """2-D convolution without bias on images (B, in_channels, height, width), zero or circular padding, any stride."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 1,
        padding_mode: str = "zeros",
    ):  # fmt: skip
        super().__init__()
        if padding_mode not in ("zeros", "circular"):
            raise ValueError(f"padding_mode must be 'zeros' or 'circular', got {padding_mode!r}")
        self.in_channels, self.stride, self.padding, self.padding_mode = (
            in_channels,
            stride,
            padding,
            padding_mode,
        )
        weight = torch.empty(out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(nn.init.kaiming_normal_(weight))
        self.outputs = out_channels

    def _check(self, input_shape) -> None:
        if len(input_shape) != 3 or input_shape[0] != self.in_channels:
            raise ValueError(
                f"images of shape ({self.in_channels}, height, width) are needed, got {tuple(input_shape)}"
            )

    def _settings(self) -> tuple:
        return self.stride, self.padding, self.padding_mode

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        self._check(x.shape[1:])
        if self.padding_mode == "circular":
            return F.conv2d(_wrap(x, self.padding), self.weight, bias, self.stride)
        return F.conv2d(x, self.weight, bias, self.stride, self.padding)

    def adjoint(
        self, y: Tensor, input_shape: tuple[int, ...], scale: float | Tensor | None = None
    ) -> Tensor:
        circular = self.padding_mode == "circular"
        kernel, inner = self.weight.shape[-1], 0 if circular else self.padding
        sides = [
            n + 2 * (self.padding - inner) for n in input_shape[1:]
        ]  # of the image that conv2d sees
        missing = [
            (n + 2 * inner - kernel) % self.stride for n in sides
        ]  # rows that no window reached
        x = F.conv_transpose2d(
            y, self._scaled(scale), stride=self.stride, padding=inner, output_padding=missing
        )
        if circular and self.padding:
            plain = torch.zeros(len(y), *input_shape, dtype=y.dtype, device=y.device)
            x = torch.func.vjp(lambda v: _wrap(v, self.padding), plain)[1](x)[0]
        return x

    def _bound(self, input_shape) -> float:
        pair = (self.stride, self.stride), (self.padding, self.padding)
        return conv_norm_bound(
            self.weight.detach(), input_shape[1:], *pair, padding_mode=self.padding_mode
        )

    def _smallest(self, input_shape) -> float:
        same = (
            self.stride == 1
            and 2 * self.padding == self.weight.shape[-1] - 1
            and self.padding_mode == "circular"
        )
        return conv_smallest_bound(self.weight.detach(), input_shape[1:]) if same else 0.0


def _identical(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)


def _wrap(x: Tensor, padding: int) -> Tensor:
    return F.pad(x, (padding,) * 4, mode="circular") if padding else x


@torch.no_grad()
def restore_orthonormal_rows(model: nn.Module) -> None:
    """Move every operator with `orthonormal=True` back towards the nearest matrix with orthonormal rows; call it after
    each optimiser step (lesson 5).

    Near the target one Newton-Schulz step W + (I - W W^T) W / 2 squares the error; further away the singular value
    decomposition gives the nearest such matrix. Raises ValueError naming the layer if the weights are not finite.
    """
    for name, module in model.named_modules():
        if getattr(module, "orthonormal", False):
            weight = module.weight
            error = (
                torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
                - weight @ weight.mT
            )
            if error.norm() < 0.9:  # the step converges below 1
                weight.add_(error @ weight, alpha=0.5)
            elif torch.isfinite(weight).all():
                left, _, right = torch.linalg.svd(weight, full_matrices=False)
                weight.copy_(left @ right)
            else:
                raise ValueError(
                    f"the weights of {name or 'the operator'} contain NaN or infinite entries"
                )
