"""Checks of the *your turn* cells of lesson 6: expansive steps inside a 1-Lipschitz network."""

import torch
import torch.nn.functional as F

from ..engine import Attempt, exercise


@exercise("6.A", "The step that shrinks most")
def best_step(attempt: Attempt) -> None:
    value = attempt.number("best_h1")
    if abs(value - 1.6) <= 1e-3:
        return
    mistakes = {
        "This is 2 / (1 + a) for a = 1/2. Here a is 1/4.": 4 / 3,
        "With h1 = 1 the slopes 1 are shrunk to nothing, but the slopes a leave 3/4.": 1.0,
        "With h1 = 4 the slopes a are shrunk to nothing, but the slopes 1 multiply by 3.": 4.0,
        "With h1 = 2 the slopes 1 reflect: the factor is 1.": 2.0,
        "This is a itself. There the factor is 15/16: such a short step takes little.": 0.25,
        "This is the factor. The step is asked.": 0.6,
    }
    attempt.rule_out(value, mistakes, atol=1e-2)
    factor = max(abs(1 - value / 4), abs(1 - value))
    attempt.fail(
        f"Here the factor is {factor:.4f}; another step shrinks more. Where do they cross?"
    )


@exercise("6.B", "Biases that catch a pair")
def catching_biases(attempt: Attempt) -> None:
    values = attempt.several("biases", count=2)
    b, b_up = (attempt.as_number(value, "each of the `biases`") for value in values)
    attempt.require(max(abs(b), abs(b_up)) < 1e6, "Numbers of that size drown in rounding.")
    least = 10.0
    for _ in range(5):
        A = torch.linalg.qr(attempt.randn(3, 3)).Q
        B = torch.linalg.qr(attempt.randn(3, 3)).Q
        x = attempt.uniform(-5, 5, 2, 200, 3)
        middle = x - 0.5 * F.leaky_relu(x @ A.T + b, 0.5) @ A
        end = middle + 0.4 * torch.relu(middle @ B.T + b_up) @ B
        growth = (end[0] - end[1]).norm(dim=1) / (x[0] - x[1]).norm(dim=1)
        least = min(least, growth.min().item())
    if least >= 1.05 - 1e-6:
        return
    mistakes = {
        "All slopes down are 1: the step down shrinks to a half, not to 3/4. ": 0.5 * 1.4,
        "All slopes down are 1 and all units up are off: a half is left. ": 0.5,
        "All units up are off: nothing is given back. ": 0.75,
    }
    seen = f"Some distances are multiplied by {least:.3f} only."
    attempt.rule_out(least, mistakes, "{}" + seen, rtol=1e-4)
    attempt.fail(
        f"{seen} The biases must decide the sign of every entry of Ax + b and Bx + b'. "
        "And b' must outrun the shift of the step down."
    )


@exercise("6.C", "The shortest step down that pays")
def shortest_down(attempt: Attempt) -> None:
    for _ in range(6):
        a = attempt.uniform(0.2, 0.8)
        h2 = attempt.uniform(0.2, 0.95) * 2 * a / (1 - a)
        h1 = attempt.number("shortest_down", h2, a)
        account = max(abs(1 - a * h1), abs(1 - h1)) * (1 + h2)
        shorter = max(abs(1 - 0.999 * a * h1), abs(1 - 0.999 * h1)) * (1 + h2)
        if abs(account - 1) <= 1e-6 and shorter > 1 and h1 > 0:
            continue
        left = 1 / (1 + h2)
        mistakes = {
            "Lost is 1 - q, given back is h2 times what is left, not h2 times the whole.": h2 / a,
            "This counts the slopes 1. Where all slopes are a, the step takes less.": 1 - left,
            "This is the longest step that pays. A shorter one does, too.": 1 + left,
            "This is what may be left after the step down, not the step.": left,
        }
        attempt.rule_out(h1, mistakes)
        if account > 1 + 1e-6:
            attempt.fail(
                f"With a = {a:.3f}, h1 = {h1:.4f}, h2 = {h2:.4f} a distance may be multiplied by "
                f"{account:.4f}."
            )
        attempt.fail(f"With a = {a:.3f} and h2 = {h2:.4f} a shorter h1 than {h1:.4f} pays, too.")


@exercise("6.D", "What a block keeps")
def least_kept(attempt: Attempt) -> None:
    values = attempt.several("least_kept", count=3)
    one, two, pair = (attempt.as_number(value, "each of `least_kept`") for value in values)
    attempt.require(
        min(one, two, pair) >= 0,
        "The size of a slope is not negative: take the absolute value.",
    )
    if abs(one) > 1e-3:
        attempt.fail("c = 1: where the unit is on, the slope has size |1 - 1|.")
    if abs(two - 1) > 1e-3:
        attempt.fail("c = 2: off, the slope is 1; on, it has size |1 - 2|.")
    if abs(pair - 0.2) <= 1e-3:
        return
    mistakes = {
        "Pair: this is the largest of the four factors.": 1.0,
        "Pair: this has the slope a in the step down. The slope 1 leaves less.": 0.6,
        "Pair: this has the unit on in the step up. Off gives nothing back.": 1 / 3,
        "Pair: this is h1, what the step down takes. What does it leave?": 0.8,
        "Pair: with the slope a the step down leaves 1 - 0.8 / 2, not 1/2.": 0.5,
    }
    attempt.rule_out(pair, mistakes, rtol=1e-2)
    attempt.fail("Pair: down leaves 1 - a h1 or 1 - h1, up multiplies by 1 or 1 + h2.")
