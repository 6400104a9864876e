"""Five training regimes at several margins: accuracy, also under attack, and certified accuracy.

    python benchmarks/five_regimes.py --epochs 10 --results mnist5k.json
    python benchmarks/five_regimes.py --dataset CIFAR10 --download --channels 32 --epochs 60 \\
        --results cifar10.json
    python benchmarks/five_regimes.py --dataset folder --folder IMAGES --train-images 4000 \\
        --results mine.json
    torchrun --nproc-per-node=2 benchmarks/five_regimes.py --results two.json     (several GPUs)

It needs Lightning Fabric, which the lessons do not:  pip install -e ".[dev]"

Networks of `chapter_utils.regimes` (lesson 6; Celledoni et al., 2210.02373) are trained with the
hinge loss on images in [0, 1], so margins and radii are in pixel units; "naive" adds 0.1 times its
orthogonality penalty. The attack is PGD on the margin and PGD on the cross-entropy: an image counts
as correct only if it survives both. The certificate is computed in float64. "broken" counts
certified images that an attack got: it must be 0.

The run may be killed at any moment: the same command continues it and ends at the same table.
Finished cells are in the results file; the training under way is beside it (*.pt), as it was after
its last whole epoch, and so is the lock that keeps a second run away (Linux and macOS).
"""

import copy
import fcntl
import io
import json
import math
import os
import sys
import time
import zipfile
import zlib
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from chapter_utils import attacks, certificates, data, models, operators, plotting, training
from files import replace_file

try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
except ModuleNotFoundError:
    sys.exit('five_regimes.py needs Lightning Fabric: pip install -e ".[dev]"')

PENALTY = 0.1  # weight of the orthogonality penalty in "naive"
KIND = "a training of five_regimes.py, version 2"
ABSENT = "absent"
Named = dict[str, Any]  # settings, a row of the table, the parts of a training


# ---- what is asked for ---------------------------------------------------------------------------


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"a positive number is needed, got {text}")
    return value


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"a whole number of at least 1 is needed, got {text}")
    return int(text)


def options_of(parser: ArgumentParser, arguments: list[str] | None) -> Namespace:
    add = parser.add_argument
    sets = ("mnist5k", *data.TORCHVISION_SETS, "folder")
    add("--dataset", default="mnist5k", choices=sets)
    where = "where the images are; see chapter_utils.data.load_images"
    add("--folder", default="data", help=where)
    add("--download", action="store_true", help="fetch the data set if it is missing")
    some = "use only so many, chosen by the seed (default: all)"
    add("--train-images", type=count, help=some)
    add("--test-images", type=count, help=some)
    names = list(models.REGIMES)
    add("--regimes", nargs="+", default=names, choices=models.REGIMES)
    add("--margins", nargs="+", type=positive, default=[0.07, 0.15, 0.3])
    counts = {
        "epochs": 10,
        "channels": 16,
        "depth": 1,
        "batch-size": 64,
        "attack-steps": 40,
        "restarts": 1,
    }
    for name, value in counts.items():
        add(f"--{name}", type=count, default=value, help=f"(default: {value})")
    add("--learning-rate", type=positive, default=5e-3)
    radii = [8 / 255, 16 / 255, 36 / 255, 0.3, 0.5, 0.6, 0.8, 1.0]
    add("--radii", nargs="+", type=positive, default=radii)
    add("--seed", type=int, default=0)
    add("--device", default="auto")
    add("--note", default="", help="kept in the results file")
    file = "JSON file to write or to continue; a PNG goes beside it"
    add("--results", type=Path, required=True, help=file)
    options = parser.parse_args(arguments)

    for name in ("regimes", "margins", "radii"):
        given = getattr(options, name)
        if len(set(given)) < len(given):
            parser.error(f"argument --{name}: each may be given only once")
    if options.radii != sorted(options.radii):
        parser.error(f"argument --radii: increasing order is needed, got {options.radii}")
    if not options.results.parent.is_dir():
        parser.error(f"argument --results: the folder {options.results.parent} does not exist")
    return options


def chosen_images(options: Namespace) -> data.ImageData:
    loaded = data.load_images(options.dataset, options.folder, options.download)
    train = some_of("training", *loaded[:2], options.train_images, options.seed)
    test = some_of("test", *loaded[2:4], options.test_images, options.seed)
    return data.ImageData(*train, *test, loaded.classes)


def some_of(
    name: str, images: Tensor, labels: Tensor, wanted: int | None, seed: int
) -> tuple[Tensor, Tensor]:
    if not wanted:
        return images, labels
    if wanted > len(images):
        raise ValueError(f"{wanted} {name} images are asked for, but there are only {len(images)}")
    order = torch.randperm(len(images), generator=Generator().manual_seed(seed))
    chosen = order[:wanted]
    return images[chosen], labels[chosen]


def settings_of(
    options: Namespace, images: data.ImageData, device: torch.device, processes: int
) -> Named:
    """All that the numbers depend on, and nothing else (not where the files are)."""
    places = ("results", "folder", "download", "device", "train_images", "test_images")
    settings = {name: value for name, value in vars(options).items() if name not in places}
    settings["train_images"] = len(images.train_images)
    settings["test_images"] = len(images.test_images)
    settings["classes"] = list(images.classes)
    settings["image_shape"] = list(images.train_images.shape[1:])
    settings["penalty"] = PENALTY
    settings["device"] = device.type
    settings["processes"] = processes
    settings["checksum"] = [zlib.crc32(part.numpy().tobytes()) for part in images[:4]]
    return settings


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


# ---- one training, on any number of processes, that can be continued -----------------------------


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
) -> list[float]:
    """What `training.fit` does, each process with its share of every batch; the mean losses.

    After each epoch the state is kept in `checkpoint`; if the file exists, it is continued.
    """
    generator = Generator().manual_seed(options.seed)
    steps_per_epoch = math.ceil(len(images) / options.batch_size)
    steps = options.epochs * steps_per_epoch
    adam = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
    schedule = training.one_cycle(adam, options.learning_rate, steps)
    network, optimiser = fabric.setup(model, adam)
    parts = {"model": model, "optimiser": adam, "schedule": schedule}
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
                x = training.random_shift(images[chosen], generator)  # the same in every process
                y = labels[chosen]
                mine, weight = share(len(chosen), fabric.global_rank, fabric.world_size)
                value = weight * loss(network(x[mine]), y[mine])
                optimiser.zero_grad()
                fabric.backward(value)
                training.check_finite(value, model, epoch, batch)
                optimiser.step()
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


# ---- the experiment ------------------------------------------------------------------------------


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


def train_cell(
    options: Namespace,
    regime: str,
    margin: float,
    images: data.ImageData,
    fabric: Fabric,
    checkpoint: Path,
    settings: Named,
) -> tuple[nn.Module, Named]:
    shape = images.train_images.shape[1:]
    classes = len(images.classes)
    model = models.regime_net(regime, shape, classes, options.channels, options.depth, options.seed)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        value = training.hinge_loss(logits, labels, margin)
        if regime == "naive":
            value = value + PENALTY * operators.orthogonality_penalty(model)
        return value

    def after_step(model: nn.Module) -> None:
        if regime in models.CERTIFIED:
            operators.restore_orthonormal_rows(model)

    continued = checkpoint.exists()
    start = time.perf_counter()
    x = images.train_images
    y = images.train_labels
    cell = {"regime": regime, "margin": margin}
    losses = train(fabric, model, x, y, loss, after_step, options, checkpoint, settings | cell)
    seconds = None if continued else round(time.perf_counter() - start, 1)
    return model, {**cell, "loss": losses[-1], "seconds": seconds}


def evaluate(
    options: Namespace, model: nn.Module, images: Tensor, labels: Tensor, fabric: Fabric
) -> Named:
    radii = [0.0, *options.radii]
    bound = certificates.lipschitz_bound(copy.deepcopy(model).double(), tuple(images.shape[1:]))
    counts = torch.zeros(3, len(radii), dtype=torch.float64, device=images.device)
    mine = slice(fabric.global_rank, None, fabric.world_size)
    for x, y in zip(images[mine].split(500), labels[mine].split(500), strict=True):
        radius = certificates.certify(model, x, y)
        certified = torch.stack([radius > eps for eps in radii])
        standing = survivors(options, model, x, y, radii)
        counts += torch.stack([standing, certified, certified & ~standing]).sum(2)
    counts = fabric.all_reduce(counts, reduce_op="sum")
    attacked, certified, broken = (counts / len(images)).tolist()
    area = torch.trapezoid(torch.tensor(attacked), torch.tensor(radii)).item()
    return {
        "bound": bound,
        "clean": attacked[0],
        "radii": radii,
        "attacked": attacked,
        "certified": certified,
        "broken": round(sum(broken) * len(images)),
        "auc": round(area / radii[-1], 6),
    }


def survivors(
    options: Namespace, model: nn.Module, x: Tensor, y: Tensor, radii: list[float]
) -> Tensor:
    """For each radius, which images both attacks leave correct."""
    settings = {
        "steps": options.attack_steps,
        "restarts": options.restarts,
        "seed": options.seed,
    }
    survives = torch.zeros(len(radii), len(x), dtype=torch.bool, device=x.device)
    standing = torch.arange(len(x), device=x.device)
    for row, eps in zip(survives, radii, strict=True):
        for loss in attacks.LOSSES:
            # What fell once, or to a smaller radius, need not be attacked again.
            if len(standing):
                correct = attacks.attacked_correct(
                    model, x[standing], y[standing], [eps], loss=loss, **settings
                )
                standing = standing[correct[0]]
        row[standing] = True
    return survives


def table(rows: list[dict]) -> str:
    title = "accuracy in % under attack / certified, at each l2 radius; "
    title += "AUC of the former over all radii"
    head = f"{'regime':14s}{'margin':>7s}{'bound':>12s}{'AUC':>7s}{'broken':>8s}{'seconds':>9s}"
    head += "".join(f"{eps:>11.3g}" for eps in rows[0]["radii"])
    lines = [title, head]
    for row in rows:
        line = f"{row['regime']:14s}{row['margin']:7g}{row['bound']:12.6f}{row['auc']:7.3f}"
        line += f"{row['broken']:8d}{row['seconds'] or '-':>9}"
        for attacked, certified in zip(row["attacked"], row["certified"], strict=True):
            cell = f"{100 * attacked:.1f}/{100 * certified:.1f}"
            line += f"{cell:>11s}"
        lines.append(line)
    return "\n".join(lines)


def picture(rows: list[dict], margins: list[float]) -> bytes:
    figure = Figure(figsize=(3.2 * len(margins) + 1.8, 3.2), layout="constrained", dpi=100)
    axes = figure.subplots(1, len(margins), squeeze=False)[0]
    for axis, margin in zip(axes, margins, strict=True):
        curves = {}
        for row in rows:
            if row["margin"] == margin:
                curves[row["regime"]] = (row["attacked"], row["certified"])
        plotting.robustness_curves(axis, rows[0]["radii"], curves)
        axis.set_title(f"margin {margin:g}: attacked (solid), certified (dashed)", fontsize=8)
        if axis is not axes[-1]:
            axis.get_legend().remove()
    return plotting.png(figure)


def run(options: Namespace) -> None:
    torch.backends.cudnn.deterministic = True  # the same numbers after a break
    fabric = fabric_of(training.pick_device(options.device))
    images = chosen_images(options)
    if len(images.test_images) < fabric.world_size:
        raise ValueError(
            f"at least one test image for each of the {fabric.world_size} processes is needed, "
            f"got {len(images.test_images)}"
        )
    shape = images.train_images.shape[1:]
    classes = len(images.classes)
    models.regime_net(options.regimes[0], shape, classes, options.channels)  # does it fit?
    settings = settings_of(options, images, fabric.device, fabric.world_size)
    with the_only_run(options.results) if fabric.is_global_zero else nullcontext():
        experiment(options, images.to(fabric.device), settings, fabric)


def experiment(options: Namespace, images: data.ImageData, settings: Named, fabric: Fabric) -> None:
    versions = {"torch": str(torch.__version__), "python": sys.version.split()[0]}
    rows = finished_rows(options.results, settings, versions)

    def write() -> None:
        if fabric.is_global_zero:
            content = {"settings": settings, "versions": versions, "rows": rows}
            text = json.dumps(content, indent=1) + "\n"
            replace_file(options.results, text.encode())

    write()  # at once: a folder that cannot be written to is told before the first step
    fabric.barrier()
    cells = [(regime, margin) for margin in options.margins for regime in options.regimes]
    for number, (regime, margin) in enumerate(cells):
        checkpoint = options.results.with_name(f"{options.results.stem}.{regime}.{margin}.pt")
        if number >= len(rows):
            model, row = train_cell(
                options, regime, margin, images, fabric, checkpoint, settings | versions
            )
            found = evaluate(options, model, images.test_images, images.test_labels, fabric)
            rows.append(row | found)
            write()
            if fabric.is_global_zero:
                print(f"{len(rows)} of {len(cells)} done: {regime}, margin {margin}", flush=True)
        if fabric.is_global_zero:
            checkpoint.unlink(missing_ok=True)
    if fabric.is_global_zero:
        replace_file(options.results.with_suffix(".png"), picture(rows, options.margins))
        print(table(rows))


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    options = options_of(parser, arguments)
    try:
        run(options)
    except (ValueError, OSError, FloatingPointError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues")


if __name__ == "__main__":
    main()
