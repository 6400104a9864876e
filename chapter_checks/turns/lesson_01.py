"""Checks of the *your turn* cells of lesson 1: when do nearby states stay near?"""

import torch

from chapter_utils import ode

from ..engine import Attempt, exercise


@exercise("1.A", "A rate by hand")
def rate_by_hand(attempt: Attempt) -> None:
    A = torch.tensor([[-1.0, 5.0], [0.0, -1.0]])  # the matrix of the lesson
    value = attempt.number("mu_by_hand")
    mu = ode.logarithmic_norm(A).item()
    if abs(value - mu) <= 1e-3:
        return
    mistakes = {
        "the largest eigenvalue of A itself. Make A symmetric first": -1.0,
        "the smallest eigenvalue of the symmetric part": -3.5,
        "the largest eigenvalue of A + A'. The symmetric part is half of that": 3.0,
        "the spectral norm of A, which has no sign": torch.linalg.matrix_norm(A, 2),
    }
    attempt.rule_out(value, mistakes, "This is {}.", atol=1e-2)
    attempt.fail("Write down the symmetric part, 2 by 2. What does it do to (1, 1) and to (1, -1)?")
