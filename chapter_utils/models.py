"""The classifiers compared in lesson 7, and a convolutional one: (B, channels, height, width) -> logits (B, classes), all `nn.Sequential`.

`model[:-1]` computes the features, `model[-1]` is the linear last layer. Weights are drawn from `seed`; the global
random state is left alone.
"""

import math
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from .layers import GradientField, NonExpansiveBlock, NonExpansiveLinear, ResidualBlock, ZeroPadLift
from .operators import ConvOperator, DenseOperator


def resnet(
    image_shape=(1, 28, 28), classes: int = 10, width: int = 256, depth: int = 3, seed: int = 0
) -> nn.Sequential:
    """Plain residual network on the pixels: x + B relu(A x + b) in each of `depth` blocks, `width` hidden units."""
    features = math.prod(image_shape)
    with seeded(seed):
        blocks = [
            ResidualBlock(
                nn.Sequential(
                    nn.Linear(features, width), nn.ReLU(), nn.Linear(width, features, bias=False)
                )
            )
            for _ in range(depth)
        ]
        return nn.Sequential(nn.Flatten(), *blocks, nn.Linear(features, classes))


def spectral_resnet(
    image_shape=(1, 28, 28), classes: int = 10, width: int = 256, depth: int = 3, seed: int = 0
) -> nn.Sequential:
    """The same network with every matrix spectrally normalised (Miyato et al., 1802.05957): its bound is about 2^depth."""
    model = resnet(image_shape, classes, width, depth, seed)
    with seeded(seed):
        for module in list(model.modules()):
            if isinstance(module, nn.Linear):
                spectral_norm(module)
    return model


def nonexpansive_net(
    image_shape=(1, 28, 28),
    classes: int = 10,
    width: int = 64,
    depth: int = 12,
    step: float = 2.0,
    seed: int = 0,
) -> nn.Sequential:
    """Non-expansive network on the pixels: x - tau A^T relu(A x + b) in each block, A with `width` orthonormal rows.

    Train it with `after_step=operators.restore_orthonormal_rows`. Needs `width` <= number of pixels.
    """
    features = math.prod(image_shape)
    with seeded(seed):
        fields = [
            GradientField(DenseOperator(features, width, orthonormal=True)) for _ in range(depth)
        ]
        blocks = [NonExpansiveBlock(field, step) for field in fields]
        return nn.Sequential(nn.Flatten(), *blocks, NonExpansiveLinear(features, classes))


def nonexpansive_cnn(
    image_shape=(1, 28, 28),
    classes: int = 10,
    channels: int = 16,
    depth: int = 2,
    step: float = 2.0,
    seed: int = 0,
) -> nn.Sequential:
    """Non-expansive convolutional network: two stages, each a 2 x 2 pixel-to-channel rearrangement (an isometry), a zero
    lift and `depth` convolution blocks. The image sides must be divisible by 4."""
    colours, height, width = image_shape
    if height % 4 or width % 4:
        raise ValueError(f"image sides must be divisible by 4, got {height} x {width}")
    with seeded(seed):
        layers: list[nn.Module] = []
        wide = colours
        for stage in (1, 2):
            narrow, wide = 4 * wide, max(4 * wide, stage * channels)
            layers += [nn.PixelUnshuffle(2), ZeroPadLift(narrow, wide)]
            layers += [
                NonExpansiveBlock(GradientField(ConvOperator(wide, wide)), step)
                for _ in range(depth)
            ]
        features = wide * (height // 4) * (width // 4)
        return nn.Sequential(*layers, nn.Flatten(), NonExpansiveLinear(features, classes))


@contextmanager
def seeded(seed: int):
    """Draw from `seed` inside the block; the global random state comes back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield
