"""The live figure of lesson 5 that goes from the step of a flow to a certificate."""

import math
import re

import pytest
import torch

from chapter_utils import data, norms, training
from helpers import seeded

pytestmark = pytest.mark.slow  # the lesson runs to its last live figure


@pytest.mark.parametrize("c, one", [(0.25, 1.0), (1.0, 1.0), (2.0, 1.0), (2.25, 1.25), (3.0, 2.0)])
def test_no_disc_holds_a_point_of_the_other_class(names, c, one):
    live = names["live_path"]
    classifiers = names["classifiers"]
    sentence = live.update(c=c)
    assert f"distances {one:.2f} times, four {one**4:.2f} times" in sentence
    number = round(4 * c) - 1
    assert classifiers.c[number].item() == c

    def network(x):
        return classifiers(x)[number].detach()

    turn = torch.linspace(0, 2 * math.pi, 61)[:, None]
    circle = torch.cat([turn.cos(), turn.sin()], 1)
    discs = live.figure.axes[2].patches
    assert len(discs) == 34
    for disc in discs:
        centre = torch.tensor([disc.center])
        inside = centre + 0.999 * disc.radius * circle
        assert (network(inside).argmax(1) == network(centre).argmax(1)).all()
    points = names["test_points"]
    slope = norms.jacobian_norms(lambda x: classifiers(x)[number], points).max().item()
    assert slope <= one**4 + 1e-9
    right = (network(points).argmax(1) == names["test_labels"]).sum().item()
    assert f"reads {right} of {len(points)} points" in sentence


def test_the_path_is_that_of_eight_steps_and_grows_beyond_the_limit(names):
    live = names["live_path"]
    path = live.figure.axes[0].lines[1]
    ends = {}
    for c in (0.25, 1.0, 1.75, 2.25, 3.0):
        sentence = live.update(c=c)
        states = torch.as_tensor(path.get_xydata())
        assert len(states) == 9
        ends[c] = states.norm(dim=1)
        told = float(re.search(r"to ([\d.]+) from the lowest", sentence)[1])
        assert told == pytest.approx(ends[c][-1].item(), abs=0.005)
        assert ends[c][0].item() == pytest.approx(2.55, abs=0.005)
    # along the two axes of the valley: 1 - c and 1 - 0.16 c, eight times
    for c, end in ends.items():
        steep, flat = (1 - c) ** 8 * 1.9, (1 - 0.16 * c) ** 8 * 1.7
        assert end[-1].item() == pytest.approx(math.hypot(steep, flat), rel=1e-6)
    assert all((end[-1] < end[0]) == (c < 2) for c, end in ends.items())


@pytest.mark.parametrize("seed", range(3))
def test_what_the_lesson_says_about_training_holds_for_other_seeds(names, seed):
    """Up to c = 2 about the same radius; beyond it far less, at the same accuracy."""
    points, labels = data.two_moons(400, noise=0.08, seed=seed + 1)
    classifiers = names["StepClassifiers"](torch.tensor([0.25, 1.0, 2.0, 3.0]))
    with torch.no_grad():
        start = torch.randn(5, 1, 8, 8, generator=seeded(seed + 1))
        classifiers.S.copy_(0.5 * start.expand_as(classifiers.S))
    optimiser = torch.optim.Adam(classifiers.parameters(), lr=0.02)
    for _ in range(200):
        logits = classifiers(points[:300])
        value = sum(training.hinge_loss(part, labels[:300], 0.5) for part in logits)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    with torch.no_grad():
        logits = classifiers(points[300:])
    margin = (logits[..., 1] - logits[..., 0]) * (2 * labels[300:] - 1)
    accuracy = (margin > 0).double().mean(1)
    radius = classifiers.radius(margin).mean(1)
    assert accuracy[0] < accuracy[2:].min() and accuracy[2:].min() >= 0.98
    assert radius[:3].min() > 0.3 and radius[:3].max() < 0.55
    assert radius[3] < radius[2] / 4
