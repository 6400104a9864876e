"""Checks of coursework 2: steps that keep the promise."""

import math
from functools import partial

import torch

from chapter_utils import ode, runge_kutta

from ..engine import Attempt, exercise
from ..sendable import ridge_field, tanh_field


@exercise("2.1", "How soon Euler doubles a circle", points=1, minutes=5)
def steps_to_double(attempt: Attempt) -> None:
    def length_after(turn, steps):
        doublings = steps / 2 * math.log2(1 + turn**2)
        return 2.0 ** min(doublings, 1000)

    cases = [(0.1, 1.0)]
    for _ in range(8):
        cases.append((attempt.uniform(0.02, 0.3), attempt.uniform(0.5, 3.0)))
    cases += [(attempt.uniform(2.0, 9.0), 1.0), (1.0, attempt.uniform(1.1, 1.6)), (0.03, 1.0)]
    for h, omega in cases:
        n = attempt.number("steps_to_double", h, omega)
        attempt.require(abs(n) < 1e6, "So many steps are not needed: some hundred double it.")
        length = partial(length_after, h * omega)
        attempt.require(
            n == round(n),
            "A number of steps is whole: the length must *have* doubled, so round up.",
        )
        if length(n) < 2 and length(2 * n) >= 2 > length(2 * n - 4):
            attempt.fail(
                "That is when the *squared* length has doubled. "
                "By what factor does one step multiply the length itself?"
            )
        if length(n - 2) < 2 <= length(n + 1) and not length(n - 1) < 2 <= length(n):
            attempt.fail("You are one step off. Which n is the first with length at least 2?")
        if length(n - 1) < 2 <= length(n):
            continue
        slow, fast = (attempt.number("steps_to_double", 0.1, speed) for speed in (1.0, 2.0))
        if slow == fast:
            attempt.fail(
                "The faster the rotation, the sooner it doubles: "
                "your number does not depend on omega."
            )
        attempt.require(
            length(n) >= 2,
            f"After your {n:.0f} steps with h = {h:.3g}, "
            f"omega = {omega:.3g} it is only {length(n):.3f} long.",
        )
        attempt.fail(f"Fewer than your {n:.0f} steps suffice for h = {h:.3g}, omega = {omega:.3g}.")


@exercise(
    "2.2",
    "The radius of a method",
    points=2,
    minutes=15,
    without=("runge_kutta.circle_contractivity_radius",),
)
def contractivity_radius(attempt: Attempt) -> None:
    def lowest_eigenvalue(A, b, r):
        M = b[:, None] * A + (b[:, None] * A).T - torch.outer(b, b)
        return torch.linalg.eigvalsh(M + torch.diag(b) / r)[0].item()

    def random_method(stages, size=1.0):
        b = attempt.uniform(0.2, 1.0, stages)
        return size * attempt.uniform(0.0, 1.0, stages, stages).tril(-1), b / b.sum()

    def random_implicit(stages):  # each stage uses all the others
        while True:
            A = attempt.uniform(0.0, 1.0, stages, stages)
            b = attempt.uniform(0.2, 1.0, stages)
            b = b / b.sum()
            if lowest_eigenvalue(A, b, math.inf) < -0.01:
                return A, b

    known = [
        (name, *runge_kutta.TABLEAUS[name])
        for name in ("euler", "ralston2", "kutta3", "three_eighths", "rk4", "trapezoidal")
    ]
    made = [(f"a random method with {s} stages", *random_method(s)) for s in (2, 3, 4)]
    made += [("a method with large entries", *random_method(3, attempt.uniform(50.0, 90.0)))]
    made += [(f"an implicit method with {s} stages", *random_implicit(s)) for s in (2, 4)]
    for name, count in (("euler", 3), ("euler", 25), ("rk4", 4)):
        A, b = runge_kutta.substeps(runge_kutta.TABLEAUS[name], count)
        made.append((f"{count} short steps of {name}", A, b))
    for name, A, b in known + made:
        r = attempt.number("contractivity_radius", A, b, finite=False)
        attempt.require(
            0 < r < math.inf, f"For {name} the radius is positive and finite, yours is {r:g}."
        )
        if lowest_eigenvalue(A, b, r / 2 * 0.99) > -1e-9 > lowest_eigenvalue(A, b, r / 2 * 1.01):
            attempt.fail("This is 2r, the longest hL. The radius is r itself.")
        lowest = lowest_eigenvalue(A, b, 0.99 * r)
        attempt.require(
            lowest > -1e-9,
            f"Too large for {name}: M + B/r has the eigenvalue {lowest:.2g} there. "
            "Compare your M with the lesson's.",
        )
        sharp = lowest_eigenvalue(A, b, 1.01 * r) < -1e-9
        attempt.require(
            sharp,
            f"Too small for {name}: M + B/r has no negative eigenvalue for a larger r either.",
        )
    root = 3**0.5 / 6
    gauss = torch.tensor([[0.25, 0.25 - root], [0.25 + root, 0.25]]), torch.tensor([0.5, 0.5])
    safe = {"the Gauss method with two stages": gauss}
    for name in ("implicit_euler", "implicit_midpoint"):
        safe[name] = runge_kutta.TABLEAUS[name]
    for name, method in safe.items():
        r = attempt.number("contractivity_radius", *method, finite=False)
        attempt.require(
            r == math.inf,
            f"For {name} M has no negative eigenvalue: "
            f"every step is safe and r is math.inf, not {r:g}.",
        )
    for name in ("midpoint", "heun3"):
        r = attempt.number("contractivity_radius", *runge_kutta.TABLEAUS[name], finite=False)
        attempt.require(
            abs(r) <= 1e-6, f"For {name} a weight is 0, and no r > 0 helps: return 0, not {r:g}."
        )
    A, b = random_method(3)
    negative = torch.stack([b[0] + b[1] + 0.3, -b.new_tensor(0.3), b[2]])
    r = attempt.number("contractivity_radius", A, negative, finite=False)
    attempt.require(
        abs(r) <= 1e-6, "The theorem needs b >= 0: for a negative weight the radius is 0."
    )
    idle = torch.tensor([[0.0, 0.0], [attempt.uniform(0.2, 1.0), 0.0]])
    r = attempt.number("contractivity_radius", idle, torch.tensor([1.0, 0.0]), finite=False)
    attempt.require(
        0.99 <= r <= 1.01,
        "Euler's method with a second stage that is never used is still Euler: r = 1. "
        "What does b = 0 do in your code?",
    )


@exercise("2.3", "The slope of a midpoint step", points=2, minutes=15)
def midpoint_slope(attempt: Attempt) -> None:
    angle = torch.linspace(0, torch.pi, 721)[:-1]
    directions = 1e-6 * torch.stack([angle.cos(), angle.sin()], 1)

    def stretch(f, x, h, method):
        """Largest stretch of a very short pair around x, measured."""
        tableau = runge_kutta.TABLEAUS[method]
        plus = runge_kutta.runge_kutta_step(f, x + directions, h, tableau)
        minus = runge_kutta.runge_kutta_step(f, x - directions, h, tableau)
        return ((plus - minus) / 2e-6).norm(dim=1).max().item()

    def crossing(h):  # the lesson's two ramps: half a step leads from one to the other
        rows = torch.tensor([[0.5, 3**0.5 / 2], [1.0, 0.0]])
        c = torch.linalg.solve(rows, torch.tensor([20.0, -20.0]))
        x = torch.linalg.solve(rows, torch.tensor([5 * h, -5 * h]))
        return ridge_field(rows, torch.zeros(2), -c), x, h

    def whirl():  # no gradient: the derivatives of the two stages do not commute
        f = tanh_field(attempt.randn(5, 2), attempt.randn(5), attempt.randn(2, 5))
        return f, attempt.randn(2), attempt.uniform(0.3, 1.0)

    def smooth_case():  # far from every kink, at both stages
        while True:
            f = ridge_field(attempt.randn(4, 2), attempt.randn(4), attempt.randn(2))
            x = attempt.randn(2)
            h = attempt.uniform(0.3, 1.0)
            W, bias, _ = f.recipe[2]
            smooth = all((W @ z + bias).abs().min() > 1e-3 for z in (x, x + h / 2 * f(x)))
            if smooth and abs(stretch(f, x, h, "midpoint") - stretch(f, x, h, "euler")) > 0.1:
                return f, x, h

    cases = [smooth_case() for _ in range(6)]
    cases += [whirl() for _ in range(4)]
    cases += [crossing(2 / 3), crossing(attempt.uniform(0.8, 2.0))]
    for f, x, h in cases:
        value = attempt.number("midpoint_slope", f, x, h)
        measured = stretch(f, x, h, "midpoint")
        if abs(value - measured) <= 1e-4 * measured:
            continue
        derivative = torch.func.jacrev(runge_kutta.runge_kutta_step, argnums=1)
        J = derivative(f, x, h, runge_kutta.TABLEAUS["midpoint"])
        mistakes = {}
        for method in ("euler", "heun"):
            hint = (
                f"the slope of a step of {method}. "
                "The midpoint rule goes h f(X) with X half an Euler step away"
            )
            mistakes[hint] = stretch(f, x, h, method)
        mistakes |= {
            "the Frobenius norm. The largest stretch is the spectral norm": (
                torch.linalg.matrix_norm(J)
            ),
            "the largest size of an eigenvalue. The largest stretch is the largest "
            "*singular* value": torch.linalg.eigvals(J).abs().max(),
            "the smallest stretch": torch.linalg.matrix_norm(J, -2),
            "the square of the slope": measured**2,
            "the slope of h f(X), without the x in front": (
                torch.linalg.matrix_norm(J - torch.eye(2), 2)
            ),
        }
        attempt.rule_out(value, mistakes, "This is {}.", rtol=0, atol=1e-4)
        hint = "No short pair is stretched that much."
        if value < measured:
            hint = "It is too small: some short pair is stretched more."
        attempt.fail(
            f"{hint} Differentiate the whole step: "
            "X depends on x too, and f is a function you can only call."
        )


@exercise("2.4", "The trapezoidal rule on a ramp", points=2, minutes=12)
def trapezoidal_rule(attempt: Attempt) -> None:
    def ramp(L, z):
        return -L * z.clamp(min=0)

    products = [attempt.uniform(0.2, 0.8), attempt.uniform(1.2, 1.8), attempt.uniform(2.2, 3.8)]
    products += [5.0, attempt.uniform(4.2, 9.0), attempt.uniform(20.0, 90.0)]
    for hL in products:
        L = attempt.uniform(0.5, 4.0)
        h = hL / L
        positive = attempt.uniform(0.1, 3.0, 4)
        negative = -attempt.uniform(0.1, 3.0, 3)
        x = torch.cat([positive, negative, torch.zeros(1)])
        new = attempt.tensor("trapezoidal_step", x, h, L, shape=x.shape)
        f = partial(ramp, L)
        misfit = new - x - h / 2 * (f(x) + f(new))
        if misfit.abs().max() > 1e-6:
            heun = x + h / 2 * (f(x) + f(x + h * f(x)))
            mistakes = {
                "Heun's method: it guesses x1 by Euler's step. "
                "The trapezoidal rule solves for x1": heun,
                "implicit Euler: only the slope at the end. "
                "The trapezoidal rule averages both ends": x + h * f(new),
                "the implicit midpoint rule, or the linear formula. The trapezoidal rule averages "
                "two slopes, not two places": x + h * f((x + new) / 2),
                "the explicit half only. The slope at x1 counts too": x + h / 2 * f(x),
            }
            attempt.rule_out(new, mistakes, "This is {}.", rtol=0, atol=1e-6)
            moved = (new - x)[x < 0]
            attempt.require(
                moved.abs().max() <= 1e-6,
                "Where x < 0 there is no slope at either end: such points must stay.",
            )
            case = "above" if hL >= 2 else "below"
            attempt.fail(
                f"With hL {case} 2, x1 does not solve x1 = x0 + h/2 (f(x0) + f(x1)). "
                "On which side of 0 does x1 lie?"
            )
        for shape in ((2, 4), (2, 2, 2), ()):
            other = x.reshape(shape) if shape else x[0]
            again = attempt.tensor("trapezoidal_step", other, h, L, shape=shape)
            attempt.require(
                (again - (new.reshape(shape) if shape else new[0])).abs().max() <= 1e-6,
                f"For a tensor of shape {shape} the same entries go elsewhere.",
            )
        pair = attempt.tensor("trapezoidal_step", torch.tensor([1.0, 2.0]), h, L, shape=(2,))
        slope = attempt.number("trapezoidal_slope", h, L)
        measured = (pair[1] - pair[0]).abs().item()
        attempt.require(
            slope >= 0, "A slope is a quotient of two distances, so it is not negative."
        )
        if abs(slope - measured) > 1e-6 + 0.001 * measured:
            linear = abs((1 - hL / 2) / (1 + hL / 2))
            attempt.require(
                abs(slope - linear) > 1e-6,
                "This is |R(-hL)|, the linear theory. It holds only while x1 > 0: "
                "is the ramp still on at the end?",
            )
            attempt.fail(
                f"Your own step moves 1 and 2 to points {measured:.4g} apart for hL = {hL:.3g}, "
                f"your slope says {slope:.4g}."
            )


@exercise("2.5", "The longest Euler step of a field without a potential", points=3, minutes=15)
def longest_euler_step(attempt: Attempt) -> None:
    def norm(K, h):
        return torch.linalg.matrix_norm(torch.eye(len(K)) + h * K, 2).item()

    def contracting(d):  # not normal, with logarithmic norm below 0
        K = attempt.randn(d, d)
        return K - (ode.logarithmic_norm(K) + attempt.uniform(0.2, 1.0)) * torch.eye(d)

    slow = attempt.uniform(0.001, 0.01) * contracting(2)
    fast = attempt.uniform(100.0, 1000.0) * contracting(3)
    shown = torch.tensor([[-1.0, 3.0], [-3.0, -1.0]])
    number = torch.tensor([[-attempt.uniform(0.2, 5.0)]])
    cases = [contracting(d) for d in (2, 2, 3, 3, 5)]
    for K in [*cases, shown, slow, fast, number]:
        h = attempt.number("longest_euler_step", K)
        attempt.require(0 < h < math.inf, "Such a step is positive and finite.")
        size = norm(K, h)
        m = -ode.logarithmic_norm(K).item()
        L = torch.linalg.matrix_norm(K, 2).item()
        if size > 1 + 1e-9 and norm(K, 0.99 * h) > 1 + 1e-7:
            if abs(h * L - 2) < 0.02:
                attempt.fail(
                    "2/L is for fields with a potential. This one has none: "
                    f"the step multiplies some distance by {size:.3f}."
                )
            radius = torch.linalg.eigvals(torch.eye(len(K)) + h * K).abs().max()
            if radius <= 1.001:
                attempt.fail(
                    "The eigenvalues of I + hK are fine, but its norm is not. "
                    "Eigenvalues say what happens after many steps, the norm after one."
                )
            attempt.fail(f"Too long: this step multiplies some distance by {size:.4g}.")
        if norm(K, 1.01 * h) <= 1:
            if abs(h - 2 * m / L**2) <= 1e-3 * h:
                attempt.fail(
                    "2m/L^2 is safe for every field with these m and L, "
                    "but for this K a longer step is safe too. Ask K itself."
                )
            attempt.fail("This step is safe, but a longer one is too.")
