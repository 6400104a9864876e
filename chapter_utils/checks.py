"""Sentences about bad input that several modules need."""

import math
from typing import Iterable

import torch
from torch import Tensor


def need_positive(what: str, value: float) -> None:
    """Raise ValueError unless the value is positive and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"{what} must be positive and finite, got {value}")


def need_one_of(what: str, value: object, allowed: Iterable) -> None:
    """Raise ValueError, listing what is allowed, unless the value is among it."""
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_images(images: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless images (B, ...) lie in [0, 1] and have as many labels, int64."""
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
        raise ValueError(
            "labels must be a tensor of numbers of classes, int64: torch.from_numpy takes arrays, "
            f".argmax(1) rows that mark the class; got {labels!r:.99}"
        )
    need_labels(images, labels)
    if not (isinstance(images, Tensor) and ((images >= 0) & (images <= 1)).all()):
        raise ValueError(
            "images must lie in [0, 1], in a tensor: divide 0..255 by 255, and put a "
            "normalisation into the network, as its first layer"
        )


def need_labels(images: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless there are images and as many labels."""
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            "as many labels as images are needed, at least one; "
            f"got {len(images)} and {len(labels)}"
        )
