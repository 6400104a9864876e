"""Helpers for the lessons on stable neural networks. What a lesson teaches is written out there first."""

__version__ = "0.1.0"
