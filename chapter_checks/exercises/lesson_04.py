"""Checks of coursework 4: networks as dynamical systems."""

import math
from functools import partial

import torch
from torch import Tensor

from ..engine import Attempt, exercise
from ..sendable import steered_field


def pushed_forward(W, V, states, thetas, h, p, skip=1.0, sign=1.0, transposed=False, early=False):
    """Derivatives of <p, x_N> by all thetas and by x_0; the options are mistakes.

    Disturbances run forwards through the layers, one row each.
    """
    depth, k = thetas.shape
    d = len(p)
    moved = torch.cat([torch.zeros(depth * k, d), torch.eye(d)])
    for n, (x, theta) in enumerate(zip(states, thetas, strict=False)):
        slope = 1 - torch.tanh(W @ x + V @ theta) ** 2
        entering = torch.zeros_like(moved)
        entering[n * k : (n + 1) * k] = h * V.T * slope
        if early:
            moved = moved + entering
        change = (moved * slope) @ W if transposed else (moved @ W.T) * slope
        moved = skip * moved + sign * h * change
        if not early:
            moved = moved + entering
    gradients = moved @ p
    return gradients[: depth * k].reshape(depth, k), gradients[depth * k :]


def nearly(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= 1e-9 * (other.norm() + 1e-3))


@exercise("4.1", "Two ways to a gradient", points=3, minutes=25)
def two_gradients(attempt: Attempt) -> None:
    for depth in (4, 1, attempt.integer(5, 9), attempt.integer(5, 9)):
        d = attempt.integer(2, 4)
        k = attempt.integer(2, 4)
        h = attempt.uniform(0.1, 0.4)
        W = attempt.randn(d, d)
        V = attempt.randn(d, k)
        thetas = attempt.randn(depth, k)
        p = attempt.randn(d)
        f = steered_field(W, V)
        states = [attempt.randn(d)]
        for theta in thetas:
            states.append(states[-1] + h * f(states[-1], theta))
        recomputed = [states[-1]]
        for theta in thetas.flip(0):
            recomputed.insert(0, recomputed[0] - h * f(recomputed[0], theta))
        states = torch.stack(states)
        recomputed = torch.stack(recomputed)
        kept, lost = (pushed_forward(W, V, s, thetas, h, p) for s in (states, recomputed[1:]))
        two_ways = [
            ("gradients_with_memory", states, states, kept),
            ("gradients_without_memory", states[-1], recomputed[1:], lost),
        ]
        for name, sent, used, right in two_ways:
            values = attempt.several(name, f, sent, thetas, h, p, count=2)
            value = attempt.as_tensor(values[0], f"the first result of `{name}`", (depth, k))
            at_start = attempt.as_tensor(values[1], f"the second result of `{name}`", (d,))
            if nearly(value, right[0]) and nearly(at_start, right[1]):
                continue
            rounded = torch.cat([value.flatten() - right[0].flatten(), at_start - right[1]]).norm()
            attempt.require(
                rounded > 1e-5 * (1 + right[0].norm()),
                f"`{name}`: nearly, but digits are lost. Compute in the precision of the input.",
            )
            if name == "gradients_without_memory" and not nearly(kept[1], lost[1]):
                early = pushed_forward(W, V, recomputed, thetas, h, p)
                frozen = pushed_forward(W, V, states[-1:].repeat(depth, 1), thetas, h, p)
                mistakes = {
                    "This is the gradient with the *true* states. Here they are lost: "
                    "recompute each by one Euler step of length -h.": kept[1],
                    "You step back first and differentiate then. Take the derivatives at the state "
                    "that you have, and then step back.": early[1],
                    "Your state never moves: it must go back by one layer each time.": frozen[1],
                }
                attempt.rule_out(at_start, mistakes, rtol=1e-9, atol=1e-12)
            same_start = nearly(at_start, right[1])
            if same_start:
                late = pushed_forward(W, V, used, thetas, h, p, early=True)
                mistakes = {
                    "The sign of the gradients is wrong.": -right[0],
                    "The factor h is missing in the gradients.": right[0] / h,
                    "The gradients stand in reverse order: row n belongs to theta_n.": (
                        right[0].flip(0)
                    ),
                    "The gradient of theta_n needs p_{n+1}, the adjoint *behind* layer n. "
                    "Did you change p too early?": late[0],
                }
                attempt.rule_out(value, mistakes, rtol=1e-9, atol=1e-12)
            attempt.require(
                depth == 1 or not nearly(at_start, p),
                "p never changes: it must go back through the layers as well.",
            )
            start = partial(pushed_forward, W, V, used, thetas, h, p)
            mistakes = {
                "The Jacobian acts on p *transposed*.": start(transposed=True)[1],
                "p loses the skip connection: a layer is x + h f, and not h f.": start(skip=0.0)[1],
                "The sign of the step of p is wrong: it walks backwards, but with + h.": (
                    start(sign=-1.0)[1]
                ),
                "The step of p has lost its factor h.": start(sign=1 / h)[1],
            }
            if name == "gradients_with_memory":
                shifted = pushed_forward(W, V, states[1:], thetas, h, p)
                hint = "The derivatives of layer n belong to its *input* x_n, not to its output."
                mistakes[hint] = shifted[1]
            attempt.rule_out(at_start, mistakes, rtol=1e-9, atol=1e-12)
            attempt.require(
                same_start or depth == 1 or not nearly(value[-1], right[0][-1]),
                f"`{name}`: the last layer's gradient is right, the earlier ones are not. "
                "Follow p (and x) through one more layer.",
            )
            attempt.require(
                not same_start,
                f"`{name}`: p_0 is right, the gradients are not. "
                "Which layer's state, theta and p does row n use?",
            )
            attempt.fail(
                f"`{name}`: with {depth} layers the gradients are wrong. "
                "Do state, theta and p always belong to the same layer?"
            )


def bound_with_one_layer(F: float, L: float, T: float) -> float:
    return T * F * math.expm1(L * T) / 2


@exercise("4.2", "How deep is deep enough?", points=2, minutes=15)
def depth_for_a_tolerance(attempt: Attempt) -> None:
    for d, m in ((2, 5), (3, 2), (attempt.integer(2, 5), attempt.integer(2, 7)), (1, 1)):
        V = attempt.randn(d, m)
        W = attempt.randn(m, d)
        V = V * (attempt.uniform(0.6, 1.4) / torch.linalg.matrix_norm(V, 2))
        W = W * (attempt.uniform(0.6, 1.4) / torch.linalg.matrix_norm(W, 2))
        v = torch.linalg.svdvals(V)[0].item()
        w = torch.linalg.svdvals(W)[0].item()
        values = attempt.several("speed_and_slope", V, W, count=2)
        F = attempt.as_number(values[0], "the first result of `speed_and_slope`")
        L = attempt.as_number(values[1], "the second result of `speed_and_slope`")
        if abs(F - v * math.sqrt(m)) > 1e-6:
            mistakes = {
                "A vector of m numbers up to 1 may be longer than 1.": v,
                "The hidden layer has m units, and not d.": v * math.sqrt(d) if d != m else -1,
                "m numbers up to 1 have at most the length sqrt(m).": v * m,
                "V acts on the hidden units and stretches them: its norm is missing.": math.sqrt(m),
                "F does not need W: tanh is at most 1 for all inputs.": v * w * math.sqrt(m),
                "Use the spectral norm: the Frobenius norm is too large.": V.norm() * math.sqrt(m),
            }
            attempt.rule_out(F, mistakes)
            attempt.fail("F is wrong. How long can V u be if all |u_i| <= 1?")
        if abs(L - v * w) > 1e-6:
            mistakes = {
                "The Lipschitz constants of two maps, one after the other, are multiplied.": v + w,
                "Use the spectral norm: the Frobenius norm is too large.": V.norm() * W.norm(),
                "L has nothing to do with the number of units.": v * w * math.sqrt(m),
                "One of the two matrices is missing in L.": w,
                "One of the two matrices is missing in L: W.": v,
            }
            attempt.rule_out(L, mistakes)
            product = torch.linalg.svdvals(V @ W)[0].item()
            attempt.require(
                abs(L - product) > 1e-6,
                "The norm of VW is not enough: the slopes of tanh stand between the matrices.",
            )
            attempt.fail("L is wrong. By how much does W stretch, then tanh, then V?")
        T = attempt.uniform(0.5, 1.5)
        whole = bound_with_one_layer(F, L, T)
        for number in (attempt.integer(20, 400), attempt.integer(2, 9), 1, 100_003):
            tol = whole / (number - attempt.uniform(0.2, 0.8))
            value = attempt.number("layers_needed", V, W, T, tol)
            if value == number:
                continue
            mistakes = {
                "The number of layers is whole: round up.": whole / tol,
                "Rounded down, the guarantee is lost.": math.floor(whole / tol),
                "There is a factor 1/2 in the bound.": math.ceil(2 * whole / tol),
                "The bound has e^(LT) - 1, not e^(LT).": (math.ceil((whole + T * F / 2) / tol)),
                "h is T / N: a factor T is missing.": math.ceil(whole / tol / T),
                "A layer's error is magnified up to time T: e^(LT), not e^L.": (
                    math.ceil(T * F * math.expm1(L) / 2 / tol)
                ),
            }
            attempt.require(value >= 1, "A network has at least one layer.")
            attempt.rule_out(value, mistakes)
            hint = f"{value:g} layers are too few: the bound is {whole / value:.3g} > tol."
            attempt.require(value >= number, hint)
            attempt.fail(f"The claim guarantees tol = {tol:.3g} with fewer than {value:g} layers.")


@exercise("4.3", "The price of running backwards", points=3, minutes=20)
def price_of_reversal(attempt: Attempt) -> None:
    rates = [attempt.uniform(0.3, 3.0) for _ in range(4)] + [0.0, 20.0]
    sizes = [(2, 2), (2, 4), (1, 3), (attempt.integer(2, 4), 5), (3, 3), (1, 1)]
    for rate, (k, d) in zip(rates, sizes, strict=True):
        A = attempt.uniform(0.2, 3.0) * attempt.randn(k, d)
        T = attempt.uniform(0.5, 2.0)
        sizes = torch.linalg.svdvals(A)
        steep = sizes[0].item() ** 2
        flat = sizes[-1].item() ** 2 if k == d else 0.0
        values = attempt.several("reversal_cost", A, rate, T, count=3)
        names = ("mu(f)", "mu(-f)", "the digits lost")
        numbers = [
            attempt.as_number(value, f"{name}, a result of `reversal_cost`,")
            for name, value in zip(names, values, strict=True)
        ]
        forwards, backwards, digits = numbers
        if abs(forwards + rate) > 1e-6:
            mistakes = {
                "mu(f) has a sign: here the flow contracts, it is negative.": rate,
                "mu(f) is for all x: where the units are saturated, A does not help.": -rate - flat,
                "That is the smallest eigenvalue of Df. mu asks for the largest.": -rate - steep,
                "The friction counts as well: there is -rate x in the field.": 0.0,
                "The term with A pulls inwards: its sign is minus.": steep - rate,
            }
            attempt.rule_out(forwards, mistakes, atol=1e-9)
            attempt.fail("mu(f) is wrong. At which x is the largest eigenvalue of Df largest?")
        if abs(backwards - rate - steep) > 1e-6:
            mistakes = {
                "mu(-f) is not -mu(f): it asks for the smallest eigenvalue of sym Df.": rate,
                "The largest eigenvalue of A'A is the square of the norm of A.": rate + sizes[0],
                "The friction pushes outwards backwards: it is added, not taken away.": (
                    steep - rate
                ),
                "The friction counts as well: there is -rate x in the field.": steep,
                "Take the spectral norm, not the Frobenius norm.": rate + A.square().sum(),
                "Backwards the *largest* singular value counts.": rate + sizes[-1] ** 2,
                "mu(-f) is positive: backwards, this flow expands.": -rate - steep,
            }
            attempt.rule_out(backwards, mistakes, atol=1e-9)
            attempt.fail("mu(-f) is wrong. Where are all slopes of tanh equal to 1?")
        if abs(digits - T * backwards * math.log10(math.e)) > 1e-6:
            mistakes = {
                "These are factors of e. Digits are factors of 10.": T * backwards,
                "That is the factor itself. How many digits has it?": math.exp(T * backwards),
                "The time T is missing.": backwards / math.log(10),
                "A factor of 10 is ln(10) factors of e: divide.": T * backwards * math.log(10),
                "These digits are lost: their number is positive.": -T * backwards / math.log(10),
                "Backwards the constant of -f counts, not that of f.": T * rate / math.log(10),
                "These are binary digits: take the logarithm to base 10.": (
                    T * backwards / math.log(2)
                ),
            }
            attempt.rule_out(digits, mistakes)
            attempt.fail("The digits are wrong. An error grows at most by e^(mu(-f) T).")
