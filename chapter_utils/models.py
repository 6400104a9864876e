"""The networks of lessons 6 and 7: images (B, channels, height, width) -> logits (B, classes).

All are `Sequential`; `model[-1]` is the linear last layer. Weights are drawn from `seed`; the
global random state is left alone. Those with operators of orthonormal rows are to be trained with
`after_step=operators.restore_orthonormal_rows`.
"""

import math
from contextlib import contextmanager

import torch
from torch.nn import Flatten, Linear, PixelUnshuffle, ReLU, Sequential
from torch.nn.utils.parametrizations import spectral_norm

from .checks import need_one_of
from .expansive import SwitchingBlock
from .image_operators import ShiftOperator
from .layers import GradientField, NonExpansiveBlock, NonExpansiveLinear
from .operators import DenseOperator, Shape
from .plain_layers import ChannelsLast, ResidualBlock, Shift, UntiedBlock, ZeroPadLift

DIGIT = (1, 28, 28)
# The five ways to train of lesson 6 (Celledoni et al., 2210.02373), from free to learned steps.
REGIMES = {
    "unconstrained": "x + B relu(A x + b)",
    "naive": "half of it, A and B asked by a penalty to be orthogonal",
    "nonexpansive": "x - tau A^T relu(A x + b), step 1.9",
    "prescribed": "contractive and expansive steps 0.3 and 0.141",
    "flexible": "contractive and expansive steps, learned",
}
CERTIFIED = ("nonexpansive", "prescribed", "flexible")


def resnet(
    image_shape: Shape = DIGIT,
    classes: int = 10,
    width: int = 256,
    depth: int = 3,
    seed: int = 0,
) -> Sequential:
    """Plain residual network on the pixels: `depth` blocks x + B relu(A x + b) (lesson 7).

    A has `width` rows.
    """
    features = math.prod(image_shape)
    with seeded(seed):
        blocks = [
            ResidualBlock(
                Sequential(Linear(features, width), ReLU(), Linear(width, features, bias=False))
            )
            for _ in range(depth)
        ]
        return Sequential(Flatten(), *blocks, Linear(features, classes))


def spectral_resnet(seed: int = 0, **options) -> Sequential:
    """The same with every matrix spectrally normalised: its bound is about 2^depth (lesson 7).

    `options` are those of `resnet`. Miyato et al., 1802.05957.
    """
    model = resnet(seed=seed, **options)
    with seeded(seed):
        for module in [part for part in model.modules() if isinstance(part, Linear)]:
            spectral_norm(module)
    return model


def nonexpansive_net(
    image_shape: Shape = DIGIT,
    classes: int = 10,
    width: int = 64,
    depth: int = 12,
    c: float = 2.0,
    seed: int = 0,
) -> Sequential:
    """Non-expansive network on the pixels: `depth` blocks x - tau A^T relu(A x + b) (lesson 7).

    A has `width` orthonormal rows, at most as many as there are pixels; c = tau L.
    """
    features = math.prod(image_shape)
    with seeded(seed):
        blocks = [
            NonExpansiveBlock(GradientField(DenseOperator(features, width, orthonormal=True)), c)
            for _ in range(depth)
        ]
        return Sequential(Flatten(), *blocks, NonExpansiveLinear(features, classes))


def colour_net(
    image_shape: Shape = (3, 32, 32),
    classes: int = 10,
    channels: int = 256,
    width: int = 128,
    depth: int = 4,
    seed: int = 0,
) -> Sequential:
    """Non-expansive network for colour images: all its work is matrix products (lesson 7).

    Each 4 x 4 patch becomes a pixel of `channels` channels. `depth` blocks
    x - tau A^T relu(A x + b) follow, c = 2; A has `width` orthonormal rows and mixes the channels
    of every pixel. Before a block the channels move to the neighbouring pixels, before the next one
    back. At the end stands a `nonexpansive_net` with three blocks of 32 rows. Raises ValueError
    for sides not divisible by 4 and for too few channels.
    """
    _need_divisible_by_4(image_shape)
    numbers = image_shape[0] * 16  # in a patch
    layers = [PixelUnshuffle(4), ZeroPadLift(numbers, channels), ChannelsLast()]
    with seeded(seed):
        for number in range(depth):
            A = DenseOperator(channels, width, orthonormal=True)
            layers += [Shift((-1) ** number), NonExpansiveBlock(GradientField(A))]
    features = math.prod(image_shape) // numbers * channels
    return Sequential(*layers, *nonexpansive_net((features,), classes, 32, 3, seed=seed))


def regime_net(
    regime: str,
    image_shape: Shape = DIGIT,
    classes: int = 10,
    channels: int = 16,
    depth: int = 2,
    seed: int = 0,
) -> Sequential:
    """A network of one of the five `REGIMES`, of shift convolutions (lesson 6).

    Two stages of `depth` blocks, with `channels` and 4 `channels` channels. The non-expansive block
    has one linear map where the others have two, and the last layer is constrained only in the
    regimes of `CERTIFIED`, which are at most 1-Lipschitz up to rounding. "naive" needs
    `operators.orthogonality_penalty` in its loss. Raises ValueError for another regime, sides that
    are not divisible by 4, and fewer than 4 channels a colour.
    """
    need_one_of("regime", regime, REGIMES)
    colours, height, width = image_shape
    _need_divisible_by_4(image_shape)
    layers = [PixelUnshuffle(2), ZeroPadLift(4 * colours, channels)]
    with seeded(seed):
        layers += [_regime_block(regime, channels) for _ in range(depth)]
        layers.append(PixelUnshuffle(2))
        layers += [_regime_block(regime, 4 * channels) for _ in range(depth)]
        last = NonExpansiveLinear if regime in CERTIFIED else Linear
        return Sequential(*layers, Flatten(), last(channels * height * width // 4, classes))


def _need_divisible_by_4(image_shape):
    _, height, width = image_shape
    if height % 4 or width % 4:
        raise ValueError(f"image sides must be divisible by 4, got {height} x {width}")


def _regime_block(regime, channels):
    A, B = (ShiftOperator(channels, orthonormal=regime in CERTIFIED) for _ in range(2))
    if regime == "nonexpansive":
        return NonExpansiveBlock(GradientField(A), 1.9)
    if regime == "prescribed":
        return SwitchingBlock(A, B, (0.3, 0.141), (2, 2))
    if regime == "flexible":
        return SwitchingBlock(A, B, None, (2, 1))
    return UntiedBlock(A, B, 1.0 if regime == "unconstrained" else 0.5)


@contextmanager
def seeded(seed: int):
    """Draw from `seed` inside the block; the global random state comes back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield
