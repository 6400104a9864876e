"""What non-expansiveness costs, and how the cost grows.

    python benchmarks/layer_cost.py [--kind convolution] [--repeats 30] [--threads 2]

A chain of non-expansive blocks x - tau K^T relu(K x + b), next to residual blocks
x + B relu(A x + b) and to nothing but the two linear maps of each. Kinds of linear maps:

convolution   3 x 3 kernels
shift         a shift and a 1 x 1 convolution; the bare one is the latter alone
matrix        half as many rows as channels, channels last, with one shift a block: a block of
              `models.colour_net`; the bare ones are two matrix products

In training a step is forward and backward, the norm enforcement (one warm step of power iteration)
included; in evaluation it is forward only, the norm known since the weights were last changed. The
three are timed in turn. Printed are medians in milliseconds, and the median over repeats of the
ratio to the bare maps and to the residual block, with its middle half. One of depth, channels, side
of the image and batch grows at a time.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import torch
from devices import named_device
from torch import Tensor, nn

from chapter_utils import image_operators, layers, operators, plain_layers


class Size(NamedTuple):
    depth: int = 1
    channels: int = 32
    side: int = 28
    batch: int = 64


SIZES = [
    Size(),
    Size(channels=256, side=8, batch=256),
    *(Size(depth=depth) for depth in (2, 4, 8)),
    *(Size(channels=channels) for channels in (8, 16, 64)),
    *(Size(side=side) for side in (7, 14, 56)),
    *(Size(batch=batch) for batch in (4, 16, 256)),
]


HEADS = (
    " depth  channels  side  batch"
    "      bare  residual  non-exp."
    "           ratio to bare       ratio to residual"
)
WARM_UP = 3  # runs that allocate memory, start the power iteration, compute the norm for evaluation


def chains(size: Size, kind: str) -> dict[str, nn.Module]:
    """By name, `size.depth` blocks of each kind."""
    blocks = {"bare": bare, "residual": residual, "non-expansive": nonexpansive}
    return {
        name: nn.Sequential(*(block(size.channels, kind) for _ in range(size.depth)))
        for name, block in blocks.items()
    }


def pair(channels: int, kind: str, bias: bool) -> tuple[nn.Module, nn.Module]:
    """The two linear maps of a block; only the first one may have a bias."""
    if kind == "matrix":
        half = channels // 2
        return nn.Linear(channels, half, bias), nn.Linear(half, channels, False)
    side, padding = (3, 1) if kind == "convolution" else (1, 0)
    first, second = (
        nn.Conv2d(channels, channels, side, padding=padding, bias=b) for b in (bias, False)
    )
    return first, second


def bare(channels: int, kind: str) -> nn.Module:
    return nn.Sequential(*pair(channels, kind, bias=False))


def residual(channels: int, kind: str) -> nn.Module:
    first, second = pair(channels, kind, bias=True)
    return plain_layers.ResidualBlock(nn.Sequential(first, nn.ReLU(), second))


def nonexpansive(channels: int, kind: str) -> nn.Module:
    if kind == "matrix":
        A = operators.DenseOperator(channels, channels // 2, orthonormal=True)
    elif kind == "shift":
        A = image_operators.ShiftOperator(channels, orthonormal=True)
    else:
        A = image_operators.ConvOperator(channels, channels)
    block = layers.NonExpansiveBlock(layers.GradientField(A))
    return nn.Sequential(plain_layers.Shift(1), block) if kind == "matrix" else block


def measure(
    size: Size, train: bool, options: argparse.Namespace, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each repeat for each chain."""
    torch.manual_seed(0)
    nets = {name: net.to(device).train(train) for name, net in chains(size, options.kind).items()}
    x = torch.randn(size.batch, size.channels, size.side, size.side, device=device)
    if options.kind == "matrix":
        x = x.movedim(1, 3).contiguous()
    elif options.kind == "shift":
        x = x.contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(x)
    x.requires_grad_(train)

    times: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(WARM_UP + options.repeats):
        for name, net in nets.items():
            times[name].append(seconds(net, x, gradient if train else None))
    return {name: spent[WARM_UP:] for name, spent in times.items()}


def seconds(net: nn.Module, x: Tensor, gradient: Tensor | None) -> float:
    """Of one step: forward, and backward from this gradient of the output."""
    wait_for(x.device)
    start = time.perf_counter()
    with torch.set_grad_enabled(gradient is not None):
        y = net(x)
        if gradient is not None:
            y.backward(gradient)
    wait_for(x.device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """A GPU works on after Python has gone ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def row(size: Size, times: dict[str, list[float]]) -> str:
    cells = [f"{size.depth:6d}{size.channels:10d}{size.side:6d}{size.batch:7d}"]
    for spent in times.values():
        cells.append(f"{1e3 * statistics.median(spent):10.2f}")
    ours = torch.tensor(times["non-expansive"], dtype=torch.float64)
    for other in ("bare", "residual"):
        ratios = ours / torch.tensor(times[other], dtype=torch.float64)
        low, middle, high = statistics.quantiles(ratios.tolist(), n=4)
        cells.append(f"{middle:8.2f} ({low:5.2f} to {high:5.2f})")
    return "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--kind", default="convolution", choices=("convolution", "shift", "matrix"))
    options = parser.parse_args()
    if options.repeats < 2 or options.threads < 1:
        parser.error("--repeats must be at least 2, --threads at least 1")
    torch.set_num_threads(options.threads)
    device = named_device(options.device)
    for train in (True, False):
        what = "training, forward and backward" if train else "evaluation"
        print(f"{what}; {options.threads} threads, {device}, torch {torch.__version__}")
        print(HEADS)
        for size in SIZES:
            print(row(size, measure(size, train, options, device)), flush=True)


if __name__ == "__main__":
    main()
