"""An optimiser for weights that are kept orthogonal (lesson 7)."""

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Steepest descent with momentum in the spectral norm: every parameter moves by a step of length about `lr`.

    Let M be the gradient averaged over time. Among all matrices of norm 1, the one that descends fastest along M = U S V^T
    is -U V^T: all directions move equally far, not only those of large gradient (Jordan et al. 2024; Bernstein and Newhouse,
    2409.20325). U V^T is approximated by five steps of an iteration with matrix products only, which takes nearly all
    singular values into [0.7, 1.2] (Liu et al., 2502.16982). A vector is a matrix with one column and moves by -lr M / |M|; a kernel
    (out, in, height, width) is the matrix (out, in * height * width). Raises ValueError if `lr` or `momentum` is out of range.
    """

    def __init__(self, parameters, lr: float = 0.03, momentum: float = 0.9):
        if not lr >= 0:
            raise ValueError(f"lr must be 0 or more, got {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        """Move every parameter that has a gradient; returns the loss of `closure`, if one is given."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        for group in self.param_groups:
            alike: dict[
                tuple, list[tuple[Tensor, Tensor]]
            ] = {}  # parameters of one shape are treated in one go
            for parameter in group["params"]:
                if parameter.grad is not None:
                    average = self.state[parameter].setdefault(
                        "average", torch.zeros_like(parameter)
                    )
                    average.lerp_(parameter.grad, 1 - group["momentum"])
                    ahead = average.lerp(
                        parameter.grad, 1 - group["momentum"]
                    )  # Nesterov: a look at the next average
                    matrix = ahead.flatten(1) if ahead.ndim > 1 else ahead.reshape(-1, 1)
                    alike.setdefault((matrix.shape, matrix.dtype, matrix.device), []).append(
                        (parameter, matrix)
                    )
            for pairs in alike.values():
                directions = equal_directions(torch.stack([matrix for _, matrix in pairs]))
                for (parameter, _), direction in zip(pairs, directions, strict=True):
                    parameter.sub_(direction.reshape(parameter.shape), alpha=group["lr"])
        return value


def equal_directions(matrices: Tensor, steps: int = 5) -> Tensor:
    """About U V^T for every matrix U S V^T of a batch (..., rows, columns); zero, and what is below
    all normal numbers, gives zero.

    Each step maps the singular values by s -> 3.4445 s - 4.7750 s^3 + 2.0315 s^5, which drives them towards 1. It is a
    multiplication by a polynomial in the Gram matrix, so only the small Gram matrices are iterated.
    """
    if not matrices.numel():
        return matrices
    tiny = torch.finfo(matrices.dtype).tiny
    largest = matrices.abs().amax((-2, -1), keepdim=True)  # divided by it no square underflows
    x = torch.where(largest < tiny, 0.0, matrices / largest.clamp_min(tiny))
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(tiny)
    if min(x.shape[-2:]) == 1:  # a single row or column is done
        return x
    wide = x if x.shape[-2] <= x.shape[-1] else x.mT
    gram = wide @ wide.mT
    identity = torch.eye(gram.shape[-1], dtype=x.dtype, device=x.device)
    factor = identity
    for _ in range(steps):
        polynomial = 3.4445 * identity + (2.0315 * gram - 4.7750 * identity) @ gram
        factor, gram = polynomial @ factor, polynomial @ gram @ polynomial
    wide = factor @ wide
    return wide if x.shape[-2] <= x.shape[-1] else wide.mT
