"""The optimiser for orthogonal weights and the random affine maps of lesson 7."""

import math

import pytest
import torch
import torch.nn.functional as F

from chapter_utils import attacks, certificates, data, models, muon, operators, training
from helpers import seeded

# ---- Muon ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (3, 20, 30), (1, 9), (9, 1)])
@pytest.mark.parametrize("scale", [1e-35, 1e-15, 1.0, 1e15])
def test_all_directions_become_about_equally_long_and_stay_where_they_are(shape, scale):
    for seed in range(5):
        matrix = torch.randn(shape, generator=seeded(seed))
        found = muon.equal_directions(scale * matrix)
        assert found.shape == matrix.shape
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        between = left.mT @ found @ right.mT  # diagonal: the singular vectors are kept
        values = between.diagonal(dim1=-2, dim2=-1)
        assert (between - torch.diag_embed(values)).abs().max() < 1e-3
        assert values.max() < 1.3 and values.median() > 0.6
    assert torch.equal(muon.equal_directions(torch.zeros(shape)), torch.zeros(shape))
    assert muon.equal_directions(torch.zeros(0, 3)).shape == (0, 3)


def test_a_step_has_the_length_asked_for_whatever_the_size_of_the_gradient():
    for size in (1e-6, 1.0, 1e6):
        weight, bias = torch.nn.Parameter(torch.zeros(10, 40)), torch.nn.Parameter(torch.zeros(7))
        idle = torch.nn.Parameter(torch.ones(2))
        optimiser = muon.Muon([weight, bias, idle], lr=0.02)
        weight.grad, bias.grad = (
            size * torch.randn(10, 40, generator=seeded(0)),
            size * torch.ones(7),
        )
        optimiser.step()
        assert 0.6 * 0.02 < torch.linalg.matrix_norm(weight.detach(), 2) < 1.3 * 0.02
        assert torch.allclose(bias.detach(), torch.full((7,), -0.02 / math.sqrt(7)), rtol=1e-5)
        assert torch.equal(idle.detach(), torch.ones(2))  # no gradient, no step


def test_kernels_move_like_matrices_and_equal_shapes_do_not_mix():
    kernels = [torch.nn.Parameter(torch.zeros(8, 3, 3, 3)) for _ in range(2)]
    matrix = torch.nn.Parameter(torch.zeros(8, 27))
    gradients = torch.randn(2, 8, 3, 3, 3, generator=seeded(0))
    kernels[0].grad, kernels[1].grad, matrix.grad = (
        gradients[0],
        gradients[1],
        gradients[0].reshape(8, 27),
    )
    muon.Muon([*kernels, matrix]).step()
    assert torch.allclose(kernels[0].reshape(8, 27), matrix, atol=1e-6)
    alone = torch.nn.Parameter(torch.zeros(8, 3, 3, 3))
    alone.grad = gradients[1]
    muon.Muon([alone]).step()
    assert torch.allclose(kernels[1], alone, atol=1e-6) and not torch.allclose(
        kernels[0], alone, atol=1e-3
    )


def test_muon_goes_downhill():
    target = torch.randn(6, 9, generator=seeded(0))
    weight = torch.nn.Parameter(torch.zeros(6, 9))
    optimiser = muon.Muon([weight], lr=0.05)
    losses = []
    for _ in range(200):
        optimiser.zero_grad()
        loss = (weight - target).square().sum()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


def test_weights_stay_where_they_are_when_gradients_have_been_zero_for_long():
    """The average decays through numbers whose squares underflow."""
    for shape in ((4, 4), (4, 1), (5,)):
        weight = torch.nn.Parameter(torch.ones(shape))
        optimiser = muon.Muon([weight], lr=0.01)
        for step in range(1200):
            weight.grad = torch.full(shape, float(step < 5)) * torch.randn(
                shape, generator=seeded(step)
            )
            optimiser.step()
        assert weight.detach().abs().max() < 20  # at most 1,200 steps of length 0.01
        end = weight.detach().clone()
        optimiser.step()
        assert torch.equal(weight.detach(), end), "zero by now"


def test_muon_refuses_impossible_settings():
    weight = [torch.nn.Parameter(torch.zeros(2, 2))]
    with pytest.raises(ValueError, match="lr must be positive and finite, got -1"):
        muon.Muon(weight, lr=-1)


@pytest.mark.slow
def test_certificates_of_a_network_trained_so_hold_against_attacks_and_need_the_right_matrix():
    digits = data.load_images("mnist5k")
    x, y = digits.train_images[::10], digits.train_labels[::10]
    model = models.nonexpansive_net(width=16, depth=2)

    def loss(logits, labels):
        return training.margin_cross_entropy(logits, labels, 2.0, 0.25)

    training.fit(
        model,
        x,
        y,
        loss,
        8,
        50,
        0.05,
        operators.restore_orthonormal_rows,
        training.random_affine,
        optimiser=muon.Muon,
        progress=False,
    )
    radius = certificates.certify(model, x, y)
    assert (radius > 0.3).float().mean() > 0.5
    radii = [0.3, 0.8, 1.5, 2.5]
    standing = attacks.attacked_correct(model, x, y, radii, steps=10)
    for eps, row in zip(radii, standing, strict=True):
        assert not ((radius > eps) & ~row).any()
    with torch.no_grad():
        wrong = certificates.certified_radius(
            model(x), y, 1.0, model[-1].matrix.detach() / 5
        )  # not the rows in use
    assert ((wrong > radii[-1]) & ~standing[-1]).any()


# ---- random affine maps --------------------------------------------------------------------------


def test_affine_maps_of_size_zero_change_nothing_and_others_do():
    images = torch.rand(6, 2, 9, 12, generator=seeded(0))
    assert torch.allclose(training.random_affine(images, seeded(1), 0, 0, 0, 0), images, atol=1e-5)
    first, again, other = (training.random_affine(images, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == images.shape and first.min() >= 0 and first.max() <= 1 + 1e-6
    assert (first - images).abs().flatten(1).amax(1).min() > 0.01  # every image moved


@pytest.mark.parametrize("pixels", [1.0, 2.5])
def test_shifts_move_the_centre_of_mass_by_at_most_so_many_pixels(pixels):
    images = torch.zeros(200, 1, 15, 21)
    images[:, :, 5:10, 8:13] = 1.0
    moved = training.random_affine(images, seeded(0), 0, 0, 0, pixels)[:, 0]
    for axis, centre in ((1, 7.0), (2, 10.0)):
        place = torch.arange(moved.shape[axis], dtype=torch.float32)
        shift = (moved.sum(3 - axis) @ place) / moved.sum((1, 2)) - centre
        assert (
            0.9 * pixels < shift.abs().max() <= pixels + 1e-3 and abs(shift.mean()) < 0.2 * pixels
        )


def test_turning_keeps_a_disc_and_the_mass_up_to_the_stretch():
    y, x = torch.meshgrid(torch.arange(25.0) - 12, torch.arange(35.0) - 17, indexing="ij")
    disc = torch.sigmoid(3 * (7 - torch.hypot(x, y))).expand(50, 1, 25, 35)
    assert F.mse_loss(training.random_affine(disc, seeded(0), 45, 0, 0, 0), disc) < 1e-3
    mass = training.random_affine(disc, seeded(0), 0, 0.2, 0, 0).sum((1, 2, 3)) / disc[0].sum()
    assert 1 / 1.2**2 - 0.02 < mass.min() < 0.9 and 1.1 < mass.max() < 1 / 0.8**2 + 0.02


def test_a_one_cycle_schedule_moves_the_momentum_of_muon():
    """It is lowest where the learning rate is highest; the lessons' trainings rest on it."""
    optimiser = muon.Muon([torch.nn.Parameter(torch.zeros(2, 2))])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.03, total_steps=10)
    (group,) = optimiser.param_groups
    seen = [(group["lr"], group["momentum"])]
    for _ in range(9):
        optimiser.step()
        schedule.step()
        seen.append((group["lr"], group["momentum"]))
    assert max(seen) == (0.03, min(momentum for _, momentum in seen))
    assert seen[0][1] == 0.95 and max(seen)[1] == 0.85
