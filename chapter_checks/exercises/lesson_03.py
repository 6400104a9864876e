"""Checks of coursework 3: how sensitive is a network?"""

import itertools
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from chapter_utils import certificates, conv_norms, norms

from ..engine import NOT_YET, Attempt, CheckFailed, exercise
from ..sendable import built, curve


@exercise("3.1", "The norm of a zero-padded convolution", points=3, minutes=15)
def convolution_norm(attempt: Attempt) -> None:
    def matrix(K, n, mode="constant", padding=None):
        p = K.shape[-1] // 2 if padding is None else padding

        def convolution(x):
            return F.conv2d(F.pad(x, (p, p, p, p), mode=mode), K)

        return norms.dense_matrix(convolution, (K.shape[1], n, n))

    def size(M):
        return torch.linalg.matrix_norm(M, 2).item()

    trap = torch.zeros(1, 1, 3, 3)
    trap[0, 0, 1] = torch.tensor([-1.0, 1.0, -1.0])
    cases = [
        (attempt.randn(2, 3, 3, 3), 4),
        (attempt.randn(3, 1, 3, 3), 6),
        (attempt.randn(1, 2, 5, 5), 5),
        (trap, 5),
    ]
    cases += [(attempt.randn(2, 2, 3, 3), 1), (attempt.randn(3, 2, 1, 1), 4)]
    cases += [(1e-4 * attempt.randn(2, 2, 3, 3), 3), (1e4 * attempt.randn(2, 1, 3, 3), 4)]
    for K, n in cases:
        value = attempt.number("convolution_norm", K, n)
        A = matrix(K, n)
        right = size(A)
        k = K.shape[-1]
        if abs(value - right) <= 1e-3 * right:
            continue
        mistakes = {
            "the Frobenius norm. The largest stretch is the spectral norm": A.norm(),
            "the Frobenius norm of the kernel": K.norm(),
            "the square of the norm: A'A stretches twice": right**2,
            "the norm of the reshaped kernel. "
            "It looks at one patch, but the patches overlap (Claim 3.13)": size(K.flatten(1)),
            "the norm of the reshaped kernel times its side: a bound, but not the norm": (
                k * size(K.flatten(1))
            ),
            "the sum of the norms of the taps: a bound, but not the norm": (
                torch.linalg.matrix_norm(K.permute(2, 3, 0, 1), 2).sum()
            ),
            "Gershgorin's bound, not the norm": (A.T @ A).abs().sum(1).max().sqrt(),
        }
        if n >= k:
            larger = n + k // 2
            mistakes |= {
                "the norm with circular padding. Zero padding may be larger (Section 3.6)": (
                    size(matrix(K, n, "circular"))
                ),
                "the norm without padding: the output should be as large as the image": (
                    size(matrix(K, n, padding=0))
                ),
                "the norm on the larger torus: a bound, but not the norm": (
                    size(matrix(K, larger, "circular"))
                ),
                "the library's bound, the best of four on the larger torus: not the norm": (
                    conv_norms.conv_norm_bound(K, (n, n), padding=(k // 2, k // 2))
                ),
            }
        attempt.rule_out(value, mistakes, "This is {}.", rtol=0, atol=1e-6 * right)
        if value < right:
            attempt.fail(
                f"For {n} x {n} images some image is stretched {right:.4g} times, "
                f"you say {value:.4g}."
            )
        attempt.fail(
            f"For {n} x {n} images no image is stretched {value:.4g} times: "
            f"the most is {right:.4g}."
        )


@exercise("3.2", "The promise and the truth", points=2, minutes=15)
def product_and_truth(attempt: Attempt) -> None:
    def slopes(w1, b, w2, in_order=True):
        """The slopes between the kinks, from left to right."""
        kinks = -b / w1
        if in_order:
            kinks = kinks.sort().values
        between = torch.cat([kinks[:1] - 1, (kinks[1:] + kinks[:-1]) / 2, kinks[-1:] + 1])
        return ((between[:, None] * w1 + b > 0) * w1 * w2).sum(1)

    def free(m):
        w1 = attempt.uniform(0.3, 2.0, m) * attempt.randn(m).sign()
        return w1, attempt.randn(m), attempt.randn(m)

    def cliff(m):  # steep between two kinks that lie close together, elsewhere flat
        w1, b, w2 = free(m)
        place = attempt.uniform(-1.0, 1.0)
        width = attempt.uniform(1e-7, 1e-6)
        w1 = torch.cat([w1, torch.ones(2)])
        b = torch.cat([b, torch.tensor([-place, -place - width])])
        w2 = torch.cat([w2, torch.tensor([30.0, -30.0])])
        return w1, b, w2

    def zigzag(m):  # between neighbours in the given order of the kinks it is never steepest
        while True:
            units = free(m)
            steepest = slopes(*units).abs().max()
            if slopes(*units, in_order=False).abs().max() < 0.9 * steepest:
                return units

    def outside(m, side):  # steepest on one side of all kinks, which lie far apart
        while True:
            w1, b, w2 = free(m)
            b = 20 * b
            sizes = slopes(w1, b, w2).abs().roll(-side).tolist()
            if sizes[0] > 1.1 * max(sizes[1:]):
                return w1, b, w2

    cases = [outside(3, side) for side in (0, -1)]
    for w1, b, w2 in [free(5), zigzag(6), cliff(3), zigzag(9), free(1)]:
        cases += [(w1, b, w2), (w1, b, -w2)]  # once it climbs, once it falls
    w1, b, w2 = free(4)
    cases += [(w1, 1000 * b, w2), (100 * w1, b, 0.001 * w2)]
    no_bias = torch.zeros(2)
    one = torch.ones(2)
    both = torch.tensor([1.0, -1.0])
    cases += [(both, no_bias, one), (one, no_bias, both)]
    for w1, b, w2 in cases:
        first, second = attempt.several("product_and_truth", w1, b, w2, count=2)
        product = attempt.as_number(first, "the first value of `product_and_truth`")
        truth = attempt.as_number(second, "the second value of `product_and_truth`")
        steepness = slopes(w1, b, w2)
        right = (w1.norm() * w2.norm()).item()
        found = steepness.abs().max().item()
        if abs(product - right) > 1e-6 * right:
            if abs(truth - right) <= 1e-6 * right and abs(product - found) <= 1e-6 * (1 + found):
                attempt.fail("Return the product bound first, the true constant second.")
            mistakes = {
                "the slope with all units on": (w1 @ w2).abs(),
                "the sum of |w1_i w2_i|: a bound too, but not the product of the two norms": (
                    (w1 * w2).abs().sum()
                ),
                "the product of the sums of absolute values. "
                "The norm of these vectors is the Euclidean one": w1.abs().sum() * w2.abs().sum(),
                "the product of the largest entries": w1.abs().max() * w2.abs().max(),
                "the product of the squared norms": right**2,
            }
            saying = "Your product bound is {}."
            attempt.rule_out(product, mistakes, saying, rtol=0, atol=1e-6 * (1 + right))
            attempt.fail(
                f"The product bound is |w2| times |w1|, here {right:.4f}; yours is {product:.4f}."
            )
        if abs(truth - found) <= 1e-3 * found + 1e-9:
            continue
        patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=len(w1))))
        mistakes = {
            "the largest slope of all on/off patterns. In one dimension many of them never occur": (
                (patterns @ (w1 * w2)).abs().max()
            ),
            "the largest slope at the far ends. Between the kinks it may be steeper": (
                steepness[[0, -1]].abs().max()
            ),
            "the largest slope upwards. A fall stretches too": steepness.max(),
            "the slope at 0": ((b > 0) * w1 * w2).sum().abs(),
            "the largest slope between kinks that are no neighbours: sort them": (
                slopes(w1, b, w2, in_order=False).abs().max()
            ),
            "the product bound once more": right,
        }
        saying = "Your true constant is {}."
        attempt.rule_out(truth, mistakes, saying, rtol=0, atol=1e-6 * (1 + found))
        if truth < found:
            attempt.fail(
                f"Somewhere the slope is {found:.4f}, you say {truth:.4f}. "
                "Is there a piece that you miss? Where are the kinks?"
            )
        attempt.fail(f"The slope is nowhere {truth:.4f}; the largest is {found:.4f}.")


@exercise("3.3", "What overlap costs", points=2, minutes=15)
def pooling_constants(attempt: Attempt) -> None:
    def windows(n, k, s):
        """The averages along one row of the image, as a matrix."""
        matrix = torch.zeros((n - k) // s + 1, n)
        for row in range(len(matrix)):
            matrix[row, row * s : row * s + k] = 1 / k
        return matrix

    cases = [(9, 3, 1), (9, 3, 3), (9, 3, 2), (8, 4, 3), (4, 4, 1), (4, 3, 1), (8, 2, 3)]
    cases += [(attempt.integer(6, 9), 5, attempt.integer(1, 2)), (7, 1, 2), (12, 6, 2)]
    for n, k, s in cases:
        one_way = windows(n, k, s)
        what = f"{k} x {k} windows, stride {s}, {n} x {n} images"
        seen = int((one_way > 0).sum(0).max())
        value = attempt.number("max_pool_constant", n, k, s)
        if abs(value - seen) > 1e-6:
            mistakes = {
                "the number of windows that see a pixel. Each shows it once: "
                "the *length* of that output is asked for": seen**2,
                "the right number only if some pixel lies in that many windows. "
                "How many fit on this image?": math.ceil(k / s),
                "not rounded: a pixel lies in a whole number of windows": k / s,
                "right without overlap only. What does one bright pixel become?": 1,
                "1/k, which belongs to the average": 1 / k,
            }
            saying = f"Max pooling, {what}: {value:.4g} is {{}}."
            attempt.rule_out(value, mistakes, saying, rtol=0, atol=1e-6)
            attempt.fail(
                f"Max pooling, {what}: "
                f"the most that a change is stretched is {seen}, not {value:.4g}."
            )
    for n, k, s in cases:
        one_way = windows(n, k, s)
        what = f"{k} x {k} windows, stride {s}, {n} x {n} images"
        value = attempt.number("average_pool_constant", n, k, s)
        right = torch.linalg.matrix_norm(one_way, 2).item() ** 2
        if abs(value - right) > 1e-3 * right:
            frobenius = one_way.square().sum()
            mistakes = {
                "1/k, right only if the windows do not overlap": 1 / k,
                "1/k^2, the weight of one pixel": 1 / k**2,
                "1, the largest possible sum of absolute values in a row: that is another norm": 1,
                "the Frobenius norm": frobenius,
                "the square of the norm": right**2,
                "the norm for one row of pixels only. An image has two directions": (
                    math.sqrt(right)
                ),
                "the norm of the sum of each window: divide by its number of pixels": right * k**2,
            }
            saying = f"Average pooling, {what}: {value:.4g} is {{}}."
            attempt.rule_out(value, mistakes, saying, rtol=0, atol=1e-6)
            attempt.fail(f"Average pooling, {what}: the norm is {right:.4f}, not {value:.4f}.")


@exercise("3.4", "A bound that follows the network", points=3, minutes=20)
def network_bound(attempt: Attempt) -> None:
    def linear(outputs, inputs):
        return ["linear", attempt.randn(outputs, inputs) / 2, attempt.randn(outputs)]

    def plain(activation):
        return [linear(6, 4), [activation], linear(3, 6)]

    tenth = ["linear", 0.1 * torch.eye(2), torch.zeros(2)]
    block = ["residual", [linear(4, 4), ["Tanh"], linear(4, 4)]]
    cases = [  # name, parts, number of inputs
        ("two linear layers with ReLU between them", plain("ReLU"), 4),
        ("a linear layer with a sigmoid", plain("Sigmoid"), 4),
        ("a linear layer with GELU", plain("GELU"), 4),
        ("one residual block", [block], 4),
        (
            "two residual blocks between linear layers",
            [linear(4, 5), block, ["ReLU"], block, linear(2, 4)],
            5,
        ),
        ("a Sequential inside a Sequential", [["sequential", plain("Tanh")], linear(2, 3)], 4),
        ("a residual block inside a residual block", [["residual", [linear(4, 4), block]]], 4),
        ("fifty residual blocks x + 0.1 x", [["residual", [tenth]]] * 50, 2),
    ]
    for name, parts, inputs in cases:
        network = built(parts)
        value = attempt.number("network_bound", network)
        right = certificates.lipschitz_bound(network, (inputs,))
        if abs(value - right) <= 2e-3 * right:
            continue
        measured = norms.jacobian_norms(network, attempt.randn(200, inputs)).max().item()
        weights = [W for key, W in network.state_dict().items() if key.endswith("weight")]
        no_skip = math.prod(torch.linalg.matrix_norm(W, 2).item() for W in weights)
        frobenius = math.prod(W.norm().item() for W in weights)
        mistakes = {
            "the bound without the activations. Which constants have the sigmoid and GELU?": (
                no_skip if len(parts) == 3 else math.nan
            ),
            "the product of the Frobenius norms": frobenius,
            "the product of the layers without the skips: x is added to each branch (Claim 3.5)": (
                no_skip
            ),
        }
        attempt.rule_out(value, mistakes, f"For {name} this is {{}}.", rtol=1e-4)
        if value < measured:
            attempt.fail(
                f"For {name} your bound is {value:.4g}, "
                f"but at one of 200 points the local slope is {measured:.4g}."
            )
        attempt.fail(
            f"For {name} your bound is {value:.4g}; "
            f"multiplying constants, and adding 1 for each skip, gives {right:.4g}."
        )
    behind = [linear(4, 4), ["layernorm", 4]]
    inside = [["residual", [["layernorm", 4], linear(4, 4)]]]
    unknown = [("LayerNorm", behind), ("LayerNorm", inside)]
    # layers without weights too; some have the constant 1, but nobody gave it to the function
    for kind in ("Hardswish", "Softplus", "ELU", "Softshrink", "Softmin"):
        unknown.append((kind, plain(kind)))
        unknown.append((kind, [["residual", [linear(4, 4), [kind]]]]))
    for name, parts in unknown:
        try:
            value = attempt.ask("network_bound", built(parts))
        except CheckFailed as verdict:
            if verdict.outcome == NOT_YET and " raised " in verdict.hint:
                continue  # as it should
            raise
        attempt.fail(
            f"A network with the layer {name} got a bound. "
            "A layer that you do not know must raise an error: a silent 1 is a lie."
        )


@exercise("3.5", "The steepest place of an activation", points=1, minutes=8)
def activation_constant(attempt: Attempt) -> None:
    t = torch.linspace(-20, 20, 20_002, requires_grad=True)
    cases = []
    for kind in ("hat", "tanh", "hook", "mish", "vee"):
        for sign, least in ((1, 1.5), (-1, 0.5)):
            height = sign * attempt.uniform(0.5, 3.0)
            squeeze = attempt.uniform(least, 4.0)
            centre = sign * attempt.uniform(5.0, 15.0)
            cases.append((kind, height, squeeze, centre))
    for sign in (1, -1):  # steep in a narrow place, far away
        height = sign * attempt.uniform(0.5, 3.0)
        cases.append(
            ("step", height, attempt.uniform(10.0, 15.0), sign * attempt.uniform(16, 19.5))
        )
    cases += [("tanh", 1e-3, 1.0, 7.0), ("gelu", 1.0, 1.0, 0.0)]
    for case in cases:
        sigma = curve(*case)
        value = attempt.number("activation_constant", sigma)
        heights = sigma(t)
        (slope,) = torch.autograd.grad(heights.sum(), t)
        right = slope.abs().max().item()
        if abs(value - right) <= 0.01 * right:
            continue
        near = t.abs() <= 3
        mistakes = {
            "the largest value of the function. Its largest slope is asked for": (
                heights.abs().max()
            ),
            "the steepest way up. A way down stretches as much": slope.max(),
            "the largest slope between -3 and 3. The steepest place may be elsewhere": (
                slope[near].abs().max()
            ),
            "the mean of the slopes": slope.abs().mean(),
            "the smallest slope": slope.min(),
        }
        attempt.rule_out(value, mistakes, "This is {}.", rtol=1e-4)
        if value < right:
            attempt.fail(
                f"Somewhere the slope has the size {right:.4f}, you say {value:.4f}. "
                "Is your grid wide and fine enough?"
            )
        attempt.fail(f"No slope has the size {value:.4f}; the largest is {right:.4f}.")


@exercise("3.6", "One warm step of power iteration", points=3, minutes=20)
def power_step(attempt: Attempt) -> None:
    def forward(K, v):
        return F.conv2d(v[None], K, padding=K.shape[-1] // 2)[0]

    def adjoint(K, w):
        return F.conv_transpose2d(w[None], K, padding=K.shape[-1] // 2)[0]

    def parallel(x, y):
        return abs((x * y).sum()) > (1 - 1e-9) * x.norm() * y.norm()

    # output channels, input channels, side of the kernel, height and width of the image
    sizes = [(3, 2, 3, 5, 4), (2, 3, 5, 4, 6), (1, 2, 3, 6, 3), (2, 2, 1, 3, 3)]
    lengths = [attempt.uniform(0.1, 5.0), 1e3, 1e-3, 1.0]
    for length, (D, C, k, height, width) in zip(lengths, sizes, strict=True):
        K = attempt.uniform(0.1, 5.0) * attempt.randn(D, C, k, k)
        v = length * attempt.randn(C, height, width)
        first, second = attempt.several("power_step", K, v, count=2)
        if isinstance(first, Tensor) and first.shape == v.shape and v.numel() > 1:
            attempt.fail("Return the estimate first, the new v second.")
        estimate = attempt.as_number(first, "the estimate of `power_step`")
        new = attempt.as_tensor(second, "the new v of `power_step`", v.shape)
        w = adjoint(K, forward(K, v))
        attempt.require(
            (new - v / v.norm()).norm() > 1e-6 and (new - v).norm() > 1e-6,
            "The new v points where the old one did.",
        )
        along = (new * w).sum() / w.norm()
        if (new - along * w / w.norm()).norm() > 1e-6 * new.norm():
            if parallel(new, adjoint(K, forward(K, w))):
                attempt.fail("You take two steps. One is asked for.")
            if C == D and parallel(new, forward(K, v)):
                attempt.fail("The new v is K v. An eigenvector of which product is wanted?")
            if C == D and parallel(new, forward(K, forward(K, v))):
                attempt.fail(
                    "You apply the convolution twice. "
                    "The second time it should be its adjoint, `conv_transpose2d`."
                )
            attempt.fail(
                "The new v does not point along K'K v. Test your adjoint: "
                "<K x, y> = <x, K' y> for random x and y."
            )
        attempt.require(
            abs(new.norm() - 1) < 1e-6, f"The new v should have length 1, it has {new.norm():.4g}."
        )
        convolution = partial(F.conv2d, weight=K, padding=k // 2)
        norm = torch.linalg.matrix_norm(norms.dense_matrix(convolution, v.shape), 2)
        before = forward(K, v).norm() / v.norm()
        if estimate > norm * (1 + 1e-9) or estimate < before * (1 - 1e-9):
            mistakes = {
                "|K v|, but v has not the length 1": forward(K, v).norm(),
                "an estimate of the square of the norm": before**2,
                "|K'K v|/|v|, an estimate of the square of the norm": w.norm() / v.norm(),
                "|K'K v| for a v that has not the length 1": w.norm(),
                "the square of |K v| for the new v": forward(K, w / w.norm()).norm() ** 2,
                "the largest entry, not the length": forward(K, v / v.norm()).abs().max(),
            }
            attempt.rule_out(estimate, mistakes, "Your estimate is {}.", rtol=0, atol=1e-6 * norm)
            attempt.fail(
                f"Your estimate is {estimate:.4f}. It should be at least |K v|/|v| = {before:.4f} "
                f"and never above the norm, {norm:.4f}."
            )
    K = attempt.randn(2, 2, 3, 3).float()
    v = attempt.randn(2, 4, 4).float()
    _, new = attempt.several("power_step", K, v, count=2)
    attempt.as_tensor(new, "the new v of `power_step`", v.shape, torch.float32)
