"""Layers that keep a sum, areas or volumes exactly, whatever their weights are (lesson 8).

Each block is one step of a numerical method for x' = f(x), where f has the structure and the method keeps it (Celledoni et
al., 2210.02373). What is kept is kept up to rounding, in training as in evaluation mode. None of these blocks promises
that distances do not grow; only the projection states a Lipschitz bound.
"""

import math

import torch
from torch import Tensor, nn

from .layers import ACTIVATIONS
from .lipschitz import ROUNDING, need
from .ode import named_tableau, runge_kutta_step


class HiddenLayer(nn.Module):
    """z -> W act(K z + b), a map (B, in_features) -> (B, out_features) with free W, or with W = K^T diag(a) (lesson 8).

    The second kind, `gradient=True`, is the gradient of sum_i a_i s((K z + b)_i), where s' = act; it needs out_features =
    in_features.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        activation: str = "tanh",
        gradient: bool = False,
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}"
            )
        if min(in_features, out_features, width) < 1 or (gradient and in_features != out_features):
            raise ValueError(
                f"a hidden layer cannot have {in_features} inputs, {out_features} outputs and width {width}"
            )
        self.activation = activation
        self.inner = nn.Linear(in_features, width)  # K and b
        self.outer = None if gradient else nn.Linear(width, out_features)
        self.scale = nn.Parameter(torch.ones(width) / width) if gradient else None  # a

    def forward(self, z: Tensor) -> Tensor:
        units = ACTIVATIONS[self.activation][0](self.inner(z))
        return (units * self.scale) @ self.inner.weight if self.outer is None else self.outer(units)


class MassPreservingBlock(nn.Module):
    """One step of an explicit Runge-Kutta method for x' = S(x) 1 with S(x) skew: keeps the sum of the entries (lesson 8).

    S(x) = M(x) - M(x)^T with M(x) = `exchange`(x), a network with one hidden layer; entry (i, j) of S is what j gives to i
    per unit of time. Entries may become negative. Shapes (B, features) -> (B, features), features >= 2.
    Raises ValueError for an implicit method or a step that is not positive.
    """

    def __init__(
        self,
        features: int,
        width: int = 32,
        step: float = 0.1,
        method: str = "euler",
        activation: str = "tanh",
    ):
        super().__init__()
        _check_sizes(features, 2, step)
        if not named_tableau(method).explicit:
            raise ValueError(f"{method} is implicit; a layer needs an explicit method")
        self.features, self.step, self.method = features, step, method
        self.exchange = HiddenLayer(features, features * features, width, activation)

    def field(self, x: Tensor) -> Tensor:
        """S(x) 1, of the shape of x; its entries sum to zero."""
        given = self.exchange(x).unflatten(-1, (self.features, self.features))
        return (given - given.mT).sum(-1)

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1:] == (self.features,), self, x.shape[1:])
        return runge_kutta_step(self.field, x, self.step, named_tableau(self.method))


class SumPreservingProjection(nn.Module):
    """Keeps the first out_features entries and spreads the sum of the others evenly over them (lesson 8).

    The sum of the entries stays. Its norm sqrt(in_features / out_features) is the smallest that a linear map with this
    property can have. The lift that belongs to it is `layers.ZeroPadLift`. Shapes (B, in_features) -> (B, out_features).
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        if not 1 <= out_features <= in_features:
            raise ValueError(f"cannot project {in_features} features to {out_features}")
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1:] == (self.in_features,), self, x.shape[1:])
        kept, dropped = x[:, : self.out_features], x[:, self.out_features :]
        return kept + dropped.sum(1, keepdim=True) / self.out_features

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        need(tuple(input_shape) == (self.in_features,), self, input_shape)
        return math.sqrt(self.in_features / self.out_features) * (1 + ROUNDING)


SPLITTINGS = ("verlet", "symplectic_euler")


class SymplecticBlock(nn.Module):
    """A kick p <- p - h K^T diag(a) act(K q + b) and a drift q <- q + h (the same with other weights, of p) (lesson 8).

    Each is a shear by a gradient, so the block is symplectic for all weights, all activations and all steps h.
    "verlet": half a kick, a drift, half a kick; "symplectic_euler": a kick, then a drift. The state is x = (q, p).
    Shapes (B, features) -> (B, features), features even. Raises ValueError otherwise, or if the step is not positive.
    """

    def __init__(
        self,
        features: int,
        width: int = 16,
        step: float = 0.1,
        method: str = "verlet",
        activation: str = "tanh",
    ):
        super().__init__()
        _check_sizes(features, 2, step)
        if features % 2:
            raise ValueError(
                f"positions and momenta come in pairs: features must be even, got {features}"
            )
        if method not in SPLITTINGS:
            raise ValueError(f"method must be one of {', '.join(SPLITTINGS)}; got {method!r}")
        self.features, self.step, self.method = features, step, method
        self.kick, self.drift = (
            HiddenLayer(features // 2, features // 2, width, activation, gradient=True)
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1:] == (self.features,), self, x.shape[1:])
        q, p = x.chunk(2, 1)
        kick = self.step / 2 if self.method == "verlet" else self.step
        p = p - kick * self.kick(q)
        q = q + self.step * self.drift(p)
        if self.method == "verlet":
            p = p - kick * self.kick(q)
        return torch.cat([q, p], 1)


class VolumePreservingBlock(nn.Module):
    """u <- u + h f(v), then v <- v + h g(u), with any shifts f and g: keeps volumes (lesson 8).

    x = (u, v) is cut into halves, u one longer if features is odd. Not symplectic, as f and g need not be gradients.
    Shapes (B, features) -> (B, features), features >= 2. Raises ValueError for fewer, or if the step is not positive.
    """

    def __init__(self, features: int, width: int = 16, step: float = 0.1, activation: str = "tanh"):
        super().__init__()
        _check_sizes(features, 2, step)
        self.features, self.step, rest = features, step, features // 2
        self.first = HiddenLayer(rest, features - rest, width, activation)
        self.second = HiddenLayer(features - rest, rest, width, activation)

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1:] == (self.features,), self, x.shape[1:])
        u, v = x.tensor_split([self.features - self.features // 2], 1)
        u = u + self.step * self.first(v)
        return torch.cat([u, v + self.step * self.second(u)], 1)


def _check_sizes(features: int, least: int, step: float) -> None:
    if features < least:
        raise ValueError(f"at least {least} features are needed, got {features}")
    if not 0 < step < math.inf:
        raise ValueError(f"step must be positive and finite, got {step}")
