"""Checks of the *your turn* cells of lesson 9: a map of the field."""

import math

import torch

from chapter_utils import ode

from ..engine import Attempt, exercise


@exercise("9.A", "An antisymmetric field")
def field_with_friction(attempt: Attempt) -> None:
    for d, size in ((3, 4), (4, 1), (3, 3)):
        M = attempt.randn(d, d)
        b = attempt.randn(d)
        gamma = attempt.uniform(0.2, 0.9)
        x = attempt.randn(size, d)
        value = attempt.tensor("antisymmetric_field", x, M, b, gamma, shape=(size, d))
        S = M - M.T
        friction = gamma * torch.eye(d)
        right = torch.tanh(torch.einsum("ij,nj->ni", S - friction, x) + b)
        if torch.allclose(value, right, rtol=1e-8, atol=1e-10):
            continue
        mistakes = {
            "For a batch of rows the product is x times the *transposed* matrix.": torch.tanh(
                x @ (S - friction) + b
            ),
            "M + M.T is symmetric. Subtract the transpose.": torch.tanh(
                x @ (M + M.T - friction) + b
            ),
            "The friction is subtracted, not added.": torch.tanh(x @ (S + friction).T + b),
            "The friction is missing.": torch.tanh(x @ S.T + b),
            "gamma must be subtracted on the diagonal only: multiply it by the identity.": (
                torch.tanh(x @ (S - gamma).T + b)
            ),
            "The bias b is missing.": torch.tanh(x @ (S - friction).T),
            "The activation tanh is missing.": x @ (S - friction).T + b,
            "This takes M itself for S. Make it antisymmetric first.": torch.tanh(
                x @ (M - friction).T + b
            ),
        }
        attempt.rule_out(value, mistakes, rtol=1e-8)
        attempt.fail("Build the matrix S - gamma I first. Then: product, plus b, tanh of it all.")


@exercise("9.B", "A projection by hand")
def projected_by_hand(attempt: Attempt) -> None:
    values = attempt.several("f_by_hand", count=2)
    one, two = (attempt.as_number(value, "each component of `f_by_hand`") for value in values)
    if abs(one + 0.5) <= 1e-6 and abs(two + 2) <= 1e-6:
        return
    attempt.require(
        abs(two + 2) <= 1e-6,
        "grad V = (2, 0) here: the second component is that of the spiral and does not change.",
    )
    mistakes = {
        "This is the spiral itself. Its slope of V is 2, and allowed is -1": 1.0,
        "The surplus is added. It must be removed": 2.5,
        "alpha V is missing: V no longer grows, but it does not fall": 0.0,
        "Divide by the *square* of the length of grad V": -2.0,
        "The division by the squared length of grad V is missing": -5.0,
        "The surplus is removed, but not along grad V: multiply by grad V": 0.25,
        "V = |x|^2/2 is 2 at this state": -1.0,
        "alpha V counts with a plus: the demand is a slope of at most -alpha V": 0.5,
    }
    attempt.rule_out(one, mistakes, "{}.", atol=1e-6)
    attempt.fail("In this order: f_hat, V and grad V at (2, 0), the surplus, the correction.")


@exercise("9.C", "A logarithmic norm by rows")
def by_rows(attempt: Attempt) -> None:
    dominant = torch.tensor([[-3.0, 0.5, -1.0], [1.0, -4.0, 0.5], [-0.2, 0.4, -2.0]])
    cases = [attempt.randn(d, d) for d in (5, 3, 2)]
    for M in (*cases, attempt.uniform(0.5, 2.0) * dominant):
        value = attempt.number("mu_by_rows", M)
        if abs(value - ode.logarithmic_norm(M, math.inf)) <= 1e-8:
            continue
        own = M.diagonal()
        beside = M.abs().sum(1) - own.abs()
        mistakes = {
            "the norm of M: the diagonal must keep its sign": M.abs().sum(1).max(),
            "made of sums of the columns. Take the rows": ode.logarithmic_norm(M, 1),
            "the largest sum of a row with all signs kept. Beside the diagonal they are lost": (
                M.sum(1).max()
            ),
            "the *smallest* row. The largest counts": (own + beside).min(),
            "with the entries beside the diagonal subtracted": (own - beside).max(),
            "with the diagonal counted twice": (own + M.abs().sum(1)).max(),
            "the largest diagonal entry. The others of the row count too": own.max(),
            "the logarithmic norm for the Euclidean norm": ode.logarithmic_norm(M),
        }
        attempt.rule_out(value, mistakes, "This is {}.", atol=1e-8)
        attempt.fail("One number a row: its diagonal entry plus the sizes of all others.")


@exercise("9.D", "One step forward, one back")
def one_iteration(attempt: Attempt) -> None:
    for d in (2, 3, 5):
        W = attempt.randn(d, d)
        q = attempt.randn(d)
        z = attempt.randn(d).abs()
        a = attempt.uniform(0.1, 0.6)
        moved = z - a * (z - W @ z - q)
        q[0] -= (2 * moved[0].abs() + 1) / a  # now the first entry is cut off by the relu,
        q[1] += (2 * moved[1].abs() + 1) / a  # and the second is not
        value = attempt.tensor("forward_backward", z, W, q, a, shape=(d,))
        downhill = z - W @ z - q
        right = (z - a * downhill).clamp(min=0)
        if torch.allclose(value, right, rtol=1e-8, atol=1e-10):
            continue
        relu = torch.relu
        mistakes = {
            "This is plain repetition of the layer, the case a = 1.": relu(W @ z + q),
            "The relu is missing, or stands inside: it comes last.": z - a * downhill,
            "beta is missing.": relu(z - a * (z - W @ z)),
            "beta has the wrong sign.": relu(z - a * (z - W @ z + q)),
            "It goes the wrong way: subtract a times (I - W) z - beta.": relu(z + a * downhill),
            "You use W in place of I - W.": relu(z - a * (W @ z - q)),
            "W is transposed: z is one vector here, not a batch of rows.": relu(
                z - a * (z - z @ W - q)
            ),
            "This is damped repetition. The relu must be taken of the whole step.": (
                z + a * (relu(W @ z + q) - z)
            ),
        }
        attempt.rule_out(value, mistakes, rtol=1e-8)
        attempt.fail("Inside the relu: z minus a times the difference of (I - W) z and beta.")


LETTERS = "ABCDE"
CONFUSED = {  # (abstract, kind given): why not
    ("A", 1): "nearer to one goal is about that point. The whirl comes nearer, and pairs separate.",
    ("A", 3): "it follows the moving state. A frozen Jacobian belongs to one state only.",
    ("A", 4): "it compares the state with its goal, not a layer's input with its output.",
    ("B", 1): "a layer that keeps areas may stretch in one direction: nothing bounds distances.",
    ("B", 2): "no point attracts here: with determinant 1 not all directions can shrink.",
    ("B", 3): "the determinant is that of each layer's Jacobian, not of a field's, frozen.",
    ("C", 2): "no goal is named. Any two images are compared.",
    ("C", 3): "no Jacobian is named. Two images may be far from each other.",
    ("C", 4): "it is about lengths, and about the outputs of the whole network.",
    ("D", 1): "eigenvalues do not bound distances: mu may be positive (Section 9.2).",
    ("D", 2): "no point is named, and eigenvalues at every state prove no approach to one.",
    ("D", 4): "it is about a field, frozen at one state, and not about layers.",
    (
        "E",
        2,
    ): "no goal is named. Any two solutions are compared, if not by their Euclidean distance.",
    ("E", 3): "solutions move. Nothing is frozen.",
    ("E", 4): "it is about the distance of two solutions, measured in a metric, not about areas.",
}
NO_RADIUS = {
    "A": "all states may approach one goal while a pair separates, as in the whirl",
    "B": "areas are kept, but distances may grow without a bound",
    "D": "eigenvalues of a frozen Jacobian do not bound distances",
    "E": "what is near in the metric may be far in the Euclidean norm",
}


@exercise("9.E", "Five promises on the map")
def promises(attempt: Attempt) -> None:
    kinds = attempt.several("kinds", count=5)
    kinds = [
        attempt.as_number(kind, f"the kind of {a}") for a, kind in zip(LETTERS, kinds, strict=True)
    ]
    certified = attempt.several("certified", count=5)
    for letter, kind, right in zip(LETTERS, kinds, (2, 4, 1, 3, 1), strict=True):
        attempt.require(kind in (1, 2, 3, 4), f"{letter}: the kind is one of 1, 2, 3, 4.")
        attempt.require(kind == right, f"{letter}: {CONFUSED.get((letter, kind), '')}")
    for letter, said in zip(LETTERS, certified, strict=True):
        said = said.strip().lower() if isinstance(said, str) else ""
        attempt.require(said in ("yes", "no"), f'{letter}: `certified` takes "yes" or "no".')
        if letter == "C":
            hint = "C: 3 is a Lipschitz constant. Divide the margin by 3 sqrt(2) (Section 9.1)."
            attempt.require(said == "yes", hint)
        else:
            attempt.require(said == "no", f"{letter}: {NO_RADIUS[letter]}. No radius follows.")
