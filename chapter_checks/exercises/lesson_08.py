"""Checks of coursework 8: structure elsewhere."""

import itertools
import math
from functools import partial
from typing import Callable

import torch
from torch.autograd.functional import jacobian

from ..engine import Attempt, exercise
from ..sendable import (
    cubic_flow,
    gradient_denoiser,
    hidden_layer,
    linear_flow,
    pendulum_step,
    stretched_layer,
)


def of_odds(odds: float) -> float:
    return odds / (1 + odds)


def odds_of(alpha: float) -> float:
    """alpha / (1 - alpha); nan for alpha = 1."""
    return alpha / (1 - alpha) if alpha != 1 else math.nan


@exercise("8.1", "How soon is it sure to rest?", points=2, minutes=12)
def iteration_alpha(attempt: Attempt) -> None:
    cases: list[tuple[float, float, list[float], bool]] = []
    for place, number in enumerate((2, 2, 3, 3, 4, 5)):
        low, high = (0.4, 0.8) if place % 2 else (1.3, 2.0)
        size = attempt.uniform(low, high)
        steps = attempt.uniform(0.3, 1.7, number).tolist()
        cases.append((attempt.uniform(0.3, 1.8) / size**2, size, steps, place > 2))
    cases += [(1.0, 1.0, [1.0] * 4, False), (0.9, 1.2, [1.4], True), (30.0, 0.2, [0.5] * 9, True)]
    for tau, size, steps, clipped in cases:
        alpha = attempt.number("iteration_alpha", tau, size, steps, clipped)
        parts = [c / 2 for c in steps] + [0.5] * clipped
        layers = sum(map(odds_of, parts))
        first = tau * size**2 / 2
        odds = layers + odds_of(first)
        if abs(alpha - of_odds(odds)) <= 1e-6:
            continue
        full = sum(map(odds_of, steps)) + clipped + odds_of(first)
        without_square = layers + odds_of(tau * size / 2)
        without_size = layers + odds_of(tau / 2)
        without_half = layers + odds_of(2 * first)
        mistakes = {
            "This is alpha / (1 - alpha), the number that adds up. Solve for alpha.": odds,
            "The gradient of F is Lipschitz with the *square* of the norm of B: "
            "B appears in it twice.": of_odds(without_square),
            "The step tau itself says nothing: what counts is tau times the Lipschitz constant "
            "of the gradient.": of_odds(without_size),
            "A gradient step with tau L is tau L / 2-averaged. Here the half is missing.": (
                of_odds(without_half)
            ),
            "A layer with step c is c / 2-averaged (Claim 5.3). Here the half is missing.": (
                of_odds(full)
            ),
            "The clipping counts exactly if `clipped` is True.": (
                of_odds(odds + (-1 if clipped else 1))
            ),
            "You forgot the gradient step.": of_odds(layers),
            "You forgot the denoiser's layers.": of_odds(odds_of(first) + clipped),
            "Alphas do not add up; alpha / (1 - alpha) does.": sum(parts) + first,
            "Alphas do not multiply: a composition is averaged *less* strictly than its parts.": (
                math.prod(parts) * first
            ),
            "The worst part alone is not enough: each further part makes alpha larger.": (
                max([*parts, first])
            ),
            "A mean of the alphas cannot be right: each further part makes alpha larger.": (
                (sum(parts) + first) / (len(parts) + 1)
            ),
        }
        attempt.rule_out(alpha, mistakes, rtol=0, atol=1e-6)
        attempt.require(0 < alpha < 1, f"alpha lies between 0 and 1, not at {alpha:.3g}.")
        attempt.fail(
            f"For one gradient step and {len(steps)} layer(s) it is not {alpha:.4g}. "
            "Which alpha has each part, and how do they compose?"
        )

    def bound_after(alpha, distance, k):
        return distance * math.sqrt(alpha / ((1 - alpha) * (k + 1))) if k > -1 else math.inf

    for k in [attempt.integer(2, 4000) for _ in range(8)] + [1, 0, 50_000]:
        alpha = attempt.uniform(0.2, 0.95)
        distance = attempt.uniform(2.0, 30.0)
        target = distance * math.sqrt(alpha / ((1 - alpha) * (k + attempt.uniform(0.1, 0.9))))
        n = attempt.number("sure_after", alpha, distance, target)
        bound = partial(bound_after, alpha, distance)
        attempt.require(
            n == round(n) and n >= 0,
            f"A number of iterations is whole and not negative, not {n:.4g}.",
        )
        if bound(n) <= target < bound(n - 1):
            continue
        attempt.require(
            abs(n - k) != 1,
            "You are one off. The bound for |x_(k+1) - x_k| has k + 1 below the root: "
            "which k is the first?",
        )
        without_root = distance * odds_of(alpha)
        if without_root / (n + 1) <= target < (without_root / n if n else math.inf):
            attempt.fail("There is a root over the whole fraction in Claim 8.10.")
        square = distance**2 / target**2
        if abs(n - (square - 1)) <= 1 or abs(n - square / odds_of(alpha)) <= 1:
            attempt.fail(
                "Look at alpha / (1 - alpha) in Claim 8.10: a larger alpha needs more iterations."
            )
        if bound(n) > target:
            attempt.fail(
                f"After your {n:.0f} iterations the bound is still {bound(n) / target:.3g} "
                "times the target."
            )
        attempt.fail(
            f"The bound reaches the target sooner than after your {n:.0f} iterations: "
            f"after {k} or so."
        )


@exercise("8.2", "The order of a symmetric splitting", points=2, minutes=15)
def strang(attempt: Attempt) -> None:
    def walk(first, second, x, pieces):
        """The flows one after the other: pieces of (which, time)."""
        for which, time in pieces:
            flow = first if which == 1 else second
            x = flow(x, time)
        return x

    def symmetric(h):
        return [(1, h / 2), (2, h), (1, h / 2)]

    def lie(h):
        return [(1, h), (2, h)]

    for steps in (1, 1, 2, 3, 6):
        K = attempt.randn(3, 3)
        turning = linear_flow(2 * (K - K.T))
        calming = cubic_flow(attempt.uniform(0.3, 2.0, 3))
        first, second = (turning, calming) if attempt.integer(0, 1) else (calming, turning)
        x = 1.5 * attempt.randn(4, 3)
        T = attempt.uniform(0.8, 2.0)
        new = attempt.tensor("strang", first, second, x, T, steps, shape=(4, 3))
        h = T / steps
        after = partial(walk, first, second, x)
        if (new - after(symmetric(h) * steps)).abs().max() <= 1e-9:
            continue
        mistakes = {
            "This is Lie's splitting: the first flow all at once. Strang's is symmetric.": (
                after(lie(h) * steps)
            ),
            "This is Lie's splitting, with the second flow in front.": (
                after([(2, h), (1, h)] * steps)
            ),
            "You exchanged the flows: half of the *first*, all of the second, half of the first.": (
                after([(2, h / 2), (1, h), (2, h / 2)] * steps)
            ),
            "The first flow runs twice as long as it should: "
            "half a step before and half a step after.": after([(1, h), (2, h), (1, h)] * steps),
            "The second flow lacks half of its time.": (
                after([(1, h / 2), (2, h / 2), (1, h / 2)] * steps)
            ),
            "The last half step is missing.": after([(1, h / 2), (2, h)] * steps),
            "Every step lasts T, not T / N: your layers go N times too far.": (
                after(symmetric(T) * steps)
            ),
            "This is one step. Take N of them.": after(symmetric(h)),
            "This is one long step. Take N of them, each for a time T / N.": after(symmetric(T)),
        }
        attempt.rule_out(new, mistakes, rtol=0, atol=1e-9)
        attempt.fail(
            f"With N = {steps} these are not N steps of T / N: "
            "half of the first flow, all of the second, half of the first."
        )

    def errors(A, B, x, T, steps, pieces):
        """What is wrong after this number of steps, and after twice as many."""
        exact = linear_flow(A + B)(x, T)
        found = [pieces(T / n) * n for n in (steps, 2 * steps)]
        return [walk(linear_flow(A), linear_flow(B), x, each) - exact for each in found]

    for _ in range(5):
        while True:  # a case that is not the limit 4 itself, so that 4.0 is no answer
            A = attempt.randn(3, 3) / 2
            B = attempt.randn(3, 3)
            x = attempt.randn(3)
            T = attempt.uniform(1.0, 2.0)
            steps = attempt.integer(2, 5)
            wrong, less_wrong = errors(A, B, x, T, steps, symmetric)
            coarse = wrong.norm().item()
            fine = less_wrong.norm().item()
            right = coarse / fine
            if fine > 1e-4 and 0.02 < abs(right - 4) < 1.5:
                break
        ratio = attempt.number("error_ratio", A, B, x, T, steps)
        if abs(ratio - right) <= 1e-4 * right:
            continue
        lie_wrong, lie_less_wrong = errors(A, B, x, T, steps, lie)
        largest = wrong.abs().max() / less_wrong.abs().max()
        total = wrong.abs().sum() / less_wrong.abs().sum()
        other_length = "Measure the error by the Euclidean length of the difference."
        mistakes = {
            "Upside down: divide the error with N steps by the error with 2N.": 1 / right,
            "This is the ratio of *squared* errors.": right**2,
            "This is the order, the logarithm of the ratio.": math.log2(right),
            "This is the ratio of Lie's splitting. Use half steps of A at both ends.": (
                lie_wrong.norm() / lie_less_wrong.norm()
            ),
            "This is the error with N steps. Divide it by the error with 2N steps.": coarse,
            "4 is what the ratio tends to. Measure the ratio for this N.": 4.0,
        }
        attempt.rule_out(ratio, mistakes, rtol=1e-4)
        for value in (largest, total):
            attempt.rule_out(ratio, {other_length: value}, rtol=1e-4)
        attempt.fail(
            f"With N = {steps} the errors have the ratio {right:.3f}, not {ratio:.4g}. "
            "Exact flows are matrix exponentials; the exact solution is that of A + B."
        )


@exercise("8.3", "Where it comes to rest", points=2, minutes=15)
def resting_place(attempt: Attempt) -> None:
    def factor_of(alpha, theta):
        return abs(1 - alpha + alpha * complex(math.cos(theta), math.sin(theta)))

    cases = []
    for _ in range(8):
        alpha = attempt.uniform(0.1, 0.9)
        theta = attempt.uniform(0.4, 2.7)
        cases.append((alpha, theta, attempt.integer(3, 60)))
    cases += [(0.5, math.pi / 2, 100), (0.3, 4.0, 5), (0.4, -1.0, 7), (0.6, 1.0, 0), (0.7, 0.0, 9)]
    for alpha, theta, n in cases:
        length = attempt.number("length_after", alpha, theta, n)
        factor = factor_of(alpha, theta)
        move = alpha * abs(complex(math.cos(theta), math.sin(theta)) - 1)
        if abs(length - factor**n) <= 1e-6 * factor**n:
            continue
        in_degrees = factor_of(alpha, math.radians(theta))
        residual_bound = math.sqrt(alpha / ((1 - alpha) * (n + 1)))
        mistakes = {
            "This is the squared length.": factor ** (2 * n),
            "This is after n + 1 repetitions.": factor ** (n + 1),
            "This is after n - 1 repetitions.": factor ** (n - 1),
            "This is the factor of one repetition.": factor,
            "This is the residual, the length of the next move. "
            "The length of x_n itself is asked.": move * factor**n,
            "This is the bound of Claim 8.10 for the residual, which holds for *every* averaged "
            "map. For this one compute the length.": residual_bound,
            "This is |1 - alpha|^n, as if R were 0.": (1 - alpha) ** n,
            "This is right for alpha = 1/2 only.": abs(math.cos(theta / 2)) ** n,
            "The angle is in radians.": in_degrees**n,
            "One coordinate is not the length: the point also turns.": (
                abs(1 - alpha + alpha * math.cos(theta)) ** n
            ),
        }
        attempt.rule_out(length, mistakes)
        attempt.fail(
            f"For alpha = {alpha:.3g}, theta = {theta:.3g}, n = {n} it is not {length:.4g}. "
            "By what factor does one repetition change the length?"
        )

    def orthogonal(angles, fixed, flipped):
        """A random orthogonal matrix that turns by these angles, and the directions it fixes.

        It turns others around.
        """
        turns = []
        for t in angles:
            turns.append(torch.tensor([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]))
        core = torch.block_diag(*turns, torch.eye(fixed), -torch.eye(flipped))
        basis = torch.linalg.qr(attempt.randn(len(core), len(core))).Q
        if fixed == len(core):
            return core, core
        turned = 2 * len(angles)
        return basis @ core @ basis.T, basis[:, turned : turned + fixed]

    sizes = [(1, 1, 0), (1, 2, 0), (1, 2, 1), (2, 2, 0), (1, 0, 0), (0, 2, 1), (0, 3, 0)]
    for turning, fixed, flipped in sizes:
        angles = []
        if turning:
            angles = [attempt.uniform(0.5, 0.52)] + [attempt.uniform(0.5, 2.8)] * (turning - 1)
        R, kept = orthogonal(angles, fixed, flipped)
        x = attempt.randn(len(R))
        place = attempt.tensor("resting_place", R, x, shape=x.shape)
        right = kept @ (kept.T @ x)
        if (place - right).norm() <= 1e-6 * x.norm():
            continue
        T = (torch.eye(len(R)) + R) / 2
        attempt.require(
            (place - x).norm() > 1e-9,
            "That is the start. The repeated map moves it, unless R keeps it where it is.",
        )
        attempt.require((place - R @ x).norm() > 1e-9, "That is R x, a single turn.")
        attempt.require((place - T @ x).norm() > 1e-9, "That is the point after one repetition.")
        if (place - torch.linalg.matrix_power(R, 100) @ x).norm() <= 1e-6:
            attempt.fail("You repeated R, which never rests. Repeat (I + R) / 2.")
        moving = (T @ place - place).norm().item()
        if moving > 1e-6:
            attempt.fail(
                f"It does not rest there: the next repetition moves it by {moving:.2g}. "
                "The slowest turn here is by about 0.5."
            )
        attempt.require(
            place.norm() > 1e-9,
            "0 rests, but the iteration need not go to 0: R leaves some directions as they are.",
        )
        attempt.fail(
            "It could rest there, but it does not come there from x. "
            "Which part of x does T never change?"
        )


@exercise("8.4", "New values at once, or old ones", points=2, minutes=15)
def kick_then_drift(attempt: Attempt) -> None:
    for n, batch in ((1, 5), (2, 1), (3, 4)):
        g = hidden_layer(attempt.randn(4, n), attempt.randn(4), attempt.randn(n, 4))
        k = hidden_layer(attempt.randn(4, n), attempt.randn(4), attempt.randn(n, 4))
        x = attempt.randn(batch, 2 * n)
        h = attempt.uniform(0.2, 0.9)
        new = attempt.tensor("kick_then_drift", x, g, k, h, shape=x.shape)
        q = x[:, :n]
        p = x[:, n:]
        kicked = p - h * g(q)
        drifted = q + h * k(p)
        right = q + h * k(kicked)
        if (new - torch.cat([right, kicked], 1)).abs().max() <= 1e-9:
            continue
        mistakes = {
            "This is Euler's method: the drift uses the old p. Use the new one at once.": (
                (drifted, kicked)
            ),
            "The kick comes first. Here the drift did.": (drifted, p - h * g(drifted)),
            "The result starts with the momenta. Positions come first, as in x.": ((kicked, right)),
            "The kick is p - h g(q), with a minus.": (q + h * k(p + h * g(q)), p + h * g(q)),
            "The drift is q + h k(p), with a plus.": (q - h * k(kicked), kicked),
            "You exchanged g and k: g(q) is for the kick.": (q + h * g(p - h * k(q)), p - h * k(q)),
            "The drift is missing.": (q, kicked),
            "The kick is missing.": (drifted, p),
            "These are only the changes: they are added to q and p.": (h * k(kicked), -h * g(q)),
            "This kicks by half a step only.": (q + h * k(p - h / 2 * g(q)), p - h / 2 * g(q)),
            "You kick again after the drift, as Verlet does, but with full steps.": (
                (right, kicked - h * g(right))
            ),
        }
        mistakes = {hint: torch.cat(halves, 1) for hint, halves in mistakes.items()}
        attempt.rule_out(new, mistakes, rtol=0, atol=1e-9)
        attempt.fail(
            "Not yet: first p becomes p - h g(q), then q becomes q + h k(p) with this new p. "
            "Positions are the first half of x."
        )

    h = attempt.uniform(0.3, 0.9)
    cases: list[tuple[str, Callable, int]] = [
        ("Euler's step for the pendulum", pendulum_step(h, False), 2),
        ("the symplectic Euler step", pendulum_step(h, True), 2),
    ]
    for d, sign in ((2, -1), (3, 1), (3, -1), (4, 1), (5, -1)):
        while True:
            M = attempt.randn(d, d)
            if abs(torch.linalg.det(M)) > 0.1:
                break
        M[0] *= sign * torch.linalg.det(M).sign()
        W = 0.02 * attempt.randn(d, 4)
        step = stretched_layer(M, attempt.randn(4, d), attempt.randn(4), W)
        cases.append((f"a map of R^{d}", step, d))
    for name, step, d in cases:
        x = attempt.randn(d)
        factor = attempt.number("volume_factor", step, x)
        J = jacobian(step, x)
        right = torch.linalg.det(J).item()
        if abs(factor - abs(right)) <= 1e-4 * abs(right):
            continue
        attempt.require(
            abs(factor - right) > 1e-4 * abs(right),
            "A factor of volumes is not negative, even if the map reflects: "
            "what does the sign of a determinant say?",
        )
        mistakes = {
            "the square of the factor": right**2,
            "the trace of the derivative. Volumes need its determinant": torch.trace(J).item(),
            "a norm of the derivative: that is about distances": (
                torch.linalg.matrix_norm(J, 2).item()
            ),
            "the Frobenius norm of the derivative: that is about distances": J.norm().item(),
            "the logarithm of the factor": math.log(abs(right)),
            "the determinant of the change step(x) - x, not of the step": (
                torch.linalg.det(J - torch.eye(d)).abs().item()
            ),
            "the factor at 0. The map is nonlinear: the place matters": (
                torch.linalg.det(jacobian(step, 0 * x)).abs().item()
            ),
        }
        attempt.rule_out(factor, mistakes, "This is {}.")
        attempt.fail(
            f"For {name} small volumes at x change by the factor {abs(right):.5g}, "
            f"not {factor:.5g}."
        )


@exercise(
    "8.5",
    "A projection that loses nothing",
    points=2,
    minutes=12,
    without=("structure.SumPreservingProjection.forward",),
)
def sum_projection(attempt: Attempt) -> None:
    for m, n, batch in ((8, 3, 6), (5, 2, 1), (6, 1, 3), (7, 5, 4), (4, 4, 2)):
        x = attempt.uniform(0.1, 1.0, batch, m)
        y = attempt.randn(batch, m)
        low = attempt.tensor("sum_projection", x, n, shape=(batch, n))
        high = attempt.tensor("sum_projection", y, n, shape=(batch, n))
        for z, new in ((x, low), (y, high)):
            if (new.sum(1) - z.sum(1)).abs().max() <= 1e-9:
                continue
            dropped = z[:, n:].sum(1, keepdim=True)
            mistakes = {
                "You drop entries, and their sum is lost.": z[:, :n],
                "You spread the sum of *all* entries: the ones that stay are counted twice.": (
                    z[:, :n] + z.sum(1, keepdim=True) / n
                ),
                "You divide by the number of all entries. Over how many do you spread?": (
                    z[:, :n] + dropped / m
                ),
                "You add the mean of what you drop. Add its sum, divided among those that stay.": (
                    z[:, :n] + dropped / max(m - n, 1)
                ),
                "You add the whole sum to each entry.": z[:, :n] + dropped,
            }
            attempt.rule_out(new, mistakes, rtol=0, atol=1e-9)
            if batch > 1 and abs(new.sum() - z.sum()) <= 1e-9:
                attempt.fail(
                    "Only the sum over the whole batch is kept. Each row is a state of its own."
                )
            lost = z.sum(1) - new.sum(1)
            worst = lost.abs().argmax()
            attempt.fail(
                f"A state with the sum {z.sum(1)[worst]:.4g} has lost {lost[worst]:.3g} of it. "
                "Are all entries counted, in the precision of the input?"
            )
        padded = torch.cat([y[:, :n], torch.zeros(batch, m - n)], 1)
        back = attempt.tensor("sum_projection", padded, n, shape=(batch, n))
        attempt.require(
            (back - y[:, :n]).abs().max() <= 1e-9,
            "The sum is kept, "
            "but a state whose other entries are 0 should keep its first n entries.",
        )
        mixed = attempt.tensor("sum_projection", 2 * x - y, n, shape=(batch, n))
        attempt.require(
            (mixed - (2 * low - high)).abs().max() <= 1e-9,
            "The sum is kept, but your map is not linear: f(2x - y) is not 2 f(x) - f(y). "
            "Spread by adding, not by scaling.",
        )
        P = attempt.tensor("sum_projection", torch.eye(m), n, shape=(m, n)).T
        norm = torch.linalg.matrix_norm(P, 2).item()
        least = math.sqrt(m / n)
        attempt.require(
            norm <= least + 1e-9,
            f"The sum is kept, but the norm is {norm:.4f}, and {least:.4f} is possible. "
            "Who gets the dropped entries?",
        )
        attempt.require(
            (P @ y.T - high.T).abs().max() <= 1e-9,
            "The result for a state depends on the others in the batch. Treat each row alone.",
        )
    x = attempt.randn(3, 5).float()
    new = attempt.tensor("sum_projection", x, 2, shape=(3, 2), dtype=torch.float32)
    attempt.require(
        (new.sum(1) - x.sum(1)).abs().max() <= 1e-5, "In single precision the sum is lost."
    )


@exercise("8.6", "Plug and play for a blurred signal", points=2, minutes=15)
def restore(attempt: Attempt) -> None:
    def walk(one, x, times):
        for _ in range(times):
            x = one(x)
        return x

    def gradient_step(B, y, tau, x):
        return x - tau * B.T @ (B @ x - y)

    def plug_and_play(f, D, x):
        return D(f(x)).clamp(0, 1)

    # f is the step towards the data, D the denoiser
    wrong = {
        "There is no denoiser in this iteration.": lambda f, D, tau, x: f(x).clamp(0, 1),
        "The pixels are not clipped to [0, 1].": lambda f, D, tau, x: D(f(x)),
        "You clip before the denoiser. Its result may leave [0, 1]: clip last.": (
            lambda f, D, tau, x: D(f(x).clamp(0, 1))
        ),
        "You denoise first and descend then. It is the other way round.": (
            lambda f, D, tau, x: f(D(x)).clamp(0, 1)
        ),
        "You climb: the gradient is subtracted.": (
            lambda f, D, tau, x: D(2 * x - f(x)).clamp(0, 1)
        ),
        "The step tau is missing.": lambda f, D, tau, x: D(x + (f(x) - x) / tau).clamp(0, 1),
        "The gradient of half the square has no factor 2.": (
            lambda f, D, tau, x: D(2 * f(x) - x).clamp(0, 1)
        ),
        "There is no step towards the data in this iteration.": (
            lambda f, D, tau, x: D(x).clamp(0, 1)
        ),
    }
    for m, d, n in ((4, 4, 1), (3, 5, 1), (6, 4, 2), (5, 5, 7)):
        while True:  # a case in which every mistake is seen
            B = attempt.randn(m, d)
            A = attempt.randn(6, d)
            start = attempt.uniform(0.1, 0.9, d)
            B *= attempt.uniform(1.2, 1.5) / torch.linalg.matrix_norm(B, 2)
            y = B @ attempt.uniform(-0.5, 1.5, d)
            D = gradient_denoiser(A, 0.3 * attempt.randn(6))
            tau = attempt.uniform(0.4, 1.2) / torch.linalg.matrix_norm(B, 2).item() ** 2
            descend = partial(gradient_step, B, y, tau)
            right = walk(partial(plug_and_play, descend, D), start, n)
            mistakes = {}
            for hint, iteration in wrong.items():
                mistakes[hint] = walk(partial(iteration, descend, D, tau), start, n)
            # after many iterations some mistakes lead to the same corner
            ends = [right, *mistakes.values()] if n < 3 else [right]
            if all((a - b).abs().max() > 1e-4 for a, b in itertools.combinations(ends, 2)):
                break
        new = attempt.tensor("restore", B, y, D, tau, start, n, shape=(d,))
        if (new - right).abs().max() <= 1e-9:
            continue
        iterate = partial(walk, partial(plug_and_play, descend, D))
        mistakes |= {
            "This begins at 0. Begin at `start`.": iterate(0 * start, n),
            f"This is one iteration. Repeat it {n} times.": iterate(start, 1),
            f"{n} iterations are asked; this is the result of {n - 1}.": iterate(start, n - 1),
            f"{n} iterations are asked; this is the result of {n + 1}.": iterate(start, n + 1),
        }
        attempt.rule_out(new, mistakes, rtol=0, atol=1e-9)
        attempt.fail(
            "Not the iteration of Section 8.5: "
            "descend along the gradient of F at x, denoise, clip. What is that gradient for B?"
        )
    for m, d, scale in ((4, 4, 1), (1, 1, 1), (3, 5, 1), (6, 2, 1), (3, 3, 0.01), (2, 4, 100)):
        B = scale * attempt.uniform(0.5, 2.0) * (attempt.randn(m, d) + 0.3)
        limit = attempt.number("step_limit", B)
        size = torch.linalg.matrix_norm(B, 2).item()
        if abs(limit - 2 / size**2) <= 1e-4 * limit:
            continue
        mistakes = {
            "Here L_F is the *square* of the norm of B: the gradient contains B twice.": 2 / size,
            "This is half of the limit.": 1 / size**2,
            "This is L_F itself. The step must be shorter than 2 / L_F.": size**2,
            "The Frobenius norm is too large: this is safe, but not the limit.": (
                2 / B.norm().item() ** 2
            ),
            "The 2 of a mask. This B has another norm.": 2.0,
        }
        attempt.rule_out(limit, mistakes)
        attempt.fail(
            f"Claim 8.13 asks for steps below 2 / L_F. For this B that is not {limit:.4g}."
        )
