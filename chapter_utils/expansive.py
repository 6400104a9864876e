"""Expansive steps inside a 1-Lipschitz network: what one stretches, another has shrunk (lesson 6).

A contractive step follows -g, the gradient of a strongly convex potential, an expansive one +g.
Both are measured as in lesson 5: c = tau L, with L the Lipschitz constant of the field. How much
the first shrinks depends on kappa = slope * lambda_min(A^T A) / lambda_max(A^T A), with `slope` the
smallest slope of the activation: on A^T A being close to a multiple of the identity (Celledoni et
al., 2210.02373, whose h is c here).
"""

import math
import warnings

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from .checks import need_one_of, need_positive
from .layers import GradientField
from .operators import LinearOperator, Shape

Number = float | Tensor
Steps = tuple[Number, Number]  # one that contracts, one that expands
Parts = tuple[int, int]
SLOPE = 0.5  # smallest slope of the activation "leaky_relu"
RULES = ("gradient", "monotone")


def contraction_factor(
    c: Number,
    kappa: float = SLOPE,
    rule: str = "gradient",
) -> Number:
    """Lipschitz constant of x - tau g(x) with c = tau L and g kappa L-monotone (lesson 6).

    "gradient": max(|1 - kappa c|, |1 - c|), sharp for gradient fields. "monotone":
    sqrt(1 - 2 kappa c + c^2), what monotonicity alone gives, the condition of the paper.
    Raises ValueError for another rule and for kappa outside [0, 1].
    """
    need_one_of("rule", rule, RULES)
    if not 0 <= kappa <= 1:
        raise ValueError(f"kappa must lie in [0, 1], got {kappa}")
    if rule == "monotone":
        return (1 - 2 * kappa * c + c**2) ** 0.5
    return max(abs(1 - kappa * c), abs(1 - c))


def pair_factor(
    c: Steps,
    substeps: Parts = (1, 1),
    kappa: float = SLOPE,
    rule: str = "gradient",
) -> Number:
    """Bound of the Lipschitz constant of a pair of steps, each in equal parts (lesson 6).

    c = (c1, c2): c1 contracts in substeps[0] parts, c2 expands in substeps[1]. A negative
    c2 >= -2 substeps[1] does not expand: it counts as 1.
    """
    c1, c2 = c
    parts1, parts2 = substeps
    shrink = contraction_factor(c1 / parts1, kappa, rule)
    growth = max(1.0, abs(1 + c2 / parts2))
    return shrink**parts1 * growth**parts2


def largest_expansion(
    c1: Number,
    substeps: Parts = (1, 1),
    kappa: float = SLOPE,
    rule: str = "gradient",
) -> Number:
    """The largest c2 whose pair with c1 has a factor of at most 1 (lesson 6).

    It is 0 if the first step does not contract.
    """
    parts1, parts2 = substeps
    shrink = contraction_factor(c1 / parts1, kappa, rule)
    if shrink >= 1:
        return 0 * c1
    if shrink == 0:
        return math.inf
    return parts2 * (shrink ** (-parts1 / parts2) - 1)


class SwitchingBlock(Module):
    """Contractive steps x - tau A^T act(A x + b), then expansive ones x + tau B^T relu(B x + b).

    Together at most 1-Lipschitz in evaluation mode (lesson 6, Celledoni et al., 2210.02373). `c` =
    (c1, c2) is prescribed; without it both are learned within the limits (flexible). The limit of
    c2 comes from the smallest eigenvalue of A^T A as it is measured, not as it should be: where
    A^T A is too far from a multiple of the identity c2 is cut, with a warning that says how much.
    Shapes (B, ...) -> (B, ...). Raises ValueError for prescribed steps beyond the limit of an
    orthogonal A, saying it.
    """

    def __init__(
        self,
        contractive: LinearOperator,
        expansive: LinearOperator,
        c: Steps | None = None,
        substeps: Parts = (2, 2),
    ):
        super().__init__()
        self.down = GradientField(contractive, "leaky_relu")
        self.up = GradientField(expansive, "relu")
        self.prescribed = c
        self.substeps = tuple(substeps)
        if c is None:
            self.raw = Parameter(torch.zeros(2))
        self.check()

    def check(self) -> None:
        """Raise ValueError for steps, perhaps changed since, with which the pair may expand."""
        need_positive("the smaller one of the substeps", min(self.substeps))
        if self.prescribed is None:
            return
        c1, c2 = self.prescribed
        parts1, parts2 = self.substeps
        if not 0 < c1 < 2 * parts1:
            raise ValueError(f"c1 must lie in (0, {2 * parts1}), got {c1}")
        limit = largest_expansion(c1, self.substeps)
        if not -2 * parts2 <= c2 <= limit:
            raise ValueError(f"with c1 = {c1} the step c2 may be at most {limit:.6f}, got {c2}")

    def conditioning(self, input_shape: Shape) -> float:
        """Guaranteed lower bound of lambda_min / lambda_max of A^T A, for inputs of this shape.

        1 for an orthogonal A, 0 where the step is left out.
        """
        A = self.down.operator
        largest = A.norm_bound(input_shape)
        if self.down.vanishes(largest * largest, A.weight):
            return 0.0
        return (A.smallest_bound(input_shape) / largest) ** 2

    def steps(self, input_shape: Shape) -> Steps:
        """(c1, c2) as used in evaluation mode for inputs of shape (batch, *input_shape)."""
        conditioning = self.conditioning(input_shape)
        _, wanted = self.limited(1.0)
        c1, c2 = self.limited(conditioning)
        if 0 < wanted and c2 < 0.95 * wanted:
            warnings.warn(
                f"the smallest eigenvalue of A^T A is only {conditioning:.3g} times the largest: "
                f"the expansive step is cut from {float(wanted):.3g} to {float(c2):.3g}",
                stacklevel=2,
            )
        return float(c1), float(c2)

    def slack(self) -> float:
        """Relative error of a step that is rounded to the weights' type, with room to spare."""
        return 16 * torch.finfo(self.down.operator.weight.dtype).eps

    def limited(self, conditioning: float) -> Steps:
        """(c1, c2), c2 within the limit for an A^T A of this conditioning."""
        down = 1 - self.slack()
        kappa = SLOPE * conditioning * down
        if self.prescribed:
            c1, c2 = self.prescribed
            return c1, min(c2, down * largest_expansion(c1, self.substeps, kappa))
        raw = self.raw if self.training else self.raw.detach().double()
        c1 = self.substeps[0] * (0.055 + 0.89 * torch.sigmoid(raw[0]))  # a part in [0.055, 0.945]
        limit = largest_expansion(c1, self.substeps, kappa)
        return c1, down * limit * torch.tanh(raw[1])

    def forward(self, x: Tensor) -> Tensor:
        c1, c2 = self.limited(1.0) if self.training else self.steps(x.shape[1:])
        x = self._walk(x, self.down, -c1, self.substeps[0])
        return self._walk(x, self.up, c2, self.substeps[1])

    def _walk(self, x, field, c, parts):
        """x moved along the field by c in equal parts; backwards if c is negative."""
        L = field.L(x)
        if field.vanishes(L, x):
            return x + 0 * L
        for _ in range(parts):
            x = x + field(x, tau=c / parts / L)
        return x
