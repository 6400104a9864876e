"""Checks of the *your turn* cells, one module a lesson: `your_turn("2.A")` runs one."""
