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

from .lipschitz import ROUNDING, blank_input, dense_norm_bound, lipschitz_bound, need
from .ode import circle_contractivity_radius, named_tableau, runge_kutta_step
from .operators import DenseOperator, LinearOperator

# name: (nondecreasing function, its largest slope)
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "relu": (F.relu, 1.0),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.5), 1.0),
    "tanh": (torch.tanh, 1.0),
    "softplus": (
        lambda x: F.softplus(x, threshold=40),
        1.0,
    ),  # at 20, the default, it jumps down by 2e-9
    "sigmoid": (torch.sigmoid, 0.25),
}


# ---- non-expansive layers --------------------------------------------------------------------------------------------


class GradientField(nn.Module):
    """g(x) = A^T act(A x + b), the gradient of a convex function with Lipschitz constant slope * ||A||^2 (lesson 5)."""

    def __init__(self, operator: LinearOperator, activation: str = "relu"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be nondecreasing, one of {', '.join(ACTIVATIONS)}; got {activation!r}"
            )
        self.operator, self.activation = operator, activation
        self.bias = nn.Parameter(torch.zeros(operator.outputs))

    def forward(self, x: Tensor, scale: float | Tensor | None = None) -> Tensor:
        """g(x), times `scale` if it is given, of the shape of x."""
        act, _ = ACTIVATIONS[self.activation]
        return self.operator.adjoint(act(self.operator(x, self.bias)), x.shape[1:], scale)

    def smoothness(self, x: Tensor) -> float | Tensor:
        """Lipschitz constant of g for inputs like x: estimated in training mode, guaranteed in evaluation mode."""
        slope = ACTIVATIONS[self.activation][1]
        if self.training:
            return slope * self.operator.norm_estimate(x) ** 2
        return slope * _squared(self.operator.norm_bound(tuple(x.shape[1:])))

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        if (type(self).forward, type(self).smoothness) != (
            GradientField.forward,
            GradientField.smoothness,
        ):
            raise TypeError(
                f"{type(self).__name__} computes something else than a GradientField: of its steps nothing is known"
            )
        slope = ACTIVATIONS[self.activation][1]
        return slope * _squared(self.operator.norm_bound(tuple(input_shape))) * (1 + ROUNDING)


def _squared(norm: float) -> float:
    if norm > 1e150:
        raise ValueError(f"weights of norm {norm:.1e} are too large: the step size would be zero")
    return norm * norm


class NonExpansiveBlock(nn.Module):
    """One Runge-Kutta step of x' = -g(x) that cannot increase distances (lesson 5).

    `step` is c = tau L, the step size in units of 1/L with L the Lipschitz constant of g; any 0 < c <= 2r is
    allowed, r being the circle-contractivity radius of `method` (1 for Euler); 2 is the default. So tau follows the
    weights. With `time_span=T` instead, the block always travels for time T and takes as many equal steps as this needs.
    Shapes (B, ...) -> (B, ...). Raises ValueError for a step beyond the bound, saying the limit.
    """

    def __init__(
        self,
        field: GradientField,
        step: float | None = None,
        method: str = "euler",
        time_span: float | None = None,
    ):
        super().__init__()
        if step is not None and time_span is not None:
            raise ValueError(f"give step or time_span, not both; got {step} and {time_span}")
        self.field, self.method, self.time_span = field, method, time_span
        self.step = 2.0 if step is None else step
        self.limit()

    def limit(self) -> float:
        """2r, the longest step; raises ValueError if the block's own step goes beyond it."""
        tableau = named_tableau(self.method)
        longest = 2 * circle_contractivity_radius(tableau)
        if not tableau.explicit:
            raise ValueError(f"{self.method} is implicit; a layer needs an explicit method")
        if longest == 0:
            raise ValueError(
                f"{self.method} has circle-contractivity radius 0: no step size is guaranteed to be non-expansive"
            )
        if self.time_span is None and not 0 < self.step <= longest:
            raise ValueError(
                f"step c = tau L must lie in (0, {longest:g}] for {self.method}, got {self.step}"
            )
        if self.time_span is not None and not 0 < self.time_span < math.inf:
            raise ValueError(f"time_span must be positive and finite, got {self.time_span}")
        return longest

    def steps(self, smoothness: float | Tensor, dtype: torch.dtype) -> tuple[int, float | Tensor]:
        """Number of Runge-Kutta steps and the size of each, for a field with this Lipschitz constant."""
        down = 1 - 2 * torch.finfo(dtype).eps  # the step is rounded to dtype: never past the bound
        if self.time_span is None:
            return 1, self.step * down / smoothness
        number = self.time_span * float(smoothness) / (self.limit() * down)
        if not number <= 1e5:
            raise ValueError(
                f"time_span={self.time_span} would take {number:.3g} steps with weights as large as these"
            )
        number = max(1, math.ceil(number))
        return number, self.time_span / number

    def forward(self, x: Tensor) -> Tensor:
        smoothness = self.field.smoothness(x)
        if (
            not smoothness >= torch.finfo(x.dtype).tiny
        ):  # zero weights, zero field; NaN must stay visible
            return x + 0 * smoothness
        (number, size), tableau = self.steps(smoothness, x.dtype), named_tableau(self.method)
        for _ in range(number):
            x = runge_kutta_step(lambda z: self.field(z, -size), x, 1.0, tableau)
        return x

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        certifiable(self)
        self.limit()  # raises if the step has been changed to one beyond the bound
        GradientField.lipschitz_bound(
            self.field, input_shape
        )  # raises for other fields, shapes, weights that are not finite
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
        norm = self.operator.norm_bound((weight.shape[1],))
        return weight if norm <= 1 else weight * ((1 - 2 * torch.finfo(weight.dtype).eps) / norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.matrix, self.bias)

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        certifiable(self)
        need(tuple(input_shape[-1:]) == (self.operator.in_features,), self, input_shape)
        return dense_norm_bound(self.matrix.detach())


def certifiable(module: nn.Module) -> None:
    """Raise ValueError if a part of `module` is in training mode, where nothing is guaranteed."""
    if any(part.training for part in module.modules()):
        raise ValueError(
            f"{type(module).__name__} has no guaranteed bound in training mode: call model.eval() first"
        )


# ---- isometries and parts of ordinary networks -----------------------------------------------------------------------


class ZeroPadLift(nn.Module):
    """Isometric lift: appends zero channels, (B, in_channels, ...) -> (B, out_channels, ...) (lesson 5)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"cannot lift {in_channels} channels to {out_channels}")
        self.in_channels, self.out_channels = in_channels, out_channels

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1] == self.in_channels, self, x.shape[1:])
        return torch.cat(
            [x, x.new_zeros(len(x), self.out_channels - self.in_channels, *x.shape[2:])], 1
        )

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}"

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        need(input_shape[0] == self.in_channels, self, input_shape)
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
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1))
        if self.mean.shape != self.std.shape or not (self.std > 0).all():
            raise ValueError(
                f"mean and std need one number a channel, std positive; got {mean} and {std}"
            )

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1] == len(self.mean), self, x.shape[1:])  # or the channels would be copied
        return (x - self.mean) / self.std

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        need(input_shape[0] == len(self.mean), self, input_shape)
        if not (self.std > 0).all() or not torch.isfinite(self.std).all():
            raise ValueError(
                f"std must be positive and finite, is now {self.std.flatten().tolist()}"
            )
        return (1 + ROUNDING) / self.std.double().min().item()


class ResidualBlock(nn.Module):
    """Unconstrained residual block x + branch(x); its bound is 1 + the branch's. The branch keeps the shape (lesson 4)."""

    def __init__(self, branch: nn.Module):
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        change = self.branch(x)
        need(change.shape == x.shape, self, x.shape[1:])  # or x would be copied
        return x + change

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        bound = lipschitz_bound(self.branch, input_shape)
        with torch.inference_mode(False), torch.no_grad():
            x = blank_input(self.branch, input_shape)
            need(self.branch(x).shape == x.shape, self, input_shape)
        if x._version:
            raise ValueError(
                f"the branch changes its input in place, so this is no residual block: {self.branch}"
            )
        return (1 + bound) * (1 + ROUNDING)
