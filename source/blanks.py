"""Cells in which somebody writes: what stands there first, and what stands there in the end.

A solution stands between ### BEGIN SOLUTION and ### END SOLUTION. In its place the notebook shows
the lines of it that begin with "### GIVEN ", or a line that says it is not written yet.
"""

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"
GIVEN = "### GIVEN "  # begins a line of a solution that the blank notebook shows instead of it


def answer(text: str, called: str, solved: bool) -> str:
    """The cell with its solutions, or with what students find in the place of each."""
    lines: list[str] = []
    region: list[str] | None = None  # the solution that is being read
    indent = ""
    for line in text.splitlines():
        mark = line.strip()
        if mark == BEGIN and region is None:
            region = []
            indent = line[: line.index(mark)]
        elif mark == END and region is not None:
            lines += solution(region) if solved else stub(region, indent, called)
            region = None
        elif mark in (BEGIN, END):
            raise ValueError(f"{called}: {mark} at a wrong place")
        elif region is None:
            lines.append(line)
        else:
            region.append(line)
    if region is not None or BEGIN not in text:
        raise ValueError(f"{called}: {BEGIN} without {END}, or no solution at all")
    return "\n".join(lines)


def solution(region: list[str]) -> list[str]:
    return [line for line in region if not line.strip().startswith(GIVEN)]


def stub(region: list[str], indent: str, called: str) -> list[str]:
    """The given lines of a solution; without any, a line that says it is not written yet."""
    stripped = [line.strip() for line in region]
    given = [indent + line[len(GIVEN) :] for line in stripped if line.startswith(GIVEN)]
    error = f'raise NotImplementedError("{called}")  # replace this line'
    return given or [indent + error]
