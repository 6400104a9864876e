"""Checks of coursework 6: expansive steps inside a 1-Lipschitz network."""

import itertools
import math
from functools import partial

import torch
import torch.nn.functional as F

from ..engine import Attempt, exercise
from ..sendable import larger_size, root_of_parabola


def sharp_rule(a: float):
    """h -> the factor of Claim 6.1, for numbers, tensors and arrays."""
    return larger_size(1.0, -a, -1.0)


def paper_rule(a: float):
    """h -> the factor of Claim 6.2, for numbers, tensors and arrays."""
    return root_of_parabola(1.0, -2 * a, 1.0)


def two_sided(h: float, gentle: float, steep: float) -> float:
    """The factor of a step h if the slopes lie between these two."""
    return max(abs(1 - gentle * h), abs(1 - steep * h))


@exercise("6.1", "What a step down leaves", points=2, minutes=12)
def gradient_factor(attempt: Attempt) -> None:
    cases = []
    # `reach` is h1 times the largest eigenvalue of A'A: above about 1.5 the reflected side decides
    kinds = [((3, 3), 0.6), ((4, 2), 2.6), ((5, 3), 1.2), ((2, 4), 1.5)]
    kinds += [((4, 2), 0.8), ((3, 2), 1.9), ((1, 1), 3.0)]
    for shape, reach in kinds:
        A = attempt.uniform(0.4, 2.5) * attempt.randn(*shape)
        size = torch.linalg.matrix_norm(A, 2).item() ** 2
        h1 = reach * attempt.uniform(0.9, 1.1) / size
        cases.append((A, h1, attempt.uniform(0.2, 0.8)))
    orthogonal = torch.linalg.qr(attempt.randn(3, 3)).Q
    cases += [(orthogonal, 0.5, 0.5), (orthogonal, 4 / 3, 0.5)]
    for scale in (100.0, 0.01):
        A, h1, a = cases[1]
        cases.append((scale * A, h1 / scale**2, a))
    for A, h1, a in cases:
        factor = attempt.number("gradient_factor", A, h1, a)
        D = torch.tensor(list(itertools.product((a, 1.0), repeat=len(A))))  # all sign patterns
        derivatives = torch.eye(A.shape[1]) - h1 * A.T @ (D[:, :, None] * A)
        worst = torch.linalg.matrix_norm(derivatives, 2).max().item()
        if abs(factor - worst) <= 1e-6 * max(worst, 1):
            continue
        singular = torch.linalg.svdvals(A)
        high = (singular**2).max().item()
        low = (singular**2).min().item()
        least = low if A.shape[0] >= A.shape[1] else 0.0
        between = partial(two_sided, h1)
        mistakes = {
            "A here has fewer rows than columns: it does not see every direction, "
            "and what it does not see stays as it is.": between(a * low, high),
            "The eigenvalues of A'A are the *squares* of the singular values of A.": (
                between(a * least**0.5, high**0.5)
            ),
            "This is the factor for A'A = I. This A is another matrix.": between(a, 1),
            "This measures h1 in units of 1 / lambda_max. Here h1 is the step itself.": (
                between(a * least / high, 1)
            ),
            "A long step reflects: look at the largest eigenvalue too, with the slope 1.": (
                abs(1 - a * h1 * least)
            ),
            "A short step shrinks some directions less than this: "
            "look at the smallest eigenvalue, with the slope a.": abs(1 - h1 * high),
            "Where the slopes are a, the step shrinks less: "
            "the gentle slope a goes with the smallest eigenvalue.": between(least, high),
            "The gentle slope a goes with the smallest eigenvalue, the slope 1 with the largest.": (
                between(least, a * high)
            ),
            "This is the factor if all slopes are a. "
            "Where they are 1, a long step reflects more.": between(a * least, a * high),
            "This is the square of the factor.": worst**2,
        }
        attempt.rule_out(factor, mistakes)
        if factor < worst:
            attempt.fail(
                f"Too small: for some b the step multiplies a distance by {worst:.4f}, "
                f"you promise {factor:.4f}."
            )
        attempt.fail(
            f"No b makes it multiply a distance by {factor:.4f}; the worst is {worst:.4f}. "
            f"A has the shape {tuple(A.shape)}."
        )

    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    cases = []
    lengths = [(2.1, 2.8)] * 2 + [(0.1, 2.0)] * 5  # with long steps the rules differ most
    for low, high in lengths:
        cases.append((attempt.uniform(low, high), attempt.uniform(0.1, 0.9)))
    for h1, a in [*cases, (0.5, 0.5)]:
        factor = attempt.number("monotone_factor", h1, a)
        spiral = a * torch.eye(2) + (1 - a**2) ** 0.5 * turn
        worst = torch.linalg.matrix_norm(torch.eye(2) - h1 * spiral, 2).item()
        if abs(factor - worst) <= 1e-6:
            continue
        mistakes = {
            "This is the square of the factor: Claim 6.2 has a root.": worst**2,
            "This is the rule for gradients. The spiral is not one.": two_sided(h1, a, 1),
            "The middle term has a factor 2, as in every square of a difference.": (
                abs(1 - a * h1 + h1**2) ** 0.5
            ),
            "The last term of Claim 6.2 has no a: the field is 1-Lipschitz, not a-Lipschitz.": (
                abs(1 - a * h1)
            ),
            "The triangle inequality is too generous: "
            "it does not use that the field is strongly monotone.": 1 + h1,
        }
        attempt.rule_out(factor, mistakes)
        attempt.fail(
            f"With h1 = {h1:.3f} and a = {a:.3f} the spiral of Claim 6.2 multiplies distances by "
            f"{worst:.4f}, not {factor:.4f}."
        )


@exercise("6.2", "How much may be given back?", points=2, minutes=12)
def longest_up(attempt: Attempt) -> None:
    def left_over(downs, a):
        return math.prod(map(sharp_rule(a), downs))

    def account_of(left, parts, step):
        part = min(1 + step / parts, 1e300 ** (1 / parts))
        return left * part**parts

    def step_for(parts, left):
        """The step up, in parts, that gives back what is left of a distance."""
        return parts * (left ** (-1 / parts) - 1)

    cases = []
    for number, parts in ((3, 2), (4, 3), (1, 3), (2, 1), (2, 4), (1, 2)):
        while True:
            downs = attempt.uniform(0.1, 1.9, number).tolist()
            a = attempt.uniform(0.2, 0.8)
            factors = [sharp_rule(a)(h) for h in downs]
            extreme = number > 2 and factors[0] in (min(factors), max(factors))
            paper = math.prod(map(paper_rule(a), downs))
            if 0.05 < left_over(downs, a) < 0.95 and paper < 0.98 and not extreme:
                break
        cases.append((downs, parts, a))
    many = [attempt.uniform(0.9, 1.3) for _ in range(6)]
    cases += [([1.7], 2, 0.6), ([0.5], 1, 0.5), (many, 1, 0.6), ([1e-4], 3, 0.5), ([0.8], 30, 0.4)]
    for downs, parts, a in cases:
        h2 = attempt.number("longest_up", downs, parts, a)
        attempt.require(abs(h2) < 1e6, f"{h2:g} is far too long a step up for these steps down.")
        left = left_over(downs, a)
        account = partial(account_of, left, parts)
        if h2 > 0 and account(0.998 * h2) <= 1 < account(1.002 * h2):
            continue
        factors = [sharp_rule(a)(h) for h in downs]
        paper = math.prod(paper_rule(a)(h) for h in downs)
        one_side = math.prod(abs(1 - a * h) for h in downs)
        at_once = max(sharp_rule(a)(sum(downs)), 1e-9)
        limit = partial(step_for, parts)
        mistakes = {
            "This is the paper's rule. For gradients the sharp one allows more.": limit(paper),
            "This is the limit of one step up. It is cut into parts here.": 1 / left - 1,
            "This is the length of one part. All parts together are asked.": (
                left ** (-1 / parts) - 1
            ),
            "The parts multiply: (1 + h2/s)^s, not (1 + h2/s).": parts * (1 / left - 1),
            "This uses |1 - a h| only. For a long step |1 - h| is the larger one.": (
                limit(one_side) if one_side else math.nan
            ),
            "What was lost is 1 - q, but it is to be given back to what is left: (1 - q) / q.": (
                parts * (1 - left ** (1 / parts))
            ),
            "Steps down one after the other: their factors multiply. They are not one long step.": (
                limit(at_once)
            ),
            "This uses only the first step down.": limit(factors[0]),
            "This uses only the step that shrinks most.": limit(min(factors)),
            "This uses only the step that shrinks least.": limit(max(factors)),
        }
        attempt.rule_out(h2, mistakes)
        if account(max(h2, 0.0)) > 1:
            attempt.fail(
                f"Too long: what the {len(downs)} step(s) down leave is {left:.4f}, "
                f"and yours up make {account(max(h2, 0.0)):.4f} of it."
            )
        attempt.fail(
            f"These {parts} part(s) of a step up keep the promise, but longer ones do too: "
            f"{account(max(h2, 0.0)):.4f} is less than 1."
        )
    for downs in ([2.0 + attempt.uniform(0.2, 1.0)], [0.2, 2.0 + attempt.uniform(0.5, 1.0)]):
        h2 = attempt.number("longest_up", downs, 2, 0.5)
        attempt.require(
            h2 == 0,
            f"Steps 'down' of {downs} do not shrink every distance: {left_over(downs, 0.5):.3f}. "
            "Nothing may be given back: 0.",
        )


@exercise("6.3", "A pair of layers and its bound", points=2, minutes=15)
def pair(attempt: Attempt) -> None:
    def follow(x, h, times, slopes, signs, maps, order):
        """`times` steps of lengths h; the step down has the number 0, the step up 1."""
        for k in order:
            M, shift = maps[k]
            for _ in range(times[k]):
                x = x + signs[k] * h[k] * F.leaky_relu(x @ M.T + shift, slopes[k]) @ M
        return x

    sizes = [(3, 3, 3, (1, 1)), (2, 4, 3, (2, 1)), (4, 2, 5, (1, 3)), (3, 3, 2, (2, 2))]
    for d, rows, columns, parts in sizes:
        A = attempt.randn(rows, d)
        b = attempt.randn(rows)
        B = attempt.randn(columns, d)
        c = attempt.randn(columns)
        steps = (attempt.uniform(0.3, 0.9), attempt.uniform(0.1, 0.5))
        a = attempt.uniform(0.2, 0.8)
        x = 2 * attempt.randn(6, d)
        both = partial(follow, slopes=(a, 0.0), signs=(-1, 1), maps=((A, b), (B, c)), order=(0, 1))
        h = (steps[0] / parts[0], steps[1] / parts[1])
        new = attempt.tensor("pair", x, A, b, B, c, steps, parts, a, shape=x.shape)
        if (new - both(x, h, parts)).abs().max() <= 1e-9:
            continue
        alternating = x
        single = attempt.tensor("pair", x[:1], A, b, B, c, steps, parts, a, shape=(1, d))
        for _ in range(max(parts)):
            alternating = both(alternating, h, (1, 1))
        mistakes = {
            "Every part is as long as the whole step. Divide it by the number of parts.": (
                both(x, steps, parts)
            ),
            "The steps are not cut into parts.": both(x, steps, (1, 1)),
            "These are single parts: take all of them.": both(x, h, (1, 1)),
            "The step up comes first here. It must find something that was shrunk before.": (
                both(x, h, parts, order=(1, 0))
            ),
            "Your first step goes up: there is a minus in front of it.": (
                both(x, h, parts, signs=(1, 1))
            ),
            "Your second step goes down: there is a plus in front of it.": (
                both(x, h, parts, signs=(-1, -1))
            ),
            "Both signs are exchanged.": both(x, h, parts, signs=(1, -1)),
            "The step down has the ReLU here. With slope 0 it leaves some directions as they are, "
            "and nothing can be given back.": both(x, h, parts, slopes=(0.0, 0.0)),
            "The step up has the leaky ReLU here. It is the plain ReLU.": (
                both(x, h, parts, slopes=(a, a))
            ),
            "The two activations are exchanged.": both(x, h, parts, slopes=(0.0, a)),
            "The leaky ReLU has slope a here, not 0.01.": both(x, h, parts, slopes=(0.01, 0.0)),
            "The biases are missing.": both(x, h, parts, maps=((A, 0 * b), (B, 0 * c))),
            "You use A and b for both steps.": both(x, h, parts, maps=((A, b), (A, b))),
            "Only the step down.": both(x, h, parts, order=(0,)),
            "Only the step up.": both(x, h, parts, order=(1,)),
            "You alternate. First all parts down, then all parts up.": alternating,
        }
        attempt.rule_out(new, mistakes, rtol=0, atol=1e-9)
        attempt.require(
            (new[:1] - single).abs().max() <= 1e-9,
            "The result for a point depends on the others in the batch. Treat each row alone.",
        )
        attempt.fail(
            f"With {parts} parts: x - h A' sigma(A x + b) for the parts down, "
            "then x + h B' relu(B x + c). Rows of x are points."
        )

    cases = []
    for _ in range(7):
        h1 = attempt.uniform(0.1, 1.9)
        h2 = attempt.uniform(0.05, 0.5)
        cases.append((h1, h2, attempt.integer(1, 3), attempt.integer(1, 3)))
    cases += [(1.8, 0.2, 1, 2), (0.3, 0.141, 2, 2), (2.6, 0.2, 1, 1), (0.5, 0.2, 9, 7)]
    for h1, h2, s1, s2 in cases:
        a = attempt.uniform(0.3, 0.7)
        bound = attempt.number("pair_bound", (h1 * s1, h2 * s2), (s1, s2), a)
        down = sharp_rule(a)(h1)
        up = 1 + h2
        right = down**s1 * up**s2
        if abs(bound - right) <= 1e-6:
            continue
        whole = sharp_rule(a)(h1 * s1)
        mistakes = {
            "This is the paper's rule. For a gradient the factor of a step down is smaller.": (
                paper_rule(a)(h1) ** s1 * up**s2
            ),
            "You do not cut the steps: a part has the length h / s.": (whole * (1 + h2 * s2)),
            "Parts as long as the whole step: a part has the length h / s.": (
                whole**s1 * (1 + h2 * s2) ** s2
            ),
            "You count one part of each step only.": down * up,
            "You count one part of the step up only.": down**s1 * up,
            "You count one part of the step down only.": down * up**s2,
            "This uses |1 - a h| only. For a long step |1 - h| is the larger one.": (
                abs(1 - a * h1) ** s1 * up**s2
            ),
            "This uses |1 - h| only. With slope a a step shrinks less.": abs(1 - h1) ** s1 * up**s2,
            "Only the step down counts here.": down**s1,
            "Only the step up counts here.": up**s2,
            "Factors of maps that follow one another multiply; they do not add up.": (
                down**s1 + up**s2
            ),
        }
        attempt.rule_out(bound, mistakes)
        attempt.fail(
            f"For steps ({h1 * s1:.3f}, {h2 * s2:.3f}) in ({s1}, "
            f"{s2}) parts and a = {a:.3f} the sharp bound is {right:.4f}, not {bound:.4f}."
        )


@exercise("6.4", "A step up for every step down", points=2, minutes=12)
def rectangle_limit(attempt: Attempt) -> None:
    def limit(factor, h1, s1, s2):
        return max(0.0, s2 * (factor(h1 / s1) ** (-s1 / s2) - 1))

    cases = []
    for decides, kind in itertools.product(("low", "high"), (sharp_rule, paper_rule)):
        while True:
            factor = kind(attempt.uniform(0.3, 0.8))
            s1 = attempt.integer(2, 3)
            s2 = attempt.integer(1, 3)
            low = attempt.uniform(0.03, 0.6) * s1
            high = attempt.uniform(0.8, 1.9) * s1
            at_low = limit(factor, low, s1, s2)
            at_high = limit(factor, high, s1, s2)
            less, more = (at_low, at_high) if decides == "low" else (at_high, at_low)
            if min(at_low, at_high) > 0.01 and more > 1.2 * less:
                break
        cases.append((factor, low, high, s1, s2))
    cases += [(paper_rule(0.5), 0.11, 1.89, 2, 1), (sharp_rule(0.3), 7.0, 9.0, 8, 1)]
    for factor, low, high, s1, s2 in cases:
        h2 = attempt.number("rectangle_limit", factor, low, high, s1, s2)
        grid = [low + (high - low) * k / 400 for k in range(401)]
        limits = [limit(factor, h, s1, s2) for h in grid]
        right = min(limits)
        worst = grid[limits.index(right)]
        if abs(h2 - right) <= 0.003 * right:
            continue
        at_low = limit(factor, low, s1, s2)
        at_high = limit(factor, high, s1, s2)
        uncut = [1 / factor(h) - 1 for h in (low, high)]
        one_part_down = [s2 * (factor(h / s1) ** (-1 / s2) - 1) for h in (low, high)]
        one_part_up = [factor(h / s1) ** -s1 - 1 for h in (low, high)]
        mistakes = {
            "This is the limit for the shortest step down. "
            "The longest one reflects and shrinks less.": at_low,
            "This is the limit for the longest step down. The shortest one shrinks less.": at_high,
            "This is the largest limit on a grid. The step up must be allowed for *every* h1.": (
                max(limits)
            ),
            "This is the limit in the middle of the interval. Which h1 shrinks least?": (
                limit(factor, (low + high) / 2, s1, s2)
            ),
            "The mean of the two ends is not safe for one of them.": (at_low + at_high) / 2,
            "You do not cut the steps into parts.": min(uncut),
            "This is one part of the step up. All of it is asked.": right / s2,
            "You forgot that there are several parts down: their factors multiply.": (
                min(one_part_down)
            ),
            "You forgot that the step up is cut into parts, too.": min(one_part_up),
        }
        attempt.rule_out(h2, mistakes)
        if h2 > right:
            attempt.fail(
                f"With h1 = {worst:.4f} this step up breaks the promise: "
                f"there at most {right:.5f} is allowed."
            )
        attempt.fail(
            "Safe, but too careful: "
            f"every h1 between {low:.3f} and {high:.3f} bears more than your {h2:.5f}."
        )
    h2 = attempt.number("rectangle_limit", paper_rule(0.5), 0.5, 2.5, 2, 1)
    attempt.require(
        h2 == 0,
        "If some h1 in the interval shrinks nothing (a factor of 1 or more), no step up is safe: "
        f"return 0, not {h2:.3g}.",
    )


@exercise("6.5", "How orthogonal is orthogonal enough?", points=2, minutes=15)
def least_lambda(attempt: Attempt) -> None:
    for rows, columns, scale in ((3, 3, 1), (5, 2, 1e3), (2, 5, 1), (4, 3, 1e-3), (1, 1, 1)):
        A = scale * attempt.uniform(0.5, 3.0) * attempt.randn(rows, columns)
        ratio = attempt.number("eigenvalue_ratio", A)
        values = torch.linalg.eigvalsh(A.T @ A)
        right = max(0.0, (values[0] / values[-1]).item()) if rows >= columns else 0.0
        if abs(ratio - right) <= 1e-6:
            continue
        singular = torch.linalg.svdvals(A)
        low = singular[-1].item()
        high = singular[0].item()
        mistakes = {
            "Singular values are to be squared: the eigenvalues are those of A'A.": low / high,
            "A has fewer rows than columns: then A'A has the eigenvalue 0.": (low / high) ** 2,
            "Upside down: the ratio lies between 0 and 1.": (high / low) ** 2,
            "Upside down, and not squared.": high / low,
            "This is the smallest eigenvalue. Divide it by the largest.": low**2,
            "This is the largest eigenvalue.": high**2,
        }
        attempt.rule_out(ratio, mistakes)
        attempt.fail(
            f"For a matrix of shape {(rows, columns)} the ratio is {right:.5f}, not {ratio:.5f}."
        )

    def account(lam, steps, parts, a):
        down = two_sided(steps[0] / parts[0], a * lam, 1)
        up = 1 + steps[1] / parts[1]
        return down ** parts[0] * up ** parts[1]

    cases = []
    for number in range(7):
        parts = (attempt.integer(1, 3), attempt.integer(1, 3))
        a = attempt.uniform(0.3, 0.8)
        longest = 2 / (1 + a)
        low, high = (0.2, longest - 0.05) if number < 5 else (1.05, longest)
        part = attempt.uniform(low, high)
        needed = attempt.uniform(0.2, 0.9)
        left = (1 - a * needed * part) ** parts[0]
        # only cases in which the side that depends on lambda decides
        if two_sided(part, a * needed, 1) ** parts[0] == left:
            steps = (part * parts[0], parts[1] * (left ** (-1 / parts[1]) - 1))
            cases.append((steps, parts, a))
    for steps, parts, a in [*cases, ((0.3, 0.141), (2, 2), 0.5)]:
        lam = attempt.number("least_lambda", steps, parts, a, finite=False)
        attempt.require(
            lam < math.inf,
            f"With lambda = 1 the steps {tuple(round(h, 3) for h in steps)} are allowed: "
            "some ratio suffices.",
        )
        attempt.require(abs(lam) < 1e6, f"A ratio of eigenvalues is at most 1, not {lam:g}.")
        below = account(0.998 * lam, steps, parts, a)
        above = account(1.002 * lam, steps, parts, a)
        if lam > 0 and below > 1 >= above - 1e-12:
            continue
        part_up = 1 + steps[1] / parts[1]
        up = part_up ** parts[1]
        h = steps[0] / parts[0]
        kappa = (1 - up ** (-1 / parts[0])) / h
        mistakes = {
            "This is a lambda. Divide it by a.": kappa,
            "You do not cut the steps into parts.": (1 - 1 / (1 + steps[1])) / (a * steps[0]),
            "A root is missing: there are several parts down.": (1 - 1 / up) / (a * h),
            "A root is missing, and the step is not cut.": (1 - 1 / up) / (a * steps[0]),
            "You count one part of the step up only.": ((1 - part_up ** (-1 / parts[0])) / (a * h)),
            "This is what the shrinking layer loses with lambda = 1, "
            "not the lambda that is needed.": 1 - (1 - a * h) ** parts[0],
            "This would be right if the step up gave back h2 of the whole: divide 1 by the factor "
            "of the step up.": (1 - max(2 - up, 0.0) ** (1 / parts[0])) / (a * h),
            "This is the singular value. Its square, the eigenvalue, is asked.": (
                (kappa / a) ** 0.5
            ),
            "1 is enough, but less is enough too: how little?": 1.0,
        }
        attempt.rule_out(lam, mistakes)
        bound = account(lam, steps, parts, a)
        if bound > 1:
            attempt.fail(
                "Not enough: "
                f"with lambda = {lam:.4f} the pair may multiply a distance by {bound:.4f}."
            )
        attempt.fail(
            f"More than needed: with lambda = {lam:.4f} the bound is {bound:.4f}, less than 1."
        )
    steep_up = (0.3, attempt.uniform(0.3, 0.8))
    long_down = (attempt.uniform(1.8, 1.95), 0.3)
    for steps, parts in ((steep_up, (2, 2)), (long_down, (1, 1))):
        lam = attempt.number("least_lambda", steps, parts, 0.5, finite=False)
        attempt.require(
            lam == math.inf,
            f"Steps {tuple(round(h, 3) for h in steps)} in {parts} parts break the promise even "
            f"for lambda = 1: return math.inf, not {lam:.4g}.",
        )
