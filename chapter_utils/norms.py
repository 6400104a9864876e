"""How much a map can stretch: lower bounds by search, upper bounds that are guaranteed (lesson 3).

Every constant is for the Euclidean norm of inputs and outputs. A *lower* bound (power iteration,
Jacobian norms) may guide training; only *upper* bounds may enter a certificate. They are computed
in float64 and include the rounding errors of their own computation (`verified`). Convolutions have
a module of their own, `conv_norms`.
"""

import math
from typing import Callable

import torch
from torch import Tensor

from .verified import singular_value_bound

LinearMap = Callable[[Tensor], Tensor]
Shape = tuple[int, ...]


def dense_matrix(operator: LinearMap, input_shape: Shape) -> Tensor:
    """Matrix (outputs, inputs) of a linear map that takes batches (B, *input_shape) (lesson 3).

    Column by column in float64 on the CPU, for exact checks on small cases.
    """
    inputs = math.prod(input_shape)
    units = torch.eye(inputs, dtype=torch.float64)
    columns = operator(units.reshape(inputs, *input_shape))
    return columns.reshape(inputs, -1).T


def power_iteration(
    operator: LinearMap, adjoint: LinearMap, start: Tensor, steps: int = 1
) -> tuple[Tensor, Tensor]:
    """Estimate the norm of a linear map A from *below* (lesson 3).

    `start` is any non-zero vector of the map's input shape; it is not changed. Returns |A v|, a
    0-dim tensor that is differentiable in the weights of `operator`, and the unit vector v, to be
    used as the next warm start. Where A^T A v is zero or not finite, v stays as it was.
    Raises ValueError for a negative number of steps.
    """
    if steps < 0:
        raise ValueError(f"steps must be 0 or more, got {steps}")
    with torch.no_grad():
        v = start / start.norm()
        for _ in range(steps):
            w = adjoint(operator(v))
            length = w.norm()
            usable = (length > 0) & (length < math.inf)
            v = torch.where(usable, w / length, v)
    return operator(v).norm(), v


def dense_norm_bound(weight: Tensor) -> float:
    """Guaranteed upper bound of the spectral norm of a matrix (lesson 3).

    Raises ValueError for other tensors and for entries that are complex, NaN or infinite.
    """
    return singular_value_bound(_matrix(weight))


def dense_smallest_bound(weight: Tensor) -> float:
    """Guaranteed lower bound of |W x| / |x|: the smallest singular value (lesson 6).

    It is 0 for fewer rows than columns. Raises as `dense_norm_bound`.
    """
    W = _matrix(weight)
    if len(W) < W.shape[1]:
        return 0.0
    return singular_value_bound(W, largest=False)


def _matrix(weight):
    if weight.ndim != 2:
        raise ValueError(f"a matrix is needed, got a tensor of shape {tuple(weight.shape)}")
    return finite(weight).double()


def finite(weight: Tensor) -> Tensor:
    """The weight itself; raises ValueError if it is complex or has NaN or infinite entries."""
    if weight.is_complex():
        raise ValueError("bounds are for real weights; these are complex")
    if not torch.isfinite(weight).all():
        raise ValueError("the weights contain NaN or infinite entries, so no bound holds")
    return weight


def jacobian_norms(network: LinearMap, x: Tensor) -> Tensor:
    """Spectral norm (B,) of the derivative of `network` at each x of a batch (B, ...) (lesson 3).

    This is the local slope; the largest one is a lower bound of the Lipschitz constant. Samples
    must not influence each other. One backward pass an output.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        sums = network(x).flatten(1).sum(0)
        rows = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in sums]
    return torch.linalg.matrix_norm(torch.stack(rows, 1).flatten(2), 2)
