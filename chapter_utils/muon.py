"""An optimiser for weights that are kept orthogonal (lesson 7)."""

import torch
from torch import Tensor

from .checks import need_positive


class Muon(torch.optim.Optimizer):
    """Steepest descent with momentum in the spectral norm: every step has a length of about `lr`.

    Let M be the gradient averaged over time. Among all matrices of norm 1, the one that descends
    fastest along M = U S V^T is -U V^T: all directions move equally far, not only those of large
    gradient (Jordan et al. 2024; Bernstein and Newhouse, 2409.20325). A vector is a matrix with one
    column and moves by -lr M / |M|; a kernel (out, in, height, width) is the matrix
    (out, in * height * width). Raises ValueError unless `lr` is positive. Used in lesson 7.
    """

    def __init__(self, parameters, lr: float = 0.03):
        need_positive("lr", lr)
        super().__init__(parameters, {"lr": lr, "momentum": 0.9})  # which OneCycleLR moves

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameters, matrices in self._alike(group).values():
                directions = equal_directions(torch.stack(matrices))
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter.sub_(direction.reshape(parameter.shape), alpha=group["lr"])

    def _alike(self, group):
        """Parameters and averaged gradients of one shape together: treated in one go."""
        alike = {}
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
            new = 1 - group["momentum"]
            average.lerp_(parameter.grad, new)
            ahead = average.lerp(parameter.grad, new)  # Nesterov: a look at the next average
            matrix = ahead.flatten(1) if ahead.ndim > 1 else ahead.reshape(-1, 1)
            kind = (matrix.shape, matrix.dtype, matrix.device)
            parameters, matrices = alike.setdefault(kind, ([], []))
            parameters.append(parameter)
            matrices.append(matrix)
        return alike


def equal_directions(matrices: Tensor) -> Tensor:
    """About U V^T for every matrix U S V^T of a batch (..., rows, columns) (lesson 7).

    Each step maps the singular values by s -> 3.4445 s - 4.7750 s^3 + 2.0315 s^5, which drives them
    into [0.7, 1.2] (Liu et al., 2502.16982). It is a multiplication by a polynomial in the Gram
    matrix, so only the small Gram matrices are iterated. Zero, and what is below all normal
    numbers, gives zero.
    """
    if not matrices.numel():
        return matrices
    # Over the largest entry first: no square underflows.
    tiny = torch.finfo(matrices.dtype).tiny
    largest = matrices.abs().amax((-2, -1), keepdim=True)
    x = torch.where(largest < tiny, 0.0, matrices / largest.clamp_min(tiny))
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(tiny)
    rows, columns = x.shape[-2:]
    if min(rows, columns) == 1:  # a single row or column is done
        return x
    wide = x if rows <= columns else x.mT
    gram = wide @ wide.mT
    identity = torch.eye(gram.shape[-1]).to(x)
    factor = identity
    for _ in range(5):
        polynomial = 3.4445 * identity + (2.0315 * gram - 4.7750 * identity) @ gram
        factor = polynomial @ factor
        gram = polynomial @ gram @ polynomial
    wide = factor @ wide
    return wide if rows <= columns else wide.mT
