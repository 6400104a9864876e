"""benchmarks/cifar.py: any number of classes, killed and continued, attacks that can break."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("lightning_fabric")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import cifar
from test_five_regimes import folder_of_images

from chapter_utils import certificates, models, operators
from helpers import seeded

SMALL = (
    "--margins far --epochs 3 --channels 50 --width 10 --depth 2 --batch-size 16 "
    "--attack-images 10 --attack-steps 5 --device cpu --threads 1"
).split()


def measured(results):
    """The rows without what no two runs share."""
    rows = json.loads(results.read_text())["rows"]
    return [{k: v for k, v in row.items() if k not in ("seconds", "MB")} for row in rows]


def test_a_hundred_classes_by_the_same_command(tmp_path, capsys):
    classes = [f"{number:02d}" for number in range(100)]
    folder = folder_of_images(tmp_path / "images", classes, classes)
    cifar.main([*SMALL, *folder, "--results", str(tmp_path / "r.json")])
    (row,) = measured(tmp_path / "r.json")
    assert row["bound"] <= 1 + 1e-6 and row["broken"] == 0
    assert row["certified"] == sorted(row["certified"], reverse=True)
    assert "far" in capsys.readouterr().out
    lines = (tmp_path / "r.far.0.csv").read_text().splitlines()
    assert len(lines) == 101
    with Image.open(tmp_path / "r.far.0.png") as strip:
        assert strip.size == (100 * 8, 2 * 8)
    for line in lines[1:]:
        name, seen, certified, fooled_at, there = line.split(",")
        assert float(certified) <= float(fooled_at) and there != name
        assert name == seen or float(certified) == 0


def test_killed_twice_and_continued_it_ends_at_the_same_numbers(tmp_path, monkeypatch, capsys):
    folder = folder_of_images(tmp_path / "images", number=30)
    cifar.main([*SMALL, *folder, "--results", str(tmp_path / "whole.json")])
    restore = operators.restore_orthonormal_rows
    arguments = [*SMALL, *folder, "--results", str(tmp_path / "parts.json")]
    for _ in range(2):
        steps = []

        def restore_and_stop(model, steps=steps):
            restore(model)
            steps.append(1)
            if len(steps) == 6:  # four steps an epoch: within the second epoch from here
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(operators, "restore_orthonormal_rows", restore_and_stop)
            with pytest.raises(SystemExit, match="the same command continues"):
                cifar.main(arguments)
    cifar.main(arguments)
    assert measured(tmp_path / "parts.json") == measured(tmp_path / "whole.json")


def test_a_damaged_image_is_named(tmp_path, capsys):
    folder = folder_of_images(tmp_path / "images", number=3)
    damaged = tmp_path / "images" / "train" / "dog" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises(SystemExit):
        cifar.main([*SMALL, *folder, "--results", str(tmp_path / "r.json")])
    assert str(damaged) in capsys.readouterr().err


def test_a_certificate_that_promises_too_much_is_broken(tmp_path, monkeypatch):
    folder = folder_of_images(tmp_path / "images", number=30)
    honest = certificates.certify
    monkeypatch.setattr(certificates, "certify", lambda *task: 50 * honest(*task))
    strong = [*SMALL, "--attack-steps", "40"]
    cifar.main([*strong, *folder, "--results", str(tmp_path / "r.json")])
    (row,) = measured(tmp_path / "r.json")
    assert row["broken"] > 0


def test_held_out_images_are_training_images_and_no_image_is_on_both_sides(tmp_path, monkeypatch):
    folder = folder_of_images(tmp_path / "images", number=10)
    monkeypatch.setattr(cifar, "HELD_OUT", 5)
    options = cifar.ArgumentParser()
    base = [*folder, "--results", str(tmp_path / "r.json")]
    whole = cifar.chosen_images(cifar.options_of(options, base))
    images = cifar.chosen_images(cifar.options_of(cifar.ArgumentParser(), [*base, "--validation"]))
    assert len(images.test_images) == 5 and len(images.train_images) == 15
    together = torch.cat([images.train_images, images.test_images]).flatten(1)
    distances = torch.cdist(together, whole.train_images.flatten(1))
    assert sorted(distances.argmin(1).tolist()) == list(range(20)) and distances.amin(1).max() == 0


def test_an_image_is_moved_by_a_pixel_at_most_and_perhaps_mirrored():
    images = torch.rand(40, 3, 6, 5, generator=seeded(0))
    changed = cifar.moved_or_mirrored(images, seeded(1))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
    variants = []
    for top in range(3):
        for left in range(3):
            piece = padded[..., top : top + 6, left : left + 5]
            variants += [piece, piece.flip(-1)]
    distances = (torch.stack(variants) - changed).abs().flatten(2).amax(2)
    found = distances.argmin(0)
    assert (distances.amin(0) == 0).all() and len(set(found.tolist())) > 12
    assert changed.shape == images.shape


def test_the_nearest_error_is_that_of_a_plane():
    """Two classes and a linear network: the nearest error is the distance to a plane."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2).double()).eval()
    images = (0.5 + 0.05 * torch.rand(20, 3, 2, 2, generator=seeded(0))).double()
    with torch.no_grad():
        last = network[1]
        last.weight.copy_(torch.randn(2, 12, generator=seeded(1)))
        last.bias.copy_(-(last.weight @ images.flatten(1).mean(0)))
        logits = network(images)
    labels = logits.argmax(1)
    gap = (logits[:, 0] - logits[:, 1]).abs() / (last.weight[0] - last.weight[1]).norm()
    found, moved = cifar.nearest_errors(network, images, labels)
    assert (found >= gap.detach() * (1 - 1e-6)).all()
    assert (found <= 1.1 * gap.detach() + 0.01).all()  # its first step has a length of its own
    assert (network(moved).argmax(1) != labels).all()


def test_the_default_network_is_that_of_the_benchmark():
    options = cifar.options_of(cifar.ArgumentParser(), ["--results", "r.json"])
    net = models.colour_net(channels=options.channels, width=options.width, depth=options.depth)
    assert certificates.lipschitz_bound(net.eval(), (3, 32, 32)) <= 1 + 1e-6
    assert sum(p.numel() for p in net.parameters()) <= 2_000_000
