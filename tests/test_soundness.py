"""benchmarks/soundness.py and convolution_bounds.py: what is broken is found and counted.

And what is true stands.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from chapter_utils import certificates
from lesson import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import convolution_bounds
import soundness

from helpers import seeded

TINY = soundness.Effort(0, 12, 12, 1, (20, 2), 20, (3, 15), 5, (4, 20))


class InThisProcess(ProcessPoolExecutor):
    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        value = function(*arguments)
        return type("Done", (), {"result": lambda self: value})()


def linear(seed=0, samples=12):
    """A random linear classifier with balanced classes; images and predictions.

    Its certificate is the exact distance.
    """
    images = torch.rand(samples, *soundness.SHAPE, generator=seeded(seed))
    model = (
        soundness.FAMILIES["linear"](image_shape=soundness.SHAPE, classes=3, seed=seed)
        .eval()
        .requires_grad_(False)
    )
    model[-1].bias.sub_(model(images).mean(0))
    return model, images, model(images).argmax(1)


def test_a_true_certificate_stands_and_every_pair_is_counted():
    row = soundness.hunt(*linear(), TINY)
    assert row["certified"] == 12 and row["violations"] == 0
    # Five attacks on all images and one on four of them, in float64 and in float32.
    assert (
        row["pairs"] == sum(entry["pairs"] for entry in row["attacks"].values()) == 2 * (5 * 12 + 4)
    )
    assert 1 <= row["tightest"] < 1 + 1e-6
    assert {name for name, entry in row["attacks"].items() if entry["errors"]} == {
        "DDN",
        "Carlini-Wagner",
        "DeepFool",
        "boundary",
    }


def test_a_certificate_too_large_by_a_hair_is_broken_and_by_a_tenth_by_pgd():
    assert soundness.hunt(*linear(), TINY, enlarge=1 + 1e-6)["violations"] > 0
    row = soundness.hunt(*linear(), TINY, enlarge=1.1)
    assert row["attacks"]["PGD margin"]["violations"] >= 20  # of 24
    assert row["violations"] == sum(entry["violations"] for entry in row["attacks"].values())


def test_what_is_misclassified_is_not_counted():
    model, images, labels = linear()
    assert soundness.hunt(model, images, (labels + 1) % 3, TINY)["pairs"] == 0
    half = torch.where(torch.arange(12) < 6, labels, (labels + 1) % 3)
    assert soundness.hunt(model, images, half, TINY)["certified"] == 6


def test_pgd_in_a_frame_stays_in_each_ball_and_uses_it_up():
    model, images, labels = linear()
    radii = 3 * certificates.certify(model, images, labels).float()
    frame = soundness.Frame(model, images, radii, torch.ones(12))
    lengths = soundness.pgd(frame, labels, 0, 20, 2, "margin").flatten(1).norm(dim=1)
    assert ((0.9 < lengths) & (lengths < 1 + 1e-5)).all()


def test_errors_in_float32_only_must_be_within_its_rounding_bound(monkeypatch):
    model, images, _ = linear()
    model[-1].bias.add_(
        2.0**18
    )  # of all logits: nothing changes, but float32 now resolves 1/32 only
    row = soundness.hunt(model, images, model.double()(images.double()).argmax(1), TINY)
    assert row["violations"] == 0 < row["float32_only"]
    monkeypatch.setattr(soundness.certificates, "rounding_bound", lambda model, shape: 0.0)
    row = soundness.hunt(model, images, model(images.double()).argmax(1), TINY)
    assert row["violations"] == row["float32_only"] > 0


@pytest.mark.parametrize("norms", [None, "before"])
def test_norms_from_before_a_change_are_found(norms):
    row = soundness.hunted("nonexpansive_net", "spiked", TINY, 0, kept_norms=norms)
    assert (row["violations"] > 0) == (norms is not None) and row["certified"] == 12


def test_convolution_bounds_below_the_truth_would_be_found(monkeypatch):
    excesses = convolution_bounds.random_excesses(8, 0)
    assert all(value is None or value >= 0 for value in excesses)
    true_bound = certificates.lipschitz_bound
    monkeypatch.setattr(
        certificates, "lipschitz_bound", lambda conv, shape: true_bound(conv, shape) / 8
    )
    assert any(
        value is not None and value < 0 for value in convolution_bounds.random_excesses(8, 0)
    )


@pytest.mark.parametrize(
    "drawn, trained, code", [(0.5, 0.02, 0), (-1e-6, 0.01, 1), (0.5, -1e-6, 1), (0.5, 0.021, 1)]
)
def test_the_bounds_end_with_1_below_the_truth_or_too_far_above_it(
    monkeypatch, capsys, drawn, trained, code
):
    monkeypatch.setattr(convolution_bounds, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(convolution_bounds, "random_excesses", lambda number, seed: [drawn, None])
    monkeypatch.setattr(
        convolution_bounds, "trained_excesses", lambda epochs, seed: [(14, trained)]
    )
    monkeypatch.setattr(sys, "argv", ["convolution_bounds.py"])
    assert convolution_bounds.main() == code
    assert "trained, on 14 x 14" in capsys.readouterr().out


@pytest.mark.parametrize("enlarge, code", [(1.0, 1), (1.1, 0)])
def test_the_whole_hunt_ends_with_1_if_a_control_finds_nothing(
    monkeypatch, tmp_path, capsys, enlarge, code
):
    """Short: one family and one control."""
    monkeypatch.setattr(soundness, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(soundness, "QUICK", TINY)
    monkeypatch.setattr(soundness, "FAMILIES", {"linear": soundness.FAMILIES["linear"]})
    monkeypatch.setattr(soundness, "KINDS", ("trained", "random"))
    monkeypatch.setattr(soundness, "CONTROLS", {"enlarged": ("linear", "random", enlarge, None)})
    monkeypatch.setattr(
        sys, "argv", ["soundness.py", "--quick", "--results", str(tmp_path / "found.json")]
    )
    assert soundness.main() == code
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["violations"] for row in found["hunts"]] == [0, 0]
    assert "0 violations" in capsys.readouterr().out
