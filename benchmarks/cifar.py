"""Certified colour images: CIFAR-10, CIFAR-100 or your own, on two CPU cores.

    python benchmarks/cifar.py --download --results cifar10.json
    python benchmarks/cifar.py --dataset CIFAR100 --download --results cifar100.json
    python benchmarks/cifar.py --dataset folder --folder IMAGES --results mine.json
    python benchmarks/cifar.py ... --validation      chooses settings: the test images stay unread

Trains `chapter_utils.models.colour_net` (lesson 7) on all training images in [0, 1] and reads the
test images once, at the end. l2 radii in pixel units. The bound of each network is at most 1; the
certificate is that of `certificates.certify`, in float64, rounding included. Some of the test
images are attacked in float64 as well: PGD on the margin and on the cross-entropy, and DDN of
foolbox. An image stands if it survives all of PGD; "broken" counts certified pairs of image and
attack that an attack got: it must be 0.

Two settings of one recipe: "far" asks for a margin of 1, "near" for 0.6. The run may be killed at
any moment: the same command continues it. The trained networks (*.pt) and an image of each class,
attacked, are beside the results. A GPU is used if there is one, for products in TF32. It needs
Lightning Fabric and foolbox:  pip install -e ".[dev]"
"""

import io
import resource
import sys
import time
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

import foolbox
import torch
import torch.nn.functional as F
from devices import named_device
from five_regimes import count, positive, settings_of, survivors, write_rows
from PIL import Image
from resumable import Named, command, fabric_of, finished_rows, the_only_run, train
from torch import Generator, Tensor, nn

from chapter_utils import attacks, certificates, data, models, muon, operators, training
from files import replace_file

SETTINGS = {"far": 1.0, "near": 0.6}  # the margin asked for
TEMPERATURE = 0.25
RADII = [36 / 255, 72 / 255, 108 / 255]
GRID = [0.05 * number for number in range(31)]  # radii of the certified curve
ATTACK = ("attack_images", "attack_steps", "restarts")  # the options no training depends on
HELD_OUT = 5000
REACH = 1  # pixels by which an image moves at most


def options_of(parser: ArgumentParser, arguments: list[str] | None) -> Namespace:
    add = parser.add_argument
    add("--dataset", default="CIFAR10", choices=("CIFAR10", "CIFAR100", "folder"))
    add("--folder", default="data", help="see chapter_utils.data.load_images")
    add("--download", action="store_true", help="fetch the data set if it is missing")
    add("--validation", action="store_true", help=f"test on {HELD_OUT} of the training images")
    add("--margins", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    add("--seeds", nargs="+", type=int, default=[0])
    counts = {
        "epochs": 36,
        "channels": 256,
        "width": 128,
        "depth": 4,
        "batch-size": 256,
        "attack-images": 500,
        "attack-steps": 200,
        "restarts": 1,
    }
    for name, value in counts.items():
        add(f"--{name}", type=count, default=value, help=f"(default: {value})")
    add("--learning-rate", type=positive, default=0.03)
    add("--threads", type=count, default=2)
    add("--device", default="auto")
    add("--note", default="", help="kept in the results file")
    add("--results", type=Path, required=True, help="JSON file to write or to continue")
    options = parser.parse_args(arguments)
    if not options.results.parent.is_dir():
        parser.error(f"argument --results: the folder {options.results.parent} does not exist")
    return options


def chosen_images(options: Namespace) -> data.ImageData:
    """The images, with some of the training images in the place of the test images if asked."""
    images = data.load_images(options.dataset, options.folder, options.download)
    if not options.validation:
        return images
    x, y = images[:2]
    if len(x) <= HELD_OUT:
        raise ValueError(f"more than {HELD_OUT} training images are needed, got {len(x)}")
    order = torch.randperm(len(x), generator=Generator().manual_seed(7))
    held = order[:HELD_OUT]
    kept = order[HELD_OUT:]
    return data.ImageData(x[kept], y[kept], x[held], y[held], images.classes)


def moved_or_mirrored(images: Tensor, generator: Generator) -> Tensor:
    """Each image of the batch moved by up to `REACH` pixels; one in two is mirrored."""
    samples, _, height, width = images.shape
    padded = F.pad(images, (REACH,) * 4, mode="reflect")
    top = torch.randint(0, 2 * REACH + 1, (samples, 1), generator=generator)
    left = torch.randint(0, 2 * REACH + 1, (samples, 1), generator=generator)
    mirrored = torch.rand(samples, 1, generator=generator) < 0.5
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    which = torch.arange(samples)[:, None, None]
    picked = padded.movedim(1, -1)[which, rows[:, :, None], columns[:, None, :]]
    return picked.movedim(-1, 1)


def train_one(
    options: Namespace, setting: str, seed: int, images: data.ImageData, fabric, settings: Named
) -> tuple[nn.Module, Named]:
    """A trained network and what is known of its training."""
    shape = tuple(images.train_images.shape[1:])
    size = {name: vars(options)[name] for name in ("channels", "width", "depth")}
    model = models.colour_net(shape, len(images.classes), seed=seed, **size)
    loss = partial(training.margin_cross_entropy, margin=SETTINGS[setting], temperature=TEMPERATURE)
    cell = {"setting": setting, "seed": seed}
    checkpoint = options.results.with_name(f"{options.results.stem}.{setting}.{seed}.pt")
    continued = checkpoint.exists()
    start = time.perf_counter()
    losses = train(
        fabric,
        model,
        images.train_images,
        images.train_labels,
        loss,
        operators.restore_orthonormal_rows,
        Namespace(**vars(options) | {"seed": seed}),
        checkpoint,
        settings | cell,
        optimiser=muon.Muon,
        augment=moved_or_mirrored,
    )
    seconds = None if continued else round(time.perf_counter() - start)
    parameters = sum(p.numel() for p in model.parameters())
    return model, {**cell, "loss": losses[-1], "seconds": seconds, "parameters": parameters}


def evaluate(options: Namespace, seed: int, model: nn.Module, images: data.ImageData) -> Named:
    """Certificates of all test images, attacks on some of them, in float64."""
    x = images.test_images
    y = images.test_labels
    exact = model.double()
    radius = radii_of(exact, x, y)
    seen = radii_of(exact, images.train_images[::10], images.train_labels[::10])
    levels = [0.0, *RADII]
    certified = torch.stack([radius > eps for eps in levels])
    chosen = torch.randperm(len(x), generator=Generator().manual_seed(0))[: options.attack_images]
    few = x[chosen].double()
    labels = y[chosen]
    attack = Namespace(attack_steps=options.attack_steps, restarts=options.restarts, seed=seed)
    parts = [survivors(attack, exact, *part, levels) for part in batches(few, labels)]
    standing = torch.cat(parts, 1)
    sure = certified[:, chosen]
    distance, _ = nearest_errors(exact, few, labels)
    broken = 2 * (sure & ~standing).sum() + (distance < radius[chosen]).sum()
    pairs = 2 * sure[1:].sum() + (radius[chosen] > 0).sum()
    return {
        "bound": certificates.lipschitz_bound(exact, tuple(x.shape[1:])),
        "radii": levels,
        "certified": certified.double().mean(1).tolist(),
        "attacked": standing.double().mean(1).tolist(),
        "curve": [(radius > eps).double().mean().item() for eps in GRID],
        "train": [(seen > eps).double().mean().item() for eps in levels],
        "pairs": pairs.item(),
        "broken": broken.item(),
        "MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def radii_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([certificates.certify(model, *part) for part in batches(x, y)])


def write_pictures(name: str, model: nn.Module, images: data.ImageData) -> None:
    """The first test image of each class above the nearest error that DDN finds, and a text file.

    The text has a line for each: the class, what is seen in the image, the certified radius, the
    distance of the error and what is seen there.
    """
    y = images.test_labels
    first = [(y == number).nonzero()[0, 0].item() for number in range(len(images.classes))]
    x = images.test_images[first].double()
    radius = certificates.certify(model, x, y[first])
    distance, moved = nearest_errors(model, x, y[first])
    with torch.no_grad():
        seen = model(x).argmax(1)
        then = model(moved).argmax(1)
    strip = torch.cat([torch.cat(list(row), 2) for row in (x, moved)], 1)
    pixels = (255 * strip).round().byte().movedim(0, -1).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    replace_file(f"{name}.png", buffer.getvalue())
    names = images.classes
    lines = ["class,seen,certified,fooled_at,seen_there"]
    for number, kind in enumerate(names):
        numbers = f"{radius[number]:.4f},{distance[number]:.4f}"
        lines.append(f"{kind},{names[seen[number]]},{numbers},{names[then[number]]}")
    replace_file(f"{name}.csv", ("\n".join(lines) + "\n").encode())


def batches(x: Tensor, y: Tensor, size: int = 100):
    return zip(x.split(size), y.split(size), strict=True)


def nearest_errors(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (B,) of the nearest misclassified images that DDN finds, and these images."""
    rated = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
    attack = foolbox.attacks.DDNAttack(steps=100)
    found = torch.cat([attack(rated, *part, epsilons=None)[0] for part in batches(x, y)])
    with torch.no_grad():
        wrong = attacks.margin_loss(model(found), y) >= 0
    return torch.where(wrong, (found - x).flatten(1).norm(dim=1), torch.inf), found


def table(rows: list[dict]) -> str:
    head = f"{'setting':9s}{'seed':>5s}{'loss':>8s}{'bound':>10s}{'broken':>14s}{'seconds':>9s}"
    head += "".join(f"{f'{255 * eps:.0f}/255':>12s}" for eps in rows[0]["radii"])
    lines = ["certified / standing under attack, in %, at each l2 radius", head]
    for row in rows:
        line = f"{row['setting']:9s}{row['seed']:5d}{row['loss']:8.3f}{row['bound']:10.6f}"
        line += f"{row['broken']:6d} of {row['pairs']:4d}{row['seconds'] or '-':>9}"
        for certain, standing in zip(row["certified"], row["attacked"], strict=True):
            line += f"{f'{100 * certain:.1f}/{100 * standing:.1f}':>12s}"
        lines.append(line)
    return "\n".join(lines)


def run(options: Namespace) -> None:
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU; the certificate is in float64
    fabric = fabric_of(named_device(options.device))
    images = chosen_images(options)
    settings = settings_of(options, images, fabric.device, fabric.world_size)
    versions = {"torch": str(torch.__version__), "python": sys.version.split()[0]}
    images = images.to(fabric.device)
    with the_only_run(options.results):
        rows = finished_rows(options.results, settings, versions)
        write_rows(options.results, settings, versions, rows)
        of_training = {name: v for name, v in (settings | versions).items() if name not in ATTACK}
        cells = [(setting, seed) for seed in options.seeds for setting in options.margins]
        for setting, seed in cells[len(rows) :]:
            model, row = train_one(options, setting, seed, images, fabric, of_training)
            rows.append(row | evaluate(options, seed, model, images))
            write_pictures(f"{options.results.with_suffix('')}.{setting}.{seed}", model, images)
            write_rows(options.results, settings, versions, rows)  # last: a row says "finished"
            print(f"{len(rows)} of {len(cells)} done: {setting}, seed {seed}", flush=True)
    print(table(rows))


def main(arguments: list[str] | None = None) -> None:
    command(__doc__, options_of, run, arguments)


if __name__ == "__main__":
    main()
