"""What non-expansiveness costs: one training step of a block, against an unconstrained block of the same two convolutions.

    python benchmarks/layer_cost.py [--channels 32] [--side 28] [--batch 64] [--repeats 40] [--threads 2] [--device auto]

Both blocks are timed in turn, forward and backward, the norm enforcement (one warm step of power iteration) included.
Prints the median over repeats, the middle half of the ratios of neighbouring runs, and the cost of the bare convolutions.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from chapter_utils import layers, operators, training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("channels", 32), ("side", 28), ("batch", 64), ("repeats", 40), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = training.pick_device(options.device)
    torch.manual_seed(0)

    def conv(bias):
        return nn.Conv2d(options.channels, options.channels, 3, padding=1, bias=bias)

    blocks = {
        "two convolutions": nn.Sequential(conv(False), conv(False)),
        "residual block": layers.ResidualBlock(nn.Sequential(conv(True), nn.ReLU(), conv(False))),
        "non-expansive block": layers.NonExpansiveBlock(
            layers.GradientField(operators.ConvOperator(options.channels, options.channels))
        ),
    }
    blocks = {name: block.to(device).train() for name, block in blocks.items()}
    x = torch.randn(options.batch, options.channels, options.side, options.side, device=device, requires_grad=True)
    gradient = torch.randn_like(x)

    def seconds(block) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        block(x).backward(gradient)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    times: dict[str, list[float]] = {name: [] for name in blocks}
    for repeat in range(options.repeats + 5):
        for name, block in blocks.items():
            spent = seconds(block)
            if repeat >= 5:  # the first runs allocate memory and warm the power iteration up
                times[name].append(spent)
    print(f"{options.batch} images of {options.channels} x {options.side} x {options.side}, {options.threads} threads, {device}")
    for name, spent in times.items():
        ratios = sorted(a / b for a, b in zip(spent, times["residual block"], strict=True))
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name:20s} {1e3 * statistics.median(spent):8.2f} ms   ratio {middle:.3f} (middle half {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
