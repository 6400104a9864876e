"""What non-expansiveness costs, and how the cost grows.

    python benchmarks/layer_cost.py [--repeats 30] [--threads 2] [--device auto] [--channels-last]

A chain of non-expansive convolution blocks x - tau K^T relu(K x + b), next to residual blocks x + B relu(A x + b) and to nothing but
the two convolutions of each. In training a step is forward and backward, the norm enforcement (one warm step of power iteration)
included; in evaluation it is forward only, the norm known since the weights were last changed. The three are timed in turn.
Printed are medians in milliseconds, and the median over repeats of the ratio to the bare convolutions and to the residual
block, with its middle half. One of depth, channels, side of the image and batch grows at a time.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import torch
from torch import nn

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


def chains(size: Size) -> dict[str, nn.Module]:
    def conv(bias):
        return nn.Conv2d(size.channels, size.channels, 3, padding=1, bias=bias)

    def block(name):
        if name == "bare":
            return nn.Sequential(conv(False), conv(False))
        if name == "residual":
            return plain_layers.ResidualBlock(nn.Sequential(conv(True), nn.ReLU(), conv(False)))
        return layers.NonExpansiveBlock(
            layers.GradientField(image_operators.ConvOperator(size.channels, size.channels))
        )

    return {
        name: nn.Sequential(*(block(name) for _ in range(size.depth)))
        for name in ("bare", "residual", "non-expansive")
    }


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
    x = torch.randn(size.batch, size.channels, size.side, size.side, device=device).contiguous(
        memory_format=layout
    )
    gradient = torch.randn_like(x)
    x.requires_grad_(train)

    def seconds(net) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.set_grad_enabled(train):
            y = net(x)
            if train:
                y.backward(gradient)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    times: dict[str, list[float]] = {name: [] for name in nets}
    for repeat in range(options.repeats + 3):
        for name, net in nets.items():
            spent = seconds(net)
            if (
                repeat >= 3
            ):  # the first runs allocate memory, start the power iteration and compute the norm for evaluation
                times[name].append(spent)
    return times


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
        print(f"{'depth':>6s}{'channels':>10s}{'side':>6s}{'batch':>7s}{'bare':>10s}{'residual':>10s}{'non-exp.':>10s}"
              f"{'ratio to bare':>24s}{'ratio to residual':>24s}")  # fmt: skip
        for size in SIZES:
            times = measure(size, train, options, device)
            cells = [f"{1e3 * statistics.median(spent):10.2f}" for spent in times.values()]
            for other in ("bare", "residual"):
                low, middle, high = statistics.quantiles(
                    [a / b for a, b in zip(times["non-expansive"], times[other], strict=True)], n=4
                )
                cells.append(f"{middle:8.2f} ({low:5.2f} to {high:5.2f})")
            print(
                f"{size.depth:6d}{size.channels:10d}{size.side:6d}{size.batch:7d}" + "".join(cells),
                flush=True,
            )


if __name__ == "__main__":
    main()
