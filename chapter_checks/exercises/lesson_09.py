"""Checks of coursework 9: a map of the field."""

import math
from functools import partial

import torch
from torch import Tensor

from chapter_utils import ode

from ..engine import Attempt, exercise
from ..sendable import bowl, linear_map, tanh_field


@exercise("9.1", "How thin must the layers be?", points=2, minutes=12)
def antisymmetric_step(attempt: Attempt) -> None:
    def drawn(d):
        M = attempt.randn(d, d)
        return attempt.uniform(0.5, 2.0) * (M - M.T)

    def stretch_of(S, gamma, layers, step):
        layer = torch.eye(len(S)) + step * (S - gamma * torch.eye(len(S)))
        of_one = min(torch.linalg.matrix_norm(layer, 2).item(), 1e300 ** (1 / layers))
        return of_one**layers

    def longest(gamma, omega, g):  # largest h with (1 - h gamma)^2 + (h omega)^2 = g
        a = gamma**2 + omega**2
        return (gamma + math.sqrt(gamma**2 + a * max(g - 1, 0.0))) / a

    cases = []
    for d in (2, 4, 5):
        cases.append((drawn(d), attempt.uniform(0.1, 2.0), 40, 1.0))
    for d in (3, 4, 6):
        S = drawn(d)
        gamma = attempt.uniform(0.1, 2.0)
        cases.append((S, gamma, attempt.integer(3, 60), attempt.uniform(1.2, 5.0)))
    cases.append((drawn(4), 0.0, attempt.integer(10, 60), attempt.uniform(1.5, 4.0)))
    shown = 3 * torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    cases += [(shown, 0.5, 1, 1.0), (0.01 * drawn(3), 0.01, 5, 1.5), (100 * drawn(4), 9.0, 7, 3.0)]
    cases += [(drawn(3), 0.4, 120, 1.5)]
    for S, gamma, layers, growth in cases:
        h = attempt.number("longest_antisymmetric_step", S, gamma, layers, growth)
        attempt.require(
            h > 0,
            "With some friction, or some growth allowed, a short step is fine: "
            "the longest one is positive.",
        )
        stretch = partial(stretch_of, S, gamma, layers)
        if stretch(0.99 * h) <= growth < stretch(1.01 * h):
            continue
        omega = torch.linalg.matrix_norm(S, 2).item()
        g = growth ** (2 / layers)
        a = gamma**2 + omega**2
        formula = partial(longest, gamma)
        mistakes = {
            "This is half of it: the step that shrinks distances most. "
            "A longer one does not yet let them grow.": gamma / a,
            "omega is the spectral norm of S, and this is the Frobenius norm.": (
                formula(S.norm().item(), g)
            ),
            "omega is the spectral norm of S, not its largest entry.": (
                formula(S.abs().max().item(), g)
            ),
            "omega is the *largest* frequency in S, not one entry.": (
                formula(abs(S[1, 0].item()), g)
            ),
            "The friction also turns up in the denominator: "
            "the eigenvalues are 1 - h gamma + ih omega.": 2 * gamma / omega**2,
            "The norm of S - gamma I is not |S| + gamma: its two parts are perpendicular.": (
                2 * gamma / (gamma + omega) ** 2
            ),
            "2/L is for fields with a potential. A rotation has none.": 2 / math.sqrt(a),
            "You allow no growth at all. A growth above 1 allows longer steps.": (
                formula(omega, 1.0)
            ),
            "You allow this growth in *each* layer, "
            "but all layers together may use it only once.": formula(omega, growth**2),
            "Growth is multiplied from layer to layer, not added up: "
            "(1 + s)^N is more than 1 + N s.": formula(omega, (1 + (growth - 1) / layers) ** 2),
            "The modulus is a square root: you compare its *square* with the growth.": (
                formula(omega, growth ** (1 / layers))
            ),
        }
        attempt.rule_out(h, mistakes, rtol=0, atol=1e-6 * h)
        case = f"With gamma = {gamma:.3g}, |S| = {omega:.3g}, growth {growth:.3g}"
        if stretch(0.99 * h) > growth:
            attempt.fail(
                f"{case}: your h = {h:.4g} is too long, "
                f"one layer stretches by {stretch(h) ** (1 / layers):.5g}."
            )
        attempt.fail(f"{case}: your h = {h:.4g} is fine, but a longer step is too.")
    h = attempt.number("longest_antisymmetric_step", drawn(4), 0.0, attempt.integer(2, 9), 1.0)
    attempt.require(
        abs(h) <= 1e-6,
        f"Without friction and without growth no step is short enough: return 0, not {h:.3g}.",
    )


@exercise("9.2", "Repair any field", points=2, minutes=15)
def projection(attempt: Attempt) -> None:
    spiral = linear_map(torch.tensor([[0.5, 1.0], [-1.0, 0.5]]))
    cases = []
    for d, alpha in ((2, 1.0), (3, 0.3), (3, -0.4), (4, 0.0), (2, 2.5)):
        f_hat = tanh_field(attempt.randn(8, d), attempt.randn(8), 0.7 * attempt.randn(d, 8))
        root = attempt.randn(d, d)
        P = root @ root.T + 0.3 * torch.eye(d)
        cases.append((f_hat, P, attempt.uniform(0.2, 1.0), alpha))
    cases.append((spiral, torch.eye(2), 0.0, 0.5))

    def close(one, other):
        return (one - other).norm() <= 1e-8 * (1 + other.norm())

    for f_hat, P, c, alpha in cases:
        for size in (40, 1):
            x = attempt.randn(size, len(P))
            if size > 1:
                x[3] = 0.0
            value = attempt.ask("projected_field", f_hat, bowl(P, c), alpha, x)
            origin = x.abs().sum(1) == 0
            numbers = isinstance(value, Tensor) and value.is_floating_point()
            if size > 1 and numbers and value.shape == x.shape:
                only_here = value[origin].isnan().any() and value[~origin].isfinite().all()
                attempt.require(
                    not only_here,
                    "At the origin you compute 0/0. There the field is 0 by definition.",
                )
            f = attempt.as_tensor(value, "`projected_field`", x.shape)
            states = x[~origin]
            new = f[~origin]
            V = bowl(P, c)(states)
            g = states @ P + c * states**3
            raw = f_hat(states)
            surplus = (g * raw).sum(1) + alpha * V
            square = g.square().sum(1)
            act = surplus > 1e-9
            removed = torch.relu(surplus) / square.clamp(min=1e-30)
            if close(new, raw - removed[:, None] * g):
                left = f[origin].norm().item()
                attempt.require(
                    left <= 1e-12,
                    "At the origin the field must be 0, or no solution could stay there. "
                    f"Yours has length {left:.3g}.",
                )
                continue
            total = (g * raw).sum() + alpha * V.sum()
            slope_only = torch.relu(surplus - alpha * V)
            beside = torch.relu((states * raw).sum(1) + alpha * V) / states.square().sum(1)
            mean = torch.relu((g * raw).sum(1) / size + alpha * V) / square * size
            mistakes = {
                "Your correction points the wrong way: it adds to the surplus.": (
                    raw + removed[:, None] * g
                ),
                "You correct everywhere. Where f_hat falls fast enough already, "
                "it must stay as it is: where is the relu?": raw - (surplus / square)[:, None] * g,
                "alpha V is missing: V no longer grows, but it does not fall at the "
                "demanded speed.": raw - (slope_only / square)[:, None] * g,
                "alpha V counts inside the relu, together with the slope: "
                "it may make good a slope that is steep enough.": (
                    raw - ((slope_only + alpha * V) / square)[:, None] * g
                ),
                "Divide by the *square* of the length of the gradient: the gradient occurs twice "
                "in the numerator.": raw - (removed * square.sqrt())[:, None] * g,
                "The division by the squared length of the gradient is missing.": (
                    raw - (removed * square)[:, None] * g
                ),
                "The sum must run over the components only, for each state of the "
                "batch by itself.": raw - torch.relu(total) / square.sum() * g,
                "These are only the corrections. Subtract them from f_hat.": removed[:, None] * g,
                "The gradient of V points elsewhere than x, unless V = |x|^2/2. "
                "Let PyTorch differentiate V.": raw - beside[:, None] * states,
                "The gradient of the *mean* of V over the batch is too small for "
                "each single state.": raw - mean[:, None] * g,
                "This is f_hat itself: nothing is projected.": raw,
                "Correct only the states that need it, not all as soon as one does.": (
                    raw - (surplus / square)[:, None] * g * act.any()
                ),
            }
            attempt.rule_out(new, mistakes, rtol=1e-8, atol=1e-8)
            after = (g * new).sum(1) + alpha * V
            left = after[act].max().item() if act.any() else 0.0
            attempt.require(
                left <= 1e-7,
                f"Some state still has the slope of V too large, by {left:.3g}: "
                "V falls too slowly there.",
            )
            attempt.require(
                close(new[~act], raw[~act]),
                "Some states change although f_hat already falls fast enough there.",
            )
            attempt.fail(
                "V falls fast enough everywhere, but you changed f_hat more than necessary. "
                "In which direction, how far?"
            )


@exercise("9.3", "An infinitely deep network", points=2, minutes=15)
def deep_equilibrium(attempt: Attempt) -> None:
    def layer(z, W, q):
        return torch.relu(z @ W.T + q)

    def misfit(z, W, q):
        return (z - layer(z, W, q)).abs().max().item()

    cases = []
    for rows, d, k, size in ((3, 3, 3, 4), (2, 4, 2, 1)):
        A = 0.6 * attempt.randn(rows, d)
        B = attempt.uniform(0.7, 1.0) * attempt.randn(d, d)
        m = attempt.uniform(0.7, 1.6)
        U = attempt.randn(d, k)
        b = attempt.randn(d)
        cases.append((A, B, m, U, b, attempt.randn(size, k)))
    # fast rotations, and below an equilibrium with all units active
    A = 0.4 * attempt.randn(2, 4)
    turn = attempt.uniform(2.0, 3.0)
    b = attempt.randn(4)
    B = turn * torch.diag(torch.tensor([1.0, 0.0, 1.0]), 1)
    positive = attempt.uniform(1.0, 3.0, 5, 4)
    one_minus_W = 0.8 * torch.eye(4) + A.T @ A - B + B.T
    cases.append((A, B, 0.8, torch.eye(4), b, positive @ one_minus_W.T - b))
    A = torch.tensor([[1.0, 0.5], [0.0, 0.5]])
    B = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    cases.append((A, B, 0.5, torch.eye(2), torch.zeros(2), torch.tensor([[1.0, 1.0]])))
    for A, B, m, U, b, x in cases:
        d = len(b)
        value = attempt.ask("equilibrium", A, B, m, U, b, x)
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape == (len(x), d):
            attempt.require(
                value.isfinite().all() and value.abs().max() < 1e4,
                "Your iteration runs away. "
                "Is W right, and is the step below the limit of Claim 9.11?",
            )
        z = attempt.as_tensor(value, "`equilibrium`", (len(x), d))
        scale = 1 + z.abs().max().item()
        eye = torch.eye(d)
        q = x @ U.T + b
        W = (1 - m) * eye - A.T @ A + B - B.T
        if misfit(z, W, q) <= 1e-6 * scale:
            continue
        attempt.require(
            z.min() >= -1e-9,
            "Some entries are negative, but z = relu(...) has none. Is the relu inside your loop?",
        )
        linear = torch.linalg.solve(eye - W, q.T).T
        clipped = (z - torch.relu(linear)).abs().max() > 1e-6
        attempt.require(
            clipped,
            "You solve the linear equation and cut off the negative entries at the end: "
            "other units then change too.",
        )
        plain = torch.zeros_like(z)
        for _ in range(3):
            attempt.require(
                (z - plain).abs().max() > 1e-6 * scale, "So few layers are not infinitely many."
            )
            plain = layer(plain, W, q)
        mistakes = {
            "The bias b is missing.": layer(z, W, q - b),
            "B + B' is symmetric. Only B minus its transpose keeps the symmetric part of I - W.": (
                layer(z, W + 2 * B.T, q)
            ),
            "W has m I in place of (1 - m) I.": layer(z, W + (2 * m - 1) * eye, q),
            "A'A must be subtracted.": layer(z, W + 2 * A.T @ A, q),
            "The antisymmetric part has the wrong sign. Or W is transposed: "
            "for a batch of rows the product is z W'.": layer(z, W.T, q),
            "B and its transpose are missing.": layer(z, W - B + B.T, q),
        }
        if A.shape == (d, d):
            mistakes["A A' is not A'A."] = layer(z, W + A.T @ A - A @ A.T, q)
        if U.shape == (d, d):
            hint = "U is transposed: for a batch of rows the product is x U'."
            mistakes[hint] = layer(z, W, x @ U + b)
        attempt.rule_out(z, mistakes, rtol=0, atol=1e-6 * scale)
        advice = "Does your iteration settle at all? Plain repetition need not."
        if misfit(z, W, q) <= 0.05 * scale:
            advice = "Go on until nothing changes any more."
        attempt.fail(
            f"z and relu(Wz + Ux + b) still differ, by up to {misfit(z, W, q):.2g}. {advice}"
        )


@exercise("9.4", "Two logarithmic norms of a feature", points=2, minutes=15)
def feature_norms(attempt: Attempt) -> None:
    def same(one, other):
        return bool(((one - other).abs() <= 1e-4 * (1 + other.abs())).all())

    cases = []
    for d, size in ((3, 4), (2, 3), (4, 1)):
        f = tanh_field(attempt.randn(7, d), attempt.randn(7), attempt.randn(d, 7))
        cases.append((f, attempt.randn(size, d)))
    cases.append((linear_map(torch.tensor([[-1.0, 0.95], [0.0, -0.1]])), torch.zeros(2, 2)))
    for f, z in cases:
        size, d = z.shape
        values = attempt.several("logarithmic_norms", f, z, count=2)
        first = "mu_inf, the first result of `logarithmic_norms`,"
        found = [
            attempt.as_tensor(values[0], first, (size,)),
            attempt.as_tensor(values[1], "mu_2, the second result,", (size,)),
        ]
        M = torch.func.vmap(torch.func.jacrev(f))(z)
        diagonal = M.diagonal(dim1=1, dim2=2)
        sizes = M.abs()
        others = sizes.sum(2) - diagonal.abs()
        right = [ode.logarithmic_norm(M, math.inf), ode.logarithmic_norm(M)]
        if same(found[0], right[0]) and same(found[1], right[1]):
            continue
        swapped = same(found[0], right[1]) and same(found[1], right[0])
        attempt.require(
            not swapped, "Right numbers in the wrong order: mu_inf comes first, then mu_2."
        )
        whole = M.sum(0)  # all points of the batch together
        symmetric = (M + M.mT) / 2
        mistakes = [
            {  # of mu_inf
                "These are the sums of the *columns*. They belong to another norm.": (
                    ode.logarithmic_norm(M, 1)
                ),
                "The diagonal keeps its sign: "
                "without it, this is the norm of M, which is never negative.": sizes.sum(2).amax(1),
                "Only the entries beside the diagonal lose their sign. You lost theirs nowhere.": (
                    M.sum(2).amax(1)
                ),
                "The diagonal entry is counted twice, or with its absolute value as well.": (
                    (diagonal + sizes.sum(2)).amax(1)
                ),
                "The *worst* row decides, not the best.": (diagonal + others).amin(1),
                "This is the worst mean of a row. It is a sum.": (diagonal + others).amax(1) / d,
                "The off-diagonal entries count with a plus: "
                "the worst they can do is to push outwards.": (diagonal - others).amax(1),
                "One number for each feature: you took the worst of the whole batch.": (
                    right[0].max().expand(size)
                ),
                "These are the Jacobians summed over the batch.": (
                    ode.logarithmic_norm(whole, math.inf).expand(size)
                ),
            },
            {  # of mu_2
                "This is the largest real part of an eigenvalue of M: "
                "what happens in the long run, not at once.": torch.linalg.eigvals(M).real.amax(1),
                "`eigvalsh` reads only one half of M. Make it symmetric first.": (
                    torch.linalg.eigvalsh(M).amax(1)
                ),
                "`eigvalsh` reads only one half of a matrix, here of the transposed M. "
                "Make M symmetric first.": torch.linalg.eigvalsh(M.mT).amax(1),
                "The factor 1/2 of the symmetric part is missing.": 2 * right[1],
                "This is the spectral norm of M, which is never negative.": (
                    torch.linalg.matrix_norm(M, 2)
                ),
                "This is the smallest eigenvalue. The largest decides.": (
                    torch.linalg.eigvalsh(symmetric).amin(1)
                ),
                "The sign counts: this is the largest eigenvalue in absolute value.": (
                    torch.linalg.matrix_norm(symmetric, 2)
                ),
                "One number for each feature: you took the worst of the whole batch.": (
                    right[1].max().expand(size)
                ),
                "These are the Jacobians summed over the batch.": (
                    ode.logarithmic_norm(whole).expand(size)
                ),
            },
        ]
        names = ("mu_inf", "mu_2")
        for value, truth, name, wrong in zip(found, right, names, mistakes, strict=True):
            if same(value, truth):
                continue
            attempt.rule_out(value, wrong, name + ": {}", rtol=1e-4, atol=1e-4)
            side = "too large: no solution grows that fast"
            if (value < truth).any():
                side = "too small: some solution grows faster"
            attempt.fail(
                f"Your {name} is {side}. Check the Jacobians first: "
                "row i holds the derivatives of f_i."
            )


@exercise("9.5", "A norm in which it shrinks", points=2, minutes=12)
def shrinking_weights(attempt: Attempt) -> None:
    def drawn(d):
        while True:
            M = attempt.randn(d, d) * torch.exp(attempt.randn(d))  # columns of very different sizes
            worst = M.abs() - torch.diag(M.diagonal().abs()) + torch.diag(M.diagonal())
            pull = torch.linalg.eigvals(worst).real.max() + attempt.uniform(0.05, 0.3)
            M = M - pull * torch.eye(d)
            if ode.logarithmic_norm(M, math.inf) > 0.5:
                return M

    def worst_row(M, w):
        return ode.logarithmic_norm(M * w / w[:, None], math.inf).item()

    shown = torch.tensor([[-1.0, 1.5], [0.0, -0.1]])
    cases = [drawn(d) for d in (3, 2, 3, 4, 4, 5)]
    cases += [shown, 1e-3 * drawn(3), 1e3 * drawn(4), torch.tensor([[-attempt.uniform(0.1, 2.0)]])]
    for M in cases:
        w = attempt.tensor("shrinking_weights", M, shape=(len(M),))
        attempt.require(
            w.min() > 0,
            "A weight that is zero or negative makes no norm: all of them must be positive.",
        )
        if worst_row(M, w) < 0:
            continue
        attempt.require(
            len(M) == 1 or (w - w[0]).norm() > 1e-9 * w[0],
            "Equal weights are the maximum norm itself, and there this M fails.",
        )
        reversed_roles = worst_row(M, 1 / w) < 0 or worst_row(M.T, w) < 0
        attempt.require(
            not reversed_roles,
            "Rows and columns, or w and 1/w, are mixed up. In row i: "
            "which entry is multiplied by which weight?",
        )
        attempt.fail(
            "With your weights some row still has M_ii + sum of |M_ij| w_j / w_i = "
            f"{worst_row(M, w):.3g}, not below 0."
        )
