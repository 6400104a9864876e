"""Upper bounds against dense singular values, lower bounds against exact Jacobians."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from chapter_utils import (
    certificates,
    conv_norms,
    expansive,
    layers,
    norms,
    operators,
    plain_layers,
)
from helpers import exact_norm, examples, seeded

SEEDS = range(4)


# ---- linear maps ---------------------------------------------------------------------------------


@examples(120)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    inputs=st.integers(1, 4),
    outputs=st.integers(1, 4),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 2),
    mode=st.sampled_from(["zeros", "circular"]),
    seed=st.integers(0, 10**6),
)
def test_convolution_bound_is_never_below_the_truth(
    height, width, inputs, outputs, kernel, stride, padding, dilation, groups, mode, seed
):
    reach = [dilation * (k - 1) + 1 for k in kernel]
    if height + 2 * padding[0] < reach[0] or width + 2 * padding[1] < reach[1]:
        return
    if mode == "circular" and (padding[0] > height or padding[1] > width):
        return
    conv = nn.Conv2d(
        groups * inputs,
        groups * outputs,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        padding_mode=mode,
        dtype=torch.float64,
    )
    conv.weight.data = torch.randn(conv.weight.shape, generator=seeded(seed), dtype=torch.float64)
    shape = (groups * inputs, height, width)
    assert exact_norm(conv.double().eval(), shape) <= certificates.lipschitz_bound(conv, shape)


@pytest.mark.parametrize("kernel, padding", [(3, 1), (5, 2), (1, 0)])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_bound_is_exact_on_the_torus(kernel, padding, stride):
    for seed in SEEDS:
        conv = nn.Conv2d(
            2, 3, kernel, stride, padding, padding_mode="circular", dtype=torch.float64
        )
        conv.weight.data = torch.randn(
            conv.weight.shape, generator=seeded(seed), dtype=torch.float64
        )
        assert certificates.lipschitz_bound(conv, (2, 6, 8)) == pytest.approx(
            exact_norm(conv.double().eval(), (2, 6, 8)), rel=1e-9
        )


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_bound_is_tight_for_zero_padding(stride):
    excess = []
    for seed in SEEDS:
        conv = nn.Conv2d(3, 4, 3, stride, 1, dtype=torch.float64)
        conv.weight.data = torch.randn(
            conv.weight.shape, generator=seeded(seed), dtype=torch.float64
        )
        excess.append(
            certificates.lipschitz_bound(conv, (3, 16, 16))
            / exact_norm(conv.double().eval(), (3, 16, 16))
        )
    assert 1 <= min(excess) and max(excess) <= 1.05


def test_same_size_fourier_transform_would_underestimate():
    kernel = torch.tensor([-1.0, 1.0, -1.0])[None, None, None]
    conv = nn.Conv2d(1, 1, (1, 3), padding=(0, 1), bias=False)
    conv.weight.data = kernel
    truth = exact_norm(conv.double().eval(), (1, 1, 5))
    assert truth == pytest.approx(1 + math.sqrt(3), rel=1e-9)
    assert (
        conv_norms.conv_norm_bound(kernel, (1, 5), padding=(0, 1), padding_mode="circular") < truth
    )  # another operator
    assert conv_norms.conv_norm_bound(kernel, (1, 5), padding=(0, 1)) >= truth


@pytest.mark.filterwarnings("ignore:Using padding=.same.")
def test_same_padding_of_even_kernels():
    conv = nn.Conv2d(2, 2, 4, padding="same", dtype=torch.float64)
    assert exact_norm(conv.double().eval(), (2, 7, 7)) <= certificates.lipschitz_bound(
        conv, (2, 7, 7)
    )


def test_float32_weights_are_bounded_in_float64():
    weight = torch.randn(50, 70, generator=seeded(0))
    bound = norms.dense_norm_bound(weight)
    assert (
        torch.linalg.matrix_norm(weight.double(), 2).item()
        <= bound
        <= 1.0001 * torch.linalg.matrix_norm(weight, 2).item()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_power_iteration_comes_from_below_and_changes_nothing(dtype):
    for seed in SEEDS:
        A = torch.randn(20, 30, generator=seeded(seed), dtype=dtype)
        truth = torch.linalg.matrix_norm(A, 2).item()
        start = torch.randn(30, generator=seeded(seed + 100), dtype=dtype)
        kept, previous = start.clone(), 0.0
        for steps in (0, 1, 3, 10, 300):
            estimate, direction = norms.power_iteration(A.mv, A.T.mv, start, steps)
            assert previous - 1e-5 <= estimate.item() <= truth * (1 + 1e-5)
            assert direction.norm().item() == pytest.approx(1, abs=1e-5)
            previous = estimate.item()
        assert previous == pytest.approx(truth, rel=1e-3)
        assert torch.equal(start, kept)


def test_power_iteration_of_the_zero_map_is_zero():
    estimate, direction = norms.power_iteration(lambda v: 0 * v, lambda w: 0 * w, torch.ones(3), 5)
    assert estimate == 0 and torch.isfinite(direction).all()


def test_power_iteration_estimate_has_the_gradient_of_the_norm():
    A = torch.randn(6, 5, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    estimate, _ = norms.power_iteration(
        lambda v: A @ v, lambda w: A.T @ w, torch.ones(5, dtype=torch.float64), 2000
    )
    ours = torch.autograd.grad(estimate, A)[0]
    truth = torch.autograd.grad(torch.linalg.matrix_norm(A, 2), A)[0]
    assert torch.allclose(ours, truth, atol=1e-6)


# ---- modules -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, kernel, stride, padding",
    [(6, 2, 2, 0), (6, 3, 3, 0), (7, 3, 1, 1), (7, 3, 2, 1), (8, 2, 3, 0)],
)
def test_average_pooling(size, kernel, stride, padding):
    pool = nn.AvgPool2d(kernel, stride, padding)
    truth, bound = (
        exact_norm(pool.double().eval(), (2, size, size)),
        certificates.lipschitz_bound(pool, (2, size, size)),
    )
    assert truth <= bound <= 1.3 * truth
    if stride == kernel and not padding:
        assert bound == pytest.approx(1 / kernel, rel=1e-9)


def test_global_average_pooling():
    pool = nn.AdaptiveAvgPool2d(1)
    assert certificates.lipschitz_bound(pool, (2, 4, 6)) == pytest.approx(
        exact_norm(pool.double().eval(), (2, 4, 6)), rel=1e-9
    )


@pytest.mark.parametrize("kernel, stride, expected", [(3, 1, 3), (3, 2, 2), (2, 2, 1), (3, 3, 1)])
def test_max_pooling_is_attained_by_one_bright_pixel(kernel, stride, expected):
    pool = nn.MaxPool2d(kernel, stride)
    assert certificates.lipschitz_bound(pool, (1, 12, 12)) == pytest.approx(expected, rel=1e-9)
    best = 0.0
    for place in range(144):
        bright = torch.zeros(144, dtype=torch.float64)
        bright[place] = 1
        best = max(best, pool(bright.reshape(1, 1, 12, 12)).norm().item())
    assert best == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(),
        nn.LeakyReLU(0.3),
        nn.LeakyReLU(2.0),
        nn.ELU(),
        nn.ELU(1.5),
        nn.Tanh(),
        nn.Softplus(threshold=40),
        nn.Hardtanh(),
        nn.Sigmoid(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.SiLU(),
        nn.Mish(),
    ],
)
def test_activation_constants_are_the_largest_slopes_rounded_up(activation):
    t = torch.linspace(-8, 8, 400_001, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(activation(t).sum(), t)[0].abs().max().item()
    bound = certificates.lipschitz_bound(activation, (3,))
    assert slope <= bound + 1e-12 and bound <= slope + 5e-4


def test_softmax_constant():
    p = torch.rand(5000, 6, generator=seeded(0), dtype=torch.float64) ** 4
    p[0] = torch.tensor([1.0, 1, 0, 0, 0, 0])
    p = p / p.sum(1, keepdim=True)
    jacobians = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    norms = torch.linalg.matrix_norm(jacobians, 2)
    assert norms.max().item() == pytest.approx(
        certificates.lipschitz_bound(nn.Softmax(1), (6,)), abs=1e-12
    )


def test_batch_normalisation_in_evaluation_mode():
    norm = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        certificates.lipschitz_bound(norm, (3, 4, 4))
    norm.running_var.copy_(torch.tensor([0.25, 4.0, 1.0]))
    norm.weight.data = torch.tensor([1.0, -30.0, 0.5])
    assert certificates.lipschitz_bound(norm.eval(), (3, 4, 4)) == pytest.approx(
        exact_norm(norm.double().eval(), (3, 4, 4)), rel=1e-6
    )


def test_networks_multiply_and_skips_add():
    linear = nn.Linear(4, 4, dtype=torch.float64)
    norm = torch.linalg.matrix_norm(linear.weight, 2).item()
    branch = nn.Sequential(linear, nn.ReLU(), nn.Sigmoid())
    assert certificates.lipschitz_bound(branch, (4,)) == pytest.approx(norm / 4, rel=1e-8)
    assert certificates.lipschitz_bound(plain_layers.ResidualBlock(branch), (4,)) == pytest.approx(
        1 + norm / 4, rel=1e-8
    )


def test_bound_of_random_networks_exceeds_every_measured_slope():
    for seed in SEEDS:
        torch.manual_seed(seed)
        network = (
            nn.Sequential(
                plain_layers.Normalization([0.4, 0.5], [0.2, 0.3]),
                nn.Conv2d(2, 4, 3, 2, 1),
                nn.GELU(),
                nn.MaxPool2d(3, 2, 1),
                plain_layers.ResidualBlock(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.SiLU())),
                nn.AvgPool2d(2),
                nn.Flatten(),
                nn.Linear(16, 5),
                nn.Softmax(1),
            )
            .double()
            .eval()
        )
        x = torch.rand(20, 2, 16, 16, dtype=torch.float64)
        assert norms.jacobian_norms(network, x).max() <= certificates.lipschitz_bound(
            network, (2, 16, 16)
        )


def test_jacobian_norms_agree_with_functional_differentiation():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    J = torch.func.vmap(torch.func.jacrev(network))(x)
    assert torch.allclose(norms.jacobian_norms(network, x), torch.linalg.matrix_norm(J, 2))


# ---- bad input -----------------------------------------------------------------------------------


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def test_unknown_modules_are_named_never_counted_as_one():
    with pytest.raises(TypeError, match="Bilinear"):
        certificates.lipschitz_bound(nn.Sequential(nn.Bilinear(2, 2, 2)), (2,))
    with pytest.raises(TypeError, match="Doubled"):
        certificates.lipschitz_bound(Doubled(2, 2), (2,))
    patched = nn.Linear(2, 2)
    patched.forward = lambda x: 5 * x
    with pytest.raises(TypeError, match="Linear"):
        certificates.lipschitz_bound(patched, (2,))
    block = layers.NonExpansiveBlock(layers.GradientField(operators.DenseOperator(2, 2))).eval()

    class Tripled(layers.NonExpansiveBlock):
        def forward(self, x):
            return 3 * super().forward(x)

    with pytest.raises(TypeError, match="Tripled"):
        certificates.lipschitz_bound(Tripled(block.field).eval(), (2,))
    block.field.register_forward_hook(lambda module, args, output: 3 * output)
    with pytest.raises(TypeError, match="GradientField has forward hooks"):
        certificates.lipschitz_bound(nn.Sequential(block), (2,))
    hooked = nn.ReLU()
    hooked.register_forward_hook(lambda module, args, output: 3 * output)
    with pytest.raises(TypeError, match="hooks"):
        certificates.lipschitz_bound(hooked, (2,))


class Answering(nn.Module):
    """Its rule answers for its parts, too."""

    def __init__(self):
        super().__init__()
        self.inner = Doubled(2, 2)

    def forward(self, x):
        return self.inner(x).tanh()


@certificates.lipschitz_bound.register(Answering)
def answering(module, shape):
    bound = 2 * norms.dense_norm_bound(module.inner.weight.detach())
    return certificates.Bound(bound, certificates.elementwise(64, 2, 10.0, 1.0))


class Calling:
    def __call__(self, x):
        return 10 * super().__call__(x)


class CallingModule(Calling, nn.Module):
    pass


def replaced(part, name):
    """The part with one method of its own."""
    setattr(part, name, lambda *arguments: getattr(type(part), name)(part, *arguments))
    return part


def derived(base, *names):
    """A subclass that replaces some methods, each by one that does the same."""
    return type(
        "Derived",
        (base,),
        {name: lambda self, *a, name=name: getattr(base, name)(self, *a) for name in names},
    )


def chain(field=None, **parts):
    """The parts of a non-expansive block; those given by name are used instead."""
    field = field or layers.GradientField(parts.get("operator") or operators.DenseOperator(2, 2))
    return nn.Sequential(parts.get("block", layers.NonExpansiveBlock)(field)).eval()


@pytest.mark.parametrize(
    "module",
    [
        derived(nn.Conv2d, "_conv_forward")(1, 1, 3),
        replaced(nn.Conv2d(1, 1, 3), "_conv_forward"),
        nn.Sequential(derived(nn.Flatten, "__call__")()),
        derived(nn.Sequential, "forward")(nn.ReLU()),
        chain(derived(layers.GradientField, "forward")(operators.DenseOperator(2, 2))),
        chain(operator=derived(operators.DenseOperator, "forward", "adjoint")(2, 2)),
        chain(operator=derived(operators.DenseOperator, "norm_bound")(2, 2)),
        chain(operator=replaced(operators.DenseOperator(2, 2), "norm_bound")),
        chain(block=derived(layers.NonExpansiveBlock, "steps")),
        chain(operator=derived(operators.DenseOperator, "forward", "norm_of")(2, 2)),
        type("Derived", (Calling, nn.Linear), {})(8, 2),
        type("Derived", (nn.ReLU, CallingModule), {})(),
        nn.utils.parametrizations.spectral_norm(
            derived(nn.Conv2d, "_conv_forward")(1, 1, 3)
        ).eval(),
    ],
)
def test_a_replaced_method_is_refused_wherever_it_is(module):
    with pytest.raises(
        TypeError, match=r"no Lipschitz bound is known for (Parametrized)?Derived|is replaced"
    ):
        certificates.lipschitz_bound(module, (1, 8, 8))


def test_a_class_with_a_rule_and_a_new_constructor_are_taken():
    class Net(nn.Sequential):
        def __init__(self, width):
            super().__init__(nn.Linear(2, width), nn.ReLU(), Answering())

        norm = nn.BatchNorm2d  # a setting that happens to be callable

        def train(self, mode=True):
            self.norm = nn.Identity
            return super().train(mode)

        def features(self, x):
            return self[0](x)

    net = Net(2).eval()
    product = math.prod(certificates.lipschitz_bound(net[k], (2,)) for k in (0, 2))
    assert certificates.lipschitz_bound(net, (2,)) == pytest.approx(product, rel=1e-8)
    net[2].inner.register_forward_hook(lambda module, arguments, output: 3 * output)
    with pytest.raises(TypeError, match="hooks"):
        certificates.lipschitz_bound(net, (2,))


def test_a_parametrisation_and_a_module_without_a_bound():
    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

    linear = nn.Linear(3, 3)
    nn.utils.parametrize.register_parametrization(linear, "weight", Symmetric())
    bound = norms.dense_norm_bound(linear.weight.detach())
    assert certificates.lipschitz_bound(linear.eval(), (3,)) == pytest.approx(bound, rel=1e-8)
    with pytest.raises(TypeError, match="known for Symmetric: give its class a rule"):
        certificates.lipschitz_bound(nn.Sequential(Symmetric()), (3, 3))


def test_a_field_that_is_no_gradient_has_no_safe_step():
    class Turning(layers.GradientField):
        def forward(self, x, tau=1.0):
            return tau * x.roll(1, -1)

    turning = Turning(operators.DenseOperator(2, 2))
    pair = expansive.SwitchingBlock(
        *(operators.DenseOperator(2, 2) for _ in range(2)), (0.3, 0.141)
    )
    pair.up = turning
    blocks = (layers.NonExpansiveBlock(turning).eval(), pair.eval())
    for block in blocks:
        with pytest.raises(TypeError, match="known for Turning, which replaces forward"):
            certificates.lipschitz_bound(block, (2,))
    rule = certificates.lipschitz_bound.register(Turning)
    rule(lambda module, shape: certificates.Bound(1.0, certificates.exact))
    assert certificates.lipschitz_bound(turning, (2,)) == 1
    for block in blocks:
        with pytest.raises(TypeError, match="Turning is no GradientField"):
            certificates.lipschitz_bound(block, (2,))


def test_a_rule_without_the_rounding_is_refused_before_anything_is_trained():
    class Halved(nn.Module):
        def forward(self, x):
            return x / 2

    certificates.lipschitz_bound.register(Halved)(lambda module, shape: 0.5)
    with pytest.raises(TypeError, match="must return Bound"):
        certificates.lipschitz_bound(nn.Sequential(Halved()), (2,))


def test_hooks_for_all_modules_are_seen():
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, arguments, output: 3 * output
    )
    try:
        with pytest.raises(TypeError, match="hooks for all modules"):
            certificates.lipschitz_bound(nn.ReLU(), (2,))
    finally:
        handle.remove()


def test_settings_changed_after_construction():
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    conv.stride, conv.padding = 2, 2  # numbers are fine for PyTorch, too
    truth = exact_norm(conv.double(), (1, 6, 6))
    assert truth <= certificates.lipschitz_bound(conv, (1, 6, 6)) <= 1.3 * truth
    circular = nn.Conv2d(1, 1, 1, padding=3, padding_mode="circular")
    assert certificates.lipschitz_bound(circular, (1, 6, 6)) > 0
    bound = certificates.lipschitz_bound(circular, (1, 6, 6))
    for padding in ((0, 0), "same"):  # circular padding does not look at it any more
        circular.padding = padding
        assert exact_norm(circular.double(), (1, 6, 6)) <= bound
        assert certificates.lipschitz_bound(circular, (1, 6, 6)) == bound
    same = nn.Conv2d(1, 1, (3, 2), padding="same", dilation=(3, 1), padding_mode="circular")
    assert certificates.lipschitz_bound(same, (1, 8, 8)) > 0
    same.dilation = (1, 1)
    truth = exact_norm(same.double(), (1, 8, 8))
    assert truth <= certificates.lipschitz_bound(same, (1, 8, 8)) <= 2 * truth
    normalisation = plain_layers.Normalization([0.5, 0.5], [0.1, 0.2]).eval()
    for bad in (-0.1, 0.0, math.nan, math.inf):
        normalisation.std[0] = bad
        with pytest.raises(ValueError, match="positive and finite"):
            certificates.lipschitz_bound(normalisation, (2, 3, 3))


def test_a_model_that_is_refused_is_not_changed():
    norm = nn.BatchNorm2d(1)
    with pytest.raises(ValueError, match=r"model.eval"):
        certificates.lipschitz_bound(plain_layers.ResidualBlock(nn.Sequential(norm)), (1, 4, 4))
    assert norm.num_batches_tracked == 0 and norm.running_var == 1


@pytest.mark.parametrize(
    "module, shape, message",
    [
        (nn.Conv2d(3, 4, 3), (2, 8, 8), "does not take inputs"),
        (nn.Conv2d(3, 4, 3), (3, 2, 2), "smaller than the kernel"),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 8, 8), "padding_mode"),
        (nn.Linear(3, 4), (5,), "does not take inputs"),
        (nn.Dropout(), (5,), "model.eval"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 5, 5), "mode='nearest' only"),
        (nn.CELU(-1.0), (3,), "positive alpha"),
        (nn.MaxPool2d(2, dilation=2), (1, 5, 5), "dilation 1"),
        (nn.MaxPool2d(2), (5,), "does not take inputs"),
        (nn.BatchNorm2d(3).eval(), (5, 4, 4), "does not take inputs"),
        (nn.Softplus(), (3,), "from 40 to 80"),
        (nn.Softplus(threshold=1000), (3,), "from 40 to 80"),
        (nn.Softplus(-1.0, 40), (3,), "positive beta"),
        (nn.LeakyReLU(math.nan), (3,), "no bound"),
        (nn.MaxPool2d(2, return_indices=True), (1, 4, 4), "indices"),
        (
            plain_layers.ResidualBlock(nn.Sequential(nn.SiLU(inplace=True), nn.Linear(3, 3))),
            (3,),
            "in place",
        ),
        (
            plain_layers.ResidualBlock(nn.Sequential(nn.Flatten(), nn.ELU(3, inplace=True))),
            (3,),
            "in place",
        ),
        (plain_layers.ResidualBlock(nn.Linear(3, 4)), (3,), "does not take inputs"),
    ],
)
def test_clear_sentences(module, shape, message):
    with pytest.raises(ValueError, match=message):
        certificates.lipschitz_bound(module, shape)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite(bad):
    linear = nn.Linear(2, 2)
    linear.weight.data[0, 0] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        certificates.lipschitz_bound(linear, (2,))
    with pytest.raises(ValueError, match="NaN or infinite"):
        conv_norms.conv_norm_bound(torch.full((1, 1, 2, 2), bad), (4, 4))


@pytest.mark.parametrize("scale", [1e-170, 1e-30, 1e150])
def test_tiny_and_huge_kernels(scale):
    weight = scale * torch.randn(2, 2, 3, 3, generator=seeded(0), dtype=torch.float64)
    bound = conv_norms.conv_norm_bound(weight, (5, 5), padding=(1, 1))
    assert bound == pytest.approx(
        scale * conv_norms.conv_norm_bound(weight / scale, (5, 5), padding=(1, 1)), rel=1e-6
    )
    assert conv_norms.conv_norm_bound(0 * weight, (5, 5)) == 0


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("kernel, stride, padding", [(5, 1, 2), (5, 2, 3), (4, 1, 3)])
def test_the_bound_is_nearly_the_norm_on_images_smaller_than_the_kernel(
    size, kernel, stride, padding
):
    """Up to 16 times the norm, when taps that read only padding counted."""
    for mode in ("zeros", "circular"):
        if mode == "circular" and padding > min(size):
            continue
        conv = nn.Conv2d(2, 3, kernel, stride, padding, bias=False, padding_mode=mode).double()
        conv.weight.data = torch.randn(conv.weight.shape, generator=seeded(1)).double()
        truth = exact_norm(conv, (2, *size))
        bound = certificates.lipschitz_bound(conv, (2, *size))
        largest = 1 if max(size) < kernel else 1.15
        assert truth <= bound <= truth * largest * (1 + 1e-9)


@pytest.mark.parametrize("n, stride, padding", [(5, 2, 1), (7, 3, 1), (9, 4, 2), (5, 4, 2)])
def test_circular_padding_with_a_stride_that_does_not_divide(n, stride, padding):
    """Up to 4.7 times the norm, when it was bounded by that of stride 1."""
    kernel = 2 * padding + 1
    conv = nn.Conv2d(1, 1, kernel, stride, padding, bias=False, padding_mode="circular").double()
    conv.weight.data = torch.ones_like(conv.weight)
    truth = exact_norm(conv, (1, n, n))
    assert truth <= certificates.lipschitz_bound(conv, (1, n, n)) <= 2.1 * truth


@pytest.fixture
def batches(monkeypatch):
    """How many matrices the bounds look at, each time."""
    found = []
    usual = conv_norms.singular_value_bound

    def counted(matrices, **options):
        found.append(len(matrices))
        return usual(matrices, **options)

    monkeypatch.setattr(conv_norms, "singular_value_bound", counted)
    return found


def test_of_the_four_tori_the_worse_ones_end_at_once(batches):
    """On average 2.4 are looked at, 3.1 if a torus does not begin where the last had its peak."""
    half = 29 * 15
    for seed in range(8):
        weight = torch.randn(8, 8, 3, 3, generator=seeded(seed), dtype=torch.float64)
        conv_norms.conv_norm_bound(weight, (28, 28), padding=(1, 1))
    assert sum(batches) <= 8 * 2.7 * half and max(batches) == 29  # one row at a time


def test_few_frequencies_at_a_time_on_long_signals(batches):
    conv = nn.Conv1d(2, 2, 5, padding=2).eval()
    certificates.lipschitz_bound(conv, (2, 3000))
    assert max(batches) == 8


def test_one_matrix_is_enough_for_single_pixels(batches):
    conv = nn.Conv2d(3, 4, 1, stride=2, padding=1, bias=False).double()
    bound = certificates.lipschitz_bound(conv, (3, 8, 8))
    assert set(batches) == {1}
    assert bound == pytest.approx(torch.linalg.matrix_norm(conv.weight[:, :, 0, 0], 2).item())


@pytest.mark.parametrize("channels, size", [(64, (1, 100_000)), (256, (2000, 2000))])
def test_what_would_take_days_or_all_memory_is_refused_before(channels, size, batches):
    weight = torch.ones(channels, channels, 3, 3)
    with pytest.raises(ValueError, match="take smaller images or fewer channels"):
        conv_norms.conv_norm_bound(weight, size, padding=(1, 1))
    assert not batches


def test_wrong_shapes():
    with pytest.raises(ValueError, match="padding_mode must be one of zeros, circular, got 'ref"):
        conv_norms.conv_norm_bound(torch.zeros(1, 1, 2, 2), (4, 4), padding_mode="reflect")
    with pytest.raises(ValueError, match="padding must be one of same, valid, got 'full'"):
        conv_norms.conv_norm_bound(torch.zeros(1, 1, 2, 2), (4, 4), padding="full")
    with pytest.raises(ValueError, match="matrix"):
        norms.dense_norm_bound(torch.zeros(3))
    with pytest.raises(ValueError, match="kernel of shape"):
        conv_norms.conv_norm_bound(torch.zeros(3, 3), (4, 4))
    with pytest.raises(ValueError, match="steps"):
        norms.power_iteration(lambda v: v, lambda v: v, torch.ones(2), -1)


def test_what_the_walk_refuses_because_the_bound_would_not_hold():
    shape = (1, 4, 4)
    with pytest.raises(ValueError, match="mixes the samples"):
        certificates.lipschitz_bound(nn.Flatten(0), shape)
    with pytest.raises(ValueError, match="complex"):
        norms.dense_norm_bound(3j * torch.eye(2))
    net = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(16, 3)))
    with pytest.raises(ValueError, match="may change at every use"):
        certificates.lipschitz_bound(net, shape)
    assert certificates.lipschitz_bound(net.eval(), shape) > 0


def test_jacobian_norms_work_where_gradients_are_off():
    with torch.no_grad():
        assert norms.jacobian_norms(nn.Tanh(), torch.zeros(2, 3)).tolist() == [1.0, 1.0]


def test_jacobian_norms_work_under_inference_mode():
    linear = nn.Linear(3, 2)
    with torch.inference_mode():
        found = norms.jacobian_norms(linear, torch.rand(4, 3))
    truth = torch.linalg.matrix_norm(linear.weight.detach(), 2)
    assert torch.allclose(found, truth.expand(4))


def test_transposed_and_one_dimensional_convolutions_stretch_as_much_as_their_matrices():
    generator = seeded(0)
    for conv, shape in (
        (nn.Conv1d(2, 3, 3, 2, 1), (2, 9)),
        (nn.ConvTranspose1d(2, 3, 3, 2, 1), (2, 9)),
        (nn.ConvTranspose2d(2, 3, 3, 2, 1, 1), (2, 5, 6)),
        (nn.ConvTranspose2d(4, 2, 3, 1, 1, groups=2), (4, 6, 6)),
    ):
        conv.weight.data = torch.randn(conv.weight.shape, generator=generator)
        truth = exact_norm(conv.double(), shape)
        assert truth <= certificates.lipschitz_bound(conv, shape) <= 1.3 * truth


@pytest.mark.parametrize(
    "pool, shape",
    [
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (1, 7, 8)),
        (nn.AvgPool2d(2, ceil_mode=True), (1, 5, 5)),
        (nn.AvgPool2d(2, divisor_override=1), (1, 6, 6)),
        (nn.AvgPool2d(2, 3), (1, 8, 8)),
        (nn.AvgPool1d(3, 1), (2, 9)),
        (nn.AdaptiveAvgPool2d((3, 2)), (2, 7, 5)),
        (nn.AdaptiveAvgPool1d(4), (2, 6)),
        (nn.Upsample(scale_factor=2), (2, 3, 4)),
        (nn.Upsample(size=(5, 7)), (1, 3, 4)),
    ],
    ids=str,
)
def test_linear_maps_without_negative_entries(pool, shape):
    truth = exact_norm(pool, shape)
    assert truth <= certificates.lipschitz_bound(pool, shape) <= 1.03 * truth
