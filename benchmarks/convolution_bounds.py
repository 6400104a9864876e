"""Guaranteed bounds of convolutions beside the truth, the largest singular value of the dense matrix.

    python benchmarks/convolution_bounds.py [--quick] [--threads 2] [--seed 0]

600 random convolutions: strides, paddings, dilations, groups, zero and circular padding, kernels and images of all shapes, weights
of several kinds and sizes. And all kernels of a non-expansive and of an ordinary network, trained with three seeds. The excess is
the bound over the truth, minus 1. Ends with 1 if a bound is below the truth, or those of trained kernels are more than 2 % above
it on average. `--threads` is the number of processes, each with one thread; the numbers do not depend on it.
"""

import argparse
import multiprocessing
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial

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
    """Bound of a convolution over the norm of its dense matrix, minus 1; None if that is 0, as no tap meets the image."""
    truth = torch.linalg.matrix_norm(norms.dense_matrix(operator, shape), 2).item()
    stated = (
        operator.norm_bound(shape)
        if hasattr(operator, "norm_bound")
        else certificates.lipschitz_bound(operator, shape)
    )
    return stated / truth - 1 if truth else None


def random_excesses(number: int, seed: int) -> list[float | None]:
    """Of convolutions of all shapes with weights of several kinds."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Using padding='same'")
    draw, values = torch.Generator().manual_seed(seed), []

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=draw))

    def pair(low: int, high: int) -> tuple[int, int]:
        return pick(low, high), pick(low, high)

    while len(values) < number:
        groups, stride, padding, mode = (
            pick(1, 3),
            pair(1, 4),
            pair(0, 5),
            ("zeros", "circular")[pick(0, 1)],
        )
        if pick(0, 1):
            stride, padding = (1, 1), ("same", "valid", padding, padding)[pick(0, 3)]
        shape = (groups * pick(1, 3), *pair(2, 11))
        conv = nn.Conv2d(
            shape[0],
            groups * pick(1, 3),
            pair(1, 5),
            stride,
            padding,
            pair(1, 3),
            groups,
            False,
            mode,
        ).double()
        normal, kept = (torch.randn(conv.weight.shape, generator=draw).double() for _ in range(2))
        weight = (normal, normal, normal * (kept > 0.5), torch.ones_like(normal))[pick(0, 3)]
        conv.weight.detach().copy_(weight * 10.0 ** pick(-20, 20))
        try:
            values.append(excess(conv, shape))
        except (
            RuntimeError
        ):  # the image is smaller than the kernel or than the circular padding: another one
            continue
    return values


def trained_excesses(epochs: int, seed: int) -> list[tuple[int, float | None]]:
    """(Side of the image, excess) of all kernels of a non-expansive and of an ordinary network, trained on digits."""
    torch.set_num_threads(1)
    digits, values = data.load_images("mnist5k"), []
    with models.seeded(seed):
        plain = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(8, 8, 5, padding=2, bias=False), nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1, stride=2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(784, 10),
        )  # fmt: skip
    loss = partial(training.margin_cross_entropy, margin=1.0, temperature=0.25)
    for model in (nonexpansive_cnn(channels=8, seed=seed), plain):
        restore = operators.restore_orthonormal_rows
        training.fit(
            model,
            digits.train_images,
            digits.train_labels,
            loss,
            epochs,
            after_step=restore,
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


def bounds_table(groups: dict[str, list[float | None]]) -> dict[str, tuple[int, float]]:
    """Prints it; number of bounds below the truth and mean excess of each group."""
    print(
        f"\n{'bounds of convolutions':40s}{'kernels':>10s}{'norm 0':>8s}{'below truth':>12s}{'mean excess':>25s}{'largest':>10s}"
    )
    found = {}
    for name, values in groups.items():
        known = [value for value in values if value is not None]
        below, mean = sum(not value >= -1e-13 for value in known), sum(known) / len(known)
        print(
            f"{name:40s}{len(values):10d}{len(values) - len(known):8d}{below:12d}{mean:25.3%}{max(known):10.2%}"
        )
        found[name] = below, mean
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a sixth of the convolutions, one training of one epoch",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    number, seeds, epochs, seed = (
        (100, 1, 1, options.seed) if options.quick else (600, 3, 4, options.seed)
    )
    print(f"seed {seed}, torch {torch.__version__}")
    with ProcessPoolExecutor(options.threads, multiprocessing.get_context("spawn")) as pool:
        parts = [pool.submit(random_excesses, number // 4, 4 * seed + k) for k in range(4)]
        trainings = [pool.submit(trained_excesses, epochs, seed + k) for k in range(seeds)]
        drawn = [value for part in parts for value in part.result()]
        trained = [value for part in trainings for value in part.result()]
    groups = {"random": drawn, "trained": [value for _, value in trained]}
    groups |= {
        f"trained, on {n} x {n}": [value for m, value in trained if m == n] for n, _ in trained
    }
    found = bounds_table(groups)
    return int(found["random"][0] + found["trained"][0] > 0 or not found["trained"][1] <= 0.02)


if __name__ == "__main__":
    sys.exit(main())
