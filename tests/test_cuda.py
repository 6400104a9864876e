"""The same functions on a GPU: everything follows the device of its input.

Skipped where there is none.
"""

import math

import pytest
import torch
from soundness import nonexpansive_cnn

from chapter_utils import (
    attacks,
    certificates,
    data,
    image_operators,
    layers,
    models,
    muon,
    norms,
    ode,
    operators,
    plain_layers,
    runge_kutta,
    structure,
    training,
)
from helpers import seeded

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
NETS = {
    "resnet": lambda: models.resnet(width=32),
    "spectral": lambda: models.spectral_resnet(width=32),
    "nonexpansive": lambda: models.nonexpansive_net(width=32),
    "colour": lambda: models.colour_net(models.DIGIT, channels=20, width=10, depth=2),
    "cnn": lambda: nonexpansive_cnn(channels=4, depth=1),
    "normalised": lambda: torch.nn.Sequential(
        plain_layers.Normalization([0.1], [0.3]), *models.nonexpansive_net(width=32, depth=2)
    ),
    **{
        regime: lambda regime=regime: models.regime_net(regime, channels=4, depth=1)
        for regime in models.REGIMES
    },
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
        net[-1].bias.normal_(generator=seeded(0))
    x, y = digits.test_images[:20].double(), digits.test_labels[:20]
    proved = certificates.certify(net, x, y)
    here, bound = (
        net(x),
        certificates.lipschitz_bound(net, (1, 28, 28)) if name != "spectral" else 1.0,
    )
    room = certificates.rounding_bound(net, (1, 28, 28)) if name != "spectral" else 0.0
    net, x, y = net.cuda(), x.cuda(), y.cuda()
    there = net(x)
    assert on_gpu(there) and torch.allclose(here, there.cpu(), rtol=1e-9, atol=1e-9)
    if name != "spectral":
        assert certificates.lipschitz_bound(net, (1, 28, 28)) == pytest.approx(bound, rel=1e-9)
        assert certificates.rounding_bound(net, (1, 28, 28)) == pytest.approx(room, rel=1e-6)
        assert (there.cpu() - here).norm(dim=1).max() <= 2 * room, (
            "the two computations differ by more than rounding allows"
        )
    radii = certificates.certified_radius(there, y, bound)
    assert on_gpu(radii) and torch.allclose(
        radii.cpu(), certificates.certified_radius(here, y.cpu(), bound)
    )
    radii = certificates.certify(net, x, y)
    assert on_gpu(radii) and torch.allclose(radii.cpu(), proved, atol=1e-8)
    adversarial = attacks.pgd(net, x, y, 0.5, steps=3)
    assert on_gpu(adversarial) and ((adversarial - x).flatten(1).norm(dim=1) <= 0.5 + 1e-9).all()
    assert on_gpu(attacks.fgsm(net, x, y, 0.1, norm=math.inf))
    assert on_gpu(attacks.attacked_correct(net, x, y, [0.0, 0.5], steps=2))
    assert on_gpu(norms.jacobian_norms(net, x[:3]))


@pytest.mark.parametrize("name", NETS)
def test_training_on_the_gpu_learns_and_keeps_its_bound(name, digits):
    images, labels = digits.train_images[:1000].cuda(), digits.train_labels[:1000].cuda()
    net = NETS[name]().cuda()
    history = training.fit(
        net,
        images,
        labels,
        lambda logits, y: training.hinge_loss(logits, y, 0.3),
        4,
        after_step=operators.restore_orthonormal_rows,
        augment=training.random_shift,
        progress=False,
    )
    assert history.losses[-1] < history.losses[0]
    assert all(on_gpu(parameter) for parameter in net.parameters())
    if name in ("nonexpansive", "colour", "cnn", *models.CERTIFIED):
        assert certificates.lipschitz_bound(net, (1, 28, 28)) <= 1 + 1e-6


def test_a_training_goes_on_from_its_checkpoint_here_and_on_the_cpu(tmp_path):
    """One of benchmarks/five_regimes.py, stopped within the second of three epochs."""
    test_checkpoints = pytest.importorskip("test_checkpoints")
    kept = tmp_path / "training.pt"

    def train(device, file, every_step=lambda: None):
        model = test_checkpoints.NETWORKS["nonexpansive_cnn"]()
        losses = test_checkpoints.train(model, file, every_step, device=device)
        assert all(parameter.device.type == device for parameter in model.parameters())
        return model, losses

    with pytest.raises(KeyboardInterrupt):
        train("cuda", kept, test_checkpoints.stopping(5))
    (tmp_path / "copy.pt").write_bytes(kept.read_bytes())
    whole, unbroken = train("cuda", tmp_path / "whole.pt")
    x = torch.rand(50, 1, 8, 8, generator=seeded(0))
    for device, name in (("cuda", "training.pt"), ("cpu", "copy.pt")):
        model, losses = train(device, tmp_path / name)
        assert len(losses) == 3 and losses == pytest.approx(unbroken, rel=1e-3)
        assert torch.allclose(model(x.to(device)).cpu(), whole(x.cuda()).cpu(), atol=1e-2)


def test_a_recipe_of_lesson_7_trains_here(digits):
    images = digits.train_images[::8].cuda()
    labels = digits.train_labels[::8].cuda()
    model = models.nonexpansive_net(width=16, depth=2).cuda()
    history = training.fit(
        model,
        images,
        labels,
        lambda f, y: training.margin_cross_entropy(f, y, 0.5, 0.2),
        3,
        128,
        0.03,
        operators.restore_orthonormal_rows,
        training.random_affine,
        progress=False,
        optimiser=muon.Muon,
    )
    assert history.losses[-1] < history.losses[0]
    assert all(on_gpu(parameter) for parameter in model.parameters())


@pytest.mark.parametrize(
    "block",
    [
        structure.MassPreservingBlock(4),
        structure.SymplecticBlock(4),
        structure.VolumePreservingBlock(5),
        structure.SumPreservingProjection(6, 3),
    ],
    ids=lambda block: type(block).__name__,
)
def test_structure_is_kept_here_too(block):
    block = block.double()
    x = torch.randn(7, getattr(block, "features", 6), dtype=torch.float64)
    here, there = block(x), block.cuda()(x.cuda())
    assert on_gpu(there) and torch.allclose(here, there.cpu(), atol=1e-12)


def test_flows_and_linear_maps_follow_their_input():
    a = torch.tensor([[-1.0, 2.0], [0.0, -1.0]], dtype=torch.float64, device="cuda")
    x = torch.randn(5, 2, dtype=torch.float64, device="cuda")
    times = torch.linspace(0, 1, 11, dtype=torch.float64, device="cuda")
    path = ode.flow(lambda z: z @ a.T, x, times)
    assert on_gpu(path) and torch.allclose(path[-1], x @ torch.linalg.matrix_exp(a).T, atol=1e-4)
    assert torch.as_tensor(ode.logarithmic_norm(a)).item() == pytest.approx(
        ode.logarithmic_norm(a.cpu())
    )
    step = runge_kutta.runge_kutta_step(lambda z: -z, x, 0.1, runge_kutta.named_tableau("rk4"))
    assert on_gpu(step) and torch.allclose(step, math.exp(-0.1) * x, atol=1e-6)
    implicit = runge_kutta.runge_kutta_step(
        lambda z: z @ a.T, x, 0.5, runge_kutta.tableau([[1.0]], [1.0])
    )
    assert on_gpu(implicit) and torch.allclose(
        implicit @ (torch.eye(2).to(a) - 0.5 * a).T, x, atol=1e-9
    )
    matrix = norms.dense_matrix(lambda z: z.cuda() @ a.T, (2,))
    assert on_gpu(matrix) and torch.allclose(matrix, a)
    assert norms.dense_norm_bound(matrix) == pytest.approx(
        torch.linalg.matrix_norm(a, 2).item(), rel=1e-9
    )
    for operator, shape in (
        (operators.DenseOperator(3, 4), (3,)),
        (image_operators.ShiftOperator(5), (5, 4, 4)),
        (image_operators.ConvOperator(2, 3), (2, 5, 5)),
        (image_operators.ConvOperator(2, 3, padding_mode="circular"), (2, 5, 5)),
    ):
        operator = operator.double().cuda()
        u = torch.randn(2, *shape, dtype=torch.float64, device="cuda")
        image = operator(u)
        v = torch.randn_like(image)
        assert ((image * v).sum() - (u * operator.adjoint(v, shape)).sum()).abs() < 1e-9
        assert (
            operator.norm_bound(shape)
            >= operator.norm_estimate(u).item()
            >= operator.smallest_bound(shape)
        )
    block = (
        layers.NonExpansiveBlock(layers.GradientField(operators.DenseOperator(3, 4)), method="rk4")
        .cuda()
        .eval()
    )
    assert on_gpu(block(torch.randn(2, 3, device="cuda")))


def test_the_device_is_found():
    assert training.pick_device().type == "cuda"
    digits = data.load_images("mnist5k").to("cuda")
    assert on_gpu(digits.train_images) and on_gpu(digits.test_labels)
