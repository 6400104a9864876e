"""Singular values with a proof, against 50 digits and against matrices with known ones."""

import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chapter_utils import verified
from helpers import seeded


def exactly(matrix):
    """(largest, smallest) singular value in 50 digits."""
    with mpmath.workdps(50):
        entries = mpmath.matrix(
            [[mpmath.mpmathify(entry) for entry in row] for row in matrix.tolist()]
        )
        values = (mpmath.svd_c if matrix.is_complex() else mpmath.svd_r)(entries, compute_uv=False)
        values = sorted(values[k] for k in range(len(values)))
        return values[-1], values[0]


@given(
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    exponent=st.integers(-1000, 1000),
    is_complex=st.booleans(),
    spread=st.sampled_from([0, 5, 14]),
    seed=st.integers(0, 10**6),
)
def test_the_true_singular_values_lie_between_the_bounds(
    rows, columns, exponent, is_complex, spread, seed
):
    matrix = torch.randn(
        rows,
        columns,
        generator=seeded(seed),
        dtype=torch.complex128 if is_complex else torch.float64,
    )
    matrix = matrix * 10.0 ** (
        spread * (torch.rand(rows, 1, generator=seeded(seed), dtype=torch.float64) - 1)
    )
    matrix = matrix * 2.0**exponent
    largest, smallest = exactly(matrix)
    above, below = (
        verified.singular_value_bound(matrix),
        verified.singular_value_bound(matrix, largest=False),
    )
    assert below <= smallest and largest <= above
    assert above <= largest * (1 + 1e-13)
    assert (
        below >= smallest * (1 - 1e-12) - 1e-6 * largest
    )  # through the Gram matrix: sqrt(roundoff) is lost for tiny ones


def test_a_batch_is_bounded_by_its_extremes():
    batch = torch.randn(5, 4, 6, generator=seeded(0), dtype=torch.float64)
    every = [exactly(matrix) for matrix in batch]
    largest, smallest = max(pair[0] for pair in every), min(pair[1] for pair in every)
    assert largest <= verified.singular_value_bound(batch) <= largest * (1 + 1e-13)
    assert smallest * (1 - 1e-10) <= verified.singular_value_bound(batch, largest=False) <= smallest


def test_the_extreme_need_not_be_where_the_trace_is():
    identity = torch.eye(6, dtype=torch.float64)
    thin = 0 * identity
    thin[0, 0] = 1.5
    assert (
        1.5
        <= verified.singular_value_bound(torch.stack([identity, thin, 0.1 * identity]))
        <= 1.5 + 1e-12
    )
    wide = 3 * identity
    wide[0, 0] = 0.5
    assert (
        0.5 - 1e-10
        <= verified.singular_value_bound(torch.stack([identity, wide]), largest=False)
        <= 0.5
    )


@pytest.mark.parametrize("side", [1, 2, 64, 256])
def test_exactly_orthogonal_matrices(side):
    """Sylvester's matrices of +-1 have all singular values sqrt(n), and no entry is rounded."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < side:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    for part in (matrix, matrix[: side // 2 + 1]):
        above, below = (
            verified.singular_value_bound(part),
            verified.singular_value_bound(part, largest=False),
        )
        assert below <= math.sqrt(side) <= above <= below * (1 + 1e-9)


def test_computed_values_alone_are_no_bounds():
    """What the margin is for: LAPACK's singular values are below the truth in half of all cases."""
    short = 0
    for seed in range(20):
        matrix = torch.randn(6, 6, generator=seeded(seed), dtype=torch.float64)
        largest, _ = exactly(matrix)
        short += torch.linalg.matrix_norm(matrix, 2).item() < largest
        assert verified.singular_value_bound(matrix) >= largest
    assert short >= 3


def test_extreme_entries():
    huge = torch.tensor([[1.7e308, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert 1.7e308 <= verified.singular_value_bound(huge) < math.inf
    tiny = torch.tensor([[5e-324, 0.0]], dtype=torch.float64)
    assert (
        5e-324 <= verified.singular_value_bound(tiny) <= 1.5e-323
        and verified.singular_value_bound(tiny, largest=False) <= 5e-324
    )
    for largest in (True, False):
        assert verified.singular_value_bound(torch.zeros(2, 3, dtype=torch.float64), largest) == 0


@given(terms=st.integers(1, 400), seed=st.integers(0, 10**6))
def test_gamma_bounds_the_error_of_sums_of_products(terms, seed):
    a, b = torch.randn(2, terms, generator=seeded(seed))
    with mpmath.workdps(50):
        products = [
            mpmath.mpf(p) * mpmath.mpf(q) for p, q in zip(a.tolist(), b.tolist(), strict=True)
        ]
        exact, absolute = mpmath.fsum(products), mpmath.fsum(map(abs, products))
        assert abs((a @ b).item() - exact) <= verified.gamma(terms, torch.float32) * absolute


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_entries_that_are_not_finite(bad):
    for dtype in (torch.float64, torch.complex128):
        with pytest.raises(ValueError, match="NaN or infinite"):
            verified.singular_value_bound(torch.full((2, 2), bad, dtype=dtype))
    huge = torch.full((2, 2), 1.7e308 + 1.7e308j, dtype=torch.complex128)
    assert verified.singular_value_bound(huge) >= 1.7e308


def test_other_types_are_refused():
    with pytest.raises(ValueError, match=r"not for torch.float32"):
        verified.singular_value_bound(torch.eye(3))


def test_too_many_terms():
    with pytest.raises(ValueError, match="nothing can be said about sums of 1e\\+08 terms"):
        verified.gamma(1e8, torch.float32)
