"""Checks of the *your turn* cells of lesson 1: when do nearby states stay near?"""

import torch

from chapter_utils import ode

from ..engine import Attempt, exercise
from ..sendable import ridge_field


def straight_steps(f, x, step, number):
    for _ in range(number):
        x = x + step * f(x)
    return x


@exercise("1.A", "Many small steps")
def follow(attempt: Attempt) -> None:
    x = attempt.randn(4, 3)
    drift = attempt.randn(3)
    for steps in (1, 3, 10):  # all arrows alike: straight steps are exact
        t = attempt.uniform(0.4, 0.9)
        field = ridge_field(torch.zeros(2, 3), torch.zeros(2), drift)
        value = attempt.tensor("follow", field, x, t, steps, shape=(4, 3))
        mistakes = {
            "Each step takes the whole time t. How long may one of `steps` steps last?": t * steps,
            "This is the place after the first step. Does `return` stand inside the loop?": (
                t / steps
            ),
            "The time t does not enter: how long does one step last?": steps,
            "There is one step too many.": t * (steps + 1) / steps,
            "One step is missing.": t * (steps - 1) / steps,
            "You walk against the arrows.": -t,
        }
        if not torch.allclose(value, x + t * drift):
            mistakes = {hint: x + time * drift for hint, time in mistakes.items()}
            attempt.rule_out(value, mistakes)
            attempt.fail("If all arrows are the same vector c, you should arrive at x + t c.")
    for batch in (5, 1):
        x = attempt.randn(batch, 3)
        field = ridge_field(0.8 * attempt.randn(4, 3), attempt.randn(4), attempt.randn(3))
        value = attempt.tensor("follow", field, x, 1.0, 200, shape=(batch, 3))
        truth = ode.flow(field, x, [0.0, 1.0])[-1]
        allowed = 2 * (straight_steps(field, x, 1 / 200, 200) - truth).norm() + 1e-9
        if (value - truth).norm() > allowed:
            mistakes = {
                "The arrow is always that of the start. Look it up where you are": (
                    straight_steps(field, x, 1.0, 1)
                )
            }
            attempt.rule_out(value, mistakes, "{}.")
            attempt.fail("With 200 steps you should be near the true place, but you are not.")


@exercise("1.B", "How fast a pair separates")
def one_sided_quotient(attempt: Attempt) -> None:
    for batch, d in ((6, 3), (1, 4), (3, 2)):
        f = ridge_field(attempt.randn(5, d), attempt.randn(5), attempt.randn(d))
        x = attempt.randn(batch, d)
        y = attempt.randn(batch, d)
        value = attempt.tensor("one_sided_quotient", f, x, y, shape=(batch,))
        change = f(x) - f(y)
        apart = x - y
        along = (change * apart).sum(1)
        square = apart.square().sum(1)
        if torch.allclose(value, along / square):
            continue
        mistakes = {
            "the inner product, not yet divided by the squared distance": along,
            "the inner product over the distance. Divide by its square": along / square.sqrt(),
            "a quotient of two lengths, which has no sign": change.norm(dim=1) / square.sqrt(),
            "the quotient with the wrong sign": -along / square,
            "made from f(x - y). Take the difference of two arrows": (
                (f(apart) * apart).sum(1) / square
            ),
            "made from f(x) alone. Take the difference of two arrows": (
                (f(x) * apart).sum(1) / square
            ),
            "the quotient of the whole batch. Sum over the coordinates only": (
                along.sum() / square.sum()
            ).expand(batch),
        }
        attempt.rule_out(value, mistakes, "This is {}.")
        attempt.fail("This is not the quotient. Check one pair by hand, with d = 2.")


@exercise("1.C", "A rate by hand")
def rate_by_hand(attempt: Attempt) -> None:
    A = torch.tensor([[-1.0, 5.0], [0.0, -1.0]])  # the matrix of the lesson
    value = attempt.number("mu_by_hand")
    mu = ode.logarithmic_norm(A).item()
    if abs(value - mu) <= 1e-3:
        return
    mistakes = {
        "the largest eigenvalue of A itself. Make A symmetric first": -1.0,
        "the smallest eigenvalue of the symmetric part": -3.5,
        "the largest eigenvalue of A + A'. The symmetric part is half of that": 3.0,
        "the spectral norm of A, which has no sign": torch.linalg.matrix_norm(A, 2),
    }
    attempt.rule_out(value, mistakes, "This is {}.", atol=1e-2)
    attempt.fail("Write down the symmetric part, 2 by 2. What does it do to (1, 1) and to (1, -1)?")


@exercise("1.D", "A rate in weights")
def mu_in_weights(attempt: Attempt) -> None:
    cases = [(attempt.randn(d, d), attempt.uniform(0.3, 3.0, d)) for d in (3, 2, 4)]
    lesson = (torch.tensor([[-1.0, 10.0], [0.0, -2.0]]), torch.tensor([1.0, 10.0]))
    for A, w in [*cases, lesson]:
        value = attempt.number("mu_in_weights", A, w)
        mu = ode.logarithmic_norm(A, weight=torch.diag(w**2)).item()
        if abs(value - mu) <= 1e-6 * (1 + abs(mu)):
            continue
        half_way = w[:, None] * A
        mistakes = {
            "the Euclidean mu of A: where are the weights?": ode.logarithmic_norm(A),
            "what the weights 1/w give: the row gets w_i, the column is divided by w_j": (
                ode.logarithmic_norm(A, weight=torch.diag(w**-2))
            ),
            "the mu of w_i a_ij. The columns must be divided by w_j": (
                ode.logarithmic_norm(half_way)
            ),
            "the mu of w_i a_ij w_j. The columns must be divided by w_j": (
                ode.logarithmic_norm(half_way * w)
            ),
            "what the squares of the weights give": (
                ode.logarithmic_norm(A, weight=torch.diag(w**4))
            ),
            "what the roots of the weights give. P has the squares on its diagonal": (
                ode.logarithmic_norm(A, weight=torch.diag(w))
            ),
            "a stretch, which has no sign. Use mu_2": torch.linalg.matrix_norm(half_way / w, 2),
            "an eigenvalue of A, which no change of coordinates moves": (
                torch.linalg.eigvals(A).real.max()
            ),
        }
        attempt.rule_out(value, mistakes, "This is {}.")
        attempt.fail("This is not the mu of the matrix with the entries w_i a_ij / w_j.")
