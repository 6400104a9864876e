"""The checks, one module a lesson: properties of every right answer. None holds a solution."""
