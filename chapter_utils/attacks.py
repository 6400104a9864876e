"""Attacks: what can be found about a classifier; `certificates` says what can be proved (lesson 7).

Images are in [0, 1]; budgets are in the same pixel units. Put the model in evaluation mode first.
"""

import math
import warnings
from functools import partial
from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_images, need_one_of, need_positive

Network = Callable[[Tensor], Tensor]


def margin_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{j != y} F_j - F_y (B,): positive exactly where the prediction is wrong (lesson 7)."""
    classes = logits.shape[-1]
    if logits.ndim != 2 or classes < 2 or not ((labels >= 0) & (labels < classes)).all():
        raise ValueError(
            "logits (B, classes) of at least two classes are needed, and labels from 0 to "
            f"{classes - 1}, got {tuple(logits.shape)} and the labels {labels.unique().tolist()}"
        )
    own = labels[:, None]
    rivals = logits.scatter(1, own, -math.inf)
    return rivals.max(1).values - logits.gather(1, own)[:, 0]


# The gradient of the cross-entropy vanishes for large logits (lesson 7, gradient masking).
LOSSES = {"margin": margin_loss, "cross_entropy": partial(F.cross_entropy, reduction="none")}


def fgsm(
    model: Network,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: float = math.inf,
    loss: str = "margin",
) -> Tensor:
    """Fast gradient sign method: one step of length `eps` uphill, clipped to [0, 1] (lesson 7).

    norm = inf: x + eps sign(g); norm = 2: x + eps g / |g|. Shapes (B, ...) -> (B, ...).
    Goodfellow et al., 1412.6572. Raises ValueError for images outside [0, 1] and other options.
    """
    check_attack(images, labels, eps, norm, loss)
    gradient, _ = _gradient(model, images, labels, LOSSES[loss])
    return (images + eps * _steepest(gradient, norm)).clamp(0, 1)


def pgd(
    model: Network,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: float = 2,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    loss: str = "margin",
    seed: int = 0,
) -> Tensor:
    """Projected gradient ascent in the l2 or l-inf ball of radius `eps` and in [0, 1] (lesson 7).

    Madry et al., 1706.06083. `step_size` defaults to 2.5 eps / steps. Each restart begins at a
    random point of the ball. Returns, for each sample, the visited point with the largest margin
    loss, the clean image among them: it is misclassified if any visited point was. Shapes
    (B, ...) -> (B, ...). Raises ValueError for images outside [0, 1] and options out of range.
    """
    check_attack(images, labels, eps, norm, loss)
    need_positive("the smaller one of steps and restarts", min(steps, restarts))
    length = 2.5 * eps / steps
    if step_size is not None:
        need_positive("step_size", step_size)
        length = step_size
    generator = torch.Generator().manual_seed(seed)
    best = images.clone()
    with torch.no_grad():
        best_margin = margin_loss(model(images), labels)

    def keep(points, logits):
        nonlocal best, best_margin
        margin = margin_loss(logits, labels)
        better = margin > best_margin
        best = torch.where(_column(better, images), points, best)
        best_margin = torch.where(better, margin, best_margin)

    for _ in range(restarts):
        x = (images + _random_in_ball(images, eps, norm, generator)).clamp(0, 1)
        for _ in range(steps):
            gradient, logits = _gradient(model, x, labels, LOSSES[loss])
            keep(x, logits)
            x = _project(x + length * _steepest(gradient, norm), images, eps, norm)
        with torch.no_grad():
            keep(x, model(x))
    return best


def attacked_correct(
    model: Network, images: Tensor, labels: Tensor, radii: list[float], **options
) -> Tensor:
    """Which samples PGD failed to fool at each radius: bool (len(radii), B) (lesson 7).

    `options` go to `pgd`. A point found within a small radius lies within every larger one, so only
    samples that are still correct are attacked again; `radii` must be in increasing order. The mean
    over samples is the robust-accuracy curve.
    """
    if not len(radii) or list(radii) != sorted(radii):
        raise ValueError(f"radii must be given in increasing order, got {list(radii)}")
    check_images(images, labels)
    standing = torch.ones(len(images), dtype=torch.bool, device=images.device)
    rows = []
    for eps in radii:
        x = images[standing]
        y = labels[standing]
        if len(x):
            moved = pgd(model, x, y, eps, **options) if eps else x
            with torch.no_grad():
                correct = margin_loss(model(moved), y) < 0
            standing = standing.masked_scatter(standing, correct)
        rows.append(standing)
    return torch.stack(rows)


def _gradient(model, x, labels, loss):
    """Gradient of the loss in x, and the logits."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        labels = labels.clone()
        logits = model(x)
        (gradient,) = torch.autograd.grad(loss(logits, labels).sum(), x)
    return gradient, logits.detach()


def _steepest(gradient, norm):
    """The step of length 1 in this norm that climbs fastest."""
    if norm == math.inf:
        return gradient.sign()
    tiny = torch.finfo(gradient.dtype).tiny
    rows = F.normalize(gradient.flatten(1), math.inf, eps=tiny)  # no square under- or overflows
    return F.normalize(rows, eps=tiny).view_as(gradient)


def _project(x, centre, eps, norm):
    """Into the ball, then into the box, which contains the centre: that does not leave the ball."""
    shift = x - centre
    if norm == math.inf or eps == 0:
        shift = shift.clamp(-eps, eps)
    else:
        shift = shift * (eps / _column(_lengths(shift), shift).clamp_min(eps))
    return (centre + shift).clamp(0, 1)


def _random_in_ball(images, eps, norm, generator):
    if norm == math.inf:
        return eps * (2 * torch.rand(images.shape, generator=generator).to(images) - 1)
    direction = torch.randn(images.shape, generator=generator).to(images)
    dimension = max(1, direction[0].numel())
    depth = torch.rand(len(images), generator=generator).to(images) ** (1 / dimension)
    return eps * _column(depth / _lengths(direction), images) * direction


def _lengths(x):
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def _column(values, like):
    """One number a sample, shaped to multiply a batch like this one."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def check_attack(images: Tensor, labels: Tensor, eps: float, norm: float, loss: str) -> None:
    """Raise ValueError for options out of range, and as `check_images`."""
    need_one_of("norm", norm, (2, math.inf))
    need_one_of("loss", loss, LOSSES)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be 0 or more and finite, got {eps}")
    if eps > (1 if norm == math.inf else 7):
        warnings.warn(
            f"pixels lie in [0, 1], where eps={eps} is much: in grey levels write {eps}/255",
            stacklevel=3,
        )
    check_images(images, labels)
