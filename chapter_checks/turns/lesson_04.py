"""Checks of the *your turn* cells of lesson 4: networks as dynamical systems."""

import math

import torch
from torch import Tensor

from chapter_utils import ode

from ..engine import Attempt, exercise
from ..sendable import linear_map
from ..wire import sendable


@sendable
def bent_field(W: Tensor, b: Tensor):
    """The field x (..., d) -> tanh(W x + b)."""
    return lambda x: torch.tanh(x @ W.T + b)


def euler_steps(f, x, h, number):
    for _ in range(number):
        x = x + h * f(x)
    return x


@exercise("4.A", "A network of thin layers")
def network(attempt: Attempt) -> None:
    for depth in (3, 1, attempt.integer(4, 8)):
        d = attempt.integer(2, 4)
        f = bent_field(attempt.randn(d, d), attempt.randn(d))
        x = attempt.randn(attempt.integer(1, 4), d)
        T = attempt.uniform(0.6, 1.5)
        end = attempt.tensor("network", f, x, T, depth, shape=x.shape)
        h = T / depth
        right = euler_steps(f, x, h, depth)
        if torch.allclose(end, right, rtol=1e-9, atol=1e-12):
            continue
        mistakes = {
            "Each layer has the length T / depth, not T.": euler_steps(f, x, T, depth),
            "This is one layer of length T / depth. Take `depth` of them.": x + h * f(x),
            "These are as many layers, all with the velocity at the input. "
            "Each layer needs f at *its* state.": x + T * f(x),
            "This is one layer too many.": euler_steps(f, x, h, depth + 1),
            "This is one layer too few.": euler_steps(f, x, h, depth - 1),
            "This is the flow itself, not the network.": ode.flow(f, x, [0, T])[-1],
            "A layer keeps its input: x + h f(x), not h f(x).": h * f(x),
            "A layer moves along +f.": euler_steps(f, x, -h, depth),
        }
        attempt.rule_out(end, mistakes, rtol=1e-7)
        attempt.fail(f"With depth {depth} the last state is wrong. What does one layer do to x?")


@exercise("4.B", "One step back")
def adjoint_step(attempt: Attempt) -> None:
    for d in (3, attempt.integer(2, 5)):
        W = attempt.randn(d, d)
        x = attempt.randn(d)
        p = attempt.randn(d)
        h = attempt.uniform(0.1, 0.5)
        back = attempt.tensor("adjoint_step", p, x, W, h, shape=(d,))
        slope = 1 - torch.tanh(W @ x) ** 2
        change = (slope[:, None] * W).T @ p
        if torch.allclose(back, p + h * change, rtol=1e-9, atol=1e-12):
            continue
        mistakes = {
            "The Jacobian acts on p *transposed*.": p + h * slope * (W @ p),
            "Transposed, the slopes come first and W' second.": p + h * slope * (W.T @ p),
            "p keeps its skip connection: p + h (...).": h * change,
            "The recursion has a plus. The minus of the adjoint equation is there already: "
            "time runs backwards.": p - h * change,
            "The factor h is missing.": p + change,
            "The slopes of tanh are missing.": p + h * W.T @ p,
            "The slope of tanh is 1 - tanh^2, at W x.": p + h * W.T @ (torch.tanh(W @ x) * p),
        }
        attempt.rule_out(back, mistakes, rtol=1e-9)
        attempt.fail("p_n is wrong. Write the Jacobian D W, transpose it, apply it to p.")


@exercise("4.C", "Where did they come from?")
def starts_apart(attempt: Attempt) -> None:
    for d in (2, attempt.integer(2, 4)):
        S = attempt.randn(d, d)
        rate = attempt.uniform(0.5, 2.0)
        M = S - S.T - torch.diag(rate + attempt.uniform(0.0, 1.0, d))
        ends = attempt.randn(2, d)
        T = attempt.uniform(0.5, 0.9)
        apart = attempt.number("starts_apart", linear_map(M), ends, T)
        gap = ends[1] - ends[0]
        right = (torch.linalg.matrix_exp(-T * M) @ gap).norm().item()
        if abs(apart - right) <= 1e-3 * right:
            continue
        forwards = (torch.linalg.matrix_exp(T * M) @ gap).norm()
        mistakes = {
            "how far apart they are later: you ran f forwards. The reversed field is -f": forwards,
            "the distance of the ends. Take them back to time 0 first": gap.norm(),
            "the square of the distance": right**2,
            "the distance of the starts along each axis added up": (
                (torch.linalg.matrix_exp(-T * M) @ gap).abs().sum()
            ),
            "how far the first point has come from its end": (
                (torch.linalg.matrix_exp(-T * M) @ ends[0] - ends[0]).norm()
            ),
        }
        attempt.rule_out(apart, mistakes, "This is {}.", rtol=1e-3)
        attempt.fail("The distance is wrong. Both rows of `ends` go back along -f for time T.")


@exercise("4.D", "How many pieces?")
def pieces_needed(attempt: Attempt) -> None:
    cases = [(20.0, 1e-6, 1e-3)]
    for number in (1, 2, attempt.integer(3, 6), attempt.integer(7, 12)):
        tolerance = 10 ** -attempt.uniform(5.0, 8.0)
        allowed = tolerance * 10 ** attempt.uniform(1.5, 4.0)
        growth = math.log(allowed / tolerance)
        cases.append(((number - attempt.uniform(0.2, 0.8)) * growth, tolerance, allowed))
    for rate, tolerance, allowed in cases:
        value = attempt.number("pieces_needed", rate, tolerance, allowed)
        growth = math.log(allowed / tolerance)
        right = 1
        while rate / right > growth:
            right += 1
        if value == right:
            continue
        given = f"For rate {rate:.3g}, tolerance {tolerance:.2g} and allowed {allowed:.2g} "
        mistakes = {
            "Round up: the number of pieces is whole.": rate / growth,
            "Round up, not down: your pieces are too long.": math.floor(rate / growth),
            "The growth e^(rate/k) needs the natural logarithm, not that to base 10.": (
                math.ceil(rate / math.log10(allowed / tolerance))
            ),
            "Which is divided by which? The rate stands in the numerator.": (
                math.ceil(growth / rate)
            ),
        }
        attempt.require(value >= 1, f"{given}there is at least one piece.")
        attempt.rule_out(value, mistakes)
        few = value < right
        attempt.require(not few, f"{given}{value:g} pieces are too few: the error grows too much.")
        attempt.fail(f"{given}{value:g} pieces are more than needed.")
