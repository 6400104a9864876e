"""The structure-preserving blocks keep what they say they keep, for any weights.

And refuse what they cannot do.
"""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from chapter_utils import certificates, plain_layers
from chapter_utils.layers import ACTIVATIONS
from chapter_utils.structure import (
    MassPreservingBlock,
    SumPreservingProjection,
    SymplecticBlock,
    VolumePreservingBlock,
)
from helpers import exact_norm, examples, randomise, seeded


def samples(seed, count, features):
    return torch.randn(count, features, generator=seeded(seed), dtype=torch.float64)


def jacobian(network, x):
    return torch.autograd.functional.jacobian(lambda z: network(z[None])[0], x)


def omega(n):
    return torch.kron(
        torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64),
        torch.eye(n, dtype=torch.float64),
    )


cases = dict(
    features=st.integers(1, 4),
    width=st.integers(1, 9),
    step=st.floats(0.01, 2),
    scale=st.sampled_from([0.01, 1.0, 3.0]),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    seed=st.integers(0, 10**6),
)


@examples(40)
@given(method=st.sampled_from(["euler", "heun", "midpoint", "rk4"]), **cases)
def test_mass_is_kept(features, width, step, scale, activation, seed, method):
    block = randomise(
        MassPreservingBlock(features + 1, width, step, method, activation).double(), seed, scale
    )
    x = samples(seed, 5, features + 1)
    with torch.no_grad():
        out, field = block(x), block.field(x)
    assert out.shape == x.shape
    size = 1 + out.abs().sum(1) + field.abs().sum(1) + block.exchange(x).abs().sum(1)
    assert ((out - x).sum(1).abs() <= 1e-12 * size).all()
    assert (field.sum(1).abs() <= 1e-13 * size).all()


@examples(40)
@given(**cases)
def test_symplectic(features, width, step, scale, activation, seed):
    block = randomise(SymplecticBlock(2 * features, width, step, activation).double(), seed, scale)
    M = jacobian(block, samples(seed, 1, 2 * features)[0])
    size = 1 + torch.linalg.matrix_norm(M, 2) ** 2
    assert (M.T @ omega(features) @ M - omega(features)).abs().max() <= 1e-10 * max(1, size * 1e-3)
    assert M.isfinite().all() and not torch.equal(M, torch.eye(2 * features, dtype=M.dtype))


@examples(40)
@given(**cases)
def test_volume_is_kept(features, width, step, scale, activation, seed):
    block = randomise(
        VolumePreservingBlock(features + 1, width, step, activation).double(), seed, scale
    )
    M = jacobian(block, samples(seed, 1, features + 1)[0])
    assert abs(torch.linalg.det(M) - 1) <= 1e-12 * (
        1 + torch.linalg.matrix_norm(M, 2) ** (features + 1)
    )


def test_verlet_is_undone_by_the_negative_step():
    block = randomise(SymplecticBlock(4, h=0.3).double(), 0)
    back = copy.deepcopy(block)
    back.h = -0.3
    x = samples(0, 20, 4)
    assert torch.allclose(back(block(x)), x, atol=1e-12)
    assert not torch.allclose(block(x), x, atol=0.1)


def test_the_symplectic_block_is_the_formula():
    block = randomise(SymplecticBlock(4, width=3, h=0.3).double(), 0)
    x = samples(0, 7, 4)
    q, p = x[:, :2], x[:, 2:]
    force = [
        lambda z, s=s: (torch.tanh(z @ s.inner.weight.T + s.inner.bias) * s.scale) @ s.inner.weight
        for s in (block.kick, block.drift)
    ]
    p = p - 0.15 * force[0](q)
    q = q + 0.3 * force[1](p)
    p = p - 0.15 * force[0](q)
    assert torch.allclose(block(x), torch.cat([q, p], 1), atol=1e-13)


@pytest.mark.parametrize("inputs, outputs", [(1, 1), (5, 5), (5, 2), (8, 3), (7, 1)])
def test_projection_keeps_the_sum_and_states_its_norm(inputs, outputs):
    projection = SumPreservingProjection(inputs, outputs)
    x = samples(0, 30, inputs)
    assert torch.allclose(projection(x).sum(1), x.sum(1), atol=1e-12)
    norm = exact_norm(projection, (inputs,))
    bound = certificates.lipschitz_bound(projection, (inputs,))
    assert norm <= bound <= norm * (1 + 1e-9) and bound == pytest.approx((inputs / outputs) ** 0.5)
    if inputs == outputs:
        assert torch.equal(projection(x), x)


def test_a_network_with_lift_and_projection_keeps_the_sum():
    network = nn.Sequential(
        plain_layers.ZeroPadLift(3, 9),
        MassPreservingBlock(9),
        MassPreservingBlock(9, method="rk4"),
        SumPreservingProjection(9, 3),
    ).double()
    x = samples(0, 50, 3)
    assert torch.allclose(randomise(network, 1)(x).sum(1), x.sum(1), atol=1e-11)


BLOCKS = [
    lambda: MassPreservingBlock(4),
    lambda: SymplecticBlock(4),
    lambda: VolumePreservingBlock(4),
    lambda: SumPreservingProjection(4, 2),
]
IDS = ["mass", "verlet", "volume", "projection"]


@pytest.mark.parametrize("make", BLOCKS, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_follow_the_dtype_and_survive_copies(make, dtype):
    block, x = make().to(dtype), samples(0, 3, 4).to(dtype)
    assert block(x).dtype == dtype
    for twin in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert torch.equal(twin(x), block(x))
        for parameter in twin.parameters():
            parameter.data.mul_(2)
        assert not list(twin.parameters()) or not torch.equal(
            twin(x), block(x)
        )  # the copy has its own weights
    again = make().to(dtype)
    again.load_state_dict(block.state_dict())
    assert torch.equal(again(x), block(x))


@pytest.mark.parametrize("make", BLOCKS[:3], ids=IDS[:3])
def test_every_weight_gets_a_gradient_and_no_bound_is_claimed(make):
    block = randomise(make().double(), 0)
    block(samples(0, 5, 4)).square().sum().backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in block.parameters())
    with pytest.raises(TypeError, match=type(block).__name__):
        certificates.lipschitz_bound(block.eval(), (4,))


@pytest.mark.parametrize("make", BLOCKS, ids=IDS)
@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 4), (4,)])
def test_wrong_shapes_are_refused(make, shape):
    with pytest.raises(ValueError, match="does not take inputs of shape"):
        make()(torch.zeros(shape))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MassPreservingBlock(1), "at least 2 features"),
        (lambda: MassPreservingBlock(3, method="implicit_midpoint"), "implicit"),
        (lambda: MassPreservingBlock(3, method="leapfrog"), "method must be one of"),
        (lambda: MassPreservingBlock(3, h=0.0), "step h must be positive"),
        (lambda: MassPreservingBlock(3, width=0), "width must be positive and finite, got 0"),
        (lambda: SymplecticBlock(3), "must be even, got 3"),
        (lambda: SymplecticBlock(0), "at least 2"),
        (lambda: SymplecticBlock(4, h=float("nan")), "step h must be positive"),
        (lambda: SymplecticBlock(4, activation="gelu"), "activation must be one of"),
        (lambda: VolumePreservingBlock(1), "at least 2"),
        (lambda: VolumePreservingBlock(4, h=float("inf")), "step h must be positive"),
        (lambda: SumPreservingProjection(3, 4), "cannot project 3 features to 4"),
        (lambda: SumPreservingProjection(3, 0), "cannot project 3 features to 0"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
