"""Checks of coursework 1: when do nearby states stay near?"""

import math

import torch
from torch import Tensor

from chapter_utils import ode

from ..engine import Attempt, exercise
from ..sendable import quartic_potential, whirl_field


def abscissa(A: Tensor) -> float:
    return torch.linalg.eigvals(A).real.max().item()


@exercise("1.1", "The first moment and the worst moment", points=2, minutes=10)
def growth(attempt: Attempt) -> None:
    def turned(A):
        Q = torch.linalg.qr(attempt.randn(len(A), len(A)))[0]
        return Q @ A @ Q.T

    def sheared(d):  # real eigenvalues, far from normal
        rates = attempt.uniform(0.5, 2.0, d)
        shear = attempt.uniform(5.0, 9.0, d, d).triu(1)
        return turned(shear - torch.diag(rates))

    def spiral():  # complex eigenvalues, turning on a long ellipse
        a = attempt.uniform(0.3, 0.8)
        k = attempt.uniform(2.0, 5.0)
        return turned(torch.tensor([[-a, k], [-1 / k, -a]]))

    def two_hills():  # a low one at once, and a high one a hundred times as late
        low = torch.tensor([[-100.0, 2000.0], [0.0, -200.0]])
        high = torch.tensor([[-1.0, 40.0], [0.0, -2.0]])
        return turned(attempt.uniform(0.1, 10.0) * torch.block_diag(low, high))

    def normal(d):
        W = attempt.randn(d, d)
        rate = attempt.uniform(0.3, 1.5)
        return W - W.T - rate * torch.eye(d)

    cases = [
        sheared(3),
        0.02 * sheared(3),
        30 * sheared(2),
        spiral(),
        normal(3),
        two_hills(),
        torch.tensor([[-1.0, 10.0], [0.0, -2.0]]),
    ]
    for A in cases:
        value = attempt.number("first_rate", A)
        mu = ode.logarithmic_norm(A).item()
        if abs(value - mu) > 1e-6 * (1 + abs(mu)):
            symmetric = torch.linalg.eigvalsh(A + A.T) / 2
            at_one = torch.linalg.matrix_norm(torch.linalg.matrix_exp(A), 2)
            mistakes = {
                "the spectral norm, a size without a sign: "
                "|x'| may be large although the length falls": torch.linalg.matrix_norm(A, 2),
                "the spectral abscissa: it rules the end, not the beginning": abscissa(A),
                "what eigvalsh gives for A itself. It silently reads one triangle only: "
                "make A symmetric first": torch.linalg.eigvalsh(A)[-1],
                "twice as much: there is a factor 1/2 in the symmetric part": 2 * symmetric[-1],
                "the smallest eigenvalue: the length that falls fastest": symmetric[0],
                "the size of the rate. Lengths that shrink have a negative one": abs(mu),
                "the mean rate up to t = 1. What about t to 0?": at_one.log(),
            }
            attempt.rule_out(value, mistakes, "`first_rate` is {}.", rtol=0, atol=1e-6)
            attempt.fail(
                f"`first_rate` gives {value:.4g}, "
                f"but the longest image has length 1 + t * {mu:.4g} for very small t."
            )
    for A in cases:
        value = attempt.number("peak", A)
        times = torch.linspace(0, -16 / abscissa(A), 1201)
        flow = torch.linalg.matrix_exp(A * times[:, None, None])
        lengths = torch.linalg.matrix_norm(flow, 2)
        if abs(value - lengths.max()) <= 0.01 * lengths.max():
            continue
        best = times[lengths.argmax()].item()
        mistakes = {
            "the peak of the Frobenius norm, which `torch.linalg.matrix_norm` takes "
            "unless you say 2": flow.square().sum((1, 2)).max().sqrt(),
            "the largest spectral radius of exp(At). "
            "How long an image can be is a singular value": 1.0,
        }
        attempt.rule_out(value, mistakes, "`peak` is {}.", rtol=0, atol=1e-3 * value)
        attempt.require(
            value >= 0.99,
            f"`peak` gives {value:.4g}. But t = 0 counts too, and there nothing has shrunk yet.",
        )
        if value < lengths.max():
            attempt.fail(
                f"At t = {best:.3g} the longest image has length {lengths.max():.4g}, "
                f"your peak is {value:.4g}. Do your times reach so far, "
                "and lie close enough together, for slow and for fast matrices?"
            )
        attempt.fail(
            f"No unit vector ever gets {value:.4g} long: "
            f"the longest is {lengths.max():.4g}, at t = {best:.3g}."
        )


@exercise("1.2", "A rotation that fades", points=1, minutes=8)
def fading_rotation(attempt: Attempt) -> None:
    for d, low, high in (
        (3, 0.2, 2.0),
        (2, 0.2, 2.0),
        (5, 10.0, 90.0),
        (4, 0.0, 0.0),
        (1, 0.2, 2.0),
    ):
        W = attempt.randn(d, d)
        gamma = attempt.uniform(low, high)
        A = attempt.tensor("fading_rotation", W, gamma, shape=(d, d))
        symmetric = (A + A.T) / 2
        turning = (A - A.T) / 2
        eye = torch.eye(d)
        attempt.require(
            d == 1 or turning.norm() > 1e-6, "Your A is symmetric: it pulls, but nothing turns."
        )
        if (symmetric + gamma * eye).norm() > 1e-9 * (1 + A.norm()):
            mistakes = {
                "The friction has the wrong sign: lengths grow like exp(gamma t).": gamma * eye,
                "`S - gamma` subtracts gamma from every entry. "
                "Which matrix turns x into gamma x?": -gamma * torch.ones(d, d),
                "Lengths stay as they are: where is the friction?": 0 * eye,
                "W also stretches. Which part of a matrix turns only?": (W + W.T) / 2 - gamma * eye,
            }
            attempt.rule_out(symmetric, mistakes, rtol=0, atol=1e-6)
            mu = ode.logarithmic_norm(A)
            attempt.fail(
                "Lengths should shrink exactly like exp(-gamma t). "
                f"Here gamma = {gamma:.3g}, and mu(A) = {mu:.3g}."
            )
    S = attempt.randn(4, 4)
    S = S - S.T
    gamma = attempt.uniform(0.2, 2.0)
    small, large = (
        attempt.tensor("fading_rotation", c * S, gamma, shape=(4, 4)) + gamma * torch.eye(4)
        for c in (1.0, 1000.0)
    )
    along = (small * S).sum() / S.square().sum()
    parallel = (small - along * S).norm() < 1e-9 * (1 + small.norm())
    grows = large.norm() > 100 * small.norm()
    attempt.require(
        abs(along) > 1e-3 and parallel and grows,
        "Not every skew S can be reached. "
        "If W is a large skew matrix, S should be W or a multiple of it.",
    )
    # W is to be trained: the derivative along a direction, measured and from the gradient
    W = attempt.randn(3, 3)
    direction = attempt.randn(3, 3)
    weights = attempt.randn(3, 3)
    _, slope = attempt.with_gradient("fading_rotation", W, 0.5, weights=weights)
    slope = attempt.as_tensor(slope, "the gradient of `fading_rotation`", W.shape)
    ahead, behind = (
        attempt.tensor("fading_rotation", W + step * direction, 0.5, shape=W.shape)
        for step in (1e-5, -1e-5)
    )
    measured = (weights * (ahead - behind)).sum() / 2e-5
    promised = (slope * direction).sum()
    attempt.require(
        abs(measured - promised) <= 1e-4 * (1 + abs(measured)),
        f"If W moves, <C, A> changes at the rate {measured:.4f} for some matrix C, "
        f"but its gradient says {promised:.4f}. Does all of W get its gradient?",
    )


@exercise("1.3", "How much pull calms a whirl", points=3, minutes=20)
def least_pull(attempt: Attempt) -> None:
    def truth(M, speed, width, lowest, highest):
        """Largest eigenvalue of sym Dg for lowest <= |x| <= highest.

        It is that of M and, at the right angle, that of the whirl.
        """
        r = torch.linspace(lowest, highest, 2001)
        square = (r / width) ** 2
        whirl = (r * (1 - 2 * square) * (-square).exp()).abs() * abs(speed) / 2
        return ode.logarithmic_norm(M).item() + whirl.max().item()

    def jacobians(field, radius, corners=False):
        side = torch.linspace(-radius, radius, 31)
        x = torch.cartesian_prod(side, side)
        if not corners:
            x = x[x.norm(dim=1) <= radius]
        return torch.func.vmap(torch.func.jacrev(field))(x)

    cases = []
    for relative_width in (math.inf, 0.5, 1.5):
        radius = attempt.uniform(0.5, 2.0)
        M = attempt.randn(2, 2)
        M = M + (0.5 - ode.logarithmic_norm(M)) * torch.eye(2)
        cases.append((M, attempt.uniform(4.0, 8.0) / radius, relative_width * radius, radius))
    for M, speed, width, radius in [*cases, (torch.zeros(2, 2), 5.0, math.inf, 1.0)]:
        field = whirl_field(M, speed, width)
        value = attempt.number("least_pull", field, radius)
        right = truth(M, speed, width, 0, radius)
        if abs(value - right) <= 0.02 * right:
            continue
        J = jacobians(field, radius)
        symmetric = torch.linalg.eigvalsh((J + J.mT) / 2)
        mistakes = {
            "the Lipschitz constant of g. A whirl that only turns would need no pull at all": (
                torch.linalg.matrix_norm(J, 2).max()
            ),
            "the largest real part of an eigenvalue of Dg. Pairs separate by the symmetric part": (
                torch.linalg.eigvals(J).real.max()
            ),
            "enough for distances from the centre only. "
            "Two states off the centre can still separate": ode.logarithmic_norm(M),
            "what eigvalsh gives for Dg itself: it reads one triangle only. "
            "Make Dg symmetric first": torch.linalg.eigvalsh(J).max(),
            "twice too much: there is a factor 1/2 in the symmetric part": 2 * right,
            "a smallest eigenvalue. The pair that separates fastest belongs to the largest": (
                symmetric[:, 0].max()
            ),
            "the pull with the wrong sign": -right,
            "the largest on the edge of the disc. Is it the worst place?": (
                truth(M, speed, width, radius, radius)
            ),
            "the largest on the square around the disc. Leave out its corners": (
                ode.logarithmic_norm(jacobians(field, radius, corners=True)).max()
            ),
        }
        attempt.rule_out(value, mistakes, "This is {}.", rtol=0.005, atol=1e-9)
        if value < right:
            attempt.fail(
                f"With c = {value:.4g} some pairs still separate, at the rate {right - value:.3g}. "
                "Is your grid fine enough?"
            )
        attempt.fail(
            f"c = {value:.4g} is safe, but {right:.4g} is enough for this whirl. "
            "Do you look outside the disc?"
        )


@exercise("1.4", "A norm that keeps up with the eigenvalues", points=3, minutes=15)
def norm_with_rate(attempt: Attempt) -> None:
    def stable(d):
        A = attempt.randn(d, d)
        return A - (abscissa(A) + attempt.uniform(0.3, 1.5)) * torch.eye(d)

    cases = [
        (torch.tensor([[0.0, 1.0], [-1.0, -0.3]]), 0.14),
        (torch.tensor([[-1.0, 10.0], [0.0, -2.0]]), 0.9),
    ]
    cases += [(A, -abscissa(A) * attempt.uniform(0.7, 0.95)) for A in map(stable, (2, 3, 3, 4, 5))]
    for A, rate in cases:
        P = attempt.tensor("norm_with_rate", A, rate, shape=A.shape)
        attempt.require((P - P.T).norm() <= 1e-7 * P.norm(), "P is not symmetric.")
        eigenvalues = torch.linalg.eigvalsh((P + P.T) / 2)
        attempt.require(
            eigenvalues[-1] > 0,
            "P should be positive definite; yours is not. "
            "Is there a sign wrong on the right-hand side?",
        )
        attempt.require(
            eigenvalues[0] > 1e-12 * eigenvalues[-1],
            f"P is not positive definite: its smallest eigenvalue is {eigenvalues[0]:.2g}. "
            "By how much, and in which direction, do you shift A?",
        )
        weight = (P + P.T) / 2
        mu = ode.logarithmic_norm(A, weight=weight).item()
        if mu <= -rate + 1e-6:
            continue
        if ode.logarithmic_norm(A.T.contiguous(), weight=weight) <= -rate + 1e-6:
            attempt.fail(
                "Your P is right for the transposed of A. "
                "Which factor carries the transposition in your equation?"
            )
        if mu < 0:
            attempt.fail(
                f"In your norm lengths shrink, but at the rate {-mu:.4f} only; "
                f"{rate:.4f} is asked for. What equation does y(t) = exp(rate t) x(t) solve?"
            )
        attempt.fail(
            f"In your norm some lengths grow: mu_P(A) = {mu:.4f}; it should be at most {-rate:.4f}."
        )


@exercise("1.5", "Two balls on a landscape", points=2, minutes=15)
def separation(attempt: Attempt) -> None:
    def slope(case, x):
        quartic, quadratic, tilt = case
        return quartic * x**3 + x @ quadratic + tilt

    def flowed(case, pair, t, up=1.0, max_step=0.05):
        try:
            return ode.flow(lambda x: -up * slope(case, x), pair, [0.0, t], max_step=max_step)[-1]
        except ArithmeticError:  # uphill it may be infinite before the time t
            return torch.full_like(pair, math.inf)

    def distance(pair):
        return (pair[0] - pair[1]).norm().item()

    def ridge():  # two valleys: pairs beside the ridge separate
        pair = attempt.randn(2, 2) / 10
        quartic = attempt.uniform(0.5, 1.0, 2)
        quadratic = torch.diag(torch.tensor([-1.0, attempt.uniform(0.5, 2.0)]))
        tilt = attempt.randn(2) / 10
        return (quartic, quadratic, tilt), pair

    def bowl():
        W = attempt.randn(2, 2) / 3
        quartic = attempt.uniform(0.3, 0.7, 2)
        quadratic = W @ W.T + 0.2 * torch.eye(2)
        tilt = attempt.randn(2)
        return (quartic, quadratic, tilt), attempt.randn(2, 2)

    def draw(make, least, most):  # until one large step is seen not to be enough
        while True:
            case, pair = make()
            t = attempt.uniform(least, most)
            factor = distance(flowed(case, pair, t)) / distance(pair)
            one_step = distance(pair - t * slope(case, pair)) / distance(pair)
            near = 0.2 < distance(pair) < 3 and pair.abs().max() < 1.3
            if near and abs(factor - 1) > 0.1 and abs(one_step / factor - 1) > 0.05:
                return case, pair, t

    # a steep valley with a ridge along it: one or two large steps leave it
    quadratic = torch.diag(torch.tensor([-1.0, attempt.uniform(9.0, 12.0)]))
    place = torch.tensor([[-0.1, 0.4], [0.1, -0.3]]) + attempt.uniform(-0.02, 0.02, 2, 2)
    valley = ((torch.tensor([1.0, 0.0]), quadratic, torch.zeros(2)), place, 1.3)
    demo = (torch.tensor([1.0, 0.0]), torch.diag(torch.tensor([-1.0, 2.0])), torch.zeros(2))
    cases = [
        draw(ridge, 0.4, 0.9),
        draw(bowl, 0.4, 0.7),
        valley,
        (demo, torch.tensor([[-0.01, 0.5], [0.01, 0.5]]), 1.0),
    ]
    for case, pair, t in cases:
        value = attempt.number("separation", quartic_potential(*case), pair[0], pair[1], t)
        right = flowed(case, pair, t)
        factor = distance(right) / distance(pair)
        if abs(value - factor) <= 0.01 * factor:
            continue
        V = quartic_potential(*case)
        gradient = slope(case, pair)
        across = torch.stack([gradient[:, 1], -gradient[:, 0]], 1)
        heights = (V(right)[0] - V(right)[1]) / (V(pair)[0] - V(pair)[1])
        mistakes = {
            "what happens uphill. Which sign has the velocity of a ball that rolls down?": (
                distance(flowed(case, pair, t, up=-1.0, max_step=0.01)) / distance(pair)
            ),
            "the distance at the end. By what factor has it changed?": distance(right),
            "the factor upside down: the end belongs above the line": 1 / factor,
            "the factor of the squared distances": factor**2,
            "what one single Euler step of length t gives. Follow the curve in many small steps": (
                distance(pair - t * gradient) / distance(pair)
            ),
            "what one step along the level curves gives": (
                distance(pair + t * across) / distance(pair)
            ),
            "the factor of the heights V. The places are asked for": heights.abs(),
            "the largest factor on the way. The one at time t is asked for": 1.0,
        }
        attempt.rule_out(value, mistakes, "This is {}.", rtol=1e-4)
        if abs(value - factor) <= 0.1 * factor:
            attempt.fail(
                f"Close, but wrong by {100 * abs(value / factor - 1):.1f} %. "
                "Do smaller steps change your result?"
            )
        attempt.fail(
            f"After t = {t:.3g} the two are {factor:.4g} times as far apart as at the start, "
            f"you say {value:.4g} times."
        )


@exercise("1.6", "Stable, asymptotically stable, or neither", points=2, minutes=12)
def stability(attempt: Attempt) -> None:
    def turn(speed, rate=0.0):
        return torch.tensor([[rate, -speed], [speed, rate]])

    def coupled(block):
        """The block twice, the second drives the first: half of the eigenvectors are missing."""
        d = len(block)
        upper = torch.cat([block, torch.eye(d)], 1)
        lower = torch.cat([torch.zeros(d, d), block], 1)
        return torch.cat([upper, lower])

    def hidden(*blocks):
        A = torch.block_diag(*blocks)
        Q = torch.linalg.qr(attempt.randn(len(A), len(A))).Q
        S = Q * attempt.uniform(0.7, 1.4, len(A))
        return S @ A @ torch.linalg.inv(S)

    def number(value):
        return torch.tensor([[value]])

    speed = attempt.uniform(0.5, 2.0)
    rate = attempt.uniform(0.2, 1.0)
    asymptotic = "asymptotically stable"
    stable = "stable"
    unstable = "unstable"
    still = torch.zeros(1, 1)
    drift = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    cases = [
        (
            asymptotic,
            hidden(number(-rate), turn(speed, -rate)),
            "all eigenvalues lie left of the imaginary axis",
        ),
        (
            asymptotic,
            torch.tensor([[-1.0, 10.0], [0.0, -2.0]]),
            "lengths grow at first, but all solutions end in the origin",
        ),
        (
            asymptotic,
            hidden(coupled(number(-rate)), number(-2.0)),
            "an eigenvector is missing, but not on the imaginary axis",
        ),
        (
            unstable,
            hidden(number(rate), number(-3.0), turn(speed)),
            "one eigenvalue lies right of the axis",
        ),
        (
            unstable,
            hidden(turn(speed, rate), number(-2.0)),
            "two complex eigenvalues lie right of the axis",
        ),
        (stable, hidden(turn(speed), number(-rate)), "the rotation neither grows nor fades"),
        (stable, hidden(still, number(-rate)), "one direction stands still"),
        (
            stable,
            hidden(still, still, number(-1.0)),
            "0 is a double eigenvalue, with two eigenvectors",
        ),
        (
            stable,
            hidden(turn(speed), turn(speed)),
            "iw is a double eigenvalue, with two eigenvectors",
        ),
        (
            unstable,
            hidden(drift, number(-rate)),
            "0 is a double eigenvalue with one eigenvector only: this drifts away like t",
        ),
        (
            unstable,
            hidden(coupled(turn(speed)), number(-1.0)),
            "iw is a double eigenvalue with one eigenvector only: this grows like t",
        ),
        (stable, hidden(still, turn(speed), turn(2 * speed)), "all directions rest or turn"),
    ]
    several = "of several eigenvalues on the axis one lacks an eigenvector"
    cases += [
        (unstable, hidden(still, coupled(turn(speed))), several),
        (unstable, hidden(turn(speed), drift), several),
        (unstable, hidden(turn(speed), coupled(turn(2 * speed))), several),
        (unstable, hidden(turn(3 * speed), coupled(turn(speed))), several),
        (unstable, hidden(turn(speed), turn(speed), turn(speed), drift), several),
        (unstable, torch.block_diag(turn(speed), drift), several),  # not from the first unit vector
    ]
    for right, A, reason in cases:
        value = attempt.ask("stability", A)
        attempt.require(
            value in (asymptotic, stable, unstable),
            'Return one of the three texts "asymptotically stable", "stable", "unstable".',
        )
        attempt.require(value == right, f"You say {value}, but a matrix is {right} where {reason}.")
