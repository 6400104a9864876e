"""Pictures from files, upright and without transparency, whatever their kind (lesson 7)."""

from pathlib import Path
from typing import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


def labelled_pictures(folder: Path, others: Sequence[Tensor] = ()) -> tuple:
    """Images, of the size of the others, labels and classes, from folder/CLASS/ (lesson 7).

    What is hidden is left out. Raises FileNotFoundError if there are none, ValueError for sizes
    that differ and files that cannot be read.
    """
    endings = Image.registered_extensions()
    files = {}
    for path in sorted(folder.rglob("*/*")):
        below = path.relative_to(folder).parts
        if path.suffix.lower() in endings and not any(part.startswith(".") for part in below):
            files[path] = below[0]
    if not files:
        raise FileNotFoundError(
            f"no images in {folder}; they belong into train/CLASS and test/CLASS beside it"
        )
    classes = tuple(sorted(set(files.values())))
    images = [_read_image(path) for path in files]
    size = [*others, *images][0].shape
    for path, image in zip(files, images, strict=True):
        if image.shape != size:
            raise ValueError(
                f"all images must have one size: {path} has {image.shape}, the first {size}"
            )
    labels = torch.tensor([classes.index(name) for name in files.values()])
    return torch.stack(images), labels, classes


def _read_image(path):
    """Pixels (3, height, width) in [0, 1]."""
    try:
        with Image.open(path) as image:
            image.verify()  # compares checksums, which reading the pixels does not
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)  # a camera may be held askew
            if upright.mode in "IF":
                raise ValueError("more than 16 bits a pixel")
            if upright.mode.startswith("I;16"):  # a conversion to RGB would cut off the numbers
                grey = torch.from_numpy(np.array(upright) / 65535)
                return grey.float().expand(3, -1, -1)
            if upright.mode[-1] == "A" or "transparency" in upright.info:
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright.convert("RGBA"))
            return torch.from_numpy(np.array(upright.convert("RGB"))).permute(2, 0, 1) / 255
    except Exception as error:  # damage can show in any way
        raise ValueError(
            f"{path} cannot be read as an image ({error}): replace or remove it"
        ) from error
