"""Five training regimes at several margins: accuracy, accuracy under attack and certified accuracy, as one experiment.

    python benchmarks/five_regimes.py --epochs 10 --results mnist5k.json
    python benchmarks/five_regimes.py --dataset CIFAR10 --download --channels 32 --epochs 60 --results cifar10.json
    python benchmarks/five_regimes.py --dataset folder --folder IMAGES --train-images 4000 --results mine.json
    torchrun --nproc-per-node=2 benchmarks/five_regimes.py --results two.json        (several GPUs, or processes)

Networks of `chapter_utils.regimes` (lesson 6; Celledoni et al., 2210.02373) are trained with the hinge loss on images in [0, 1], so
margins and radii are in pixel units; "naive" adds 0.1 times its orthogonality penalty. The attack is PGD on the margin and PGD on
the cross-entropy: an image counts as correct only if it survives both. The certificate is computed in float64.
"broken" counts certified images that an attack got: it must be 0.

The run may be killed at any moment: the same command continues it and ends at the same table. Finished cells are in the results
file, the training under way is beside it (*.pt), as is the lock that keeps a second run away (Linux and macOS).
"""

import argparse
import copy
import fcntl
import json
import math
import os
import sys
import time
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from chapter_utils import (
    checkpoints,
    data,
    lipschitz,
    operators,
    plotting,
    regimes,
    robustness,
    training,
)

PENALTY = 0.1  # weight of the orthogonality penalty in "naive"


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a positive number is needed, got {text}")
    return value


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is needed, got {text}")
    return int(text)


def options_of(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    parser.add_argument(
        "--dataset", default="mnist5k", choices=("mnist5k", *data.TORCHVISION_SETS, "folder")
    )
    parser.add_argument(
        "--folder", default="data", help="where the images are; see chapter_utils.data.load_images"
    )
    parser.add_argument(
        "--download", action="store_true", help="fetch the data set if it is missing"
    )
    parser.add_argument(
        "--train-images", type=count, help="use only so many, chosen by the seed (default: all)"
    )
    parser.add_argument(
        "--test-images", type=count, help="use only so many, chosen by the seed (default: all)"
    )
    parser.add_argument(
        "--regimes", nargs="+", default=list(regimes.REGIMES), choices=regimes.REGIMES
    )
    parser.add_argument("--margins", nargs="+", type=positive, default=[0.07, 0.15, 0.3])
    for name, value in (
        ("epochs", 10),
        ("channels", 16),
        ("depth", 1),
        ("batch-size", 64),
        ("attack-steps", 40),
        ("restarts", 1),
    ):
        parser.add_argument(f"--{name}", type=count, default=value, help=f"(default: {value})")
    parser.add_argument("--learning-rate", type=positive, default=5e-3)
    parser.add_argument(
        "--radii",
        nargs="+",
        type=positive,
        default=[8 / 255, 16 / 255, 36 / 255, 0.3, 0.5, 0.6, 0.8, 1.0],
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--note", default="", help="kept in the results file")
    parser.add_argument(
        "--results",
        type=Path,
        required=True,
        help="JSON file to write or to continue; a PNG goes beside it",
    )
    options = parser.parse_args(arguments)
    for name in ("regimes", "margins", "radii"):
        if len(set(getattr(options, name))) < len(getattr(options, name)):
            parser.error(f"argument --{name}: each may be given only once")
    if options.radii != sorted(options.radii):
        parser.error(f"argument --radii: increasing order is needed, got {options.radii}")
    if not options.results.parent.is_dir():
        parser.error(f"argument --results: the folder {options.results.parent} does not exist")
    return options


def chosen_images(options: argparse.Namespace) -> data.ImageData:
    loaded = data.load_images(options.dataset, options.folder, options.download)
    parts = []
    for name, images, labels, wanted in (
        ("training", *loaded[:2], options.train_images),
        ("test", *loaded[2:4], options.test_images),
    ):
        if wanted and wanted > len(images):
            raise ValueError(
                f"{wanted} {name} images are asked for, but there are only {len(images)}"
            )
        if wanted:
            order = torch.randperm(
                len(images), generator=torch.Generator().manual_seed(options.seed)
            )
            images, labels = images[order[:wanted]], labels[order[:wanted]]
        parts += [images, labels]
    return data.ImageData(*parts, loaded.classes)


def settings_of(
    options: argparse.Namespace, images: data.ImageData, device: torch.device, world: int
) -> dict:
    """All that the numbers depend on, and nothing else (not where the files are)."""
    places = ("results", "folder", "download", "device", "train_images", "test_images")
    return {name: value for name, value in vars(options).items() if name not in places} | {
        "train_images": len(images.train_images), "test_images": len(images.test_images), "classes": list(images.classes),
        "image_shape": list(images.train_images.shape[1:]), "penalty": PENALTY, "device": device.type, "processes": world,
        "checksum": [zlib.crc32(part.numpy().tobytes()) for part in images[:4]],
    }  # fmt: skip


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


def finished_rows(results: Path, settings: dict, versions: dict) -> list[dict]:
    if not results.exists():
        return []
    try:
        found = json.loads(results.read_text())
        rows, stored = found["rows"], found["settings"] | found["versions"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{results} is damaged or no results file of this script: delete it or give another name"
        ) from error
    checkpoints.refuse_other_settings(results, stored, settings | versions)
    return rows


def train_cell(
    options, regime: str, margin: float, images: data.ImageData, world: int, checkpoint: Path
) -> tuple[nn.Module, dict]:
    shape, device = images.train_images.shape[1:], images.train_images.device
    model = regimes.regime_net(
        regime, shape, len(images.classes), options.channels, options.depth, options.seed
    ).to(device)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        value = training.hinge_loss(logits, labels, margin)
        return (
            value + PENALTY * regimes.orthogonality_penalty(model) if regime == "naive" else value
        )

    after_step = operators.restore_orthonormal_rows if regime in regimes.CERTIFIED else None
    continued, start = checkpoint.exists(), time.perf_counter()
    history = training.fit(
        DistributedDataParallel(model) if world > 1 else model, *images[:2], loss, options.epochs, options.batch_size,
        options.learning_rate, after_step, training.random_shift, seed=options.seed, progress=sys.stderr.isatty(),
        checkpoint=checkpoint,
    )  # fmt: skip
    if history.interrupted:
        raise KeyboardInterrupt
    seconds = None if continued else round(time.perf_counter() - start, 1)
    return model, {
        "regime": regime,
        "margin": margin,
        "loss": history.losses[-1],
        "seconds": seconds,
    }


def evaluate(
    options, model: nn.Module, images: Tensor, labels: Tensor, rank: int, world: int
) -> dict:
    radii = [0.0, *options.radii]
    bound = lipschitz.lipschitz_bound(copy.deepcopy(model).double(), tuple(images.shape[1:]))
    counts = torch.zeros(3, len(radii), dtype=torch.float64, device=images.device)
    for x, y in zip(images[rank::world].split(500), labels[rank::world].split(500), strict=True):
        radius = robustness.certify(model, x, y)
        certified = torch.stack([radius > eps for eps in radii])
        survives, standing = torch.zeros_like(certified), torch.arange(len(x), device=x.device)
        for row, eps in zip(survives, radii, strict=True):
            for name in (
                robustness.LOSSES
            ):  # what fell once, or to a smaller radius, need not be attacked again
                if len(standing):
                    attack = {
                        "steps": options.attack_steps,
                        "restarts": options.restarts,
                        "loss": name,
                        "seed": options.seed,
                    }
                    standing = standing[
                        robustness.attacked_correct(
                            model, x[standing], y[standing], [eps], **attack
                        )[0]
                    ]
            row[standing] = True
        counts += torch.stack([survives, certified, certified & ~survives]).sum(2)
    if world > 1:
        dist.all_reduce(counts)
    attacked, certified, broken = (counts / len(images)).tolist()
    area = torch.trapezoid(torch.tensor(attacked), torch.tensor(radii)).item() / radii[-1]
    return {
        "bound": bound, "clean": attacked[0], "radii": radii, "attacked": attacked, "certified": certified,
        "broken": round(sum(broken) * len(images)), "auc": round(area, 6),
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    lines = [
        "accuracy in % under attack / certified, at each l2 radius; AUC of the former over all radii"
    ]
    head = f"{'regime':14s}{'margin':>7s}{'bound':>12s}{'AUC':>7s}{'broken':>8s}{'seconds':>9s}"
    lines.append(head + "".join(f"{eps:>11.3g}" for eps in rows[0]["radii"]))
    for row in rows:
        cells = (
            f"{100 * a:.1f}/{100 * c:.1f}"
            for a, c in zip(row["attacked"], row["certified"], strict=True)
        )
        start = f"{row['regime']:14s}{row['margin']:7g}{row['bound']:12.6f}{row['auc']:7.3f}{row['broken']:8d}"
        lines.append(
            start + f"{row['seconds'] or '-':>9}" + "".join(f"{cell:>11s}" for cell in cells)
        )
    return "\n".join(lines)


def picture(rows: list[dict], margins: list[float]) -> bytes:
    figure = Figure(figsize=(3.2 * len(margins) + 1.8, 3.2), layout="constrained", dpi=100)
    for number, (axis, margin) in enumerate(
        zip(figure.subplots(1, len(margins), squeeze=False)[0], margins, strict=True)
    ):
        curves = {
            row["regime"]: (row["attacked"], row["certified"])
            for row in rows
            if row["margin"] == margin
        }
        plotting.robustness_curves(axis, rows[0]["radii"], curves)
        axis.set_title(f"margin {margin:g}: attacked (solid), certified (dashed)", fontsize=8)
        if number < len(margins) - 1:
            axis.get_legend().remove()
    return plotting.png(figure)


def run(options: argparse.Namespace) -> None:
    device, rank, world = (
        training.pick_device(options.device),
        0,
        int(os.environ.get("WORLD_SIZE", 1)),
    )
    torch.backends.cudnn.deterministic = True  # the same numbers after a break
    if world > 1:
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        rank = dist.get_rank()
    images = chosen_images(options)
    if len(images.test_images) < world:
        raise ValueError(
            f"at least one test image for each of the {world} processes is needed, got {len(images.test_images)}"
        )
    regimes.regime_net(
        options.regimes[0], images.train_images.shape[1:], len(images.classes), options.channels
    )  # does it fit?
    settings = settings_of(options, images, device, world)
    with the_only_run(options.results) if rank == 0 else nullcontext():
        experiment(options, images.to(device), settings, rank, world)


def experiment(
    options: argparse.Namespace, images: data.ImageData, settings: dict, rank: int, world: int
) -> None:
    versions = {"torch": torch.__version__, "python": sys.version.split()[0]}
    rows = finished_rows(options.results, settings, versions)

    def write() -> None:
        content = {"settings": settings, "versions": versions, "rows": rows}
        checkpoints.replace_file(options.results, (json.dumps(content, indent=1) + "\n").encode())

    if rank == 0:
        write()
    if world > 1:
        dist.barrier()
    cells = [(regime, margin) for margin in options.margins for regime in options.regimes]
    for number, (regime, margin) in enumerate(cells):
        checkpoint = options.results.with_name(f"{options.results.stem}.{regime}.{margin}.pt")
        if number >= len(rows):
            model, row = train_cell(options, regime, margin, images, world, checkpoint)
            rows.append(row | evaluate(options, model, *images[2:4], rank, world))
            if rank == 0:
                write()
                print(f"{len(rows)} of {len(cells)} done: {regime}, margin {margin}", flush=True)
        if rank == 0:
            checkpoint.unlink(missing_ok=True)
    if rank == 0:
        checkpoints.replace_file(
            options.results.with_suffix(".png"), picture(rows, options.margins)
        )
        print(table(rows))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options = options_of(parser, arguments)
    try:
        run(options)
    except (ValueError, OSError, FloatingPointError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues")
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
