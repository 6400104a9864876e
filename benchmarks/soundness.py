"""A hunt for broken certificates: every family of networks against strong attacks.

    python benchmarks/soundness.py [--quick | --broad] [--families NAME ...] [--threads 2]
                                   [--seed 0] [--results FILE]

The certificate is `certificates.certify`. A pair is one certified image and one attack on the
network in float64 or in float32. It is a violation if the attack finds a point nearer than the
certified radius where the network in float64 errs. Distances are computed in float64, ties and NaN
count as errors, and every error found is moved towards the image as far as it stays one. Where the
same weights err in float32 only ("f32 only") no promise is broken, as the certificate is about
float64; but the lead in float64 must be within what `certificates.rounding_bound` allows for
float32, or it counts as a violation, too. Attacks may leave [0, 1], where the certificate holds as
well: PGD-200 with restarts and both losses in 0.9999 times the radius of each image, and foolbox's
searches for the nearest error. "tightest" and "median": distance of the nearest error found over
the certified radius. Where it is close to 1, attack and certificate leave nothing between them.

Weights: trained; random; "scaled": trained, then each tensor times a number from 1e-3 to 1e3;
"spiked": trained, then to each added a matrix of rank one and three times the norm; "tiny", in
float64 only: trained, then the last layer and half of the matrices times 1e-170, whose square is 0.
They are changed after an evaluation, so a norm kept from before would show. Where they are not the
trained ones the labels are the network's own predictions. The controls must find violations: radii
enlarged, norms from one step of power iteration, norms kept from before the change of the weights.

Ends with 1 if a certificate is broken, a control finds nothing, or fewer than 100,000 pairs were
tried. Needs foolbox. `--threads` is the number of networks hunted at the same time, each with one
thread; the numbers do not depend on it.
"""

import argparse
import copy
import json
import math
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import foolbox
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from chapter_utils import (
    attacks,
    certificates,
    data,
    expansive,
    image_operators,
    layers,
    models,
    norms,
    operators,
    plain_layers,
    training,
)
from files import replace_file


def nonexpansive_cnn(
    image_shape: tuple[int, ...] = (1, 28, 28),
    classes: int = 10,
    channels: int = 16,
    depth: int = 2,
    c: float = 2.0,
    seed: int = 0,
) -> nn.Sequential:
    """Non-expansive convolutional network for images whose sides are divisible by 4.

    Two stages, each a 2 x 2 pixel-to-channel rearrangement (an isometry), a zero lift and `depth`
    convolution blocks. Raises ValueError for other sides.
    """
    colours, height, width = image_shape
    if height % 4 or width % 4:
        raise ValueError(f"image sides must be divisible by 4, got {height} x {width}")
    stack: list[nn.Module] = []
    wide = colours
    with models.seeded(seed):
        for stage in (1, 2):
            narrow = 4 * wide
            wide = max(narrow, stage * channels)
            stack += [nn.PixelUnshuffle(2), plain_layers.ZeroPadLift(narrow, wide)]
            for _ in range(depth):
                operator = image_operators.ConvOperator(wide, wide)
                stack.append(layers.NonExpansiveBlock(layers.GradientField(operator), c))
        last = layers.NonExpansiveLinear(wide * (height // 4) * (width // 4), classes)
        return nn.Sequential(*stack, nn.Flatten(), last)


def plain_cnn(image_shape: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """What an ordinary network is made of: convolutions, batch normalisation, pooling."""
    with models.seeded(seed):
        return nn.Sequential(
            plain_layers.Normalization([0.5], [0.4]),
            nn.Conv2d(image_shape[0], 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Tanh(),
            nn.MaxPool2d(2),
            plain_layers.ResidualBlock(
                nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular"), nn.GELU())
            ),
            nn.AvgPool2d(2),
            nn.Dropout(0.1),
            nn.Flatten(),
            nn.Linear(6 * image_shape[1] * image_shape[2] // 16, 10),
        )


def every_activation(image_shape: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    activations = (
        nn.ELU(1.5),
        nn.SiLU(),
        nn.Mish(),
        nn.Softplus(threshold=40),
        nn.LeakyReLU(0.2),
        nn.Hardtanh(-2.0, 2.0),
        nn.Sigmoid(),
        nn.Softmax(1),
    )
    features = math.prod(image_shape)
    stack: list[nn.Module] = [nn.Flatten()]
    with models.seeded(seed):
        for activation in activations:
            stack += [nn.Linear(features, 24), activation]
            features = 24
        return nn.Sequential(*stack, nn.Linear(24, 10))


def other_blocks(image_shape: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """Blocks with other activations and methods than those of the models, and pooling."""
    colours, height, width = image_shape
    methods = (("tanh", "euler"), ("softplus", "heun"), ("sigmoid", "ssprk3"), ("relu", "rk4"))
    stack: list[nn.Module] = [plain_layers.ZeroPadLift(colours, 6)]
    with models.seeded(seed):
        for activation, method in methods:
            field = layers.GradientField(image_operators.ConvOperator(6, 6), activation)
            stack.append(layers.NonExpansiveBlock(field, 1.5, method))
        stack += [plain_layers.ScaledAvgPool2d(2), nn.Flatten()]
        last = layers.NonExpansiveLinear(6 * height * width // 4, 10)
        return nn.Sequential(*stack, last)


def one_dimensional(image_shape: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """The image as four signals: what students of sound or of time series bring."""
    with models.seeded(seed):
        return nn.Sequential(
            nn.Flatten(),
            nn.Unflatten(1, (4, -1)),
            nn.Conv1d(4, 6, 5, padding=2),
            nn.BatchNorm1d(6),
            nn.PReLU(6),
            nn.MaxPool1d(2),
            nn.Conv1d(6, 6, 3, padding=2, dilation=2, groups=2, padding_mode="circular"),
            nn.ReLU(),
            nn.AvgPool1d(3, 2, padding=1),
            nn.ConvTranspose1d(6, 4, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Dropout1d(0.1),
            nn.AdaptiveAvgPool1d(7),
            nn.Flatten(),
            nn.Linear(28, 10),
        )


def down_and_up(image_shape: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """Every layer that makes images smaller or larger, and those that move pixels."""
    with models.seeded(seed):
        return nn.Sequential(
            nn.ZeroPad2d((1, 0, 0, 1)),
            nn.Conv2d(image_shape[0], 8, 3, stride=2),
            nn.ReLU6(),
            nn.ChannelShuffle(2),
            nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1),
            nn.MaxPool2d(3, 2, padding=1),
            nn.Dropout2d(0.1),
            nn.PixelShuffle(2),
            nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular", stride=2),
            nn.SELU(),
            nn.Upsample(scale_factor=2),
            nn.AvgPool2d(3, 2, padding=1),
            nn.AdaptiveAvgPool2d(4),
            nn.CELU(0.7),
            nn.Flatten(),
            nn.Linear(64, 10),
        )


def unusual_convolutions(image_shape: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """Kernels larger than the image, strides that do not divide it, groups, single pixels."""
    with models.seeded(seed):
        return nn.Sequential(
            nn.Conv2d(image_shape[0], 6, 5, stride=3, padding=2),
            nn.Tanh(),
            nn.Conv2d(6, 6, 5, padding=2, groups=2),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, stride=3, padding=1, padding_mode="circular"),
            nn.Conv2d(8, 12, 1, stride=2),
            nn.Flatten(),
            nn.Linear(12, 10),
        )


def more_activations(
    image_shape: tuple[int, ...], activations: tuple[nn.Module, ...], seed: int = 0
) -> nn.Sequential:
    """Few at a time: the bound of a deep chain is too far from the truth to be broken."""
    features = math.prod(image_shape)
    stack: list[nn.Module] = [nn.Flatten()]
    with models.seeded(seed):
        for activation in activations:
            stack += [nn.Linear(features, 24), copy.deepcopy(activation)]
            features = 24
        return nn.Sequential(*stack, nn.Linear(24, 10))


class Rolling(operators.LinearOperator):
    """A student's operator: x -> sum_k w_k x, moved by k places around the circle."""

    def __init__(self, features: int, taps: int = 5):
        super().__init__()
        self.outputs = features
        self.weight = nn.Parameter(torch.randn(taps) / taps)

    def check(self, input_shape: tuple[int, ...]) -> None:
        if tuple(input_shape) != (self.outputs,):
            raise ValueError(f"{self.outputs} features are needed, got {tuple(input_shape)}")

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        moved = sum(w * x.roll(k, 1) for k, w in enumerate(self.weight))
        return moved if bias is None else moved + bias

    def adjoint(self, y, input_shape=(), tau=None) -> Tensor:
        return sum(w * y.roll(-k, 1) for k, w in enumerate(operators.scaled(self.weight, tau)))

    def norm_of(self, weight: Tensor, input_shape: tuple[int, ...]) -> float:
        return weight.double().abs().sum().item() * (1 + 1e-12)

    def smallest_of(self, weight: Tensor, input_shape: tuple[int, ...]) -> float:
        return 0.0


@certificates.lipschitz_bound.register(Rolling)
def rolling(A: Rolling, shape: tuple[int, ...]) -> certificates.Bound:
    norm = A.norm_bound(shape)
    return certificates.Bound(norm, certificates.sums(len(A.weight) + 3, A.outputs, lambda: norm))


class MaxMin(nn.Module):
    """A student's activation: every two entries in order."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], 1)


@certificates.lipschitz_bound.register(MaxMin)
def max_min(module: MaxMin, shape: tuple[int, ...]) -> certificates.Bound:
    return certificates.Bound(1.0, certificates.exact)


class Residual(plain_layers.ResidualBlock):
    """A student's class that only has a constructor of its own."""

    def __init__(self, features: int):
        branch = nn.Sequential(nn.Linear(features, 16), nn.ELU(), nn.Linear(16, features))
        super().__init__(branch)


def own_layers(image_shape: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    features = math.prod(image_shape)
    with models.seeded(seed):
        return nn.Sequential(
            nn.Flatten(),
            layers.NonExpansiveBlock(layers.GradientField(Rolling(features))),
            MaxMin(),
            layers.NonExpansiveBlock(layers.GradientField(Rolling(features), "tanh"), 1.5, "heun"),
            plain_layers.UntiedBlock(
                Rolling(features), operators.DenseOperator(features, features)
            ),
            MaxMin(),
            Residual(features),
            nn.Linear(features, 10),
        )


def normalised_weights(image_shape: tuple[int, ...], seed: int = 0) -> nn.Sequential:
    """Parametrised weights, one block that travels for a time, learned switching."""
    features = math.prod(image_shape)
    with models.seeded(seed):
        inner = operators.DenseOperator(32, 32, orthonormal=True)
        outer = operators.DenseOperator(32, 32, orthonormal=True)
        field = layers.GradientField(operators.DenseOperator(32, 24), "softplus")
        return nn.Sequential(
            nn.Flatten(),
            parametrizations.spectral_norm(nn.Linear(features, 32)),
            expansive.SwitchingBlock(inner, outer),
            layers.NonExpansiveBlock(field, method="rk4", time_span=2.0),
            parametrizations.orthogonal(nn.Linear(32, 32)),
            nn.Hardtanh(),
            nn.Linear(32, 10),
        )


SHAPE = (1, 12, 12)  # the digits, averaged
FAMILIES = {
    "linear": partial(models.resnet, depth=0),  # its certificate is the exact distance
    "resnet": partial(models.resnet, width=32),
    "colour_net": partial(models.colour_net, models.DIGIT, channels=32, width=16, depth=4),
    "spectral_resnet": partial(models.spectral_resnet, width=32),
    "nonexpansive_net": partial(models.nonexpansive_net, width=32, depth=3),
    "nonexpansive_net, deep": partial(models.nonexpansive_net, width=32),
    "nonexpansive_cnn": partial(nonexpansive_cnn, channels=8, depth=1),
    "plain_cnn": plain_cnn,
    "every activation": every_activation,
    "other blocks": other_blocks,
    "one-dimensional": one_dimensional,
    "down and up": down_and_up,
    "unusual convolutions": unusual_convolutions,
    "Hardswish, PReLU": partial(more_activations, activations=(nn.Hardswish(), nn.PReLU())),
    "SELU, Softsign": partial(more_activations, activations=(nn.SELU(), nn.Softsign())),
    "CELU, Tanhshrink": partial(more_activations, activations=(nn.CELU(0.7), nn.Tanhshrink())),
    "GELU, ReLU6": partial(more_activations, activations=(nn.GELU("tanh"), nn.ReLU6())),
    "LogSigmoid, Hardsigmoid": partial(
        more_activations, activations=(nn.LogSigmoid(), nn.Hardsigmoid())
    ),
    "own layers": own_layers,
    "normalised weights": normalised_weights,
    **{
        f"regime {name}": partial(models.regime_net, name, channels=8, depth=1)
        for name in models.REGIMES
    },
}
KINDS = ("trained", "random", "scaled", "spiked", "tiny")
CONTROLS = {  # name: (family, weights, radii times, norms taken from)
    "radii x 1.001": ("linear", "trained", 1.001, None),
    "radii x 1.1": ("nonexpansive_net", "trained", 1.1, None),
    "radii x 2": ("regime nonexpansive", "trained", 2.0, None),
    "norms too small": ("nonexpansive_net, deep", "spiked", 1.0, "power iteration"),
    "norms from before": ("nonexpansive_net", "spiked", 1.0, "before"),
}
BOX = 1e4  # foolbox needs bounds of the inputs; this far out, in units of a `Frame`, they are none


@dataclass(frozen=True)
class Effort:
    needed: int = 100_000  # pairs
    images: int = 300
    control: int = 50  # images
    epochs: int = 4
    pgd: tuple[int, int] = (200, 3)  # steps, restarts
    ddn: int = 100
    carlini: tuple[int, int] = (6, 60)  # steps of the binary search, steps of each
    deepfool: int = 15
    boundary: tuple[int, int] = (32, 300)  # images, steps


QUICK = Effort(0, 20, 50, 1, (20, 1), 20, (3, 15), 4, (4, 30))
BROAD = Effort(100_000, 350, 50, 2, (40, 1), 30, (3, 20), 6, (32, 40))


# ---- networks ------------------------------------------------------------------------------------


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int) -> None:
    naive = any(isinstance(part, plain_layers.UntiedBlock) and part.keep < 1 for part in model)

    def loss(logits, y):
        value = training.margin_cross_entropy(logits, y, margin=1.0, temperature=0.25)
        return value + 0.1 * operators.orthogonality_penalty(model) if naive else value

    training.fit(
        model,
        images,
        labels,
        loss,
        epochs,
        after_step=operators.restore_orthonormal_rows,
        seed=seed,
        progress=False,
    )


def network(
    family: str,
    kind: str,
    digits: data.ImageData,
    epochs: int,
    seed: int,
    kept_norms: str | None = None,
) -> nn.Module:
    """A network in float64. With `kept_norms` its operators state norms that are too small."""
    model = FAMILIES[family](image_shape=SHAPE, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    if kind != "random":
        train(model, digits.train_images, digits.train_labels, epochs, seed)
    model = model.double().eval().requires_grad_(False)
    images = digits.test_images.double()
    model(images)  # its norms are remembered now
    change_weights(model, kind, draw)
    for part in model.modules():
        if kept_norms and isinstance(part, operators.LinearOperator):
            keep_small_norm(part, kept_norms, draw)
    if kind != "trained":  # several classes are to be predicted
        bias = model[-1].bias
        bias.copy_(storable(bias - model(images).mean(0), kind))
    return model


def storable(weights: Tensor, kind: str) -> Tensor:
    """Rounded to float32, but for the tiny ones, which float32 does not have."""
    return weights if kind == "tiny" else weights.float()


def change_weights(model: nn.Module, kind: str, draw: torch.Generator) -> None:
    """What makes weights of that kind from trained ones, or from those of a new network."""
    last = {id(p) for p in model[-1].parameters()}
    for p in model.parameters():
        if kind == "random" and p.ndim == 1:
            p.copy_(0.3 * torch.randn(p.shape, generator=draw))
        elif kind == "scaled":
            p.mul_(10 ** (6 * torch.rand((), generator=draw) - 3))
        elif kind == "spiked" and p.ndim > 1:
            p.add_(spike(p, draw))
        elif kind == "tiny":
            chosen = id(p) in last or (p.ndim > 1 and torch.rand((), generator=draw) < 0.5)
            if chosen:
                p.mul_(1e-170)
        p.copy_(storable(p, kind))


def spike(weight: Tensor, draw: torch.Generator) -> Tensor:
    """A matrix of rank one and three times the norm of this one, in the shape of the weight."""
    matrix = weight.flatten(1)
    rows, columns = matrix.shape
    u = F.normalize(torch.randn(rows, generator=draw).double(), dim=0)
    v = F.normalize(torch.randn(columns, generator=draw).double(), dim=0)
    return 3 * torch.linalg.matrix_norm(matrix, 2) * torch.outer(u, v).reshape(weight.shape)


def keep_small_norm(
    operator: operators.LinearOperator, kept_norms: str, draw: torch.Generator
) -> None:
    """Spoil what the operator remembers of its norm: a control."""
    _, case, norm = operator._known["largest"]
    if kept_norms == "power iteration":
        shape = case[0]
        adjoint = partial(operator.adjoint, input_shape=shape)
        start = torch.randn(1, *shape, generator=draw).double()
        norm = norms.power_iteration(operator, adjoint, start)[0].item()
    operator._known["largest"] = (operator.weight.detach().clone(), case, norm)


# ---- attacks -------------------------------------------------------------------------------------


class Frame(nn.Module):
    """The network as an attack sees it: an image is at 0, has its own unit of length, leads by 1.

    So one setting of an attack fits all weights, and a ball of radius 1 is one of another radius
    for each image.
    """

    def __init__(self, model: nn.Module, images: Tensor, units: Tensor, leads: Tensor):
        super().__init__()
        self.model = model
        self.images = images
        self.leads = leads.to(images)
        self.units = units.to(images).reshape(-1, 1, 1, 1)
        self.eval()

    def point(self, z: Tensor) -> Tensor:
        return self.images + self.units * z

    def forward(self, z: Tensor) -> Tensor:
        return self.model(self.point(z)) / self.leads[:, None]


def pgd(frame: Frame, labels: Tensor, seed: int, steps: int, restarts: int, loss: str) -> Tensor:
    """`attacks.pgd` in the ball of radius 1, with steps six times as long in every restart.

    The ball of radius 1/2 around 1/2 fills [0, 1]: the box of `attacks.pgd` cuts off nothing.
    """

    def from_unit_box(z: Tensor) -> Tensor:
        return frame(2 * z - 1)

    centre = torch.full_like(frame.images, 0.5)
    best = torch.zeros_like(frame.images)
    largest = -math.inf
    for k in range(restarts):
        options = {"steps": steps, "step_size": 1.25 / steps * 6**k, "loss": loss, "seed": seed + k}
        found = 2 * attacks.pgd(from_unit_box, centre, labels, 0.5, **options) - 1
        margins = attacks.margin_loss(frame(found).detach(), labels)
        best = torch.where((margins > largest).reshape(-1, 1, 1, 1), found, best)
        largest = margins.clamp_min(largest)
    return best


def search(frame: Frame, labels: Tensor, seed: int, attack, **options) -> Tensor:
    """What one of foolbox's searches for the nearest error finds."""
    with models.seeded(seed):
        rated = foolbox.PyTorchModel(frame, bounds=(-BOX, BOX), device=frame.images.device)
        return attack(rated, torch.zeros_like(frame.images), labels, epsilons=None, **options)[1]


@torch.no_grad()
def boundary(frame: Frame, labels: Tensor, seed: int, pool: Tensor, attack) -> Tensor:
    """The boundary attack from the nearest image of `pool` with another prediction.

    NaN where there is none.
    """
    pool = pool.to(frame.images)
    same = frame.model(pool).argmax(1) == labels[:, None]
    distances = torch.cdist(frame.images.flatten(1), pool.flatten(1))
    nearest = distances.masked_fill(same, math.inf).argmin(1)
    start = (pool[nearest] - frame.images) / frame.units
    ready = frame(start).argmax(1) != labels
    found = torch.full_like(start, math.nan)
    if ready.any():
        part = Frame(frame.model, frame.images[ready], frame.units[ready], frame.leads[ready])
        found[ready] = search(part, labels[ready], seed, attack, starting_points=start[ready])
    return found


class Attack(NamedTuple):
    run: Callable[[Frame, Tensor, int], Tensor]  # frame, labels, seed: points
    confined: bool  # to the certified ball
    images: int | None  # how many of them; None for all


def all_attacks(effort: Effort, pool: Tensor) -> dict[str, Attack]:
    steps, restarts = effort.pgd
    found = {}
    for loss in attacks.LOSSES:
        run = partial(pgd, steps=steps, restarts=restarts, loss=loss)
        found[f"PGD {loss}"] = Attack(run, True, None)
    binary, each = effort.carlini
    searches = {
        "DDN": foolbox.attacks.DDNAttack(steps=effort.ddn),
        "Carlini-Wagner": foolbox.attacks.L2CarliniWagnerAttack(
            binary, each, stepsize=0.02 / BOX, initial_const=1.0
        ),
        "DeepFool": foolbox.attacks.L2DeepFoolAttack(steps=effort.deepfool, overshoot=1e-3),
    }
    for name, attack in searches.items():
        found[name] = Attack(partial(search, attack=attack), False, None)
    few, walk = effort.boundary
    decisions = foolbox.attacks.BoundaryAttack(steps=walk, update_stats_every_k=2)
    found["boundary"] = Attack(partial(boundary, pool=pool, attack=decisions), False, few)
    return found


@torch.no_grad()
def shorten(model: nn.Module, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """Bisection towards the images: instead of each error one hardly beyond the boundary."""
    ways = points - images
    low = torch.zeros_like(images[:, :1, :1, :1])
    high = torch.ones_like(low)
    for _ in range(45):
        middle = (low + high) / 2
        right = attacks.margin_loss(model(images + middle * ways), labels) < 0
        wrong = ~right.reshape(middle.shape)
        low = torch.where(wrong, low, middle)
        high = torch.where(wrong, middle, high)
    return torch.where(high < 1, images + high * ways, points)


def hunt(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    effort: Effort,
    seed: int = 0,
    enlarge: float = 1.0,
) -> dict:
    """Attack all certified images (B, ...), float32 numbers in [0, 1].

    `enlarge` multiplies the radii, for controls.
    """
    pool = images.double()
    exact = copy.deepcopy(model).double().eval().requires_grad_(False)
    farthest = math.sqrt(pool[0].numel())  # how far `rounding_bound` reaches
    radii = (enlarge * certificates.certify(model, pool, labels)).clamp_max(farthest)
    certified = radii > 0
    images = pool[certified]
    labels = labels[certified]
    radii = radii[certified]
    row = {"certified": len(images), "attacks": {}, "tightest": None, "median": None}
    row |= dict.fromkeys(("pairs", "violations", "float32_only"), 0)
    if not len(images):
        return row
    leads = -attacks.margin_loss(exact(images), labels)
    guess = guessed_distances(exact, images, labels, leads)
    guess = guess.nan_to_num(farthest).clamp(radii, torch.full_like(radii, 2 * farthest))
    nearest = torch.full_like(radii, math.inf)
    for dtype in (torch.float64, torch.float32):
        attacked = copy.deepcopy(exact).to(dtype)
        if not same_weights(exact, attacked):
            continue  # another network
        room = 2 * certificates.rounding_bound(attacked, images.shape[1:])
        for name, attack in all_attacks(effort, pool).items():
            few = attack.images
            x = images[:few]
            y = labels[:few]
            claimed = radii[:few]
            units = 0.9999 * claimed if attack.confined else guess[:few]
            frame = Frame(attacked, x.to(dtype), units, leads[:few])
            points = frame.point(attack.run(frame, y, seed)).detach()
            with torch.no_grad():
                seen = attacks.margin_loss(attacked(points), y)
                points = shorten(exact, x, points.double(), y)
                margins = attacks.margin_loss(exact(points), y)
            distances = (points - x).flatten(1).norm(dim=1)
            error = ~(margins < 0) & distances.isfinite()
            near = distances * (1 + 1e-12) < claimed
            only = ~error & ~(seen < 0)  # in float32
            explained = -margins <= room
            closer = torch.where(error, distances, math.inf)
            nearest[:few] = torch.minimum(nearest[:few], closer)
            pairs = int(points.flatten(1).isfinite().all(1).sum())
            violations = int((near & (error | (only & ~explained))).sum())
            entry = row["attacks"].setdefault(name, {"pairs": 0, "violations": 0, "errors": 0})
            for counts in (row, entry):
                counts["pairs"] += pairs
                counts["violations"] += violations
            row["float32_only"] += int((near & only).sum())
            entry["errors"] += int(error.sum())
    ratios = (nearest / radii)[nearest.isfinite()]
    if len(ratios):
        row["tightest"] = ratios.min().item()
        row["median"] = ratios.median().item()
    return row


def guessed_distances(model: nn.Module, images: Tensor, labels: Tensor, leads: Tensor) -> Tensor:
    """Of the nearest error of each image, as if the network were linear."""
    x = images.clone().requires_grad_()
    margins = attacks.margin_loss(model(x), labels) / leads
    slopes = torch.autograd.grad(margins.sum(), x)[0]
    return slopes.flatten(1).norm(dim=1).reciprocal()


def same_weights(model: nn.Module, other: nn.Module) -> bool:
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return all(torch.equal(p, q.double()) for p, q in pairs)


@cache
def small_digits() -> data.ImageData:
    digits = data.load_images("mnist5k")
    return digits._replace(
        train_images=F.adaptive_avg_pool2d(digits.train_images, SHAPE[1:]),
        test_images=F.adaptive_avg_pool2d(digits.test_images, SHAPE[1:]),
    )


def hunted(
    family: str,
    kind: str,
    effort: Effort,
    seed: int,
    enlarge: float = 1.0,
    kept_norms: str | None = None,
) -> dict:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "the smallest eigenvalue")
    start = time.perf_counter()
    digits = small_digits()
    order = torch.randperm(len(digits.test_labels), generator=torch.Generator().manual_seed(seed))
    chosen = order[: effort.images]
    images = digits.test_images[chosen]
    labels = digits.test_labels[chosen]
    digits = digits._replace(test_images=images)
    model = network(family, kind, digits, effort.epochs, seed, kept_norms)
    if kind != "trained":
        labels = model(images.double()).argmax(1)
    row = hunt(model, images, labels, effort, seed, enlarge)
    seconds = round(time.perf_counter() - start, 1)
    return {"family": family, "weights": kind, **row, "seconds": seconds}


# ---- the whole hunt ------------------------------------------------------------------------------


def hunts_table(title: str, rows: Iterable[tuple[str, dict]]) -> list[dict]:
    """Prints it; the rows with their names."""
    counts = f"{'certified':>10s}{'pairs':>8s}{'violations':>12s}{'f32 only':>10s}"
    print(f"\n{title:40s}{counts}{'tightest':>18s}{'median':>10s}{'s':>6s}")
    kept = []
    for name, row in rows:
        counts = f"{row['certified']:10d}{row['pairs']:8d}{row['violations']:12d}"
        counts += f"{row['float32_only']:10d}"
        tightest = math.nan if row["tightest"] is None else row["tightest"]
        median = math.nan if row["median"] is None else row["median"]
        ratios = f"{tightest:18.11g}{median:10.5g}"
        print(f"{name:29s}{row['weights']:11s}{counts}{ratios}{row['seconds']:6.0f}", flush=True)
        kept.append({"name": name, **row})
    return kept


def attacks_table(rows: list[dict]) -> None:
    print(f"\n{'attack':50s}{'pairs':>8s}{'violations':>12s}{'errors found':>25s}")
    for name in max((row["attacks"] for row in rows), key=len):
        entries = [row["attacks"][name] for row in rows if name in row["attacks"]]
        pairs = total(entries, "pairs")
        print(f"{name:50s}{pairs:8d}{total(entries, 'violations'):12d}", end="")
        print(f"{total(entries, 'errors'):25d}")


def total(rows: list[dict], key: str) -> int:
    return sum(row[key] for row in rows)


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quick = "about a minute; too few pairs to prove anything"
    parser.add_argument("--quick", action="store_true", help=quick)
    broad = "more images, shorter attacks"
    parser.add_argument("--broad", action="store_true", help=broad)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if options.results and not options.results.parent.is_dir():
        parser.error(f"argument --results: the folder {options.results.parent} does not exist")
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    return options


def main() -> int:
    options = options_of()
    effort = QUICK if options.quick else BROAD if options.broad else Effort()
    seed = options.seed
    start = time.perf_counter()
    versions = f"torch {torch.__version__}, foolbox {foolbox.__version__}"
    print(f"{options.threads} threads, seed {seed}, {versions}\n{effort}")

    with ProcessPoolExecutor(options.threads, multiprocessing.get_context("spawn")) as pool:
        hunts = [
            (family, pool.submit(hunted, family, kind, effort, seed))
            for family in options.families
            for kind in KINDS
        ]
        fewer = replace(effort, images=effort.control)
        controls = [
            (name, pool.submit(hunted, family, kind, fewer, seed, enlarge, kept_norms))
            for name, (family, kind, enlarge, kept_norms) in CONTROLS.items()
        ]
        rows = hunts_table("family, weights", results_of(hunts))
        wrong = hunts_table("control, weights", results_of(controls))

    attacks_table(rows)
    pairs = total(rows, "pairs")
    broken = total(rows, "violations")
    found = sum(row["violations"] > 0 for row in wrong)
    print(
        f"\n{pairs} pairs, {broken} violations; {found} of {len(wrong)} controls found some;",
        end="",
    )
    print(f" {time.perf_counter() - start:.0f} s")
    if options.results:
        content = {
            "torch": torch.__version__,
            "foolbox": foolbox.__version__,
            "seed": seed,
            "effort": asdict(effort),
            "hunts": rows,
            "controls": wrong,
        }
        replace_file(options.results, (json.dumps(content, indent=1) + "\n").encode())
    return int(broken > 0 or found < len(wrong) or pairs < effort.needed)


def results_of(futures: list[tuple[str, Future]]) -> Iterator[tuple[str, dict]]:
    """In their order, each as soon as it is there."""
    for name, future in futures:
        yield name, future.result()


if __name__ == "__main__":
    sys.exit(main())
