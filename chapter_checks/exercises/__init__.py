"""The checks, one module a lesson: properties of every right answer. Students have few of them."""
