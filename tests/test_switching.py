"""Pairs of contractive and expansive steps, and the five regimes of lesson 6.

Their bounds are never below the truth.
"""

import copy
import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chapter_utils import (
    certificates,
    expansive,
    image_operators,
    models,
    norms,
    operators,
    plain_layers,
)
from chapter_utils.expansive import (
    SwitchingBlock,
    contraction_factor,
    largest_expansion,
    pair_factor,
)
from helpers import seeded

F64 = torch.float64
seeds = st.integers(0, 10**6)


def randomise(module, seed, spread=1.0):
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(spread * noise.to(parameter))
    return module


def measured_slope(block, shape, seed, points=100):
    """Largest local slope found: at random points near the kinks, then steepest ascent."""
    generator = seeded(seed)
    x = 3 * torch.randn(points, *shape, generator=generator, dtype=torch.float64)
    return norms.jacobian_norms(block, x).max().item()


# ---- operators -----------------------------------------------------------------------------------


def some_operator(kind, seed):
    generator = seeded(seed)
    a, b = torch.randint(1, 6, (2,), generator=generator).tolist()
    height, width = torch.randint(3, 7, (2,), generator=generator).tolist()
    if kind == "dense":
        return operators.DenseOperator(a, b), (a,)
    if kind == "shift":
        return image_operators.ShiftOperator(a + 4), (a + 4, height, width)
    return image_operators.ConvOperator(a, b), (a, height, width)


@given(st.sampled_from(["dense", "shift", "convolution"]), seeds)
def test_smallest_bound_is_never_above_the_smallest_singular_value(kind, seed):
    operator, shape = some_operator(kind, seed)
    randomise(operator.double(), seed)
    matrix = norms.dense_matrix(operator, shape).detach()
    values = torch.linalg.svdvals(matrix)
    smallest = values[-1].item() if matrix.shape[0] >= matrix.shape[1] else 0.0
    bound = operator.smallest_bound(shape)
    assert bound <= smallest + 1e-14
    if kind != "convolution":
        assert bound >= smallest - 1e-8
        assert operator.norm_bound(shape) == pytest.approx(values[0].item(), rel=1e-8)


def test_nothing_is_known_of_the_smallest_singular_value_under_zero_padding():
    """Orthogonal on the torus (a shift), singular with zeros moving in: the torus says nothing."""
    kernel = torch.zeros(1, 1, 3, 3, dtype=F64)
    kernel[0, 0, 1, 2] = 1
    operator = image_operators.ConvOperator(1, 1).double()
    with torch.no_grad():
        operator.weight.copy_(kernel)
    assert operator.norm_bound((1, 4, 4)) == pytest.approx(1)
    assert torch.linalg.svdvals(norms.dense_matrix(operator, (1, 4, 4)).detach())[-1] < 1e-12
    assert operator.smallest_bound((1, 4, 4)) == 0


@given(seeds, st.integers(4, 9), st.integers(1, 5), st.integers(1, 5))
def test_shift_operator_has_its_adjoint_and_stays_orthogonal(seed, channels, height, width):
    operator = image_operators.ShiftOperator(channels, orthonormal=True).double()
    generator = seeded(seed)
    x, y = torch.randn(2, 3, channels, height, width, generator=generator, dtype=F64)
    randomise(operator, seed, 0.05)
    assert ((operator(x) * y).sum() - (x * operator.adjoint(y)).sum()).abs() < 1e-10
    for _ in range(8):
        operators.restore_orthonormal_rows(operator)
    assert torch.allclose(operator.adjoint(operator(x)), x, atol=1e-12)
    with pytest.raises(ValueError, match="height, width"):
        operator(torch.zeros(1, channels + 1, 3, 3, dtype=F64))


# ---- factors -------------------------------------------------------------------------------------


def test_factors_of_the_literature():
    assert contraction_factor(0.5) == 0.75 and contraction_factor(
        0.5, rule="monotone"
    ) == pytest.approx(math.sqrt(0.75))
    assert (
        contraction_factor(4 / 3) == pytest.approx(1 / 3)
        and contraction_factor(4 / 3, rule="monotone") > 1.2
    )
    assert pair_factor((0.3, 0.141), (2, 2), rule="monotone") == pytest.approx(0.99986, abs=5e-6)
    assert pair_factor((0.3, 0.141), (2, 2)) == pytest.approx(0.9805, abs=5e-5)
    assert largest_expansion(0.11, (2, 1), rule="monotone") == pytest.approx(0.0548245, abs=5e-8)


@given(st.floats(0.01, 1.99), st.floats(0, 1), st.integers(1, 4), st.integers(1, 4))
def test_largest_expansion_brings_the_pair_to_one(down, kappa, parts_down, parts_up):
    for rule in expansive.RULES:
        up = largest_expansion(down, (parts_down, parts_up), kappa, rule)
        if up < 1e-12:
            assert contraction_factor(down / parts_down, kappa, rule) >= 1 - 1e-12
        elif up < 1e6:
            assert pair_factor((down, up), (parts_down, parts_up), kappa, rule) == pytest.approx(1)
            assert pair_factor((down, 1.01 * up), (parts_down, parts_up), kappa, rule) > 1
    sharp, monotone = (
        contraction_factor(down / parts_down, kappa, rule) for rule in expansive.RULES
    )
    assert sharp <= monotone + 1e-12  # gradient structure can only help


def test_factors_refuse_what_they_do_not_cover():
    with pytest.raises(ValueError, match="rule must be one of gradient, monotone, got 'x'"):
        contraction_factor(1, rule="x")
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1.5"):
        contraction_factor(1, 1.5)


# ---- blocks --------------------------------------------------------------------------------------


def some_block(kind, steps, substeps, seed, noise):
    generator = seeded(seed)
    size = int(torch.randint(4, 7, (), generator=generator))
    if kind == "dense":
        maps, shape = [operators.DenseOperator(size, size) for _ in range(2)], (size,)
    elif kind == "shift":
        maps, shape = [image_operators.ShiftOperator(size) for _ in range(2)], (size, 2, 3)
    else:
        maps = [image_operators.ConvOperator(2, 3) for _ in range(2)]
        shape = (2, 3, 4)
    block = SwitchingBlock(*maps, steps, substeps).double()
    randomise(block, seed, noise)
    return block.eval(), shape


@given(
    st.sampled_from(["dense", "shift", "convolution"]),
    st.sampled_from(
        [
            ((0.3, 0.141), (2, 2)),
            (None, (2, 1)),
            (None, (1, 1)),
            ((1.3, 0.5), (2, 1)),
            ((0.5, -1.5), (1, 1)),
        ]
    ),
    st.sampled_from([0.0, 0.05, 0.5]),
    seeds,
)
def test_bound_of_a_pair_is_at_most_one_and_never_below_the_truth(kind, options, noise, seed):
    block, shape = some_block(kind, *options, seed, noise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the cut of the expansive step is wanted here
        bound = certificates.lipschitz_bound(block, shape)
        assert bound <= 1 + 1e-9
        assert measured_slope(block, shape, seed) <= bound + 1e-12
        assert certificates.lipschitz_bound(
            torch.nn.Sequential(block, block), shape
        ) == pytest.approx(bound**2)


def steepest(block):
    """Biases that put every unit of the contractive step on its flat side, of the other one on."""
    with torch.no_grad():
        block.down.bias.fill_(-100)
        block.up.bias.fill_(100)
    return torch.zeros(1, len(block.down.bias), dtype=F64)


def test_bound_of_an_orthogonal_pair_is_attained():
    for seed in range(3):
        block, shape = some_block("dense", (0.3, 0.141), (2, 2), seed, 0.0)
        slope = norms.jacobian_norms(block, steepest(block)).item()
        assert (
            slope
            == pytest.approx(certificates.lipschitz_bound(block, shape), rel=1e-6)
            == pytest.approx(0.98052, abs=1e-5)
        )


def test_without_the_measured_eigenvalue_the_pair_would_stretch():
    """Dropped hypothesis: lambda_min = 0.725 makes the prescribed steps 1.025-Lipschitz.

    The block cuts them, and says so.
    """
    block, shape = some_block("dense", (0.3, 0.141), (2, 2), 1, 0.0)
    with torch.no_grad():
        left, values, right = torch.linalg.svd(block.down.operator.weight)
        values[-1] = math.sqrt(0.725)
        block.down.operator.weight.copy_(left @ torch.diag(values) @ right)

    def uncut(z):
        for sign, field, step in ((-1, block.down, 0.15), (1, block.up, 0.0705)):
            for _ in range(2):
                z = z + field(z, sign * step / field.operator.norm_bound(shape) ** 2)
        return z

    factor = pair_factor((0.3, 0.141), (2, 2), expansive.SLOPE * 0.725)
    assert factor == pytest.approx(1.025, abs=5e-4)
    assert norms.jacobian_norms(uncut, steepest(block)).item() == pytest.approx(factor, rel=1e-6)
    with pytest.warns(
        UserWarning,
        match=r"only 0.725 times the largest: the expansive step is cut from 0.141 to 0.11",
    ):
        bound = certificates.lipschitz_bound(block, shape)
    assert bound <= 1 + 1e-9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert norms.jacobian_norms(block, steepest(block)).item() == pytest.approx(bound, rel=1e-6)


@given(
    st.floats(-30, 30),
    st.floats(-30, 30),
    st.sampled_from([(2, 1), (1, 1), (3, 2)]),
    st.sampled_from([torch.float32, F64]),
)
def test_flexible_steps_stay_within_their_limits(first, second, substeps, dtype):
    block = SwitchingBlock(
        *(operators.DenseOperator(4, 4, orthonormal=True) for _ in range(2)), None, substeps
    ).to(dtype)
    with torch.no_grad():
        block.raw.copy_(torch.tensor([first, second]))
    block.eval()
    down, up = block.steps((4,))
    assert 0 < down < 2 * substeps[0] and up <= largest_expansion(down, substeps) + 1e-12
    assert certificates.lipschitz_bound(block, (4,)) <= 1 + 1e-6
    copied = copy.deepcopy(block)
    with torch.no_grad():
        copied.raw.zero_()
    assert block.steps((4,)) == (down, up)


def test_prescribed_steps_beyond_the_limit_are_refused():
    maps = [operators.DenseOperator(3, 3) for _ in range(2)]
    with pytest.raises(ValueError, match=r"c2 may be at most 0.333333, got 0.34"):
        SwitchingBlock(*maps, (0.5, 0.34), (1, 1))
    with pytest.raises(ValueError, match=r"c1 must lie in \(0, 4\), got 4.5"):
        SwitchingBlock(*maps, (4.5, 0.0), (2, 2))
    with pytest.raises(ValueError, match="substeps must be positive"):
        SwitchingBlock(*maps, None, (0, 1))


def test_weights_without_a_bound():
    block, shape = some_block("dense", (0.3, 0.141), (2, 2), 0, 0.0)
    with pytest.raises(ValueError, match="training mode"):
        certificates.lipschitz_bound(block.train(), shape)
    block.eval()
    x = torch.randn(2, *shape, dtype=F64)
    with torch.no_grad():
        block.down.operator.weight.zero_()
    with pytest.warns(UserWarning, match="cut from 0.141 to 0"):
        assert torch.equal(block(x), x) and certificates.lipschitz_bound(block, shape) <= 1 + 1e-9
    with torch.no_grad():
        block.up.operator.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="NaN"):
        certificates.lipschitz_bound(block, shape)
    block, shape = some_block("dense", None, (2, 1), 0, 0.0)
    with torch.no_grad():
        block.raw[1] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        certificates.lipschitz_bound(block, shape)


# ---- regimes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", models.REGIMES)
def test_regimes_have_sound_bounds_and_the_certified_ones_at_most_one(regime):
    for seed in range(2):
        net = models.regime_net(regime, (1, 8, 8), classes=3, channels=4, depth=1, seed=seed)
        randomise(net, seed, 0.1)
        for _ in range(4):
            operators.restore_orthonormal_rows(net)
        net.double().eval()
        bound = certificates.lipschitz_bound(net, (1, 8, 8))
        assert measured_slope(net, (1, 8, 8), seed, 50) <= bound
        assert (bound <= 1 + 1e-6) == (regime in models.CERTIFIED)
        assert net(torch.rand(2, 1, 8, 8, dtype=F64)).shape == (2, 3)


def test_regime_nets_depend_on_the_seed_only():
    state = torch.random.get_rng_state()
    one, two, three = (models.regime_net("flexible", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    x = torch.rand(1, 1, 28, 28)
    assert torch.equal(one(x), two(x)) and not torch.equal(one(x), three(x))


def test_regime_nets_name_what_does_not_fit():
    with pytest.raises(ValueError, match=r"regime must be one of unconstrained, .*, got 'U'"):
        models.regime_net("U")
    with pytest.raises(ValueError, match="divisible by 4, got 30 x 28"):
        models.regime_net("naive", (1, 30, 28))
    with pytest.raises(ValueError, match="cannot lift 12 channels to 8"):
        models.regime_net("naive", (3, 32, 32), channels=8)


def test_penalty_vanishes_exactly_for_orthogonal_maps():
    net = models.regime_net("naive", channels=4).double()
    assert operators.orthogonality_penalty(net) < 1e-10
    randomise(net, 0, 0.1)
    value = operators.orthogonality_penalty(net)
    expected = 0.0
    for module in net.modules():
        if isinstance(module, image_operators.ShiftOperator):
            expected += ((torch.linalg.svdvals(module.weight) ** 2 - 1) ** 2).sum().item()
    assert value.item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="no linear operator"):
        operators.orthogonality_penalty(torch.nn.ReLU())
    with pytest.raises(ValueError, match=r"kernels of shape \(1, 1, 3, 3\)"):
        operators.orthogonality_penalty(image_operators.ConvOperator(1, 1))


def test_untied_block_takes_maps_through_another_size_and_copies_nothing():
    for seed in range(5):
        block = plain_layers.UntiedBlock(
            operators.DenseOperator(3, 5), operators.DenseOperator(5, 3), 0.5
        ).double()
        randomise(block, seed)
        assert measured_slope(block, (3,), seed) <= certificates.lipschitz_bound(block, (3,))
    copied = plain_layers.UntiedBlock(
        image_operators.ConvOperator(4, 4), image_operators.ConvOperator(4, 1)
    )
    for call in (
        lambda: copied(torch.zeros(1, 4, 3, 3)),
        lambda: certificates.lipschitz_bound(copied, (4, 3, 3)),
    ):
        with pytest.raises(ValueError, match="does not take inputs of shape"):
            call()


# ---- each constant counts (make mutate) ----------------------------------------------------------


def orthogonal_pair(c=None, substeps=(2, 1), features=4):
    with models.seeded(0):
        A, B = (operators.DenseOperator(features, features, orthonormal=True) for _ in range(2))
    return SwitchingBlock(A, B, c, substeps).double().eval()


def test_the_whole_range_of_kappa_and_its_ends():
    assert contraction_factor(0.5, 1.0) == 0.5 and contraction_factor(0.5, 0.0) == 1.0
    assert largest_expansion(1.0, kappa=1.0) == math.inf  # the first step shrinks to a point
    assert largest_expansion(2.0) == 0


@pytest.mark.parametrize("substeps", [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_exactly_the_allowed_steps_are_taken(substeps):
    c1 = 0.9 * substeps[0]
    limit = largest_expansion(c1, substeps)
    parts1, parts2 = substeps
    for c2 in (limit, 0.0, -2 * parts2):
        assert orthogonal_pair((c1, c2), substeps).prescribed == (c1, c2)
    for c2 in (limit * (1 + 1e-9), -2.01 * parts2):
        with pytest.raises(ValueError, match=rf"c2 may be at most .*, got {c2}"):
            orthogonal_pair((c1, c2), substeps)
    for c1 in (0, 2 * parts1, -0.1):
        with pytest.raises(ValueError, match=rf"c1 must lie in \(0, {2 * parts1}\), got {c1}"):
            orthogonal_pair((c1, 0.0), substeps)


@pytest.mark.parametrize("conditioning", [1.0, 0.7])
def test_the_steps_are_those_of_the_formula(conditioning):
    block = orthogonal_pair()
    block.raw.data = torch.tensor([1.0, -0.4], dtype=F64)
    slack = 16 * torch.finfo(F64).eps
    kappa = 0.5 * conditioning * (1 - slack)
    c1, c2 = block.limited(conditioning)
    assert c1 == 2 * (0.055 + 0.89 * torch.sigmoid(torch.tensor(1.0, dtype=F64)))
    wanted = (1 - slack) * largest_expansion(c1, (2, 1), kappa) * math.tanh(-0.4)
    assert c2.item() == pytest.approx(wanted.item(), rel=1e-15)
    limit = largest_expansion(0.9, (2, 1))
    cut = (1 - slack) * largest_expansion(0.9, (2, 1), kappa)
    assert orthogonal_pair((0.9, limit)).limited(conditioning) == (0.9, cut)


@pytest.mark.parametrize("train", [False, True])
def test_a_pair_is_its_formula_and_learns_its_steps(train):
    block = randomise(orthogonal_pair(), 0, 0.0).train(train)
    block.raw.data = torch.tensor([0.3, 0.8], dtype=F64)
    for field in (block.down, block.up):
        field.bias.data = torch.randn(4, generator=seeded(3), dtype=F64)
    x = torch.randn(5, 4, generator=seeded(1), dtype=F64)
    c1, c2 = block.limited(1.0)
    A, B = block.down.operator.weight, block.up.operator.weight
    y = x
    for _ in range(2):
        y = y - c1 / 2 * torch.nn.functional.leaky_relu(y @ A.T + block.down.bias, 0.5) @ A
    y = y + c2 * torch.relu(y @ B.T + block.up.bias) @ B
    assert torch.allclose(block(x), y, atol=1e-9)
    if train:
        block(x).square().sum().backward()
        assert (block.raw.grad.abs() > 1e-6).all()
