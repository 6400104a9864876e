"""Checks of coursework 5: non-expansive layers."""

import itertools
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine import Attempt, exercise
from ..sendable import relu_layers


def norm(matrix: Tensor) -> float:
    return torch.linalg.matrix_norm(matrix, 2).item()


@exercise("5.1", "The longest step of a layer", points=1, minutes=8)
def longest_step(attempt: Attempt) -> None:
    def stretch(A, high, step):  # all units as steep as they can be
        return norm(torch.eye(A.shape[1]) - step * high * A.T @ A)

    slopes = [(0.0, 1.0), (0.0, 0.25), (0.5, 1.0)]
    slopes += [(0.0, attempt.uniform(1.5, 4.0)), (attempt.uniform(0.05, 0.2), 0.7)]
    slopes += [(0.9, 0.9), (0.0, 0.02), (0.0, 1.0), (0.0, 1.0)]
    sizes = [(2, 2), (3, 3), (4, 2), (3, 5), (1, 3), (2, 3), (3, 2), (3, 3), (1, 1)]
    scales = [attempt.uniform(0.5, 2.0) for _ in range(7)] + [0.02, 20.0]
    cases = []
    for scale, size, (low, high) in zip(scales, sizes, slopes, strict=True):
        cases.append((scale * attempt.randn(*size), low, high))
    shown = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    cases += [(shown, 0.0, 1.0), (shown, 0.0, 0.25)]
    for A, low, high in cases:
        tau = attempt.number("longest_step", A, low, high)
        attempt.require(
            tau > 0,
            f"With slopes between {low:.3g} and {high:.3g} some steps are safe: "
            "the longest one is positive.",
        )
        slope = partial(stretch, A, high)
        if slope(0.99 * tau) <= 1 + 1e-9 < slope(1.01 * tau):
            continue
        n = norm(A)
        frobenius = A.norm().item()
        least = torch.linalg.svdvals(A)[-1].item()
        mistakes = {
            "The layer multiplies by A and by its transpose. How often does the norm count?": (
                2 / (high * n)
            ),
            "Your step does not depend on the slope of the activation. "
            "A flatter one allows longer steps.": 2 / n**2,
            "The steeper the activation, the *shorter* the step.": 2 * high / n**2,
            "The slope enters once: only the norm is squared.": 2 / (high**2 * n**2),
            "This is half of it. Up to here nothing is reflected, "
            "but nothing grows before twice this step either.": 1 / (high * n**2),
            "Safe, but not the longest: the Frobenius norm is larger than the spectral norm.": (
                2 / (high * frobenius**2)
            ),
            "Both norms are wrong: the Frobenius norm, and not squared.": 2 / (high * frobenius),
            "The steepest slope decides, not the sum or the mean of the two.": (
                2 / ((low + high) * n**2)
            ),
            "This takes the direction that A stretches least.": (
                2 / (high * max(least, 1e-12) ** 2)
            ),
        }
        attempt.rule_out(tau, mistakes)
        if slope(0.99 * tau) > 1 + 1e-9:
            attempt.fail(
                f"Too long: with this step a distance can grow by the factor {slope(tau):.4g}."
            )
        attempt.fail(
            "This step is safe for every b, but a longer one is too. "
            "By how much does A stretch at most?"
        )
    for low in (-attempt.uniform(0.01, 1.0), -1e-3, -0.129):
        tau = attempt.number("longest_step", attempt.randn(3, 3), low, 1.129)
        attempt.require(
            tau == 0,
            f"Where the slope is {low:.3g}, the layer *pushes points apart*, "
            f"however short the step: return 0, not {tau:.3g}.",
        )


@exercise("5.2", "The price of going too far", points=2, minutes=15)
def price(attempt: Attempt) -> None:
    def worst(A, tau):  # over all patterns of units that are on
        patterns = torch.tensor(list(itertools.product([0.0, 1.0], repeat=len(A))))
        derivatives = torch.eye(A.shape[1]) - tau * (A.T * patterns[:, None]) @ A
        return torch.linalg.matrix_norm(derivatives, 2).max().item()

    shown = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    matrices = [attempt.uniform(0.15, 0.25) * shown]
    for size in ((2, 2), (4, 2), (3, 5), (1, 3), (4, 4)):
        matrices.append(attempt.uniform(0.4, 2.0) * attempt.randn(*size))
    matrices += [50 * attempt.randn(*size) for size in ((3, 3), (4, 4), (5, 3))]
    matrices += [shown, torch.eye(3)]
    for A in matrices:
        n = norm(A)
        for c in (2.5, attempt.uniform(2.2, 6.0), 2.0, attempt.uniform(0.2, 1.8)):
            tau = c / n**2
            value = attempt.number("lipschitz_constant", A, tau)
            truth = worst(A, tau)
            if abs(value - truth) <= 1e-4 * truth:
                continue
            attempt.require(
                value > 1 - 1e-6,
                f"At c = {c:.3g} you say {value:.4g}. But for some b all units are off near x and "
                "y: what does the layer do to them then?",
            )
            attempt.require(
                abs(value - 1) > 1e-6, f"c = {c:.3g} is beyond the limit: there distances can grow."
            )
            all_on = torch.eye(A.shape[1]) - tau * A.T @ A
            mistakes = {
                "That is 1 + c, a true bound but not the smallest one. "
                "x and the step point in opposite directions.": 1 + c,
                "tau is the step itself, not c. How are they related?": tau - 1,
                "c contains the *square* of the norm.": tau * n - 1,
                "The Frobenius norm overestimates what A can do.": tau * A.norm().item() ** 2 - 1,
                "This is c. The x in front of the step counts too.": c,
                "The Frobenius norm of I - tau A'DA is too large: "
                "how far can it stretch *one* vector?": all_on.norm(),
            }
            attempt.rule_out(value, mistakes)
            side = "some distance grows more" if value < truth else "no distance grows that much"
            attempt.fail(
                f"At c = {c:.3g}, {side} than by {value:.4g}. "
                "Which pattern of units, on or off, is the worst?"
            )
    for A in matrices:
        m, d = A.shape
        answer = attempt.several("stretched_pair", A, count=3)
        b = attempt.as_tensor(answer[0], "`b` of `stretched_pair`", (m,))
        x = attempt.as_tensor(answer[1], "`x` of `stretched_pair`", (d,))
        y = attempt.as_tensor(answer[2], "`y` of `stretched_pair`", (d,))
        apart = (x - y).norm().item()
        attempt.require(apart > 1e-6, "x and y should be two different points.")
        for c in (2.5, attempt.uniform(2.2, 6.0)):
            step = c / norm(A) ** 2
            point = torch.stack([x, y])
            after = point - step * torch.relu(point @ A.T + b) @ A
            stretch = (after[0] - after[1]).norm().item() / apart
            if stretch >= (c - 1) * (1 - 1e-3):
                continue
            gain = (A @ (x - y)).norm().item() / apart
            attempt.require(
                gain > norm(A) * (1 - 1e-4),
                f"Between your x and y the matrix stretches only by {gain:.4g}, "
                f"but it can stretch by {norm(A):.4g}. In which direction?",
            )
            on = ((point @ A.T + b) > 0).all()
            attempt.require(
                on,
                "The direction is right, but some units are off at x or y. "
                "Which b switches all of them on at both?",
            )
            attempt.fail(
                f"Your pair is stretched by {stretch:.4g} at c = {c:.3g}, "
                f"but some pair is stretched by {c - 1:.4g}."
            )


@exercise("5.3", "How averaged is a stack of layers?", points=3, minutes=20)
def averaged(attempt: Attempt) -> None:
    def needed(alphas):
        """By scaled rotations by small angles, which are averaged and far from being layers."""
        z = 1
        for alpha in alphas:
            angle = 2e-3 / (1 - alpha)
            z *= 1 - alpha + alpha * complex(math.cos(angle), math.sin(angle))
        return abs(1 - z) ** 2 / (1 - abs(z) ** 2 + abs(1 - z) ** 2)

    def inequality(before, moved, after, alpha):
        return (after <= before - (1 - alpha) / alpha * moved + 1e-9 * before).all()

    stacks = [[1.8, 0.1, 1.0], [1.5, 1.5, 1.5], [1.0], [attempt.uniform(0.2, 1.6)], [1.0, 1.0]]
    stacks += [attempt.uniform(0.2, 1.6, n).tolist() for n in (2, 3, 7)]
    for steps in stacks:
        alpha = attempt.number("averagedness", steps)
        alphas = [c / 2 for c in steps]
        shown = "[" + ", ".join(f"{c:.3g}" for c in steps) + "]"
        if abs(alpha - needed(alphas)) <= 1e-3 * needed(alphas):
            continue
        attempt.require(
            0 < alpha < 1,
            f"For the steps {shown} alpha should lie between 0 and 1, yours is {alpha:.4g}.",
        )
        n = len(steps)
        largest = max(alphas)
        mistakes = {
            "This is the largest alpha of the layers. "
            "One after the other they are less averaged than the worst of them.": largest,
            "The product says that more layers are more averaged. "
            "Does repeating a rotation make it contract?": math.prod(alphas),
            "This is the mean of the layers' alphas. "
            "The mean of the maps would have it, their composition has not.": sum(alphas) / n,
            "You took each layer for as bad as the worst one. "
            "True, but a smaller alpha is guaranteed.": n * largest / (1 + (n - 1) * largest),
            "This is right for equal layers with the mean step only.": (
                sum(alphas) / (1 + (n - 1) * sum(alphas) / n)
            ),
            "You used the number of layers only, as if each were firmly non-expansive.": (
                n / (n + 1)
            ),
        }
        attempt.rule_out(alpha, mistakes, rtol=0, atol=1e-6)
        if alpha < needed(alphas):
            attempt.fail(
                f"For the steps {shown} your alpha promises too much: "
                "some maps, each as averaged as these layers, break it."
            )
        attempt.fail(
            f"For the steps {shown} a smaller alpha is guaranteed. "
            "Compose two layers, then the result with the third."
        )
    for steps in ([2.0], [2.0, 2.0], [0.7, 2.0, 1.2]):
        alpha = attempt.number("averagedness", steps)
        attempt.require(
            abs(alpha - 1) <= 1e-6,
            "A layer with c = 2 may be a reflection. "
            f"With one in the stack nothing more than alpha = 1 is promised, not {alpha:.4g}.",
        )
    for depth in (1, 1, 3):
        matrices = [attempt.randn(3, 3) for _ in range(depth)]
        # Few binary digits, so that x - y, x - Tx and so on are exact in each order where Tx = x.
        # At `resting` all units of all layers are off.
        resting = (64 * attempt.randn(3, 3)).round() / 64
        biases = []
        for A in matrices:
            biases.append(-(resting @ A.T).amax(0) - attempt.uniform(0.1, 0.5, 3))
        T = relu_layers(matrices, biases, attempt.uniform(0.3, 1.9, depth).tolist())
        x, y = (32 * attempt.randn(2, 400, 3)).round() / 16
        x[:3] = resting
        y[:3] = resting[[0, 2, 1]]  # the first pair is one point twice
        D = (x - y).square().sum(1)
        M = ((x - T(x)) - (y - T(y))).square().sum(1)
        clear = (M == 0) | (M > 1e-3 * D)  # between them, rounding decides
        x = x[clear]
        y = y[clear]
        before = (x - y).square().sum(1)
        moved = ((x - T(x)) - (y - T(y))).square().sum(1)
        after = (T(x) - T(y)).square().sum(1)
        holds = partial(inequality, before, moved, after)
        alpha = attempt.number("measured_averagedness", T, x, y)
        if alpha > 0 and holds(alpha * (1 + 1e-5)) and not holds(alpha * (1 - 1e-4)):
            continue
        apart = moved > 1e-12
        before = before[apart]
        moved = moved[apart]
        after = after[apart]
        ratios = moved / (moved + before - after)
        odds = moved / (before - after)
        plain = moved.sqrt() / (moved.sqrt() + before.sqrt() - after.sqrt())
        mistakes = {
            "This is the alpha of the pair that needs least. "
            "The inequality must hold for *all* pairs.": ratios.min(),
            "This is the mean over the pairs. The inequality must hold for *all* of them.": (
                ratios.mean()
            ),
            "This is (1 - alpha) / alpha, not alpha.": ((before - after) / moved).min(),
            "This is alpha / (1 - alpha), not alpha.": odds.max(),
            "These are distances. The inequality is about their squares.": plain.max(),
            "1 is the largest stretch, and the alpha of a map that is merely non-expansive. "
            "For these pairs less is enough.": 1.0,
        }
        attempt.rule_out(alpha, mistakes, rtol=0, atol=1e-6)
        if alpha <= 0 or not holds(alpha * (1 + 1e-5)):
            attempt.fail(
                f"With your measured alpha {alpha:.4g} the inequality fails for some of the pairs."
            )
        attempt.fail(
            f"Your measured alpha is {alpha:.4g}, "
            "but a smaller one satisfies the inequality for all of these pairs."
        )


@exercise("5.4", "The adjoint of a convolution", points=2, minutes=12)
def convolution_adjoint(attempt: Attempt) -> None:
    # height, width, kernel (height, width), stride, padding, dilation
    cases = [
        (8, 8, 3, 3, 2, 1, 1),
        (9, 9, 3, 3, 2, 1, 1),
        (7, 7, 3, 3, 1, 1, 1),
        (8, 11, 3, 3, 2, 1, 1),
        (12, 10, 3, 3, 3, 0, 1),
        (9, 9, 3, 3, 1, 2, 2),
        (11, 14, 3, 3, 3, 2, 2),
        (10, 9, 2, 3, 2, 1, 1),
        (13, 12, 5, 2, 4, 2, 1),
        (12, 13, 3, 4, 2, 0, 3),
    ]
    for place, (height, width, k, l, stride, padding, dilation) in enumerate(cases):
        few = attempt.integer(1, 3)
        many = attempt.integer(4, 5)
        channels = (few, many) if place % 3 else (many, few)
        kernel = attempt.randn(*channels, k, l)
        x = attempt.randn(attempt.integer(1, 3), kernel.shape[1], height, width)
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        image = F.conv2d(x, kernel, **options)
        y = attempt.randn(*image.shape)
        case = (
            f"{height} x {width} image, {k} x {l} kernel, stride {stride}, padding {padding}, "
            f"dilation {dilation}"
        )
        value = attempt.ask("conv_adjoint", y, kernel, (height, width), stride, padding, dilation)
        if isinstance(value, Tensor) and value.ndim == 4 and value.shape[2:] != x.shape[2:]:
            larger = " Dilation makes the window larger." if dilation > 1 else ""
            attempt.fail(
                f"{case}: your result is {value.shape[2]} x {value.shape[3]}. "
                f"How many last rows and columns did no window reach?{larger}"
            )
        value = attempt.as_tensor(value, "`conv_adjoint`", x.shape)
        left = (image * y).sum()
        right = (x * value).sum()
        scale = image.norm() * y.norm() * 1e-9
        if (left - right).abs() <= scale:
            continue
        exact = torch.func.vjp(partial(F.conv2d, weight=kernel, **options), x)[1](y)[0]
        attempt.require(
            (value - exact).abs().max() > 1e-5 * exact.abs().max(),
            f"{case}: nearly, but digits are lost. Compute in the precision of the input.",
        )
        mistakes = {"minus the adjoint: the sign is wrong.": -exact}
        for factor in (2, 3, 4, 9):
            source = "Where does this factor come from?"
            mistakes[f"the adjoint divided by {factor}. {source}"] = exact / factor
            mistakes[f"{factor} times the adjoint. {source}"] = factor * exact
        attempt.rule_out(value, mistakes, "This is {}")
        attempt.fail(
            f"{case}: <Kx, y> = {left:.6g}, but <x, K'y> = {right:.6g} for your K'. "
            "The shape is right, the values are not."
        )


@exercise("5.5", "Fit |x| with one layer", points=2, minutes=12)
def fit_absolute_value(attempt: Attempt) -> None:
    grid = torch.linspace(-1, 1, 801)

    def errors(c, k):  # before the shift by q
        x = torch.cat([grid, torch.tensor([k]).clamp(-1, 1)])
        return x.abs() + x - c * torch.relu(x - k)

    def spread(c, k):
        e = errors(c, k)
        return (e.max() - e.min()).item() / 2

    random = [attempt.uniform(*ends) for ends in ((0.1, 0.9), (1.1, 1.95), (0.01, 0.1))]
    for c in (*random, 1.0, 2.0, 0.5, 1.5):
        k, q = attempt.several("best_fit", c, count=2)
        k = attempt.as_number(k, "`k`, the first value of `best_fit`,")
        q = attempt.as_number(q, "`q`, the second value of `best_fit`,")
        error = (errors(c, k) - q).abs().max().item()
        best = min(spread(c, place) for place in torch.linspace(-1, 1, 41).tolist())
        if error <= best + 0.01:
            continue
        flipped = (errors(c, k) + q).abs().max().item()
        attempt.require(flipped > best + 0.01, "The sign of q is wrong.")
        exchanged = (errors(c, q) - k).abs().max().item()
        attempt.require(exchanged > best + 0.01, "First the kink k, then the shift q.")
        turned = (errors(c, -k) - q).abs().max().item()
        attempt.require(turned > best + 0.01, "The kink is where x = k, not x = -k.")
        if spread(c, k) <= best + 0.005:
            middle = (errors(c, k).max() + errors(c, k).min()).item() / 2
            way = "up" if q < middle else "down"
            attempt.fail(
                f"c = {c:.3g}: your kink is well placed. Now shift the graph {way}: "
                f"the largest error is {error:.3f} and could be {best:.3f}."
            )
        attempt.fail(
            f"c = {c:.3g}: your largest error is {error:.3f}. Another kink allows {best:.3f}."
        )


@exercise("5.6", "A layer that keeps its promise", points=3, minutes=20)
def stable_layer(attempt: Attempt) -> None:
    def output(layer, x, what):
        return attempt.as_tensor(layer(x), what, x.shape, x.dtype).double()

    def judge(layer, W, b, when):
        m, d = W.shape
        for size in (50, 1):
            x = 2 * attempt.randn(size, d).to(W)
            if size == 50:
                x[0] = torch.linalg.lstsq(W, 1 - b).solution  # at least here something is on
            y = output(layer, x, "the output of `StableLayer`")
            x = x.double()
            A = W.double()
            bias = b.double()
            c_is_2 = 2 / norm(A) ** 2
            on = torch.relu(x @ A.T + bias)
            step = on @ A
            tau = ((x - y) * step).sum().item() / max(step.square().sum().item(), 1e-30)
            small = 1e-4 if W.dtype == torch.float32 else 1e-8
            if (x - y - tau * step).norm() > small * (1 + x.norm()):
                mistakes = {
                    "The skip is missing: the layer is x minus the step.": -c_is_2 * step,
                    "The bias is missing.": x - c_is_2 * torch.relu(x @ A.T) @ A,
                    "The bias belongs inside the activation.": (
                        x - c_is_2 * (torch.relu(x @ A.T) + bias) @ A
                    ),
                    "The activation is missing.": x - c_is_2 * (x @ A.T + bias) @ A,
                    "The activation belongs between the two matrices, not around the product.": (
                        x - c_is_2 * torch.relu((x @ A.T + bias) @ A)
                    ),
                    "Softplus is not the ReLU.": x - c_is_2 * F.softplus(x @ A.T + bias) @ A,
                }
                if m == d:
                    hint = "The second matrix must be the *transpose* of the first."
                    mistakes[hint] = x - c_is_2 * on @ A.T
                attempt.rule_out(y, mistakes, rtol=0, atol=1e-5 * (1 + x.norm()))
                if size == 50:
                    one = output(layer, x[:1].to(W), "the output for one input")
                    attempt.require(
                        (one - y[:1]).norm() <= 1e-4 * (1 + one.norm()),
                        "The output for an input changes with the others in the batch.",
                    )
                attempt.fail("The output is not x - tau W' relu(W x + b) with one number tau.")
            if size == 1:
                continue
            c = tau * norm(A) ** 2
            attempt.require(abs(c) > 1e-9, "Your layer does nothing.")
            attempt.require(c > 0, "With this sign the layer walks uphill, and distances grow.")
            old = ""
            if when == "later":
                old = " after the weights have changed. Which norm does your step use?"
            attempt.require(
                c <= 2 * (1 + small),
                f"c = {c:.4g}: distances can grow{old or '. At most 2 is allowed.'}",
            )
            attempt.require(
                c >= 2 * (1 - 1e-3),
                f"c = {c:.4g} is safe, but not the longest step{old or ', which is c = 2.'}",
            )

    for m, d in ((3, 3), (5, 2), (2, 4), (4, 4)):
        W = attempt.uniform(0.3, 3.0) * attempt.randn(m, d)
        b = attempt.randn(m)
        layer = attempt.function("StableLayer", W, b)
        judge(layer, W, b, "new")
        names = layer.method("state_dict")
        good = isinstance(names, dict) and {"weight", "bias"} <= set(names)
        attempt.require(
            good,
            "The layer should be an nn.Module whose parameters are called `weight` and `bias`, "
            "as in the given `__init__`.",
        )
        for scale in (3.0, 0.2):  # a training step, or a checkpoint that is loaded
            W = scale * attempt.randn(m, d)
            b = attempt.randn(m)
            layer.method("load_state_dict", {"weight": W, "bias": b}, False)
            judge(layer, W, b, "later")
    W = attempt.randn(3, 2).float()
    b = attempt.randn(3).float()
    judge(attempt.function("StableLayer", W, b), W, b, "new")
    W = attempt.randn(3, 4)
    b = attempt.randn(3)
    layer = attempt.function("StableLayer", W, b)
    x = 2 * attempt.randn(5, 4)
    weights = attempt.randn(5, 4)
    x[0] = torch.linalg.lstsq(W, 1 - b).solution
    _, slope = layer.with_gradient(x, weights)
    slope = attempt.as_tensor(slope, "the gradient by x", x.shape)
    on = ((x @ W.T + b) > 0).double()
    right = weights - 2 / norm(W) ** 2 * (on * (weights @ W.T)) @ W
    attempt.require(
        (slope - right).norm() <= 1e-6 * (1 + right.norm()),
        "The values are right, but PyTorch's gradient by x is not that of this layer.",
    )
    for name in ("weight", "bias"):
        _, slope = layer.with_gradient(x, weights, name)
        slope = attempt.as_tensor(
            slope, f"the gradient by `{name}`", b.shape if name == "bias" else W.shape
        )
        attempt.require(
            slope.abs().max() > 1e-6,
            f"No gradient reaches `{name}`: the layer could not be trained.",
        )
    x = attempt.randn(4, 2)
    zero = attempt.function("StableLayer", torch.zeros(3, 2), torch.ones(3))
    still = attempt.as_tensor(zero(x), "the output with W = 0", x.shape)
    attempt.require(
        torch.equal(still, x),
        "With W = 0 the layer is the identity. What is 2 / 0 in your code, and what is 0 times it?",
    )
