"""Expansive steps inside a 1-Lipschitz network: what one layer stretches, another has shrunk before (lesson 6).

Steps are measured as in lesson 5, in units of 1/L with L the Lipschitz constant of the field: h = tau L. A contractive step
follows -g, the gradient of a strongly convex potential, an expansive one +g. How much the first shrinks depends on
kappa = slope * lambda_min(A^T A) / lambda_max(A^T A), with `slope` the smallest slope of the activation: on A^T A being
close to a multiple of the identity (Celledoni et al., 2210.02373).
"""

import math
import warnings

import torch
from torch import Tensor, nn

from .layers import GradientField, certifiable
from .lipschitz import ROUNDING
from .operators import LinearOperator

SLOPE = 0.5  # smallest slope of the activation "leaky_relu"
RULES = ("gradient", "monotone")


def contraction_factor(
    step: float | Tensor, kappa: float = SLOPE, rule: str = "gradient"
) -> float | Tensor:
    """Lipschitz constant of x - tau g(x), g with Lipschitz constant L and monotonicity constant kappa L, step = tau L.

    "gradient": max(|1 - kappa h|, |1 - h|), sharp for gradient fields. "monotone": sqrt(1 - 2 kappa h + h^2), what monotonicity
    alone gives, the condition of the paper. 0 <= kappa <= 1 (lesson 6).
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    if not 0 <= kappa <= 1:
        raise ValueError(f"kappa must lie in [0, 1], got {kappa}")
    if rule == "monotone":
        return (1 - 2 * kappa * step + step**2) ** 0.5
    if isinstance(step, Tensor):
        return torch.maximum((1 - kappa * step).abs(), (1 - step).abs())
    return max(abs(1 - kappa * step), abs(1 - step))


def pair_factor(
    steps, substeps: tuple[int, int] = (1, 1), kappa: float = SLOPE, rule: str = "gradient"
):
    """Bound of the Lipschitz constant of a pair: steps = (h1, h2), h1 contractive in substeps[0] equal parts and h2
    expansive in substeps[1] (lesson 6). A negative h2 >= -2 substeps[1] does not expand: it counts as 1."""
    (down, up), (parts_down, parts_up) = steps, substeps
    growth = max(1.0, abs(1 + up / parts_up))
    return contraction_factor(down / parts_down, kappa, rule) ** parts_down * growth**parts_up


def largest_expansion(
    down, substeps: tuple[int, int] = (1, 1), kappa: float = SLOPE, rule: str = "gradient"
):
    """The largest h2 whose pair with h1 = `down` has a factor of at most 1; 0 if the first step does not contract (lesson 6)."""
    factor = contraction_factor(down / substeps[0], kappa, rule)
    if factor >= 1:
        return 0 * down
    if factor == 0:
        return math.inf
    return substeps[1] * (factor ** (-substeps[0] / substeps[1]) - 1)


class SwitchingBlock(nn.Module):
    """Contractive steps x - tau A^T act(A x + b), then expansive ones x + tau' B^T relu(B x + b'); together at most
    1-Lipschitz in evaluation mode (lesson 6, Celledoni et al., 2210.02373).

    `steps` = (h1, h2), in units of 1/|A|^2 and 1/|B|^2, is prescribed; without it both are learned within the limits
    (flexible). The limit of h2 comes from the smallest eigenvalue of A^T A as it is measured, not as it should be: where A^T A
    is too far from a multiple of the identity h2 is cut, with a warning that says by how much.
    Shapes (B, ...) -> (B, ...). Raises ValueError for prescribed steps beyond the limit of an orthogonal A, saying it.
    """

    def __init__(
        self,
        contractive: LinearOperator,
        expansive: LinearOperator,
        steps: tuple[float, float] | None = None,
        substeps: tuple[int, int] = (2, 2),
    ):
        super().__init__()
        self.down, self.up = (
            GradientField(contractive, "leaky_relu"),
            GradientField(expansive, "relu"),
        )
        self.prescribed, self.substeps = steps, tuple(substeps)
        if steps is None:
            self.raw = nn.Parameter(torch.zeros(2))
        self._check()

    def _check(self) -> None:
        """Raise ValueError for settings, perhaps changed since, with which the pair may expand."""
        if (self.down.activation, self.up.activation) != ("leaky_relu", "relu"):
            raise ValueError(
                f"the activations must be leaky_relu and relu, not {self.down.activation} and {self.up.activation}"
            )
        if min(self.substeps) < 1:
            raise ValueError(f"substeps must be at least 1, got {self.substeps}")
        if self.prescribed is None:
            return
        (down, up), (parts_down, parts_up) = self.prescribed, self.substeps
        if not 0 < down < 2 * parts_down:
            raise ValueError(f"h1 must lie in (0, {2 * parts_down}), got {down}")
        limit = largest_expansion(down, self.substeps)
        if not -2 * parts_up <= up <= limit:
            raise ValueError(
                f"with h1 = {down} the expansive step h2 may be at most {limit:.6f}, got {up}"
            )

    def conditioning(self, input_shape: tuple[int, ...]) -> float:
        """Guaranteed lower bound of lambda_min / lambda_max of A^T A: 1 for an orthogonal A, 0 where the step is left out."""
        operator, shape = self.down.operator, tuple(input_shape)
        largest = operator.norm_bound(shape)
        if largest * largest < torch.finfo(operator.weight.dtype).tiny:
            return 0.0
        return (operator.smallest_bound(shape) / largest) ** 2

    def steps(self, input_shape: tuple[int, ...]) -> tuple[float, float]:
        """(h1, h2) as used in evaluation mode for inputs of shape (batch, *input_shape)."""
        conditioning = self.conditioning(input_shape)
        wanted, used = self._steps(1.0), self._steps(conditioning)
        if 0 < wanted[1] and used[1] < 0.95 * wanted[1]:
            warnings.warn(
                f"the smallest eigenvalue of A^T A is only {conditioning:.3g} times the largest: "
                f"the expansive step is cut from {float(wanted[1]):.3g} to {float(used[1]):.3g}",
                stacklevel=2,
            )
        return float(used[0]), float(used[1])

    def _steps(self, conditioning: float) -> tuple[float | Tensor, float | Tensor]:
        kappa = SLOPE * conditioning * (1 - self._slack())
        if self.prescribed:
            down, up = self.prescribed
            return down, min(
                up, (1 - self._slack()) * largest_expansion(down, self.substeps, kappa)
            )
        raw = self.raw if self.training else self.raw.detach().double()
        down = self.substeps[0] * (
            0.055 + 0.89 * torch.sigmoid(raw[0])
        )  # h1 in [0.11, 1.89] for two parts
        limit = largest_expansion(down, self.substeps, kappa)
        return down, (1 - self._slack()) * limit * torch.tanh(raw[1])

    def _slack(self) -> float:
        """Relative error of a step that is rounded to the weights' type, with room to spare."""
        return 16 * torch.finfo(self.down.operator.weight.dtype).eps

    def forward(self, x: Tensor) -> Tensor:
        down, up = self._steps(1.0) if self.training else self.steps(tuple(x.shape[1:]))
        for field, step, parts, sign in (
            (self.down, down, self.substeps[0], -1),
            (self.up, up, self.substeps[1], 1),
        ):
            smoothness = field.smoothness(x)
            if not smoothness >= torch.finfo(x.dtype).tiny:
                x = x + 0 * smoothness  # zero weights, zero field; NaN must stay visible
                continue
            for _ in range(parts):
                x = x + field(x, sign * step / parts / smoothness)
        return x

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        certifiable(self)
        self._check()
        if self.prescribed is None and not torch.isfinite(self.raw).all():
            raise ValueError("the learned steps are NaN or infinite, so no bound holds")
        for field in (self.down, self.up):
            GradientField.lipschitz_bound(
                field, input_shape
            )  # raises for other fields, shapes, weights that are not finite
        kappa = SLOPE * self.conditioning(input_shape) * (1 - self._slack())
        return pair_factor(self.steps(input_shape), self.substeps, kappa) * (
            1 + self._slack() / 4 + ROUNDING
        )
