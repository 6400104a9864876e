"""Helpers for the lessons on stable neural networks: layers, bounds, attacks, training, pictures.

Every function here is first written out in a lesson; its docstring names that lesson.
"""

__version__ = "0.1.0"
