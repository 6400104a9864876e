"""Lesson 7: every claim, an attempt to refute it, and what happens without its hypothesis."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from chapter_utils import (
    attacks,
    certificates,
    data,
    models,
    muon,
    norms,
    operators,
    plain_layers,
    training,
)
from helpers import seeded
from lesson import artists

SEEDS = range(5)


def linear_network(seed, dimension=6, classes=4):
    """F(x) = W x: its Lipschitz constant and the distance to every other class are known."""
    generator = seeded(seed)
    W = torch.randn(classes, dimension, generator=generator, dtype=torch.float64)
    x = torch.randn(200, dimension, generator=generator, dtype=torch.float64)
    logits = x @ W.T
    return W, logits, logits.argmax(1)


def exact_distance(W, logits, y):
    gaps = logits.gather(1, y[:, None]) - logits
    distance = gaps / (W[y][:, None] - W).norm(dim=2)
    return distance.scatter(1, y[:, None], math.inf).min(1).values


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_7_1_certificate(seed):
    W, logits, y = linear_network(seed)
    L = torch.linalg.matrix_norm(W, 2).item()
    truth = exact_distance(W, logits, y)
    assert (certificates.certified_radius(logits, y, L) <= truth * (1 + 1e-12)).all()
    assert (
        certificates.certified_radius(logits, y, 0.5 * torch.linalg.svdvals(W)[-1].item()) > truth
    ).any()  # L too small


def test_claim_7_1_is_sharp_for_orthonormal_rows():
    W = torch.linalg.qr(torch.randn(6, 4, generator=seeded(0), dtype=torch.float64)).Q.T
    logits = torch.randn(50, 6, generator=seeded(1), dtype=torch.float64) @ W.T
    y = logits.argmax(1)
    assert torch.allclose(
        certificates.certified_radius(logits, y, 1.0), exact_distance(W, logits, y)
    )


@pytest.mark.parametrize("L", [0.5, 1.0, 4.0])
def test_claim_7_1_beyond_the_radius_the_prediction_changes(L):
    """For orthonormal rows, in the direction of the class that is second."""
    W = L * torch.linalg.qr(torch.randn(6, 4, generator=seeded(0), dtype=torch.float64)).Q.T
    x = torch.randn(50, 6, generator=seeded(1), dtype=torch.float64)
    logits = x @ W.T
    y, second = logits.topk(2).indices.T
    radius = certificates.certified_radius(logits, y, L)
    push = torch.nn.functional.normalize(W[second] - W[y]) * radius[:, None]
    for share, kept in ((0.99, True), (1.01, False)):
        moved = (x + share * push) @ W.T
        assert ((moved.argmax(1) == y) == kept).all()
    assert not certificates.certified_radius(logits, second, L).any()  # a negative margin: nothing


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_7_2_certificate_for_each_pair_of_classes(seed):
    P, logits, y = linear_network(seed)
    pairwise = certificates.certified_radius(logits, y, 1.0, P)
    assert torch.allclose(
        pairwise, exact_distance(P, logits, y)
    )  # exact if the features are the input itself
    plain = certificates.certified_radius(logits, y, torch.linalg.matrix_norm(P, 2).item())
    assert (pairwise >= plain * (1 - 1e-12)).all()
    assert (
        certificates.certified_radius(logits, y, 1.0) > pairwise
    ).any()  # forgetting |P| would promise too much
    Q = torch.linalg.qr(P.T).Q.T  # orthonormal rows: nothing is gained
    assert torch.allclose(
        certificates.certified_radius(logits, y, 1.0, Q),
        certificates.certified_radius(logits, y, 1.0),
    )
    behind = certificates.certified_radius(logits, (y + 1) % 4, 1.0, P)
    assert not behind.any()  # another class is ahead


@pytest.mark.parametrize("own, rival, gain", [(0, 1, 4.123), (0, 2, 1.617), (1, 2, 2.608)])
def test_claim_7_2_numbers_of_the_lesson(own, rival, gain):
    P = torch.tensor([[1.0, 0.0], [0.6, 0.0], [0.0, 0.2]], dtype=torch.float64)
    logits = torch.full((1, 3), -99.0, dtype=torch.float64)  # the third class is out of reach
    logits[0, own] = 1.0
    logits[0, rival] = 0.0
    y = torch.tensor([own])
    pairwise = certificates.certified_radius(logits, y, 1.0, P)
    plain = certificates.certified_radius(logits, y, torch.linalg.matrix_norm(P, 2).item())
    assert (pairwise / plain).item() == pytest.approx(gain, abs=5e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_claim_7_3_the_sandwich_is_tight_for_a_linear_network(seed):
    """Where the certificate is exact, PGD fools all but two of 200 within 5 % more."""
    W = torch.linalg.qr(torch.randn(64, 4, generator=seeded(seed), dtype=torch.float64)).Q.T
    x = 0.3 + 0.4 * torch.rand(200, 64, generator=seeded(seed + 9), dtype=torch.float64)

    def network(z):
        return (z - 0.5) @ W.T

    logits = network(x)
    y = logits.argmax(1)
    y[::10] = (y[::10] + 1) % 4  # some are misread from the start
    radius = certificates.certified_radius(logits, y, 1.0)
    radii = [0.0, 0.02, 0.05, 0.1, 0.2]
    survives = attacks.attacked_correct(network, x, y, radii)
    for eps, standing in zip(radii, survives, strict=True):
        assert not ((radius > eps) & ~standing).any()
        assert (standing & (1.05 * radius < eps)).sum() <= 2
        assert not (standing & ~survives[0]).any()
    assert (survives.sum(1).diff() < 0).all()
    # a bound that is 20 % too small promises what PGD refutes
    claimed = certificates.certified_radius(logits, y, 0.8)
    broken = [(claimed > eps) & ~survives[k] for k, eps in enumerate(radii)]
    assert torch.stack(broken).any()


def test_claim_7_3_an_attack_that_leaves_out_the_image_may_call_an_error_robust():
    """Wrong in a tiny ball around the image only: every other point is classified rightly."""
    image = torch.full((1, 8), 0.5, dtype=torch.float64)
    y = torch.zeros(1, dtype=torch.int64)

    def network(z):
        distance = (z - image).norm(dim=1)
        return torch.stack([distance, torch.full_like(distance, 1e-4)], 1)

    seen = []

    def watched(z):
        seen.append(network(z).detach())
        return network(z)

    survives = attacks.attacked_correct(watched, image, y, [0.1], steps=20, restarts=3)
    first, *others = seen[:-1]  # the image itself, and what PGD visited; then the result again
    assert attacks.margin_loss(first, y) > 0 and not survives.any()
    assert len(others) == 3 * 21 and all(attacks.margin_loss(z, y) < 0 for z in others)


@pytest.fixture(scope="module")
def digits():
    return data.load_images()


def network_of_the_lesson(names):
    names["live_attack"]  # stands below the training
    return copy.deepcopy(names["contestants"]["non-expansive"]).cpu()


def train_nonexpansive(digits, seed):
    """As in the lesson, with another seed."""
    model = models.nonexpansive_net(seed=seed)
    loss = partial(training.margin_cross_entropy, margin=2.5, temperature=0.2)
    training.fit(
        model,
        digits.train_images,
        digits.train_labels,
        loss,
        40,
        256,
        0.03,
        operators.restore_orthonormal_rows,
        training.random_affine,
        optimiser=muon.Muon,
        seed=seed,
        progress=False,
    )
    return model


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_claim_7_3_sandwich_and_the_quality_the_lesson_promises(names, digits, seed):
    model = train_nonexpansive(digits, seed) if seed else network_of_the_lesson(names)
    x, y = digits.test_images, digits.test_labels
    radius = certificates.certify(model, x, y)
    bound = certificates.lipschitz_bound(model.double(), (1, 28, 28))
    assert bound <= 1 + 1e-6
    for eps, least in ((0.0, 0.96), (0.5, 0.91), (1.0, 0.8), (1.58, 0.58)):
        assert (radius > eps).double().mean() >= least
    assert norms.jacobian_norms(model, x[:200].double()).max().item() <= bound + 1e-9
    radii = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0]
    survives = attacks.attacked_correct(model.float(), x, y, radii, steps=40)
    for k, eps in enumerate(radii):
        assert not (
            (radius > eps + 1e-5) & ~survives[k]
        ).any()  # certified implies that PGD fails, for each image
        assert not (survives[k] & ~survives[0]).any()  # which implies that the clean image is right


@pytest.mark.slow
def test_claim_7_3_an_invalid_bound_breaks_the_sandwich(digits):
    """With an L that is too small, PGD finds "certified" images that are not robust."""
    model = models.resnet(width=32, depth=1)
    training.fit(
        model,
        digits.train_images[:1000],
        digits.train_labels[:1000],
        nn.functional.cross_entropy,
        3,
        progress=False,
    )
    x, y = digits.test_images[:200], digits.test_labels[:200]
    with torch.no_grad():
        claimed = certificates.certified_radius(model(x), y, 1.0)
    survives = attacks.attacked_correct(model, x, y, [0.0, 1.0])
    assert ((claimed > 1.0) & ~survives[1]).any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_claim_7_4_scaling(seed, scale):
    W, logits, y = linear_network(seed)
    L = torch.linalg.matrix_norm(W, 2).item()
    scaled = certificates.certified_radius(
        scale * logits, y, torch.linalg.matrix_norm(scale * W, 2).item()
    )
    assert torch.allclose(scaled, certificates.certified_radius(logits, y, L))
    assert torch.allclose(
        certificates.certified_radius(scale * logits, y, 1.0, scale * W),
        certificates.certified_radius(logits, y, 1.0, W),
    )
    # only the logits multiplied, and not the constant: the radius would grow
    forgotten = certificates.certified_radius(scale * logits, y, L)
    assert torch.allclose(forgotten, scale * certificates.certified_radius(logits, y, L))
    assert not certificates.certified_radius(-logits, y, L).any()  # s < 0: another class


def test_claim_7_4_large_logits_mask_the_gradient_of_cross_entropy_only():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    x = torch.rand(100, 1, 8, 8)
    with torch.no_grad():
        network[-1].bias.sub_(network(x).mean(0))
        y = network(x).argmax(1)

    def survivors(factor, loss):
        def model(z):
            return factor * network(z)

        with torch.no_grad():
            return (
                (model(attacks.pgd(model, x, y, 0.5, loss=loss)).argmax(1) == y)
                .float()
                .mean()
                .item()
            )

    assert survivors(10_000, "cross_entropy") > survivors(1, "cross_entropy") + 0.2
    assert abs(survivors(10_000, "margin") - survivors(1, "margin")) <= 0.02


def travelled(network, steps, step_size, **options):
    """How far PGD gets from its random start (its first place but one), for each image."""
    x, y = torch.full((50, 1, 20, 20), 0.5), torch.zeros(50, dtype=torch.int64)
    visited = []

    def spy(z):
        visited.append(z.detach())
        return network(z)

    attacks.pgd(spy, x, y, eps=1.0, steps=steps, step_size=step_size, **options)
    start, *others = visited[1:]  # the first is the clean image
    assert len(others) == steps
    return torch.stack([(z - start).flatten(1).norm(dim=1) for z in others])


@pytest.mark.parametrize("steps, step_size", [(1, 0.05), (10, 0.025), (7, 0.01)])
@pytest.mark.parametrize("bend", [nn.Tanh, nn.Identity])
def test_claim_7_5_travel(steps, step_size, bend):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(400, 8), bend(), nn.Linear(8, 2)).eval()
    distances = travelled(network, steps, step_size)
    allowed = step_size * torch.arange(1, steps + 1)[:, None]
    assert (distances <= allowed + 1e-6).all()
    if bend is nn.Identity:  # attained: without a bend all steps go the same way
        assert distances[-1].max() > 0.97 * steps * step_size
    # steps that are long in another norm: each pixel moves by the length, and there are 400
    farther = travelled(network, steps, step_size, norm=math.inf)
    assert farther[-1].max() > 1.2 * steps * step_size


def test_claim_7_5_needs_a_convex_set():
    """Whole grey levels are no convex set: the nearest one may be farther than the step."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).double()
    model[1].weight.data[0] = 0.0
    model[1].weight.data[1] = 1.0  # uphill every pixel becomes brighter, all by the same
    x, y = torch.full((1, 1, 4, 4), 100 / 255, dtype=torch.float64), torch.tensor([0])
    steps, step_size = 5, 2.4 / 255  # 0.6 levels a pixel and step

    def end(project):
        z = x
        for _ in range(steps):
            z.requires_grad_()
            (gradient,) = torch.autograd.grad(attacks.margin_loss(model(z), y).sum(), z)
            z = project(z + step_size * gradient / gradient.norm()).detach()
        return z

    def whole_levels(z):
        return (255 * z).round() / 255

    assert (end(lambda z: z.clamp(0, 1)) - x).norm().item() == pytest.approx(steps * step_size)
    assert (end(whole_levels) - x).norm() > 1.6 * steps * step_size


def test_numbers_of_the_normalisation_section():
    normalisation = plain_layers.Normalization([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
    assert 0.15 / math.sqrt(2) / certificates.lipschitz_bound(
        normalisation, (3, 32, 32)
    ) == pytest.approx(0.0211, rel=0.01)
    eps, d = 0.01, 784
    assert torch.full((d,), eps).norm().item() == pytest.approx(eps * math.sqrt(d), rel=1e-5)


@pytest.mark.slow
def test_widget_of_the_attack(names):
    draw = names["live_attack"].update
    bars = artists(names["live_attack"], "non-expansive")
    model, x = copy.deepcopy(names["contestants"]["non-expansive"]), names["examples"]
    radius = certificates.certify(model, x, torch.arange(10, device=x.device))
    for digit in range(10):
        for eps in (0.0, 0.99 * radius[digit].item(), 6.0):
            sentence = draw(digit=digit, eps=eps)
            lead = [bar.get_height() for bar in bars]
            misread = max(lead) > 0
            assert lead[digit] == 0 and (f"non-expansive: {digit} (" not in sentence) is misread
            assert misread is (
                eps == 6.0
            )  # never within the certified radius; always when a sixth of the image may change
            assert f"(certified to {radius[digit]:.2f})." in sentence


def test_the_network_written_out_is_that_of_the_library(names):
    with models.seeded(0):
        ours = names["nonexpansive_net"]()
    library = models.nonexpansive_net(seed=0)
    ours_weights, weights = ours.state_dict(), library.state_dict()
    assert str(ours) == str(library) and ours_weights.keys() == weights.keys()
    for name in weights:
        assert torch.equal(ours_weights[name], weights[name])


@pytest.mark.slow
def test_own_pictures_are_certified_and_their_balls_do_not_overlap(names):
    radius, pictures = names["radius_own"], names["pictures"]
    labels = pictures.test_labels
    flat = pictures.test_images.flatten(1).double()
    distance = torch.cdist(flat, flat)
    different = labels[:, None] != labels
    right = radius > 0
    pairs = different & right[:, None] & right
    reach = radius[:, None] + radius
    assert (reach <= distance)[pairs].all()  # a point in two balls would be read as two classes
    assert (20 * reach > distance)[pairs].any()  # so no network certifies twenty times as much


@pytest.mark.slow
def test_restoring_rows_leaves_kernels_alone_and_moves_the_last_layer(names):
    net = copy.deepcopy(names["net"])
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(1.1)
    before = copy.deepcopy(net.state_dict())
    operators.restore_orthonormal_rows(net)
    after = net.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"7.operator.weight"}
    assert certificates.lipschitz_bound(net, (3, 32, 32)) <= 1 + 1e-6  # as tau follows the kernels


def test_the_margin_for_photographs():
    margin = math.sqrt(2) * 36 / 255
    logits = torch.tensor([[margin, 0.0, -1.0]], dtype=torch.float64)
    radius = certificates.certified_radius(logits, torch.tensor([0]), 1.0).item()
    assert radius == pytest.approx(36 / 255, rel=1e-9)
