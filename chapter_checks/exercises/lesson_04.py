"""Checks of coursework 4: networks as dynamical systems."""

from functools import partial

import torch
from torch import Tensor

from ..engine import Attempt, exercise
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
