"""One training loop for all lessons, the losses that ask for a margin, and the choice of a device."""

import math
from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm


def pick_device(name: str = "auto") -> torch.device:
    """ "auto": the first CUDA device if there is one, otherwise the CPU; any other name as PyTorch understands it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device was found; use 'cpu' or 'auto'")
    return device


def hinge_loss(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Mean over samples of sum_{j != y} max(0, margin - F_y + F_j); zero means every margin is reached (lesson 7)."""
    _need_positive("margin", margin)
    excess = F.relu(margin - logits.gather(1, labels[:, None]) + logits)
    return (excess.sum(1) - margin).mean()  # the own class contributes exactly `margin`


def margin_cross_entropy(logits: Tensor, labels: Tensor, margin: float, temperature: float) -> Tensor:
    """Cross-entropy of (F - margin * one_hot(y)) / temperature: the true class must lead by `margin` (lesson 7)."""
    _need_positive("temperature", temperature)
    handicap = margin * F.one_hot(labels, logits.shape[1])
    return F.cross_entropy((logits - handicap) / temperature, labels)


def _need_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def random_shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """The batch (B, C, H, W) moved by -1, 0 or 1 pixel along each axis, zeros moving in."""
    dy, dx = torch.randint(0, 3, (2,), generator=generator).tolist()
    return F.pad(images, (1, 1, 1, 1))[..., dy : dy + images.shape[-2], dx : dx + images.shape[-1]]


class History(NamedTuple):
    losses: list[float]  # mean training loss of each finished epoch
    interrupted: bool  # True if Ctrl-C ended the training early


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    after_step: Callable[[nn.Module], None] | None = None,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    perturb: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train `model` in place with Adam and a one-cycle learning rate; leaves it in evaluation mode (lesson 7).

    `images` (N, ...) and `labels` (N,) must be on the model's device. `augment(batch, generator)` changes the images,
    `perturb(model, batch, labels)` then replaces them (adversarial training), `after_step(model)` restores constraints.
    Ctrl-C stops cleanly: what is learned so far stays. Raises FloatingPointError naming the batch if the loss or its gradient
    is not finite; the parameters are then those of the last good step.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"as many labels as images are needed, at least one; got {len(images)} and {len(labels)}")
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    generator = torch.Generator().manual_seed(seed)
    batches = -(-len(images) // batch_size)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=max(2, epochs * batches))
    losses: list[float] = []
    model.train()
    try:
        # Twice a second: nbval reads the messages of a notebook only when a cell is done, and loses some beyond a thousand.
        with tqdm(total=epochs * batches, unit="step", disable=not progress, leave=False, mininterval=0.5) as bar:
            for epoch in range(epochs):
                total = torch.zeros((), device=images.device)
                for number, chosen in enumerate(torch.randperm(len(images), generator=generator).split(batch_size)):
                    chosen = chosen.to(images.device)
                    x, y = images[chosen], labels[chosen]
                    if augment:
                        x = augment(x, generator)
                    if perturb:
                        x = perturb(model, x, y)
                    value = loss(model(x), y)
                    optimiser.zero_grad()
                    value.backward()
                    slope = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf)  # measures, clips nothing
                    if not torch.isfinite(value + slope):
                        raise FloatingPointError(
                            f"the loss is {value.item()}, its gradient has norm {slope.item()} in epoch {epoch}, batch {number}"
                        )
                    optimiser.step()
                    schedule.step()
                    if after_step:
                        after_step(model)
                    total += value.detach() * len(chosen)
                    bar.update()
                losses.append(total.item() / len(images))
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    except KeyboardInterrupt:
        return History(losses, True)
    finally:
        model.eval()
    return History(losses, False)
