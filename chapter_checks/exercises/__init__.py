"""The checks, one module a lesson: properties that every right answer has and no wrong one; no module holds a solution."""
