"""Training that is interrupted, killed, or given damaged files: it ends at the same numbers, or says clearly why not.

fault                        | what happens                       | test
---------------------------- | ---------------------------------- | ----
Ctrl-C, an error at any step | continued to the same numbers      | test_stopped_at_random_steps_training_ends_at_the_same_numbers
killed at any moment         | continued from the last checkpoint | test_killed_at_any_moment_it_continues_to_the_same_file
NaN in a batch               | batch named, good weights kept     | test_nan_stops_with_the_batch_named_and_the_last_good_state_kept
NaN in one of two processes  | both stop                          | test_nan_in_one_process_stops_all
checkpoint cut, bit flipped  | refused, file named                | test_every_kind_of_damage_is_refused_by_name
code hidden in a checkpoint  | refused, not run                   | test_no_code_in_a_file_is_run
other settings               | refused, each named                | test_other_settings_are_refused_and_named
another model, another file  | refused, weight named              | test_another_model_and_other_files_are_refused
a call fails (simulated)     | old file kept, later continued     | test_a_full_disk_says_so_and_the_old_file_survives
disk full, at start or later | old file kept, later continued     | test_on_a_disk_that_is_really_full_the_old_file_survives
file larger than allowed     | old file kept                      | test_the_operating_system_refuses_to_write
disk read-only               | stops at once, later continued     | test_a_disk_that_is_really_read_only_stops_it_at_once
folder missing or protected  | stops before the first step        | test_a_folder_that_cannot_be_written_to_stops_it_at_once
digits damaged, missing      | refused, file and remedy named     | test_damaged_digits_are_refused
torchvision's files damaged  | refused, folder and remedy named   | test_damaged_torchvision_files_are_refused
code hidden in CIFAR10's     | refused, not run                   | test_cifar10_is_read_and_damage_refused_before_anything_is_run
image of a folder damaged    | refused, file and remedy named     | test_every_kind_of_damage_to_an_image_is_refused
"""

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
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import test_data
import torch
import torch.distributed as dist
import torch.nn.functional as F
from test_training_and_models import blobs
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from chapter_utils import checkpoints, models, operators, regimes, training

SHAPE = {"image_shape": (1, 8, 8), "classes": 3}
NETWORKS = {
    "resnet": partial(models.resnet, width=8, depth=1, **SHAPE),
    "spectral_resnet": partial(models.spectral_resnet, width=8, depth=1, **SHAPE),
    "nonexpansive_net": partial(models.nonexpansive_net, width=8, depth=1, **SHAPE),
    "nonexpansive_cnn": partial(models.nonexpansive_cnn, channels=4, depth=1, **SHAPE),
    **{
        regime: partial(regimes.regime_net, regime, channels=4, depth=1, **SHAPE)
        for regime in ("naive", "prescribed", "flexible")
    },
}


def train(model, checkpoint=None, every_step=lambda: None, images=None, **options):
    """A short training with everything that has a state; three epochs of four batches, the last one smaller."""
    pictures, labels = blobs(110)

    def after_step(network):
        operators.restore_orthonormal_rows(network)
        every_step()

    options = {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 0.01,
        "augment": training.random_shift,
    } | options
    pictures = pictures if images is None else images
    labels = labels[: len(pictures)]
    return training.fit(
        model,
        pictures,
        labels,
        F.cross_entropy,
        after_step=after_step,
        progress=False,
        checkpoint=checkpoint,
        **options,
    )


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


def test_every_test_in_the_table_of_faults_exists():
    tests = re.findall(r"\| (\w+)$", __doc__, re.M)[1:]  # without the heading
    assert len(tests) > 10
    assert [name for name in tests if name not in globals() and not hasattr(test_data, name)] == []


# ---- interrupted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_stopped_at_random_steps_training_ends_at_the_same_numbers(network, tmp_path):
    reference, file, draw = NETWORKS[network](), tmp_path / "training.pt", random.Random(network)
    history = train(reference, tmp_path / "reference.pt")
    stops = 0
    while True:
        model = NETWORKS[network]()  # a new process also begins with new weights
        try:
            continued = train(
                model,
                file,
                stopping(draw.randint(1, 5), draw.choice([KeyboardInterrupt, RuntimeError])),
            )
        except RuntimeError:
            stops += 1
            continue
        if not continued.interrupted:
            break
        stops += 1
    assert (
        stops >= 3
    )  # of twelve steps at most five at a time, and a step that was stopped is done again
    assert continued == history
    assert_same(model.state_dict(), reference.state_dict())
    assert_same(
        torch.load(file, weights_only=True),
        torch.load(tmp_path / "reference.pt", weights_only=True),
    )
    assert sorted(os.listdir(tmp_path)) == ["reference.pt", "training.pt"]


def test_a_checkpoint_changes_no_number_and_a_finished_training_is_only_read(tmp_path):
    plain, kept, again = (NETWORKS["flexible"]() for _ in range(3))
    history = train(plain)
    assert history == train(kept, tmp_path / "training.pt")
    assert_same(plain.state_dict(), kept.state_dict())

    def no_step():
        raise AssertionError("nothing is left to be trained")

    assert train(again, tmp_path / "training.pt", no_step) == history and not again.training
    assert_same(plain.state_dict(), again.state_dict())


def test_the_warm_direction_of_the_power_iteration_matters():
    """Without it the continued training would be a slightly different one: why `state_dict` holds it."""
    model = NETWORKS["nonexpansive_cnn"]()
    train(model, epochs=1)
    cold = copy.deepcopy(model)
    cold.load_state_dict(
        {name: value for name, value in model.state_dict().items() if "_extra_state" not in name}
    )
    warm = NETWORKS["nonexpansive_cnn"]()
    warm.load_state_dict(model.state_dict())
    x = blobs()[0]
    assert torch.equal(warm.train()(x), copy.deepcopy(model).train()(x))
    assert not torch.equal(cold.train()(x), model.train()(x))
    assert torch.equal(cold.eval()(x), model.eval()(x))  # evaluation does not depend on it


def test_weights_without_the_direction_still_load_strictly(tmp_path):
    operator = operators.DenseOperator(4, 3)
    operator.norm_estimate(torch.zeros(1, 4))
    torch.save(operator.state_dict(), tmp_path / "weights.pt")
    fresh = operators.DenseOperator(4, 3)
    fresh.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(fresh._direction, operator._direction)
    fresh.load_state_dict({"weight": operator.weight.detach()})
    assert fresh._direction is None
    with pytest.raises(RuntimeError, match=r"Missing key.*weight"):
        fresh.load_state_dict({})
    moved = copy.deepcopy(operator).double()
    assert moved.norm_estimate(torch.zeros(1, 4, dtype=torch.float64)).dtype == torch.float64


def test_nan_stops_with_the_batch_named_and_the_last_good_state_kept(tmp_path):
    images, _ = blobs(110)
    broken = images.clone()
    broken[7] = math.nan
    model, repaired, reference = (NETWORKS["flexible"]() for _ in range(3))
    with pytest.raises(FloatingPointError, match=r"nan in epoch 0, batch \d"):
        train(model, tmp_path / "training.pt", images=broken)
    kept = torch.load(tmp_path / "training.pt", weights_only=True)["state"]
    for name, weight in model.named_parameters():
        assert torch.equal(weight, kept["model"][name])
    assert all(torch.isfinite(value).all() for value in kept["model"].values())
    with pytest.raises(FloatingPointError):  # still broken
        train(NETWORKS["flexible"](), tmp_path / "training.pt", images=broken)
    history = train(repaired, tmp_path / "training.pt", images=images)
    assert history == train(reference)
    assert_same(repaired.state_dict(), reference.state_dict())


# ---- killed ----------------------------------------------------------------------------------------------------------


def in_processes(work, *arguments, processes=1):
    """Exit codes of new processes that call work(rank, *arguments)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["chapter_utils.regimes", "chapter_utils.plotting", "torch._dynamo"]
    )  # imported once
    started = [context.Process(target=work, args=(rank, *arguments)) for rank in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        if process.is_alive():
            process.kill()
    return [process.exitcode for process in started]


def train_until_killed(_, file, moment, number):
    """Kill this process at its `number`-th step, or before or after the `number`-th renaming of the checkpoint."""
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


def test_killed_at_any_moment_it_continues_to_the_same_file(tmp_path):
    assert in_processes(train_until_killed, tmp_path / "reference.pt", "never", 0) == [0]
    for moment, number in (
        ("step", 2),
        ("before", 2),
        ("step", 7),
        ("after", 2),
        ("before", 1),
        ("step", 1),
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


# ---- files that cannot be used ---------------------------------------------------------------------------------------


def test_every_kind_of_damage_is_refused_by_name(tmp_path):
    file, state = (
        tmp_path / "state.pt",
        {"weights": torch.arange(50.0), "losses": [1.0, 2.0], "steps": 3},
    )
    checkpoints.save(file, {"seed": 0}, state)
    content = file.read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"state\.pt is damaged"):
            checkpoints.load(file, {"seed": 0})
    refused = 0
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        file.write_bytes(changed)
        try:
            assert_same(checkpoints.load(file, {"seed": 0}), state)  # a byte that means nothing
        except ValueError as error:
            assert "state.pt" in str(error)
            refused += 1
    assert refused > 300


def test_no_code_in_a_file_is_run(tmp_path):
    thing = test_data.Malicious(tmp_path / "taken over")
    torch.save({"kind": checkpoints.KIND, "settings": {}, "state": thing}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(thing))
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(ValueError, match="damaged or no checkpoint"):
            checkpoints.load(tmp_path / name, {})
    assert not (tmp_path / "taken over").exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)  # it would have worked
    assert (tmp_path / "taken over").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 4}, "epochs is 3 there and 4 here"),
        ({"batch_size": 16}, "batch size is 32 there and 16 here"),
        ({"learning_rate": 0.02}, r"learning rate is 0\.01 there and 0\.02 here"),
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"optimiser": torch.optim.SGD}, "optimiser is Adam there and SGD here"),
        (
            {"images": blobs(109)[0]},
            r"shape of the images is \(110, 1, 8, 8\) there and \(109, 1, 8, 8\) here",
        ),
    ],
)
def test_other_settings_are_refused_and_named(options, message, tmp_path):
    file = tmp_path / "training.pt"
    train(NETWORKS["resnet"](), file, stopping(5))
    content, model = file.read_bytes(), NETWORKS["resnet"](seed=1)
    weights = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=rf"training\.pt belongs to other settings: {message}"):
        train(model, file, **options)
    assert file.read_bytes() == content
    assert_same(model.state_dict(), weights)


def test_another_model_and_other_files_are_refused(tmp_path):
    file = tmp_path / "training.pt"
    train(NETWORKS["resnet"](), file, stopping(5))
    wider = models.resnet(width=9, depth=1, **SHAPE)
    with pytest.raises(
        ValueError,
        match=r"weight 1\.branch\.0\.weight is \(8, 64\) torch\.float32 there and \(9, 64\)",
    ):
        train(wider, file)
    with pytest.raises(ValueError, match="absent"):
        train(NETWORKS["flexible"](), file)
    with pytest.raises(ValueError, match=r"float32 there and .* torch\.float64"):
        train(NETWORKS["resnet"]().double(), file)
    torch.save(wider.state_dict(), file)
    with pytest.raises(ValueError, match=r"training\.pt is no checkpoint of"):
        train(wider, file)


@pytest.mark.parametrize("fails", ["replace", "fsync", "write"])
def test_a_full_disk_says_so_and_the_old_file_survives(fails, tmp_path, monkeypatch):
    file = tmp_path / "training.pt"
    train(NETWORKS["resnet"](), file, stopping(5))
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
    assert not train(NETWORKS["resnet"](), file).interrupted


def train_with_small_files_only(_, file):
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        train(NETWORKS["resnet"](), file)
    except OSError as error:
        raise SystemExit(3 if "could not be written" in str(error) else 4) from None


def test_the_operating_system_refuses_to_write(tmp_path):
    file = tmp_path / "training.pt"
    train(NETWORKS["resnet"](), file, stopping(5))
    content = file.read_bytes()
    assert len(content) > 5000
    assert in_processes(train_with_small_files_only, file) == [3]
    assert file.read_bytes() == content and os.listdir(tmp_path) == ["training.pt"]


def on_a_small_disk(work, disk):
    """Call work(disk) in a process that alone sees the 256 KiB mounted on `disk`: the mount ends with it, however it ends."""
    enter = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        subprocess.run([*enter, *mount], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing can be mounted here: {getattr(error, 'stderr', error)}")
    program = "import pathlib, subprocess, sys, test_checkpoints as tests; _, work, disk, *mount = sys.argv; "
    program += "subprocess.run(mount, check=True); getattr(tests, work)(pathlib.Path(disk))"
    command = [*enter, sys.executable, "-c", program, work.__name__, str(disk), *mount]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not os.listdir(disk)  # nothing was written beside the mount


def train_while_the_disk_is_full(disk):
    file, filler, reference, model = (
        disk / "training.pt",
        disk / "filler",
        NETWORKS["resnet"](),
        NETWORKS["resnet"](),
    )
    history = train(reference)
    train(NETWORKS["resnet"](), file, stopping(5))
    before = file.read_bytes()

    def fill(spare):
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - spare))

    def fill_once():
        if not filler.exists():
            fill(len(before) // 2)

    for spare in (0, len(before) // 2):
        fill(spare)
        for name in ("training.pt", "first.pt"):  # with an old file and without
            with pytest.raises(
                OSError, match=rf"{name} could not be written .*No space left.* unchanged"
            ):
                train(NETWORKS["resnet"](), disk / name, stopping(1, AssertionError))
        assert file.read_bytes() == before and sorted(os.listdir(disk)) == ["filler", "training.pt"]
        filler.unlink()
    with pytest.raises(
        OSError, match=r"training\.pt could not be written .*No space left.* unchanged"
    ):
        train(NETWORKS["resnet"](), file, fill_once)  # at the end of the second epoch
    assert file.read_bytes() == before and sorted(os.listdir(disk)) == ["filler", "training.pt"]
    filler.unlink()
    assert train(model, file) == history
    assert_same(model.state_dict(), reference.state_dict())


def test_on_a_disk_that_is_really_full_the_old_file_survives(tmp_path):
    on_a_small_disk(train_while_the_disk_is_full, tmp_path)


def train_while_the_disk_is_read_only(disk):
    file, reference, model, again = disk / "training.pt", *(NETWORKS["resnet"]() for _ in range(3))
    history = train(reference)

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,bind,{how}", str(disk)], check=True)

    train(NETWORKS["resnet"](), file, stopping(5))
    before = file.read_bytes()
    remount("ro")
    with pytest.raises(
        OSError, match=r"training\.pt could not be written .*Read-only file system.* unchanged"
    ):
        train(NETWORKS["resnet"](), file, stopping(1, AssertionError))
    assert file.read_bytes() == before and os.listdir(disk) == ["training.pt"]
    remount("rw")
    assert train(model, file) == history
    assert_same(model.state_dict(), reference.state_dict())
    remount("ro")
    assert train(again, file) == history  # of a finished training nothing need be written
    assert_same(again.state_dict(), reference.state_dict())


def test_a_disk_that_is_really_read_only_stops_it_at_once(tmp_path):
    on_a_small_disk(train_while_the_disk_is_read_only, tmp_path)


def test_a_folder_that_cannot_be_written_to_stops_it_at_once(tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"missing/training\.pt could not be written"):
        train(
            NETWORKS["resnet"](), tmp_path / "missing" / "training.pt", stopping(1, AssertionError)
        )
    monkeypatch.chdir(tmp_path)  # the folders above are closed to others
    file, user = Path("training.pt"), os.geteuid()
    train(NETWORKS["resnet"](), file, stopping(5))
    before = file.read_bytes()
    file.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        if user == 0:  # root may write everywhere, so become nobody
            os.seteuid(65534)
        with pytest.raises(
            OSError, match=r"training\.pt could not be written .*Permission denied.* unchanged"
        ):
            train(NETWORKS["resnet"](), file, stopping(1, AssertionError))
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
    assert file.read_bytes() == before and os.listdir() == ["training.pt"]


# ---- several processes -----------------------------------------------------------------------------------------------


def train_in_parallel(rank, folder, world, killed_at, broken):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting{killed_at}{broken}",
        rank=rank,
        world_size=world,
    )
    images = blobs(110)[0][:97]  # the fourth batch of an epoch holds one image
    if broken and rank == 0:
        images[:] = math.nan
    model = NETWORKS["nonexpansive_cnn"](
        seed=rank
    )  # the wrapper hands the first process's weights to all
    every_step = stopping(killed_at, SystemExit(7))
    try:
        train(DistributedDataParallel(model), folder / "training.pt", every_step, images)
    except FloatingPointError:
        raise SystemExit(5) from None
    torch.save(model.state_dict(), folder / f"weights{rank}.pt")


def test_two_processes_train_the_same_network_as_one(tmp_path):
    assert in_processes(train_in_parallel, tmp_path, 2, 6, False, processes=2) == [7, 7]
    assert in_processes(train_in_parallel, tmp_path, 2, 0, False, processes=2) == [0, 0]
    first, second = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert_same(first, second)
    alone = NETWORKS["nonexpansive_cnn"]()
    train(alone, images=blobs(110)[0][:97])
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-4)
    untrained = NETWORKS["nonexpansive_cnn"]().state_dict()
    assert (
        max(
            (first[name] - value).abs().max()
            for name, value in untrained.items()
            if "weight" in name
        )
        > 0.01
    )


def test_nan_in_one_process_stops_all(tmp_path):
    assert in_processes(train_in_parallel, tmp_path, 2, 0, True, processes=2) == [5, 5]


def test_several_processes_need_the_wrapper(monkeypatch):
    for name, value in (("is_initialized", True), ("get_rank", 0), ("get_world_size", 2)):
        monkeypatch.setattr(dist, name, lambda value=value: value)
    with pytest.raises(ValueError, match="with 2 processes the model must be wrapped"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
