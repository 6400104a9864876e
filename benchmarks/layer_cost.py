"""What non-expansiveness costs, and how the cost grows.

    python benchmarks/layer_cost.py [--repeats 30] [--threads 2] [--device auto] [--channels-last]

A chain of non-expansive convolution blocks x - tau K^T relu(K x + b), next to residual blocks
x + B relu(A x + b) and to nothing but the two convolutions of each. In training a step is forward
and backward, the norm enforcement (one warm step of power iteration) included; in evaluation it is
forward only, the norm known since the weights were last changed. The three are timed in turn.
Printed are medians in milliseconds, and the median over repeats of the ratio to the bare
convolutions and to the residual block, with its middle half. One of depth, channels, side of the
image and batch grows at a time.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chapter_utils import image_operators, layers, plain_layers, training


class Size(NamedTuple):
    depth: int = 1
    channels: int = 32
    side: int = 28
    batch: int = 64


SIZES = [
    Size(),
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


def chains(size: Size) -> dict[str, nn.Module]:
    """By name, `size.depth` blocks of each kind."""
    blocks = {"bare": bare, "residual": residual, "non-expansive": nonexpansive}
    return {
        name: nn.Sequential(*(block(size.channels) for _ in range(size.depth)))
        for name, block in blocks.items()
    }


def convolution(channels: int, bias: bool) -> nn.Module:
    return nn.Conv2d(channels, channels, 3, padding=1, bias=bias)


def bare(channels: int) -> nn.Module:
    return nn.Sequential(convolution(channels, False), convolution(channels, False))


def residual(channels: int) -> nn.Module:
    field = nn.Sequential(convolution(channels, True), nn.ReLU(), convolution(channels, False))
    return plain_layers.ResidualBlock(field)


def nonexpansive(channels: int) -> nn.Module:
    operator = image_operators.ConvOperator(channels, channels)
    return layers.NonExpansiveBlock(layers.GradientField(operator))


def measure(
    size: Size, train: bool, options: argparse.Namespace, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each repeat for each chain."""
    torch.manual_seed(0)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    nets = {
        name: net.to(device, memory_format=layout).train(train)
        for name, net in chains(size).items()
    }
    x = torch.randn(size.batch, size.channels, size.side, size.side, device=device)
    x = x.contiguous(memory_format=layout)
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
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    if options.repeats < 2 or options.threads < 1:
        parser.error("--repeats must be at least 2, --threads at least 1")
    torch.set_num_threads(options.threads)
    device = training.pick_device(options.device)
    for train in (True, False):
        what = "training, forward and backward" if train else "evaluation"
        print(f"{what}; {options.threads} threads, {device}, torch {torch.__version__}")
        print(HEADS)
        for size in SIZES:
            print(row(size, measure(size, train, options, device)), flush=True)


if __name__ == "__main__":
    main()
