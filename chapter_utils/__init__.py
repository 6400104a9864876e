"""Helpers for the lessons on stable neural networks: layers, bounds, attacks, training, pictures.

What is the subject of a lesson is first written out there; docstrings name that lesson, or the benchmark that needs more.
"""

__version__ = "0.1.0"
