"""Linear maps with exact adjoints and bounds of how much they stretch (lessons 3, 5 and 6).

The layers of lessons 5, 6 and 8 are made of them. Those for images are in `image_operators`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Module, Parameter

from .norms import Shape, dense_norm_bound, dense_smallest_bound, power_iteration

Tau = float | Tensor | None  # a step size, or none


class LinearOperator(Module):
    """A linear map A that depends on a tensor `weight`, with its adjoint A^T (lesson 5).

    A subclass defines `forward` (A x, plus a bias of shape (`outputs`,) if one is given),
    `adjoint(y, input_shape, tau)` (A^T y, times tau if it is given: the weight is multiplied, which
    is cheaper than the image) and `check(input_shape)`, which raises ValueError for shapes that it
    does not take. It also defines `norm_of` and `smallest_of` unless the singular values of A
    are those of the matrix `weight`. Its rule in `certificates` speaks for A and for A^T.

    `norm_bound(input_shape)` is a guaranteed upper bound of |A x| / |x|, `smallest_bound` a
    guaranteed lower one (0 where none is known). The operators of this package depend on weight,
    shape and `settings` alone, and keep both until these change. What else others may depend on is
    not known: theirs are computed anew at each use.
    `norm_estimate(x)` is one warm step of power iteration from below, for training.
    """

    def __init__(self):
        super().__init__()
        self._known = {}  # of each bound: the weight, all else that it depends on, its value
        # The warm start of the next estimate; empty before the first.
        self.register_buffer("direction", torch.empty(0), persistent=False)

    def norm_of(self, weight: Tensor, input_shape: Shape) -> float:
        """Guaranteed upper bound of the norm that the map would have with this weight."""
        return dense_norm_bound(weight)

    def smallest_of(self, weight: Tensor, input_shape: Shape) -> float:
        """Guaranteed lower bound of the smallest singular value it would have, or 0."""
        return dense_smallest_bound(weight)

    def settings(self) -> tuple:
        """What else than weight and input shape the bounds of an operator here depend on."""
        return ()

    def norm_bound(self, input_shape: Shape) -> float:
        return self._remembered("largest", self.norm_of, input_shape)

    def smallest_bound(self, input_shape: Shape) -> float:
        return self._remembered("smallest", self.smallest_of, input_shape)

    def _remembered(self, name, bound_of, input_shape):
        self.check(input_shape)
        weight = self.weight.detach()
        case = (tuple(input_shape), self.settings(), weight.dtype, weight.device)
        if name in self._known:
            known_weight, known_case, bound = self._known[name]
            if known_case == case and torch.equal(known_weight, weight):
                return bound
        weight = weight.clone()  # another thread may change the weight itself meanwhile
        bound = bound_of(weight, case[0])
        if type(self).__module__.startswith(__package__ + "."):
            self._known[name] = (weight, case, bound)
        return bound

    def norm_estimate(self, x: Tensor) -> Tensor:
        """Estimate for inputs like the batch x (B, ...); the next call goes on from there."""
        shape = x.shape[1:]
        v = self.direction.to(x)
        steps = 1
        if v.shape != (1, *shape):
            generator = torch.Generator().manual_seed(0)
            v = torch.randn(1, *shape, generator=generator, dtype=torch.float64).to(x)
            steps = 20

        def adjoint(y):
            return self.adjoint(y, shape)

        estimate, self.direction = power_iteration(self, adjoint, v, steps)
        return estimate


class DenseOperator(LinearOperator):
    """x -> W x on the last axis, W of shape (out_features, in_features) (lesson 5).

    W has orthonormal rows or columns at the start. With `orthonormal=True` its rows are meant to
    stay so: see `restore_orthonormal_rows`. Raises ValueError if they cannot be.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        orthonormal: bool = False,
    ):
        super().__init__()
        if orthonormal and out_features > in_features:
            raise ValueError(
                f"{out_features} rows cannot be orthonormal in {in_features} dimensions"
            )
        self.in_features = in_features
        self.outputs = out_features
        self.orthonormal = orthonormal
        self.weight = Parameter(nn.init.orthogonal_(torch.empty(out_features, in_features)))

    def check(self, input_shape: Shape) -> None:
        if tuple(input_shape[-1:]) != (self.in_features,):
            raise ValueError(
                f"inputs with {self.in_features} features are needed, got {tuple(input_shape)}"
            )

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        self.check(x.shape[1:])
        return F.linear(x, self.weight, bias)

    def adjoint(
        self,
        y: Tensor,
        input_shape: Shape = (),
        tau: Tau = None,
    ) -> Tensor:
        return y @ scaled(self.weight, tau)


def scaled(weight: Tensor, tau: Tau) -> Tensor:
    """tau times the weight; the weight itself if there is no tau."""
    return weight if tau is None else tau * weight


@torch.no_grad()
def restore_orthonormal_rows(model: Module) -> None:
    """Move every operator with `orthonormal=True` back to orthonormal rows (lesson 5).

    Call it after each optimiser step. Near the target one Newton-Schulz step
    W + (I - W W^T) W / 2 squares the error; further away the singular value decomposition gives
    the nearest such matrix. Raises ValueError naming the layer if the weights are not finite.
    """
    for name, module in model.named_modules():
        if not getattr(module, "orthonormal", False):
            continue
        W = module.weight
        error = torch.eye(len(W)).to(W) - W @ W.mT
        if error.norm() < 0.9:  # the step converges below 1
            W.add_(error @ W, alpha=0.5)
        elif torch.isfinite(W).all():
            U, _, Vh = torch.linalg.svd(W, full_matrices=False)
            W.copy_(U @ Vh)
        else:
            raise ValueError(
                f"the weights of {name or 'the operator'} contain NaN or infinite entries"
            )


def orthogonality_penalty(model: Module) -> Tensor:
    """Sum over the dense and shift operators of |W^T W - I|^2, Frobenius norm (lesson 6).

    Zero exactly if their columns are orthonormal. Raises ValueError if the model holds no operator,
    or a convolution, whose kernel would have to be judged otherwise.
    """
    operators = [part for part in model.modules() if isinstance(part, LinearOperator)]
    if not operators:
        raise ValueError("the model holds no linear operator to be made orthogonal")
    terms = []
    for operator in operators:
        W = operator.weight
        if W.ndim != 2:
            raise ValueError(f"the penalty is for matrices, not kernels of shape {tuple(W.shape)}")
        identity = torch.eye(W.shape[1]).to(W)
        terms.append((W.mT @ W - identity).square().sum())
    return torch.stack(terms).sum()
