"""Attacks against an independent library, certificates against attacks and geometry."""

import math
import warnings

import pytest
import torch
from soundness import nonexpansive_cnn
from torch import nn

from chapter_utils import attacks, certificates, models
from helpers import seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import foolbox


def small_problem(seed, samples=64):
    """A random convolutional network on 8 x 8 images, its classes balanced.

    It labels the images itself: its clean accuracy is 1.
    """
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 32),
        nn.ReLU(),
        nn.Linear(32, 4),
    ).eval()
    with torch.no_grad():
        x = torch.rand(samples, 1, 8, 8, generator=seeded(seed))
        network[-1].bias.sub_(network(x).mean(0))
        return network, x, network(x).argmax(1)


# ---- attacks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [2, math.inf])
@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
@pytest.mark.parametrize("eps", [0.0, 0.05, 1.0, 30.0])
@pytest.mark.filterwarnings("ignore:pixels lie in")
def test_attacks_stay_in_the_ball_and_in_the_box(norm, loss, eps):
    network, x, y = small_problem(0)
    for attacked in (
        attacks.pgd(network, x, y, eps, norm, steps=5, restarts=2, loss=loss),
        attacks.fgsm(network, x, y, eps, norm, loss),
    ):
        assert attacked.shape == x.shape and attacked.dtype == x.dtype
        assert attacked.min() >= 0 and attacked.max() <= 1
        assert torch.linalg.vector_norm((attacked - x).flatten(1), norm, dim=1).max() <= eps * (
            1 + 1e-5
        )


@pytest.mark.parametrize("norm, eps", [(2, 0.15), (2, 0.4), (math.inf, 0.01), (math.inf, 0.04)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pgd_is_at_least_as_strong_as_foolbox_at_equal_budget(norm, eps, seed):
    network, x, y = small_problem(seed, samples=200)
    attack = {2: foolbox.attacks.L2PGD, math.inf: foolbox.attacks.LinfPGD}[norm](
        steps=20, rel_stepsize=2.5 / 20
    )
    torch.manual_seed(seed)
    *_, fooled = attack(
        foolbox.PyTorchModel(network, bounds=(0, 1), device=x.device), x, y, epsilons=eps
    )
    ours = attacks.pgd(network, x, y, eps, norm, steps=20, seed=seed)
    with torch.no_grad():
        success = (network(ours).argmax(1) != y).float().mean().item()
    assert (
        success >= fooled.float().mean().item() - 0.01
    )  # one sample in a hundred may differ by the random start
    assert 0.02 < success < 1  # the comparison means something


def test_pgd_beats_fgsm_and_keeps_the_best_point_seen():
    network, x, y = small_problem(3, samples=200)
    correct = []
    for attacked in (
        x,
        attacks.fgsm(network, x, y, 0.3, norm=2),
        attacks.pgd(network, x, y, 0.3, steps=20),
        attacks.pgd(network, x, y, 0.3, steps=20, restarts=4),
    ):
        with torch.no_grad():
            correct.append((attacks.margin_loss(network(attacked), y) < 0).float().mean().item())
    assert correct[0] == 1 and correct[1] > correct[2] >= correct[3]


def test_pgd_never_returns_a_point_with_less_loss_than_the_clean_image():
    network, x, y = small_problem(1)
    attacked = attacks.pgd(network, x, y, 0.01, steps=3, step_size=5.0)
    with torch.no_grad():
        assert (
            attacks.margin_loss(network(attacked), y) >= attacks.margin_loss(network(x), y)
        ).all()


def test_fgsm_is_the_best_attack_on_a_linear_network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    x = 0.4 + 0.2 * torch.rand(20, 1, 4, 4)
    y = network(x).argmax(1)
    weight = network[1].weight.detach()
    gap = weight[1] - weight[0]
    with torch.no_grad():
        before = attacks.margin_loss(network(x), y)
        for norm, dual in ((2, 2), (math.inf, 1)):
            after = attacks.margin_loss(network(attacks.fgsm(network, x, y, 0.05, norm)), y)
            assert torch.allclose(
                after - before,
                torch.full_like(after, 0.05) * torch.linalg.vector_norm(gap, dual),
                atol=1e-5,
            )


def test_attacks_are_deterministic_and_leave_the_random_state_and_the_images_alone():
    network, x, y = small_problem(0)
    kept, state = x.clone(), torch.random.get_rng_state()
    first = attacks.pgd(network, x, y, 0.3, steps=3, seed=5)
    assert torch.equal(first, attacks.pgd(network, x, y, 0.3, steps=3, seed=5))
    assert not torch.equal(first, attacks.pgd(network, x, y, 0.3, steps=3, seed=6))
    assert torch.equal(x, kept) and torch.equal(state, torch.random.get_rng_state())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("factor", [200.0, 1e18, 1e-30])
@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_tiny_and_huge_gradients_neither_leave_the_ball_nor_stop_the_attack(factor, loss):
    network, x, y = small_problem(0, samples=100)

    def scaled(z):
        return factor * network(z)

    for attacked in (
        attacks.fgsm(scaled, x, y, 0.5, 2, loss),
        attacks.pgd(scaled, x, y, 0.5, steps=10, loss=loss),
    ):
        assert (attacked - x).flatten(1).norm(dim=1).max() <= 0.5 * (1 + 1e-5)
    if loss == "margin" and factor > 1:
        plain = attacks.pgd(network, x, y, 0.5, steps=10)
        with torch.no_grad():
            survivors = [(network(z).argmax(1) == y).float().mean() for z in (attacked, plain)]
        assert abs(survivors[0] - survivors[1]) <= 0.03


def test_the_last_point_counts():
    """One step from a random start: only the point after it can be the result of that step."""
    network, x, y = small_problem(0, samples=100)
    with torch.no_grad():
        random_only = attacks.margin_loss(
            network(attacks.pgd(network, x, y, 1.0, steps=1, step_size=1e-9)), y
        )
        stepped = attacks.margin_loss(
            network(attacks.pgd(network, x, y, 1.0, steps=1, step_size=0.5)), y
        )
    assert stepped.mean() > random_only.mean() + 0.01


def test_curve_is_monotone_and_equals_attacking_every_radius_alone():
    network, x, y = small_problem(2, samples=100)
    radii = [0.0, 0.1, 0.3, 0.6]
    correct = attacks.attacked_correct(network, x, y, radii, steps=10)
    assert correct.shape == (4, 100) and correct[0].all()
    assert not (correct[1:] & ~correct[:-1]).any()
    for eps, row in zip(radii[1:], correct[1:], strict=True):
        with torch.no_grad():
            alone = attacks.margin_loss(network(attacks.pgd(network, x, y, eps, steps=10)), y) < 0
        assert abs(alone.float().mean() - row.float().mean()) <= 0.03


# ---- certificates --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [models.nonexpansive_net, nonexpansive_cnn, models.resnet, models.spectral_resnet],
)
def test_no_certificate_is_broken_by_our_attack_or_foolbox(build):
    for seed in range(3):
        size = {} if build is nonexpansive_cnn else {"width": 48}
        network = build(image_shape=(1, 8, 8), classes=4, seed=seed, **size).eval()
        x = torch.rand(50, 1, 8, 8, generator=seeded(seed))
        with torch.no_grad():
            logits = network(x)
        y = logits.argmax(1)
        radius = certificates.certified_radius(
            logits, y, certificates.lipschitz_bound(network, (1, 8, 8))
        )
        assert (radius > 0).all()
        attacked = [
            attacks.pgd(
                network, x[i : i + 1], y[i : i + 1], 0.999 * radius[i].item(), steps=50, restarts=2
            )
            for i in range(20)
        ]
        with torch.no_grad():
            assert (network(torch.cat(attacked)).argmax(1) == y[:20]).all()
        boundary = foolbox.attacks.DDNAttack(steps=60)  # looks for the nearest misclassified point
        _, found, success = boundary(
            foolbox.PyTorchModel(network, bounds=(0, 1), device=x.device), x, y, epsilons=None
        )
        distance = (found - x).flatten(1).norm(dim=1)
        assert success.float().mean() > 0.9
        assert (distance[success] >= radius[success] * (1 - 1e-4)).all()


def test_wrong_predictions_have_radius_zero():
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [1.0, 1.0, 0.0]])
    radius = certificates.certified_radius(logits, torch.tensor([1, 0, 0]), 2.0)
    assert torch.allclose(radius, torch.tensor([1 / (2 * math.sqrt(2)), 0, 0]))


def test_logits_that_are_nan_certify_nothing():
    logits = torch.tensor([[math.nan, 0.0], [5.0, math.nan], [math.inf, 0.0], [1.0, -math.inf]])
    assert torch.equal(
        certificates.certified_radius(logits, torch.tensor([1, 0, 0, 0]), 1.0), torch.zeros(4)
    )


def test_equal_rows_with_a_lead_are_no_rivals_at_any_distance():
    P = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    radius = certificates.certified_radius(
        torch.tensor([[2.0, 1.0, 0.5]]), torch.tensor([0]), 1.0, P
    )
    assert radius.item() == pytest.approx(1.5 / math.sqrt(2), rel=1e-5)
    assert (
        certificates.certified_radius(
            torch.tensor([[2.0, 2.0, 0.5]]), torch.tensor([0]), 1.0, P
        ).item()
        == 0
    )


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"eps": -1}, "eps"),
        ({"eps": math.nan}, "eps"),
        ({"eps": 1, "norm": 1}, "norm must be one of 2, inf"),
        ({"eps": 1, "loss": "hinge"}, "margin, cross_entropy"),
        ({"eps": 1, "steps": 0}, "steps and restarts"),
        ({"eps": 1, "restarts": 0}, "steps and restarts"),
        ({"eps": 1, "step_size": 0}, "step_size"),
        ({"eps": 1, "step_size": math.nan}, "step_size"),
    ],
)
def test_clear_sentences(options, message):
    network, x, y = small_problem(0)
    with pytest.raises(ValueError, match=message):
        attacks.pgd(network, x, y, **options)


def test_images_and_labels_must_fit():
    network, x, y = small_problem(0)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        attacks.pgd(network, 2 * x, y, 0.1)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        attacks.fgsm(network, x * math.nan, y, 0.1)
    with pytest.raises(ValueError, match="at least one"):
        attacks.pgd(network, x[:0], y[:0], 0.1)
    with pytest.raises(ValueError, match="as many labels"):
        attacks.pgd(network, x, y[:3], 0.1)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        attacks.pgd(network, x - 0.5, y, 0.1)
    for bad in (
        (x[:0], y[:0], [0.0]),
        (x, torch.cat([y, y]), [0.0]),
        (x, y, [math.nan]),
        (x, y, [-1.0]),
        (2 * x, y, [0.0]),
    ):
        with pytest.raises(ValueError):
            attacks.attacked_correct(network, *bad)
    with pytest.raises(ValueError, match="increasing"):
        attacks.attacked_correct(network, x, y, [0.2, 0.1])
    with pytest.raises(ValueError, match="lipschitz"):
        certificates.certified_radius(network(x), y, 0.0)
    with pytest.raises(ValueError, match="logits"):
        certificates.certified_radius(network(x)[:, 0], y, 1.0)
    for labels in (y.float(), y.to(torch.uint8)):
        with pytest.raises(ValueError, match="int64"):
            attacks.pgd(network, x, labels, 0.1)


# ---- what people bring ---------------------------------------------------------------------------


def test_a_network_with_one_output_is_not_robust_but_refused():
    x = torch.rand(3, 1, 2, 2)
    y = torch.zeros(3, dtype=torch.int64)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
    for attack in (
        lambda: attacks.attacked_correct(network, x, y, [0.0, 0.1]),
        lambda: attacks.pgd(network, x, y, 0.1),
        lambda: attacks.fgsm(network, x, y, 0.1),
    ):
        with pytest.raises(ValueError, match="at least two classes"):
            attack()


@pytest.mark.parametrize(
    "labels",
    [
        torch.zeros(3, dtype=torch.int64).numpy(),
        torch.eye(3, dtype=torch.int64),
        torch.zeros(3),
        [0, 1, 2],
    ],
    ids=["numpy", "one-hot", "floats", "list"],
)
def test_labels_that_are_no_numbers_of_classes(labels):
    with pytest.raises(ValueError, match=r"must be a tensor .* int64: torch.from_numpy .*argmax"):
        attacks.pgd(torch.nn.Flatten(), torch.rand(3, 3), labels, 0.1)


@pytest.mark.parametrize("images", [255 * torch.rand(2, 3), torch.rand(2, 3).double().numpy()])
def test_images_that_are_no_numbers_in_the_unit_interval(images):
    with pytest.raises(ValueError, match=r"divide 0\.\.255 by 255"):
        attacks.fgsm(torch.nn.Flatten(), images, torch.tensor([0, 1]), 0.1)


def test_attacks_work_under_inference_mode():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    x = torch.rand(5, 1, 2, 2)
    y = torch.zeros(5, dtype=torch.int64)
    usual = attacks.pgd(network, x, y, 0.1, steps=3)
    with torch.inference_mode():
        for images, labels in ((x, y), (x.clone(), y.clone())):
            assert torch.equal(attacks.pgd(network, images, labels, 0.1, steps=3), usual)
            assert attacks.fgsm(network, images, labels, 0.1).shape == x.shape


@pytest.mark.parametrize("labels", [[0, 4], [-1, 0]])
@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_labels_beyond_the_classes_are_named(labels, loss):
    network = torch.nn.Linear(2, 3)
    images, labels = torch.rand(2, 2), torch.tensor(labels)
    for attack in (attacks.pgd, attacks.attacked_correct):
        with pytest.raises(ValueError, match=r"labels from 0 to 2, got \(2, 3\) and the labels \["):
            attack(network, images, labels, [0.1] if attack is not attacks.pgd else 0.1, loss=loss)


@pytest.mark.parametrize("eps, norm", [(8, math.inf), (8, 2), (7.5, 2), (1.5, math.inf)])
def test_a_budget_in_grey_levels_is_noticed(eps, norm):
    network, x, y = small_problem(0)
    for attack in (attacks.pgd, attacks.fgsm):
        with pytest.warns(UserWarning, match=rf"in grey levels write {eps}/255"):
            attack(network, x, y, eps, norm)


def test_an_image_whose_logits_are_not_numbers_is_an_error_already():
    def broken(x):
        return torch.where(x[:, :1] == 0.5, math.nan, x)

    images = torch.tensor([[0.5, 0.6], [0.7, 0.2]])
    correct = attacks.attacked_correct(broken, images, torch.tensor([1, 0]), [0.1], steps=5)
    assert correct.tolist() == [[False, True]]


@pytest.mark.parametrize("attack", [attacks.pgd, certificates.certify])
def test_one_image_without_a_batch_is_a_sentence(attack):
    network = nn.Sequential(nn.Linear(3, 3))
    options = () if attack is certificates.certify else (0.1,)
    with pytest.raises(ValueError, match=r"labels must be a tensor of .*got tensor\(1\)"):
        attack(network, torch.rand(3), torch.tensor(1), *options)


def test_logits_that_are_none():
    network, x, y = small_problem(0)
    for answers in (lambda z: network(z).argmax(1), lambda z: network(z)[:, 0]):
        with pytest.raises(ValueError, match=r"logits \(B, classes\) .* are needed, .*got \(64,\)"):
            attacks.pgd(answers, x, y, 0.1)
