"""The live figures of lesson 8 on both sides of their thresholds, and at them."""

import math
import re

import pytest
import torch

from chapter_utils import certificates, norms
from lesson import artists

pytestmark = pytest.mark.slow  # the lesson runs to its last live figure


def artist(live, name):
    (found,) = artists(live, name)
    return found


@pytest.mark.parametrize("steps", [0, 1, 20, 40])
def test_areas(names, steps):
    sentence = names["live_areas"].update(steps=steps)
    angle = torch.linspace(0, 2 * torch.pi, 401, dtype=torch.float64)
    # area of the image of a disc = integral of the determinant: its mean over the disc, by rings
    # of equal area
    factor = 0.0
    for ring in (torch.arange(40, dtype=torch.float64) + 0.5) / 40:
        q = 0.7 * ring.sqrt() * angle[:-1].cos()
        p = 0.9 + 0.7 * ring.sqrt() * angle[:-1].sin()
        determinant = torch.ones_like(q)
        for _ in range(steps):
            determinant = determinant * (1 + 0.04 * q.cos())
            q, p = q + 0.2 * p, p - 0.2 * q.sin()
        factor += determinant.mean().item() / 40
    euler, symplectic = (float(number) for number in re.findall(r"([\d.]+) times", sentence))
    assert euler == pytest.approx(factor, abs=0.01) and symplectic == 1
    assert (euler > 1) == (steps > 0) and f"After {steps} steps" in sentence
    assert "travels clockwise" in sentence
    for name, path in names["area_paths"].items():
        corners = torch.as_tensor(artist(names["live_areas"], name).get_xy()[:401])
        assert torch.allclose(corners, path[steps])
        assert corners[:, 0].abs().max() < 4 and corners[:, 1].abs().max() < 2.4  # inside the axes


@pytest.mark.parametrize("tau", [0.1, 1.0, 1.9, 2.0, 2.1, 3.0])
def test_plug_and_play(names, tau):
    sentence = names["live_plug"].update(tau=tau)
    y = names["puzzle"][:1]
    for name, denoiser in names["denoisers"].items():
        x = y
        with torch.no_grad():
            for k in range(50):
                x, old = (denoiser(x - tau * names["mask"] * (x - y))).clamp(0, 1), x
                shown = artist(names["live_plug"], name).get_ydata()[k]
                assert shown == pytest.approx(
                    max((x - old).norm().item(), 1e-8), rel=1e-2, abs=1e-4
                )
    inside = tau < 2
    assert ("convergence is guaranteed" in sentence) == inside and (
        "nothing is guaranteed" in sentence
    ) != inside
    bound = artist(names["live_plug"], "bound").get_ydata()
    assert len(bound) == (200 if inside else 0)
    curve = torch.as_tensor(artist(names["live_plug"], "averaged").get_ydata())
    if inside:
        total = 5 + tau / (
            2 - tau
        )  # alpha / (1 - alpha) of clipping, four layers and the gradient step, added up
        assert f"alpha = {total / (1 + total):.4f}." in sentence
        expected = torch.tensor([math.sqrt(400 * total / k) for k in range(1, 201)])
        assert torch.allclose(torch.as_tensor(bound).float(), expected.float(), rtol=1e-5)
        assert (curve <= expected).all() and curve[-1] < 1e-3
        assert f"its picture moves by {curve[-1].item():.1e} " in sentence
    if tau == 3.0:
        assert curve[-1] > 0.05


def test_the_averaged_denoiser_is_certified(names):
    bound = certificates.lipschitz_bound(names["denoisers"]["averaged"], (1, 20, 20))
    measured = norms.jacobian_norms(names["denoisers"]["averaged"], names["pictures"]).max().item()
    assert measured <= bound <= 1 + 1e-6
