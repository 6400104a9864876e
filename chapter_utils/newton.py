"""Newton's method for the stages of an implicit Runge-Kutta step (lesson 2)."""

from typing import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]


def slope_at(field: Field, x: Tensor) -> Tensor:
    """field(x); raises ValueError if it has another shape than x."""
    slope = field(x)
    if slope.shape != x.shape:
        raise ValueError(
            f"the field must keep the shape of the state {tuple(x.shape)}, "
            f"it returned {tuple(slope.shape)}"
        )
    return slope


def implicit_stages(field: Field, x: Tensor, hA: Tensor) -> Tensor:
    """The stages X (s, ...), each of the shape of x, that solve X = x + h A f(X) (lesson 2).

    Newton's method with step halving, on the stage equations of all rows of x at once; hA (s, s) is
    the step size times the stage matrix. Raises ValueError unless x is (B, d) or (d,), and
    ArithmeticError if it does not converge.
    """
    if x.ndim not in (1, 2):
        raise ValueError(f"an implicit step needs x of shape (B, d) or (d,), got {tuple(x.shape)}")
    s = len(hA)
    d = x.shape[-1]
    hA = hA.to(x)

    def slopes(X: Tensor) -> Tensor:
        return torch.stack([slope_at(field, stage) for stage in X])

    def residual(X: Tensor) -> Tensor:
        return X - x - torch.tensordot(hA, slopes(X), 1)

    def newton_direction(X: Tensor, right: Tensor) -> Tensor:
        """(I - h A (x) J) \\ right, with J the Jacobian of f at each stage."""
        _, pull = torch.func.vjp(slopes, X)
        J_rows = [pull(unit.expand_as(X))[0] for unit in torch.eye(d).to(x)]
        J = torch.stack(J_rows, -2).reshape(s, -1, d, d)
        hAJ = torch.einsum("ij,jbkl->bikjl", hA, J).reshape(-1, s * d, s * d)
        right = right.reshape(s, -1, d).movedim(0, 1).reshape(-1, s * d, 1)
        solution, _ = torch.linalg.solve_ex(torch.eye(s * d).to(x) - hAJ, right)
        return solution.reshape(-1, s, d).movedim(1, 0).reshape(X.shape)

    def size(X: Tensor) -> Tensor:
        return X.norm(dim=(0, -1), keepdim=True)  # one number for each row of x

    def line_search(X: Tensor, error: Tensor) -> Tensor:
        """A Newton step, for each row halved until its residual shrinks, at most 12 times."""
        direction = newton_direction(X, error)
        length = torch.ones_like(size(X))
        for _ in range(12):
            trial = X - length * direction
            better = size(residual(trial)) < size(error)
            if better.all():
                break
            length = torch.where(better, length, length / 2)
        return torch.where(better, trial, X)

    tolerance = torch.finfo(x.dtype).eps ** (2 / 3)
    with torch.no_grad():
        X = x.detach().expand(s, *x.shape)
        for _ in range(50):
            error = residual(X)
            if (size(error) <= tolerance * (1 + size(X))).all():
                break
            X = line_search(X, error)
        else:
            raise ArithmeticError(
                "Newton's method did not solve the stage equations: the residual is "
                f"{size(error).max().item():.1e} after 50 iterations; take a smaller step"
            )
    return X - newton_direction(X, residual(X))  # one more step, this one seen by autograd
