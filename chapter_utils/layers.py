"""Layers that are steps of contractive flows: non-expansive because of how they are built (lesson 5).

The vector field of every block is minus the gradient of the convex potential V(x) = sum_i s((A x + b)_i), where s' is
the activation: g(x) = A^T act(A x + b). A block follows -g for one step of a Runge-Kutta method, short enough that
distances cannot grow (Celledoni et al., 2210.02373; Sherry et al., 2306.17332).

Training and evaluation differ on purpose. In training mode the norm of A comes from one warm step of power iteration,
which is cheap but a lower bound. In evaluation mode it is a guaranteed upper bound, computed anew whenever the weights
have changed, and only then does the block state a Lipschitz bound.
"""

import math
from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lipschitz import ROUNDING, conv_norm_bound, dense_norm_bound, lipschitz_bound, power_iteration
from .ode import circle_contractivity_radius, named_tableau, runge_kutta_step

# name: (nondecreasing function, its largest slope)
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "relu": (F.relu, 1.0),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.5), 1.0),
    "tanh": (torch.tanh, 1.0),
    "softplus": (lambda x: F.softplus(x, threshold=40), 1.0),  # at 20, the default, it jumps down by 2e-9
    "sigmoid": (torch.sigmoid, 0.25),
}


# ---- linear operators with their exact adjoints ----------------------------------------------------------------------


class LinearOperator(nn.Module):
    """A linear map with its adjoint and two estimates of its norm. Subclasses define `forward`, `adjoint`, `_bound`.

    `forward` adds a `bias` of shape (`outputs`,) if one is given, `adjoint` multiplies the weight by `scale`: cheaper than the image.
    `norm_bound(input_shape)` is a guaranteed upper bound in float64, kept until the weights change.
    `norm_estimate(x)` is one warm step of power iteration from below, differentiable in the weights, for training.
    """

    weight: nn.Parameter
    outputs: int

    def __init__(self):
        super().__init__()
        self._known: tuple[Tensor, tuple[int, ...], float] | None = None
        self._direction: Tensor | None = None

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        raise NotImplementedError

    def adjoint(self, y: Tensor, input_shape: tuple[int, ...], scale: float | Tensor = 1.0) -> Tensor:
        raise NotImplementedError

    def _bound(self, input_shape: tuple[int, ...]) -> float:
        raise NotImplementedError

    def norm_bound(self, input_shape: tuple[int, ...]) -> float:
        weight = self.weight.detach()
        if self._known is None or self._known[1] != input_shape or not _identical(self._known[0], weight):
            self._known = (weight.clone(), input_shape, self._bound(input_shape))
        return self._known[2]

    def norm_estimate(self, x: Tensor) -> Tensor:
        """Estimate for inputs like the batch x (B, ...); the direction found is kept for the next call."""
        shape = x.shape[1:]
        v, steps = self._direction, 1
        if v is None or v.shape[1:] != shape or v.device != x.device or v.dtype != x.dtype or not torch.isfinite(v).all():
            start = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            v, steps = start.to(x)[None], 20
        estimate, self._direction = power_iteration(self, lambda y: self.adjoint(y, shape), v, steps)
        return estimate


class DenseOperator(LinearOperator):
    """x -> W x on the last axis, W of shape (out_features, in_features), with orthonormal rows or columns at the start.

    With `orthonormal=True` the rows are meant to stay so: see `restore_orthonormal_rows`.
    """

    def __init__(self, in_features: int, out_features: int, orthonormal: bool = False):
        super().__init__()
        if orthonormal and out_features > in_features:
            raise ValueError(f"{out_features} rows cannot be orthonormal in {in_features} dimensions")
        self.in_features, self.out_features, self.orthonormal = in_features, out_features, orthonormal
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(out_features, in_features)))
        self.outputs = out_features

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, self.weight, bias)

    def adjoint(self, y: Tensor, input_shape=None, scale: float | Tensor = 1.0) -> Tensor:
        return y @ (scale * self.weight)

    def _bound(self, input_shape) -> float:
        if input_shape[-1:] != (self.in_features,):
            raise ValueError(f"inputs with {self.in_features} features are needed, got shape {tuple(input_shape)}")
        return dense_norm_bound(self.weight.detach())


class ConvOperator(LinearOperator):
    """2-D convolution without bias on images (B, in_channels, height, width), zero or circular padding, any stride."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 1,
        padding_mode: str = "zeros",
    ):  # fmt: skip
        super().__init__()
        if padding_mode not in ("zeros", "circular"):
            raise ValueError(f"padding_mode must be 'zeros' or 'circular', got {padding_mode!r}")
        self.in_channels, self.stride, self.padding, self.padding_mode = in_channels, stride, padding, padding_mode
        weight = torch.empty(out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(nn.init.kaiming_normal_(weight))
        self.outputs = out_channels

    def _check(self, input_shape) -> None:
        if len(input_shape) != 3 or input_shape[0] != self.in_channels:
            raise ValueError(f"images of shape ({self.in_channels}, height, width) are needed, got {tuple(input_shape)}")

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        self._check(x.shape[1:])
        if self.padding_mode == "circular":
            return F.conv2d(_wrap(x, self.padding), self.weight, bias, self.stride)
        return F.conv2d(x, self.weight, bias, self.stride, self.padding)

    def adjoint(self, y: Tensor, input_shape: tuple[int, ...], scale: float | Tensor = 1.0) -> Tensor:
        circular = self.padding_mode == "circular"
        kernel, inner = self.weight.shape[-1], 0 if circular else self.padding
        sides = [n + 2 * (self.padding - inner) for n in input_shape[1:]]  # of the image that conv2d sees
        missing = [(n + 2 * inner - kernel) % self.stride for n in sides]  # rows that no window reached
        x = F.conv_transpose2d(y, scale * self.weight, stride=self.stride, padding=inner, output_padding=missing)
        if circular and self.padding:
            plain = torch.zeros(len(y), *input_shape, dtype=y.dtype, device=y.device)
            x = torch.func.vjp(lambda v: _wrap(v, self.padding), plain)[1](x)[0]
        return x

    def _bound(self, input_shape) -> float:
        self._check(input_shape)
        pair = (self.stride, self.stride), (self.padding, self.padding)
        return conv_norm_bound(self.weight.detach(), input_shape[1:], *pair, padding_mode=self.padding_mode)


def _identical(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)


def _wrap(x: Tensor, padding: int) -> Tensor:
    return F.pad(x, (padding,) * 4, mode="circular") if padding else x


# ---- non-expansive layers --------------------------------------------------------------------------------------------


class GradientField(nn.Module):
    """g(x) = A^T act(A x + b), the gradient of a convex function with Lipschitz constant slope * ||A||^2 (lesson 5)."""

    def __init__(self, operator: LinearOperator, activation: str = "relu"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be nondecreasing, one of {', '.join(ACTIVATIONS)}; got {activation!r}")
        self.operator, self.activation = operator, activation
        self.bias = nn.Parameter(torch.zeros(operator.outputs))

    def forward(self, x: Tensor, scale: float | Tensor = 1.0) -> Tensor:
        """scale * g(x), of the shape of x."""
        act, _ = ACTIVATIONS[self.activation]
        return self.operator.adjoint(act(self.operator(x, self.bias)), x.shape[1:], scale)

    def smoothness(self, x: Tensor) -> float | Tensor:
        """Lipschitz constant of g for inputs like x: estimated in training mode, guaranteed in evaluation mode."""
        slope = ACTIVATIONS[self.activation][1]
        if self.training:
            return slope * self.operator.norm_estimate(x) ** 2
        return slope * self.operator.norm_bound(tuple(x.shape[1:])) ** 2

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        slope = ACTIVATIONS[self.activation][1]
        return slope * self.operator.norm_bound(tuple(input_shape)) ** 2 * (1 + ROUNDING)


class NonExpansiveBlock(nn.Module):
    """One Runge-Kutta step of x' = -g(x) that cannot increase distances (lesson 5).

    `step` is c = tau L, the step size in units of 1/L with L the Lipschitz constant of g; any 0 < c <= 2r is
    allowed, r being the circle-contractivity radius of `method` (1 for Euler). So tau follows the weights. With
    `time_span=T` instead, the block always travels for time T and takes as many equal steps as this needs.
    Shapes (B, ...) -> (B, ...). Raises ValueError for a step beyond the bound, saying the limit.
    """

    def __init__(self, field: GradientField, step: float = 2.0, method: str = "euler", time_span: float | None = None):
        super().__init__()
        self.field, self.step, self.method, self.time_span = field, step, method, time_span
        self.limit = 2 * circle_contractivity_radius(named_tableau(method))
        if not named_tableau(method).explicit:
            raise ValueError(f"{method} is implicit; a layer needs an explicit method")
        if self.limit == 0:
            raise ValueError(f"{method} has circle-contractivity radius 0: no step size is guaranteed to be non-expansive")
        if time_span is None and not 0 < step <= self.limit:
            raise ValueError(f"step c = tau L must lie in (0, {self.limit:g}] for {method}, got {step}")
        if time_span is not None and not 0 < time_span < math.inf:
            raise ValueError(f"time_span must be positive and finite, got {time_span}")

    def steps(self, smoothness: float | Tensor, dtype: torch.dtype) -> tuple[int, float | Tensor]:
        """Number of Runge-Kutta steps and the size of each, for a field with this Lipschitz constant."""
        down = 1 - 2 * torch.finfo(dtype).eps  # the step is rounded to dtype: never past the bound
        if self.time_span is None:
            return 1, self.step * down / smoothness
        number = max(1, math.ceil(self.time_span * float(smoothness) / (self.limit * down)))
        return number, self.time_span / number

    def forward(self, x: Tensor) -> Tensor:
        smoothness = self.field.smoothness(x)
        if not smoothness >= torch.finfo(x.dtype).tiny:  # zero weights, zero field; NaN must stay visible
            return x + 0 * smoothness
        (number, size), tableau = self.steps(smoothness, x.dtype), named_tableau(self.method)
        for _ in range(number):
            x = runge_kutta_step(lambda z: self.field(z, -size), x, 1.0, tableau)
        return x

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        _certifiable(self)
        self.field.lipschitz_bound(input_shape)  # raises if the weights are not finite or the shape does not fit
        return 1.0


class NonExpansiveLinear(nn.Module):
    """Last layer x -> P x + c with P of norm at most 1; its rows are orthonormal at the start (lessons 5 and 7).

    P is the weight, divided by its norm if that exceeds 1: by the estimated norm in training mode, the guaranteed one in
    evaluation mode. `matrix` is the P in use, needed for the certificate of each pair of classes.
    Shapes (B, in_features) -> (B, out_features), out_features <= in_features.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.operator = DenseOperator(in_features, out_features, orthonormal=True)
        self.bias = nn.Parameter(torch.zeros(out_features))

    @property
    def matrix(self) -> Tensor:
        weight = self.operator.weight
        if self.training:
            return weight / self.operator.norm_estimate(weight[:1]).clamp_min(1)
        down = 1 - 2 * torch.finfo(weight.dtype).eps
        return weight * min(1.0, down / self.operator.norm_bound((weight.shape[1],)))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.matrix, self.bias)

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        _certifiable(self)
        return min(1.0, self.operator.norm_bound(tuple(input_shape)))


@torch.no_grad()
def restore_orthonormal_rows(model: nn.Module) -> None:
    """Move every operator with `orthonormal=True` back to the nearest matrix with orthonormal rows; call it after each
    optimiser step (lesson 5).

    Near the target one Newton-Schulz step W + (I - W W^T) W / 2 squares the error; further away the singular value
    decomposition gives the nearest such matrix. Raises ValueError naming the layer if the weights are not finite.
    """
    for name, module in model.named_modules():
        if getattr(module, "orthonormal", False):
            weight = module.weight
            error = torch.eye(len(weight), dtype=weight.dtype, device=weight.device) - weight @ weight.mT
            if error.norm() < 0.9:  # the step converges below 1
                weight.add_(error @ weight, alpha=0.5)
            elif torch.isfinite(weight).all():
                left, _, right = torch.linalg.svd(weight, full_matrices=False)
                weight.copy_(left @ right)
            else:
                raise ValueError(f"the weights of {name or 'the operator'} contain NaN or infinite entries")


def _certifiable(module: nn.Module) -> None:
    if module.training:
        raise ValueError(f"{type(module).__name__} has no guaranteed bound in training mode: call model.eval() first")


# ---- isometries and parts of ordinary networks -----------------------------------------------------------------------


class ZeroPadLift(nn.Module):
    """Isometric lift: appends zero channels, (B, c, ...) -> (B, channels, ...), with channels >= c (lesson 5)."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        extra = self.channels - x.shape[1]
        if extra < 0:
            raise ValueError(f"cannot lift {x.shape[1]} channels to {self.channels}")
        return torch.cat([x, x.new_zeros(len(x), extra, *x.shape[2:])], 1)

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        return 1.0


class ScaledAvgPool2d(nn.Module):
    """k times the average over k x k tiles: norm exactly 1, where plain averaging would have 1/k (lesson 3)."""

    def __init__(self, kernel_size: int):
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel_size * F.avg_pool2d(x, self.kernel_size)

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        return 1.0 + ROUNDING


class Normalization(nn.Module):
    """(x - mean) / std for each channel of images in [0, 1]; its bound 1/min(std) counts in a certificate (lesson 7)."""

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])
        if self.mean.shape != self.std.shape or not (self.std > 0).all():
            raise ValueError(f"mean and std need one number a channel, std positive; got {mean} and {std}")

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        return (1 + ROUNDING) / self.std.double().min().item()


class ResidualBlock(nn.Module):
    """Unconstrained residual block x + branch(x); its bound is 1 + the branch's (lesson 4)."""

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        return (1 + lipschitz_bound(self.branch, input_shape)) * (1 + ROUNDING)
