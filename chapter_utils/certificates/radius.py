"""Certified radii: how far an image may move while the prediction provably stays (lesson 7).

Images are in [0, 1]; radii are Euclidean, in the same pixel units.
"""

import copy
import math

import torch
from torch import Tensor, nn

from ..checks import check_images
from ..layers import NonExpansiveLinear
from ..verified import gamma
from .bounds import bound_of, refuse_changed, trusted_type
from .rounding import error_on_images
from .torch_rules import children_bounds, in_a_row


def certify(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Radius (B,), float64, within which the predictions provably stay `labels` (lesson 7).

    It is 0 where the prediction is wrong. What is certified is `model.double()`, in evaluation
    mode, as it is computed: every rounding error is accounted for (for the same weights in float32
    hardly anything could be, see `rounding_bound`). If the last layer is linear, each pair of
    classes is taken by itself. At most sqrt(d), d the number of pixels: no two images are further
    apart. Raises TypeError and ValueError as `lipschitz_bound` does, ValueError for images outside
    [0, 1].
    """
    check_images(images, labels)
    refuse_changed(model)
    model64 = copy.deepcopy(model).double().eval()
    copies = images.to(torch.float64, copy=True)  # a first layer may work in place
    shape = tuple(images.shape[1:])
    whole, L, matrix = _whole_and_features(model64, shape)
    rounding = error_on_images(whole, shape, torch.float64)
    with torch.no_grad():
        logits = torch.cat([model64(batch) for batch in copies.split(500)])
    radii = certified_radius(logits, labels, L, matrix, rounding)
    return radii.clamp_max(math.sqrt(math.prod(shape)))  # as far as the rounding is bounded


def _whole_and_features(model, shape):
    """The bound of the model, and L and P for `certified_radius`: each layer is bounded once.

    L is that of the features if the last layer is linear (P), else of the whole model.
    """
    if trusted_type(model) is nn.Sequential and len(model):
        last = model[-1]
        kind = trusted_type(last)
        if kind in (nn.Linear, NonExpansiveLinear):
            matrix = last.weight if kind is nn.Linear else last.matrix
            parts = children_bounds(model, shape)
            return in_a_row(parts), in_a_row(parts[:-1]).lipschitz, matrix.detach()
    whole = bound_of(model, shape)
    return whole, whole.lipschitz, None


def certified_radius(
    logits: Tensor,
    labels: Tensor,
    lipschitz: float,
    matrix: Tensor | None = None,
    rounding: float = 0.0,
) -> Tensor:
    """Radius (B,) within which the predicted class provably stays `labels` (lesson 7).

    It is 0 where the prediction is wrong. Without `matrix`: margin / (sqrt(2) L), with
    L = `lipschitz` a guaranteed bound of the network x -> logits (Tsuzuku, Sato and Sugiyama,
    1802.04034). With `matrix` P (classes, features), the last layer being f -> P f + b: L is the
    bound of the *features*, and the radius is min over j of (F_y - F_j) / (L |p_y - p_j|), never
    smaller than that of L |P|. Computed in float64, rounded down to the type of the logits.

    `rounding` bounds the error of each logit, here and anywhere near (`rounding_bound`). Two logits
    err at two places, so the gaps shrink by four times as much. Without it the radius concerns
    exact logits of a network in exact arithmetic. Raises ValueError for shapes that do not fit and
    bounds that are not positive and finite.
    """
    _check(logits, labels, lipschitz, rounding)
    tiny = torch.finfo(torch.float64).tiny  # below it nothing is known to a relative error
    F = logits.double()
    gaps = F.gather(1, labels[:, None]) - F - 4 * rounding * (1 + 1e-12)  # whatever cancels
    terms = 8
    if matrix is None:
        slopes = torch.full_like(F, max(math.sqrt(2) * lipschitz, tiny))
    else:
        slopes = (lipschitz * _row_distances(matrix.double())).clamp_min(tiny)[labels]
        terms += matrix.shape[1]
    radii = gaps / slopes
    radii = radii.scatter(1, labels[:, None], math.inf).min(1).values  # not the own class
    kind = torch.finfo(logits.dtype)
    down = (1 - gamma(terms)) * (1 - kind.eps)  # all this is rounded, and the result once more
    radii = (down * radii).clamp(0, kind.max).to(logits.dtype)
    certain = gaps.isfinite().all(1) & (radii >= kind.tiny)
    return torch.where(certain, radii, 0.0)


def _row_distances(P):
    """|p_i - p_j| for all rows; divided by the largest entry first, no square underflows."""
    tiny = torch.finfo(P.dtype).tiny
    differences = P[:, None] - P
    largest = differences.abs().amax(2, keepdim=True).clamp_min(tiny)
    distances = torch.linalg.vector_norm(differences / largest, dim=2) * largest[..., 0]
    return distances.clamp_min(tiny)


def _check(logits, labels, lipschitz, rounding):
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[1] < 2:
        given = f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"logits (B, classes) and labels (B,) are needed, got {given}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(f"labels must lie between 0 and {logits.shape[1] - 1}")
    if not 0 < lipschitz < math.inf:
        raise ValueError(f"lipschitz must be a positive finite bound, got {lipschitz}")
    if not 0 <= rounding < math.inf:
        raise ValueError(f"rounding must be 0 or more and finite, got {rounding}")
