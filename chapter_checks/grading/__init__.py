"""Judging submissions: `make grade SUBMISSIONS=folder`. For instructors; chapter_checks/README.md has the steps."""
