"""benchmarks/five_regimes.py can be killed, refuses nonsense, and its certificates hold."""

import fcntl
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from test_checkpoints import in_processes, protected, stopping

from chapter_utils import attacks, certificates, data, models, operators, training

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import five_regimes

from helpers import seeded

ROOT = Path(__file__).parents[1]

QUICK = (
    "--epochs 3 --channels 12 --batch-size 16 --attack-steps 5 --radii 0.1 1 --device cpu".split()
)


def folder_of_images(folder, train=("cat", "dog"), test=("cat", "dog"), side=8, number=1):
    """Options for classes of nearly plain pictures, each class with its own brightness."""
    noise = seeded(0)
    for part, classes in (("train", train), ("test", test)):
        for brightness, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for picture in range(number):
                pixels = (
                    60 + 90 * brightness + torch.randint(-50, 50, (side, side, 3), generator=noise)
                )
                Image.fromarray(pixels.byte().numpy()).save(folder / part / name / f"{picture}.png")
    return ["--dataset", "folder", "--folder", str(folder)]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return [
        *QUICK,
        *folder_of_images(tmp_path_factory.mktemp("images"), number=30),
        "--test-images",
        "20",
    ]


def rows(results):
    """What the table says, without the seconds."""
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in json.loads(results.read_text())["rows"]
    ]


# ---- the experiment ------------------------------------------------------------------------------


def work(_, arguments, seconds=None, cost=None):
    """Run the script; after so many seconds of its own processor time the system kills it.

    `cost` is a file for their number.
    """
    torch.set_num_threads(1)
    if seconds:
        signal.setitimer(
            signal.ITIMER_PROF, seconds
        )  # its signal is not handled: the process is gone at once
    start = time.process_time()
    five_regimes.main(arguments)
    if cost:
        cost.write_text(str(time.process_time() - start))


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_at_the_same_table(quick, tmp_path):
    arguments = [*quick, *"--regimes naive flexible --margins 0.1 0.3".split(), "--results"]
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    whole, killed = tmp_path / "whole" / "r.json", tmp_path / "killed" / "r.json"
    assert in_processes(work, [*arguments, str(whole)], None, tmp_path / "cost") == [0]
    cost, draw, deaths, ended = float((tmp_path / "cost").read_text()), random.Random(0), 0, None
    while ended != 0:
        seconds = cost * draw.uniform(0.1, 0.4) if deaths < 6 else None
        (ended,) = in_processes(work, [*arguments, str(killed)], seconds)
        assert ended in (0, -signal.SIGPROF)
        deaths += ended != 0
    assert deaths >= 2
    assert rows(killed) == rows(whole) and len(rows(whole)) == 4
    assert json.loads(killed.read_text())["settings"] == json.loads(whole.read_text())["settings"]
    names = {".r.json.lock", "r.json", "r.png"}
    assert (
        set(os.listdir(tmp_path / "whole"))
        == names
        == set(os.listdir(tmp_path / "killed")) - {".r.json.part"}
    )


def test_the_results_are_consistent(quick, tmp_path, capsys):
    results = tmp_path / "r.json"
    arguments = [*quick, "--margins", "0.2", "--results", str(results)]
    five_regimes.main(arguments)
    table = capsys.readouterr().out
    for row in rows(results):
        assert row["regime"] in table and row["broken"] == 0
        assert (
            row["radii"] == [0, 0.1, 1]
            and row["clean"] == row["attacked"][0] == row["certified"][0]
        )
        assert row["attacked"] == sorted(row["attacked"], reverse=True)
        assert all(
            proved <= found for proved, found in zip(row["certified"], row["attacked"], strict=True)
        )
        area = 0.05 * (row["attacked"][0] + row["attacked"][1]) + 0.45 * (
            row["attacked"][1] + row["attacked"][2]
        )
        assert row["auc"] == pytest.approx(area, abs=1e-6)
        assert (row["bound"] <= 1 + 1e-6) if row["regime"] in models.CERTIFIED else row["bound"] > 0
    assert [row["regime"] for row in rows(results)] == list(models.REGIMES)
    with Image.open(results.with_suffix(".png")) as picture:
        assert picture.width > 300
    before = results.read_bytes()
    five_regimes.main(arguments)  # nothing is left to do
    assert (
        results.read_bytes() == before
        and capsys.readouterr().out == table[table.index("accuracy in %") :]
    )


@pytest.mark.slow
def test_two_processes_reach_a_sensible_accuracy(tmp_path):
    results = tmp_path / "r.json"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "benchmarks/five_regimes.py",
    ]
    options = "--regimes flexible --margins 0.3 --train-images 1000 --test-images 101 --epochs 4 "
    options += "--radii 0.5 --channels 4 --device cpu"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, *options.split(), "--results", str(results)],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=280,
    )
    (row,) = rows(results)
    assert (
        row["clean"] > 0.7 and row["broken"] == 0 and 0 < row["certified"][1] <= row["attacked"][1]
    )
    assert json.loads(results.read_text())["settings"]["processes"] == 2


# ---- what it refuses -----------------------------------------------------------------------------


def refused(arguments, capsys):
    """The one sentence with which the script stops."""
    with pytest.raises(SystemExit) as stop:
        five_regimes.main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--margins 0", "--margins: a positive number is needed, got 0"),
        ("--margins 0.1 -1", "--margins: a positive number is needed, got -1"),
        ("--margins nan", "got nan"),
        ("--margins 0.1 0.1", "--margins: each may be given only once"),
        ("--regimes magic", "invalid choice: 'magic'"),
        ("--radii 0.5 0.1", "--radii: increasing order is needed"),
        ("--epochs 0", "--epochs: a whole number of at least 1 is needed, got 0"),
        ("--device abacus", "unknown device 'abacus'"),
        ("--dataset mnist6k", "invalid choice: 'mnist6k'"),
        ("--dataset FashionMNIST --folder nowhere", "download=True"),
        ("--dataset folder --folder nowhere", "no images in nowhere/train"),
    ],
)
def test_bad_options_are_refused_in_a_sentence_and_nothing_is_written(
    arguments, message, tmp_path, capsys
):
    assert message in refused([*arguments.split(), "--results", tmp_path / "r.json"], capsys)
    assert os.listdir(tmp_path) == []


def test_images_that_do_not_fit_are_refused(quick, tmp_path, capsys):
    results = ["--results", tmp_path / "r.json"]
    message = "61 training images are asked for, but there are only 60"
    assert message in refused([*quick, "--train-images", "61", *results], capsys)
    assert "cannot lift 12 channels to 11" in refused(
        [*quick, "--channels", "11", *results], capsys
    )
    assert os.listdir(tmp_path) == []
    assert "got ('cat', 'dog') and ('cat', 'fox')" in refused(
        [*folder_of_images(tmp_path / "a", test=("cat", "fox")), *results], capsys
    )
    assert "divisible by 4, got 10 x 10" in refused(
        [*folder_of_images(tmp_path / "b", side=10), *results], capsys
    )
    empty = folder_of_images(tmp_path / "c")
    (tmp_path / "c" / "train" / "dog" / "0.png").unlink()
    assert "dog" in refused([*empty, *results], capsys)
    (tmp_path / "d" / "train").mkdir(parents=True)
    assert "d/train" in refused(
        ["--dataset", "folder", "--folder", tmp_path / "d", *results], capsys
    )
    assert "missing does not exist" in refused(
        ["--results", tmp_path / "missing" / "r.json"], capsys
    )
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c", "d"]


def test_two_runs_and_other_settings(quick, tmp_path, capsys):
    results = tmp_path / "r.json"
    arguments = [*quick, "--regimes", "naive", "--margins", "0.3", "--results", results]
    with open(tmp_path / ".r.json.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f"another run is writing {results}" in refused(arguments, capsys)
    assert not results.exists()
    five_regimes.main(
        [str(argument) for argument in arguments]
    )  # the lock went with the file that held it
    before = results.read_bytes()
    assert "epochs is 3 there and 4 here" in refused([*arguments, "--epochs", "4"], capsys)
    assert "margins is [0.3] there and [0.1] here" in refused(
        [*arguments, "--margins", "0.1"], capsys
    )
    assert "test_images is 20 there and 21 here" in refused(
        [*arguments, "--test-images", "21"], capsys
    )
    assert results.read_bytes() == before
    results.write_bytes(before[:-40])
    assert "r.json is damaged or no results file" in refused(arguments, capsys)


def interrupted(arguments, monkeypatch, capsys):
    """Press Ctrl-C in the second epoch."""
    restore = operators.restore_orthonormal_rows
    press_ctrl_c = stopping(5)

    def restore_and_perhaps_stop(model):
        restore(model)
        press_ctrl_c()

    with monkeypatch.context() as patch:
        patch.setattr(operators, "restore_orthonormal_rows", restore_and_perhaps_stop)
        with pytest.raises(SystemExit, match="stopped; the same command continues"):
            five_regimes.main([str(argument) for argument in arguments])
    assert capsys.readouterr().out == ""


@pytest.fixture
def begun(quick, tmp_path, monkeypatch, capsys):
    """Options, and the checkpoint of an experiment that Ctrl-C ended in the second epoch."""
    monkeypatch.chdir(tmp_path)  # for test_a_protected_folder
    arguments = [*quick, *"--regimes flexible --margins 0.3 --results r.json".split()]
    interrupted(arguments, monkeypatch, capsys)
    return arguments, tmp_path / "r.flexible.0.3.pt"


def test_ctrl_c_and_the_same_command_continues(begun, tmp_path):
    arguments, checkpoint = begun
    assert rows(tmp_path / "r.json") == [] and checkpoint.exists()
    five_regimes.main([*arguments[:-1], "whole.json"])
    five_regimes.main(arguments)
    assert rows(tmp_path / "r.json") == rows(tmp_path / "whole.json")
    assert not checkpoint.exists()


def test_a_checkpoint_that_does_not_fit_stops_the_experiment(begun, tmp_path, capsys):
    arguments, checkpoint = begun
    content = checkpoint.read_bytes()
    (tmp_path / "r.json").unlink()  # it would refuse before the checkpoint does
    for other, message in (
        ("--epochs 4", "epochs is 3 there and 4 here"),
        ("--batch-size 17", "batch_size is 16 there and 17 here"),
        ("--learning-rate 0.1", "learning_rate is 0.005 there and 0.1 here"),
        ("--seed 1", "seed is 0 there and 1 here"),
        ("--channels 13", "channels is 12 there and 13 here"),
        ("--train-images 59", "train_images is 60 there and 59 here; checksum is ["),
    ):
        told = refused([*arguments, *other.split()], capsys)
        assert "r.flexible.0.3.pt belongs to other settings" in told and message in told
        assert checkpoint.read_bytes() == content
        (tmp_path / "r.json").unlink()
    for damaged in (content[:-1], content[:100], content.replace(b"losses", b"LOSSES"), b""):
        checkpoint.write_bytes(damaged)
        told = refused(arguments, capsys)
        assert "r.flexible.0.3.pt is damaged or no checkpoint: delete it to start anew" in told
    checkpoint.unlink()
    five_regimes.main(arguments)
    assert len(rows(tmp_path / "r.json")) == 1


def test_a_protected_folder_stops_the_experiment_at_once(begun, tmp_path, monkeypatch, capsys):
    arguments, checkpoint = begun
    content = checkpoint.read_bytes()
    monkeypatch.setattr(five_regimes, "train", stopping(1, AssertionError))  # not one step
    images = data.load_images("folder", arguments[arguments.index("--folder") + 1])
    monkeypatch.setattr(data, "load_images", lambda *_: images)  # they are closed to others, too
    for name in ("r.json", "other.json"):
        with protected(tmp_path):
            told = refused([*arguments[:-1], name], capsys)
        assert "Permission denied" in told and name in told
    assert checkpoint.read_bytes() == content
    (tmp_path / ".other.json.lock").write_text("")
    (tmp_path / ".other.json.lock").chmod(0o666)
    with protected(tmp_path):  # a lock that everybody may open
        told = refused([*arguments[:-1], "other.json"], capsys)
    assert "other.json could not be written" in told and "Permission denied" in told


def test_without_the_library_it_says_so_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    monkeypatch.delitem(sys.modules, "resumable")
    monkeypatch.setattr(sys, "argv", ["five_regimes.py"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "benchmarks" / "five_regimes.py"))
    assert stop.value.code == 'five_regimes.py needs Lightning Fabric: pip install -e ".[dev]"'


# ---- the certificates ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return data.load_images()


@pytest.mark.slow
@pytest.mark.parametrize("regime", models.REGIMES)
def test_no_attack_breaks_a_certificate(regime, digits):
    images, test = (
        F.pad(F.avg_pool2d(part, 2), (1, 1, 1, 1))
        for part in (digits.train_images[::4], digits.test_images)
    )
    model = models.regime_net(regime, (1, 16, 16), 10, channels=4, depth=1)

    def loss(logits, labels):
        value = training.hinge_loss(logits, labels, 0.3)
        return value + 0.1 * operators.orthogonality_penalty(model) if regime == "naive" else value

    after_step = operators.restore_orthonormal_rows if regime in models.CERTIFIED else None
    training.fit(
        model,
        images,
        digits.train_labels[::4],
        loss,
        3,
        learning_rate=0.01,
        after_step=after_step,
        progress=False,
    )
    bound = certificates.lipschitz_bound(model, (1, 16, 16))
    assert bound <= 1 + 1e-6 or regime not in models.CERTIFIED
    with torch.no_grad():
        radius = certificates.certified_radius(model(test), digits.test_labels, bound)
    order = radius.argsort()[(radius == 0).sum() :]
    assert len(order) > 600
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox
    for quantile in (
        0.4,
        0.6,
    ):  # images of nearly the same radius can be attacked together at just under it
        chosen = order[int(quantile * len(order)) :][:16]
        x, y, eps = test[chosen], digits.test_labels[chosen], 0.999 * radius[chosen].min().item()
        assert eps > 0.9 * radius[chosen].max()
        ours = attacks.pgd(model, x, y, eps, steps=100, restarts=5)
        attack = foolbox.attacks.L2PGD(steps=100)
        torch.manual_seed(0)
        _, theirs, _ = attack(
            foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=eps
        )
        stronger = foolbox.attacks.DDNAttack(steps=100)  # looks for the nearest misclassified point
        _, nearest, fooled = stronger(
            foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=None
        )
        with torch.no_grad():
            for attacked in (ours, theirs):
                assert (attacked - x).flatten(1).norm(dim=1).max() <= eps * (1 + 1e-5)
                assert (model(attacked).argmax(1) == y).all()
            assert fooled.any()  # the attack works: further away it finds something
            assert ((nearest - x).flatten(1).norm(dim=1) >= eps)[fooled].all()


def test_robustness_curves_use_colour_and_marker():
    figure = Figure()
    axis = figure.add_subplot()
    five_regimes.robustness_curves(
        axis, [0, 1], {"a": ([1.0, 0.5], [1.0, 0.2]), "b": ([0.9, 0.1], None)}
    )
    a, a_certified, b = axis.lines
    assert (
        a.get_color() == a_certified.get_color() != b.get_color()
        and a.get_marker() != b.get_marker()
    )
    assert a_certified.get_linestyle() == "--" and a.get_linestyle() == "-"
