"""The helper stays small and readable: its budgets, which are never raised.

Measured are syntax nodes (contexts and operators left out) and code lines (no blank lines, comments
or docstrings). A budget that does not hold says that an idea is not clear yet.
"""

import ast

import pytest

from lesson import ROOT

NOT_COUNTED = (ast.expr_context, ast.operator, ast.cmpop, ast.boolop)
WIDTH = 100


def lines_of_docstrings(tree):
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if ast.get_docstring(node, clean=False) is not None:
                found |= set(range(first.lineno, first.end_lineno + 1))
    return found


def measure(text):
    """Code lines and syntax nodes."""
    tree = ast.parse(text)
    skipped = lines_of_docstrings(tree)
    code = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.strip().startswith("#") and number not in skipped:
            code += 1
    nodes = sum(not isinstance(node, NOT_COUNTED) for node in ast.walk(tree))
    return code, nodes


def files(*patterns):
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


HELPER = files("chapter_utils/*.py")
CERTIFICATES = files("chapter_utils/certificates/*.py")
EXERCISES = files(
    "chapter_checks/exercises/*.py", "chapter_checks/turns/*.py", "chapter_checks/sendable.py"
)
ENGINE = files(*(f"chapter_checks/{name}.py" for name in ("engine", "bench", "wire")))
FIGURES = files("notebooks/figures/*.py")
SITE = files("source/site/*.py")


@pytest.mark.parametrize(
    "paths, most_nodes, most_a_line",
    [
        (HELPER, 11_000, 6.5),
        (CERTIFICATES, 4_500, 6.5),
        (EXERCISES, None, 7.5),
        (FIGURES, None, 6.5),
    ],
    ids=["helper", "certificates", "exercises", "figures"],
)
def test_budget(paths, most_nodes, most_a_line):
    sizes = [measure(path.read_text(encoding="utf-8")) for path in paths]
    code = sum(code for code, _ in sizes)
    nodes = sum(nodes for _, nodes in sizes)
    assert most_nodes is None or nodes <= most_nodes
    assert nodes / code <= most_a_line


def test_modules_of_the_helper_are_short():
    for path in HELPER:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 200, path.name


def test_the_engine_of_the_checks_is_short():
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in ENGINE) <= 600


def test_the_site_is_left_to_sphinx():
    lines = {path.name: measure(path.read_text(encoding="utf-8"))[0] for path in SITE}
    assert lines.pop("frames.py") <= 100  # the export of live figures, which no tool has
    assert sum(lines.values()) <= 150


@pytest.mark.parametrize("path", [*HELPER, *CERTIFICATES, *EXERCISES, *ENGINE, *FIGURES], ids=str)
def test_lines_fit(path):
    long = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > WIDTH]
    assert long == []


def statements(tree):
    """Every list of statements in a tree."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                yield block


@pytest.mark.parametrize("path", [*HELPER, *CERTIFICATES], ids=str)
def test_one_statement_and_one_assignment_a_line(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for block in statements(tree):
        starts = [statement.lineno for statement in block]
        assert len(set(starts)) == len(starts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            # x, y = f() takes a result apart; x, y = 1, 2 hides two assignments in one line.
            pairs = isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)
            assert not pairs and len(node.targets) == 1, node.lineno


def test_nodes_and_lines_are_counted():
    text = '"""A module."""\n\n\ndef double(x):\n    """Twice."""\n    return 2 * x  # why\n'
    assert measure(text) == (2, 12)


def test_the_loop_of_the_lessons_can_be_read():
    tree = ast.parse((ROOT / "chapter_utils" / "training.py").read_text(encoding="utf-8"))
    (fit,) = (node for node in tree.body if getattr(node, "name", None) == "fit")
    docstring = fit.body[0]
    assert fit.end_lineno - fit.lineno + 1 - (docstring.end_lineno - docstring.lineno + 1) <= 50
