"""Checks of the *your turn* cells of lesson 8: structure elsewhere."""

import torch
from torch import Tensor

from ..engine import Attempt, exercise
from ..wire import sendable


def euler_step(given: Tensor, x: Tensor, h: float) -> Tensor:
    """x plus h times what is received minus what is given; entry (j, l): what l gives to j."""
    return x + h * (given.sum(2) - given.sum(1))


@exercise("8.A", "A mass layer that stays positive")
def positive_step(attempt: Attempt) -> None:
    for B, d in ((1, 2), (5, 3), (4, 4)):
        x = attempt.uniform(0.1, 2.0, B, d)
        rates = attempt.uniform(0.1, 1.0, B, d, d)
        h = attempt.uniform(0.05, 0.2)
        new = attempt.tensor("positive_step", x, rates, h, shape=(B, d))
        given = rates * x[:, None, :]
        if (new - euler_step(given, x, h)).abs().max() <= 1e-9:
            continue
        swapped = rates * x[:, :, None]
        change = (euler_step(given, x, h) - x) / h  # S(x) 1
        mistakes = {
            "Mass flows the wrong way: entry [b, j, l] is what l gives to j.": x - h * change,
            "The giver is the *second* index: multiply the rate from l to j by x_l.": (
                euler_step(swapped, x, h)
            ),
            "The giver is the *second* index: multiply the rate from l to j by x_l. "
            "And the receiver is the first.": euler_step(swapped.mT, x, h),
            "This is only the change. Add it to x.": h * change,
            "This is the field S(x) 1. Take a step of length h along it.": change,
            "The step h is missing.": x + change,
            "The rates alone are no amounts: each gives a share of what it *has*.": (
                euler_step(rates, x, h)
            ),
            "What the groups give away is not taken from them.": x + h * given.sum(2),
            "What the groups give away does not arrive.": x - h * given.sum(1),
        }
        attempt.rule_out(new, mistakes, atol=1e-9)
        kept = (new.sum(1) - x.sum(1)).abs().max() <= 1e-9
        attempt.require(kept, "The sum of a row changes: what one group gives another must get.")
        attempt.fail("The sum is kept, but these are not the amounts rate times x_l.")


def kicked(q: Tensor, p: Tensor, A: Tensor, a: Tensor, b: Tensor, h: float) -> Tensor:
    """p minus h times the gradient of sum_i a_i log cosh((A q + b)_i), by differentiation."""
    q = q.detach().requires_grad_()
    with torch.enable_grad():
        potential = (a * torch.log(torch.cosh(q @ A.mT + b))).sum()
    (gradient,) = torch.autograd.grad(potential, q)
    return p - h * gradient


@exercise("8.B", "The kick of a Verlet layer")
def kick(attempt: Attempt) -> None:
    for B, n, m in ((1, 3, 5), (4, 2, 3), (3, 3, 3)):
        q = attempt.randn(B, n)
        p = attempt.randn(B, n)
        A = attempt.randn(m, n)
        a = attempt.randn(m)
        b = attempt.randn(m)
        h = attempt.uniform(0.2, 0.9)
        new = attempt.tensor("kick", q, p, A, a, b, h, shape=(B, n))
        right = kicked(q, p, A, a, b, h)
        if (new - right).abs().max() <= 1e-9:
            continue
        mistakes = {
            "The momenta are kicked downhill: p *minus* h times g.": 2 * p - right,
            "The step h is missing.": p - (p - right) / h,
            "This is g. The new momenta are p - h g.": (p - right) / h,
            "This is h g. Subtract it from p.": p - right,
            "You changed q in place of p.": q - (p - right),
            "The force comes from the positions q, not from p.": kicked(p, p, A, a, b, h),
            "The factors a are missing.": kicked(q, p, A, torch.ones_like(a), b, h),
            "The shift b is missing.": kicked(q, p, A, a, 0 * b, h),
            "a stands outside of the tanh.": p - h * torch.tanh(a * (q @ A.T + b)) @ A,
            "tanh is missing.": p - h * (a * (q @ A.T + b)) @ A,
            "This is only half a kick. Use h as it is given.": (p + right) / 2,
        }
        attempt.rule_out(new, mistakes, atol=1e-9)
        attempt.fail("Not p - h A' diag(a) tanh(A q + b). Which matrix is transposed where?")


@exercise("8.C", "How averaged are two layers?")
def alpha_by_hand(attempt: Attempt) -> None:
    value = attempt.number("alpha_by_hand")
    first, second = 0.75, 0.25  # c / 2 for c = 1.5 and c = 0.5
    alpha = (first + second - 2 * first * second) / (1 - first * second)
    if abs(value - alpha) <= 1e-3:
        return
    mistakes = {
        "the sum of alpha / (1 - alpha). Now go back to alpha": 10 / 3,
        "the larger of the two. The second layer costs something, too": first,
        "the sum of the alphas. Not they add up, but alpha / (1 - alpha) does": first + second,
        "the mean of the alphas": (first + second) / 2,
        "the product of the alphas. Lipschitz constants are multiplied, these are not": 0.1875,
        "what you get with alpha = c. It is c / 2": 2.0,
        "1 minus the alpha that is asked": 1 - alpha,
    }
    attempt.rule_out(value, mistakes, "This is {}.", atol=1e-3)
    attempt.fail("alpha = 3/4 gives 3. What does alpha = 1/4 give? Solve alpha/(1 - alpha) = sum.")


@sendable
def blurring_denoiser(weight: Tensor, shift: float):
    """Pictures (B, 1, height, width) -> a mixture of each picture with its mirror image."""
    return lambda x: weight.to(x) * x + (1 - weight.to(x)) * x.flip(3) + shift


@exercise("8.D", "One iteration of plug-and-play")
def pnp_step(attempt: Attempt) -> None:
    cases = ((1, False, torch.float64), (3, False, torch.float64), (4, True, torch.float32))
    for B, several, dtype in cases:
        height, width = 4, 5
        x = attempt.uniform(-0.5, 1.5, B, 1, height, width)
        mask = (attempt.uniform(0.0, 1.0, height, width) < 0.5).double()
        mask[0, :2] = torch.tensor([0.0, 1.0], dtype=torch.float64)
        y = mask * attempt.uniform(0.0, 1.0, B, 1, height, width)
        tau = attempt.uniform(0.6, 1.8, B, 1, 1, 1) if several else attempt.uniform(0.6, 1.8)
        D = blurring_denoiser(attempt.uniform(1.1, 1.3, height, width), 0.05)
        x, y, mask = x.to(dtype), y.to(dtype), mask.to(dtype)
        tau = tau.to(dtype) if several else tau
        new = attempt.tensor("pnp_step", x, y, mask, tau, D, shape=x.shape, dtype=dtype)
        moved = x - tau * mask * (x - y)
        if (new - D(moved).clamp(0, 1)).abs().max() <= 1e-6:
            continue
        mistakes = {
            "The pixels are not clipped to [0, 1].": D(moved),
            "You clip before the denoiser. Its result may leave [0, 1]: clip last.": (
                D(moved.clamp(0, 1))
            ),
            "There is no denoiser in this step.": moved.clamp(0, 1),
            "There is no step towards the data.": D(x).clamp(0, 1),
            "You climb: the gradient is subtracted.": D(2 * x - moved).clamp(0, 1),
            "The step tau is missing.": D(x - mask * (x - y)).clamp(0, 1),
            "The gradient of half the square has no factor 2.": D(2 * moved - x).clamp(0, 1),
            "The mask is missing: nothing is known about the other pixels.": (
                D(x - tau * (x - y)).clamp(0, 1)
            ),
            "You denoise first and descend then. It is the other way round.": (
                (D(x) - tau * mask * (D(x) - y)).clamp(0, 1)
            ),
        }
        attempt.rule_out(new, mistakes, rtol=0, atol=1e-6)
        attempt.fail("Not clip(D(x - tau mask (x - y))): descend, denoise, clip.")
