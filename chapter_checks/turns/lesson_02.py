"""Checks of the *your turn* cells of lesson 2: steps that keep the promise."""

import math

import torch

from chapter_utils.runge_kutta import TABLEAUS, stability_function

from ..engine import Attempt, exercise


@exercise("2.A", "The factor of a midpoint step")
def factor_of_midpoint(attempt: Attempt) -> None:
    points = [-0.7, 0.6, *attempt.uniform(0.3, 2.5, 2).tolist()]
    for z in [*points, -attempt.uniform(1.2, 2.5)]:
        value = attempt.number("R_midpoint", z)
        right = stability_function(TABLEAUS["midpoint"], z).item()
        if abs(value - right) <= 1e-9:
            continue
        mistakes = {
            "Euler's 1 + z. Take the velocity at X_2, not at x": 1 + z,
            "the factor of X_2. One more line leads from it to x_new": 1 + z / 2,
            "the factor of the flow. The step only comes near it": math.exp(z),
            "what the step adds. Where is x itself": z + z**2 / 2,
            "a step from X_2. The velocity is taken there, but the step starts at x": (1 + z / 2)
            + z * (1 + z / 2),
            "a step with X_2 a whole Euler step away. Midpoint goes half-way": 1 + z + z**2,
            "the implicit midpoint rule. Here X_2 = x + (h/2) f(x), with the old x": (2 + z)
            / (2 - z + 1e-12),
        }
        attempt.rule_out(value, mistakes, "This is {}.", rtol=1e-9)
        attempt.fail("Start from x = 1 with h f(x) = z x. What is X_2, and what is h f(X_2)?")


@exercise("2.B", "M of the midpoint rule")
def matrix_of_midpoint(attempt: Attempt) -> None:
    value = attempt.ask("M_midpoint")
    attempt.require(isinstance(value, torch.Tensor), "M is a tensor of shape (2, 2).")
    attempt.require(not value.is_complex(), "The entries of M are real numbers.")
    value = attempt.as_tensor(value.to(torch.float64), "`M_midpoint`", (2, 2))
    A, b = TABLEAUS["midpoint"]
    BA = torch.diag(b) @ A
    M = BA + BA.T - torch.outer(b, b)
    if (value - M).abs().max() <= 1e-9:
        return
    mistakes = {
        "BA + A'B. Subtract b b' too": BA + BA.T,
        "BA - b b'. Its transpose A'B is missing, and M must be symmetric": BA - torch.outer(b, b),
        "BA + A'B + b b'. The last term is subtracted": BA + BA.T + torch.outer(b, b),
        "A + A' - b b' times the wrong side: B multiplies the rows of A, not its columns": A
        @ torch.diag(b)
        + torch.diag(b) @ A.T
        - torch.outer(b, b),
        "the M of heun. The b of midpoint is (0, 1)": torch.tensor([[-0.25, 0.25], [0.25, -0.25]]),
        "BA + A'B - B. The square b b' is a matrix of its own": BA + BA.T - b,
    }
    attempt.rule_out(value, mistakes, "This is {}.", atol=1e-9)
    attempt.require((value - value.T).abs().max() <= 1e-9, "M is symmetric, and yours is not.")
    attempt.fail("B is diag(0, 1). Write down BA first: B keeps the second row of A only.")


@exercise("2.C", "The Jacobian of a midpoint step")
def jacobian_of_midpoint(attempt: Attempt) -> None:
    for d in (2, 3, 2):
        here = attempt.randn(d, d)
        there = attempt.randn(d, d)
        h = attempt.uniform(0.4, 1.6)
        value = attempt.tensor("midpoint_jacobian", here, there, h, shape=(d, d))
        # The step for a field that is linear near both places, on the unit vectors.
        I = torch.eye(d, dtype=torch.float64)
        moved = I + h / 2 * here
        right = I + h * there @ moved
        if (value - right).abs().max() <= 1e-9:
            continue
        mistakes = {
            "the factors in the wrong order. X depends on x, so Df(x) acts first": I
            + h * moved @ there,
            "the two places exchanged. The outer derivative is taken at X": I
            + h * here @ (I + h / 2 * there),
            "a step whose X does not move with x. The chain rule has an inner factor": I
            + h * there,
            "Euler's Jacobian. Where does Df(X) come in": I + h * here,
            "a product of the entries. Matrices are multiplied with @": I + h * there * moved,
            "what the step adds. Where is the derivative of x itself": h * there @ moved,
            "a step with X a whole Euler step away. Midpoint goes half-way": I
            + h * there @ (I + h * here),
            "the inner factor without the identity. X contains x itself": I
            + h**2 / 2 * there @ here,
            "the factor 1/2 taken from the wrong place. It stands in X": I
            + h / 2 * there @ (I + h * here),
        }
        attempt.rule_out(value, mistakes, "This is {}.", rtol=1e-9, atol=1e-9)
        attempt.fail("Differentiate X first. Then x + h f(X): what multiplies the derivative of X?")


@exercise("2.D", "A step of symplectic Euler")
def symplectic_step(attempt: Attempt) -> None:
    for _ in range(4):
        q, p = attempt.uniform(-2.0, 2.0, 2).tolist()
        h = attempt.uniform(0.1, 0.6)
        omega = attempt.uniform(1.5, 3.0)
        pair = attempt.several("symplectic_euler", q, p, h, omega, count=2)
        new = [attempt.as_number(value, "a result of `symplectic_euler`") for value in pair]
        a = h * omega
        step = torch.tensor([[1 - a**2, a], [-a, 1.0]])  # of (q, p)
        old = torch.tensor([q, p])
        value = torch.tensor(new)
        if (value - step @ old).abs().max() <= 1e-9:
            continue
        first_q = torch.tensor([[1.0, a], [-a, 1 - a**2]])
        explicit = torch.tensor([[1.0, a], [-a, 1.0]])
        mistakes = {
            "the new p and q in the wrong order. Return q first": (step @ old).flip(0),
            "explicit Euler. The second line needs the *new* momentum": explicit @ old,
            "the other order, q first. Here p moves first, and q uses the new p": first_q @ old,
            "a step backwards in time. Check the signs": torch.linalg.inv(step) @ old,
            "a step with omega = 1. Both lines contain h omega": torch.tensor(
                [[1 - h**2, h], [-h, 1.0]]
            )
            @ old,
        }
        attempt.rule_out(value, mistakes, "This is {}.", rtol=1e-9, atol=1e-9)
        attempt.fail("One of the two lines differs from the formula: first the new p, then q.")
