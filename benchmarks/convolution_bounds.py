"""Guaranteed bounds of convolutions beside the truth, the largest singular value of the matrix.

    python benchmarks/convolution_bounds.py [--quick] [--threads 2] [--seed 0]

600 random convolutions: strides, paddings, dilations, groups, zero and circular padding, kernels
and images of all shapes, weights of several kinds and sizes. And all kernels of a non-expansive and
of an ordinary network, trained with three seeds. The excess is the bound over the truth, minus 1.
Ends with 1 if a bound is below the truth, or those of trained kernels are more than 2 % above it on
average. `--threads` is the number of processes, each with one thread; the numbers do not depend on
it.
"""

import argparse
import multiprocessing
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import torch
from soundness import nonexpansive_cnn
from torch import nn

from chapter_utils import (
    certificates,
    data,
    image_operators,
    layers,
    models,
    norms,
    operators,
    training,
)


@torch.no_grad()
def excess(operator: nn.Module, shape: tuple[int, ...]) -> float | None:
    """Bound of a convolution over the norm of its dense matrix, minus 1.

    None if that norm is 0, as no tap meets the image.
    """
    truth = torch.linalg.matrix_norm(norms.dense_matrix(operator, shape), 2).item()
    if hasattr(operator, "norm_bound"):
        stated = operator.norm_bound(shape)
    else:
        stated = certificates.lipschitz_bound(operator, shape)
    return stated / truth - 1 if truth else None


class Dice:
    """Whole numbers from `low` to `high`, both included."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def pick(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return self.pick(low, high), self.pick(low, high)


def random_convolution(dice: Dice) -> tuple[nn.Conv2d, tuple[int, ...]]:
    """A convolution with weights of one of several kinds and sizes, and the shape of its images."""
    groups = dice.pick(1, 3)
    stride = dice.pair(1, 4)
    padding = dice.pair(0, 5)
    mode = ("zeros", "circular")[dice.pick(0, 1)]
    if dice.pick(0, 1):
        stride = (1, 1)
        padding = ("same", "valid", padding, padding)[dice.pick(0, 3)]
    shape = (groups * dice.pick(1, 3), *dice.pair(2, 11))
    conv = nn.Conv2d(
        in_channels=shape[0],
        out_channels=groups * dice.pick(1, 3),
        kernel_size=dice.pair(1, 5),
        stride=stride,
        padding=padding,
        dilation=dice.pair(1, 3),
        groups=groups,
        bias=False,
        padding_mode=mode,
    ).double()
    normal = torch.randn(conv.weight.shape, generator=dice.generator).double()
    kept = torch.randn(conv.weight.shape, generator=dice.generator).double()
    sparse = normal * (kept > 0.5)
    weight = (normal, normal, sparse, torch.ones_like(normal))[dice.pick(0, 3)]
    conv.weight.detach().copy_(weight * 10.0 ** dice.pick(-20, 20))
    return conv, shape


def random_excesses(number: int, seed: int) -> list[float | None]:
    """Of convolutions of all shapes with weights of several kinds."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Using padding='same'")
    dice = Dice(seed)
    values: list[float | None] = []
    while len(values) < number:
        conv, shape = random_convolution(dice)
        try:
            values.append(excess(conv, shape))
        except RuntimeError:
            # The image is smaller than the kernel or than the circular padding: another one.
            continue
    return values


def plain_cnn(seed: int) -> nn.Sequential:
    with models.seeded(seed):
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 8, 5, padding=2, bias=False),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1, stride=2, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(784, 10),
        )


def trained_excesses(epochs: int, seed: int) -> list[tuple[int, float | None]]:
    """(Side of the image, excess) of all kernels of two networks, trained on digits.

    One network is non-expansive, the other one ordinary.
    """
    torch.set_num_threads(1)
    digits = data.load_images("mnist5k")
    values = []
    loss = partial(training.margin_cross_entropy, margin=1.0, temperature=0.25)
    plain = plain_cnn(seed)
    for model in (nonexpansive_cnn(channels=8, seed=seed), plain):
        training.fit(
            model,
            digits.train_images,
            digits.train_labels,
            loss,
            epochs,
            after_step=operators.restore_orthonormal_rows,
            seed=seed,
            progress=False,
        )
        shape = digits.train_images.shape[1:]
        for layer in model.double():
            kernel = layer.field.operator if isinstance(layer, layers.NonExpansiveBlock) else layer
            if isinstance(kernel, (nn.Conv2d, image_operators.ConvOperator)):
                values.append((shape[1], excess(kernel, shape)))
            shape = certificates.output_shape(layer, shape)
    return values


class Found(NamedTuple):
    below: int  # bounds below the truth
    mean: float  # excess


def bounds_table(groups: dict[str, list[float | None]]) -> dict[str, Found]:
    """Prints it; what is found in each group."""
    heads = (
        f"{'kernels':>10s}{'norm 0':>8s}{'below truth':>12s}{'mean excess':>25s}{'largest':>10s}"
    )
    print(f"\n{'bounds of convolutions':40s}{heads}")
    found = {}
    for name, values in groups.items():
        known = [value for value in values if value is not None]
        below = sum(not value >= -1e-13 for value in known)
        mean = sum(known) / len(known)
        counts = f"{len(values):10d}{len(values) - len(known):8d}{below:12d}"
        print(f"{name:40s}{counts}{mean:25.3%}{max(known):10.2%}")
        found[name] = Found(below, mean)
    return found


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick = "a sixth of the convolutions, one training of one epoch"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    return options


def main() -> int:
    options = options_of()
    seed = options.seed
    number = 100 if options.quick else 600
    trainings = 1 if options.quick else 3
    epochs = 1 if options.quick else 4
    print(f"seed {seed}, torch {torch.__version__}")
    with ProcessPoolExecutor(options.threads, multiprocessing.get_context("spawn")) as pool:
        parts = [pool.submit(random_excesses, number // 4, 4 * seed + k) for k in range(4)]
        networks = [pool.submit(trained_excesses, epochs, seed + k) for k in range(trainings)]
        drawn = [value for part in parts for value in part.result()]
        trained = [pair for part in networks for pair in part.result()]
    groups = {"random": drawn, "trained": [value for _, value in trained]}
    for side, value in trained:
        groups.setdefault(f"trained, on {side} x {side}", []).append(value)
    found = bounds_table(groups)
    below = found["random"].below + found["trained"].below
    return int(below > 0 or not found["trained"].mean <= 0.02)


if __name__ == "__main__":
    sys.exit(main())
