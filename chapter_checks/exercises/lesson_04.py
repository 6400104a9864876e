"""Checks of coursework 4: networks as dynamical systems."""

import math

import torch
from torch import Tensor

from chapter_utils import ode

from ..engine import Attempt, exercise
from ..sendable import linear_map
from ..wire import sendable


@sendable
def steered_field(W: Tensor, V: Tensor):
    """f(x, theta) = tanh(W x + V theta) for x (..., d) and theta (..., k)."""
    return lambda x, theta: torch.tanh(x @ W.T + theta @ V.T)


@sendable
def tanh_field(W: Tensor, b: Tensor, V: Tensor):
    """The field x (..., d) -> V tanh(W x + b)."""
    return lambda x: torch.tanh(x @ W.T + b) @ V.T


@sendable
def bowl(P: Tensor, c: float):
    """V(x) = x'Px / 2 + c (x_1^4 + ... + x_d^4) / 4 for x (..., d)."""
    return lambda x: 0.5 * (x * (x @ P)).sum(-1) + c / 4 * (x**4).sum(-1)


def pushed_forward(W, V, states, thetas, h, p, skip=1.0, sign=1.0, transposed=False, early=False):
    """Derivatives of <p, x_N> by all thetas and by x_0, from disturbances that run forwards through the layers."""
    (depth, k), d = thetas.shape, len(p)
    moved = torch.cat([torch.zeros(depth * k, d), torch.eye(d)])  # one row a disturbance
    for n, (x, theta) in enumerate(zip(states, thetas, strict=False)):
        slope = 1 - torch.tanh(W @ x + V @ theta) ** 2
        entering = torch.zeros_like(moved)
        entering[n * k : (n + 1) * k] = h * V.T * slope
        moved = moved + entering if early else moved
        moved = skip * moved + sign * h * (
            (moved * slope) @ W if transposed else (moved @ W.T) * slope
        )
        moved = moved if early else moved + entering
    return (moved @ p)[: depth * k].reshape(depth, k), (moved @ p)[depth * k :]


@exercise("4.1", "Two ways to a gradient", points=3, minutes=25)
def two_gradients(attempt: Attempt) -> None:
    for depth in (4, 1, attempt.integer(5, 9), attempt.integer(5, 9)):
        d, k, h = attempt.integer(2, 4), attempt.integer(2, 4), attempt.uniform(0.1, 0.4)
        W, V, thetas, p = (
            attempt.randn(d, d),
            attempt.randn(d, k),
            attempt.randn(depth, k),
            attempt.randn(d),
        )
        f, states = steered_field(W, V), [attempt.randn(d)]
        for theta in thetas:
            states.append(states[-1] + h * f(states[-1], theta))
        recomputed = [states[-1]]
        for theta in thetas.flip(0):
            recomputed.insert(0, recomputed[0] - h * f(recomputed[0], theta))
        states, recomputed = torch.stack(states), torch.stack(recomputed)
        kept, lost = (pushed_forward(W, V, s, thetas, h, p) for s in (states, recomputed[1:]))
        for name, sent, used, right in (
            ("gradients_with_memory", states, states, kept),
            ("gradients_without_memory", states[-1], recomputed[1:], lost),
        ):
            values = attempt.several(name, f, sent, thetas, h, p, count=2)
            value = attempt.as_tensor(values[0], f"the first result of `{name}`", (depth, k))
            at_start = attempt.as_tensor(values[1], f"the second result of `{name}`", (d,))

            def close(one, other, tolerance=1e-9):
                return (one - other).norm() <= tolerance * (other.norm() + 1e-3)

            if close(value, right[0]) and close(at_start, right[1]):
                continue
            if name == "gradients_without_memory" and not close(kept[1], lost[1]):
                attempt.require(
                    not close(at_start, kept[1]),
                    "This is the gradient with the *true* states. Here they are lost: recompute each by one Euler step of length -h.",
                )
                early = pushed_forward(W, V, recomputed, thetas, h, p)
                attempt.require(
                    not close(at_start, early[1]),
                    "You step back first and differentiate then. Take the derivatives at the state that you have, and then step back.",
                )
                frozen = pushed_forward(W, V, states[-1:].repeat(depth, 1), thetas, h, p)
                attempt.require(
                    not close(at_start, frozen[1]),
                    "Your state never moves: it must go back by one layer each time.",
                )
            same_start = close(at_start, right[1])
            attempt.require(
                not same_start or not close(-value, right[0]), "The sign of the gradients is wrong."
            )
            attempt.require(
                not same_start or not close(h * value, right[0]),
                "The factor h is missing in the gradients.",
            )
            flipped = same_start and depth > 1 and close(value.flip(0), right[0])
            attempt.require(
                not flipped, "The gradients stand in reverse order: row n belongs to theta_n."
            )
            late = pushed_forward(W, V, used, thetas, h, p, early=True)
            attempt.require(
                not (same_start and close(value, late[0])),
                "The gradient of theta_n needs p_{n+1}, the adjoint *behind* layer n. Did you change p too early?",
            )
            attempt.require(
                depth == 1 or not close(at_start, p),
                "p never changes: it must go back through the layers as well.",
            )
            mistakes = {
                "The Jacobian acts on p *transposed*.": {"transposed": True},
                "p loses the skip connection: a layer is x + h f, and not h f.": {"skip": 0.0},
                "The sign of the step of p is wrong: it walks backwards, but with + h.": {
                    "sign": -1.0
                },
                "The step of p has lost its factor h.": {"sign": 1 / h},
            }
            for mistake, options in mistakes.items():
                attempt.require(
                    not close(at_start, pushed_forward(W, V, used, thetas, h, p, **options)[1]),
                    mistake,
                )
            if name == "gradients_with_memory":
                shifted = pushed_forward(W, V, states[1:], thetas, h, p)
                attempt.require(
                    not close(at_start, shifted[1]),
                    "The derivatives of layer n belong to its *input* x_n, not to its output.",
                )
            attempt.require(
                same_start or depth == 1 or not close(value[-1], right[0][-1]),
                f"`{name}`: the last layer's gradient is right, the earlier ones are not. Follow p (and x) through one more layer.",
            )
            attempt.require(
                not same_start,
                f"`{name}`: p_0 is right, the gradients are not. Which layer's state, theta and p does row n use?",
            )
            attempt.fail(
                f"`{name}`: with {depth} layers the gradients are wrong. Do state, theta and p always belong to the same layer?"
            )


@exercise("4.2", "How thin must the layers be?", points=2, minutes=12)
def antisymmetric_step(attempt: Attempt) -> None:
    def drawn(d):
        M = attempt.randn(d, d)
        return attempt.uniform(0.5, 2.0) * (M - M.T)

    shown = 3 * torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    cases = [(shown, 0.5, 1, 1.0)] + [
        (drawn(d), attempt.uniform(0.1, 2.0), 40, 1.0) for d in (2, 4, 5)
    ]
    cases += [
        (drawn(d), attempt.uniform(0.1, 2.0), attempt.integer(3, 60), attempt.uniform(1.2, 5.0))
        for d in (3, 4, 6)
    ]
    cases += [(drawn(4), 0.0, attempt.integer(10, 60), attempt.uniform(1.5, 4.0))]
    for S, gamma, layers, growth in cases:
        h = attempt.number("longest_antisymmetric_step", S, gamma, layers, growth)
        attempt.require(
            h > 0,
            "With some friction, or some growth allowed, a short step is fine: the longest one is positive.",
        )

        def stretch(step, S=S, gamma=gamma, layers=layers):
            return (
                torch.linalg.matrix_norm(
                    torch.eye(len(S)) + step * (S - gamma * torch.eye(len(S))), 2
                ).item()
                ** layers
            )

        if stretch(0.99 * h) <= growth < stretch(1.01 * h):
            continue

        def formula(omega, g, S=S, gamma=gamma):  # largest h with (1 - h gamma)^2 + (h omega)^2 = g
            a = gamma**2 + omega**2
            return (gamma + math.sqrt(gamma**2 + a * max(g - 1, 0.0))) / a

        omega, g = torch.linalg.matrix_norm(S, 2).item(), growth ** (2 / layers)
        a = gamma**2 + omega**2
        mistakes = {
            "This is half of it: the step that shrinks distances most. A longer one does not yet let them grow.": gamma
            / a,
            "omega is the spectral norm of S, and this is the Frobenius norm.": formula(
                S.norm().item(), g
            ),
            "omega is the spectral norm of S, not its largest entry.": formula(
                S.abs().max().item(), g
            ),
            "omega is the *largest* frequency in S, not one entry.": formula(
                abs(S[1, 0].item()), g
            ),
            "The friction also turns up in the denominator: the eigenvalues are 1 - h gamma + ih omega.": 2
            * gamma
            / omega**2,
            "The norm of S - gamma I is not |S| + gamma: its two parts are perpendicular.": 2
            * gamma
            / (gamma + omega) ** 2,
            "2/L is for fields with a potential. A rotation has none.": 2 / math.sqrt(a),
            "You allow no growth at all. A growth above 1 allows longer steps.": formula(
                omega, 1.0
            ),
            "You allow this growth in *each* layer, but all layers together may use it only once.": formula(
                omega, growth**2
            ),
            "Growth is multiplied from layer to layer, not added up: (1 + s)^N is more than 1 + N s.": formula(
                omega, (1 + (growth - 1) / layers) ** 2
            ),
            "The modulus is a square root: you compare its *square* with the growth.": formula(
                omega, growth ** (1 / layers)
            ),
        }
        for mistake, value in mistakes.items():
            attempt.require(abs(h - value) > 1e-6 * h, mistake)
        case = f"With gamma = {gamma:.3g}, |S| = {omega:.3g}, growth {growth:.3g}"
        if stretch(0.99 * h) > growth:
            attempt.fail(
                f"{case}: your h = {h:.4g} is too long, one layer stretches by {stretch(h) ** (1 / layers):.5g}."
            )
        attempt.fail(f"{case}: your h = {h:.4g} is fine, but a longer step is too.")
    h = attempt.number("longest_antisymmetric_step", drawn(4), 0.0, attempt.integer(2, 9), 1.0)
    attempt.require(
        abs(h) <= 1e-6,
        f"Without friction and without growth no step is short enough: return 0, not {h:.3g}.",
    )


@exercise("4.3", "Repair any field", points=2, minutes=15)
def projection(attempt: Attempt) -> None:
    spiral = linear_map(torch.tensor([[0.5, 1.0], [-1.0, 0.5]]))
    cases = [(spiral, torch.eye(2), 0.0, 0.5)]
    for d, alpha in ((2, 1.0), (3, 0.3), (3, -0.4), (4, 0.0), (2, 2.5)):
        f_hat = tanh_field(attempt.randn(8, d), attempt.randn(8), 0.7 * attempt.randn(d, 8))
        root = attempt.randn(d, d)
        cases.append((f_hat, root @ root.T + 0.3 * torch.eye(d), attempt.uniform(0.2, 1.0), alpha))
    for f_hat, P, c, alpha in cases:
        for size in (40, 1):
            x = attempt.randn(size, len(P))
            if size > 1:
                x[3] = 0.0
            value = attempt.ask("projected_field", f_hat, bowl(P, c), alpha, x)
            if (
                size > 1
                and isinstance(value, Tensor)
                and value.shape == x.shape
                and value.is_floating_point()
            ):
                only_here = (
                    value[3].isnan().any() and value[[0, 1, 2, *range(4, size)]].isfinite().all()
                )
                attempt.require(
                    not only_here,
                    "At the origin you compute 0/0. There the field is 0 by definition.",
                )
            f = attempt.as_tensor(value, "`projected_field`", x.shape)
            V, g, raw = bowl(P, c)(x), x @ P + c * x**3, f_hat(x)
            surplus, square = (g * raw).sum(1) + alpha * V, g.square().sum(1)
            act, rest = surplus > 1e-9, x.abs().sum(1) > 0
            removed = torch.relu(surplus) / square.clamp(min=1e-30)

            def close(one, other, rows=rest):
                return (one - other)[rows].norm() <= 1e-8 * (1 + other[rows].norm())

            if close(f, raw - removed[:, None] * g):
                origin = f[~rest].norm().item()
                attempt.require(
                    origin <= 1e-12,
                    f"At the origin the field must be 0, or no solution could stay there. Yours has length {origin:.3g}.",
                )
                continue
            total = (g * raw).sum() + alpha * V.sum()
            mistakes = {
                "Your correction points the wrong way: it adds to the surplus.": raw
                + removed[:, None] * g,
                "You correct everywhere. Where f_hat falls fast enough already, it must stay as it is: where is the relu?": raw
                - (surplus / square)[:, None] * g,
                "alpha V is missing: V no longer grows, but it does not fall at the demanded speed.": raw
                - (torch.relu(surplus - alpha * V) / square)[:, None] * g,
                "alpha V counts inside the relu, together with the slope: it may make good a slope that is steep enough.": raw
                - ((torch.relu(surplus - alpha * V) + alpha * V) / square)[:, None] * g,
                "Divide by the *square* of the length of the gradient: the gradient occurs twice in the numerator.": raw
                - (removed * square.sqrt())[:, None] * g,
                "The division by the squared length of the gradient is missing.": raw
                - (removed * square)[:, None] * g,
                "The sum must run over the components only, for each state of the batch by itself.": raw
                - torch.relu(total) / square.sum() * g,
                "These are only the corrections. Subtract them from f_hat.": removed[:, None] * g,
                "The gradient of V points elsewhere than x, unless V = |x|^2/2. Let PyTorch differentiate V.": raw
                - (torch.relu((x * raw).sum(1) + alpha * V) / x.square().sum(1))[:, None] * x,
                "The gradient of the *mean* of V over the batch is too small for each single state.": raw
                - (torch.relu((g * raw).sum(1) / size + alpha * V) / square * size)[:, None] * g,
                "This is f_hat itself: nothing is projected.": raw,
                "Correct only the states that need it, not all as soon as one does.": raw
                - (surplus / square)[:, None] * g * act.any(),
            }
            for mistake, wrong in mistakes.items():
                attempt.require(not (wrong[rest].isfinite().all() and close(f, wrong)), mistake)
            after = (g * f).sum(1) + alpha * V
            left = after[act & rest].max().item() if act.any() else 0.0
            attempt.require(
                left <= 1e-7,
                f"Some state still has the slope of V too large, by {left:.3g}: V falls too slowly there.",
            )
            attempt.require(
                close(f, raw, ~act & rest),
                "Some states change although f_hat already falls fast enough there.",
            )
            attempt.fail(
                "V falls fast enough everywhere, but you changed f_hat more than necessary. In which direction, how far?"
            )


@exercise("4.4", "An infinitely deep network", points=2, minutes=15)
def deep_equilibrium(attempt: Attempt) -> None:
    shown = torch.tensor([[1.0, 0.5], [0.0, 0.5]]), torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    cases = []
    for rows, d, k, size in ((3, 3, 3, 4), (2, 4, 2, 1)):
        A, B = 0.6 * attempt.randn(rows, d), attempt.uniform(0.7, 1.0) * attempt.randn(d, d)
        cases.append(
            (
                A,
                B,
                attempt.uniform(0.7, 1.6),
                attempt.randn(d, k),
                attempt.randn(d),
                attempt.randn(size, k),
            )
        )
    A, turn, b = 0.4 * attempt.randn(2, 4), attempt.uniform(2.0, 3.0), attempt.randn(4)
    B = turn * torch.diag(
        torch.tensor([1.0, 0.0, 1.0]), 1
    )  # fast rotations, and below an equilibrium with all units active
    positive = attempt.uniform(1.0, 3.0, 5, 4)
    cases.append(
        (A, B, 0.8, torch.eye(4), b, positive @ (0.8 * torch.eye(4) + A.T @ A - B + B.T).T - b)
    )
    cases.append((*shown, 0.5, torch.eye(2), torch.zeros(2), torch.tensor([[1.0, 1.0]])))
    for A, B, m, U, b, x in cases:
        d = len(b)
        value = attempt.ask("equilibrium", A, B, m, U, b, x)
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape == (len(x), d):
            attempt.require(
                value.isfinite().all() and value.abs().max() < 1e4,
                "Your iteration runs away. Is W right, and is the step below the limit of Claim 4.18?",
            )
        z = attempt.as_tensor(value, "`equilibrium`", (len(x), d))

        def misfit(W, q, z=z):
            return (z - torch.relu(z @ W.T + q)).abs().max().item() / (1 + z.abs().max().item())

        eye, q = torch.eye(d), x @ U.T + b
        W = (1 - m) * eye - A.T @ A + B - B.T
        if misfit(W, q) <= 1e-6:
            continue
        attempt.require(
            z.min() >= -1e-9,
            "Some entries are negative, but z = relu(...) has none. Is the relu inside your loop?",
        )
        linear = torch.linalg.solve(eye - W, q.T).T
        clipped = (z - torch.relu(linear)).abs().max() > 1e-6
        attempt.require(
            clipped,
            "You solve the linear equation and cut off the negative entries at the end: other units then change too.",
        )
        plain = torch.zeros_like(z)
        for _ in range(3):
            attempt.require(
                (z - plain).abs().max() > 1e-6 * (1 + z.abs().max()),
                "So few layers are not infinitely many.",
            )
            plain = torch.relu(plain @ W.T + q)
        mistakes = {
            "The bias b is missing.": (W, q - b),
            "B + B' is symmetric. Only B minus its transpose keeps the symmetric part of I - W.": (
                W + 2 * B.T,
                q,
            ),
            "W has m I in place of (1 - m) I.": (W + (2 * m - 1) * eye, q),
            "A'A must be subtracted.": (W + 2 * A.T @ A, q),
            "The antisymmetric part has the wrong sign. Or W is transposed: for a batch of rows the product is z W'.": (
                W.T,
                q,
            ),
            "B and its transpose are missing.": (W - B + B.T, q),
        }
        if A.shape == (d, d):
            mistakes["A A' is not A'A."] = (W + A.T @ A - A @ A.T, q)
        if U.shape == (d, d):
            mistakes["U is transposed: for a batch of rows the product is x U'."] = (W, x @ U + b)
        for mistake, (other, shift) in mistakes.items():
            attempt.require(misfit(other, shift) > 1e-6, mistake)
        close = misfit(W, q) <= 0.05
        advice = (
            "Go on until nothing changes any more."
            if close
            else "Does your iteration settle at all? Plain repetition need not."
        )
        attempt.fail(
            f"z and relu(Wz + Ux + b) still differ, by up to {(z - torch.relu(z @ W.T + q)).abs().max():.2g}. {advice}"
        )


@exercise("4.5", "Two logarithmic norms of a feature", points=2, minutes=15)
def feature_norms(attempt: Attempt) -> None:
    cases = []
    for d, size in ((3, 4), (2, 3), (4, 1)):
        f = tanh_field(attempt.randn(7, d), attempt.randn(7), attempt.randn(d, 7))
        cases.append((f, attempt.randn(size, d)))
    cases.append((linear_map(torch.tensor([[-1.0, 0.95], [0.0, -0.1]])), torch.zeros(2, 2)))
    for f, z in cases:
        size, d = z.shape
        values = attempt.several("logarithmic_norms", f, z, count=2)
        names = ("mu_inf, the first result of `logarithmic_norms`,", "mu_2, the second result,")
        found = [
            attempt.as_tensor(value, name, (size,))
            for value, name in zip(values, names, strict=True)
        ]
        M = torch.func.vmap(torch.func.jacrev(f))(z)
        diagonal, sizes = M.diagonal(dim1=1, dim2=2), M.abs()
        others = sizes.sum(2) - diagonal.abs()
        right = [ode.logarithmic_norm(M, math.inf), ode.logarithmic_norm(M)]

        def same(one, other):
            return bool(((one - other).abs() <= 1e-4 * (1 + other.abs())).all())

        if same(found[0], right[0]) and same(found[1], right[1]):
            continue
        swapped = same(found[0], right[1]) and same(found[1], right[0])
        attempt.require(
            not swapped, "Right numbers in the wrong order: mu_inf comes first, then mu_2."
        )
        whole = torch.func.jacrev(lambda z, f=f: f(z).sum(0))(z).sum(
            1
        )  # all points of the batch together
        symmetric = (M + M.mT) / 2
        mistakes = [
            {
                "These are the sums of the *columns*. They belong to another norm.": ode.logarithmic_norm(
                    M, 1
                ),
                "The diagonal keeps its sign: without it, this is the norm of M, which is never negative.": sizes.sum(
                    2
                ).amax(1),
                "Only the entries beside the diagonal lose their sign. You lost theirs nowhere.": M.sum(
                    2
                ).amax(1),
                "The diagonal entry is counted twice, or with its absolute value as well.": (
                    diagonal + sizes.sum(2)
                ).amax(1),
                "The *worst* row decides, not the best.": (diagonal + others).amin(1),
                "This is the worst mean of a row. It is a sum.": (diagonal + others).amax(1) / d,
                "The off-diagonal entries count with a plus: the worst they can do is to push outwards.": (
                    diagonal - others
                ).amax(1),
                "One number for each feature: you took the worst of the whole batch.": right[0]
                .max()
                .expand(size),
                "These are the Jacobians summed over the batch.": ode.logarithmic_norm(
                    whole, math.inf
                ).expand(size),
            },
            {
                "This is the largest real part of an eigenvalue of M: what happens in the long run, not at once.": torch.linalg.eigvals(
                    M
                ).real.amax(1),
                "`eigvalsh` reads only one half of M. Make it symmetric first.": torch.linalg.eigvalsh(
                    M
                ).amax(1),
                "`eigvalsh` reads only one half of a matrix, here of the transposed M. Make M symmetric first.": torch.linalg.eigvalsh(
                    M.mT
                ).amax(1),
                "The factor 1/2 of the symmetric part is missing.": 2 * right[1],
                "This is the spectral norm of M, which is never negative.": torch.linalg.matrix_norm(
                    M, 2
                ),
                "This is the smallest eigenvalue. The largest decides.": torch.linalg.eigvalsh(
                    symmetric
                ).amin(1),
                "The sign counts: this is the largest eigenvalue in absolute value.": torch.linalg.matrix_norm(
                    symmetric, 2
                ),
                "One number for each feature: you took the worst of the whole batch.": right[1]
                .max()
                .expand(size),
                "These are the Jacobians summed over the batch.": ode.logarithmic_norm(
                    whole
                ).expand(size),
            },
        ]
        for value, truth, name, wrong in zip(
            found, right, ("mu_inf", "mu_2"), mistakes, strict=True
        ):
            if same(value, truth):
                continue
            for mistake, number in wrong.items():
                attempt.require(not same(value, number), f"{name}: {mistake}")
            side = (
                "too small: some solution grows faster"
                if (value < truth).any()
                else "too large: no solution grows that fast"
            )
            attempt.fail(
                f"Your {name} is {side}. Check the Jacobians first: row i holds the derivatives of f_i."
            )


@exercise("4.6", "A norm in which it shrinks", points=2, minutes=12)
def shrinking_weights(attempt: Attempt) -> None:
    def drawn(d):
        while True:
            M = attempt.randn(d, d) * torch.exp(attempt.randn(d))  # columns of very different sizes
            worst = M.abs() - torch.diag(M.diagonal().abs()) + torch.diag(M.diagonal())
            M = M - (
                torch.linalg.eigvals(worst).real.max() + attempt.uniform(0.05, 0.3)
            ) * torch.eye(d)
            if ode.logarithmic_norm(M, math.inf) > 0.5:
                return M

    for M in [drawn(d) for d in (3, 2, 3, 4, 4, 5)] + [torch.tensor([[-1.0, 1.5], [0.0, -0.1]])]:
        w = attempt.tensor("shrinking_weights", M, shape=(len(M),))
        attempt.require(
            w.min() > 0,
            "A weight that is zero or negative makes no norm: all of them must be positive.",
        )

        def worst_row(w, M=M):
            return ode.logarithmic_norm(M * w / w[:, None], math.inf).item()

        if worst_row(w) < 0:
            continue
        attempt.require(
            (w - w[0]).norm() > 1e-9 * w[0],
            "Equal weights are the maximum norm itself, and there this M fails.",
        )
        reversed_roles = worst_row(1 / w) < 0 or worst_row(w, M.T) < 0
        attempt.require(
            not reversed_roles,
            "Rows and columns, or w and 1/w, are mixed up. In row i: which entry is multiplied by which weight?",
        )
        attempt.fail(
            f"With your weights some row still has M_ii + sum of |M_ij| w_j / w_i = {worst_row(w):.3g}, not below 0."
        )
