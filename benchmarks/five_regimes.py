"""Five training regimes at several margins: accuracy, also under attack, and certified accuracy.

    python benchmarks/five_regimes.py --epochs 10 --results mnist5k.json
    python benchmarks/five_regimes.py --dataset CIFAR10 --download --channels 32 --epochs 60 \\
        --results cifar10.json
    python benchmarks/five_regimes.py --dataset folder --folder IMAGES --train-images 4000 \\
        --results mine.json
    torchrun --nproc-per-node=2 benchmarks/five_regimes.py --results two.json     (several GPUs)

It needs Lightning Fabric, which the lessons do not:  pip install -e ".[dev]"

Networks of `chapter_utils.models` (lesson 6; Celledoni et al., 2210.02373) are trained with the
hinge loss on images in [0, 1], so margins and radii are in pixel units; "naive" adds 0.1 times its
orthogonality penalty. The attack is PGD on the margin and PGD on the cross-entropy: an image counts
as correct only if it survives both. The certificate is computed in float64. "broken" counts
certified images that an attack got: it must be 0.

The run may be killed at any moment: the same command continues it and ends at the same table.
Finished cells are in the results file; the training under way is beside it (*.pt), as it was after
its last whole epoch, and so is the lock that keeps a second run away (Linux and macOS).
"""

import copy
import json
import math
import sys
import time
import zlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import nullcontext
from pathlib import Path

import torch
from devices import named_device
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from resumable import (
    Fabric,
    Named,
    command,
    fabric_of,
    finished_rows,
    the_only_run,
    train,
)
from torch import Generator, Tensor, nn

from chapter_utils import attacks, certificates, data, models, operators, plotting, training
from files import replace_file

PENALTY = 0.1  # weight of the orthogonality penalty in "naive"


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
    settings["checksum"] = [zlib.crc32(part.numpy()) for part in images[:4]]
    return settings


# ---- the experiment ------------------------------------------------------------------------------


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
        robustness_curves(axis, rows[0]["radii"], curves)
        axis.set_title(f"margin {margin:g}: attacked (solid), certified (dashed)", fontsize=8)
        if axis is not axes[-1]:
            axis.get_legend().remove()
    return plotting.png(figure)


def robustness_curves(axis: Axes, radii: list[float], curves: dict[str, tuple]) -> None:
    """For each model its accuracy under attack, and certified or None, over the radius.

    Attack solid with a marker, certificate dashed in the same colour with the same, hollow marker.
    Raises ValueError for more curves than there are colours.
    """
    if len(curves) > len(plotting.COLOURS):
        raise ValueError(
            f"at most {len(plotting.COLOURS)} curves can be told apart, got {len(curves)}"
        )
    for number, (name, (attacked, certified)) in enumerate(curves.items()):
        style = {"color": plotting.COLOURS[number], "marker": plotting.MARKERS[number]}
        axis.plot(radii, attacked, linestyle="-", label=name, **style)
        if certified is not None:
            axis.plot(radii, certified, linestyle="--", markerfacecolor="white", **style)
    radius = r"radius $\varepsilon$ ($\ell_2$, pixels in [0, 1])"
    axis.set(xlabel=radius, ylabel="accuracy", ylim=(-0.02, 1.02))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def run(options: Namespace) -> None:
    torch.backends.cudnn.deterministic = True  # the same numbers after a break
    fabric = fabric_of(named_device(options.device))
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


def write_rows(results: Path, settings: Named, versions: Named, rows: list[dict]) -> None:
    content = {"settings": settings, "versions": versions, "rows": rows}
    replace_file(results, (json.dumps(content, indent=1) + "\n").encode())


def experiment(options: Namespace, images: data.ImageData, settings: Named, fabric: Fabric) -> None:
    versions = {"torch": str(torch.__version__), "python": sys.version.split()[0]}
    rows = finished_rows(options.results, settings, versions)

    def write() -> None:
        if fabric.is_global_zero:
            write_rows(options.results, settings, versions, rows)

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
    command(__doc__, options_of, run, arguments)


if __name__ == "__main__":
    main()
