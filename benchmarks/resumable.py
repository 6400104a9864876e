"""A training that may be killed at any moment and continued, on one process or several.

Used by five_regimes.py and cifar.py. The state after the last whole epoch is in a checkpoint;
finished rows are in a results file.
"""

import fcntl
import io
import json
import math
import os
import sys
import zipfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from chapter_utils import operators, training
from files import replace_file

try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
except ModuleNotFoundError:
    sys.exit(f'{Path(sys.argv[0]).name} needs Lightning Fabric: pip install -e ".[dev]"')

KIND = "a training of benchmarks/resumable.py, version 3"
ABSENT = "absent"
Named = dict[str, Any]  # settings, a row of the table, the parts of a training


def refuse_other_settings(path: Path, stored: Named, wanted: Named) -> None:
    """Raises ValueError naming what differs: a file is continued only as it was begun."""
    differing = []
    for name in {**stored, **wanted}:
        there = stored.get(name, ABSENT)
        here = wanted.get(name, ABSENT)
        if there != here:
            differing.append(f"{name} is {there} there and {here} here")
    if differing:
        told = "; ".join(differing[:3])
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        remedy = "Delete it or give another name"
        raise ValueError(f"{path} belongs to other settings: {told}{more}. {remedy}")


def command(
    text: str,
    options_of: Callable[[ArgumentParser, list[str] | None], Namespace],
    run: Callable[[Namespace], None],
    arguments: list[str] | None,
) -> None:
    """Runs an experiment from the command line: what the user can mend is said without a trace."""
    parser = ArgumentParser(description=text, formatter_class=RawDescriptionHelpFormatter)
    options = options_of(parser, arguments)
    try:
        run(options)
    except (ValueError, OSError, FloatingPointError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues")


class SafeCheckpoints(TorchCheckpointIO):
    """How Fabric keeps a training: in a file that is complete or absent and never run as code."""

    def save_checkpoint(self, checkpoint: Named, path: Path, storage_options=None) -> None:
        buffer = io.BytesIO()  # a full disk then fails in one place, with one kind of error
        torch.save(checkpoint, buffer)
        replace_file(path, buffer.getvalue())

    def load_checkpoint(self, path: Path, map_location="cpu", weights_only=None) -> Named:
        """Only tensors and plain values are read, whatever `weights_only` says.

        Raises ValueError with the name of the file if it is damaged or is no checkpoint.
        """
        content = io.BytesIO(Path(path).read_bytes())
        try:
            with zipfile.ZipFile(content) as archive:
                if part := archive.testzip():  # compares checksums, which torch.load does not
                    raise zipfile.BadZipFile(part)
            content.seek(0)
            found = torch.load(content, map_location="cpu", weights_only=True)
        except Exception as error:  # damage can show in any way
            remedy = "delete it to start anew"
            raise ValueError(f"{path} is damaged or no checkpoint: {remedy}") from error
        if not isinstance(found, dict) or found.get("kind") != KIND:
            raise ValueError(f"{path} is no checkpoint of {KIND}: delete it or give another name")
        return found


def fabric_of(device: torch.device) -> Fabric:
    """This process alone, or all those that torchrun started."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", 1))
    a_certain_gpu = device.index is not None and here * nodes == 1
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index] if a_certain_gpu else here,
        num_nodes=nodes,
        plugins=[SafeCheckpoints()],
    )
    fabric.launch()
    return fabric


def train(
    fabric: Fabric,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    after_step: Callable[[nn.Module], None],
    options: Namespace,
    checkpoint: Path,
    settings: Named,
    optimiser: Callable = torch.optim.Adam,
    augment: Callable[[Tensor, Generator], Tensor] = training.random_shift,
) -> list[float]:
    """What `training.fit` does, each process with its share of every batch; the mean losses.

    After each epoch the state is kept in `checkpoint`; if the file exists, it is continued.
    """
    generator = Generator().manual_seed(options.seed)
    steps_per_epoch = math.ceil(len(images) / options.batch_size)
    steps = options.epochs * steps_per_epoch
    method = optimiser(model.parameters(), lr=options.learning_rate)
    schedule = training.one_cycle(method, options.learning_rate, steps)
    network, wrapped = fabric.setup(model, method)
    parts = {"model": model, "optimiser": method, "schedule": schedule}
    losses: list[float] = []
    if checkpoint.exists():
        losses = restore(checkpoint, fabric.load(checkpoint), settings, parts, generator)
    network.train()
    shown = fabric.is_global_zero and sys.stderr.isatty()
    with training.progress_bar(steps, shown, done=len(losses) * steps_per_epoch) as bar:
        for epoch in range(len(losses), options.epochs):
            total = 0.0
            batches = training.random_batches(labels, options.batch_size, generator)
            for batch, chosen in enumerate(batches):
                x = augment(images[chosen], generator)  # the same in every process
                y = labels[chosen]
                mine, weight = share(len(chosen), fabric.global_rank, fabric.world_size)
                value = weight * loss(network(x[mine]), y[mine])
                wrapped.zero_grad()
                fabric.backward(value)
                training.check_finite(value, model, epoch, batch)
                wrapped.step()
                schedule.step()
                after_step(model)
                total = total + value.detach() * len(chosen)
                bar.update()
            losses.append(fabric.all_reduce(total).item() / len(images))
            state = {
                "kind": KIND,
                "settings": settings,
                "losses": losses,
                "generator": generator.get_state(),
                "directions": {name: part.direction for name, part in operators_of(model)},
            }
            fabric.save(checkpoint, state | parts)
    network.eval()
    return losses


def operators_of(model: nn.Module) -> list[tuple[str, operators.LinearOperator]]:
    """The operators by name: where their power iteration stands is no part of `state_dict`."""
    named = model.named_modules()
    return [(name, part) for name, part in named if isinstance(part, operators.LinearOperator)]


def restore(
    checkpoint: Path,
    found: Named,
    settings: Named,
    parts: Named,
    generator: Generator,
) -> list[float]:
    """Gives the parts of a training the state that was found; returns the losses so far."""
    refuse_other_settings(checkpoint, found.get("settings", {}), settings)
    try:
        for name, part in parts.items():
            part.load_state_dict(found[name])
        for name, operator in operators_of(parts["model"]):
            operator.direction = found["directions"][name]
        generator.set_state(found["generator"])
        return found["losses"]
    except (KeyError, RuntimeError, ValueError) as error:
        remedy = "delete it to start anew"
        raise ValueError(f"{checkpoint} is of another network: {remedy} ({error})") from error


def share(images: int, rank: int, processes: int) -> tuple[slice, float]:
    """What one process takes of a batch, and the weight of its mean in the processes' mean."""
    if rank >= images:  # too few images: take the first and do not count it
        return slice(0, 1), 0.0
    mine = slice(rank, None, processes)
    taken = len(range(rank, images, processes))
    return mine, processes * taken / images


@contextmanager
def the_only_run(results: Path):
    """The lock belongs to the process: it is gone when the process is, however it ended."""
    with open(results.with_name(f".{results.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another run is writing {results}: wait for it or give another name"
            ) from None
        yield


def finished_rows(results: Path, settings: Named, versions: Named) -> list[dict]:
    if not results.exists():
        return []
    try:
        found = json.loads(results.read_text())
        rows = found["rows"]
        stored = found["settings"] | found["versions"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{results} is damaged or no results file of this script: "
            "delete it or give another name"
        ) from error
    refuse_other_settings(results, stored, settings | versions)
    return rows
