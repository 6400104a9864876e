"""Adjoints, and the promise of every layer that it does not expand."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from chapter_utils import certificates, layers, norms, operators, plain_layers
from chapter_utils.image_operators import ConvOperator, ShiftOperator
from chapter_utils.layers import GradientField, NonExpansiveBlock, NonExpansiveLinear
from chapter_utils.operators import DenseOperator
from helpers import exact_norm, examples, randomise, seeded, stretch

METHODS = ("euler", "heun", "ssprk3", "rk4")


# ---- operators -----------------------------------------------------------------------------------


@examples(80)
@given(
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    seed=st.integers(0, 10**6),
)
def test_convolution_adjoint_and_bound(
    height, width, inputs, outputs, kernel, stride, padding, seed
):
    operator = randomise(ConvOperator(inputs, outputs, kernel, stride, padding).double(), seed)
    shape = (inputs, height, width)
    x = torch.randn(2, *shape, generator=seeded(seed), dtype=torch.float64)
    image = operator(x)
    y = torch.randn(image.shape, generator=seeded(seed + 1), dtype=torch.float64)
    back = operator.adjoint(y, shape)
    assert back.shape == x.shape
    assert torch.allclose((image * y).sum(), (x * back).sum(), rtol=1e-10, atol=1e-9)
    truth = exact_norm(operator, shape)
    assert truth <= operator.norm_bound(shape)
    assert operator.norm_estimate(x).item() <= truth * (1 + 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adjoints_in_both_precisions(dtype):
    for operator, shape in ((ConvOperator(2, 3, stride=2), (2, 7, 8)), (DenseOperator(6, 4), (6,))):
        operator = randomise(operator, 0).to(dtype)
        x = torch.randn(3, *shape, generator=seeded(1), dtype=torch.float64).to(dtype)
        y = torch.randn(operator(x).shape, generator=seeded(2), dtype=torch.float64).to(dtype)
        tolerance = 1e-4 if dtype == torch.float32 else 1e-11
        assert torch.allclose(
            (operator(x) * y).sum(),
            (x * operator.adjoint(y, shape)).sum(),
            atol=tolerance,
            rtol=tolerance,
        )


def test_adjoint_is_differentiable_in_weights_and_input():
    operator = randomise(ConvOperator(1, 2, 3, 2, 1).double(), 0)
    y = torch.randn(1, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: operator.adjoint(v, (1, 4, 4)), (y,))


def test_norm_follows_every_change_of_the_weights():
    operator = randomise(DenseOperator(5, 4).double(), 0)
    before = operator.norm_bound((5,))
    operator.weight.data.mul_(3)  # a change that PyTorch's version counter does not see
    assert operator.norm_bound((5,)) == pytest.approx(3 * before, rel=1e-9)
    with torch.no_grad():
        operator.weight[0, 0] += 100
    assert operator.norm_bound((5,)) > 90
    assert operator.float().norm_bound((5,)) > 90


def test_norm_of_a_convolution_depends_on_the_image_size():
    operator = randomise(ConvOperator(1, 1).double(), 3)
    assert operator.norm_bound((1, 4, 4)) < operator.norm_bound((1, 32, 32))


# ---- the theorem ---------------------------------------------------------------------------------


@examples(60)
@given(
    features=st.integers(1, 8),
    width=st.integers(1, 8),
    activation=st.sampled_from(sorted(layers.ACTIVATIONS)),
    method=st.sampled_from(METHODS),
    fraction=st.floats(0.01, 1.0),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 10**6),
)
def test_dense_blocks_do_not_expand(
    features, width, activation, method, fraction, scale, dtype, seed
):
    field = GradientField(DenseOperator(features, width), activation)
    block = randomise(NonExpansiveBlock(field, 2 * fraction, method), seed, scale).to(dtype).eval()
    assert certificates.lipschitz_bound(block, (features,)) == 1
    double = copy.deepcopy(block).double()
    x, y = torch.randn(2, 64, features, generator=seeded(seed), dtype=torch.float64)
    near = x + 1e-4 * (y - x)
    assert stretch(double, x, y) <= 1 + 1e-9 and stretch(double, x, near) <= 1 + 1e-8
    assert norms.jacobian_norms(double, x).max().item() <= 1 + 1e-9
    if dtype == torch.float32:
        assert stretch(block, x.float(), y.float()) <= 1 + 1e-3 * max(1, scale)  # rounding only


@examples(40)
@given(
    side=st.integers(3, 7),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 4),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    activation=st.sampled_from(sorted(layers.ACTIVATIONS)),
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 10**6),
)
def test_convolution_blocks_do_not_expand(
    side, inputs, outputs, kernel, stride, padding, activation, method, seed
):
    field = GradientField(ConvOperator(inputs, outputs, kernel, stride, padding), activation)
    block = randomise(NonExpansiveBlock(field, 2.0, method), seed).double().eval()
    x = torch.randn(4, inputs, side, side, generator=seeded(seed), dtype=torch.float64)
    assert (
        norms.jacobian_norms(block, x).max().item()
        <= certificates.lipschitz_bound(block, x.shape[1:]) + 1e-9
    )


@pytest.mark.parametrize("time_span", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("method", METHODS)
def test_blocks_with_a_time_span_do_not_expand(time_span, method):
    for seed in range(3):
        block = randomise(
            NonExpansiveBlock(
                GradientField(DenseOperator(4, 6)), method=method, time_span=time_span
            ),
            seed,
        )
        block = block.double().eval()
        x = torch.randn(40, 4, generator=seeded(seed), dtype=torch.float64)
        assert norms.jacobian_norms(block, x).max().item() <= 1 + 1e-9
        number, size = block.steps(block.field.L(x), x.dtype)
        assert number * size == pytest.approx(time_span)
        assert size * block.field.L(x) <= 2


def test_a_longer_step_expands():
    block = randomise(NonExpansiveBlock(GradientField(DenseOperator(4, 6)), 2.0), 0).double().eval()
    with torch.no_grad():
        block.field.bias.fill_(1000)  # every unit on
    block.c = 2.2  # past the check of the constructor, but not past that of the certificate
    assert norms.jacobian_norms(
        block, torch.zeros(1, 4, dtype=torch.float64)
    ).item() == pytest.approx(1.2, rel=1e-6)


def test_a_block_changed_after_construction_is_checked_again():
    block = NonExpansiveBlock(GradientField(DenseOperator(4, 6))).eval()
    for name, bad in (("c", 2.2), ("method", "midpoint"), ("time_span", -1.0)):
        good = getattr(block, name)
        setattr(block, name, bad)
        with pytest.raises(ValueError):
            certificates.lipschitz_bound(block, (4,))
        setattr(block, name, good)
    block.field = GradientField(DenseOperator(4, 6))  # a new module is in training mode
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        certificates.lipschitz_bound(block, (4,))


def test_norm_follows_the_settings_of_a_convolution():
    operator = ConvOperator(1, 1, stride=2)
    with torch.no_grad():
        operator.weight.fill_(1.0)
    coarse = operator.norm_bound((1, 8, 8))
    operator.stride = 1
    matrix = norms.dense_matrix(operator.double(), (1, 8, 8)).detach()
    truth = torch.linalg.matrix_norm(matrix, 2).item()
    assert coarse < truth <= operator.norm_bound((1, 8, 8))


def test_sigmoid_blocks_use_the_largest_slope():
    block = (
        randomise(NonExpansiveBlock(GradientField(DenseOperator(4, 4), "sigmoid")), 0)
        .double()
        .eval()
    )
    with torch.no_grad():
        block.field.bias.zero_()
    x = torch.zeros(
        1, 4, dtype=torch.float64
    )  # every slope is 1/4 here, so c = 2 reflects the leading direction
    J = torch.autograd.functional.jacobian(block, x)[0, :, 0]
    leading = torch.linalg.svd(block.field.operator.weight).Vh[0]
    assert torch.allclose(J @ leading, -leading, atol=1e-6)


def test_warm_start_follows_the_weights():
    operator = randomise(DenseOperator(20, 20).double(), 0)
    x = torch.zeros(1, 20, dtype=torch.float64)
    for seed in range(3):
        randomise(operator, seed)
        for _ in range(2000):
            estimate = operator.norm_estimate(x)
        assert estimate.item() == pytest.approx(
            torch.linalg.matrix_norm(operator.weight, 2).item(), rel=1e-3
        )


def test_training_mode_estimates_from_below_and_evaluation_mode_does_not():
    operator = randomise(DenseOperator(30, 30).double(), 0)
    block = NonExpansiveBlock(GradientField(operator)).double()
    x = torch.randn(5, 30, dtype=torch.float64, generator=seeded(0))
    truth = torch.linalg.matrix_norm(operator.weight, 2).item() ** 2
    assert block.train().field.L(x).item() <= truth * (1 + 1e-12)
    assert block.eval().field.L(x) >= truth
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        certificates.lipschitz_bound(block.train(), (30,))


def test_gradients_reach_the_weights_through_the_adaptive_step():
    block = (
        randomise(NonExpansiveBlock(GradientField(DenseOperator(3, 3)), 1.0), 0).double().train()
    )
    x = torch.randn(8, 3, dtype=torch.float64, generator=seeded(0))
    for _ in range(300):
        _ = block.field.operator.norm_estimate(x)  # converge the warm start

    def value(weight):
        return (
            torch.func.functional_call(block, {"field.operator.weight": weight}, x).square().sum()
        )

    weight = block.field.operator.weight.detach().clone().requires_grad_()
    ours = torch.autograd.grad(value(weight), weight)[0]
    exact = torch.zeros_like(weight)
    for i in range(3):
        for j in range(3):
            shift = torch.zeros_like(weight)
            shift[i, j] = 1e-6
            with torch.no_grad():
                for _ in range(20):
                    up = value(weight + shift)
                for _ in range(20):
                    down = value(weight - shift)
            exact[i, j] = (up - down) / 2e-6
    assert torch.allclose(ours, exact, rtol=1e-3, atol=1e-5)


def test_copies_and_reloaded_blocks_use_their_own_weights():
    block = randomise(NonExpansiveBlock(GradientField(DenseOperator(3, 3))), 0).double().eval()
    x = torch.randn(4, 3, dtype=torch.float64, generator=seeded(0))
    before = block(x)
    twin = copy.deepcopy(block)
    randomise(twin, 1)
    assert torch.equal(block(x), before) and not torch.allclose(twin(x), before)
    fresh = NonExpansiveBlock(GradientField(DenseOperator(3, 3))).double().eval()
    fresh.load_state_dict(block.state_dict())
    assert torch.equal(fresh(x), before)


def test_zero_weights_give_the_identity_and_nan_stays_visible():
    block = NonExpansiveBlock(GradientField(DenseOperator(3, 3)))
    x = torch.randn(4, 3, generator=seeded(0))
    with torch.no_grad():
        block.field.operator.weight.zero_()
    assert torch.equal(block.train()(x), x) and torch.equal(block.eval()(x), x)
    with torch.no_grad():
        block.field.operator.weight.fill_(math.nan)
    assert block.train()(x).isnan().all()
    with pytest.raises(ValueError, match="NaN or infinite"):
        block.eval()(x)
    with pytest.raises(ValueError, match="NaN or infinite"):
        certificates.lipschitz_bound(block, (3,))
    with torch.no_grad():
        block.field.operator.weight.copy_(2 * torch.eye(3))
    assert block.train().field.operator.norm_estimate(x).item() == pytest.approx(2), (
        "the warm start recovers with the weights"
    )


def test_blocks_accept_an_empty_batch():
    block = NonExpansiveBlock(GradientField(ConvOperator(2, 3))).eval()
    assert block(torch.zeros(0, 2, 4, 4)).shape == (0, 2, 4, 4)


# ---- last layer, orthonormal rows, lifts ---------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_last_layer_never_exceeds_norm_one(scale):
    for seed in range(5):
        head = randomise(NonExpansiveLinear(7, 4), seed, scale).eval()
        assert torch.linalg.matrix_norm(head.matrix.double(), 2).item() <= 1
        truth = exact_norm(head.double(), (7,))
        assert truth <= certificates.lipschitz_bound(head, (7,)) <= 1 + 1e-9
        assert (
            torch.linalg.matrix_norm(head.train().matrix, 2).item() <= 1 + 1e-3
        )  # by power iteration, from below


def test_last_layer_with_zero_weights():
    head = NonExpansiveLinear(3, 2).eval()
    with torch.no_grad():
        head.operator.weight.zero_()
    assert (
        torch.equal(head(torch.ones(1, 3)), torch.zeros(1, 2))
        and certificates.lipschitz_bound(head, (3,)) < 1e-300
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [0.01, 0.1, 1.0, 100.0])
def test_rows_are_restored_to_the_nearest_orthonormal_ones(dtype, distance):
    for seed in range(3):
        operator = randomise(DenseOperator(9, 5, orthonormal=True), seed, distance).to(dtype)
        with torch.no_grad():
            operator.weight.add_(torch.eye(5, 9, dtype=dtype))
        left, _, right = torch.linalg.svd(operator.weight.detach(), full_matrices=False)
        for _ in range(8):  # Newton-Schulz squares the error in each call
            operators.restore_orthonormal_rows(nn.Sequential(operator))
        tolerance = 1e-4 if dtype == torch.float32 else 1e-8
        assert torch.allclose(operator.weight, left @ right, atol=tolerance)


def test_restoring_leaves_other_weights_alone():
    operator = randomise(DenseOperator(9, 5), 0)
    kept = operator.weight.clone()
    operators.restore_orthonormal_rows(operator)
    assert torch.equal(operator.weight, kept)


@pytest.mark.parametrize(
    "module",
    [
        plain_layers.ZeroPadLift(3, 5),
        plain_layers.ChannelsLast(),
        plain_layers.Shift(1),
        plain_layers.ScaledAvgPool2d(2),
        plain_layers.Normalization([0.1] * 3, [0.5, 0.2, 1]),
    ],
)
def test_small_layers_state_their_exact_norm(module):
    shape = (3, 4, 4)
    truth = exact_norm(module, shape)
    assert certificates.lipschitz_bound(module, shape) == pytest.approx(truth, rel=1e-6)
    assert certificates.lipschitz_bound(module, shape) >= truth * (1 - 1e-7)


def test_channels_move_by_one_pixel_around_the_border_and_back():
    x = torch.randn(2, 4, 3, 10, generator=seeded(0))
    moved = plain_layers.Shift(1)(x)
    steps = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # down and right are positive
    for part, (down, right) in enumerate(steps):
        channels = slice(2 * part, 2 * part + 2)
        for row in range(4):
            for column in range(3):
                target = moved[:, (row + down) % 4, (column + right) % 3, channels]
                assert torch.equal(target, x[:, row, column, channels])
    assert torch.equal(plain_layers.Shift(-1)(moved), x)
    operator = ShiftOperator(10)
    with torch.no_grad():
        operator.weight.copy_(torch.eye(10))
    images = plain_layers.ChannelsLast()
    image = x.movedim(-1, 1)
    assert torch.allclose(images(operator(image)), moved) and torch.equal(images(image), x)


# ---- bad input -----------------------------------------------------------------------------------


def test_steps_beyond_the_bound_are_refused_with_the_limit():
    field = GradientField(DenseOperator(3, 3))
    for step in (0, -1.0, 2.001, math.nan):
        with pytest.raises(ValueError, match=r"\(0, 2\]"):
            NonExpansiveBlock(field, step)
    with pytest.raises(ValueError, match="radius 0"):
        NonExpansiveBlock(field, method="midpoint")
    with pytest.raises(ValueError, match="explicit"):
        NonExpansiveBlock(field, method="implicit_euler")
    with pytest.raises(ValueError, match="method must be one of euler"):
        NonExpansiveBlock(field, method="eulr")
    for time_span in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="time_span"):
            NonExpansiveBlock(field, time_span=time_span)
    with torch.no_grad():
        field.operator.weight.mul_(1e5)
    for block in (
        NonExpansiveBlock(field, time_span=1.0).eval(),
        NonExpansiveBlock(field, time_span=1.0),
    ):
        with pytest.raises(ValueError, match=r"would take 5e[+]09 steps"):
            block(torch.zeros(1, 3))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: GradientField(DenseOperator(3, 3), "gelu"), "nondecreasing"),
        (lambda: DenseOperator(3, 4, orthonormal=True), "cannot be orthonormal"),
        (lambda: NonExpansiveLinear(3, 4), "cannot be orthonormal"),
        (lambda: ConvOperator(2, 1)(torch.zeros(1, 3, 4, 4)), r"\(2, height, width\)"),
        (lambda: ConvOperator(2, 1).norm_bound((3, 4, 4)), r"\(2, height, width\)"),
        (lambda: DenseOperator(2, 1).norm_bound((3,)), "2 features"),
        (lambda: plain_layers.ZeroPadLift(3, 2), "cannot lift"),
        (lambda: plain_layers.ZeroPadLift(2, 4)(torch.zeros(1, 3)), "does not take"),
        (lambda: plain_layers.Shift(1)(torch.zeros(1, 3)), "does not take"),
        (lambda: DenseOperator(2, 1)(torch.zeros(1, 3)), "2 features"),
        (
            lambda: plain_layers.Normalization([0.5] * 3, [0.2] * 3)(torch.zeros(1, 1, 4, 4)),
            "does not take",
        ),
        (
            lambda: certificates.lipschitz_bound(
                plain_layers.Normalization([0.5] * 3, [0.2] * 3), (1, 4, 4)
            ),
            "does not take",
        ),
        (
            lambda: certificates.lipschitz_bound(plain_layers.ResidualBlock(nn.Linear(4, 1)), (4,)),
            "does not take",
        ),
        (lambda: plain_layers.ResidualBlock(nn.Linear(4, 1))(torch.zeros(1, 4)), "does not take"),
        (
            lambda: NonExpansiveBlock(GradientField(DenseOperator(2, 2)), 1.0, time_span=1.0),
            "not both",
        ),
        (lambda: plain_layers.Normalization([0.0], [0.0]), "positive"),
        (lambda: plain_layers.Normalization([0.0, 0.0], [1.0]), "one number a channel"),
    ],
)
def test_clear_sentences(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_rows_that_are_not_finite_cannot_be_restored():
    operator = DenseOperator(3, 2, orthonormal=True)
    with torch.no_grad():
        operator.weight[0, 0] = math.nan
    with pytest.raises(ValueError, match="head contain NaN"):
        operators.restore_orthonormal_rows(nn.ModuleDict({"head": operator}))


# ---- each constant counts (make mutate) ----------------------------------------------------------


def test_the_field_is_the_gradient_of_its_potential_where_a_stride_leaves_pixels_out():
    field = randomise(GradientField(ConvOperator(2, 3, 3, 2, 0), "tanh").double(), 0)
    x = torch.randn(2, 2, 6, 7, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    potential = field.operator(x, field.bias).cosh().log().sum()
    (slope,) = torch.autograd.grad(potential, x)
    assert torch.allclose(field(x), slope, atol=1e-10)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("activation, slope", [("relu", 1.0), ("sigmoid", 0.25)])
def test_the_constant_of_a_field_is_slope_times_the_square_of_the_norm(train, activation, slope):
    field = GradientField(DenseOperator(4, 4), activation).double().train(train)
    field.operator.weight.data.mul_(3)
    x = torch.zeros(1, 4, dtype=torch.float64)
    assert float(torch.as_tensor(field.L(x)).detach()) == pytest.approx(9 * slope, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_a_little_shorter_than_the_bound(dtype):
    down = 1 - 2 * torch.finfo(dtype).eps
    field = GradientField(DenseOperator(4, 4))
    assert NonExpansiveBlock(field, 1.5).steps(3.0, dtype) == (1, 1.5 * down / 3.0)
    block = NonExpansiveBlock(field, time_span=1.0)
    assert block.steps(1.0, dtype) == (1, 1.0)
    assert block.steps(2.0, dtype) == (2, 0.5)  # one would go to the bound itself
    assert block.steps(4.1, dtype) == (3, 1 / 3)


def test_the_last_layer_is_its_formula():
    layer = NonExpansiveLinear(5, 3).double()
    layer.bias.data = torch.randn(3, generator=seeded(0), dtype=torch.float64)
    W = layer.operator.weight.detach().clone()
    x = torch.randn(7, 5, generator=seeded(1), dtype=torch.float64)
    for scale, used in ((0.5, 0.5), (1.5, 1.0)):
        layer.operator.weight.data = scale * W
        for train in (False, True):
            found = layer.train(train)(x)
            assert torch.allclose(found, used * x @ W.T + layer.bias, atol=1e-6)
        assert norms.dense_norm_bound(layer.eval().matrix.detach()) <= 1 + 1e-12


def small_field():
    return GradientField(DenseOperator(2, 2))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: NonExpansiveBlock(small_field(), method="midpoint"),
            r"step size is .* non-expansive$",
        ),
        (lambda: NonExpansiveBlock(small_field(), time_span=0.0), "^time_span must be positive"),
        (lambda: GradientField(DenseOperator(2, 2), "sine"), "^a nondecreasing activation must be"),
    ],
)
def test_whole_sentences(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_field_of_a_torch_layer_is_a_sentence():
    with pytest.raises(
        TypeError, match="a DenseOperator or another LinearOperator is needed, got Linear"
    ):
        GradientField(nn.Linear(2, 2))
