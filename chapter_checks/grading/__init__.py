"""Judging submissions, for instructors: `make grade SUBMISSIONS=folder`; see ../README.md."""
