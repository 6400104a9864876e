"""The training loop, its losses, and the models of lesson 7."""

import copy
import math
import signal
from functools import partial

import devices
import pytest
import torch
import torch.nn.functional as F
from soundness import nonexpansive_cnn
from torch import nn

from chapter_utils import attacks, certificates, models, norms, operators, training
from helpers import seeded

NONEXPANSIVE = [models.nonexpansive_net, models.colour_net, nonexpansive_cnn]
BUILDERS = [models.resnet, models.spectral_resnet, *NONEXPANSIVE]


def small(build):
    """Options that make a model fit 8 x 8 images."""
    return {} if build is nonexpansive_cnn else {"width": 32}


def blobs(samples=120, seed=0):
    """Three classes of 8 x 8 images that differ in their bright quadrant."""
    labels = torch.arange(samples) % 3
    images = 0.3 * torch.rand(samples, 1, 8, 8, generator=seeded(seed))
    for k, (rows, columns) in enumerate(
        [(slice(0, 4), slice(0, 4)), (slice(4, 8), slice(0, 4)), (slice(0, 4), slice(4, 8))]
    ):
        images[labels == k, :, rows, columns] += 0.6
    return images, labels


# ---- losses --------------------------------------------------------------------------------------


def test_hinge_loss_is_the_sum_over_wrong_classes():
    logits = torch.randn(30, 5, generator=seeded(0), dtype=torch.float64)
    labels = torch.randint(5, (30,), generator=seeded(1))
    reference = (
        F.multi_margin_loss(logits, labels, margin=0.7) * 5
    )  # PyTorch divides by the number of classes
    assert training.hinge_loss(logits, labels, 0.7).item() == pytest.approx(reference.item())
    assert training.hinge_loss(torch.tensor([[3.0, 1.0]]), torch.tensor([0]), 2.0).item() == 0


def test_margin_cross_entropy_without_margin_is_cross_entropy():
    logits, labels = (
        torch.randn(30, 5, generator=seeded(0)),
        torch.randint(5, (30,), generator=seeded(1)),
    )
    assert torch.allclose(
        training.margin_cross_entropy(logits, labels, 0.0, 1.0), F.cross_entropy(logits, labels)
    )
    assert training.margin_cross_entropy(logits, labels, 1.0, 1.0) > F.cross_entropy(logits, labels)


def test_losses_refuse_impossible_settings():
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="margin must be positive and finite, got 0"):
        training.hinge_loss(logits, labels, 0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        training.margin_cross_entropy(logits, labels, 1.0, -1)


# ---- the loop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BUILDERS)
def test_every_model_learns_and_keeps_its_promise(build):
    images, labels = blobs()
    model = build(image_shape=(1, 8, 8), classes=3, **small(build))
    loss = partial(training.margin_cross_entropy, margin=0.3, temperature=0.2)
    history = training.fit(
        model,
        images,
        labels,
        loss,
        8,
        after_step=operators.restore_orthonormal_rows,
        progress=False,
    )
    assert len(history.losses) == 8 and not history.interrupted and not model.training
    with torch.no_grad():
        logits = model(images)
    assert (logits.argmax(1) == labels).float().mean() > 0.9
    bound = certificates.lipschitz_bound(model, (1, 8, 8))
    assert build is not models.spectral_resnet or 2 < bound < 12
    exact = copy.deepcopy(model).double()
    slope = norms.jacobian_norms(exact, images.double()).max().item()
    assert slope <= certificates.lipschitz_bound(exact, (1, 8, 8)) * (1 + 1e-9)
    if build in NONEXPANSIVE:
        assert bound <= 1 + 1e-6
        radius = certificates.certified_radius(logits, labels, bound)
        correct = attacks.attacked_correct(model, images, labels, [0.0, 0.2, 0.5], steps=10)
        for eps, row in zip([0.0, 0.2, 0.5], correct, strict=True):
            assert not ((radius > eps) & ~row).any()


def test_same_seed_same_weights_and_the_global_random_state_is_untouched():
    images, labels = blobs()
    state, results = torch.random.get_rng_state(), []
    for seed in (0, 0, 1):
        model = models.nonexpansive_net((1, 8, 8), 3, 16, seed=seed)
        training.fit(
            model,
            images,
            labels,
            F.cross_entropy,
            2,
            augment=training.random_shift,
            seed=seed,
            progress=False,
        )
        results.append(model[1].field.operator.weight.detach().clone())
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
    assert torch.equal(state, torch.random.get_rng_state())


def test_ctrl_c_keeps_what_was_learned():
    images, labels = blobs()
    model, steps = models.resnet((1, 8, 8), 3, 16), []
    untrained = {name: value.clone() for name, value in model.state_dict().items()}

    def press_ctrl_c(_):
        steps.append(1)
        if len(steps) == 5:  # two batches an epoch: in the third epoch
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a test run in the background ignores Ctrl-C
    try:
        history = training.fit(
            model, images, labels, F.cross_entropy, 50, after_step=press_ctrl_c, progress=False
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.interrupted and len(history.losses) == 2 and len(steps) == 5
    assert not model.training
    assert any(
        not torch.equal(untrained[name], value) for name, value in model.state_dict().items()
    )


def test_a_loss_that_is_not_finite_stops_with_the_last_good_weights():
    images, labels = blobs()
    images[70] = math.nan
    model = models.resnet((1, 8, 8), 3, 16)
    good = [copy.deepcopy(model.state_dict())]

    def remember(model):
        good.append(copy.deepcopy(model.state_dict()))

    with pytest.raises(FloatingPointError, match=r"nan in epoch 0, batch \d") as told:
        training.fit(
            model,
            images,
            labels,
            F.cross_entropy,
            3,
            batch_size=10,
            after_step=remember,
            progress=False,
        )
    assert f"batch {len(good) - 1}" in str(told.value) and not model.training
    for name, value in model.state_dict().items():
        assert torch.isfinite(value).all() and torch.equal(value, good[-1][name])


def test_a_gradient_that_is_not_finite_stops_before_the_step():
    images, labels = blobs()
    model = models.resnet((1, 8, 8), 3, 16)

    def loss(f, y):
        return (
            F.cross_entropy(f, y) + (0 * f).abs().sum().sqrt()
        )  # finite, but its slope at 0 is not

    with pytest.raises(FloatingPointError, match="gradient has norm nan"):
        training.fit(model, images, labels, loss, 1, progress=False)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_one_epoch_is_the_steps_of_adam_on_shuffled_and_augmented_batches():
    """Against PyTorch's own optimiser, fed by hand with the batches that the loss saw."""
    images, labels = blobs(40)
    model, seen, orders = models.resnet((1, 8, 8), 3, 16), [], []
    twin = models.resnet((1, 8, 8), 3, 16)

    def augment(x, generator):
        seen.append(1 - x)
        return seen[-1]

    def loss(f, y):
        orders.append(y)
        return F.cross_entropy(f, y)

    training.fit(
        model,
        images,
        labels,
        loss,
        1,
        batch_size=10,
        learning_rate=0.01,
        augment=augment,
        progress=False,
    )
    optimiser = torch.optim.Adam(twin.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=4)
    for x, y in zip(seen, orders, strict=True):
        optimiser.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        optimiser.step()
        schedule.step()
    for ours, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    assert not torch.equal(torch.cat(orders), labels) and torch.equal(
        torch.cat(orders).sort().values, labels.sort().values
    )


def test_a_single_step_trains():
    images, labels = blobs()
    model = models.resnet((1, 8, 8), 3, 16)
    before = model[-1].weight.clone()
    training.fit(
        model,
        images,
        labels,
        F.cross_entropy,
        1,
        batch_size=1000,
        learning_rate=0.1,
        progress=False,
    )
    assert (model[-1].weight - before).abs().max() > 1e-3


def test_perturbed_batches_replace_the_clean_ones():
    images, labels = blobs()
    seen = []

    def remember(model, x, y):
        seen.append(x)
        return attacks.pgd(model, x, y, 0.1, steps=2)

    training.fit(
        models.resnet((1, 8, 8), 3, 16),
        images,
        labels,
        F.cross_entropy,
        1,
        perturb=remember,
        progress=False,
    )
    assert sum(len(x) for x in seen) == len(images)


def test_shifts_move_by_at_most_one_pixel_and_bring_in_zeros():
    x = torch.ones(2, 1, 5, 5)
    sums = {training.random_shift(x, seeded(seed)).sum().item() for seed in range(40)}
    assert sums == {50.0, 40.0, 32.0}


def test_bad_input_of_fit():
    images, labels = blobs()
    model = models.resnet((1, 8, 8), 3, 16)
    for bad in (
        {"images": images[:0], "labels": labels[:0]},
        {"images": images, "labels": labels[:5]},
    ):
        with pytest.raises(ValueError, match="as many labels as images"):
            training.fit(model, **bad, loss=F.cross_entropy, epochs=1)
    for bad in ({"epochs": 0}, {"epochs": 1, "batch_size": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            training.fit(model, images, labels, F.cross_entropy, **bad)


def test_device_choice():
    found = "cuda" if torch.cuda.is_available() else "cpu"
    assert training.pick_device().type == devices.named_device("auto").type == found
    assert devices.named_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        devices.named_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            devices.named_device("cuda")


# ---- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12)])
def test_models_have_the_promised_shapes_and_seeds(build, shape):
    state = torch.random.get_rng_state()
    first, again, other = (
        build(image_shape=shape, classes=5, depth=2, seed=seed, **small(build)).eval()
        for seed in (3, 3, 4)
    )
    x = torch.rand(2, *shape, generator=seeded(0))
    assert first(x).shape == (2, 5)
    assert torch.equal(first(x), again(x)) and not torch.equal(first(x), other(x))
    torch.testing.assert_close(first[-1](first[:-1](x)), first(x))
    assert torch.equal(state, torch.random.get_rng_state())
    assert isinstance(first, nn.Sequential)


def test_images_that_do_not_fit_the_convolutional_network():
    with pytest.raises(ValueError, match="divisible by 4, got 10 x 8"):
        nonexpansive_cnn((1, 10, 8))
    with pytest.raises(ValueError, match="cannot be orthonormal"):
        models.nonexpansive_net((1, 4, 4), 3, width=17)
    with pytest.raises(ValueError, match="does not take inputs"):
        nonexpansive_cnn((1, 8, 8))(torch.zeros(1, 3, 8, 8))
    for train in (True, False):
        with pytest.raises(ValueError, match="16 features"):
            models.nonexpansive_net((1, 4, 4), 3, width=8).train(train)(torch.zeros(1, 1, 5, 5))
