"""Newton's method for the stages of an implicit Runge-Kutta step (lesson 2)."""

from typing import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]


def slope_at(field: Field, x: Tensor) -> Tensor:
    """field(x); raises ValueError if it has another shape than x."""
    slope = field(x.clone())  # it may work in place
    if slope.shape != x.shape:
        raise ValueError(
            f"the field must keep the shape of the state {tuple(x.shape)}, "
            f"it returned {tuple(slope.shape)}"
        )
    return slope


def implicit_stages(field: Field, x: Tensor, h: float | Tensor, A: Tensor) -> Tensor:
    """The stages X (s, ...), each of the shape of x, that solve X = x + h A f(X) (lesson 2).

    Newton's method with step halving, on the stage equations of all rows of x at once; A (s, s) is
    the stage matrix. Raises ValueError unless x is (B, d) or (d,), and
    ArithmeticError if it does not converge.
    """
    if x.ndim not in (1, 2):
        raise ValueError(f"an implicit step needs x of shape (B, d) or (d,), got {tuple(x.shape)}")
    s = len(A)
    d = x.shape[-1]
    hA = (h * A).to(x)
    rows = x.reshape(-1, 1, d)

    def residual(Z):
        """X - x - h A f(X) for the stages X of every row, side by side in Z (B, s d)."""
        X = Z.unflatten(1, (s, d))
        slopes = [slope_at(field, stage.reshape(x.shape)) for stage in X.unbind(1)]
        F = torch.stack([slope.reshape(-1, d) for slope in slopes], 1)
        return (X - rows - hA @ F).flatten(1)

    def newton_direction(Z, right):
        """J \\ right with J (B, s d, s d) the Jacobian of the residual, one row at a time."""
        _, pull = torch.func.vjp(residual, Z)
        J = [pull(unit.expand_as(Z))[0] for unit in torch.eye(s * d).to(x)]
        solution, _ = torch.linalg.solve_ex(torch.stack(J, 1), right[..., None])
        return solution[..., 0]

    def line_search(Z, error):
        """A Newton step, for each row halved until its residual shrinks, at most 12 times."""
        direction = newton_direction(Z, error)
        length = torch.ones_like(Z[:, :1])
        for _ in range(12):
            trial = Z - length * direction
            better = size(residual(trial)) < size(error)
            if better.all():
                break
            length = torch.where(better, length, length / 2)
        return torch.where(better, trial, Z)

    tolerance = torch.finfo(x.dtype).eps ** (2 / 3)
    with torch.no_grad():
        Z = rows.detach().expand(-1, s, d).flatten(1)
        for _ in range(50):
            error = residual(Z)
            if (size(error) <= tolerance * (1 + size(Z))).all():
                break
            Z = line_search(Z, error)
        else:
            raise ArithmeticError(
                f"Newton's method did not solve the stage equations for step size {float(h):g}: "
                f"the residual is {size(error).max().item():.1e} after 50 iterations; take a "
                "smaller step"
            )
    Z = Z - newton_direction(Z, residual(Z))  # one more step, this one seen by autograd
    return Z.unflatten(1, (s, d)).movedim(1, 0).reshape(s, *x.shape)


def size(Z: Tensor) -> Tensor:
    """The length of each row (B, 1)."""
    return Z.norm(dim=1, keepdim=True)
