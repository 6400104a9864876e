"""Layers that are steps of contractive flows: non-expansive by construction (lesson 5).

The vector field of every block is minus the gradient of the convex potential
V(x) = sum_i s((A x + b)_i), where s' is the activation: g(x) = A^T act(A x + b). A block follows -g
for one step of a Runge-Kutta method, short enough that distances cannot grow (Celledoni et al.,
2210.02373; Sherry et al., 2306.17332).

Training and evaluation differ on purpose. In training mode the norm of A comes from one warm step
of power iteration, which is cheap but a lower bound. In evaluation mode it is a guaranteed upper
bound, computed anew whenever the weights have changed. What may be promised of a layer is stated in
`certificates`, in evaluation mode only.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import LeakyReLU, Module, Parameter, ReLU, Sigmoid, Softplus, Tanh

from .checks import need_one_of, need_positive
from .operators import DenseOperator, LinearOperator, Shape, Tau
from .runge_kutta import (
    circle_contractivity_radius,
    explicit_tableau,
    runge_kutta_step,
)

# name: (nondecreasing function, its largest slope)
ACTIVATIONS = {
    "relu": (ReLU(), 1.0),
    "leaky_relu": (LeakyReLU(0.5), 1.0),
    "tanh": (Tanh(), 1.0),
    "softplus": (Softplus(threshold=40), 1.0),  # at 20, the default, it jumps down by 2e-9
    "sigmoid": (Sigmoid(), 0.25),
}


def need(fits: bool, module: Module, shape: Shape) -> None:
    """Raise ValueError unless `fits`: the module does not take, or does not keep, this shape."""
    if not fits:
        raise ValueError(f"{module} does not take inputs of shape {tuple(shape)}")


# ---- non-expansive layers ------------------------------------------------------------------------


class GradientField(Module):
    """g(x) = A^T act(A x + b), the gradient of a convex function; A is the `operator` (lesson 5).

    Its Lipschitz constant is L = slope * |A|^2. Raises ValueError for an activation that is not in
    `ACTIVATIONS`: it must be nondecreasing.
    """

    def __init__(
        self,
        operator: LinearOperator,
        activation: str = "relu",
    ):
        super().__init__()
        need_one_of("a nondecreasing activation", activation, ACTIVATIONS)
        if not isinstance(operator, LinearOperator):
            raise TypeError(f"a DenseOperator or another LinearOperator is needed, got {operator}")
        self.operator = operator
        self.activation = activation
        self.bias = Parameter(torch.zeros(operator.outputs))

    def forward(self, x: Tensor, tau: Tau = None) -> Tensor:
        """g(x), times tau if it is given, of the shape of x."""
        A = self.operator
        b = self.bias
        act, _ = ACTIVATIONS[self.activation]
        return A.adjoint(act(A(x, b)), x.shape[1:], tau)

    def L(self, x: Tensor) -> float | Tensor:
        """Lipschitz constant of g for inputs like x: an estimate in training mode, a guaranteed
        bound in evaluation mode."""
        _, slope = ACTIVATIONS[self.activation]
        if self.training:
            return slope * self.operator.norm_estimate(x) ** 2
        norm = self.operator.norm_bound(x.shape[1:])
        return slope * norm * norm

    def vanishes(self, L: float | Tensor, x: Tensor) -> bool:
        """Whether g is as good as zero, so that tau would overflow; NaN must stay visible, too."""
        return not L >= torch.finfo(x.dtype).tiny


class NonExpansiveBlock(Module):
    """One Runge-Kutta step of x' = -g(x) that cannot increase distances (lesson 5).

    Euler's step is x - tau A^T act(A x + b). `c` = tau L is the step in units of 1/L; any
    0 < c <= 2r is allowed, r being the circle-contractivity radius of `method` (1 for Euler), and 2
    is the default. So tau follows the weights. With `time_span=T` instead, the block always travels
    for time T, in as many equal steps as this needs.
    Shapes (B, ...) -> (B, ...). Raises ValueError for a step beyond the bound, saying the limit.
    """

    def __init__(
        self,
        field: GradientField,
        c: float | None = None,
        method: str = "euler",
        time_span: float | None = None,
    ):
        super().__init__()
        if c is not None and time_span is not None:
            raise ValueError(f"give c or time_span, not both; got {c} and {time_span}")
        self.field = field
        self.c = 2.0 if c is None else c
        self.method = method
        self.time_span = time_span
        self.limit()

    def limit(self) -> float:
        """2r, the longest c; raises ValueError if the block's own step goes beyond it."""
        method = self.method
        longest = 2 * circle_contractivity_radius(explicit_tableau(method))
        if longest == 0:
            raise ValueError(
                f"{method} has circle-contractivity radius 0: no step size is guaranteed to be "
                "non-expansive"
            )
        if self.time_span is None and not 0 < self.c <= longest:
            raise ValueError(
                f"step c = tau L must lie in (0, {longest:g}] for {method}, got {self.c}"
            )
        if self.time_span is not None:
            need_positive("time_span", self.time_span)
        return longest

    def steps(self, L: float | Tensor, dtype: torch.dtype) -> tuple[int, float | Tensor]:
        """Number of Runge-Kutta steps and tau of each, for a field with this Lipschitz constant."""
        down = 1 - 2 * torch.finfo(dtype).eps  # tau is rounded to dtype: never past the bound
        if self.time_span is None:
            return 1, self.c * down / L
        # .item(), as L may be a number or, in training, a tensor that float() would warn of.
        number = self.time_span * torch.as_tensor(L).item() / (self.limit() * down)
        if not number <= 1e5:
            raise ValueError(
                f"time_span={self.time_span} would take {number:.3g} steps with such large weights"
            )
        number = max(1, math.ceil(number))
        return number, self.time_span / number

    def forward(self, x: Tensor) -> Tensor:
        L = self.field.L(x)
        if self.field.vanishes(L, x):
            return x + 0 * L
        number, tau = self.steps(L, x.dtype)

        def scaled_field(z):
            return self.field(z, -tau)  # -tau A^T act(A z + b)

        for _ in range(number):
            x = runge_kutta_step(scaled_field, x, 1.0, explicit_tableau(self.method))
        return x


class NonExpansiveLinear(Module):
    """Last layer x -> P x + b with |P| <= 1; its rows are orthonormal at the start (lesson 7).

    P, called `matrix`, is the weight, divided by its norm if that exceeds 1: by the estimated norm
    in training mode, the guaranteed one in evaluation mode.
    Shapes (B, in_features) -> (B, out_features), out_features <= in_features.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.operator = DenseOperator(in_features, out_features, orthonormal=True)
        self.bias = Parameter(torch.zeros(out_features))

    @property
    def matrix(self) -> Tensor:
        W = self.operator.weight
        if self.training:
            return W / self.operator.norm_estimate(W[:1]).clamp_min(1)
        norm = self.operator.norm_bound((W.shape[1],))
        if norm <= 1:
            return W
        return W * ((1 - 2 * torch.finfo(W.dtype).eps) / norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.matrix, self.bias)
