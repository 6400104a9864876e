"""Five ways to train a residual network, from no constraint to learned expansive steps (lesson 6; Celledoni et al., 2210.02373).

All five use the same linear maps, shift convolutions. The non-expansive block has one of them where the others have two, and
the last layer is constrained in the regimes of `CERTIFIED` only. Images in [0, 1] of shape (B, colours, height, width), sides
divisible by 4, -> logits (B, classes).
"""

import torch
from torch import Tensor, nn

from .layers import GradientField, NonExpansiveBlock, NonExpansiveLinear, ZeroPadLift
from .lipschitz import ROUNDING, need, output_shape
from .models import seeded
from .operators import LinearOperator, ShiftOperator
from .switching import SwitchingBlock

REGIMES = {
    "unconstrained": "x + B relu(A x + b)",
    "naive": "half of it, A and B asked by a penalty to be orthogonal",
    "nonexpansive": "x - tau A^T relu(A x + b), step 1.9",
    "prescribed": "contractive and expansive steps 0.3 and 0.141",
    "flexible": "contractive and expansive steps, learned",
}
CERTIFIED = ("nonexpansive", "prescribed", "flexible")


class UntiedBlock(nn.Module):
    """keep * (x + B relu(A x + b)) with independent linear maps A and B; its bound is keep * (1 + |A| |B|) (lesson 6)."""

    def __init__(self, inner: LinearOperator, outer: LinearOperator, keep: float = 1.0):
        super().__init__()
        self.inner, self.outer, self.keep = inner, outer, keep
        self.bias = nn.Parameter(torch.zeros(inner.outputs))

    def forward(self, x: Tensor) -> Tensor:
        change = self.outer(torch.relu(self.inner(x, self.bias)))
        need(change.shape == x.shape, self, x.shape[1:])  # or x would be copied
        return self.keep * (x + change)

    def lipschitz_bound(self, input_shape: tuple[int, ...]) -> float:
        output_shape(self, input_shape)  # raises if the shapes do not fit
        norms = self.inner.norm_bound(input_shape) * self.outer.norm_bound(
            output_shape(self.inner, input_shape)
        )
        return abs(self.keep) * (1 + norms) * (1 + ROUNDING)


def regime_net(
    regime: str,
    image_shape=(1, 28, 28),
    classes: int = 10,
    channels: int = 16,
    depth: int = 2,
    seed: int = 0,
) -> nn.Sequential:
    """A network of one of the five `REGIMES`: two stages of `depth` blocks, with `channels` and 4 `channels` channels.

    Those in `CERTIFIED` are to be trained with `after_step=operators.restore_orthonormal_rows`; they have a
    `lipschitz_bound` of at most 1 up to rounding. "naive" needs `orthogonality_penalty` in its loss.
    """
    if regime not in REGIMES:
        raise ValueError(f"regime must be one of {', '.join(REGIMES)}, got {regime!r}")
    colours, height, width = image_shape
    if height % 4 or width % 4:
        raise ValueError(f"image sides must be divisible by 4, got {height} x {width}")
    if channels < 4 * colours:
        raise ValueError(
            f"at least {4 * colours} channels are needed for {colours} colours, got {channels}"
        )

    def block(wide: int) -> nn.Module:
        a, b = (ShiftOperator(wide, orthonormal=regime in CERTIFIED) for _ in range(2))
        if regime == "nonexpansive":
            return NonExpansiveBlock(GradientField(a), 1.9)
        if regime == "prescribed":
            return SwitchingBlock(a, b, (0.3, 0.141), (2, 2))
        if regime == "flexible":
            return SwitchingBlock(a, b, None, (2, 1))
        return UntiedBlock(a, b, 1.0 if regime == "unconstrained" else 0.5)

    with seeded(seed):
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), ZeroPadLift(4 * colours, channels)]
        layers += [block(channels) for _ in range(depth)]
        layers += [nn.PixelUnshuffle(2), *(block(4 * channels) for _ in range(depth)), nn.Flatten()]
        features = channels * height * width // 4
        head = NonExpansiveLinear if regime in CERTIFIED else nn.Linear
        return nn.Sequential(*layers, head(features, classes))


def orthogonality_penalty(model: nn.Module) -> Tensor:
    """Sum over all dense and shift operators of |W^T W - I|^2 (Frobenius): zero exactly if their columns are orthonormal (lesson 6).

    Raises ValueError if the model holds none, or a convolution, whose kernel would have to be judged otherwise.
    """
    terms = []
    for module in model.modules():
        if isinstance(module, LinearOperator):
            weight = module.weight
            if weight.ndim != 2:
                raise ValueError(
                    f"the penalty is for matrices; {type(module).__name__} has a kernel of shape {tuple(weight.shape)}"
                )
            terms.append(
                (
                    weight.mT @ weight
                    - torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
                )
                .square()
                .sum()
            )
    if not terms:
        raise ValueError("the model holds no linear operator to be made orthogonal")
    return torch.stack(terms).sum()
