"""Layers that keep a sum, areas or volumes exactly, whatever their weights are (lesson 8).

Each block is one step of length h of a numerical method for x' = f(x), where f has the structure
and the method keeps it (Celledoni et al., 2210.02373). What is kept is kept up to rounding, in
training as in evaluation mode. None of these blocks promises that distances do not grow; only of
the projection a Lipschitz bound is known.
"""

import torch
from torch import Tensor
from torch.nn import Linear, Module, Parameter

from .checks import need_one_of, need_positive
from .layers import ACTIVATIONS, need
from .runge_kutta import explicit_tableau, runge_kutta_step


class HiddenLayer(Module):
    """z -> W act(K z + b), a map (B, in_features) -> (B, out_features) (lesson 8).

    W is free. Without `out_features` it is K^T diag(a), and the map is the gradient of
    sum_i a_i s((K z + b)_i), where s' = act. Raises ValueError for an unknown activation and a
    width below 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int | None,
        width: int,
        activation: str,
    ):
        super().__init__()
        need_one_of("activation", activation, ACTIVATIONS)
        need_positive("width", width)
        gradient = out_features is None
        self.activation = activation
        self.inner = Linear(in_features, width)  # K and b
        self.outer = None if gradient else Linear(width, out_features)  # W
        self.scale = Parameter(torch.ones(width) / width) if gradient else None  # a

    def forward(self, z: Tensor) -> Tensor:
        act, _ = ACTIVATIONS[self.activation]
        units = act(self.inner(z))
        if self.outer is not None:
            return self.outer(units)
        K = self.inner.weight
        return (units * self.scale) @ K


class StructureBlock(Module):
    """One step of length `h` on states (B, features); a subclass defines `step(x)` (lesson 8).

    Raises ValueError for fewer than 2 features and if h is not positive and finite.
    """

    def __init__(self, features: int, h: float):
        super().__init__()
        if features < 2:
            raise ValueError(f"at least 2 features are needed, got {features}")
        need_positive("step h", h)
        self.features = features
        self.h = h

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1:] == (self.features,), self, x.shape[1:])
        return self.step(x)


class MassPreservingBlock(StructureBlock):
    """One Runge-Kutta step for x' = S(x) 1 with S(x) skew: keeps the sum of the entries (lesson 8).

    S(x) = M(x) - M(x)^T with M(x) = `exchange`(x), a network with one hidden layer; entry (i, j) of
    S is what j gives to i per unit of time. Entries may become negative. Raises ValueError for an
    implicit method.
    """

    def __init__(
        self,
        features: int,
        width: int = 32,
        h: float = 0.1,
        method: str = "euler",
        activation: str = "tanh",
    ):
        super().__init__(features, h)
        explicit_tableau(method)
        self.method = method
        self.exchange = HiddenLayer(features, features * features, width, activation)

    def field(self, x: Tensor) -> Tensor:
        """S(x) 1, of the shape of x; its entries sum to zero."""
        M = self.exchange(x).unflatten(-1, (self.features, self.features))
        S = M - M.mT
        return S.sum(-1)

    def step(self, x: Tensor) -> Tensor:
        return runge_kutta_step(self.field, x, self.h, explicit_tableau(self.method))


class SumPreservingProjection(Module):
    """Keeps the first entries and spreads the sum of the others evenly over them (lesson 8).

    The sum of the entries stays. Its norm sqrt(in_features / out_features) is the smallest that a
    linear map with this property can have. Its lift is `plain_layers.ZeroPadLift`.
    Shapes (B, in_features) -> (B, out_features). Raises ValueError if there are too few features.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        if not 1 <= out_features <= in_features:
            raise ValueError(f"cannot project {in_features} features to {out_features}")
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        need(x.shape[1:] == (self.in_features,), self, x.shape[1:])
        n = self.out_features
        return x[:, :n] + x[:, n:].sum(1, keepdim=True) / n


class SymplecticBlock(StructureBlock):
    """A kick p <- p - h K^T diag(a) act(K q + b), a drift q <- q + h (the same of p) (lesson 8).

    Kick and drift have their own weights. Each is a shear by a gradient, so the block is symplectic
    for all weights, all activations and all h: half a kick, a drift, half a kick (Verlet). The
    state is x = (q, p). Raises ValueError for an odd number of features.
    """

    def __init__(self, features: int, width: int = 16, h: float = 0.1, activation: str = "tanh"):
        super().__init__(features, h)
        half = features // 2
        if features != 2 * half:
            raise ValueError(
                f"positions and momenta come in pairs: features must be even, got {features}"
            )
        self.kick = HiddenLayer(half, None, width, activation)
        self.drift = HiddenLayer(half, None, width, activation)

    def step(self, x: Tensor) -> Tensor:
        q, p = x.chunk(2, 1)
        p = p - self.h / 2 * self.kick(q)
        q = q + self.h * self.drift(p)
        p = p - self.h / 2 * self.kick(q)
        return torch.cat([q, p], 1)


class VolumePreservingBlock(StructureBlock):
    """u <- u + h f(v), then v <- v + h g(u), with any shifts f and g: keeps volumes (lesson 8).

    x = (u, v) is cut into halves, u one longer if features is odd. Not symplectic, as f and g need
    not be gradients.
    """

    def __init__(self, features: int, width: int = 16, h: float = 0.1, activation: str = "tanh"):
        super().__init__(features, h)
        short = features // 2
        self.long = features - short
        self.first = HiddenLayer(short, self.long, width, activation)
        self.second = HiddenLayer(self.long, short, width, activation)

    def step(self, x: Tensor) -> Tensor:
        u, v = x.tensor_split([self.long], 1)
        u = u + self.h * self.first(v)
        v = v + self.h * self.second(u)
        return torch.cat([u, v], 1)
