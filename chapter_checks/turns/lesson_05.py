"""Checks of the *your turn* cells of lesson 5: non-expansive layers."""

import math

import torch

from ..engine import Attempt, exercise
from ..sendable import linear_map


@exercise("5.A", "The layer")
def layer(attempt: Attempt) -> None:
    for B, m, d in ((4, 3, 3), (1, 2, 5), (6, 5, 2)):
        x = attempt.randn(B, d)
        A = attempt.randn(m, d)
        b = attempt.randn(m)
        tau = attempt.uniform(0.1, 0.9)
        value = attempt.tensor("my_layer", x, A, b, tau, shape=(B, d))
        on = torch.relu(x @ A.T + b)
        right = x - tau * on @ A
        if (value - right).norm() <= 1e-9 * (1 + right.norm()):
            continue
        mistakes = {
            "The sign is wrong: this walks uphill.": x + tau * on @ A,
            "The skip is lost: a layer is x minus a step.": -tau * on @ A,
            "The bias b is missing.": x - tau * torch.relu(x @ A.T) @ A,
            "Without the activation the layer is affine.": x - tau * (x @ A.T + b) @ A,
            "The step tau is missing.": x - on @ A,
            "The activation belongs between A and its transpose, not behind both.": (
                x - tau * torch.relu((x @ A.T + b) @ A)
            ),
        }
        attempt.rule_out(value, mistakes)
        attempt.fail("Compare with x - tau A'relu(Ax + b), row by row.")


@exercise("5.B", "Half way to any map")
def averaged(attempt: Attempt) -> None:
    for _ in range(3):
        N = torch.linalg.qr(attempt.randn(3, 3))[0]
        alpha = attempt.uniform(0.1, 0.9)
        x = attempt.randn(3)
        T = attempt.function("averaged_map", linear_map(N), alpha)
        value = attempt.as_tensor(T(x), "`averaged_map(N, alpha)(x)`", (3,))
        moved = N @ x
        right = (1 - alpha) * x + alpha * moved
        if (value - right).norm() <= 1e-9:
            continue
        mistakes = {
            "alpha and 1 - alpha have changed places.": alpha * x + (1 - alpha) * moved,
            "This is N itself.": moved,
            "The identity is missing.": alpha * moved,
            "This takes alpha of N, but all of x.": x + alpha * moved,
            "It is half of each for every alpha.": 0.5 * (x + moved),
        }
        attempt.rule_out(value, mistakes)
        attempt.fail("The new map gives (1 - alpha) x + alpha N(x).")


@exercise("5.C", "The test of an adjoint")
def gap(attempt: Attempt) -> None:
    for rows, columns in ((2, 3), (3, 2), (4, 4)):
        K = attempt.randn(rows, columns)
        wrong = attempt.randn(columns, rows)
        x = attempt.randn(columns)
        y = attempt.randn(rows)
        for back in (wrong, K.T):
            left = (K @ x) @ y
            right = x @ (back @ y)
            value = attempt.number("adjoint_gap", linear_map(K), linear_map(back), x, y)
            truth = (left - right).abs().item()
            if abs(value - truth) <= 1e-9 * (1 + left.abs() + right.abs()):
                continue
            mistakes = {
                "The gap has no sign: take its size.": -truth,
                "The sum is missing on one side or both: a gap is one number.": math.nan,
                "This is the first product alone.": left,
                "This is the second product alone.": right,
                "This is the sum of the two products. A right adjoint makes them equal.": (
                    (left + right).abs()
                ),
                "This is the square of the gap.": truth**2,
                "Lengths say too little: compare the products <Kx, y> and <x, K'y>.": (
                    (K @ x).norm() - (back @ y).norm()
                ).abs(),
            }
            attempt.rule_out(value, mistakes)
            attempt.fail("Compare the sum of forward(x) * y with the sum of x * adjoint(y).")


@exercise("5.D", "A depth that adapts")
def depth(attempt: Attempt) -> None:
    cases = [(1.0, 9.0, 1.0), (0.1, 2.0, 1.0), (0.0, 3.0, 1.0)]
    for _ in range(4):
        cases.append(
            (attempt.uniform(1.0, 5.0), attempt.uniform(4.0, 60.0), attempt.uniform(0.3, 3.0))
        )
    for t_end, L, r in cases:
        value = attempt.number("depth_needed", t_end, L, r)
        exact = t_end * L / (2 * r)
        if value == max(1, math.ceil(exact)):
            continue
        attempt.require(value >= 1, "A block takes at least one step, even for a short time.")
        mistakes = {
            "The longest step is 2 r / L. Where is the 2?": max(1, math.ceil(2 * exact)),
            "Round up: with one step less each would be too long.": max(1, math.floor(exact)),
            "Is the longest step 2 r / L, or 2 / L?": max(1, math.ceil(exact * r)),
            "A larger r allows longer steps, so fewer.": max(1, math.ceil(exact * r * r)),
            "A number of steps is whole.": exact,
            "One too many: where the steps fit, they may be as long as allowed.": (
                math.floor(exact) + 1 + (exact != math.floor(exact))
            ),
        }
        attempt.rule_out(value, mistakes)
        attempt.fail(f"For t_end = {t_end:.3g}, L = {L:.3g}, r = {r:.3g} your steps are not right.")
