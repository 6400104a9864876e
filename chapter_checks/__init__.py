"""Coursework: `check("2.1")` says whether an answer is right, `passed("2.1")` whether it was.

Lessons: `your_turn("2.A")` is a check that does not stop, `reply` answers a prediction.
"""

from .notebook import check, passed, reply, your_turn

__all__ = ["check", "passed", "reply", "your_turn"]
