"""The same functions on a GPU: everything follows the device of its input. Skipped where there is none."""

import math

import pytest
import torch

from chapter_utils import data, layers, lipschitz, models, ode, operators, regimes, robustness, training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NETS = {
    "resnet": lambda: models.resnet(width=32),
    "spectral": lambda: models.spectral_resnet(width=32),
    "nonexpansive": lambda: models.nonexpansive_net(width=32),
    "cnn": lambda: models.nonexpansive_cnn(channels=4, depth=1),
    **{regime: lambda regime=regime: regimes.regime_net(regime, channels=4, depth=1) for regime in regimes.REGIMES},
}


@pytest.fixture(scope="module")
def digits():
    return data.load_images("mnist5k")


def on_gpu(tensor):
    return tensor.device.type == "cuda"


@pytest.mark.parametrize("name", NETS)
def test_a_network_gives_the_same_on_both_devices(name, digits):
    net = NETS[name]().double().eval()
    with torch.no_grad():
        net[-1].bias.normal_(generator=torch.Generator().manual_seed(0))
    x, y = digits.test_images[:20].double(), digits.test_labels[:20]
    proved = robustness.certify(net, x, y)
    here, bound = net(x), lipschitz.lipschitz_bound(net, (1, 28, 28)) if name != "spectral" else 1.0
    net, x, y = net.cuda(), x.cuda(), y.cuda()
    there = net(x)
    assert on_gpu(there) and torch.allclose(here, there.cpu(), rtol=1e-9, atol=1e-9)
    if name != "spectral":
        assert lipschitz.lipschitz_bound(net, (1, 28, 28)) == pytest.approx(bound, rel=1e-9)
    radii = robustness.certified_radius(there, y, bound)
    assert on_gpu(radii) and torch.allclose(radii.cpu(), robustness.certified_radius(here, y.cpu(), bound))
    radii = robustness.certify(net, x, y)
    assert on_gpu(radii) and torch.allclose(radii.cpu(), proved, atol=1e-8)
    adversarial = robustness.pgd(net, x, y, 0.5, steps=3)
    assert on_gpu(adversarial) and ((adversarial - x).flatten(1).norm(dim=1) <= 0.5 + 1e-9).all()
    assert on_gpu(robustness.fgsm(net, x, y, 0.1, norm=math.inf))
    assert on_gpu(robustness.attacked_correct(net, x, y, [0.0, 0.5], steps=2))
    assert on_gpu(lipschitz.jacobian_norms(net, x[:3]))


@pytest.mark.parametrize("name", NETS)
def test_training_on_the_gpu_learns_and_keeps_its_bound(name, digits):
    images, labels = digits.train_images[:1000].cuda(), digits.train_labels[:1000].cuda()
    net = NETS[name]().cuda()
    history = training.fit(
        net, images, labels, lambda logits, y: training.hinge_loss(logits, y, 0.3), 4,
        after_step=operators.restore_orthonormal_rows, augment=training.random_shift, progress=False,
    )  # fmt: skip
    assert history.losses[-1] < history.losses[0]
    assert all(on_gpu(parameter) for parameter in net.parameters())
    if name in ("nonexpansive", "cnn", *regimes.CERTIFIED):
        assert lipschitz.lipschitz_bound(net, (1, 28, 28)) <= 1 + 1e-6


def test_flows_and_linear_maps_follow_their_input():
    a = torch.tensor([[-1.0, 2.0], [0.0, -1.0]], dtype=torch.float64, device="cuda")
    x = torch.randn(5, 2, dtype=torch.float64, device="cuda")
    times = torch.linspace(0, 1, 11, dtype=torch.float64, device="cuda")
    path = ode.flow(lambda z: z @ a.T, x, times)
    assert on_gpu(path) and torch.allclose(path[-1], x @ torch.linalg.matrix_exp(a).T, atol=1e-4)
    assert torch.as_tensor(ode.logarithmic_norm(a)).item() == pytest.approx(ode.logarithmic_norm(a.cpu()))
    step = ode.runge_kutta_step(lambda z: -z, x, 0.1, ode.named_tableau("rk4"))
    assert on_gpu(step)
    for operator, shape in (
        (operators.DenseOperator(3, 4), (3,)),
        (operators.ShiftOperator(5), (5, 4, 4)),
        (operators.ConvOperator(2, 3), (2, 5, 5)),
        (operators.ConvOperator(2, 3, padding_mode="circular"), (2, 5, 5)),
    ):
        operator = operator.double().cuda()
        u = torch.randn(2, *shape, dtype=torch.float64, device="cuda")
        image = operator(u)
        v = torch.randn_like(image)
        assert ((image * v).sum() - (u * operator.adjoint(v, shape)).sum()).abs() < 1e-9
        assert operator.norm_bound(shape) >= operator.norm_estimate(u).item() >= operator.smallest_bound(shape)
    block = layers.NonExpansiveBlock(layers.GradientField(operators.DenseOperator(3, 4)), method="rk4").cuda().eval()
    assert on_gpu(block(torch.randn(2, 3, device="cuda")))


def test_the_device_is_found():
    assert training.pick_device("auto").type == "cuda"
    digits = data.load_images("mnist5k").to("cuda")
    assert on_gpu(digits.train_images) and on_gpu(digits.test_labels)
