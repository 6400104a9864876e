"""The table of rules, walked: every bound holds, and so does what its rule says of rounding.

What is computed in float64 is compared with exact arithmetic: fractions for linear maps, mpmath
with 50 digits for the rest. What is computed in float32 is compared with float64. Slopes are
compared with exact Jacobians. The references below share no line with the package.
"""

import copy
import math
from fractions import Fraction

import mpmath
import pytest
import torch
from torch import nn
from torch.func import jacrev
from torch.nn.utils import prune

from chapter_utils import (
    certificates,
    expansive,
    image_operators,
    layers,
    operators,
    plain_layers,
    structure,
)
from chapter_utils.certificates import bounds

mpmath.mp.dps = 50
IMAGE = (2, 4, 4)
SIGNAL = (2, 4)
FLAT = (6,)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# ---- the cases: for every type a module, and the shape of its inputs -----------------------------


def dense(rows, columns=6):
    return operators.DenseOperator(columns, rows)


def block(activation="relu", method="euler", **options):
    return layers.NonExpansiveBlock(layers.GradientField(dense(5), activation), None, method)


def pair(*operators_, c=None, substeps=(2, 2)):
    return expansive.SwitchingBlock(*operators_, c, substeps)


def orthonormal(features):
    return operators.DenseOperator(features, features, orthonormal=True)


def long_block():
    return layers.NonExpansiveBlock(layers.GradientField(dense(5)), time_span=3.0)


def branch(activation):
    return nn.Sequential(nn.Linear(6, 9), activation, nn.Linear(9, 6))


MAKE = {
    "linear": (lambda: nn.Linear(6, 3), FLAT),
    "linear, no bias": (lambda: nn.Linear(6, 3, bias=False), FLAT),
    "convolution, 1-D": (lambda: nn.Conv1d(2, 4, 3, 2, 1, groups=2), SIGNAL),
    "convolution, 1-D circular": (
        lambda: nn.Conv1d(2, 3, 2, padding="same", padding_mode="circular"),
        SIGNAL,
    ),
    "transposed": (lambda: nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, groups=2), IMAGE),
    "transposed, dilated": (lambda: nn.ConvTranspose2d(2, 3, (1, 2), dilation=2), IMAGE),
    "transposed, 1-D": (lambda: nn.ConvTranspose1d(2, 3, 4, 3, 2), SIGNAL),
    "convolution": (lambda: nn.Conv2d(2, 3, 3, padding=1), IMAGE),
    "convolution, stride": (lambda: nn.Conv2d(2, 4, 3, 2, 1, groups=2), IMAGE),
    "convolution, circular": (
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        IMAGE,
    ),
    "batch norm": (lambda: nn.BatchNorm2d(2), IMAGE),
    "batch norm, not affine": (lambda: nn.BatchNorm2d(2, affine=False), IMAGE),
    "batch norm, 1-D": (lambda: nn.BatchNorm1d(2), SIGNAL),
    "batch norm, features": (lambda: nn.BatchNorm1d(2), (2,)),
    "average, 1-D": (lambda: nn.AvgPool1d(3, 2, 1), SIGNAL),
    "average, ceil": (lambda: nn.AvgPool2d(3, 2, 1, True, False), IMAGE),
    "average, divisor": (lambda: nn.AvgPool2d(2, 3, divisor_override=-3), IMAGE),
    "adaptive average": (lambda: nn.AdaptiveAvgPool2d((3, 2)), IMAGE),
    "adaptive average, 1-D": (lambda: nn.AdaptiveAvgPool1d(3), SIGNAL),
    "upsampling": (lambda: nn.Upsample(scale_factor=1.5), IMAGE),
    "reflected": (lambda: nn.ReflectionPad2d((1, 2, 0, 1)), IMAGE),
    "upsampling, 1-D": (lambda: nn.Upsample(7), SIGNAL),
    "maximum, 1-D": (lambda: nn.MaxPool1d(3, 1), SIGNAL),
    "average": (lambda: nn.AvgPool2d(3, 1, 1), IMAGE),
    "average, tiles": (lambda: nn.AvgPool2d(2), IMAGE),
    "global average": (lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    "scaled average": (lambda: plain_layers.ScaledAvgPool2d(2), IMAGE),
    "maximum": (lambda: nn.MaxPool2d(3, 2), IMAGE),
    "flatten": (nn.Flatten, IMAGE),
    "dropout": (nn.Dropout, IMAGE),
    "dropout, 1-D": (nn.Dropout1d, SIGNAL),
    "dropout, 2-D": (nn.Dropout2d, IMAGE),
    "dropout, 3-D": (nn.Dropout3d, (2, 2, 2, 1)),
    "alpha dropout": (nn.AlphaDropout, IMAGE),
    "alpha dropout of features": (nn.FeatureAlphaDropout, IMAGE),
    "channel shuffle": (lambda: nn.ChannelShuffle(2), IMAGE),
    "identity": (nn.Identity, IMAGE),
    "unflatten": (lambda: nn.Unflatten(1, (1, 2)), IMAGE),
    "unshuffle": (lambda: nn.PixelUnshuffle(2), IMAGE),
    "shuffle": (lambda: nn.PixelShuffle(1), IMAGE),
    "zero padding": (lambda: nn.ZeroPad2d(1), IMAGE),
    "lift": (lambda: plain_layers.ZeroPadLift(2, 5), IMAGE),
    "channels last": (plain_layers.ChannelsLast, IMAGE),
    "shift": (lambda: plain_layers.Shift(-1), IMAGE),
    "relu": (nn.ReLU, IMAGE),
    "tanh": (nn.Tanh, IMAGE),
    "sigmoid": (nn.Sigmoid, IMAGE),
    "gelu": (nn.GELU, IMAGE),
    "gelu, tanh": (lambda: nn.GELU("tanh"), IMAGE),
    "silu": (nn.SiLU, IMAGE),
    "mish": (nn.Mish, IMAGE),
    "leaky relu": (lambda: nn.LeakyReLU(0.1), IMAGE),
    "leaky relu, half": (lambda: nn.LeakyReLU(0.5), IMAGE),
    "prelu": (nn.PReLU, IMAGE),
    "prelu, channels": (lambda: nn.PReLU(2), IMAGE),
    "elu": (lambda: nn.ELU(1.5), IMAGE),
    "celu": (lambda: nn.CELU(0.7), IMAGE),
    "selu": (nn.SELU, IMAGE),
    "softsign": (nn.Softsign, IMAGE),
    "hardswish": (nn.Hardswish, IMAGE),
    "hardsigmoid": (nn.Hardsigmoid, IMAGE),
    "log sigmoid": (nn.LogSigmoid, IMAGE),
    "tanhshrink": (nn.Tanhshrink, IMAGE),
    "hardtanh": (lambda: nn.Hardtanh(-0.3, 0.7), IMAGE),
    "softplus": (lambda: nn.Softplus(2.0, 60), IMAGE),
    "softmax": (lambda: nn.Softmax(1), IMAGE),
    "normalisation": (lambda: plain_layers.Normalization([0.5, 0.4], [0.2, 0.3]), IMAGE),
    "projection": (lambda: structure.SumPreservingProjection(6, 2), FLAT),
    "dense operator": (lambda: dense(4), FLAT),
    "shift operator": (lambda: image_operators.ShiftOperator(2), IMAGE),
    "convolution operator": (lambda: image_operators.ConvOperator(2, 3, stride=2), IMAGE),
    "last layer": (lambda: layers.NonExpansiveLinear(6, 3), FLAT),
    "field": (lambda: layers.GradientField(dense(4), "tanh"), FLAT),
    "residual": (lambda: plain_layers.ResidualBlock(branch(nn.Tanh())), FLAT),
    "untied": (lambda: plain_layers.UntiedBlock(dense(5), dense(6, 5), 0.5), FLAT),
    "sequential": (lambda: nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 2)), FLAT),
    "pair, prescribed": (lambda: pair(orthonormal(6), orthonormal(6), c=(0.3, 0.141)), FLAT),
    "pair, learned": (lambda: pair(orthonormal(6), dense(5), substeps=(2, 1)), FLAT),
    "block, long": (long_block, FLAT),
    **{f"block, {name}": (lambda name=name: block(name), FLAT) for name in layers.ACTIVATIONS},
    **{
        f"block, {name}": (lambda name=name: block("tanh", name), FLAT)
        for name in ("heun", "ssprk3", "rk4")
    },
}


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def made(name, seed=0, dtype=torch.float64):
    """The module with random weights that are float32 numbers, in evaluation mode."""
    make, shape = MAKE[name]
    module = make().requires_grad_(False)
    generator = seeded(seed)
    for parameter in module.parameters():
        draw = torch.randn(parameter.shape, generator=generator)
        keep = isinstance(module, expansive.SwitchingBlock) and parameter.ndim > 1
        parameter.copy_(parameter if keep else draw / max(1, parameter[0].numel()) ** 0.5)
    if isinstance(module, NORMS):
        module.running_mean.copy_(torch.randn(2, generator=generator))
        module.running_var.copy_(torch.rand(2, generator=generator) + 0.1)
    return module.to(dtype).eval(), shape


def inputs(shape, seed=0, count=4):
    """Points of very different sizes, float32 numbers; the last one is an image."""
    generator = seeded(seed)
    x = torch.randn(count, *shape, generator=generator)
    x = x * 10 ** torch.linspace(-3, 1, count).reshape(-1, *[1] * len(shape))
    x[-1] = torch.rand(shape, generator=generator)
    return x.double()


def lengths(x):
    return x.double().flatten(1).norm(dim=1)


def test_every_type_in_the_table_has_a_case():
    ours = ("torch", "chapter_utils")
    known = {kind for kind in bounds.RULES if kind.__module__.split(".")[0] in ours}
    assert known == {type(made(name)[0]) for name in MAKE}


# ---- the bound -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKE)
def test_no_slope_exceeds_the_bound(name):
    module, shape = made(name, 1)
    bound = certificates.lipschitz_bound(module, shape)
    for x in inputs(shape, 1, 12):
        jacobian = jacrev(lambda z: module(z[None])[0])(x).reshape(-1, x.numel())
        assert torch.linalg.matrix_norm(jacobian, 2).item() <= bound * (1 + 1e-12)


@pytest.mark.parametrize("name", MAKE)
def test_what_has_a_bound_is_certified(name):
    """No layer is refused after a training that its bound had allowed."""
    module, shape = made(name)
    last = nn.LazyLinear(3)
    model = nn.Sequential(module, nn.Flatten(), last).double()
    x = torch.rand(30, *shape, generator=seeded(0), dtype=torch.float64)
    with torch.no_grad():
        model(x)
        last.weight.copy_(torch.randn(last.weight.shape, generator=seeded(1)))
        labels = model.eval()(x).argmax(1)
    assert certificates.lipschitz_bound(model, shape) > 0
    radii = certificates.certify(model, x, labels)
    assert (radii > 0).any() and radii.isfinite().all()


# ---- rounding: float32 against float64 -----------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the smallest eigenvalue")
@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("seed", range(3))
def test_float32_stays_within_what_the_rule_says(name, seed):
    single, shape = made(name, seed, torch.float32)
    double = copy.deepcopy(single).double()
    fix_steps(single, double)
    x = inputs(shape, seed, 20)
    with torch.no_grad():
        error = lengths(single(x.float()).double() - double(x))
    bound = certificates.bound_of(single, shape)
    for size, found in zip(lengths(x).tolist(), error.tolist(), strict=True):
        assert found <= bound.rounding(size, torch.float32) * (1 + 1e-6)


def fix_steps(single, double):
    """What depends on the type by construction, tau and P, is that of float32 in both."""
    if isinstance(single, layers.NonExpansiveBlock):
        L = single.field.L(torch.zeros(1, *FLAT))
        steps = single.steps(L, torch.float32)
        double.steps = lambda L, dtype: steps
    if isinstance(single, layers.NonExpansiveLinear):
        double.operator.weight.copy_(single.matrix)
        double.operator.norm_bound = lambda shape: 1.0
    if isinstance(single, expansive.SwitchingBlock):
        steps = single.steps(FLAT)
        double.steps = lambda shape: steps


# ---- rounding: float64 against exact arithmetic --------------------------------------------------


SELU = [
    mpmath.mpf(number)
    for number in ("1.0507009873554804934193349852946", "1.6732632423543772848170429916717")
]


def exact_activation(module):
    """The function of one number, in mpmath."""
    mp = mpmath.mp

    def sigmoid(t):
        return 1 / (1 + mp.exp(-t))

    def gelu(t):
        if module.approximate == "none":
            return t * (1 + mp.erf(t / mp.sqrt(2))) / 2
        inner = mp.sqrt(2 / mp.pi) * (t + mp.mpf("0.044715") * t**3)
        return t * (1 + mp.tanh(inner)) / 2

    functions = {
        nn.ReLU: lambda t: max(t, mp.mpf(0)),
        nn.Tanh: mp.tanh,
        nn.Sigmoid: sigmoid,
        nn.GELU: gelu,
        nn.SiLU: lambda t: t * sigmoid(t),
        nn.Mish: lambda t: t * mp.tanh(mp.log1p(mp.exp(t))),
        nn.LeakyReLU: lambda t: t if t > 0 else mp.mpf(module.negative_slope) * t,
        nn.ELU: lambda t: t if t > 0 else mp.mpf(module.alpha) * mp.expm1(t),
        nn.Hardtanh: lambda t: min(max(t, mp.mpf(module.min_val)), mp.mpf(module.max_val)),
        nn.CELU: lambda t: max(t, 0) + min(0, mp.mpf(module.alpha) * mp.expm1(t / module.alpha)),
        nn.SELU: lambda t: SELU[0] * (t if t > 0 else SELU[1] * mp.expm1(t)),
        nn.Softsign: lambda t: t / (1 + abs(t)),
        nn.Hardswish: lambda t: t * min(max(t + 3, mp.mpf(0)), mp.mpf(6)) / 6,
        nn.Hardsigmoid: lambda t: min(max(t + 3, mp.mpf(0)), mp.mpf(6)) / 6,
        nn.LogSigmoid: lambda t: -mp.log1p(mp.exp(-t)),
        nn.Tanhshrink: lambda t: t - mp.tanh(t),
        nn.Softplus: lambda t: mp.log1p(mp.exp(module.beta * t)) / module.beta,
    }
    return functions.get(type(module))


def matrix_of(linear, shape):
    """The exact matrix of a linear map: an entry is a weight, or a small fraction."""
    count = math.prod(shape)
    units = torch.eye(count, dtype=torch.float64).reshape(count, *shape)
    columns = linear(units).reshape(count, -1).tolist()
    small = isinstance(linear, AVERAGES)
    exact = [
        [Fraction(v).limit_denominator(10_000) if small else Fraction(v) for v in column]
        for column in columns
    ]
    return [list(row) for row in zip(*exact, strict=True)]


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
AVERAGES = (
    nn.AvgPool1d,
    nn.AdaptiveAvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    plain_layers.ScaledAvgPool2d,
    structure.SumPreservingProjection,
)
LINEAR = (operators.LinearOperator, nn.Upsample, nn.ReflectionPad2d, *AVERAGES)


def product(matrix, vector, bias=None):
    """matrix times vector, plus bias: fractions where both are, and mpmath otherwise."""
    values = [
        mpmath.mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v for v in vector
    ]
    rows = [[mpmath.mpf(entry.numerator) / entry.denominator for entry in row] for row in matrix]
    out = [mpmath.fdot(row, values) for row in rows]
    return out if bias is None else [v + b for v, b in zip(out, bias, strict=True)]


def numbers(tensor):
    return [mpmath.mpf(v) for v in tensor.flatten().tolist()]


def exact(module, x, shape):
    """The module's output for the flat list x of mpmath numbers, as a flat list."""
    act = exact_activation(module)
    if act:
        return [act(t) for t in x]
    if isinstance(module, nn.Linear):
        bias = numbers(module.bias) if module.bias is not None else None
        return product(rows_of(module.weight), x, bias)
    if isinstance(module, layers.NonExpansiveLinear):
        return product(rows_of(module.matrix), x, numbers(module.bias))
    if isinstance(module, nn.PReLU):
        weight = numbers(module.weight.expand(2))
        return [t if t > 0 else weight[k // (len(x) // 2)] * t for k, t in enumerate(x)]
    if isinstance(module, CONVOLUTIONS):
        without_bias = copy.deepcopy(module)
        without_bias.bias = None
        pixels = module(torch.zeros(1, *shape, dtype=torch.float64))
        bias = numbers(module.bias.reshape(-1, *[1] * (pixels.ndim - 2)).expand(pixels.shape[1:]))
        return product(matrix_of(without_bias, shape), x, bias)
    if isinstance(module, LINEAR):
        return product(matrix_of(module, shape), x)
    if isinstance(module, NORMS):
        return exact_batch_norm(module, x)
    if isinstance(module, plain_layers.Normalization):
        pixels = len(x) // 2
        mean = numbers(module.mean)
        std = numbers(module.std)
        return [(t - mean[k // pixels]) / std[k // pixels] for k, t in enumerate(x)]
    if isinstance(module, nn.Softmax):
        pixels = len(x) // 2
        powers = [mpmath.exp(t) for t in x]
        sums = [powers[k] + powers[k + pixels] for k in range(pixels)]
        return [power / sums[k % pixels] for k, power in enumerate(powers)]
    if isinstance(module, nn.Sequential):
        for part in module:
            x = exact(part, x, shape)
        return x
    if isinstance(module, plain_layers.ResidualBlock):
        return added(x, exact(module.branch, x, shape))
    if isinstance(module, plain_layers.UntiedBlock):
        inner = product(rows_of(module.inner.weight), x, numbers(module.bias))
        change = product(rows_of(module.outer.weight), [max(t, mpmath.mpf(0)) for t in inner])
        return [mpmath.mpf(module.keep) * t for t in added(x, change)]
    return exact_flow(module, x)


def rows_of(weight):
    return [[Fraction(v) for v in row] for row in weight.tolist()]


def added(x, change, factor=1):
    return [t + factor * d for t, d in zip(x, change, strict=True)]


def exact_batch_norm(module, x):
    pixels = len(x) // 2
    variance = numbers(module.running_var)
    mean = numbers(module.running_mean)
    weight = numbers(module.weight) if module.affine else [1, 1]
    bias = numbers(module.bias) if module.affine else [0, 0]
    out = []
    for k, t in enumerate(x):
        c = k // pixels
        root = mpmath.sqrt(variance[c] + mpmath.mpf(module.eps))
        out.append((t - mean[c]) / root * weight[c] + bias[c])
    return out


def exact_field(field, x):
    A = rows_of(field.operator.weight)
    act = exact_activation(layers.ACTIVATIONS[field.activation][0])
    units = [act(t) for t in product(A, x, numbers(field.bias))]
    return product([list(column) for column in zip(*A, strict=True)], units)


def exact_flow(module, x):
    """Fields and their steps; the step sizes are those in use."""
    zeros = torch.zeros(1, *FLAT, dtype=torch.float64)
    if isinstance(module, layers.GradientField):
        return exact_field(module, x)
    if isinstance(module, expansive.SwitchingBlock):
        walks = zip(
            (module.down, module.up), module.steps(FLAT), module.substeps, (-1, 1), strict=True
        )
        for field, c, parts, sign in walks:
            tau = sign * c / parts / field.L(zeros)
            for _ in range(parts):
                x = added(x, exact_field(field, x), mpmath.mpf(tau))
        return x
    assert isinstance(module, layers.NonExpansiveBlock)
    number, tau = module.steps(module.field.L(zeros), torch.float64)
    A, b = COEFFICIENTS[module.method]
    for _ in range(number):
        slopes = []
        for row in A:
            stage = x
            for a, slope in zip(row, slopes, strict=False):
                stage = added(stage, slope, mpmath.mpf(a))
            slopes.append([-mpmath.mpf(tau) * t for t in exact_field(module.field, stage)])
        for weight, slope in zip(b, slopes, strict=True):
            x = added(x, slope, mpmath.mpf(weight))
    return x


COEFFICIENTS = {  # the floating-point numbers in use
    "euler": ([[0]], [1]),
    "heun": ([[0, 0], [1, 0]], [1 / 2, 1 / 2]),
    "ssprk3": ([[0, 0, 0], [1, 0, 0], [1 / 4, 1 / 4, 0]], [1 / 6, 1 / 6, 2 / 3]),
    "rk4": (
        [[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0]],
        [1 / 6, 1 / 3, 1 / 3, 1 / 6],
    ),
}
EXACT = (nn.ReLU, nn.Hardtanh, nn.Upsample, nn.ReflectionPad2d)  # their rules may allow for more
ONLY_MOVED = (
    nn.Flatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.ChannelShuffle,
    nn.Identity,
    nn.Unflatten,
    nn.PixelUnshuffle,
    nn.PixelShuffle,
    nn.ZeroPad2d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    plain_layers.ZeroPadLift,
    plain_layers.ChannelsLast,
    plain_layers.Shift,
)


@pytest.mark.parametrize("name", MAKE)
def test_float64_stays_within_what_the_rule_says(name):
    module, shape = made(name, 2)
    bound = certificates.bound_of(module, shape)
    errors = []
    for x in inputs(shape, 2) / 3:  # numbers of full length
        size = x.norm().item()
        allowed = bound.rounding(size, torch.float64)
        with torch.no_grad():
            computed = module(x[None])[0]
        if isinstance(module, ONLY_MOVED):
            assert set(computed.flatten().tolist()) <= {0.0, *x.flatten().tolist()}
            assert allowed == 0
            continue
        truth = exact(module, numbers(x), shape)
        difference = [a - b for a, b in zip(numbers(computed), truth, strict=True)]
        errors.append(float(mpmath.norm(mpmath.matrix(difference))))
        assert errors[-1] <= allowed
        assert allowed <= 1e-10 * (1 + size)  # and is no empty promise
    if not isinstance(module, (*ONLY_MOVED, *EXACT)) and name != "leaky relu, half":
        assert max(errors) > 0


# ---- what one certificate costs ------------------------------------------------------------------


def test_one_certificate_bounds_each_layer_once(monkeypatch):
    model = nn.Sequential(
        nn.Flatten(), *(block() for _ in range(4)), layers.NonExpansiveLinear(6, 3)
    )
    calls = []
    true_rules = dict(bounds.RULES)

    def counted(rule):
        def count(module, shape):
            calls.append(module)
            return rule(module, shape)

        return count

    for kind, rule in true_rules.items():
        monkeypatch.setitem(bounds.RULES, kind, counted(rule))
    x = torch.rand(5, 6, generator=seeded(0))
    certificates.certify(model, x, torch.zeros(5, dtype=torch.int64))
    bounded = [module for module in calls if not isinstance(module, nn.ReLU)]
    assert len(bounded) == len({id(module) for module in bounded})
    assert sum(isinstance(module, layers.NonExpansiveBlock) for module in bounded) == 4


# ---- what a review found -------------------------------------------------------------------------


def test_a_field_in_training_mode_is_bounded_by_its_guaranteed_norm():
    field = layers.GradientField(operators.DenseOperator(2, 2))
    for size in (0.0, 100.0):  # a direction kept from the first weights would miss the second
        field.operator.weight.data = torch.diag(torch.tensor([1.0, size]))
        bound = certificates.lipschitz_bound(field.train(), (2,))
        assert bound == pytest.approx(max(1.0, size) ** 2)


def filled(module, value):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    return module


@pytest.mark.parametrize(
    "module, shape",
    [
        (plain_layers.Normalization([0.0, 0.0], [1.0, 1.0]), (2,)),
        (plain_layers.Normalization([0.0] * 4, [1.0] * 4), (4, 1, 1, 1)),
        (nn.ZeroPad2d((0, 0, 1, -1)), (4,)),
        (nn.PixelUnshuffle(2), (4, 4)),
        (nn.Unflatten(0, (1, 1)), (4,)),
        (nn.Softmax(0), (4,)),
        (filled(nn.Linear(2, 2), math.nan), (2,)),
        (filled(nn.Linear(2, 2), math.inf), (2,)),
        (nn.LeakyReLU(math.nan), (2,)),
    ],
    ids=str,
)
def test_what_copies_mixes_or_is_not_finite_is_refused(module, shape):
    with pytest.raises(ValueError):
        certificates.lipschitz_bound(module.eval(), shape)


def test_biases_that_are_not_finite_are_refused():
    linear = nn.Linear(2, 2)
    linear.bias.data[0] = math.nan
    norm = nn.BatchNorm2d(1).eval()
    norm.running_mean[0] = math.inf
    for module, shape in ((linear, (2,)), (norm, (1, 2, 2))):
        with pytest.raises(ValueError, match="NaN or infinite"):
            certificates.lipschitz_bound(module, shape)


def test_batch_normalisation_counts_the_weight_that_is_there():
    norm = nn.BatchNorm2d(1, affine=False).eval()
    norm.weight = nn.Parameter(torch.tensor([100.0]))
    assert certificates.lipschitz_bound(norm, (1, 2, 2)) >= 99.99


class Counting(nn.Linear):
    """A weight that is another one at every use."""

    uses = 0

    def __init__(self):
        nn.Module.__init__(self)
        self.in_features = 1
        self.out_features = 1
        self.bias = None

    @property
    def weight(self):
        Counting.uses += 1
        return torch.full((1, 1), float(Counting.uses))


class Tenfold(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        plain = [a.as_subclass(torch.Tensor) if isinstance(a, cls) else a for a in arguments]
        return 10 * function(*plain, **(options or {}))


def test_weights_that_are_not_what_they_seem_are_refused():
    with pytest.raises(TypeError, match="Counting, which replaces weight"):
        certificates.lipschitz_bound(Counting().eval(), (1,))
    linear = nn.Linear(1, 1)
    linear._parameters["weight"] = linear.weight.data.as_subclass(Tenfold)
    with pytest.raises(TypeError, match="weight is no plain dense tensor with values: Tenfold"):
        certificates.lipschitz_bound(linear, (1,))


def test_hooks_on_an_activation_of_the_package_and_compiled_modules_are_seen():
    act, _ = layers.ACTIVATIONS["relu"]
    handle = act.register_forward_hook(lambda module, arguments, output: 10 * output)
    try:
        with pytest.raises(TypeError, match="ReLU has forward hooks"):
            certificates.certify(nn.Sequential(block()), torch.rand(1, 6), torch.tensor([0]))
    finally:
        handle.remove()
    linear = nn.Linear(1, 1)
    linear._compiled_call_impl = lambda x: 100 * x
    with pytest.raises(TypeError, match="compiled"):
        certificates.lipschitz_bound(linear, (1,))


def test_a_negative_bound_is_refused():
    class Negative(nn.Identity):
        pass

    certificates.lipschitz_bound.register(Negative)(
        lambda module, shape: certificates.Bound(-1.0, certificates.exact)
    )
    with pytest.raises(ValueError, match="negative"):
        certificates.lipschitz_bound(Negative(), (1,))


@pytest.mark.parametrize(
    "pool", [nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), plain_layers.ScaledAvgPool2d(4)]
)
def test_a_sum_that_overflows_before_it_is_divided_certifies_nothing(pool):
    first = nn.Conv2d(1, 1, 1, bias=False).double()
    first.weight.data.fill_(1.79e308 / 8.2)
    last = nn.Linear(1, 2).double()
    last.weight.data = torch.tensor([[1e-308], [-1e-308]], dtype=torch.float64)
    model = nn.Sequential(first, pool, nn.Flatten(), last).eval()
    with pytest.raises(ValueError, match="too large"):
        certificates.certify(model, torch.full((1, 1, 4, 4), 0.1), torch.tensor([0]))


@pytest.mark.parametrize("keep", [1e-50, 1e-45])
def test_a_factor_that_underflows_counts(keep):
    untied = plain_layers.UntiedBlock(dense(6), dense(6), keep).eval()
    last = nn.Linear(6, 1, bias=False)
    last.weight.data.fill_(1e38)
    model = nn.Sequential(untied, last).requires_grad_(False).eval()
    x = torch.rand(50, 6, generator=seeded(0))
    error = (copy.deepcopy(model).double()(x.double()) - model(x)).norm(dim=1).max().item()
    assert error <= certificates.rounding_bound(model, (6,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "module",
    [plain_layers.Normalization([0.5], [0.3]), nn.BatchNorm2d(1, affine=False)],
    ids=["normalisation", "batch norm"],
)
def test_the_type_of_buffers_counts(module, dtype):
    low = copy.deepcopy(module).to(dtype).eval()
    x = torch.rand(50, 1, 4, 4, generator=seeded(0)).to(dtype)
    error = lengths(low(x).double() - copy.deepcopy(low).double()(x.double())).max().item()
    assert 1e-6 < error <= certificates.rounding_bound(nn.Sequential(low).eval(), (1, 4, 4))


def test_a_bias_that_is_copied_counts_each_time():
    linear = nn.Linear(1, 4000).requires_grad_(False)
    linear.weight.fill_(1e-3)
    linear.bias = nn.Parameter(torch.tensor([1.1]), requires_grad=False)
    x = torch.rand(20, 1, generator=seeded(0))
    error = lengths(linear(x).double() - copy.deepcopy(linear).double()(x.double())).max().item()
    assert 1e-6 < error <= certificates.rounding_bound(nn.Sequential(linear).eval(), (1,))


def test_certify_leaves_the_images_alone_and_names_wrong_labels():
    model = nn.Sequential(nn.Hardtanh(0.4, 0.6, inplace=True), nn.Linear(4, 2)).double()
    x = torch.rand(3, 4, generator=seeded(0), dtype=torch.float64)
    kept = x.clone()
    certificates.certify(model, x, torch.zeros(3, dtype=torch.int64))
    assert torch.equal(x, kept)
    with pytest.raises(ValueError, match="labels must lie between 0 and 1"):
        certificates.certify(model, x, torch.tensor([0, 1, 2]))


def test_a_lead_that_cancels_is_rounded_down():
    logits = torch.tensor([[1.0, 2.0**-54]], dtype=torch.float64)
    rounding = 0.25 * (1 - 2.0**-53)
    truth = (Fraction(1) - Fraction(2) ** -54 - 4 * Fraction(rounding)) * Fraction(1)
    radius = certificates.certified_radius(
        logits, torch.tensor([0]), 1 / math.sqrt(2), None, rounding
    )
    assert radius.item() <= float(truth)


# ---- what people bring ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 3), (3, 3, 8), (1, 3, 3, 3, 3)])
def test_a_normalisation_takes_images_alone(shape):
    normalisation = plain_layers.Normalization([0.0] * 3, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="does not take inputs"):
        normalisation(torch.rand(shape))  # one of the batch would differ from the next
    with pytest.raises(ValueError, match="does not take inputs"):
        certificates.lipschitz_bound(normalisation, shape[1:])


def test_a_weight_that_changes_while_it_is_bounded_leaves_no_stale_norm():
    operator = dense(4)
    block = layers.NonExpansiveBlock(layers.GradientField(operator)).eval()
    true_norm = operator.norm_of

    def swapped_meanwhile(weight, shape):
        with torch.no_grad():
            operator.weight.mul_(100)
        return true_norm(weight, shape)

    vars(operator)["norm_of"] = swapped_meanwhile
    operator.norm_bound(FLAT)
    del vars(operator)["norm_of"]
    assert operator.norm_bound(FLAT) == pytest.approx(100, rel=1e-6)
    x = torch.randn(50, 6, generator=seeded(0))
    lengths_after = (block(x) - block(0 * x)).norm(dim=1)
    assert (lengths_after <= x.norm(dim=1) * (1 + 1e-6)).all()


class Amplified(operators.LinearOperator):
    """x -> gain W x, computed in float32; its rule says so."""

    def __init__(self, features, gain=1.0):
        super().__init__()
        self.outputs = features
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(features, features)))
        self.register_buffer("gain", torch.tensor(gain))

    def check(self, input_shape):
        pass

    def forward(self, x, bias=None):
        y = (x.float() @ (self.gain * self.weight).float().T).to(x.dtype)
        return y if bias is None else y + bias

    def adjoint(self, y, input_shape=(), tau=None):
        x = (y.float() @ (self.gain * self.weight).float()).to(y.dtype)
        return x if tau is None else tau * x

    def norm_of(self, weight, input_shape):
        return self.gain.abs().item() * super().norm_of(weight, input_shape)


class Understated(Amplified):
    """Its norm_bound is that of the weight alone."""

    def norm_of(self, weight, input_shape):
        return operators.LinearOperator.norm_of(self, weight, input_shape)


@certificates.lipschitz_bound.register(Amplified, Understated)
def amplified(A, shape):
    norm = Amplified.norm_of(A, A.weight.detach(), shape)

    def rounding(size, dtype):
        return 64 * 2.0**-24 * norm * 8 * size + 1e-30

    return certificates.Bound(norm, rounding)


def test_of_an_operator_of_ones_own_nothing_is_remembered():
    operator = Amplified(6)
    block = layers.NonExpansiveBlock(layers.GradientField(operator), 2.0).eval()
    x = torch.randn(50, 6, generator=seeded(0))
    block(x)
    operator.gain.fill_(10.0)
    jacobian = jacrev(lambda z: block(z[None])[0])
    assert all(torch.linalg.matrix_norm(jacobian(z), 2) <= 1 + 1e-5 for z in x)
    assert operator.norm_bound(FLAT) == pytest.approx(10, rel=1e-6)


def test_the_rounding_of_an_operator_of_ones_own_counts_in_its_steps():
    block = layers.NonExpansiveBlock(layers.GradientField(Amplified(6))).double().eval()
    bound = certificates.bound_of(block, FLAT)
    exact_block = layers.NonExpansiveBlock(layers.GradientField(orthonormal(6))).double().eval()
    exact_block.field.operator.weight.data = block.field.operator.weight.data
    x = torch.rand(200, 6, generator=seeded(0), dtype=torch.float64)
    errors = lengths(block(x) - exact_block(x))
    allowed = [bound.rounding(size, torch.float64) for size in lengths(x).tolist()]
    assert errors.max() > 1e-9
    assert (errors <= torch.tensor(allowed, dtype=torch.float64)).all()


def test_an_operator_whose_norm_bound_is_less_than_its_rule_says_is_refused():
    block = layers.NonExpansiveBlock(layers.GradientField(Understated(6, 10.0))).eval()
    with pytest.raises(ValueError, match="less than its rule says"):
        certificates.lipschitz_bound(block, FLAT)


class Noisy(nn.Module):
    def forward(self, weight):
        return weight + 0.1 * torch.randn(weight.shape)


class Stepping(nn.Module):
    uses = 0

    def forward(self, weight):
        self.uses += 1
        return weight * self.uses


@pytest.mark.parametrize("kind", [Noisy, Stepping])
def test_weights_drawn_anew_at_every_use_are_refused(kind):
    linear = nn.Linear(4, 4)
    nn.utils.parametrize.register_parametrization(linear, "weight", kind())
    with pytest.raises(ValueError, match=r"part 0: the weight of .* another one at every use"):
        certificates.lipschitz_bound(nn.Sequential(linear).eval(), (4,))


@pytest.mark.parametrize("wrong", [-1.0, math.nan])
def test_a_rounding_that_is_none_is_refused(wrong):
    class Mistaken(nn.Identity):
        pass

    rule = certificates.lipschitz_bound.register(Mistaken)
    rule(lambda module, shape: certificates.Bound(1.0, lambda size, dtype: wrong))
    for model in (Mistaken(), nn.Sequential(nn.Linear(2, 2), Mistaken(), nn.Linear(2, 2))):
        with pytest.raises(ValueError, match="no bound"):
            certificates.rounding_bound(model.eval(), (2,))


@pytest.mark.parametrize("module", [nn.Flatten(0), nn.Unflatten(0, (1, 2)), nn.Flatten(0, 1)])
def test_what_mixes_the_batch_is_refused_by_what_it_does(module):
    with pytest.raises(ValueError, match=r"mixes the samples|does not take"):
        certificates.lipschitz_bound(nn.Sequential(module), (2, 3))


class Wrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return self.net(x)


def pruned():
    linear = nn.Linear(4, 4)
    prune.l1_unstructured(linear, "weight", 0.5)
    return linear


def sparse():
    linear = nn.Linear(4, 4)
    linear.weight = nn.Parameter(linear.weight.detach().to_sparse())
    return linear


class GroupSort(nn.Module):
    def forward(self, x):
        return x.sort(1).values


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make, sentence",
    [
        (Wrapper, r"Wrapper: write it as nn.Sequential, and x \+ f\(x\) as plain_layers.Residual"),
        (lambda: nn.LayerNorm(4), "LayerNorm: take BatchNorm2d"),
        (GroupSort, r"GroupSort: if it only sorts, .* return Bound\(1\.0, exact\) when you give"),
        (lambda: nn.Threshold(0.1, 2), "Threshold: it jumps or draws numbers, take ReLU"),
        (lambda: nn.Hardshrink(), "Hardshrink: it jumps"),
        (lambda: nn.LogSoftmax(1), "LogSoftmax: leave it out, the loss can do it"),
        (lambda: nn.AdaptiveMaxPool2d(2), "AdaptiveMaxPool2d.*: take MaxPool2d"),
        (lambda: nn.ConstantPad2d(1, 0.0), "ConstantPad2d: let the convolution pad, or take Zero"),
        (lambda: nn.Conv3d(1, 1, 1), "Conv3d.*: volumes are not known, take slices as channels"),
        (lambda: nn.InstanceNorm1d(4), "InstanceNorm1d.*: take BatchNorm2d"),
        (lambda: nn.ModuleList([nn.Linear(4, 4)]), "ModuleList: it computes nothing itself"),
        (lambda: nn.DataParallel(nn.Linear(4, 4)), "its .module"),
        (lambda: nn.LSTM(4, 4), "LSTM.*: write the recurrence as nn.Sequential"),
        (lambda: nn.utils.spectral_norm(nn.Linear(4, 4)), "hooks.*utils.parametrizations"),
        (pruned, r"hooks.*prune\.remove"),
        (lambda: nn.LazyLinear(4), "hooks.*lazy ones after one call"),
        (sparse, "weight is no plain dense tensor"),
        (lambda: nn.Linear(4, 4, device="meta"), "weight is no plain dense tensor"),
        (lambda: torch.jit.script(nn.Linear(4, 4)), "take the model as it was"),
        (lambda: torch.jit.trace(nn.Linear(4, 4), torch.zeros(1, 4)), "as it was before"),
    ],
)
def test_the_part_and_the_way_out_are_named(make, sentence):
    part = make().eval()
    with pytest.raises(TypeError, match=f"(?s){sentence}"):
        certificates.lipschitz_bound(part, (4,))
    model = nn.Sequential(nn.ReLU(), plain_layers.ResidualBlock(nn.Sequential(part))).eval()
    with pytest.raises(TypeError, match=r"1(: part branch: part 0|\.branch\.0)"):
        certificates.lipschitz_bound(model, (4,))


def test_things_that_are_no_modules_and_no_shapes():
    with pytest.raises(TypeError, match=r"torch.nn.Module is needed, got a function"):
        certificates.lipschitz_bound(lambda x: x, (4,))
    for shape in (4, (4.0,), "4"):
        with pytest.raises(TypeError, match=r"input_shape must be like \(1, 28, 28\)"):
            certificates.lipschitz_bound(nn.Linear(4, 4), shape)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: nn.Linear(0, 3), (0,)),
        (lambda: nn.BatchNorm2d(0).eval(), (0, 4, 4)),
        (lambda: nn.PReLU(0), (0,)),
        (lambda: nn.Conv2d(1, 2, 3, padding=1), (1, 0, 5)),
        (lambda: nn.ReLU(), (2, 0)),
        (lambda: nn.Sequential(nn.Linear(3, 0), nn.ReLU()), (3,)),
        (lambda: dense(2, 0), (0,)),
        (lambda: image_operators.ShiftOperator(0), (0, 4, 4)),
    ],
)
def test_layers_without_entries_are_a_sentence(make, shape):
    with pytest.raises(ValueError, match=r"inputs of shape \(.*0.*\) have no entries"):
        certificates.lipschitz_bound(make(), shape)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_block_without_units_does_nothing():
    empty = layers.NonExpansiveBlock(layers.GradientField(dense(0, 3))).eval()
    x = torch.rand(2, 3)
    assert torch.equal(empty(x), x) and certificates.lipschitz_bound(empty, (3,)) == 1
    assert certificates.lipschitz_bound(nn.Linear(3, 0), (3,)) < 1e-300


def test_normalisation_in_grey_levels_is_noticed():
    with pytest.raises(
        ValueError, match=r"those of 0\.\.255 are to be divided by 255\); got \[125"
    ):
        plain_layers.Normalization([125.3], [63.0])
    assert plain_layers.Normalization([1.0], [0.2]).mean.item() == 1
