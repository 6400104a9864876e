"""The experiment of benchmarks/five_regimes.py, interrupted, killed, or given damaged files.

It ends at the same numbers, or says clearly why not.

test_stopped_at_random_steps_training_ends_at_the_same_numbers
    Ctrl-C, an error at any step: continued to the same numbers
test_killed_at_any_moment_it_continues_to_the_same_file
    killed at any moment: continued from the last epoch
test_nan_stops_with_the_batch_named_and_the_last_epoch_kept
    NaN in a batch: batch named, last epoch kept
test_nan_in_one_process_stops_all
    NaN in one of two processes: both stop
test_every_kind_of_damage_is_refused_by_name
    checkpoint cut, bit flipped: refused, file named
test_no_code_in_a_file_is_run
    code hidden in a checkpoint: refused, not run
test_other_settings_are_refused_and_named
    other settings: refused, each named
test_a_checkpoint_that_does_not_fit_stops_the_experiment
    other settings, whole run: refused, each named
test_another_model_and_other_files_are_refused
    another model, another file: refused, weight named
test_a_full_disk_says_so_and_the_old_file_survives
    a call fails (simulated): old file kept, later continued
test_on_a_disk_that_is_really_full_the_old_file_survives
    disk full: old file kept, later continued
test_the_operating_system_refuses_to_write
    file larger than allowed: old file kept
test_a_disk_that_is_really_read_only_stops_it_at_once
    disk read-only: stops at once, later continued
test_a_folder_that_cannot_be_written_to_is_named
    folder missing or protected: old file kept
test_a_protected_folder_stops_the_experiment_at_once
    folder protected, whole run: stops before the first step
test_damaged_digits_are_refused
    digits damaged, missing: refused, file and remedy named
test_damaged_torchvision_files_are_refused
    torchvision's files damaged: refused, folder and remedy named
test_cifar10_is_read_and_damage_refused_before_anything_is_run
    code hidden in CIFAR10's: refused, not run
test_every_kind_of_damage_to_an_image_is_refused
    image of a folder damaged: refused, file and remedy named
"""

import argparse
import copy
import math
import multiprocessing
import os
import pickle
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import test_data
import torch
import torch.nn.functional as F
from test_training_and_models import blobs

from chapter_utils import data, models, operators, training

pytest.importorskip("lightning_fabric")
import five_regimes
import resumable
from soundness import nonexpansive_cnn

SHAPE = {"image_shape": (1, 8, 8), "classes": 3}
NETWORKS = {
    "resnet": partial(models.resnet, width=8, depth=1, **SHAPE),
    "spectral_resnet": partial(models.spectral_resnet, width=8, depth=1, **SHAPE),
    "nonexpansive_net": partial(models.nonexpansive_net, width=8, depth=1, **SHAPE),
    "colour_net": partial(models.colour_net, channels=16, width=8, depth=2, **SHAPE),
    "nonexpansive_cnn": partial(nonexpansive_cnn, channels=4, depth=1, **SHAPE),
    **{
        regime: partial(models.regime_net, regime, channels=4, depth=1, **SHAPE)
        for regime in ("naive", "prescribed", "flexible")
    },
}


OPTIONS = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01, "seed": 0}


def train(model, checkpoint, every_step=lambda: None, images=None, device="cpu", **changed):
    """A short training of the experiment: three epochs of four batches, the last one smaller."""
    pictures, labels = blobs(110)
    if images is not None:
        pictures = images
    fabric = resumable.fabric_of(torch.device(device))
    settings = OPTIONS | changed

    def after_step(network):
        operators.restore_orthonormal_rows(network)
        every_step()

    return resumable.train(
        fabric,
        model,
        pictures.to(fabric.device),
        labels[: len(pictures)].to(fabric.device),
        F.cross_entropy,
        after_step,
        argparse.Namespace(**settings),
        checkpoint,
        settings,
    )


def fit(model, images=None, **changed):
    """The same by the loop of the lessons."""
    pictures, labels = blobs(110)
    if images is not None:
        pictures = images
    history = training.fit(
        model,
        pictures,
        labels[: len(pictures)],
        F.cross_entropy,
        after_step=operators.restore_orthonormal_rows,
        augment=training.random_shift,
        progress=False,
        **(OPTIONS | changed),
    )
    return history.losses


def stopping(steps, error=KeyboardInterrupt):
    """To be called after every step; raises at the last one of `steps`."""
    left = [steps]

    def every_step():
        left[0] -= 1
        if left[0] == 0:
            raise error

    return every_step


def assert_same(one, other, where=""):
    """Bitwise, through nested dicts and lists."""
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            assert_same(one[name], other[name], f"{where}/{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{number}")
    else:
        assert one == other, where


def test_every_test_in_the_list_of_faults_exists():
    tests = re.findall(r"^(test_\w+)$", __doc__, re.M)
    assert len(tests) > 10
    import test_five_regimes  # which imports this file

    places = globals() | vars(test_data) | vars(test_five_regimes)
    assert [name for name in tests if name not in places] == []


# ---- interrupted ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_stopped_at_random_steps_training_ends_at_the_same_numbers(network, tmp_path):
    reference, file, draw = NETWORKS[network](), tmp_path / "training.pt", random.Random(network)
    losses = train(reference, tmp_path / "reference.pt", epochs=5)
    stops = 0
    while True:
        model = NETWORKS[network]()  # a new process also begins with new weights
        error = draw.choice([KeyboardInterrupt, RuntimeError])
        try:
            continued = train(model, file, stopping(draw.randint(3, 8), error), epochs=5)
            break
        except (KeyboardInterrupt, RuntimeError):
            stops += 1
    assert stops >= 3  # of twenty steps at most eight at a time, and a broken epoch is done again
    assert continued == losses and not model.training
    assert_same(model.state_dict(), reference.state_dict())
    assert_same(
        torch.load(file, weights_only=True),
        torch.load(tmp_path / "reference.pt", weights_only=True),
    )
    assert sorted(os.listdir(tmp_path)) == ["reference.pt", "training.pt"]


@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_the_training_of_the_lessons_and_a_finished_one_is_only_read(network, tmp_path):
    plain, kept, again = (NETWORKS[network]() for _ in range(3))
    losses = fit(plain)
    assert losses == train(kept, tmp_path / "training.pt")
    assert_same(plain.state_dict(), kept.state_dict())

    def no_step():
        raise AssertionError("nothing is left to be trained")

    assert train(again, tmp_path / "training.pt", no_step) == losses and not again.training
    assert_same(plain.state_dict(), again.state_dict())


def test_the_warm_direction_of_the_power_iteration_matters():
    """Without it the continued training would differ a little: why the experiment keeps it."""
    model = NETWORKS["nonexpansive_cnn"]()
    fit(model, epochs=1)
    cold = copy.deepcopy(model)
    for _, operator in resumable.operators_of(cold):
        operator.direction = torch.empty(0)
    x = blobs()[0]
    assert torch.equal(copy.deepcopy(model).train()(x), copy.deepcopy(model).train()(x))
    assert not torch.equal(cold.train()(x), model.train()(x))
    assert torch.equal(cold.eval()(x), model.eval()(x))  # evaluation does not depend on it


def test_weights_are_all_that_a_state_holds():
    operator = operators.DenseOperator(4, 3)
    operator.norm_estimate(torch.zeros(1, 4))
    assert list(operator.state_dict()) == ["weight"]
    fresh = operators.DenseOperator(4, 3)
    fresh.load_state_dict(operator.state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*weight"):
        fresh.load_state_dict({})
    moved = copy.deepcopy(operator).double()
    assert moved.norm_estimate(torch.zeros(1, 4, dtype=torch.float64)).dtype == torch.float64


def test_nan_stops_with_the_batch_named_and_the_last_epoch_kept(tmp_path):
    file = tmp_path / "training.pt"
    images, _ = blobs(110)
    broken = images.clone()
    steps = []

    def break_them_in_the_second_epoch():
        steps.append(1)
        if len(steps) == 5:
            broken[:] = math.nan

    every_step = break_them_in_the_second_epoch
    with pytest.raises(FloatingPointError, match="nan in epoch 1, batch 1"):
        train(NETWORKS["flexible"](), file, every_step, broken)
    kept = torch.load(file, weights_only=True)
    assert len(kept["losses"]) == 1
    assert all(torch.isfinite(value).all() for value in kept["model"].values())
    with pytest.raises(FloatingPointError):  # still broken
        train(NETWORKS["flexible"](), file, images=broken)
    repaired, reference = NETWORKS["flexible"](), NETWORKS["flexible"]()
    assert train(repaired, file, images=images) == fit(reference)
    assert_same(repaired.state_dict(), reference.state_dict())


# ---- killed --------------------------------------------------------------------------------------


def in_processes(work, *arguments, processes=1):
    """Exit codes of new processes that call work(rank, *arguments)."""
    context = multiprocessing.get_context("forkserver")
    modules = ["chapter_utils.regimes", "chapter_utils.plotting", "torch._dynamo", "torchvision"]
    context.set_forkserver_preload([*modules, "lightning_fabric", "pytest"])  # imported once
    started = [context.Process(target=work, args=(rank, *arguments)) for rank in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in started]


def train_until_killed(_, file, moment, number):
    """Kill this process at its `number`-th step, or before or after so many renamings."""
    torch.set_num_threads(1)
    replace, left = os.replace, [number]

    def count(now):
        left[0] -= now == moment
        if now == moment and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(source, target):
        count("before")
        replace(source, target)
        count("after")

    os.replace = counted
    train(NETWORKS["flexible"](), file, lambda: count("step"))


@pytest.mark.slow
def test_killed_at_any_moment_it_continues_to_the_same_file(tmp_path):
    assert in_processes(train_until_killed, tmp_path / "reference.pt", "never", 0) == [0]
    for moment, number in (
        ("step", 2),
        ("before", 1),
        ("step", 6),  # in the second epoch
        ("before", 1),
        ("after", 1),
        ("step", 1),  # in the third
        ("before", 1),
    ):
        assert in_processes(train_until_killed, tmp_path / "training.pt", moment, number) == [
            -signal.SIGKILL
        ], (moment, number)
    assert in_processes(train_until_killed, tmp_path / "training.pt", "never", 0) == [0]
    assert_same(
        *(
            torch.load(tmp_path / name, weights_only=True)
            for name in ("training.pt", "reference.pt")
        )
    )
    assert sorted(os.listdir(tmp_path)) == [
        "reference.pt",
        "training.pt",
    ]  # the half-written file was overwritten and renamed


# ---- files that cannot be used -------------------------------------------------------------------


def test_every_kind_of_damage_is_refused_by_name(tmp_path):
    file, state = (
        tmp_path / "state.pt",
        {"weights": torch.arange(50.0), "losses": [1.0, 2.0], "kind": resumable.KIND},
    )
    checkpoints = resumable.SafeCheckpoints()
    checkpoints.save_checkpoint(state, file)
    content = file.read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"state\.pt is damaged"):
            checkpoints.load_checkpoint(file)
    refused = 0
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        file.write_bytes(changed)
        try:
            assert_same(checkpoints.load_checkpoint(file), state)  # a byte that means nothing
        except ValueError as error:
            assert "state.pt" in str(error)
            refused += 1
    assert refused > 300


def test_no_code_in_a_file_is_run(tmp_path):
    thing = test_data.Malicious(tmp_path / "taken over")
    torch.save({"kind": resumable.KIND, "settings": {}, "model": thing}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(thing))
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(ValueError, match="damaged or no checkpoint"):
            train(NETWORKS["resnet"](), tmp_path / name)
        with pytest.raises(ValueError, match="damaged or no checkpoint"):  # not even if asked to
            resumable.SafeCheckpoints().load_checkpoint(tmp_path / name, weights_only=False)
    assert not (tmp_path / "taken over").exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)  # it would have worked
    assert (tmp_path / "taken over").exists()


def interrupted(file):
    """Leaves the state after the first of three epochs."""
    with pytest.raises(KeyboardInterrupt):
        train(NETWORKS["resnet"](), file, stopping(5))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 4}, "epochs is 3 there and 4 here"),
        ({"batch_size": 16}, "batch_size is 32 there and 16 here"),
        ({"learning_rate": 0.02}, r"learning_rate is 0\.01 there and 0\.02 here"),
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"regime": "naive"}, "regime is absent there and naive here"),
    ],
)
def test_other_settings_are_refused_and_named(options, message, tmp_path):
    file = tmp_path / "training.pt"
    interrupted(file)
    content, model = file.read_bytes(), NETWORKS["resnet"](seed=1)
    weights = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=rf"training\.pt belongs to other settings: {message}"):
        train(model, file, **options)
    assert file.read_bytes() == content
    assert_same(model.state_dict(), weights)


def test_another_model_and_other_files_are_refused(tmp_path):
    file = tmp_path / "training.pt"
    interrupted(file)
    wider = models.resnet(width=9, depth=1, **SHAPE)
    with pytest.raises(
        ValueError, match=r"training\.pt is of another network: .*\n?.*branch"
    ) as told:
        train(wider, file)
    assert "1.branch.0.weight" in str(told.value) and "[8, 64]" in str(told.value)
    with pytest.raises(ValueError, match=r"training\.pt is of another network"):
        train(NETWORKS["flexible"](), file)
    content = torch.load(file, weights_only=True)
    for missing in ("model", "optimiser", "schedule", "generator", "losses"):
        torch.save({name: part for name, part in content.items() if name != missing}, file)
        with pytest.raises(ValueError, match=rf"training\.pt is of another network.*{missing}"):
            train(NETWORKS["resnet"](), file)
    torch.save(wider.state_dict(), file)
    with pytest.raises(ValueError, match=r"training\.pt is no checkpoint of"):
        train(wider, file)


@pytest.mark.parametrize("fails", ["replace", "fsync", "write"])
def test_a_full_disk_says_so_and_the_old_file_survives(fails, tmp_path, monkeypatch):
    file = tmp_path / "training.pt"
    interrupted(file)
    content = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    if fails == "write":  # to a device that is always full
        if not Path("/dev/full").exists():
            pytest.skip("only Linux has /dev/full")
        (tmp_path / ".training.pt.part").symlink_to("/dev/full")
    else:
        monkeypatch.setattr(os, fails, full)
    with pytest.raises(
        OSError, match=r"training\.pt could not be written .*No space left.* unchanged"
    ):
        train(NETWORKS["resnet"](), file)
    assert file.read_bytes() == content and os.listdir(tmp_path) == ["training.pt"]
    monkeypatch.undo()
    assert train(NETWORKS["resnet"](), file) == fit(NETWORKS["resnet"]())


def train_with_small_files_only(_, file):
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        train(NETWORKS["resnet"](), file)
    except OSError as error:
        raise SystemExit(3 if "could not be written" in str(error) else 4) from None


@pytest.mark.slow
def test_the_operating_system_refuses_to_write(tmp_path):
    file = tmp_path / "training.pt"
    interrupted(file)
    content = file.read_bytes()
    assert len(content) > 5000
    assert in_processes(train_with_small_files_only, file) == [3]
    assert file.read_bytes() == content and os.listdir(tmp_path) == ["training.pt"]


def on_a_small_disk(work, disk):
    """Call work(disk) in a process that alone sees the 256 KiB mounted on `disk`.

    The mount ends with the process, however it ends.
    """
    enter = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        subprocess.run([*enter, *mount], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing can be mounted here: {getattr(error, 'stderr', error)}")
    program = "import pathlib, subprocess, sys, test_checkpoints as tests; "
    program += "_, work, disk, *mount = sys.argv; "
    program += "subprocess.run(mount, check=True); getattr(tests, work)(pathlib.Path(disk))"
    command = [*enter, sys.executable, "-c", program, work.__name__, str(disk), *mount]
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parent / "benchmarks"), os.environ["PYTHONPATH"]])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(
        command, cwd=here, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not os.listdir(disk)  # nothing was written beside the mount


def train_while_the_disk_is_full(disk):
    file, filler = disk / "training.pt", disk / "filler"
    reference, model = NETWORKS["resnet"](), NETWORKS["resnet"]()
    losses = fit(reference)
    interrupted(file)
    before = file.read_bytes()
    for spare in (0, len(before) // 2):
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - spare))
        for name in ("training.pt", "first.pt"):  # with an old file and without
            message = rf"{name} could not be written .*No space left.* unchanged"
            with pytest.raises(OSError, match=message):
                train(NETWORKS["resnet"](), disk / name)  # at the end of the next epoch
        assert file.read_bytes() == before and sorted(os.listdir(disk)) == ["filler", "training.pt"]
        filler.unlink()
    assert train(model, file) == losses
    assert_same(model.state_dict(), reference.state_dict())


@pytest.mark.slow
def test_on_a_disk_that_is_really_full_the_old_file_survives(tmp_path):
    on_a_small_disk(train_while_the_disk_is_full, tmp_path)


def train_while_the_disk_is_read_only(disk):
    file, reference, model, again = disk / "training.pt", *(NETWORKS["resnet"]() for _ in range(3))
    losses = fit(reference)

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,bind,{how}", str(disk)], check=True)

    interrupted(file)
    before = file.read_bytes()
    remount("ro")
    message = r"training\.pt could not be written .*Read-only file system.* unchanged"
    with pytest.raises(OSError, match=message):
        train(NETWORKS["resnet"](), file, stopping(5, AssertionError))
    images = data.ImageData(*blobs(110), *blobs(110), ("a", "b", "c"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(data, "load_images", lambda *_: images)
        patch.setattr(five_regimes, "train", stopping(1, AssertionError))  # no training begins
        five_regimes.main(["--device", "cpu", "--results", str(disk / "r.json")])
    assert file.read_bytes() == before and os.listdir(disk) == ["training.pt"]
    remount("rw")
    assert train(model, file) == losses
    assert_same(model.state_dict(), reference.state_dict())
    remount("ro")
    assert train(again, file) == losses  # of a finished training nothing need be written
    assert_same(again.state_dict(), reference.state_dict())


@pytest.mark.slow
def test_a_disk_that_is_really_read_only_stops_it_at_once(tmp_path):
    on_a_small_disk(train_while_the_disk_is_read_only, tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"missing/training\.pt could not be written"):
        train(NETWORKS["resnet"](), tmp_path / "missing" / "training.pt")
    monkeypatch.chdir(tmp_path)  # the folders above are closed to others
    file = Path("training.pt")
    interrupted(file)
    before = file.read_bytes()
    file.chmod(0o444)
    message = r"training\.pt could not be written .*Permission denied.* unchanged"
    with protected(tmp_path), pytest.raises(OSError, match=message):
        train(NETWORKS["resnet"](), file)
    assert file.read_bytes() == before and os.listdir() == ["training.pt"]


@contextmanager
def protected(folder):
    """Nothing in the folder may be changed, by whoever runs the tests."""
    user = os.geteuid()
    folder.chmod(0o555)
    try:
        if user == 0:  # root may write everywhere, so become nobody
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o700)


# ---- several processes ---------------------------------------------------------------------------


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def train_in_parallel(rank, folder, port, killed_at, broken):
    """One of two processes as torchrun starts them."""
    torch.set_num_threads(1)
    alike = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_WORLD_SIZE": 1, "MASTER_PORT": port}
    own = {"RANK": rank, "LOCAL_RANK": rank, "TORCHELASTIC_RUN_ID": 1, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in (alike | own).items()})
    images = blobs(110)[0][:97]  # the fourth batch of an epoch holds one image
    if broken and rank == 0:
        images[:] = math.nan
    model = NETWORKS["nonexpansive_cnn"](seed=rank)  # all get the first process's weights
    every_step = stopping(killed_at, SystemExit(7))
    try:
        losses = train(model, folder / "training.pt", every_step, images)
    except FloatingPointError:
        raise SystemExit(5) from None
    torch.save({"losses": losses, "model": model.state_dict()}, folder / f"found{rank}.pt")


@pytest.mark.slow
def test_two_processes_train_the_same_network_as_one(tmp_path):
    for killed_at, codes in ((6, [7, 7]), (0, [0, 0])):
        port = free_port()
        assert codes == in_processes(
            train_in_parallel, tmp_path, port, killed_at, False, processes=2
        )
    first, second = (torch.load(tmp_path / f"found{rank}.pt") for rank in range(2))
    assert_same(first, second)
    alone = NETWORKS["nonexpansive_cnn"]()
    losses = fit(alone, images=blobs(110)[0][:97])
    assert first["losses"] == pytest.approx(losses, rel=1e-3)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first["model"][name], value, rtol=1e-3, atol=1e-4)
    untrained = NETWORKS["nonexpansive_cnn"]().state_dict()
    moved = [
        (first["model"][name] - value).abs().max()
        for name, value in untrained.items()
        if "weight" in name
    ]
    assert max(moved) > 0.01


def test_nan_in_one_process_stops_all(tmp_path):
    codes = in_processes(train_in_parallel, tmp_path, free_port(), 0, True, processes=2)
    assert codes == [5, 5]


@pytest.mark.parametrize("processes", [2, 3, 7])
@pytest.mark.parametrize("images", [1, 2, 7, 32])
def test_the_shares_make_up_the_mean_of_the_whole_batch(processes, images):
    losses = torch.rand(images, dtype=torch.float64)
    parts = [resumable.share(images, rank, processes) for rank in range(processes)]
    mean = sum(weight * losses[mine].mean() for mine, weight in parts) / processes
    assert mean.item() == pytest.approx(losses.mean().item(), rel=1e-12)
