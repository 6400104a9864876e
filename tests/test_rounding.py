"""Rounding errors of whole networks: never beyond the derived bound.

And certificates that leave room for them.
"""

import copy
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from soundness import nonexpansive_cnn
from torch import nn
from torch.nn.utils.prune import l1_unstructured

from chapter_utils import (
    certificates,
    expansive,
    image_operators,
    layers,
    models,
    norms,
    operators,
    plain_layers,
)
from helpers import examples, seeded

SHAPE = {"image_shape": (1, 8, 8), "classes": 3}
FAMILIES = {
    "resnet": lambda seed: models.resnet(width=16, depth=2, seed=seed, **SHAPE),
    "spectral_resnet": lambda seed: models.spectral_resnet(width=16, depth=2, seed=seed, **SHAPE),
    "nonexpansive_net": lambda seed: models.nonexpansive_net(width=16, depth=3, seed=seed, **SHAPE),
    "colour_net": lambda seed: models.colour_net(
        channels=20, width=10, depth=3, seed=seed, **SHAPE
    ),
    "nonexpansive_cnn": lambda seed: nonexpansive_cnn(channels=4, depth=1, seed=seed, **SHAPE),
    **{
        name: lambda seed, name=name: models.regime_net(
            name, channels=4, depth=1, seed=seed, **SHAPE
        )
        for name in models.REGIMES
    },
}


def disturbed(name, seed, scale):
    """A network of the family with scaled weights, random biases, float32, in evaluation mode."""
    model = FAMILIES[name](seed).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale).add_(
                0.1 * scale * torch.randn(parameter.shape, generator=seeded(seed))
            )
    return model


@pytest.mark.filterwarnings("ignore:the smallest eigenvalue")
@pytest.mark.parametrize("name", FAMILIES)
@examples(30)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-3, 0.3, 1.0, 4.0]), far=st.booleans())
def test_float32_stays_within_its_bound_of_the_same_network_in_float64(name, seed, scale, far):
    model = disturbed(name, seed % 1000, scale)
    x = torch.rand(20, 1, 8, 8, generator=seeded(seed))
    if far:  # the bound covers everything within sqrt(d) = 8 of an image
        x = (
            x
            + 8
            * torch.nn.functional.normalize(
                torch.randn(20, 64, generator=seeded(seed)), dim=1
            ).reshape(x.shape)
            * 0.99
        )
    # The exact network has the step and the last matrix that are in use, so the same rounded ones.
    exact = copy.deepcopy(model).double()
    for one, other in zip(model, exact, strict=True):
        if isinstance(one, layers.NonExpansiveBlock):
            steps = one.steps(one.field.L(torch.zeros(1, *shape_before(model, one))), torch.float32)
            other.steps = lambda L, dtype, steps=steps: steps
    matrix = getattr(model[-1], "matrix", None)
    with torch.no_grad():
        features = exact[:-1](x.double())
        logits = (
            exact[-1](features) if matrix is None else features @ matrix.double().T + exact[-1].bias
        )
        error = (model(x).double() - logits).norm(dim=1).max().item()
    small = certificates.rounding_bound(exact, (1, 8, 8)) if matrix is None else 0.0
    assert error <= certificates.rounding_bound(model, (1, 8, 8)) + small


def shape_before(model, part):
    shape = (1, 8, 8)
    for child in model:
        if child is part:
            return shape
        shape = certificates.output_shape(child, shape)


def test_float64_stays_within_its_bound_of_rational_arithmetic():
    model = disturbed("nonexpansive_net", 3, 1.0).double()
    x = torch.rand(1, 1, 8, 8, generator=seeded(1), dtype=torch.float64)
    z = [Fraction(v) for v in x.flatten().tolist()]
    for block in model[1:-1]:
        _, size = block.steps(block.field.L(torch.zeros(1, 64)), torch.float64)
        A = [[Fraction(v) for v in row] for row in block.field.operator.weight.tolist()]
        b = [Fraction(v) for v in block.field.bias.tolist()]
        active = [
            max(Fraction(0), sum(p * q for p, q in zip(row, z, strict=True)) + c)
            for row, c in zip(A, b, strict=True)
        ]
        z = [
            v - Fraction(size) * sum(row[k] * a for row, a in zip(A, active, strict=True))
            for k, v in enumerate(z)
        ]
    P = [[Fraction(v) for v in row] for row in model[-1].matrix.tolist()]
    exact = [
        sum(p * q for p, q in zip(row, z, strict=True)) + Fraction(c)
        for row, c in zip(P, model[-1].bias.tolist(), strict=True)
    ]
    error = math.sqrt(
        sum(float(Fraction(v) - w) ** 2 for v, w in zip(model(x)[0].tolist(), exact, strict=True))
    )
    bound = certificates.rounding_bound(model, (1, 8, 8))
    assert 1e-17 < error <= bound <= 1e-10


def test_the_bound_is_needed_cancellation_makes_errors_as_large_as_the_logits():
    """x + B relu(A x) with huge B, and a last layer that subtracts it again.

    float32 returns noise, and the bound says so.
    """
    linear = nn.Linear(2, 2)
    linear.weight.data = torch.tensor([[1e7, 1.0], [1e7, 0.0]])
    linear.bias.data.zero_()
    last = nn.Linear(2, 1, bias=False)
    last.weight.data = torch.tensor([[1.0, -1.0]])
    network, x = nn.Sequential(linear, last).eval(), torch.tensor([[0.9, 0.3]])
    with torch.no_grad():
        error = abs(network(x).item() - network.double()(x.double()).item())
    assert 0.1 < error <= certificates.rounding_bound(network.float(), (2,))


def test_bounds_grow_with_depth_and_shrink_with_precision():
    bounds = [
        certificates.rounding_bound(
            models.nonexpansive_net(width=16, depth=depth, **SHAPE).eval(), (1, 8, 8)
        )
        for depth in (1, 4, 16)
    ]
    assert bounds[0] < bounds[1] < bounds[2] < 0.1
    double = certificates.rounding_bound(
        models.nonexpansive_net(width=16, depth=16, **SHAPE).double().eval(), (1, 8, 8)
    )
    assert double < 1e-8 * bounds[2]


def test_zero_weights_and_several_steps():
    block = layers.NonExpansiveBlock(
        layers.GradientField(operators.DenseOperator(4, 3)), time_span=20.0
    ).eval()
    assert 0 < certificates.rounding_bound(nn.Sequential(block).eval(), (4,)) < 1e-3
    block.field.operator.weight.data.zero_()
    assert certificates.rounding_bound(nn.Sequential(block).eval(), (4,)) < 1e-5


def test_what_is_not_known_is_named():
    with pytest.raises(TypeError, match="LayerNorm"):
        certificates.rounding_bound(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)).eval(), (4,))
    with pytest.raises(ValueError, match="training mode"):
        certificates.rounding_bound(nn.Sequential(nn.Linear(4, 3)), (4,))


# ---- certificates --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the smallest eigenvalue")
@pytest.mark.parametrize("name", FAMILIES)
def test_certify_is_the_certificate_with_all_its_parts(name):
    model = disturbed(name, 0, 1.0)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.rand(30, 1, 8, 8, generator=seeded(0))
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        logits = exact(x.double())
    y = logits.argmax(1)
    radius = certificates.certify(model.train(), x, y)  # the model itself stays as it is
    assert model.training and all(
        torch.equal(value, model.state_dict()[key]) for key, value in kept.items()
    )
    whole = certificates.certified_radius(logits, y, certificates.lipschitz_bound(exact, (1, 8, 8)))
    assert (
        radius.dtype == torch.float64 and (radius >= whole - 1e-6 * (1 + whole)).all()
    )  # each pair by itself is never worse
    assert radius.max() <= 8
    wrong = (y + 1) % 3
    assert (certificates.certify(model, x, wrong) == 0).all()
    with torch.no_grad():
        model[-1].bias[0] += 1e4  # then no image at all is read otherwise
    assert (certificates.certify(model, x, torch.zeros(30, dtype=torch.int64)) > 7.999).any()


def test_rounding_is_subtracted_from_both_logits_at_both_places():
    logits, y = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    plain, careful = (
        certificates.certified_radius(logits, y, 2.0, rounding=e).item() for e in (0.0, 0.1)
    )
    assert plain == pytest.approx(2 / (math.sqrt(2) * 2)) and careful == pytest.approx(
        1.6 / (math.sqrt(2) * 2)
    )
    assert plain < 2 / (math.sqrt(2) * 2)  # rounded down
    assert certificates.certified_radius(logits, y, 2.0, rounding=0.5).item() == 0
    with pytest.raises(ValueError, match="rounding must be 0 or more"):
        certificates.certified_radius(logits, y, 2.0, rounding=math.nan)


def test_without_the_margin_a_certificate_is_broken_by_rounding_alone():
    """Two logits nearly equal after large numbers cancelled.

    float32 decides by noise, although the margin looks positive.
    """
    linear = nn.Linear(1, 2)
    linear.weight.data, linear.bias.data = (
        torch.tensor([[1.0], [1.0]]),
        torch.tensor([2.0**24 + 2, 2.0**24]),
    )
    model, x = (
        nn.Sequential(nn.Flatten(), linear).eval(),
        torch.tensor([0.5, 1.0]).reshape(2, 1, 1, 1),
    )
    with torch.no_grad():
        logits = model(x)
    y = logits.argmax(1)
    naive = certificates.certified_radius(logits, y, 1.0, linear.weight.detach())
    bound = certificates.rounding_bound(model, (1, 1, 1))
    assert (naive > 1e6).all()  # both rows are equal, so no input matters, and the lead is 2
    careful = certificates.certified_radius(logits, y, 1.0, linear.weight.detach(), bound)
    assert bound >= 1 and (careful == 0).all()


# ---- numbers so small that products underflow ----------------------------------------------------


def linear_case(scale, dtype=torch.float64):
    """F(x) = W x + b, all times `scale`; its labels and the true distances to the next class."""
    model = models.resnet((1, 4, 4), classes=3, depth=0).to(dtype).eval().requires_grad_(False)
    x = torch.rand(100, 1, 4, 4, generator=seeded(0), dtype=dtype)
    model[-1].bias.sub_(model(x).mean(0))
    W, logits = model[-1].weight.double().clone(), model.double()(x.double())
    for parameter in model.to(dtype).parameters():
        parameter.mul_(scale)
    y = model(x).argmax(1)
    gaps = logits.gather(1, y[:, None]) - logits
    return model, x, y, (gaps / torch.cdist(W, W)[y]).scatter(1, y[:, None], math.inf).amin(1)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-158, 1e-162, 1e-170, 1e-300, 1e140])
def test_the_radius_of_a_linear_network_is_the_true_distance_at_every_scale(scale):
    model, x, y, truth = linear_case(scale)
    radius = certificates.certify(model, x, y)
    assert (radius <= truth * (1 + 1e-12)).all() and (radius > 0.99 * truth - 1e-4).all()


@pytest.mark.parametrize("scale", [1e-15, 1e-23, 1e-32])
def test_the_same_from_float32_logits(scale):
    model, x, y, truth = linear_case(scale, torch.float32)
    radius = certificates.certified_radius(
        model(x), y, 1.0, model[-1].weight, certificates.rounding_bound(model, (1, 4, 4))
    )
    assert (radius <= truth).all() and (radius > 0).any()


@pytest.mark.parametrize("scale", [1e-121, 1e-122, 1e-124])
def test_a_chain_through_numbers_that_underflow_certifies_nothing(scale):
    layers_ = [
        nn.Linear(16, 3, bias=False),
        *(nn.Linear(3, 3, bias=False) for _ in range(2)),
        nn.Linear(3, 3),
    ]
    model = nn.Sequential(nn.Flatten(), *layers_).double().eval().requires_grad_(False)
    layers_[0].weight.mul_(1e-200)
    for part, size in zip(layers_[1:], (scale, 1e300, 1e-100 / scale), strict=True):
        part.weight.copy_(size * torch.eye(3, dtype=torch.float64))
    x = torch.rand(100, 1, 4, 4, generator=seeded(0), dtype=torch.float64)
    truth = torch.linalg.matrix_norm(1e200 * layers_[0].weight, 2).item()
    assert certificates.lipschitz_bound(model, (1, 4, 4)) >= truth
    assert (certificates.certify(model, x, model(x).argmax(1)) == 0).all()


@pytest.mark.filterwarnings("ignore:the smallest eigenvalue")
@pytest.mark.parametrize(
    "dtype, scale", [(torch.float64, 1e-155), (torch.float64, 1e-170), (torch.float32, 1e-20)]
)
def test_an_expansive_step_is_left_out_where_the_contractive_one_is(dtype, scale):
    maps = (image_operators.ShiftOperator(5, True), image_operators.ShiftOperator(5, True))
    block = expansive.SwitchingBlock(*maps, (0.3, 0.141)).to(dtype).eval().requires_grad_(False)
    block.up.bias.fill_(10.0)  # every unit of the expansive step is active
    x = torch.rand(1, 5, 3, 3, generator=seeded(0), dtype=dtype)
    assert (
        norms.jacobian_norms(block, x).item()
        <= certificates.lipschitz_bound(block, (5, 3, 3)) + 1e-6
    )
    maps[0].weight.mul_(scale)
    assert (
        norms.jacobian_norms(block, x).item()
        <= certificates.lipschitz_bound(block, (5, 3, 3)) + 1e-6
    )


def test_weights_too_large_for_a_step_are_refused_or_counted():
    block = (
        layers.NonExpansiveBlock(layers.GradientField(operators.DenseOperator(8, 4)))
        .eval()
        .requires_grad_(False)
    )
    x = torch.rand(5, 8, generator=seeded(0))
    block.field.operator.weight.mul_(
        1e25
    )  # in float32 the step 2 / 1e50 is zero: the block does nothing
    change = (copy.deepcopy(block).double()(x.double()) - block(x)).norm(dim=1).max().item()
    assert 0.1 < change <= certificates.rounding_bound(nn.Sequential(block).eval(), (8,))
    block.double().field.operator.weight.mul_(1e140)
    with pytest.raises(ValueError, match="too large"):
        certificates.rounding_bound(nn.Sequential(block).eval(), (8,))


# ---- what a review tried against it --------------------------------------------------------------


def two_classes():
    linear = nn.Linear(1, 2)
    linear.weight.data, linear.bias.data = torch.tensor([[1.0], [-1.0]]), torch.tensor([-0.5, 0.5])
    return nn.Sequential(nn.Flatten(), linear).eval()


def pixels(*values):
    return torch.tensor(values, dtype=torch.float64).reshape(len(values), 1, 1, 1)


class Steep(nn.Linear):
    def forward(self, x):
        return super().forward(100 * x - 50)


class Magnified(nn.Sequential):
    def forward(self, x):
        return super().forward(1e6 * x)


def test_hooks_and_other_forwards_are_not_overlooked():
    model = two_classes()
    model.register_forward_pre_hook(lambda module, args: (100 * args[0] - 25,))
    with pytest.raises(TypeError, match="hooks"):
        certificates.certify(model, pixels(0.3), torch.tensor([0]))
    steep = nn.Sequential(nn.Flatten(), Steep(1, 2)).eval()
    with pytest.raises(TypeError, match="Steep, which replaces forward"):
        certificates.certify(steep, pixels(0.3), torch.tensor([0]))
    with pytest.raises(TypeError, match="Magnified"):
        certificates.rounding_bound(Magnified(*two_classes()).eval(), (1, 1, 1))


def test_a_sequential_with_a_constructor_of_its_own_is_certified_as_it_is():
    class Net(nn.Sequential):
        def __init__(
            self, wide=False
        ):  # a slice of a Sequential calls this with a dictionary of layers
            super().__init__(
                nn.Flatten(),
                nn.Linear(16, 64 if wide else 16),
                nn.ReLU(),
                nn.Linear(64 if wide else 16, 3),
            )

    torch.manual_seed(0)
    net = Net(wide=True).double().eval()
    net[1].weight.data.mul_(100)
    x = torch.rand(20, 1, 4, 4, generator=seeded(0), dtype=torch.float64)
    with torch.no_grad():
        y = net(x).argmax(1)
    assert torch.equal(
        certificates.certify(net, x, y), certificates.certify(nn.Sequential(*net), x, y)
    )
    with pytest.raises(ValueError, match="logits"):
        certificates.certify(nn.Sequential(), x, y)
    with pytest.raises(
        TypeError, match="hooks"
    ):  # said before the copy, which a pruned layer does not allow
        certificates.certify(
            nn.Sequential(nn.Flatten(), l1_unstructured(nn.Linear(16, 3), "weight", 0.5)), x, y
        )


def test_a_changed_activation_of_a_pair_is_noticed():
    block = expansive.SwitchingBlock(
        *(operators.DenseOperator(4, 4) for _ in range(2)), (0.3, 0.141)
    ).eval()
    block.down.activation = "relu"
    with pytest.raises(ValueError, match="leaky_relu and relu, not"):
        certificates.rounding_bound(nn.Sequential(block).eval(), (4,))
    block.down.activation, block.prescribed = "leaky_relu", (1e4, 0.0)
    with pytest.raises(ValueError, match="c1 must lie"):
        certificates.rounding_bound(nn.Sequential(block).eval(), (4,))


@pytest.mark.parametrize("dtype, size", [(torch.float16, 4e4), (torch.float32, 3e38)])
def test_numbers_that_may_overflow_have_no_bound(dtype, size):
    linear = nn.Linear(2, 1).to(dtype)
    linear.weight.data.fill_(size)
    untied = plain_layers.UntiedBlock(*(operators.DenseOperator(2, 2) for _ in range(2))).to(dtype)
    untied.inner.weight.data.fill_(size)
    untied.outer.weight.data.fill_(1 / size)
    for module in (linear, untied):
        with pytest.raises(ValueError, match="too large for torch"):
            certificates.rounding_bound(nn.Sequential(module).eval(), (2,))


def test_biases_whose_squares_underflow_count():
    first, second = nn.Linear(1, 3).double(), nn.Linear(3, 2).double()
    first.weight.data = torch.tensor([[2.0**-617], [0.0], [0.0]], dtype=torch.float64)
    first.bias.data.fill_(2.0**-565)
    second.weight.data = torch.tensor(
        [[2.0**747, 2.0**800, -(2.0**800)], [0.0, 0.0, 0.0]], dtype=torch.float64
    )
    second.bias.data = torch.tensor([-(2.0**182), 0.0], dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), first, second).eval()
    x = pixels(0.49, 0.51)
    with torch.no_grad():
        y = model(x).argmax(1)
    assert (certificates.certify(model, x, y) <= 0.02).all()


def test_images_outside_the_box_are_refused():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        certificates.certify(two_classes(), pixels(1.5), torch.tensor([0]))
    with pytest.raises(ValueError, match="as many labels"):
        certificates.certify(two_classes(), pixels(0.5)[:0], torch.tensor([], dtype=torch.int64))


@pytest.mark.parametrize("build", [nn.Linear, layers.NonExpansiveLinear])
def test_a_layer_on_many_rows_errs_on_each(build):
    layer = build(1, 1).eval().requires_grad_(False)
    (layer.weight if build is nn.Linear else layer.operator.weight).fill_(1e-3)
    layer.bias.fill_(1.1)
    x = torch.rand(1, 4000, 1, generator=seeded(0))
    error = (layer(x).double() - copy.deepcopy(layer).double()(x.double())).norm().item()
    assert 5e-7 < error <= certificates.rounding_bound(nn.Sequential(layer).eval(), (4000, 1))


def test_parametrised_weights_count_with_their_absolute_values():
    matrix = torch.ones(1, 1)
    while len(matrix) < 64:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    bounds = []
    for parametrised in (False, True):
        operator = operators.DenseOperator(64, 64)
        operator.weight.data = matrix / 8
        if parametrised:
            nn.utils.parametrizations.spectral_norm(operator, n_power_iterations=20)
        block = layers.NonExpansiveBlock(layers.GradientField(operator))
        bounds.append(certificates.rounding_bound(nn.Sequential(block).eval(), (64,)))
    assert bounds[1] == pytest.approx(bounds[0], rel=1e-3)


def test_a_normalisation_is_part_of_the_network():
    normalisation = plain_layers.Normalization([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
    x = torch.rand(200, 3, 6, 6, generator=seeded(0))
    error = (
        (normalisation(x).double() - copy.deepcopy(normalisation).double()(x.double()))
        .flatten(1)
        .norm(dim=1)
        .max()
        .item()
    )
    assert (
        1e-8 < error <= certificates.rounding_bound(nn.Sequential(normalisation).eval(), (3, 6, 6))
    )
    model = nn.Sequential(normalisation, nn.Flatten(), nn.Linear(108, 3)).eval()
    with torch.no_grad():
        y = model(x).argmax(1)
    assert (certificates.certify(model, x, y) > 0).all()


def test_extreme_numbers_in_a_single_certificate():
    logits = torch.tensor([[3e38, -3e38]])  # their difference is not a float32
    assert (
        4.2
        < certificates.certified_radius(logits, torch.tensor([0]), 1e38).item()
        <= 6e38 / (math.sqrt(2) * 1e38)
    )
    small = certificates.certified_radius(torch.tensor([[1e-5, 0.0]]), torch.tensor([0]), 2e-45)
    assert small.item() <= torch.finfo(torch.float32).max  # as large as a float32 can say
    assert (
        certificates.certified_radius(
            torch.tensor([[1.0, 0.0]]).half(), torch.tensor([0]), 7.5e6
        ).item()
        <= 9.4e-8
    )


def test_a_field_whose_bound_underflows_still_counts():
    field = layers.GradientField(operators.DenseOperator(1, 1)).double()
    parts = [nn.Linear(1, 1).double(), field, nn.Linear(1, 1).double()]
    for weight, size in (
        (parts[0].weight, 1e200),
        (field.operator.weight, 1e-170),
        (parts[2].weight, 1e200),
    ):
        weight.data.fill_(size)
    assert certificates.lipschitz_bound(nn.Sequential(*parts).eval(), (1,)) >= 1e60


@pytest.mark.parametrize("stride, padding", [(1, 0), (1, 1), (2, 1), (2, 3)])
def test_convolutions_of_every_kind(stride, padding):
    for seed in range(5):
        operator = image_operators.ConvOperator(2, 4, 3, stride, padding)
        block = layers.NonExpansiveBlock(layers.GradientField(operator))
        block.eval().requires_grad_(False)
        block.field.bias.normal_(generator=seeded(seed))
        x = torch.rand(20, 2, 6, 6, generator=seeded(seed))
        exact = copy.deepcopy(block).double()
        steps = block.steps(block.field.L(x), torch.float32)
        exact.steps = lambda L, dtype, steps=steps: steps
        error = (block(x).double() - exact(x.double())).flatten(1).norm(dim=1).max().item()
        assert 0 < error <= certificates.rounding_bound(nn.Sequential(block).eval(), (2, 6, 6))
