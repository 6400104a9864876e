"""One training loop for all lessons, losses that ask for a margin, and the choice of a device."""

import math
from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn import Module
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from tqdm.auto import tqdm

from .checks import need_labels, need_positive


def pick_device() -> torch.device:
    """A CUDA device if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def hinge_loss(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Mean of sum_{j != y} max(0, margin - F_y + F_j); zero if every margin is reached."""
    need_positive("margin", margin)
    true_class = labels[:, None]
    excess = F.relu(margin - logits.gather(1, true_class) + logits)
    return excess.scatter(1, true_class, 0.0).sum(1).mean()  # the own class is no rival


def margin_cross_entropy(
    logits: Tensor, labels: Tensor, margin: float, temperature: float
) -> Tensor:
    """Cross-entropy of (F - margin * one_hot(y)) / temperature: class y must lead by `margin`."""
    if not margin >= 0:
        raise ValueError(f"margin must be 0 or more, got {margin}")
    need_positive("temperature", temperature)
    handicap = margin * F.one_hot(labels, logits.shape[1])
    return F.cross_entropy((logits - handicap) / temperature, labels)


def random_shift(images: Tensor, generator: Generator) -> Tensor:
    """The batch (B, C, H, W) moved by -1, 0 or 1 pixel along each axis, zeros moving in."""
    height, width = images.shape[-2:]
    top, left = torch.randint(0, 3, (2,), generator=generator).tolist()
    padded = F.pad(images, (1, 1, 1, 1))
    return padded[..., top : top + height, left : left + width]


def random_affine(
    images: Tensor,
    generator: Generator,
    turn: float = 10.0,
    stretch: float = 0.1,
    shear: float = 0.1,
    shift: float = 1.0,
) -> Tensor:
    """The batch (B, C, H, W), each image moved by an affine map of its own.

    It is turned by at most `turn` degrees, stretched along each axis by a factor between
    1 / (1 + `stretch`) and 1 / (1 - `stretch`), sheared, and moved by about `shift` pixels at
    most, not always whole ones. Linear interpolation between the pixels, zeros moving in.
    """

    def draw(most):
        return most * (2 * torch.rand(len(images), generator=generator) - 1)

    half_height = images.shape[-2] / 2
    half_width = images.shape[-1] / 2
    ratio = half_height / half_width  # the grid runs from -1 to 1 along both axes
    angle = draw(math.radians(turn))
    across = 1 + draw(stretch)
    down = 1 + draw(stretch)
    slant = draw(shear)
    move_x = draw(shift / half_width)
    move_y = draw(shift / half_height)
    # Where the pixel (x, y) comes from:   x' = across cos(angle) x + (slant - down sin(angle)) y
    #                                      y' = across sin(angle) x + down cos(angle) y
    rows = [
        (angle.cos() * across, (slant - angle.sin() * down) * ratio, move_x),
        (angle.sin() * across / ratio, angle.cos() * down, move_y),
    ]
    matrices = torch.stack([torch.stack(row, 1) for row in rows], 1).to(images)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


class History(NamedTuple):
    losses: list[float]  # mean training loss of each finished epoch
    interrupted: bool  # True if Ctrl-C ended the training early


def fit(
    model: Module,
    images: Tensor,
    labels: Tensor,
    loss: Callable,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    after_step: Callable | None = None,
    augment: Callable | None = None,
    perturb: Callable | None = None,
    seed: int = 0,
    progress: bool = True,
    optimiser: Callable = Adam,
) -> History:
    """Train `model` in place with a one-cycle learning rate; it ends in evaluation mode (lesson 7).

    `images` (N, ...) and `labels` (N,) are on the model's device. `augment(batch, generator)`
    changes the images, `perturb(model, batch, labels)` then replaces them (adversarial training),
    `after_step(model)` restores constraints. Ctrl-C stops and keeps what is learned. A loss or
    gradient that is not finite raises FloatingPointError; the last good parameters are kept.
    """
    generator = Generator().manual_seed(seed)
    steps = _number_of_steps(images, labels, epochs, batch_size)
    method = optimiser(model.parameters(), lr=learning_rate)
    schedule = one_cycle(method, learning_rate, steps)
    losses = []
    model.train()
    try:
        with progress_bar(steps, progress) as bar:
            for epoch in range(epochs):
                total = 0.0
                for batch, chosen in enumerate(random_batches(labels, batch_size, generator)):
                    x = images[chosen]
                    y = labels[chosen]
                    if augment:
                        x = augment(x, generator)
                    if perturb:
                        x = perturb(model, x, y)
                    value = loss(model(x), y)
                    method.zero_grad()
                    value.backward()
                    check_finite(value, model, epoch, batch)
                    method.step()
                    schedule.step()
                    if after_step:
                        after_step(model)
                    total += value.detach() * len(chosen)
                    bar.update()
                losses.append(total.item() / len(images))
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    except KeyboardInterrupt:
        return History(losses, interrupted=True)
    finally:
        model.eval()
    return History(losses, interrupted=False)


def random_batches(labels: Tensor, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
    """The numbers of all samples in random order, in batches; the last one may be smaller."""
    order = torch.randperm(len(labels), generator=generator)
    return order.to(labels.device).split(batch_size)


def one_cycle(optimiser: Optimizer, largest_rate: float, steps: int) -> OneCycleLR:
    """The learning rate rises to `largest_rate` and falls to almost zero in so many steps."""
    # At least two: a cycle of one step would be spent at almost no rate.
    return OneCycleLR(optimiser, largest_rate, total_steps=max(2, steps))


def progress_bar(steps: int, shown: bool, done: int = 0) -> tqdm:
    # Twice a second: nbval reads messages only when a cell is done, and loses some beyond 1,000.
    return tqdm(
        total=steps, initial=done, unit="step", disable=not shown, leave=False, mininterval=0.5
    )


def check_finite(loss: Tensor, model: Module, epoch: int, batch: int) -> None:
    """Raises FloatingPointError if the loss or its gradient is infinite or not a number."""
    slope = nn.utils.clip_grad_norm_(model.parameters(), math.inf)  # measures, clips nothing
    if not torch.isfinite(loss + slope):
        raise FloatingPointError(
            f"the loss is {loss.item()}, its gradient has norm {slope.item()} "
            f"in epoch {epoch}, batch {batch}"
        )


def _number_of_steps(images, labels, epochs, batch_size):
    need_labels(images, labels)
    need_positive("the smaller one of epochs and batch_size", min(epochs, batch_size))
    return epochs * math.ceil(len(images) / batch_size)
