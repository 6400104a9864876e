"""Coursework: `check("2.1")` says whether an answer is right, `passed("2.1")` whether it was."""

from .engine import check, passed

__all__ = ["check", "passed"]
