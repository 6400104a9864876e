"""What tests of several files need: random cases that can be repeated, slopes, exact norms."""

import numpy as np
import torch
from hypothesis import settings

from chapter_utils import norms, ode

# Of explicit methods: the largest step h for which x' = -x does not grow.
REAL_LIMITS = {
    "euler": 2,
    "heun": 2,
    "midpoint": 2,
    "ralston2": 2,
    "ssprk3": 2.513,
    "heun3": 2.513,
    "kutta3": 2.513,
    "rk4": 2.785,
    "three_eighths": 2.785,
}


def examples(number: int) -> settings:
    """That many random cases of a test with @given; `make check` tries fewer."""
    usual = settings().max_examples  # of the profile, see conftest.py
    return settings(max_examples=number if usual >= 100 else min(number, usual))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def norm2(M: torch.Tensor) -> float:
    return torch.linalg.matrix_norm(M, 2).item()


def flow_end(field, x, T, max_step=0.01):
    return ode.flow(field, x, torch.tensor([0.0, T]), max_step=max_step)[-1]


def pairs(seed, dimension, count=400, near=1e-3):
    """Far and near pairs in turn: (x, y), both of shape (count, dimension)."""
    x, y = normal(seed, 2, count, dimension)
    far = torch.arange(count)[:, None] % 2 == 0
    return x, torch.where(far, y, x + near * y)


def randomise(module, seed, scale=1.0):
    """Random weights and biases, with magnitudes from tiny to huge if `scale` says so."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            value = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * value)
    return module


@torch.no_grad()
def slopes(f, x, y) -> torch.Tensor:
    """|f(x) - f(y)| / |x - y| of each pair."""
    return (f(x) - f(y)).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)


def stretch(f, x, y) -> float:
    """The largest of the slopes."""
    return slopes(f, x, y).max().item()


def exact_norm(f, shape, dtype=torch.float64) -> float:
    """Spectral norm of the linear part of an affine map, by brute force."""
    with torch.no_grad():
        offset = f(torch.zeros(1, *shape, dtype=dtype))
        matrix = norms.dense_matrix(lambda x: f(x) - offset, shape)
        return torch.linalg.matrix_norm(matrix, 2).item()


def stability_factor(tableau, z: complex) -> complex:
    """R(z): what one step of a method makes of x' = (z / h) x, by numpy."""
    A, b = (values.numpy() for values in tableau)
    return 1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * A, np.ones(len(b)))
