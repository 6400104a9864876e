"""The test of the tests: each way in which a lesson can go wrong in the browser is noticed.

One notebook has them all.
"""

import nbformat
import pytest

import build
import test_lessons

CELLS = {
    "fine": """
import sys
import ipywidgets
from IPython.display import HTML
from matplotlib.figure import Figure
from chapter_utils import widgets

def slider():
    return ipywidgets.IntSlider(value=1, max=5, description="c")
""",
    "raising update": """
def raising(c):
    if c > 1:
        raise ValueError("no picture")
    return "one"
widgets.LiveFigure(Figure(figsize=(2, 1)), raising, c=slider())
""",
    "same description": """
digit = Figure(figsize=(2, 1))
text = digit.text(0, 0, "")
def wordless(c):
    text.set_text(str(c))
    return "always the same"
widgets.LiveFigure(digit, wordless, c=slider())
""",
    "same picture": """
widgets.LiveFigure(Figure(figsize=(2, 1)), lambda c: f"c is {c}", c=slider())
""",
    "raising observer": """
silent = slider()
def unheard(change):
    raise RuntimeError("nobody sees me")
silent.observe(unheard, "value")
silent
""",
    "warning": "print('careful', file=sys.stderr)",
    "request to the outside": """HTML('<img alt="a dot" src="http://192.0.2.1/dot.png">')""",
    "view that breaks in the browser only": """
ipywidgets.Image(value=b'', tooltip='ipywidgets issue 3860')
""",
    "raising cell": "1 / 0",
}


def test_failures_are_seen(opened, lab, monkeypatch):
    notebook = nbformat.v4.new_notebook(
        metadata=build.METADATA,
        cells=[nbformat.v4.new_code_cell(text.strip()) for text in CELLS.values()],
    )
    nbformat.write(notebook, lab["notebooks"] / "broken.ipynb")
    notebook = opened("broken")
    assert not notebook.ran()
    notebook.page.locator(".jupyter-widgets-error-widget").wait_for()

    def seen(start, text):
        return any(error.startswith(start) and text in error for error in notebook.errors())

    assert (
        seen("output", "ZeroDivisionError")
        and seen("output", "careful")
        and seen("console", "ERR_")
        and seen("widget", "javascript error")
    )
    assert not seen("widget", "no picture") and not seen(
        "error from the kernel", "nobody sees me"
    ), "nothing has moved yet"

    raising, same_description, same_picture = notebook.live_figures()
    monkeypatch.setattr(test_lessons, "PATIENCE", 1500)
    with pytest.raises(Exception, match="Timeout"):
        test_lessons.move_by_keyboard(notebook, raising)
    assert seen("widget", "no picture")
    with pytest.raises(Exception, match="Timeout"):
        test_lessons.move_by_keyboard(notebook, same_description)
    with pytest.raises(AssertionError, match="not the picture"):
        test_lessons.move_by_keyboard(notebook, same_picture)

    # No cell shows an error under `observe`: the student would just see nothing happen.
    notebook.page.locator("[role=slider]").last.press("ArrowRight")
    for _ in range(100):
        if seen("error from the kernel", "nobody sees me"):
            break
        notebook.page.wait_for_timeout(100)
    assert seen("error from the kernel", "nobody sees me")
    notebook.close()
