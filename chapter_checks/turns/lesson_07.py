"""Checks of the *your turn* cells of lesson 7: attack, certify, count."""

import math

import torch
from torch import Tensor

from chapter_utils import attacks, certificates

from ..engine import Attempt, exercise
from ..exercises.lesson_07 import lengths, minus_margin, slope_of, some_labels, tanh_network


@exercise("7.A", "One step uphill")
def one_step(attempt: Attempt) -> None:
    for shape, classes in (((6, 1, 4, 4), 4), ((5, 3, 2, 3), 5), ((1, 1, 3, 3), 3)):
        network = tanh_network(attempt, math.prod(shape[1:]), classes, 0.7)
        eps = attempt.uniform(0.3, 0.8)
        x = attempt.uniform(0.0, 1.0, *shape)
        x.flatten(1)[:, ::4] = 0.0
        x.flatten(1)[:, 1::4] = 1.0
        with torch.no_grad():
            labels = some_labels(attempt, network(x)) if len(x) > 1 else network(x).argmax(1)
        moved = attempt.tensor("one_step", network, x, labels, eps, shape=shape)
        right = attacks.fgsm(network, x, labels, eps, norm=2)
        if (moved - right).abs().max() <= 1e-9:
            continue
        g = slope_of(lambda z, F=network, y=labels: minus_margin(F, y, z), x)
        unit = g / lengths(g)
        mistakes = {
            "This goes downhill, where the margin loss falls: the network gets surer.": (
                (x - eps * unit).clamp(0, 1)
            ),
            "Some pixels leave [0, 1]: the result is no image any more.": x + eps * unit,
            "Bring the moved image back to [0, 1]. You clip the change.": (
                x + (eps * unit).clamp(0, 1)
            ),
            "This is the change alone. Where is the image it is added to?": eps * unit,
            "This is the change alone, clipped. Where is the image it is added to?": (
                (eps * unit).clamp(0, 1)
            ),
            "The step has length 1. It should have length eps.": (x + unit).clamp(0, 1),
            "This moves each pixel by eps. The whole change should have length eps.": (
                (x + eps * unit.sign()).clamp(0, 1)
            ),
            "The step is as long as the gradient happens to be. `uphill` has length 1.": (
                (x + eps * g).clamp(0, 1)
            ),
        }
        attempt.rule_out(moved, mistakes, rtol=0, atol=1e-9)
        attempt.require((moved >= 0).all() and (moved <= 1).all(), "Some pixels leave [0, 1].")
        attempt.fail("The images are not where a step of length eps along `uphill` leads.")


@exercise("7.B", "A radius from a margin")
def radius_from_margin(attempt: Attempt) -> None:
    for size, classes in ((1, 3), (9, 10), (6, 4)):
        logits = attempt.uniform(0.5, 3.0) * attempt.randn(size, classes)
        labels = some_labels(attempt, logits) if size > 1 else logits.argmax(1)
        L = attempt.uniform(1.6, 5.0)
        radius = attempt.tensor("certified_radius", logits, labels, L, shape=(size,))
        right = certificates.certified_radius(logits, labels, L)
        if (radius - right).abs().max() <= 1e-9 * right.max().clamp_min(1):
            continue
        lead = -attacks.margin_loss(logits, labels)
        good = lead > 0
        if (radius[good] - right[good]).abs().max() <= 1e-9 * right.max():
            attempt.fail("Where the prediction is wrong there is nothing to certify: return 0.")
        attempt.rule_out(radius[good], wrong_radii(logits, labels, lead, L, good), rtol=1e-6)
        attempt.fail("For an image that is read right, this is not the radius of Claim 7.1.")


def wrong_radii(logits: Tensor, labels: Tensor, lead: Tensor, L: float, good: Tensor) -> dict:
    plain = lead[good] / L
    soft = -attacks.margin_loss(logits.softmax(1), labels)[good] / (math.sqrt(2) * L)
    return {
        "The difference of two logits can change faster than each of them: by sqrt(2).": plain,
        "Safe, but too small: e_y - e_j has length sqrt(2), not 2.": plain / 2,
        "The sqrt(2) belongs below, beside L.": plain * math.sqrt(2),
        "L is missing: a steeper network has smaller radii.": plain * L / math.sqrt(2),
        "A steeper network has *smaller* radii: divide by L.": plain * L * L / math.sqrt(2),
        "The sign is the wrong way round. The margin is *minus* the margin loss.": (
            -plain / math.sqrt(2)
        ),
        "The margin loss of a right prediction is negative: take its sign away first.": (
            torch.zeros_like(plain)
        ),
        "L bounds the logits, not their softmax.": soft,
    }


@exercise("7.C", "How many are certified?")
def how_many_are_certified(attempt: Attempt) -> None:
    for size, misread in ((7, 2), (11, 0), (30, 7)):
        radius = attempt.uniform(0.2, 2.0, size)
        radius[:misread] = 0.0
        radius = radius[torch.randperm(size, generator=attempt.generator)]
        spread = radius.sort().values
        in_between = (spread[misread + 1] + spread[misread + 2]).item() / 2
        for eps in (in_between, spread[misread + 2].item(), 0.0):
            share = attempt.number("certified_fraction", radius, eps)
            right = (radius > eps).double().mean().item()
            if abs(share - right) <= 1e-6:
                continue
            positive = radius > 0
            mistakes = {
                "Divide by the number of *all* images: those that are misread count, too.": (
                    (radius[positive] > eps).double().mean()
                ),
                "This is the number of images, not their fraction.": right * size,
                "This is in percent. A fraction lies between 0 and 1.": 100 * right,
                "This is the fraction that is *not* certified.": 1 - right,
                "This is the mean radius. How many radii are larger than eps?": radius.mean(),
                "The radius of some image is exactly eps. A change of that length may succeed.": (
                    (radius >= eps).double().mean()
                ),
            }
            attempt.rule_out(share, mistakes, rtol=0, atol=1e-6)
            attempt.fail("How many of the radii are larger than eps, out of all?")


@exercise("7.D", "A margin for photographs")
def margin_for_photographs(attempt: Attempt) -> None:
    value = attempt.number("margin_for_photographs")
    radius = 36 / 255
    margin = math.sqrt(2) * radius
    if abs(value - margin) <= 1e-3 * margin:
        return
    mistakes = {
        "This is the radius. The lead of one class over another falls faster": radius,
        "This margin certifies half of that radius: sqrt(2) stands on the other side": (
            radius / math.sqrt(2)
        ),
        "The pixels lie in [0, 1], so the radius is 36/255, not 36": math.sqrt(2) * 36,
        "This is twice the radius. It is enough, but more than is needed": 2 * radius,
        "With 3072 numbers or one, the Euclidean radius is 36/255 as it is": (
            margin * math.sqrt(3072)
        ),
    }
    attempt.rule_out(value, mistakes, "{}.", rtol=2e-2)
    attempt.fail("Solve radius = margin / (sqrt(2) L) for the margin.")
