"""Certified accuracy that a laptop can train in a minute: ours beside deel-torchlip, in one run.

    python benchmarks/robustness.py [--budget 60 20] [--seeds 3] [--threads 2] [--quick]
    python benchmarks/robustness.py --ablation [--budget 20]
                            one ingredient of the recipe changed at a time, on 800 of the training
                            digits
    both with --results FILE: all numbers of all seeds as JSON, too

Trains on 4,000 MNIST digits, reads the 1,000 test digits once, at the end. l2 radii, pixels in
[0, 1]. Mean over the seeds. A budget is a number of steps: seconds divided by the step time on two
threads of an otherwise quiet machine (`QUIET`, in ms). So a busy machine changes the time, not the
table; the column "ms" is the fastest step seen in this run. "MB" is the largest resident size of
the process that trained the model, PyTorch included. `--quick` takes a twentieth of the steps and
one seed. All settings were chosen on 800 of the 4,000. For deel-torchlip:
pip install deel-torchlip (by its authors: 2006.06520).
"""

import argparse
import json
import math
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chapter_utils import attacks, certificates, data, models, muon, norms, operators, training
from files import replace_file

RADII = (0.1, 0.25, 0.5, 1.0, 1.58)
ATTACKED = (1.0, 1.58)
COLUMNS = (
    "clean",
    *(f"c {eps:g}" for eps in RADII),
    *(f"PGD {eps:g}" for eps in ATTACKED),
    "weights",
    "ms",
    "MB",
)
# Milliseconds a step: fastest of many, two threads of a 2-core Xeon with AVX-512.
QUIET = {"ours": 21.0, "deel": 13.2}


@dataclass(frozen=True)
class Recipe:
    """One non-expansive network x - tau A^T relu(A x + b) on the pixels and how it is trained."""

    pace: str = "ours"  # whose step time turns seconds into steps
    width: int = 64
    depth: int = 12
    step: float = 2.0
    margin: float = 2.5
    temperature: float = 0.2
    augment: Callable | None = training.random_affine
    optimiser: Callable = muon.Muon
    learning_rate: float = 0.03
    batch: int = 256

    def train(self, digits: data.ImageData, steps: int, seed: int, augment) -> nn.Module:
        model = models.nonexpansive_net(width=self.width, depth=self.depth, c=self.step, seed=seed)
        loss = partial(
            training.margin_cross_entropy, margin=self.margin, temperature=self.temperature
        )
        epochs = epochs_for(steps, len(digits.train_labels), self.batch)
        training.fit(
            model,
            digits.train_images,
            digits.train_labels,
            loss,
            epochs,
            self.batch,
            self.learning_rate,
            after_step=operators.restore_orthonormal_rows,
            augment=augment,
            optimiser=self.optimiser,
            seed=seed,
            progress=False,
        )
        return model

    certificate = staticmethod(certificates.certify)


@dataclass(frozen=True)
class Deel:
    """deel-torchlip's dense network.

    Orthonormalised matrices, sorted pairs, and a last layer whose rows have norm 1.
    """

    loss: str
    settings: tuple
    pace: str = "deel"
    width: int = 256
    depth: int = 4
    learning_rate: float = 2e-3
    batch: int = 128
    augment: Callable | None = training.random_affine

    def train(self, digits: data.ImageData, steps: int, seed: int, augment) -> nn.Module:
        from deel import torchlip

        rule = getattr(torchlip, self.loss)(*self.settings)

        def loss(logits, labels):
            plus_minus = 2.0 * F.one_hot(labels, 10) - 1
            return rule(logits, labels if self.loss == "TauCrossEntropyLoss" else plus_minus)

        with models.seeded(seed):
            model = self.network()
        epochs = epochs_for(steps, len(digits.train_labels), self.batch)
        training.fit(
            model,
            digits.train_images,
            digits.train_labels,
            loss,
            epochs,
            self.batch,
            self.learning_rate,
            augment=augment,
            seed=seed,
            progress=False,
        )
        return nn.Sequential(*map(exported, model))

    def network(self) -> nn.Sequential:
        from deel import torchlip

        stack: list[nn.Module] = [nn.Flatten()]
        features = 784
        for _ in range(self.depth):
            stack += [torchlip.SpectralLinear(features, self.width), torchlip.GroupSort2()]
            features = self.width
        last = torchlip.FrobeniusLinear(features, 10, disjoint_neurons=True)
        return nn.Sequential(*stack, last)

    @staticmethod
    def certificate(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Certified radii; the bound is the product of the true norms.

        Their matrices are orthonormal only up to the tolerance of an iteration.
        """
        with torch.no_grad():
            logits = model(images)
        hidden = [part.weight.detach() for part in model[:-1] if isinstance(part, nn.Linear)]
        bound = math.prod(norms.dense_norm_bound(weight) for weight in hidden)
        return certificates.certified_radius(logits, labels, bound, model[-1].weight.detach())


def exported(part: nn.Module) -> nn.Module:
    """A layer of deel-torchlip as one of torch's; others as they are."""
    return part.vanilla_export() if hasattr(part, "vanilla_export") else part


def epochs_for(steps: int, images: int, batch: int) -> int:
    return max(1, round(steps / math.ceil(images / batch)))


OURS = Recipe()
DEEL = {
    "deel-torchlip, temperature": Deel("TauCrossEntropyLoss", (2.0,)),
    "deel-torchlip, HKR": Deel("LseHKRMulticlassLoss", (0.99, 1.0, 1.0, 2.0)),
}
ABLATION = {
    "the recipe": OURS,
    "Adam instead of Muon": replace(OURS, optimiser=torch.optim.Adam, learning_rate=5e-3),
    "moves by whole pixels only": replace(OURS, augment=training.random_shift),
    "no augmentation": replace(OURS, augment=None),
    "3 blocks of 256 rows": replace(OURS, width=256, depth=3),
    "half the step, c = 1": replace(OURS, step=1.0),
    "margin 1.5 instead of 2.5": replace(OURS, margin=1.5),
    "temperature 1 instead of 0.2": replace(OURS, temperature=1.0),
}


def measure(
    contestant: Recipe | Deel, steps: int, seed: int, threads: int, validation: bool
) -> list[float]:
    """The numbers of one training, in a process of its own, in the order of `COLUMNS`."""
    torch.set_num_threads(threads)
    digits = data.load_images("mnist5k")
    if validation:
        digits = held_out(digits)
    ticks: list[float] = []

    def augment(images, generator):
        ticks.append(time.perf_counter())
        return contestant.augment(images, generator) if contestant.augment else images

    model = contestant.train(digits, steps, seed, augment)
    memory = peak_memory()
    model = model.eval().double()
    images = digits.test_images.double()
    labels = digits.test_labels
    with torch.no_grad():
        logits = model(images)
    radius = contestant.certificate(model, images, labels)
    standing = attacks.attacked_correct(model, images, labels, list(ATTACKED), steps=20, seed=seed)
    for eps, row in zip(ATTACKED, standing, strict=True):
        assert not ((radius > eps) & ~row).any(), "a certificate was broken"
    clean = (logits.argmax(1) == labels).double().mean().item()
    certified = [(radius > eps).double().mean().item() for eps in RADII]
    attacked = standing.double().mean(1).tolist()
    parameters = sum(p.numel() for p in model.parameters())
    fastest = min(b - a for a, b in pairwise(ticks))
    return [clean, *certified, *attacked, parameters, 1e3 * fastest, memory]


def held_out(digits: data.ImageData) -> data.ImageData:
    """A fifth of the training digits in the place of the test digits."""
    images = digits.train_images
    labels = digits.train_labels
    held = torch.arange(len(labels)) % 5 == 0  # sorted by class: every fifth is a fair sample
    return data.ImageData(images[~held], labels[~held], images[held], labels[held], digits.classes)


def peak_memory() -> float:
    """The largest resident size of this process so far, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


# ---- the whole table -----------------------------------------------------------------------------


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    seconds = "seconds on a quiet machine"
    add("--budget", type=float, nargs="+", default=[60.0, 20.0], help=seconds)
    add("--seeds", type=int, default=3)
    add("--threads", type=int, default=2)
    add("--quick", action="store_true")
    add("--ablation", action="store_true")
    add("--results", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if options.results and not options.results.parent.is_dir():
        parser.error(f"argument --results: the folder {options.results.parent} does not exist")
    if options.seeds < 1 or options.threads < 1 or min(options.budget) <= 0:
        parser.error("--seeds and --threads must be at least 1, --budget positive")
    return options


def deel_is_installed() -> bool:
    try:
        import deel.torchlip  # noqa: F401
    except ImportError:
        return False
    return True


def contestants_of(options: argparse.Namespace) -> dict[str, tuple[Recipe | Deel, float]]:
    """By name, who takes part, and for how many seconds."""
    named: dict[str, Recipe | Deel] = {"ours": OURS}
    if options.ablation:
        named = dict(ABLATION)
    elif deel_is_installed():
        named |= DEEL
    else:
        print("deel-torchlip is not installed and left out: pip install deel-torchlip")
    return {
        f"{name}, {seconds:g} s": (entry, seconds)
        for seconds in options.budget
        for name, entry in named.items()
    }


def measured(
    contestant: Recipe | Deel, steps: int, seeds: int, options: argparse.Namespace
) -> list[list[float]]:
    """The numbers of each seed; each training has a process of its own, for its memory."""
    rows = []
    for seed in range(seeds):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            task = (contestant, steps, seed, options.threads, options.ablation)
            rows.append(process.submit(measure, *task).result())
    return rows


def write(rows: list[dict], options: argparse.Namespace) -> None:
    content = {
        "torch": torch.__version__,
        "threads": options.threads,
        "validation": options.ablation,
        "rows": rows,
    }
    replace_file(options.results, (json.dumps(content, indent=1) + "\n").encode())


def print_row(name: str, steps: int, rows: list[list[float]]) -> None:
    *rates, weights, ms, memory = torch.tensor(rows, dtype=torch.float64).mean(0).tolist()
    cells = "".join(f"{rate:9.3f}" for rate in rates)
    print(f"{name:36s}{steps:6d}{cells}{weights:10.0f}{ms:7.1f}{memory:6.0f}", flush=True)


def main() -> None:
    options = options_of()
    seeds = 1 if options.quick else options.seeds
    part = 0.05 if options.quick else 1.0
    contestants = contestants_of(options)
    print(f"mean of {seeds} seeds, {options.threads} threads, torch {torch.__version__};", end=" ")
    print(f"certified at {RADII}, PGD-20 at {ATTACKED}")
    *heads, weights, ms, memory = COLUMNS
    cells = "".join(f"{head:>9s}" for head in heads)
    print(f"{'':36s}{'steps':>6s}{cells}{weights:>10s}{ms:>7s}{memory:>6s}")
    kept = []
    for name, (contestant, seconds) in contestants.items():
        steps = max(1, round(part * seconds * 1e3 / QUIET[contestant.pace]))
        rows = measured(contestant, steps, seeds, options)
        each = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        kept.append({"name": name, "steps": steps, "seeds": each})
        if options.results:
            write(kept, options)
        print_row(name, steps, rows)


if __name__ == "__main__":
    main()
