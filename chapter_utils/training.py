"""One training loop for all lessons, the losses that ask for a margin, and the choice of a device."""

import copy
import math
import zlib
from pathlib import Path
from typing import Callable, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from . import checkpoints


def pick_device(name: str = "auto") -> torch.device:
    """ "auto": the first CUDA device if there is one, otherwise the CPU; any other name as PyTorch understands it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; use 'auto', 'cpu' or 'cuda'") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device was found; use 'cpu' or 'auto'")
    return device


def hinge_loss(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Mean over samples of sum_{j != y} max(0, margin - F_y + F_j); zero means every margin is reached (lesson 7)."""
    _need_positive("margin", margin)
    excess = F.relu(margin - logits.gather(1, labels[:, None]) + logits)
    return excess.scatter(1, labels[:, None], 0.0).sum(1).mean()  # the own class is no rival


def margin_cross_entropy(
    logits: Tensor, labels: Tensor, margin: float, temperature: float
) -> Tensor:
    """Cross-entropy of (F - margin * one_hot(y)) / temperature: the true class must lead by `margin` (lesson 7)."""
    if not margin >= 0:
        raise ValueError(f"margin must be 0 or more, got {margin}")
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


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    turn: float = 10.0,
    stretch: float = 0.1,
    shear: float = 0.1,
    shift: float = 1.0,
) -> Tensor:
    """The batch (B, C, H, W), each image turned by at most `turn` degrees, stretched along each axis by a factor between
    1 / (1 + `stretch`) and 1 / (1 - `stretch`), sheared, and moved by about `shift` pixels at most, not always whole ones.

    Linear interpolation between the pixels, zeros moving in.
    """

    def draw(most: float) -> Tensor:
        return most * (2 * torch.rand(len(images), generator=generator) - 1)

    angle, across, down = draw(math.radians(turn)), 1 + draw(stretch), 1 + draw(stretch)
    half_height, half_width = images.shape[-2] / 2, images.shape[-1] / 2
    ratio = half_height / half_width  # the grid runs from -1 to 1 along both axes
    rows = [angle.cos() * across, (draw(shear) - angle.sin() * down) * ratio, draw(shift / half_width),
            angle.sin() * across / ratio, angle.cos() * down, draw(shift / half_height)]  # fmt: skip
    matrices = torch.stack(rows, 1).reshape(-1, 2, 3).to(images)
    return F.grid_sample(
        images,
        F.affine_grid(matrices, list(images.shape), align_corners=False),
        align_corners=False,
    )


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
    checkpoint: str | Path | None = None,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
) -> History:
    """Train `model` in place with `optimiser` and a one-cycle learning rate; leaves it in evaluation mode (lesson 7).

    `images` (N, ...) and `labels` (N,) must be on the model's device. `augment(batch, generator)` changes the images,
    `perturb(model, batch, labels)` then replaces them (adversarial training), `after_step(model)` restores constraints.
    Ctrl-C stops cleanly: what is learned so far stays. Raises FloatingPointError naming the batch if the loss or its gradient
    is not finite; the parameters are then those of the last good step.

    `checkpoint` names a file that holds the whole state of the training after each epoch, and after the last good step when
    Ctrl-C or an error ends it. If it exists, training continues from it to the same numbers as without the break; the
    functions and the images must be the same as before, all else is compared. Raises ValueError if the file is damaged or of
    another training, OSError if it cannot be written (before the first step, if the folder is at fault); the last one stays.

    Under `torchrun`, with the model wrapped in `DistributedDataParallel`, each process takes its share of every batch, and the
    first one writes the checkpoint, which all must be able to read.
    """
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            f"as many labels as images are needed, at least one; got {len(images)} and {len(labels)}"
        )
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    rank, world = (
        (dist.get_rank(), dist.get_world_size())
        if dist.is_available() and dist.is_initialized()
        else (0, 1)
    )
    wrapped = isinstance(model, DistributedDataParallel)
    if world > 1 and not wrapped:
        raise ValueError(
            f"with {world} processes the model must be wrapped in DistributedDataParallel"
        )
    plain = model.module if wrapped else model
    generator = torch.Generator().manual_seed(seed)
    batches = -(-len(images) // batch_size)
    method = optimiser(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        method, learning_rate, total_steps=max(2, epochs * batches)
    )
    steps, losses, total, order = 0, [], torch.zeros((), device=images.device), torch.empty(0)

    def state() -> dict:
        """All that the next step depends on, as a copy."""
        parts = {
            "model": plain.state_dict(),
            "optimiser": method.state_dict(),
            "schedule": schedule.state_dict(),
        }
        progress = {
            "generator": generator.get_state(),
            "steps": steps,
            "losses": losses,
            "total": total,
            "order": order,
        }
        return copy.deepcopy(parts | progress)

    if checkpoint:
        settings = {
            "epochs": epochs,
            "batch size": batch_size,
            "learning rate": learning_rate,
            "seed": seed,
        }
        settings |= {"optimiser": type(method).__name__} | _identity(plain, images, labels)
        if Path(checkpoint).exists():
            found = checkpoints.load(checkpoint, settings)
            for name, part in (("model", plain), ("optimiser", method), ("schedule", schedule)):
                part.load_state_dict(found[name])
            generator.set_state(found["generator"])
            steps, losses, total, order = (
                found["steps"],
                found["losses"],
                found["total"].to(images.device),
                found["order"],
            )
        if world > 1:
            dist.barrier()  # nobody may look for the file while the first process writes it
        good = written = state()
        if (
            rank == 0 and steps < epochs * batches
        ):  # a finished training is only read, perhaps where nobody may write
            checkpoints.save(checkpoint, settings, good)
    model.train()
    try:
        # Twice a second: nbval reads the messages of a notebook only when a cell is done, and loses some beyond a thousand.
        hidden = not progress or rank > 0
        with tqdm(
            total=epochs * batches,
            initial=steps,
            unit="step",
            disable=hidden,
            leave=False,
            mininterval=0.5,
        ) as bar:
            while steps < epochs * batches:
                epoch, number = divmod(steps, batches)
                if number == 0:
                    order, total = (
                        torch.randperm(len(images), generator=generator),
                        torch.zeros_like(total),
                    )
                chosen = order[number * batch_size : (number + 1) * batch_size].to(images.device)
                x, y = images[chosen], labels[chosen]
                if augment:
                    x = augment(
                        x, generator
                    )  # of the whole batch: every process draws the same numbers
                x, y, weight = _share(x, y, rank, world)
                if perturb:
                    x = perturb(plain, x, y)
                value = weight * loss(model(x), y)
                method.zero_grad()
                value.backward()
                slope = torch.nn.utils.clip_grad_norm_(
                    model.parameters(), math.inf
                )  # measures, clips nothing
                value = value.detach()
                if world > 1:
                    dist.all_reduce(value.div_(world))
                if not torch.isfinite(value + slope):
                    raise FloatingPointError(
                        f"the loss is {value.item()}, its gradient has norm {slope.item()} in epoch {epoch}, batch {number}"
                    )
                method.step()
                schedule.step()
                if after_step:
                    after_step(plain)
                total, steps = total + value * len(chosen), steps + 1
                bar.update()
                if number == batches - 1:
                    losses.append(total.item() / len(images))
                    bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
                if checkpoint and rank == 0:
                    good = state()
                    if number == batches - 1:
                        checkpoints.save(checkpoint, settings, good)
                        written = good
    except KeyboardInterrupt:
        return History(losses, True)
    finally:
        model.eval()
        if checkpoint and good is not written:
            checkpoints.save(checkpoint, settings, good)
    return History(losses, False)


def _identity(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, str | int]:
    """What tells a training of this model on these data from others, by name."""
    weights = {
        f"weight {name}": f"{tuple(weight.shape)} {weight.dtype}"
        for name, weight in model.named_parameters()
    }
    checksum = zlib.crc32(
        labels.cpu().numpy().tobytes()
    )  # not of the images: a bad one may be repaired in between
    return {
        "shape of the images": str(tuple(images.shape)),
        "checksum of the labels": checksum,
        **weights,
    }


def _share(x: Tensor, y: Tensor, rank: int, world: int) -> tuple[Tensor, Tensor, float]:
    """What one of `world` processes takes of a batch, and the weight of its mean loss in the mean of the processes."""
    mine = (
        slice(rank, None, world) if rank < len(y) else slice(0, 1)
    )  # too few images: take one and do not count it
    return x[mine], y[mine], world * len(range(rank, len(y), world)) / len(y)
