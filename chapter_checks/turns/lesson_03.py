"""Checks of the *your turn* cells of lesson 3: how sensitive is a network?"""

import math

import torch
from torch import Tensor, nn

from chapter_utils import certificates, norms, plain_layers

from ..engine import Attempt, exercise
from ..wire import sendable


@exercise("3.A", "A bound by hand")
def bound_by_hand(attempt: Attempt) -> None:
    value = attempt.number("bound_by_hand")
    dense = nn.Conv2d(1, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.fill_(1.2)
    block = plain_layers.ResidualBlock(nn.Sequential(dense, nn.Sigmoid()))
    scale = plain_layers.Normalization([0.0], [0.4])
    network = nn.Sequential(nn.MaxPool2d(3, 2), block, scale)
    right = certificates.lipschitz_bound(network, (1, 7, 7))
    if abs(value - right) <= 1e-3 * right:
        return
    mistakes = {
        "the bound without the skip: x is added to the branch": 2 * 0.3 / 0.4,
        "the bound if a skip adds 1 to each layer. It adds 1 to the branch, once": (
            2 * 2.2 * 1.25 / 0.4
        ),
        "the bound if the sigmoid had the constant 1": 2 * 2.2 / 0.4,
        "the bound for stride 1: with stride 2 a pixel is in fewer windows": 3 * 1.3 / 0.4,
        "not rounded up: a pixel lies in a whole number of windows": 1.5 * 1.3 / 0.4,
        "the bound without the pooling. Its windows overlap": 1.3 / 0.4,
        "the bound if you counted the windows: their number is 4, the *length* is its root": (
            4 * 1.3 / 0.4
        ),
        "a product with 0.4. A division by 0.4 stretches": 2 * 1.3 * 0.4,
        "the bound without the division": 2 * 1.3,
        "the sum of the three constants. They multiply": 2 + 1.3 + 2.5,
    }
    attempt.rule_out(value, mistakes, "This is {}.", rtol=1e-3)
    attempt.fail("Find three numbers first, one a layer. Which constant has the branch, and what?")


@exercise("3.B", "One step of power iteration")
def improved(attempt: Attempt) -> None:
    for m, n in ((4, 4), (5, 3), (3, 6)):
        A = attempt.randn(m, n)
        v = attempt.uniform(0.2, 5.0) * attempt.randn(n)
        new = attempt.tensor("improved", A, v, shape=(n,))
        w = A.T @ A @ v
        if (new - w / w.norm()).norm() <= 1e-9:
            continue
        twice = A.T @ A @ w
        mistakes = {
            "A'A v, but its length is not 1": w,
            "divided by its largest entry. Divide by its length": w / w.abs().max(),
            "divided by the length of the old v": w / v.norm(),
            "divided by the square of its length": w / w.square().sum(),
            "the old direction": v / v.norm(),
            "two steps. One is asked for": twice / twice.norm(),
        }
        if m == n:
            once = A @ v
            mistakes |= {
                "the direction of A v. A' is missing": once / once.norm(),
                "the direction of A A v. The second time it should be A'": (
                    A @ once / (A @ once).norm()
                ),
                "the direction of A A' v: A comes first": A @ (A.T @ v) / (A @ (A.T @ v)).norm(),
            }
        attempt.rule_out(new, mistakes, "The result is {}.")
        attempt.fail("The result does not point along A'A v, or its length is not 1.")


@exercise("3.C", "The symbol of three numbers")
def size_of_symbol(attempt: Attempt) -> None:
    trap = torch.tensor([-1.0, 1.0, -1.0])
    special = torch.tensor([0.0, math.pi / 2, math.pi])
    lopsided = torch.tensor([1.5, 0.0, 0.0]) + attempt.uniform(-0.4, 0.4, 3)
    for kernel in (lopsided, attempt.randn(3), trap):  # the first: a real part of both signs
        omega = torch.cat([special, attempt.uniform(-4.0, 4.0, attempt.integer(2, 5))])
        size = attempt.tensor("size_of_symbol", kernel, omega, shape=tuple(omega.shape))
        a, b, c = kernel
        real = b + (a + c) * omega.cos()
        imaginary = (c - a) * omega.sin()
        right = torch.hypot(real, imaginary)
        if (size - right).abs().max() <= 1e-9:
            continue
        mistakes = {
            "1 - 2 cos(omega), which belongs to the kernel (-1, 1, -1)": 1 - 2 * omega.cos(),
            "its size |1 - 2 cos(omega)|, which belongs to the kernel (-1, 1, -1)": (
                (1 - 2 * omega.cos()).abs()
            ),
            "the real part of the symbol, with its sign. Its size is asked for": real,
            "the size of the real part only. If a and c differ, there is an imaginary part": (
                real.abs()
            ),
            "the square of the size": right**2,
            "the sum of the sizes |a| + |b| + |c|, which no frequency need attain": (
                kernel.abs().sum().expand(omega.shape)
            ),
            "the same for a as for c. The wave at j - 1 is divided by e^(i omega)": (
                torch.hypot(real, (a + c) * omega.sin())
            ),
        }
        attempt.rule_out(size, mistakes, "The result is {}.", rtol=1e-9, atol=1e-9)
        attempt.fail("Put in x_j = e^(i omega j) and divide y_j by x_j. What is left of each term?")


@sendable
def small_network(kernel: Tensor, weight: Tensor, activation: str) -> nn.Sequential:
    """A zero-padded convolution, an activation, and a dense layer on all pixels."""
    made = {"identity": nn.Identity, "tanh": nn.Tanh}[activation]()
    convolution = nn.Conv2d(*kernel.shape[1::-1], 3, padding=1, bias=False, dtype=kernel.dtype)
    dense = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    with torch.no_grad():
        convolution.weight.copy_(kernel)
        dense.weight.copy_(weight)
    return nn.Sequential(convolution, made, nn.Flatten(), dense)


@exercise("3.D", "A network between two numbers")
def enclosed(attempt: Attempt) -> None:
    for activation, count, side in (("tanh", 6, 5), ("identity", 1, 4), ("tanh", 3, 6)):
        kernel = attempt.randn(2, 1, 3, 3)
        weight = attempt.randn(3, 2 * side * (side + 1)) / side
        images = 2 * attempt.randn(count, 1, side, side + 1)
        images[-1] *= 0.2  # tanh is steep near 0: the last image has the largest slope,
        if count > 1:
            images[1] *= 5.0  # the second one the smallest
        network = small_network(kernel, weight, activation)
        first, second = attempt.several("enclosed", network, images, count=2)
        lower = attempt.as_number(first, "the first number of `enclosed`")
        upper = attempt.as_number(second, "the second number of `enclosed`")
        local = norms.jacobian_norms(network, images)
        measured = local.max().item()
        bound = certificates.lipschitz_bound(network, (1, side, side + 1))
        if lower > upper and abs(upper - measured) <= 1e-6 * measured:
            attempt.fail("Return the measured slope first, the guaranteed bound second.")
        if abs(lower - measured) > 1e-6 * measured:
            mistakes = {
                "the mean of the local slopes. The largest is the best lower bound": local.mean(),
                "the smallest local slope. The largest is the best lower bound": local.min(),
                "the local slope at the first image only": local[0],
                "the square of the largest local slope": measured**2,
            }
            attempt.rule_out(lower, mistakes, "The first number is {}.")
            attempt.fail(f"The largest local slope is {measured:.4f}, you say {lower:.4f}.")
        if abs(upper - bound) > 1e-4 * bound:
            reshaped = torch.linalg.matrix_norm(kernel.flatten(1), 2)
            dense = torch.linalg.matrix_norm(weight, 2)
            mistakes = {
                "the measured slope once more. No measurement is an upper bound": measured,
                "the product with the reshaped kernel, which is no bound (Claim 3.13)": (
                    reshaped * dense
                ),
                "the product of the Frobenius norms": kernel.norm() * weight.norm(),
            }
            attempt.rule_out(upper, mistakes, "The second number is {}.", rtol=1e-4)
            attempt.fail(f"The library's bound is {bound:.4f}, you say {upper:.4f}.")
