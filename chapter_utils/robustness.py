"""Certificates and attacks: what can be proved about a classifier, and what can be found (lesson 7).

Images are in [0, 1]; radii and budgets are in the same pixel units. Put the model in evaluation mode first.
"""

import copy
import math
from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lipschitz import lipschitz_bound
from .refusals import refuse_altered
from .rounding import last_matrix, rounding_bound
from .verified import gamma

Network = Callable[[Tensor], Tensor]


# ---- certificates ----------------------------------------------------------------------------------------------------


def certify(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """l2 radius (B,), float64, within which the prediction of `model` provably stays `labels`; 0 where it is wrong (lesson 7).

    What is certified is `model.double()`, in evaluation mode, as it is computed: every rounding error is accounted for (for the
    same weights in float32 hardly anything could be, see `rounding.rounding_bound`). Takes each pair of classes by itself if the
    last layer is linear. At most sqrt(d), d the number of pixels: no two images are further apart. Raises TypeError and
    ValueError as `lipschitz_bound` and `rounding_bound` do.
    """
    _check_images(images, labels)
    refuse_altered(model)
    exact, shape = copy.deepcopy(model).double().eval(), tuple(images.shape[1:])
    matrix = last_matrix(exact[-1]) if isinstance(exact, nn.Sequential) and len(exact) else None
    features = (
        exact if matrix is None else nn.Sequential(*list(exact)[:-1]).eval()
    )  # exact[:-1] would call __init__ of a subclass
    bound = lipschitz_bound(features, shape)
    with torch.no_grad():
        logits = torch.cat([exact(batch.double()) for batch in images.split(500)])
    radii = certified_radius(logits, labels, bound, matrix, rounding_bound(exact, shape))
    return radii.clamp_max(
        math.sqrt(math.prod(shape))
    )  # as far as the bound of the rounding errors holds


def certified_radius(
    logits: Tensor,
    labels: Tensor,
    lipschitz: float,
    matrix: Tensor | None = None,
    rounding: float = 0.0,
) -> Tensor:
    """l2 radius (B,) within which the predicted class provably stays `labels`; 0 where the prediction is wrong.

    Without `matrix`: margin / (sqrt(2) L) with L = `lipschitz` a guaranteed bound of the network x -> logits (Tsuzuku,
    Sato and Sugiyama, 1802.04034). With `matrix` P (classes, features), the last layer being f -> P f + c: L is the bound
    of the *features*, and the radius is min over j of (F_y - F_j) / (L |p_y - p_j|), never smaller than that of L |P|
    (lesson 7). Computed in float64, rounded down to the type of the logits.

    `rounding` bounds the error of each logit, here and anywhere near (`rounding.rounding_bound`). Two logits err at two places, so
    the gaps shrink by four times as much. Without it the radius concerns exact logits of a network in exact arithmetic.
    """
    _check_labels(logits, labels)
    if not 0 < lipschitz < math.inf:
        raise ValueError(f"lipschitz must be a positive finite bound, got {lipschitz}")
    if not 0 <= rounding < math.inf:
        raise ValueError(f"rounding must be 0 or more and finite, got {rounding}")
    exact, tiny = (
        logits.double(),
        torch.finfo(torch.float64).tiny,
    )  # below it nothing is known to a relative error
    gaps = exact.gather(1, labels[:, None]) - exact - 4 * rounding
    terms = 8
    if matrix is None:
        radii = gaps / max(math.sqrt(2) * lipschitz, tiny)
    else:
        rows = matrix.double()[:, None] - matrix.double()  # (classes, classes, features)
        largest = rows.abs().amax(2, keepdim=True).clamp_min(tiny)  # no square underflows to zero
        distances = torch.linalg.vector_norm(rows / largest, dim=2) * largest[..., 0]
        radii = gaps / (lipschitz * distances.clamp_min(tiny)).clamp_min(tiny)[labels]
        terms += matrix.shape[1]
    radii = (
        radii.scatter(1, labels[:, None], math.inf).min(1).values
    )  # the own class is no rival (0 / 0 in the second form)
    down = (1 - gamma(terms)) * (
        1 - torch.finfo(logits.dtype).eps
    )  # all this is rounded, and the result once more
    radii = (down * radii).clamp(0, torch.finfo(logits.dtype).max).to(logits.dtype)
    return torch.where(
        gaps.isfinite().all(1) & (radii >= torch.finfo(logits.dtype).tiny), radii, 0.0
    )


# ---- attacks ---------------------------------------------------------------------------------------------------------


def margin_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{j != y} F_j - F_y for each sample (B,): positive exactly where the prediction is wrong (lesson 7)."""
    own = logits.gather(1, labels[:, None])
    rivals = logits.scatter(1, labels[:, None], -math.inf)
    return rivals.max(1).values - own[:, 0]


def cross_entropy_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy for each sample (B,); its gradient vanishes for large logits (lesson 7, gradient masking)."""
    return F.cross_entropy(logits, labels, reduction="none")


LOSSES = {"margin": margin_loss, "cross_entropy": cross_entropy_loss}


def fgsm(
    model: Network,
    images: Tensor,
    labels: Tensor,
    eps: float,
    norm: float = math.inf,
    loss: str = "margin",
) -> Tensor:
    """Fast gradient sign method (Goodfellow et al., 1412.6572): one step of length `eps` uphill, clipped to [0, 1].

    norm = inf: x + eps sign(g); norm = 2: x + eps g / |g|. Shapes (B, ...) -> (B, ...) (lesson 7).
    """
    _check_attack(images, labels, eps, norm, loss)
    gradient = _gradient(model, images, labels, LOSSES[loss])[0]
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
    """Projected gradient ascent (Madry et al., 1706.06083) in the l2 or l-inf ball of radius `eps` and in [0, 1].

    `step_size` defaults to 2.5 eps / steps. Each restart begins at a random point of the ball. Returns, for each sample,
    the visited point with the largest margin loss, the clean image among them: what it returns is misclassified if any
    visited point was. Shapes (B, ...) -> (B, ...) (lesson 7).
    """
    _check_attack(images, labels, eps, norm, loss)
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be at least 1, got {steps} and {restarts}")
    if step_size is not None and not 0 < step_size < math.inf:
        raise ValueError(f"step_size must be positive and finite, got {step_size}")
    size = 2.5 * eps / steps if step_size is None else step_size
    generator = torch.Generator().manual_seed(seed)
    best, best_margin = (
        images.clone(),
        torch.full((len(images),), -math.inf, dtype=images.dtype, device=images.device),
    )

    def keep(points, logits):
        nonlocal best, best_margin
        margin = margin_loss(logits, labels)
        better = margin > best_margin
        best = torch.where(_column(better, images), points, best)
        best_margin = torch.where(better, margin, best_margin)

    with torch.no_grad():
        keep(images, model(images))
    for _ in range(restarts):
        x = (images + _random_in_ball(images, eps, norm, generator)).clamp(0, 1)
        for _ in range(steps):
            gradient, logits = _gradient(model, x, labels, LOSSES[loss])
            keep(x, logits)
            x = _project(x + size * _steepest(gradient, norm), images, eps, norm)
        with torch.no_grad():
            keep(x, model(x))
    return best


def attacked_correct(
    model: Network, images: Tensor, labels: Tensor, radii: list[float], **options
) -> Tensor:
    """Which samples PGD failed to fool at each radius: bool (len(radii), B), for `radii` in increasing order.

    `options` go to `pgd`. A point found within a small radius lies within every larger one, so only samples that are still
    correct are attacked again. The mean over samples is the robust-accuracy curve (lesson 7).
    """
    if sorted(radii) != list(radii) or not len(radii):
        raise ValueError(f"radii must be given in increasing order, got {list(radii)}")
    for eps in radii:
        _check_attack(images, labels, eps, options.get("norm", 2), options.get("loss", "margin"))
    standing = torch.ones(len(images), dtype=torch.bool, device=images.device)
    rows = []
    for eps in radii:
        survivors = standing.nonzero()[:, 0]
        if len(survivors):
            x, y = images[survivors], labels[survivors]
            with torch.no_grad():
                attacked = model(pgd(model, x, y, eps, **options) if eps > 0 else x)
            standing[survivors] = margin_loss(attacked, y) < 0
        rows.append(standing.clone())
    return torch.stack(rows)


def _gradient(model: Network, x: Tensor, labels: Tensor, loss) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = model(x)
        return torch.autograd.grad(loss(logits, labels).sum(), x)[0], logits.detach()


def _steepest(gradient: Tensor, norm: float) -> Tensor:
    if norm == math.inf:
        return gradient.sign()
    tiny = torch.finfo(gradient.dtype).tiny
    gradient = gradient / _column(gradient.flatten(1).abs().amax(1), gradient).clamp_min(
        tiny
    )  # no square over- or underflows
    return gradient / _column(_lengths(gradient), gradient).clamp_min(tiny)


def _project(x: Tensor, centre: Tensor, eps: float, norm: float) -> Tensor:
    """Into the ball, then into the box; the box contains the centre, so the second step does not leave the ball."""
    shift = x - centre
    if norm == math.inf:
        shift = shift.clamp(-eps, eps)
    else:
        shift = (
            shift * (eps / _column(_lengths(shift), shift).clamp_min(eps)) if eps > 0 else 0 * shift
        )
    return (centre + shift).clamp(0, 1)


def _random_in_ball(images: Tensor, eps: float, norm: float, generator: torch.Generator) -> Tensor:
    if norm == math.inf:
        return eps * (2 * torch.rand(images.shape, generator=generator).to(images) - 1)
    direction = torch.randn(images.shape, generator=generator).to(images)
    depth = torch.rand(len(images), generator=generator).to(images) ** (
        1 / max(1, direction[0].numel())
    )
    return eps * _column(depth / _lengths(direction), images) * direction


def _lengths(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[1] < 2:
        raise ValueError(
            f"logits (B, classes) and labels (B,) are needed, got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )


def _check_attack(images: Tensor, labels: Tensor, eps: float, norm: float, loss: str) -> None:
    if norm not in (2, math.inf):
        raise ValueError(f"norm must be 2 or inf, got {norm}")
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be 0 or more and finite, got {eps}")
    _check_images(images, labels)


def _check_images(images: Tensor, labels: Tensor) -> None:
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            f"as many labels as images are needed, at least one; got {len(images)} and {len(labels)}"
        )
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be numbers of classes, int64, got {labels.dtype}")
    if images.min() < 0 or images.max() > 1 or not torch.isfinite(images).all():
        raise ValueError(
            "images must lie in [0, 1]: put a normalisation into the network, as its first layer"
        )
