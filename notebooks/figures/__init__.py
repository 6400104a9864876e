"""The live and the large figures of the lessons: one module a lesson, one function a figure."""
